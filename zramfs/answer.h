#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Answer: where replies go
 *
 * To the entry that the request came by, or to /dev/fuse.
 *
 * Ownership: none.
 * Locking:   any thread.
 * Errors:    negative errno. Nobody may want the answer any more: ENOENT, which is all right.
 * Cost:      a system call, or none.
 */

#include <sys/types.h>
#include <sys/uio.h>

struct rings;

/* As writev(2) to @fd. @rings: NULL where there are none. Return: bytes, or -1 and errno. */
ssize_t answer_send(struct rings *rings, int fd, const struct iovec *parts, int n_parts);
