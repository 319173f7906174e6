#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Batch: pages on their way to the backing file
 *
 * Pages are named, and then written with large requests: their objects are copied and sealed side by
 * side into blocks that were claimed, the file is written, and only then does each slot say where
 * its page is. Who uses a page meanwhile finds it in memory as before; a write or discard takes it
 * out of the batch. What fails leaves every page where it was.
 *
 * Ownership: of one thread; the disk of a batch is pinned by the caller.
 * Locking:   callers hold no lock. Flushing takes the disk's CHANGE for as long as the file takes,
 *            and the shape and stripes for moments.
 * Errors:    flushing: -ENODEV where the disk has no backing file, -ENOSPC where the file, or the
 *            disk's part of it, is full, -EIO where writeback_limit is used up or the file cannot be
 *            written, -ESTALE, -EINVAL for a disk without a size.
 * Cost:      512 KiB, and 24 bytes a page. A page is 1 to 3 us, and its share of the request.
 */

#include "disk.h"

struct zr_batch;

/* What pages must be when their turn comes, or they are left out. */
struct zr_batch_filter {
	zr_slot marks; /* all of these bits: ZR_SLOT_IDLE, ZR_SLOT_UNUSED, ZR_SLOT_INCOMPRESSIBLE */
	uint32_t n_bytes_min; /* of the object */
};

int zr_batch_new(struct zr_batch **batchp);
struct zr_batch *zr_batch_free(struct zr_batch *batch);

/* Nothing is in it; what comes is of @disk. */
void zr_batch_begin(struct zr_batch *batch, struct zr_disk *disk,
		    const struct zr_batch_filter *filter);

/* Return: is it full? Then it is to be flushed before the next one. */
bool zr_batch_add(struct zr_batch *batch, uint64_t page_no);

/* Bytes that went to the file, or were tried to, since it began. */
uint64_t zr_batch_bytes(const struct zr_batch *batch);

/* Write what is in it, also if one of its requests fails. Return: the last error. *n_writtenp is
 * added to, on errors too. */
int zr_batch_flush(struct zr_batch *batch, uint64_t *n_writtenp);
