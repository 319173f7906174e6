#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Launch: this program, or another version of it, executed again
 *
 * Keeper and worker are one program, told apart by a hidden option. What they share is open at
 * fixed numbers; the first word of their arguments is marked for whoever ends all processes at
 * shutdown.
 *
 * Ownership: all descriptors stay the caller's.
 * Locking:   none; the keeper's one thread, or the worker's main thread.
 * Errors:    -errno of fork; what execution fails of is said by the child over the wire.
 * Cost:      a fork of a small process.
 */

#include <sys/types.h>

#include "layout.h"

/* Where a launched process finds what. */
enum launch_fd {
	LAUNCH_FUSE = 3,    /* /dev/fuse */
	LAUNCH_STORE = 4,   /* the memfd */
	LAUNCH_WIRE = 5,    /* to who launched it; to the worker that serves, for a new keeper */
	LAUNCH_CONFIG = 6,  /* the text of the configuration; empty: there is none */
	LAUNCH_BINARY = 7,  /* the program: to launch with */
	LAUNCH_ENTRIES = 8, /* for io_uring; none: requests come from LAUNCH_FUSE */
	LAUNCH_BACKING = 9, /* backing files, by index; none: there is none */
	LAUNCH_END = LAUNCH_BACKING + ZR_BACKINGS_MAX,
};

struct launch {
	int fds[LAUNCH_END]; /* below LAUNCH_FUSE: unused; -1: none */
	const char *mode;    /* "--worker" or "--keeper" */
	char *const *rest;   /* of the arguments, as the user typed them, NULL at the end */
};

/* By who was launched, before it opens anything: what is open later may be its own, a socket to
 * syslog for one. */
void launch_look(void);

/* Of what is to be launched: it gets these backing files. */
void launch_back(struct launch *launch, const int fds[ZR_BACKINGS_MAX]);

/* By who was launched: @fd; -1: it was not given. */
int launch_found(enum launch_fd fd);

/* Return: the child's pid. */
pid_t launch_run(const struct launch *launch);

/* The same, as nobody's child: its parent ends at once. */
int launch_orphan(const struct launch *launch);
