#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Backing mark: the first block of a backing file
 *
 * Begins with a text for people (head -n 3 FILE), which no filesystem is found in. What follows
 * says which run has the file, and what becomes of it afterwards.
 *
 * Ownership: the caller's; aligned, since the descriptor may be O_DIRECT.
 * Locking:   none.
 * Errors:    -errno of the file, -EIO for what is short.
 * Cost:      one block read or written.
 */

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

#define BACKING_MARK_BYTES   4096u
#define BACKING_MARK_VERSION 1u

enum backing_mark_flags {
	BACKING_MARK_IN_USE = 1, /* by the run of the nonce; else it is nobody's */
	BACKING_MARK_MADE = 2,   /* by zramfs, if it is of this inode */
};

struct backing_mark {
	_Alignas(BACKING_MARK_BYTES) char text[512];
	uint32_t version;
	uint32_t flags;
	uint8_t nonce[16];
	uint64_t inode; /* as in the record; numbers of devices are others after a boot */
	uint64_t size_bytes;
	uint64_t written_bytes; /* below this all was written once, and nothing was punched since */
	uint8_t zeros[BACKING_MARK_BYTES - 512 - 48];
};

_Static_assert(sizeof(struct backing_mark) == BACKING_MARK_BYTES, "the mark is one block");

/* Return: 0, also for what is no mark: backing_mark_is_ours(). What another version says is not
 * known, and zero. */
int backing_mark_read(int fd, struct backing_mark *mark);
bool backing_mark_is_ours(const struct backing_mark *mark);

/* Of @record, which is in use, or not any more. */
void backing_mark_make(struct backing_mark *mark, const struct zr_backing_record *record,
		       uint32_t flags, uint64_t written_bytes);
int backing_mark_write(int fd, const struct backing_mark *mark);
