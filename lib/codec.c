/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "codec.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "system.h"

/* The libraries want 8 at most. A cache line keeps the sections apart. */
#define SECTION_ALIGN 64u

/* Compressors larger than this take turns in one place. lz4, 16 KiB, has a place to itself: a
 * thread that serves lz4 and recompresses with something else would go back and forth. */
#define ALONE_BYTES_MAX (64u << 10)

/*
 * One mapping, of which this is the start and the states of the codecs the rest:
 *
 *   struct zr_workspace | lz4 | zstd's decompressor | the compressor of lzo, lz4hc or zstd
 *                          16   98                    269                                     KiB
 *
 * A place for each would be 890 KiB. To take over the place costs zstd 9 us, half of what it needs
 * for a page at level 3, lz4hc 2 and lzo nothing; and a thread seldom uses two of them.
 *
 * All of it is resident from the start. A page that is written out by the kernel because memory is
 * short must not need memory to be compressed.
 */
struct zr_workspace {
	size_t n_bytes;
	uint8_t *compressors[ZR_N_ALGORITHMS];
	uint8_t *decompressors[ZR_N_ALGORITHMS];
	uint8_t *shared;             /* the place of those that take turns */
	const struct zr_codec *turn; /* whose state it has; NULL: nobody's */
};

/* clang-format off: one a line */

/* By number. */
static const struct zr_codec *const codecs[ZR_N_ALGORITHMS] = {
	[ZR_ALGORITHM_LZ4] = &zr_codec_lz4,         [ZR_ALGORITHM_LZO] = &zr_codec_lzo,
	[ZR_ALGORITHM_LZO_RLE] = &zr_codec_lzo_rle, [ZR_ALGORITHM_LZ4HC] = &zr_codec_lz4hc,
	[ZR_ALGORITHM_ZSTD] = &zr_codec_zstd,
};

/* clang-format on */

/* By place in a list, as comp_algorithm of zram shows them. */
static const enum zr_algorithm listed[] = {
	ZR_ALGORITHM_LZO_RLE, ZR_ALGORITHM_LZO,  ZR_ALGORITHM_LZ4,
	ZR_ALGORITHM_LZ4HC,   ZR_ALGORITHM_ZSTD,
};

_Static_assert(ZR_ARRAY_SIZE(listed) == ZR_N_ALGORITHMS, "every codec is listed");

static size_t compressor_bytes(const struct zr_codec *codec)
{
	return zr_align_up(codec->compressor_bytes(), SECTION_ALIGN);
}

static size_t decompressor_bytes(const struct zr_codec *codec)
{
	if (!codec->decompressor_bytes)
		return 0;
	return zr_align_up(codec->decompressor_bytes(), SECTION_ALIGN);
}

static bool takes_turns(const struct zr_codec *codec)
{
	return compressor_bytes(codec) > ALONE_BYTES_MAX;
}

/* Where everything lies. Return: bytes of the whole, which is all that is known of NULL. */
static size_t workspace_lay_out(struct zr_workspace *workspace)
{
	uint8_t *const base = (uint8_t *)workspace;
	size_t at = zr_align_up(sizeof(*workspace), SECTION_ALIGN), n_shared = 0;
	unsigned int i;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		if (workspace)
			workspace->decompressors[i] = base + at;
		at += decompressor_bytes(codecs[i]);

		if (takes_turns(codecs[i])) {
			n_shared = zr_max(n_shared, compressor_bytes(codecs[i]));
			continue;
		}
		if (workspace)
			workspace->compressors[i] = base + at;
		at += compressor_bytes(codecs[i]);
	}

	for (i = 0; workspace && i < ZR_N_ALGORITHMS; ++i) {
		if (takes_turns(codecs[i]))
			workspace->compressors[i] = workspace->shared = base + at;
	}
	return at + n_shared;
}

