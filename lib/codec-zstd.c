/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zstd
 *
 * An object is the content of one compressed block, and none of what zstd puts before it: 2 bytes
 * of frame header and 3 of block header say nothing that the slot does not. They are made again in
 * front of a copy of the object, in the workspace, and the library gets to see a frame. At level 3
 * that makes 8168 real pages 9.82 MB instead of 9.86, 0.4 % less, and nothing that can be measured
 * in decompressions of 4800 ns. The library's own functions for blocks without headers would save
 * the copy, which is 40 ns; they are deprecated.
 *
 * A page is one block at every level: what would split it needs 128 KiB (the splitter before
 * compression, of 1.5.7) or a window of that much (the one after it), and the window here is the
 * page. Whatever is not one compressed block is a page that does not compress, for a raw block is
 * longer than the page, and a page of one byte repeated is same-filled.
 *
 * Both contexts lie in the workspace: a context of the library's own would allocate from the heap
 * in the middle of a write, at a moment when memory is what the system is short of.
 *
 * Figures: libzstd 1.5.4, AMD EPYC (Zen 5).
 */

#include "codec.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY /* contexts in memory of one's own, frames without magic */
#include <zstd.h>

#include "check.h"

/* All there are: for inputs as small as a page even the last needs only 269 KiB (zstd 1.5.4). */
#define LEVEL_MAX 22
#define LEVEL_MIN (-ZSTD_TARGETLENGTH_MAX)

/* A level below 0 is how far the library steps where it finds nothing; longer steps than the page
 * do what this one does, and wrap round in an address space of 32 bits: see codec-lz4.c. */
#define LEVEL_FASTEST (-(int32_t)ZR_PAGE_SIZE)

/* What zram takes when none is set. 0 is zstd's own word for the same. */
#define LEVEL_DEFAULT 3

/* The library wants 8. */
#define CONTEXT_ALIGN 64u

/*
 * RFC 8878, 3.1.1, without the magic number: a descriptor without flags; the window, as 4 KiB,
 * which no offset within a page is beyond, whatever the level had in mind; and before the block 1
 * bit for the last one, 2 for its type, 21 for its length.
 */
#define FRAME_DESCRIPTOR 0u
#define FRAME_WINDOW     ((ZR_PAGE_SHIFT - 10) << 3)
#define HEADER_BYTES     5u
#define BLOCK_IS_LAST    1u
#define BLOCK_COMPRESSED (2u << 1)
#define BLOCK_BYTES_AT   3

_Static_assert(ZSTD_COMPRESSBOUND(ZR_PAGE_SIZE) + 16 <= ZR_CODEC_BOUND, "the bound holds for zstd");

struct zstd_compressor {
	ZSTD_CCtx *cctx;
	int32_t level; /* that it is set to */
	_Alignas(CONTEXT_ALIGN) uint8_t context[];
};

struct zstd_decompressor {
	ZSTD_DCtx *dctx;
	uint8_t frame[HEADER_BYTES + ZR_PAGE_SIZE]; /* of the object at hand */
	_Alignas(CONTEXT_ALIGN) uint8_t context[];
};

static pthread_once_t sizes_once = PTHREAD_ONCE_INIT;
static size_t cctx_bytes, dctx_bytes;

static void sizes_compute(void)
{
	size_t n_bytes, n_bytes_max = 0;
	int level;

	/* Which level needs most is no rule. Those below 1 differ from 1 in no size but are asked
	 * for once, at the far end. */
	for (level = 1; level <= LEVEL_MAX; ++level) {
		n_bytes =
			ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(level, ZR_PAGE_SIZE, 0));
		n_bytes_max = zr_max(n_bytes_max, n_bytes);
	}
	n_bytes = ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(LEVEL_MIN, ZR_PAGE_SIZE, 0));
	n_bytes_max = zr_max(n_bytes_max, n_bytes);

	cctx_bytes = zr_align_up(n_bytes_max, CONTEXT_ALIGN);
	dctx_bytes = zr_align_up(ZSTD_estimateDCtxSize(), CONTEXT_ALIGN);
}

static size_t zstd_compressor_bytes(void)
{
	(void)pthread_once(&sizes_once, sizes_compute);
	return sizeof(struct zstd_compressor) + cctx_bytes;
}

static size_t zstd_decompressor_bytes(void)
{
	(void)pthread_once(&sizes_once, sizes_compute);
	return sizeof(struct zstd_decompressor) + dctx_bytes;
}

static bool compressor_set(ZSTD_CCtx *cctx, ZSTD_cParameter parameter, int value)
{
	return !ZSTD_isError(ZSTD_CCtx_setParameter(cctx, parameter, value));
}

