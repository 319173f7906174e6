/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "test.h"

#include <errno.h>
#include <sys/mman.h>

#include "codec.h"

#define N_PAGES 64u

/* Bytes that end where memory ends: one step past them is a signal, in any library. */
struct fence {
	uint8_t *start;
	uint8_t *end;
};

static struct fence src_fence, dst_fence, page_fence;
static struct rng rng;

static struct fence fence_new(size_t n_bytes)
{
	size_t unit = (size_t)sysconf(_SC_PAGESIZE);
	size_t n_mapped = zr_align_up(n_bytes, unit);
	uint8_t *start;

	start = mmap(NULL, n_mapped + unit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	CHECK(start != MAP_FAILED);
	CHECK(mprotect(start + n_mapped, unit, PROT_NONE) == 0);
	return (struct fence){ .start = start, .end = start + n_mapped };
}

static struct zr_workspace *workspace_new(void)
{
	struct zr_workspace *workspace = NULL;

	CHECK(zr_workspace_new(&workspace) == 0);
	CHECK(workspace);
	return workspace;
}

static struct zr_codec_params params_of(uint32_t algorithm, int32_t level)
{
	return (struct zr_codec_params){ .algorithm = algorithm, .level = level };
}

static void random_fill(uint8_t *bytes, size_t n_bytes)
{
	size_t i;

	for (i = 0; i < n_bytes; ++i)
		bytes[i] = (uint8_t)rng_next(&rng);
}

/* A page of one of the kinds that take the libraries down different paths. */
static void page_fill(uint8_t *page)
{
	size_t i, period;

	switch (rng_below(&rng, 5)) {
	case 0:
		memset(page, (int)rng_below(&rng, 256), ZR_PAGE_SIZE);
		break;
	case 1:
		random_fill(page, ZR_PAGE_SIZE);
		break;
	case 2: /* few symbols: entropy coding and no matches worth a word */
		for (i = 0; i < ZR_PAGE_SIZE; ++i)
			page[i] = (uint8_t)(rng_next(&rng) & rng_next(&rng) & 7);
		break;
	case 3: /* a period with faults */
		period = 1 + rng_below(&rng, 600);
		random_fill(page, period);
		for (i = period; i < ZR_PAGE_SIZE; ++i)
			page[i] = (uint8_t)(page[i - period] + (rng_below(&rng, 97) == 0));
		break;
	default:
		rng_fill_mixed(&rng, page, ZR_PAGE_SIZE);
	}
}

/* Between a tenth and the whole, never incompressible. */
static void page_fill_compressible(uint8_t *page)
{
	rng_fill_mixed(&rng, page, ZR_PAGE_SIZE);
	memset(page, 0, ZR_PAGE_SIZE / 4);
}

/* Compress into memory that ends with the bound. Return: bytes, or 0 for no gain. */
static size_t compress(struct zr_workspace *workspace, const struct zr_codec_params *params,
		       const uint8_t *page, size_t limit, uint8_t **dstp)
{
	uint8_t *dst = dst_fence.end - ZR_CODEC_BOUND;
	size_t n = 12345;
	int r;

	r = zr_codec_compress(workspace, params, page, dst, limit, &n);
	if (r) {
		CHECK(r == ZR_CODEC_E_NO_GAIN);
		CHECK(n == 12345); /* written on success only */
		return 0;
	}

	CHECK(n >= 1 && n <= limit);
	*dstp = dst;
	return n;
}

/* Decompress from memory that ends with the bytes into memory that ends with the page. */
static int decompress(struct zr_workspace *workspace, const struct zr_codec_params *params,
		      const uint8_t *bytes, size_t n_bytes, uint8_t **pagep)
{
	uint8_t *src = src_fence.end - n_bytes;
	uint8_t *page = page_fence.end - ZR_PAGE_SIZE, *at;
	int r;

	memcpy(src, bytes, n_bytes);
	memset(page_fence.start, 0x5A, (size_t)(page - page_fence.start));

	r = zr_codec_decompress(workspace, params, src, n_bytes, page);
	CHECK(r == 0 || r == -EIO);
	for (at = page_fence.start; at < page; ++at)
		CHECK(*at == 0x5A);

	*pagep = page;
	return r;
}

static void check_round_trip(struct zr_workspace *workspace, const struct zr_codec_params *params,
			     const uint8_t *page)
{
	uint8_t *dst, *back;
	size_t n;

	n = compress(workspace, params, page, ZR_CODEC_BOUND, &dst);
	CHECK(n > 0);
	CHECK(decompress(workspace, params, dst, n, &back) == 0);
	CHECK(memcmp(back, page, ZR_PAGE_SIZE) == 0);
}

static void test_lists_and_names(void)
{
	static const char *const names[] = { "lzo-rle", "lzo", "lz4", "lz4hc", "zstd" };
	struct zr_codec_params params = params_of(77, 77);
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(names); ++i) {
		CHECK(strcmp(zr_codec_listed(i)->name, names[i]) == 0);
		CHECK(zr_codec_find(names[i], &params) == 0);
		CHECK(zr_codec_by_algorithm(params.algorithm) == zr_codec_listed(i));
		CHECK(params.level == ZR_CODEC_LEVEL_DEFAULT);
		CHECK(zr_codec_check(&params) == 0);
	}
	CHECK(!zr_codec_listed(ZR_ARRAY_SIZE(names)));
	CHECK(!zr_codec_listed(UINT32_MAX));