/* Each once, whatever its turn: what can go wrong does so here. */
static int workspace_init(struct zr_workspace *workspace)
{
	unsigned int i;
	int r;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		if (codecs[i]->decompressor_init) {
			r = codecs[i]->decompressor_init(workspace->decompressors[i]);
			if (r < 0)
				return r;
		}
		r = codecs[i]->compressor_init(workspace->compressors[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int populate(void *mapping, size_t n_bytes)
{
	const int r = zr_system_populate(mapping, n_bytes);

	/* Before Linux 5.14. To be refused is to be killed then. */
	if (r == -EINVAL)
		zr_system_touch(mapping, n_bytes);
	return r < 0 && r != -EINVAL ? -ENOMEM : 0;
}

int zr_workspace_new(struct zr_workspace **workspacep)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = NULL;
	size_t n_bytes = workspace_lay_out(NULL);
	void *mapping;
	int r;

	mapping = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapping == MAP_FAILED)
		return -ENOMEM;

	/* A huge page would be five times what is needed. The state has remains of users' pages:
	 * not for core dumps. A kernel that knows neither refuses: fine. */
	(void)madvise(mapping, n_bytes, MADV_NOHUGEPAGE);
	(void)madvise(mapping, n_bytes, MADV_DONTDUMP);

	r = populate(mapping, n_bytes);
	if (r < 0) {
		(void)munmap(mapping, n_bytes);
		return r;
	}

	workspace = mapping;
	workspace->n_bytes = n_bytes;
	(void)workspace_lay_out(workspace);

	r = workspace_init(workspace);
	if (r < 0)
		return r;

	*workspacep = ZR_STEAL(workspace);
	return 0;
}

struct zr_workspace *zr_workspace_free(struct zr_workspace *workspace)
{
	if (workspace)
		(void)munmap(workspace, workspace->n_bytes);
	return NULL;
}

const struct zr_codec *zr_codec_listed(unsigned int index)
{
	return index < ZR_ARRAY_SIZE(listed) ? codecs[listed[index]] : NULL;
}

const struct zr_codec *zr_codec_by_algorithm(uint32_t algorithm)
{
	return algorithm < ZR_N_ALGORITHMS ? codecs[algorithm] : NULL;
}

int zr_codec_find(const char *name, struct zr_codec_params *params)
{
	uint32_t i;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		if (strcmp(codecs[i]->name, name) != 0)
			continue;

		*params = (struct zr_codec_params){
			.algorithm = i,
			.level = ZR_CODEC_LEVEL_DEFAULT,
		};
		return 0;
	}

	return -EINVAL;
}

int zr_codec_check(const struct zr_codec_params *params)
{
	const struct zr_codec *codec = zr_codec_by_algorithm(params->algorithm);

	if (!codec)
		return -EINVAL;
	if (params->level == ZR_CODEC_LEVEL_DEFAULT)
		return 0;
	if (params->level < codec->level_min || params->level > codec->level_max)
		return -EINVAL;

	return 0;
}

/* Where the codec's compressor is, ready for use. */
static void *compressor_take(struct zr_workspace *workspace, uint32_t algorithm)
{
	const struct zr_codec *codec = codecs[algorithm];
	uint8_t *compressor = workspace->compressors[algorithm];

	if (compressor == workspace->shared && workspace->turn != codec) {
		/* It went well in the beginning, with the same memory. */
		if (codec->compressor_init(compressor) < 0)
			return NULL;
		workspace->turn = codec;
	}
	return compressor;
}

int zr_codec_compress(struct zr_workspace *workspace, const struct zr_codec_params *params,
		      const void *page, void *dst, size_t limit, size_t *n_dstp)
{
	const struct zr_codec *codec = zr_codec_by_algorithm(params->algorithm);
	int32_t level = params->level;
	size_t n_dst = 0;
	void *compressor;
	int r;

	ZR_ASSERT(zr_codec_check(params) == 0);
	ZR_ASSERT(limit <= ZR_CODEC_BOUND);

	/* The libraries disagree on what no room at all means. */
	if (limit == 0)
		return ZR_CODEC_E_NO_GAIN;

	if (level == ZR_CODEC_LEVEL_DEFAULT)
		level = codec->level_default;

	compressor = compressor_take(workspace, params->algorithm);
	ZR_ASSERT(compressor);
	if (!compressor)
		return ZR_CODEC_E_NO_GAIN;

	r = codec->compress(compressor, level, page, dst, limit, &n_dst);
	if (r)
		return r;

	ZR_ASSERT(n_dst >= 1 && n_dst <= limit);
	*n_dstp = n_dst;
	return 0;
}

int zr_codec_decompress(struct zr_workspace *workspace, const struct zr_codec_params *params,
			const void *src, size_t n_src, void *page)
{
	const struct zr_codec *codec = zr_codec_by_algorithm(params->algorithm);

	/* The number comes from the store: one that names no codec is as bad as bad bytes. And no
	 * codec writes more than the bound, which also keeps lengths within the libraries' types.
	 */
	if (!codec)
		return -EIO;
	if (n_src == 0 || n_src > ZR_CODEC_BOUND)
		return -EIO;

	return codec->decompress(workspace->decompressors[params->algorithm], src, n_src, page);
}
