/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "recompress.h"

#include <errno.h>

#include "compact.h"

struct run {
	struct zr_disk *disk;
	struct zr_ctx *ctx;
	const struct zr_recompress_request *request;
	struct zr_recompress_result *result;
	uint32_t priorities; /* a bit for each to try */
	bool undecodable;    /* there was a page */
};

/* Those of the disk that are asked for. Return: 0 if there is none, or it makes no sense. */
static uint32_t priorities_of(struct zr_disk *disk, const struct zr_recompress_request *request)
{
	struct zr_attrs attrs;
	uint32_t priorities = 0;
	unsigned int i;

	if (request->threshold > ZR_OBJECT_USEFUL_MAX)
		return 0;

	zr_disk_attrs(disk, &attrs);
	for (i = 1; i <= ZR_RECOMP_MAX; ++i) {
		if (i >= request->first_priority && i <= request->last_priority)
			priorities |= attrs.recomp_priorities & 1u << i;
	}
	return priorities;
}

static bool is_enough(const struct run *run)
{
	return run->result->n_tried >= run->request->max_pages;
}

static int try_page(void *context, uint64_t page_no, zr_slot slot)
{
	struct run *run = context;
	unsigned int i;
	int r = ZR_PAGE_E_AS_IT_WAS;

	if (is_enough(run))
		return 1;

	++run->result->n_tried;
	for (i = zr_slot_codec(slot) + 1; r == ZR_PAGE_E_AS_IT_WAS && i <= ZR_RECOMP_MAX; ++i) {
		if (run->priorities >> i & 1)
			r = zr_disk_recompress(run->disk, run->ctx, page_no, i,
					       run->request->threshold);
	}

	if (r == 0)
		++run->result->n_smaller;
	if (r == -EIO)
		run->undecodable = true;
	return r == -EIO || r == ZR_PAGE_E_AS_IT_WAS ? 0 : r;
}

/* Every page whose codec is one of @codecs_mask. */
static int sweep(struct run *run, const struct zr_stop *stop, uint32_t codecs_mask)
{
	const struct zr_sweep_filter filter = {
		.types = run->request->types | ZR_SWEEP_COMPRESSIBLE,
		.min_bytes = run->request->threshold,
		.codecs_mask = codecs_mask,
	};

	return zr_sweep(run->disk, &filter, run->request->max_pages != ZR_RECOMPRESS_ALL, stop,
			try_page, run);
}

/* A page goes up the codec numbers, and the sweeps come down them. */
static int sweep_all(struct run *run, const struct zr_stop *stop)
{
	unsigned int codec_no = ZR_RECOMP_MAX;
	int r;

	while (!(run->priorities >> codec_no & 1))
		--codec_no;
	if (run->priorities == 1u << codec_no)
		return sweep(run, stop, run->priorities - 1);

	/* Once at least: a disk that cannot be swept says so, however few pages are wanted. */
	do
		r = sweep(run, stop, 1u << --codec_no);
	while (r == 0 && codec_no > 0 && !is_enough(run));
	return r;
}

int zr_recompress_run(struct zr_disk *disk, struct zr_ctx *ctx, const struct zr_stop *stop,
		      const struct zr_recompress_request *request,
		      struct zr_recompress_result *result)
{
	struct run run = { .disk = disk,
			   .ctx = ctx,
			   .request = request,
			   .result = result,
			   .priorities = priorities_of(disk, request) };
	int compacted, r;

	*result = (struct zr_recompress_result){ 0 };
	if (zr_disk_is_removed(disk))
		return -ESTALE;
	if (run.priorities == 0)
		return -EINVAL;

	r = sweep_all(&run, stop);
	if (r == 0 && run.undecodable)
		r = -EIO;
	if (r == -EINTR || result->n_smaller == 0)
		return r;

	compacted = zr_compact(disk->engine, stop, NULL);
	return r < 0 ? r : compacted;
}