	CHECK(zr_codec_by_algorithm(ZR_ALGORITHM_LZ4) == &zr_codec_lz4);
	CHECK(zr_codec_by_algorithm(ZR_ALGORITHM_LZO) == &zr_codec_lzo);
	CHECK(zr_codec_by_algorithm(ZR_ALGORITHM_LZO_RLE) == &zr_codec_lzo_rle);
	CHECK(zr_codec_by_algorithm(ZR_ALGORITHM_LZ4HC) == &zr_codec_lz4hc);
	CHECK(zr_codec_by_algorithm(ZR_ALGORITHM_ZSTD) == &zr_codec_zstd);
	CHECK(!zr_codec_by_algorithm(ZR_N_ALGORITHMS));
	CHECK(!zr_codec_by_algorithm(UINT32_MAX));

	params = params_of(77, 77);
	CHECK(zr_codec_find("", &params) == -EINVAL);
	CHECK(zr_codec_find("lz", &params) == -EINVAL);
	CHECK(zr_codec_find("lz4 ", &params) == -EINVAL);
	CHECK(zr_codec_find("LZ4", &params) == -EINVAL);
	CHECK(params.algorithm == 77 && params.level == 77);
}

static void test_levels_end_where_they_say(void)
{
	const struct zr_codec *codec;
	struct zr_codec_params params;
	uint32_t i;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		codec = zr_codec_by_algorithm(i);
		CHECK(codec->level_min <= codec->level_default);
		CHECK(codec->level_default <= codec->level_max);

		params = params_of(i, codec->level_min);
		CHECK(zr_codec_check(&params) == 0);
		params = params_of(i, codec->level_max);
		CHECK(zr_codec_check(&params) == 0);
		params = params_of(i, codec->level_min - 1);
		CHECK(zr_codec_check(&params) == -EINVAL);
		params = params_of(i, codec->level_max + 1);
		CHECK(zr_codec_check(&params) == -EINVAL);
		params = params_of(i, INT32_MAX);
		CHECK(zr_codec_check(&params) == -EINVAL);
	}

	params = params_of(ZR_N_ALGORITHMS, ZR_CODEC_LEVEL_DEFAULT);
	CHECK(zr_codec_check(&params) == -EINVAL);
	params = params_of(UINT32_MAX, 1);
	CHECK(zr_codec_check(&params) == -EINVAL);
}

static void test_free_takes_null(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = NULL;

	CHECK(!zr_workspace_free(workspace));
}

