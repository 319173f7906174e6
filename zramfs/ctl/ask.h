#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Ask: a file below a mount that may not answer
 *
 * A request to a daemon that hangs can be given up by a process that dies, and by nothing else. So
 * a child reads the file and hands it over.
 *
 * Ownership: the text is the caller's to free.
 * Locking:   one thread.
 * Errors:    -errno of open(2) or read(2); -ETIMEDOUT, and then the child may stay until the daemon
 *            goes.
 * Cost:      a fork.
 */

#include <stddef.h>

/* All of the file, and a terminator behind it. */
int ask_file(const char *path, char **textp, size_t *n_textp);
