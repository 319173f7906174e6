#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Backing I/O: a backing file as the engine sees it
 *
 * Reads and writes (blocks.h), punches, seals and opens (seal.h).
 *
 * Nobody waits for a log line here: the first error is kept, and whoever has time says it.
 *
 * Ownership: descriptor and record are the caller's, and outlive it.
 * Locking:   any thread; atomics.
 * Errors:    -errno of the file. Punching: -EOPNOTSUPP where it cannot, from then on without asking
 *            it.
 * Cost:      a system call; three where there is no O_DIRECT.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "backing.h"

enum backing_io_kind {
	BACKING_IO_READ,
	BACKING_IO_WRITE,
	BACKING_IO_PUNCH,
	BACKING_IO_OPEN, /* what was read is not what was written */
};

struct backing_io_error {
	enum backing_io_kind kind;
	int error;                   /* an errno, positive */
	uint64_t offset;             /* of the request; none where it was opened */
	struct zr_frame_owner owner; /* of what was opened */
};

struct backing_io {
	struct zr_backing_io
		io; /* for zr_backing_new(); its context is this struct, which stays put */
	const struct zr_backing_record *record;
	int fd;
	bool is_direct;
	_Atomic bool xcannot_punch;
	_Atomic int xerror_state;
	struct backing_io_error first_error; /* whose state says that it is there */
};

void backing_io_init(struct backing_io *backing, int fd, const struct zr_backing_record *record);

/* The first error there was, once: true, and *errorp is set. */
bool backing_io_take_error(struct backing_io *backing, struct backing_io_error *errorp);