/* A workspace a thread does not use costs it addresses, not memory. */
static void test_unused_workspace_is_not_resident(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	static unsigned char resident[4096];
	size_t unit = (size_t)sysconf(_SC_PAGESIZE), n_bytes = 0, n_pages, n_resident = 0, i;

	if (unit != 4096)
		return;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i)
		n_bytes += zr_codec_by_algorithm((uint32_t)i)->workspace_bytes();
	n_pages = n_bytes / unit;
	CHECK(n_pages <= sizeof(resident));

	CHECK(mincore(workspace, n_pages * unit, resident) == 0);
	for (i = 0; i < n_pages; ++i)
		n_resident += resident[i] & 1;

	printf("# %zu of %zu KiB resident when new\n", n_resident * 4, n_pages * 4);
	CHECK(n_resident <= 16);
}

static void test_limit_is_met_exactly(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	uint8_t page[ZR_PAGE_SIZE], *dst, *back;
	struct zr_codec_params params;
	uint32_t i, round;
	size_t n;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		params = params_of(i, ZR_CODEC_LEVEL_DEFAULT);
		for (round = 0; round < 4 * N_PAGES; ++round) {
			page_fill_compressible(page);
			n = compress(workspace, &params, page, ZR_CODEC_BOUND, &dst);
			CHECK(n > 1);

			CHECK(compress(workspace, &params, page, n - 1, &dst) == 0);
			CHECK(compress(workspace, &params, page, n, &dst) == n);
			CHECK(decompress(workspace, &params, dst, n, &back) == 0);
			CHECK(memcmp(back, page, ZR_PAGE_SIZE) == 0);

			CHECK(compress(workspace, &params, page, 1, &dst) == 0);
			CHECK(compress(workspace, &params, page, 0, &dst) == 0);
		}
	}
}

static void test_incompressible_is_no_gain(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	uint8_t page[ZR_PAGE_SIZE], *dst;
	struct zr_codec_params params;
	uint32_t i, round;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		params = params_of(i, ZR_CODEC_LEVEL_DEFAULT);
		for (round = 0; round < N_PAGES; ++round) {
			random_fill(page, sizeof(page));
			CHECK(compress(workspace, &params, page, ZR_PAGE_SIZE, &dst) == 0);
			CHECK(compress(workspace, &params, page, ZR_PAGE_SIZE - 1, &dst) == 0);

			/* It fits the bound, and a failed call leaves nothing behind. */
			check_round_trip(workspace, &params, page);
			page_fill_compressible(page);
			check_round_trip(workspace, &params, page);
		}
	}
}

static int32_t level_pick(const struct zr_codec *codec)
{
	int64_t n_levels = (int64_t)codec->level_max - codec->level_min + 1;

	switch (rng_below(&rng, 4)) {
	case 0:
		return ZR_CODEC_LEVEL_DEFAULT;
	case 1: /* the small ones, where they are many */
		n_levels = n_levels < 30 ? n_levels : 30;
		return codec->level_max - (int32_t)rng_below(&rng, (uint64_t)n_levels);
	default:
		return codec->level_min + (int32_t)rng_below(&rng, (uint64_t)n_levels);
	}
}

/* Every level but where there are thousands, each after every kind of page, from one buffer. */
static void test_all_levels_round_trip(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_codec_params params;
	const struct zr_codec *codec;
	int32_t level, first;
	uint32_t i, round;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		codec = zr_codec_by_algorithm(i);
		first = codec->level_max > 1000 ? codec->level_max - 40 : codec->level_max - 60;
		for (level = first < codec->level_min ? codec->level_min : first;
		     level <= codec->level_max; ++level) {
			params = params_of(i, level);
			for (round = 0; round < N_PAGES; ++round) {
				page_fill(page);
				check_round_trip(workspace, &params, page);
			}
		}
		params = params_of(i, codec->level_min);
		for (round = 0; round < N_PAGES; ++round) {
			page_fill(page);
			check_round_trip(workspace, &params, page);
		}
	}
}

