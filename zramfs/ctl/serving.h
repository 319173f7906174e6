#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Serving: the processes that serve a mount
 *
 * The keeper is the parent of the others. The worker is known by what the daemon says; of a daemon
 * that says nothing, all that the keeper has made may be it.
 *
 * By the connection that they have open, where the kernel tells (Linux 6.18) and lets this user
 * look; else by their arguments and their user, which is a guess.
 *
 * Ownership: plain values.
 * Locking:   none.
 * Errors:    figures of what may not be read are -1.
 * Cost:      a look at each process called zramfs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mounts.h"

/* A keeper and the next one, a worker, one that waits, and one of an upgrade. */
#define SERVING_MAX 5u

enum serving_role {
	SERVING_ALONE, /* no keeper looks after it */
	SERVING_KEEPER,
	SERVING_WORKER,
	SERVING_SPARE, /* waits to be the worker */
};

struct serving {
	enum serving_role role;
	pid_t pid, parent;
	uid_t uid;             /* RLIMIT_MEMLOCK does not bind root */
	int64_t locked_bytes;  /* what is there of it; VmLck, which is more, where that is hidden */
	int64_t swapped_bytes; /* VmSwap */
	int64_t lock_limit;    /* RLIMIT_MEMLOCK; INT64_MAX: none */
	int64_t oom_score_adj; /* -1000 to 1000; INT64_MIN: not known */
	int64_t cgroup_limit;  /* of its memory, the least on the way up; INT64_MAX: none */
};

/* @worker: the process that serves, as the daemon says; 0: it says nothing. Return: how many there
 * are: the keeper first, then the worker. */
size_t serving_find(const struct mount *mount, pid_t worker, struct serving found[SERVING_MAX]);
