#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Recompress: pages of a disk once more, with codecs that take longer and make less of them
 *
 * As the kernel's zram up to 7.0: largest objects first; of each page the priorities that are asked
 * for are tried in their order, above the one that it has, until one makes its cell smaller. What
 * the highest priority of the disk makes no smaller is marked incompressible, and not looked at
 * again until it is written. Each page is tried once. When it ends, the pool is compacted.
 *
 * Where several priorities are asked for, pages that were recompressed before come first: going up
 * the numbers would meet again what it has just made shorter.
 *
 * Ownership: the caller's.
 * Locking:   as sweep.h and zr_disk_recompress(): nothing is held between two pages, and no stripe
 *            while a page is compressed, so that requests do not wait.
 * Errors:    -EINVAL for what cannot be asked, for a disk without size or reset meanwhile, -ESTALE
 *            for one that was removed, -EINTR when it was told to stop, -ENOMEM where memory that
 *            was waited for does not come. -EIO in the end, if pages do not decode; they are passed
 *            over. On all of these but the first what was done stays done.
 * Cost:      a decompression and a compression each page, and the passes of a sweep.
 */

#include "sweep.h"

#define ZR_RECOMPRESS_ALL UINT64_MAX

struct zr_recompress_request {
	unsigned int types; /* enum zr_sweep_type; 0: all there are */
	uint32_t threshold; /* as zr_page_recompress() */
	uint64_t max_pages; /* to try; ZR_RECOMPRESS_ALL */
	unsigned int first_priority, last_priority;
};

struct zr_recompress_result {
	uint64_t n_tried;
	uint64_t n_smaller; /* of these */
};

/* *result is set on errors, too. */
int zr_recompress_run(struct zr_disk *disk, struct zr_ctx *ctx, const struct zr_stop *stop,
		      const struct zr_recompress_request *request,
		      struct zr_recompress_result *result);