/* Codecs, levels and limits mixed at random in one workspace. */
static void test_calls_do_not_disturb_each_other(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *other = workspace_new();
	uint8_t pages[2 * ZR_PAGE_SIZE], *page, *dst, *back;
	struct zr_codec_params params;
	uint32_t i, round;
	size_t n;

	for (round = 0; round < 20000; ++round) {
		i = (uint32_t)rng_below(&rng, ZR_N_ALGORITHMS);
		params = params_of(i, level_pick(zr_codec_by_algorithm(i)));
		CHECK(zr_codec_check(&params) == 0);

		page = pages + rng_below(&rng, ZR_PAGE_SIZE + 1);
		if (rng_below(&rng, 4))
			page_fill(page);
		else /* what is left of earlier pages, and a little news */
			page[rng_below(&rng, ZR_PAGE_SIZE)] ^= 1;

		n = compress(workspace, &params, page, 1 + rng_below(&rng, ZR_PAGE_SIZE), &dst);
		if (n == 0)
			continue;
		CHECK(decompress(other, &params, dst, n, &back) == 0);
		CHECK(memcmp(back, page, ZR_PAGE_SIZE) == 0);
	}
}

/*
 * The streaming calls of lz4 could take the last page for a dictionary. The same noise again, in
 * the same place or right behind it, would then be one long match; it must stay noise.
 */
static void test_earlier_page_is_no_dictionary(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	uint8_t pages[3 * ZR_PAGE_SIZE], *dst;
	struct zr_codec_params params;
	uint32_t i, round;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		params = params_of(i, ZR_CODEC_LEVEL_DEFAULT);
		for (round = 0; round < N_PAGES; ++round) {
			random_fill(pages, ZR_PAGE_SIZE);
			memcpy(pages + ZR_PAGE_SIZE, pages, ZR_PAGE_SIZE);
			memcpy(pages + 2 * ZR_PAGE_SIZE, pages, ZR_PAGE_SIZE);

			check_round_trip(workspace, &params, pages + ZR_PAGE_SIZE);
			CHECK(compress(workspace, &params, pages + ZR_PAGE_SIZE, ZR_PAGE_SIZE,
				       &dst) == 0);
			check_round_trip(workspace, &params, pages + ZR_PAGE_SIZE);
			CHECK(compress(workspace, &params, pages + 2 * ZR_PAGE_SIZE, ZR_PAGE_SIZE,
				       &dst) == 0);
			check_round_trip(workspace, &params, pages + ZR_PAGE_SIZE);
			CHECK(compress(workspace, &params, pages, ZR_PAGE_SIZE, &dst) == 0);
		}
	}
}

/* Past 1 GiB of pages the library starts its positions anew. */
static void test_positions_wrap(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	struct zr_codec_params params = params_of(ZR_ALGORITHM_LZ4, ZR_CODEC_LEVEL_DEFAULT);
	uint8_t page[ZR_PAGE_SIZE];
	uint32_t round;

	page_fill_compressible(page);
	for (round = 0; round < 40000; ++round) {
		page[rng_below(&rng, ZR_PAGE_SIZE)] = (uint8_t)round;
		check_round_trip(workspace, &params, page);
	}

	params.algorithm = ZR_ALGORITHM_LZ4HC;
	params.level = 1;
	for (round = 0; round < 40000; ++round) {
		page[rng_below(&rng, ZR_PAGE_SIZE)] = (uint8_t)round;
		check_round_trip(workspace, &params, page);
	}
}

/* What is written does not depend on what was written before. */
static void test_fresh_and_used_workspace_agree(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *used = workspace_new();
	uint8_t page[ZR_PAGE_SIZE], first[ZR_CODEC_BOUND], *dst;
	struct zr_codec_params params;
	uint32_t i, round;
	size_t n;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		for (round = 0; round < N_PAGES; ++round) {
			ZR_CLEANUP(zr_workspace_freep)
			struct zr_workspace *fresh = workspace_new();

			params = params_of(i, level_pick(zr_codec_by_algorithm(i)));
			page_fill(page);
			n = compress(fresh, &params, page, ZR_CODEC_BOUND, &dst);
			memcpy(first, dst, n);
			CHECK(compress(used, &params, page, ZR_CODEC_BOUND, &dst) == n);
			CHECK(memcmp(dst, first, n) == 0);
		}
	}
}

