#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Check: what this system permits, and what it lacks
 *
 * Each part looks at one kind of thing, and says only what can be found out by who asks.
 *
 * Ownership: the verb's, for as long as it runs.
 * Locking:   one thread.
 * Errors:    none; what cannot be read is passed over, or said not to be visible.
 * Cost:      small files of /proc and /sys; the daemon is asked for its statistics, which ask.h
 *            gives up on.
 */

#include "loops.h"
#include "mounts.h"
#include "report.h"
#include "swaps.h"
#include "view.h"

struct check {
	struct report report;
	struct mount *mounts;
	size_t n_mounts;
	struct loop_user *loops;
	size_t n_loops;
	struct swap_area *areas;
	size_t n_areas;
};

/* The kernel, FUSE, and loop devices in general. */
void check_system(struct check *check);

/* What concerns swapping to memory, whatever is swapped to. */
void check_memory(struct check *check);

/* The processes that serve a mount, and what its disks may take, which a mount that is foreign is
 * not asked for. */
void check_daemon(struct check *check, const struct mount *mount);

/* What its daemon says of itself: what the system refused it, whether a worker that hangs is
 * replaced, and what workers died of. */
void check_safety(struct report *report, const struct mount *mount);
void check_watchdog(struct report *report, const struct mount *mount);
void check_poison(struct report *report, const struct view *view);

/* A loop device on a disk. */
void check_loop(struct check *check, const struct loop_user *loop);

/* A loop device on something else, which a disk was on before. */
void check_other_loop(struct check *check, const struct loop_user *loop);

/* The swap area on a loop device or a partition of it; NULL if there is none. */
const struct swap_area *check_area(const struct check *check, const struct loop_user *loop);

/* Is any disk swapped to? */
bool check_swapping(const struct check *check);
