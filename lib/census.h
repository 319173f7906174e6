#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Census: what is found by looking at every slot of a disk
 *
 * Long work, leaf by leaf: between two leaves it holds nothing and asks whether to stop. So its
 * figures are those of a stretch of time, not of one moment; but for zr_census_exact().
 *
 * Ownership: the caller's.
 * Locking:   takes the shape shared and a stripe, or all stripes of one leaf to mark it, for a leaf
 *            at a time.
 * Errors:    -EINTR when it was told to stop, -EINVAL for a disk that has no size and for no room
 *            for a line, -ESTALE for a disk that was removed.
 * Cost:      0.25 ms for the slots of a GiB.
 */

#include "disk.h"
#include "stop.h"

/* Buckets of compressed lengths: 1..64, 65..128, ... 4033..4096 bytes. */
#define ZR_CENSUS_BUCKET_BYTES 64u
#define ZR_CENSUS_BUCKETS      (ZR_PAGE_SIZE / ZR_CENSUS_BUCKET_BYTES)

/* The shortest unit that the word of a same-filled page repeats. */
enum zr_fill_kind {
	ZR_FILL_ZERO,
	ZR_FILL_8_BITS,
	ZR_FILL_16_BITS,
	ZR_FILL_32_BITS,
	ZR_FILL_64_BITS,
	ZR_N_FILL_KINDS
};

struct zr_census {
	/* What the gauges should say: the same sums, made anew from the slots. */
	struct zr_tally tally; /* n_nodes: leaves; with inner nodes in zr_census_exact() alone */
	uint64_t n_leaves;
	uint64_t objects[ZR_CENSUS_BUCKETS]; /* of pages, by length; huge ones in the last */
	uint64_t fills[ZR_N_FILL_KINDS];
	uint64_t n_idle;
	uint64_t object_bytes; /* all objects, those of fill words too, as long as they are */
};

int zr_census_take(struct zr_disk *disk, const struct zr_stop *stop, struct zr_census *census);

/* Mark every object of the disk idle, until its page is read or written. Same-filled pages never
 * are. As the kernel's zram. */
int zr_census_mark_idle(struct zr_disk *disk, const struct zr_stop *stop);

/* Mark those that were not used for so long, as far as is known (ages.h), and no others. -EINVAL
 * where no ages are kept. */
int zr_census_mark_older(struct zr_disk *disk, uint32_t seconds, const struct zr_stop *stop);

/*
 * Lines of block_state, in the kernel's format, for the slots that are not holes from page
 * *page_nop on, which becomes the page to go on with. Whole lines. Return: bytes, 0 at the end.
 */
int zr_census_block_state(struct zr_disk *disk, uint64_t *page_nop, char *text, size_t n_text);

/* Bytes of one of these lines, while page numbers and times have at most 12 digits. */
#define ZR_BLOCK_STATE_LINE 40u

/*
 * For tests: what the gauges say and what the slots say, with everything stopped, at one moment.
 * They must be equal but for used_bytes, whatever other threads do.
 */
void zr_census_exact(struct zr_disk *disk, struct zr_tally *gauges, struct zr_census *census);
