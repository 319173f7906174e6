#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Options: what was typed
 *
 * Ownership: the strings are the caller's.
 * Locking:   none; constant.
 * Errors:    none.
 * Cost:      none.
 */

#include <stdbool.h>

/* Words of an argument list that options_rest() makes, with the NULL at the end. */
#define OPTIONS_REST_MAX 10u

struct options {
	const char *mountpoint;   /* as typed; absolute in a process that was launched */
	const char *config_path;  /* the same, or NULL */
	const char *fuse_options; /* for -o, or NULL */
	bool debug;
	bool foreground;
	bool service; /* and descriptors are held by a service manager */
	bool no_keeper;
};

/* The same as words for who is launched; they point to what @options has. */
void options_rest(const struct options *options, char *rest[OPTIONS_REST_MAX]);
