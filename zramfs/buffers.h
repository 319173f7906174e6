#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Buffers: memory that requests and replies pass through
 *
 * If a worker is killed while the kernel copies to or from a page that is not there, the copy
 * fails, and who asked gets EIO. So each buffer is populated when it is made, and locked before its
 * first request. The two are apart because who may lock little locks what matters most first.
 *
 * Below and above each lies a page that nobody may touch; so a buffer can be a stack. A child of
 * fork() has no buffers: ours stay as they are.
 *
 * Ownership: the caller's, until buffer_free().
 * Locking:   none.
 * Errors:    -ENOMEM for want of memory. What could not be locked is populated all the same, and
 *            said by safety.h.
 * Cost:      its size, resident.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
	uint8_t *bytes; /* NULL: none */
	size_t n_bytes;
	bool is_locked;
};

/* Whole pages, zero at first. */
int buffer_make(struct buffer *buffer, size_t n_bytes);

/* Lock it, unless it is, or there is none. */
void buffer_lock(struct buffer *buffer);

void buffer_free(struct buffer *buffer);
