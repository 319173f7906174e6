#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Stream: a text that is made while it is read
 *
 * For what is too long to be rendered when a file is opened. It can be read on, and from the
 * beginning again, but not anywhere else. The engine gives whole lines; what a reader did not ask
 * for yet of the last of them is kept. So two readers of one handle share its lines among them.
 *
 * Ownership: a handle's.
 * Locking:   one mutex of its own, held while text is made.
 * Errors:    -EINVAL for an offset that is neither, the errno of the attribute; -ENOMEM.
 * Cost:      4 KiB each.
 */

#include "attr.h"

struct stream;

/* At the beginning of the text of @attr, a row. */
int stream_new(struct stream **streamp, const struct zr_attr *attr);

/* @stream may be NULL. */
struct stream *stream_free(struct stream *stream);

/* Bytes beyond what a reader wants that stream_read() needs room for. */
#define STREAM_ROOM 4096u

/* The next @n_bytes at most, at @offset, into @bytes, where there is room for STREAM_ROOM more.
 * Return: bytes, 0 at the end, or -errno. */
ssize_t stream_read(struct stream *stream, const struct zr_attr_target *target, uint64_t offset,
		    char *bytes, size_t n_bytes);
