#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Writeback: pages of a disk to its backing file, because somebody said so
 *
 * As the kernel's zram: of the pages that are asked for those go that are neither on the file
 * already nor same-filled, largest objects first, so that a budget (writeback_limit) buys most
 * memory. While there is none, pages that are named by number go in their order, and lie side by
 * side on the file. A page that is used before its turn comes stays, where it was its idle mark
 * that it was chosen for. The last page of a disk stays if the size cuts it.
 *
 * Ownership: the caller's; the disk is pinned.
 * Locking:   as sweep.h and batch.h: nothing is held between two batches.
 * Errors:    before anything is done: -EINVAL for a disk without size, -ENODEV for one without a
 *            backing file, -ERANGE for pages past its end. Then, with what was done done: -EIO where
 *            the budget is used up, -ENOSPC where the file or the disk's part of it is full, -EINTR
 *            when it was told to stop, -ENODEV, -EINVAL, -ESTALE where the file was lost or the disk
 *            reset or removed meanwhile. What the file refuses else ends nothing; the last of these
 *            errors is returned in the end.
 * Cost:      that of the batches, and the passes of a sweep; of ranges one pass, or 64 within a
 *            budget.
 */

#include "batch.h"
#include "sweep.h"

/* Page numbers, both among them. */
struct zr_writeback_range {
	uint64_t first, last;
};

struct zr_writeback_request {
	const struct zr_writeback_range *ranges; /* pages in them, whatever they are */
	size_t n_ranges;
	unsigned int types; /* enum zr_sweep_type, of all pages; 0: none */
};

int zr_writeback_run(struct zr_disk *disk, struct zr_batch *batch, const struct zr_stop *stop,
		     const struct zr_writeback_request *request);
