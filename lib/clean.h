#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Clean: moving frames on a backing file, so that blocks become free
 *
 * A block is free when its last frame goes, and most keep one for long: half of the frames gone is
 * nearly no block free. So zones of 16 blocks in which least is left are emptied: their frames are
 * read and written elsewhere, as they are, side by side.
 *
 * Whose frame lies there is found by looking at every slot, as for objects in memory (compact.h).
 *
 * Ownership: the caller's; one at a time for each file.
 * Locking:   callers hold no lock. What is moved is pinned, and published under its page's stripe.
 * Errors:    -errno of the file; what was moved until then is moved.
 * Cost:      two passes over the slots of the disks that have the file, 0.25 ms a GiB each, a bit of
 *            memory, 4 bytes a zone, and reading and writing what is moved.
 */

#include "store.h"

struct zr_cleaner;

int zr_cleaner_new(struct zr_cleaner **cleanerp);
struct zr_cleaner *zr_cleaner_free(struct zr_cleaner *cleaner);

/* Would it be worth it: is little free, of which much could be? Where @is_needed, since a page found
 * no room, a little is much. */
bool zr_clean_is_worth_it(const struct zr_backing *backing, bool is_needed);

/* One pass. Return: 0, -EINTR: @stop; -errno. *n_blocksp: how many were gained, about. */
int zr_clean(struct zr_store *store, struct zr_cleaner *cleaner, struct zr_backing *backing,
	     bool is_needed, const struct zr_stop *stop, uint64_t *n_blocksp);
