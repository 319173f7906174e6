/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * lz4 and lz4hc
 *
 * The one-call functions clear their state first: 256 KiB for lz4hc, a tenth of its time, and 16
 * KiB for lz4. So the streaming calls are used, one stream a page. Starting a new stream moves the
 * library's positions past all that its tables hold: older entries are then out of reach, and since
 * a page never has a page before it, nothing outside the page is ever referred to. What the address
 * of the page held in an earlier call does not matter.
 *
 * After a call that failed (no room) a stream may only be initialized anew. That is the clear, and
 * so is the first use; one flag stands for both, and a thread that never uses a codec never touches
 * the memory of its tables.
 */

#include "codec.h"

#include <errno.h>
#include <lz4.h>
#include <lz4hc.h>

#include "check.h"

/* lz4.c's LZ4_ACCELERATION_MAX, which no header has. More is taken for this. */
#define ACCELERATION_MAX 65537

_Static_assert(LZ4_COMPRESSBOUND(ZR_PAGE_SIZE) <= ZR_CODEC_BOUND, "the bound holds for lz4");

struct lz4_state {
	bool valid; /* initialized, and the last call did not fail */
	LZ4_stream_t stream;
};

struct lz4hc_state {
	bool valid; /* as above */
	LZ4_streamHC_t stream;
};

static size_t lz4_workspace_bytes(void)
{
	return sizeof(struct lz4_state);
}

static int lz4_setup(void *workspace)
{
	struct lz4_state *state = workspace;

	state->valid = false;
	return 0;
}

/*
 * An empty dictionary is a reset, documented as such, that leaves the stream past position 0. There
 * alone an empty entry of the table looks like a match with the start of the page, now and then is
 * one, and the same page would compress differently after a failure.
 */
static void lz4_state_init(struct lz4_state *state)
{
	(void)LZ4_initStream(&state->stream, sizeof(state->stream));
	(void)LZ4_loadDict(&state->stream, NULL, 0);
}

static int lz4_compress(void *workspace, int32_t level, const void *page, void *dst, size_t limit,
			size_t *n_dstp)
{
	struct lz4_state *state = workspace;
	int n;

	if (!state->valid)
		lz4_state_init(state);
	LZ4_resetStream_fast(&state->stream);

	/* The limit is the room given, so that a page that will not fit is given up early. */
	n = LZ4_compress_fast_continue(&state->stream, page, dst, ZR_PAGE_SIZE, (int)limit, level);
	state->valid = n > 0;
	if (n <= 0)
		return ZR_CODEC_E_NO_GAIN;

	*n_dstp = (size_t)n;
	return 0;
}

static size_t lz4hc_workspace_bytes(void)
{
	return sizeof(struct lz4hc_state);
}

static int lz4hc_setup(void *workspace)
{
	struct lz4hc_state *state = workspace;

	state->valid = false;
	return 0;
}

static int lz4hc_compress(void *workspace, int32_t level, const void *page, void *dst, size_t limit,
			  size_t *n_dstp)
{
	struct lz4hc_state *state = workspace;
	int n;

	if (!state->valid)
		(void)LZ4_initStreamHC(&state->stream, sizeof(state->stream));
	LZ4_resetStreamHC_fast(&state->stream, level);

	n = LZ4_compress_HC_continue(&state->stream, page, dst, ZR_PAGE_SIZE, (int)limit);
	state->valid = n > 0;
	if (n <= 0)
		return ZR_CODEC_E_NO_GAIN;

	*n_dstp = (size_t)n;
	return 0;
}

/* Both write the same format. */
static int lz4_decompress(void *workspace, const void *src, size_t n_src, void *page)
{
	int n;

	n = LZ4_decompress_safe(src, page, (int)n_src, ZR_PAGE_SIZE);
	if (n != (int)ZR_PAGE_SIZE)
		return -EIO;

	return 0;
}

const struct zr_codec zr_codec_lz4 = {
	.name = "lz4",
	.level_default = 1,
	.level_min = 1,
	.level_max = ACCELERATION_MAX,
	.workspace_bytes = lz4_workspace_bytes,
	.setup = lz4_setup,
	.compress = lz4_compress,
	.decompress = lz4_decompress,
};

const struct zr_codec zr_codec_lz4hc = {
	.name = "lz4hc",
	.level_default = LZ4HC_CLEVEL_DEFAULT,
	.level_min = 1,
	.level_max = LZ4HC_CLEVEL_MAX,
	.workspace_bytes = lz4hc_workspace_bytes,
	.setup = lz4hc_setup,
	.compress = lz4hc_compress,
	.decompress = lz4_decompress,
};
