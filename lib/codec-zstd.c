/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zstd
 *
 * A page is a frame without anything the slot knows already: no magic number, no content size, no
 * checksum, no dictionary number. What is left is 2 bytes of frame header and 3 of block header.
 *
 * Both contexts lie in the workspace: a context of the library's own would allocate from the heap
 * in the middle of a write, at a moment when memory is what the system is short of.
 */

#include "codec.h"

#include <errno.h>
#include <pthread.h>

#define ZSTD_STATIC_LINKING_ONLY /* contexts in memory of one's own, frames without magic */
#include <zstd.h>

#include "check.h"

/* All there are: for inputs as small as a page even the last needs only 269 KiB (zstd 1.5.4). */
#define LEVEL_MAX 22
#define LEVEL_MIN (-ZSTD_TARGETLENGTH_MAX)

/* What zram takes when none is set. 0 is zstd's own word for the same. */
#define LEVEL_DEFAULT 3

/* The library wants 8. A cache line keeps the contexts apart. */
#define CONTEXT_ALIGN 64u

/* RFC 8878, 3.1.1: a descriptor without flags, the window's size; and 3 bytes before each block. */
#define FRAME_HEADER_BYTES             2u
#define FRAME_DESCRIPTOR               0u
#define BLOCK_HEADER_BYTES             3u
#define BLOCK_IS_LAST(header)          ((header)&1)
#define BLOCK_IS_REPEATED_BYTE(header) (((header) >> 1 & 3) == 1)
#define BLOCK_SIZE(header)             ((header) >> 3)

_Static_assert(ZSTD_COMPRESSBOUND(ZR_PAGE_SIZE) + 16 <= ZR_CODEC_BOUND, "the bound holds for zstd");

struct zstd_state {
	ZSTD_CCtx *compressor;
	ZSTD_DCtx *decompressor;
	int32_t level; /* that the compressor is set to */
	_Alignas(CONTEXT_ALIGN) uint8_t contexts[];
};

static pthread_once_t sizes_once = PTHREAD_ONCE_INIT;
static size_t compressor_bytes, decompressor_bytes;

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

	compressor_bytes = zr_align_up(n_bytes_max, CONTEXT_ALIGN);
	decompressor_bytes = zr_align_up(ZSTD_estimateDCtxSize(), CONTEXT_ALIGN);
}

static size_t zstd_workspace_bytes(void)
{
	(void)pthread_once(&sizes_once, sizes_compute);
	return sizeof(struct zstd_state) + compressor_bytes + decompressor_bytes;
}

static bool compressor_set(ZSTD_CCtx *compressor, ZSTD_cParameter parameter, int value)
{
	return !ZSTD_isError(ZSTD_CCtx_setParameter(compressor, parameter, value));
}

static int zstd_setup(void *workspace)
{
	struct zstd_state *state = workspace;

	(void)pthread_once(&sizes_once, sizes_compute);
	state->compressor = ZSTD_initStaticCCtx(state->contexts, compressor_bytes);
	state->decompressor = ZSTD_initStaticDCtx(state->contexts + compressor_bytes,
						  decompressor_bytes);
	if (!state->compressor || !state->decompressor)
		return -EIO;

	state->level = LEVEL_DEFAULT;
	if (!compressor_set(state->compressor, ZSTD_c_format, ZSTD_f_zstd1_magicless) ||
	    !compressor_set(state->compressor, ZSTD_c_contentSizeFlag, 0) ||
	    !compressor_set(state->compressor, ZSTD_c_checksumFlag, 0) ||
	    !compressor_set(state->compressor, ZSTD_c_dictIDFlag, 0) ||
	    !compressor_set(state->compressor, ZSTD_c_compressionLevel, LEVEL_DEFAULT))
		return -EIO;

	if (ZSTD_isError(ZSTD_DCtx_setParameter(state->decompressor, ZSTD_d_format,
						ZSTD_f_zstd1_magicless)))
		return -EIO;

	return 0;
}

static int zstd_compress(void *workspace, int32_t level, const void *page, void *dst, size_t limit,
			 size_t *n_dstp)
{
	struct zstd_state *state = workspace;
	size_t n;

	if (state->level != level) {
		if (!compressor_set(state->compressor, ZSTD_c_compressionLevel, level))
			return ZR_CODEC_E_NO_GAIN;
		state->level = level;
	}

	/* Not @limit: with little room the library falls back to stored blocks before it must, and
	 * it gives up no earlier. Any error, too, is a page that is kept as it is. */
	n = ZSTD_compress2(state->compressor, dst, ZR_CODEC_BOUND, page, ZR_PAGE_SIZE);
	if (ZSTD_isError(n) || n > limit)
		return ZR_CODEC_E_NO_GAIN;

	*n_dstp = n;
	return 0;
}

/*
 * Is it one frame, as we write them, from the first byte to the last? The library would go on with
 * what follows a frame as if it were another, and libzstd 1.5.4 looks at four bytes of it without
 * asking whether they are there. What is inside the blocks it does check.
 */
static bool frame_is_whole(const uint8_t *bytes, size_t n_bytes)
{
	size_t at = FRAME_HEADER_BYTES, n_block;
	uint32_t header;

	if (n_bytes < FRAME_HEADER_BYTES || bytes[0] != FRAME_DESCRIPTOR)
		return false;

	do {
		if (n_bytes - at < BLOCK_HEADER_BYTES)
			return false;
		header = bytes[at] | (uint32_t)bytes[at + 1] << 8 | (uint32_t)bytes[at + 2] << 16;
		at += BLOCK_HEADER_BYTES;

		n_block = BLOCK_IS_REPEATED_BYTE(header) ? 1 : BLOCK_SIZE(header);
		if (n_bytes - at < n_block)
			return false;
		at += n_block;
	} while (!BLOCK_IS_LAST(header));

	return at == n_bytes;
}

static int zstd_decompress(void *workspace, const void *src, size_t n_src, void *page)
{
	struct zstd_state *state = workspace;
	size_t n;

	if (!frame_is_whole(src, n_src))
		return -EIO;

	/* Errors are numbers no page can be long. */
	n = ZSTD_decompressDCtx(state->decompressor, page, ZR_PAGE_SIZE, src, n_src);
	if (n != ZR_PAGE_SIZE)
		return -EIO;

	return 0;
}

const struct zr_codec zr_codec_zstd = {
	.name = "zstd",
	.level_default = LEVEL_DEFAULT,
	.level_min = LEVEL_MIN,
	.level_max = LEVEL_MAX,
	.workspace_bytes = zstd_workspace_bytes,
	.setup = zstd_setup,
	.compress = zstd_compress,
	.decompress = zstd_decompress,
};
