#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Ask: a file below a mount that may not answer
 *
 * A request to a daemon that hangs can be given up by a process that dies, and by nothing else. So
 * a child does what may hang, and hands over what it got.
 *
 * Ownership: text and descriptors are the caller's.
 * Locking:   one thread.
 * Errors:    -errno of open(2) or read(2); -EFBIG for more than any daemon has to say; -ETIMEDOUT,
 *            and then the child may stay until the daemon goes.
 * Cost:      a fork.
 */

#include <stddef.h>

#include "mounts.h"

/* A disk takes a kilobyte or two of .stats.json. */
#define ASK_BYTES_MAX (16u << 20)

/* All of the file, and a terminator behind it. @path: from the mount point on. */
int ask_file(const struct mount *mount, const char *path, char **textp, size_t *n_textp);

/* The names in the mount's root, each with a terminator. */
int ask_names(const struct mount *mount, char **namesp, size_t *n_namesp);

/* below_open(), which see. Return: the descriptor. */
int ask_open(const struct mount *mount, const char *path, int flags);

/* What @run writes to its second argument, 64 bytes at most; @run returns 0 or -errno. */
int ask_bytes(int (*run)(const void *what, void *bytes), const void *what, void *bytes,
	      size_t n_bytes);