static int zstd_compressor_init(void *compressor)
{
	struct zstd_compressor *state = compressor;

	(void)pthread_once(&sizes_once, sizes_compute);
	state->cctx = ZSTD_initStaticCCtx(state->context, cctx_bytes);
	if (!state->cctx)
		return -EIO;

	state->level = LEVEL_DEFAULT;
	if (!compressor_set(state->cctx, ZSTD_c_format, ZSTD_f_zstd1_magicless) ||
	    !compressor_set(state->cctx, ZSTD_c_contentSizeFlag, 0) ||
	    !compressor_set(state->cctx, ZSTD_c_checksumFlag, 0) ||
	    !compressor_set(state->cctx, ZSTD_c_dictIDFlag, 0) ||
	    !compressor_set(state->cctx, ZSTD_c_compressionLevel, LEVEL_DEFAULT))
		return -EIO;

	return 0;
}

static int zstd_decompressor_init(void *decompressor)
{
	struct zstd_decompressor *state = decompressor;

	(void)pthread_once(&sizes_once, sizes_compute);
	state->dctx = ZSTD_initStaticDCtx(state->context, dctx_bytes);
	if (!state->dctx || ZSTD_isError(ZSTD_DCtx_setParameter(state->dctx, ZSTD_d_format,
								ZSTD_f_zstd1_magicless)))
		return -EIO;

	return 0;
}

static void header_write(uint8_t header[HEADER_BYTES], size_t n_block)
{
	const uint32_t block = BLOCK_IS_LAST | BLOCK_COMPRESSED |
			       (uint32_t)n_block << BLOCK_BYTES_AT;

	header[0] = FRAME_DESCRIPTOR;
	header[1] = FRAME_WINDOW;
	header[2] = (uint8_t)block;
	header[3] = (uint8_t)(block >> 8);
	header[4] = (uint8_t)(block >> 16);
}

/* Is the frame one compressed block and nothing else? */
static bool frame_is_plain(const uint8_t *frame, size_t n_frame)
{
	uint8_t header[HEADER_BYTES];

	if (n_frame <= HEADER_BYTES)
		return false;

	/* Whatever window the library has named: it is no larger than the page. */
	header_write(header, n_frame - HEADER_BYTES);
	header[1] = frame[1];
	return memcmp(header, frame, HEADER_BYTES) == 0;
}

static int zstd_compress(void *compressor, int32_t level, const void *page, void *dst, size_t limit,
			 size_t *n_dstp)
{
	struct zstd_compressor *state = compressor;
	uint8_t *frame = dst;
	size_t n;

	if (level < LEVEL_FASTEST)
		level = LEVEL_FASTEST;
	if (state->level != level) {
		if (!compressor_set(state->cctx, ZSTD_c_compressionLevel, level))
			return ZR_CODEC_E_NO_GAIN;
		state->level = level;
	}

	/* Not @limit: the library gives up no earlier for it, only falls back to raw blocks sooner.
	 * Any error, too, is a page that is kept as it is. */
	n = ZSTD_compress2(state->cctx, frame, ZR_CODEC_BOUND, page, ZR_PAGE_SIZE);
	if (ZSTD_isError(n) || !frame_is_plain(frame, n) || n - HEADER_BYTES > limit)
		return ZR_CODEC_E_NO_GAIN;

	*n_dstp = n - HEADER_BYTES;
	memmove(frame, frame + HEADER_BYTES, n - HEADER_BYTES);
	return 0;
}

static int zstd_decompress(void *decompressor, const void *src, size_t n_src, void *page)
{
	struct zstd_decompressor *state = decompressor;
	size_t n;

	/* No block is longer than what is in it. */
	if (n_src > ZR_PAGE_SIZE)
		return -EIO;

	header_write(state->frame, n_src);
	memcpy(state->frame + HEADER_BYTES, src, n_src);

	/* Errors are numbers no page can be long. */
	n = ZSTD_decompressDCtx(state->dctx, page, ZR_PAGE_SIZE, state->frame,
				HEADER_BYTES + n_src);
	if (n != ZR_PAGE_SIZE)
		return -EIO;

	return 0;
}

const struct zr_codec zr_codec_zstd = {
	.name = "zstd",
	.level_default = LEVEL_DEFAULT,
	.level_min = LEVEL_MIN,
	.level_max = LEVEL_MAX,
	.compressor_bytes = zstd_compressor_bytes,
	.decompressor_bytes = zstd_decompressor_bytes,
	.compressor_init = zstd_compressor_init,
	.decompressor_init = zstd_decompressor_init,
	.compress = zstd_compress,
	.decompress = zstd_decompress,
};
