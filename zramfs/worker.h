#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Worker: the process that serves a mount
 *
 * Assembles the whole, top to bottom: store, disks, session, mount, filesystem, threads; and takes
 * it apart when the mount goes or a signal asks for it.
 *
 * Ownership: all of it, until worker_run() returns.
 * Locking:   the main thread's; it takes the signals.
 * Errors:    said in one line each, by log_line().
 * Cost:      see lib/README for memory.
 */

#include "config.h"
#include "detach.h"

struct worker_options {
	const char *mountpoint;   /* as typed */
	const char *fuse_options; /* for -o, or NULL */
	bool debug;
	bool foreground;
};

/* Serve until the end. Return: what to exit with. */
int worker_run(const struct worker_options *options, const struct config *config);
