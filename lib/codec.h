#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Codec: page in, fewer bytes out
 *
 * A codec is a const table over one compression library. It knows neither where the bytes go nor
 * what a slot is. What a thread needs to run any of them is one workspace.
 *
 * Ownership: tables are static; a workspace belongs to the thread that made it.
 * Locking:   none; a workspace serves one call at a time.
 * Errors:    -EIO for bytes that are not one whole page, -EINVAL for a bad level; -ENOMEM when a
 *            workspace is made, and never after it. Never a library's own code.
 * Cost:      of a page in and out: lz4 6 and 1.3 us, lzo 6 and 5, zstd 17 and 5. A workspace is
 *            384 KiB, all of it resident.
 */

#include "base.h"

enum {
	ZR_CODEC_E_NO_GAIN = 1, /* would not fit under the limit: store raw */
};

/* Numbers live in the store: add at the end, never renumber. */
enum zr_algorithm {
	ZR_ALGORITHM_LZ4 = 0,
	ZR_ALGORITHM_LZO = 1,
	ZR_ALGORITHM_LZO_RLE = 2, /* the kernel's word; here what liblzo2 gives, lzo1x-1 */
	ZR_ALGORITHM_LZ4HC = 3,
	ZR_ALGORITHM_ZSTD = 4,
	ZR_N_ALGORITHMS
};

/* A codec with its parameters, as a slot's codec number means it. Lives in the store. */
struct zr_codec_params {
	uint32_t algorithm; /* enum zr_algorithm */
	int32_t level;      /* ZR_CODEC_LEVEL_DEFAULT: the codec's own default */
};

#define ZR_CODEC_LEVEL_DEFAULT INT32_MIN

struct zr_codec {
	const char *name;
	int32_t level_default, level_min, level_max; /* equal: no level */

	/* Room for the state of either side at any allowed level. A compressor may find that others
	 * have used its room in between, and is then initialized again; a decompressor may not. */
	size_t (*compressor_bytes)(void);
	size_t (*decompressor_bytes)(void); /* NULL: none needed */
	/* Before the first use. Return: 0 or -EIO; once 0, always 0. */
	int (*compressor_init)(void *compressor);
	int (*decompressor_init)(void *decompressor);

	/* @dst holds ZR_CODEC_BOUND bytes even though @limit is smaller: LZO checks no bound.
	 * Return: 0 with 1 <= *n_dstp <= limit, or ZR_CODEC_E_NO_GAIN. */
	int (*compress)(void *compressor, int32_t level, const void *page, void *dst, size_t limit,
			size_t *n_dstp);
	/* Return: 0, or -EIO if @src is not one whole page. Writes only @page. */
	int (*decompress)(void *decompressor, const void *src, size_t n_src, void *page);
};

/* The worst growth of all codecs: lzo's n + n / 16 + 67, rounded up. */
#define ZR_CODEC_BOUND 4608u

struct zr_workspace;

int zr_workspace_new(struct zr_workspace **workspacep);
struct zr_workspace *zr_workspace_free(struct zr_workspace *workspace);

static inline void zr_workspace_freep(struct zr_workspace **workspacep)
{
	*workspacep = zr_workspace_free(*workspacep);
}

/* In the kernel's fixed order of names; NULL past the end. For lists. */
const struct zr_codec *zr_codec_listed(unsigned int index);

/* NULL for a number that names none. */
const struct zr_codec *zr_codec_by_algorithm(uint32_t algorithm);

/* Return: 0 or -EINVAL. @params gets the default level. */
int zr_codec_find(const char *name, struct zr_codec_params *params);

/* Return: 0, or -EINVAL for an unknown algorithm or a level it does not have. */
int zr_codec_check(const struct zr_codec_params *params);

/* Compress a page to at most @limit bytes. Return: 0 or ZR_CODEC_E_NO_GAIN. */
int zr_codec_compress(struct zr_workspace *workspace, const struct zr_codec_params *params,
		      const void *page, void *dst, size_t limit, size_t *n_dstp);

/* Return: 0 or -EIO. */
int zr_codec_decompress(struct zr_workspace *workspace, const struct zr_codec_params *params,
			const void *src, size_t n_src, void *page);

extern const struct zr_codec zr_codec_lz4;
extern const struct zr_codec zr_codec_lz4hc;
extern const struct zr_codec zr_codec_lzo;
extern const struct zr_codec zr_codec_lzo_rle;
extern const struct zr_codec zr_codec_zstd;
