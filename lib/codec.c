/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "codec.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"

/* Sections start at pages, so that one codec's use makes nothing of its neighbours resident. */
#define SECTION_ALIGN 4096u

/*
 * One mapping, of which this is the start and each codec's section a part:
 *
 *   struct zr_workspace | lz4 | lzo | lzo-rle | lz4hc | zstd
 *
 * About a megabyte of addresses. The memory behind them comes with the first use of each, so a
 * thread that only ever sees lz4 pays for lz4.
 */
struct zr_workspace {
	size_t n_bytes;
	void *sections[ZR_N_ALGORITHMS];
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

static size_t section_bytes(const struct zr_codec *codec)
{
	return zr_align_up(codec->workspace_bytes(), SECTION_ALIGN);
}

static int workspace_setup(struct zr_workspace *workspace)
{
	uint8_t *at = (uint8_t *)workspace + zr_align_up(sizeof(*workspace), SECTION_ALIGN);
	unsigned int i;
	int r;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		workspace->sections[i] = at;
		at += section_bytes(codecs[i]);

		r = codecs[i]->setup(workspace->sections[i]);
		if (r < 0)
			return r;
	}

	ZR_ASSERT(at == (uint8_t *)workspace + workspace->n_bytes);
	return 0;
}

int zr_workspace_new(struct zr_workspace **workspacep)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = NULL;
	size_t n_bytes = zr_align_up(sizeof(*workspace), SECTION_ALIGN);
	unsigned int i;
	void *mapping;
	int r;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i)
		n_bytes += section_bytes(codecs[i]);

	mapping = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapping == MAP_FAILED)
		return -ENOMEM;

	/* A huge page would make all of it resident. A kernel without huge pages refuses: fine. */
	(void)madvise(mapping, n_bytes, MADV_NOHUGEPAGE);

	workspace = mapping;
	workspace->n_bytes = n_bytes;

	r = workspace_setup(workspace);
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

int zr_codec_compress(struct zr_workspace *workspace, const struct zr_codec_params *params,
		      const void *page, void *dst, size_t limit, size_t *n_dstp)
{
	const struct zr_codec *codec = zr_codec_by_algorithm(params->algorithm);
	int32_t level = params->level;
	size_t n_dst = 0;
	int r;

	ZR_ASSERT(zr_codec_check(params) == 0);
	ZR_ASSERT(limit <= ZR_CODEC_BOUND);

	/* The libraries disagree on what no room at all means. */
	if (limit == 0)
		return ZR_CODEC_E_NO_GAIN;

	if (level == ZR_CODEC_LEVEL_DEFAULT)
		level = codec->level_default;

	r = codec->compress(workspace->sections[params->algorithm], level, page, dst, limit,
			    &n_dst);
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

	return codec->decompress(workspace->sections[params->algorithm], src, n_src, page);
}
