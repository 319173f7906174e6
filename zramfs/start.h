#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Start: what is made once in the life of a mount
 *
 * The store with the disks of the configuration, and the mount. Neither is touched again by who
 * made them: what they are known by from now on is descriptors.
 *
 * Ownership: the descriptors are the caller's.
 * Locking:   none; before any thread.
 * Errors:    said in one line each, by log_line(); negative errno.
 * Cost:      a store is mapped for a moment.
 */

#include <fuse_lowlevel.h>

#include "config.h"
#include "options.h"

struct start {
	struct fuse_session *session; /* that mounted; has fuse_fd */
	int fuse_fd;
	int store_fd;
	int entries_fd; /* for io_uring (entries.h); -1: requests come from /dev/fuse */
	int backing_fds[ZR_BACKINGS_MAX]; /* -1: there is none */
	int config_fd; /* the text of the configuration, by which messages call it config_path */
};

/* The configuration that @options name, and its text in *fdp, empty if they name none. Return:
 * NULL after saying what is wrong; what is to be warned of is said. */
struct config *start_config(const struct options *options, int *fdp);

/* The same from the text, for who was launched. */
struct config *start_config_again(const struct options *options, int fd);

/* A copy of what @path has in a file without a name. Return: a descriptor, or -errno. */
int start_copy(const char *path);

/* Make the store, with all disks, and mount. @options: with absolute paths. */
int start_make(struct start *start, const struct options *options, const struct config *config);

/* A session of libfuse with what was said with -o, not connected to anything. NULL after saying
 * why. */
struct fuse_session *start_session(const struct options *options,
				   const struct fuse_lowlevel_ops *ops, void *userdata);
