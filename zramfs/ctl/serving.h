#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Serving: the processes that serve a mount
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

/* A daemon, and whoever looks after it. */
#define SERVING_MAX 4u

struct serving {
	pid_t pid;
	uid_t uid;             /* RLIMIT_MEMLOCK does not bind root */
	int64_t locked_bytes;  /* VmLck */
	int64_t swapped_bytes; /* VmSwap */
	int64_t lock_limit;    /* RLIMIT_MEMLOCK; INT64_MAX: none */
	int64_t oom_score_adj; /* -1000 to 1000; INT64_MIN: not known */
	int64_t cgroup_limit;  /* of its memory, the least on the way up; INT64_MAX: none */
};

/* Return: how many there are. */
size_t serving_find(const struct mount *mount, struct serving found[SERVING_MAX]);