static void test_only_the_whole_input_is_a_page(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	uint8_t page[ZR_PAGE_SIZE], bytes[ZR_CODEC_BOUND + 1], *dst, *back;
	struct zr_codec_params params;
	uint32_t i, round;
	size_t n, n_cut;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		params = params_of(i, ZR_CODEC_LEVEL_DEFAULT);
		for (round = 0; round < 8; ++round) {
			page_fill(page);
			n = compress(workspace, &params, page, ZR_CODEC_BOUND, &dst);
			memcpy(bytes, dst, n);

			for (n_cut = 0; n_cut < n; ++n_cut)
				CHECK(decompress(workspace, &params, bytes, n_cut, &back) == -EIO);
			bytes[n] = 0;
			CHECK(decompress(workspace, &params, bytes, n + 1, &back) == -EIO);
			CHECK(decompress(workspace, &params, bytes, n, &back) == 0);
			CHECK(memcmp(back, page, ZR_PAGE_SIZE) == 0);
		}
		memset(bytes, 0, sizeof(bytes));
		CHECK(decompress(workspace, &params, bytes, sizeof(bytes), &back) == -EIO);
	}

	params = params_of(ZR_N_ALGORITHMS, ZR_CODEC_LEVEL_DEFAULT);
	CHECK(decompress(workspace, &params, bytes, 10, &back) == -EIO);
}

/* Damage gives -EIO or some page; the fences see to the rest. Good bytes stay good after it. */
static void test_damage_is_contained(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	uint8_t page[ZR_PAGE_SIZE], bytes[ZR_CODEC_BOUND], *dst, *back;
	struct zr_codec_params params;
	uint32_t i, round, flip;
	size_t n, at;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		params = params_of(i, ZR_CODEC_LEVEL_DEFAULT);
		for (round = 0; round < N_PAGES; ++round) {
			page_fill(page);
			n = compress(workspace, &params, page, ZR_CODEC_BOUND, &dst);
			memcpy(bytes, dst, n);

			for (flip = 0; flip < 100; ++flip) {
				at = rng_below(&rng, flip < 50 && n > 16 ? 16 : n);
				bytes[at] ^= (uint8_t)(1 << rng_below(&rng, 8));
				(void)decompress(workspace, &params, bytes, n, &back);
				if (flip % 2)
					memcpy(bytes, dst, n);
			}
			CHECK(decompress(workspace, &params, dst, n, &back) == 0);
			CHECK(memcmp(back, page, ZR_PAGE_SIZE) == 0);
		}
	}
}

static void test_garbage_is_contained(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	uint8_t bytes[ZR_CODEC_BOUND], *back;
	struct zr_codec_params params;
	uint32_t i, round;
	size_t n;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		params = params_of(i, ZR_CODEC_LEVEL_DEFAULT);
		for (n = 0; n <= sizeof(bytes); n += 1 + n / 16) {
			memset(bytes, 0x00, n);
			(void)decompress(workspace, &params, bytes, n, &back);
			memset(bytes, 0xFF, n);
			(void)decompress(workspace, &params, bytes, n, &back);
		}
		for (round = 0; round < 10000; ++round) {
			n = 1 + rng_below(&rng, sizeof(bytes));
			if (round % 2)
				n = 1 + n % 64;
			random_fill(bytes, n);
			/* A plausible start, so that what follows is looked at. */
			if (i == ZR_ALGORITHM_ZSTD && n > 2)
				memcpy(bytes, "\0\x10", 2);
			(void)decompress(workspace, &params, bytes, n, &back);
		}
	}
}

int main(void)
{
	rng = rng_init("test-codec");
	src_fence = fence_new(ZR_CODEC_BOUND + 1);
	dst_fence = fence_new(ZR_CODEC_BOUND);
	page_fence = fence_new(2 * ZR_PAGE_SIZE);

	RUN(test_lists_and_names);
	RUN(test_levels_end_where_they_say);
	RUN(test_free_takes_null);
	RUN(test_unused_workspace_is_not_resident);
	RUN(test_limit_is_met_exactly);
	RUN(test_incompressible_is_no_gain);
	RUN(test_all_levels_round_trip);
	RUN(test_calls_do_not_disturb_each_other);
	RUN(test_earlier_page_is_no_dictionary);
	RUN(test_positions_wrap);
	RUN(test_fresh_and_used_workspace_agree);
	RUN(test_only_the_whole_input_is_a_page);
	RUN(test_damage_is_contained);
	RUN(test_garbage_is_contained);
	return 0;
}
