#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Worker: the process that serves a mount
 *
 * Assembles the whole, top to bottom: store, disks, session, mount, filesystem, threads; and takes
 * it apart when the mount goes or a signal asks for it. SIGHUP reads the configuration again.
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
	const char *config_path;  /* as typed, or NULL */
	const char *fuse_options; /* for -o, or NULL */
	bool debug;
	bool foreground;
};

/* Serve until the end. The configuration is the worker's from now on. Return: what to exit with. */
int worker_run(const struct worker_options *options, struct config *config);
