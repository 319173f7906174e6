/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * lz4 and lz4hc
 *
 * lz4 clears its 16 KiB of state for each page, and that is the fast way: knowing that a page is
 * all there is, it takes 16-bit positions, so the same memory has twice the entries, and an entry
 * that is 0 is told apart at once from one that an earlier page left. The streaming call with a
 * fast reset, which clears nothing, needs 6600 ns for a page against 5260, for a ratio of 2.353
 * against 2.349; with acceleration 4 both take 4550 ns, for 2.096 against 2.132. Only liblz4.a has
 * LZ4_compress_fast_extState_fastReset(), and from 4 KiB on that clears as well: the same time, the
 * same bytes.
 *
 * lz4hc is the other way round: there the clear is 256 KiB, 1800 ns of 18700 at level 1 and of
 * 39500 at level 9, and the bytes are the same. So it is one stream, and each page a new start of
 * it. That moves the library's positions past all that its tables hold: older entries are then out
 * of reach, and since a page never has a page before it, nothing outside the page is ever referred
 * to. What the address of the page held in an earlier call does not matter. After a call that
 * failed (no room) a stream may only be initialized anew; that is the clear.
 *
 * Levels 10 to 12 of lz4hc take 64 KiB from the heap for the time of the call (liblz4 1.9.4, and no
 * function of it avoids that), when memory may be what there is least of. So 9 is the most: 12
 * would gain 0.2 % for three times the time.
 *
 * The limit is the room given. lz4 gives a page of noise up after 900 ns in any case, since it
 * takes longer steps where it finds nothing; lz4hc looks at each byte first, for 14 us.
 *
 * Figures: liblz4 1.9.4, 16384 real pages, AMD EPYC (Zen 5). LZ4_decompress_safe() takes 1120 ns,
 * LZ4_decompress_safe_partial() 1130 and LZ4_decompress_fast(), which does not know where its input
 * ends, 4260.
 */

#include "codec.h"

#include <errno.h>
#include <lz4.h>
#include <lz4hc.h>

#include "check.h"

/* lz4.c's LZ4_ACCELERATION_MAX, which no header has. More is taken for this. */
#define ACCELERATION_MAX 65537

/*
 * The library looks for a match one step past where it found none, and sees that this is past the
 * page only then. Steps longer than the page do what a step of a page does; but near the end of an
 * address space of 32 bits they come out at its start. Two pages from a page's start they do not: no
 * kernel gives its last page away.
 */
#define STEP_MAX ((int32_t)ZR_PAGE_SIZE)

_Static_assert(LZ4_COMPRESSBOUND(ZR_PAGE_SIZE) <= ZR_CODEC_BOUND, "the bound holds for lz4");

struct lz4hc_state {
	bool valid; /* initialized, and the last call did not fail */
	LZ4_streamHC_t stream;
};

static size_t lz4_compressor_bytes(void)
{
	return sizeof(LZ4_stream_t);
}

static int lz4_compressor_init(void *compressor)
{
	return 0;
}

static int lz4_compress(void *compressor, int32_t level, const void *page, void *dst, size_t limit,
			size_t *n_dstp)
{
	int n;

	n = LZ4_compress_fast_extState(compressor, page, dst, ZR_PAGE_SIZE, (int)limit,
				       level < STEP_MAX ? level : STEP_MAX);
	if (n <= 0)
		return ZR_CODEC_E_NO_GAIN;

	*n_dstp = (size_t)n;
	return 0;
}

static size_t lz4hc_compressor_bytes(void)
{
	return sizeof(struct lz4hc_state);
}

static int lz4hc_compressor_init(void *compressor)
{
	struct lz4hc_state *state = compressor;

	state->valid = false;
	return 0;
}

static int lz4hc_compress(void *compressor, int32_t level, const void *page, void *dst,
			  size_t limit, size_t *n_dstp)
{
	struct lz4hc_state *state = compressor;
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
static int lz4_decompress(void *decompressor, const void *src, size_t n_src, void *page)
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
	.compressor_bytes = lz4_compressor_bytes,
	.compressor_init = lz4_compressor_init,
	.compress = lz4_compress,
	.decompress = lz4_decompress,
};

const struct zr_codec zr_codec_lz4hc = {
	.name = "lz4hc",
	.level_default = LZ4HC_CLEVEL_DEFAULT,
	.level_min = 1,
	.level_max = LZ4HC_CLEVEL_DEFAULT,
	.compressor_bytes = lz4hc_compressor_bytes,
	.compressor_init = lz4hc_compressor_init,
	.compress = lz4hc_compress,
	.decompress = lz4_decompress,
};
