/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "test.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "codec.h"
#include "check.h"

#define N_PAGES 64u

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* What the kernel says to the next request for memory; 0: what it wants. */
static int populate_errno;

/* In the place of the C library's. */
int madvise(void *address, size_t n_bytes, int advice)
{
	if (advice == MADV_POPULATE_WRITE && populate_errno) {
		errno = populate_errno;
		return -1;
	}
	return (int)syscall(SYS_madvise, address, n_bytes, advice);
}

static unsigned long n_allocations;

/* The libraries, too, allocate through these. */
#if defined(__GLIBC__) && !ZR_SANITIZED
#define COUNTS_ALLOCATIONS 1

void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *old, size_t n_bytes);

void *malloc(size_t n_bytes)
{
	++n_allocations;
	return __libc_malloc(n_bytes);
}

void *calloc(size_t n, size_t n_bytes)
{
	++n_allocations;
	return __libc_calloc(n, n_bytes);
}

void *realloc(void *old, size_t n_bytes)
{
	++n_allocations;
	return __libc_realloc(old, n_bytes);
}
#endif

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

/* A page of one of the kinds that take the libraries down different paths. */
static void page_fill(uint8_t *page)
{
	size_t i, period;

	switch (rng_below(&rng, 5)) {
	case 0:
		memset(page, (int)rng_below(&rng, 256), ZR_PAGE_SIZE);
		break;
	case 1:
		bytes_random(&rng, page, ZR_PAGE_SIZE);
		break;
	case 2: /* few symbols: entropy coding and no matches worth a word */
		for (i = 0; i < ZR_PAGE_SIZE; ++i)
			page[i] = (uint8_t)(rng_next(&rng) & rng_next(&rng) & 7);
		break;
	case 3: /* a period with faults */
		period = 1 + rng_below(&rng, 600);
		bytes_random(&rng, page, period);
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

static void check_back(struct zr_workspace *workspace, const struct zr_codec_params *params,
		       const uint8_t *bytes, size_t n_bytes, const uint8_t *page)
{
	uint8_t *back;

	CHECK(decompress(workspace, params, bytes, n_bytes, &back) == 0);
	CHECK(memcmp(back, page, ZR_PAGE_SIZE) == 0);
}

static void check_compresses(struct zr_workspace *workspace, const struct zr_codec_params *params,
			     const uint8_t *page, size_t limit)
{
	uint8_t *dst;
	size_t n;

	n = compress(workspace, params, page, limit, &dst);
	CHECK(n > 0);
	check_back(workspace, params, dst, n, page);
}

static void check_round_trip(struct zr_workspace *workspace, const struct zr_codec_params *params,
			     const uint8_t *page)
{
	uint8_t *dst;

	/* It knows nothing between compressed and not. */
	if (params->algorithm == ZR_ALGORITHM_ZSTD &&
	    compress(workspace, params, page, ZR_CODEC_BOUND, &dst) == 0)
		return;
	check_compresses(workspace, params, page, ZR_CODEC_BOUND);
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

/* The bytes of a workspace, from its own first member. */
static size_t workspace_bytes(const struct zr_workspace *workspace)
{
	size_t n_bytes;

	memcpy(&n_bytes, workspace, sizeof(n_bytes));
	return n_bytes;
}

static void check_resident(struct zr_workspace *workspace)
{
	static unsigned char resident[1024];
	size_t unit = (size_t)sysconf(_SC_PAGESIZE), i;
	size_t n_units = zr_align_up(workspace_bytes(workspace), unit) / unit;

	CHECK(n_units <= sizeof(resident));
	CHECK(mincore(workspace, n_units * unit, resident) == 0);
	for (i = 0; i < n_units; ++i)
		CHECK(resident[i] & 1);
}

static void test_workspace_is_resident(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();

	printf("# a workspace has %zu KiB\n", workspace_bytes(workspace) / 1024);
	CHECK(workspace_bytes(workspace) < 512u << 10);
	check_resident(workspace);
}

static void test_refused_memory_is_no_workspace(void)
{
	struct zr_workspace *workspace = NULL;

	/* No kernel knows that advice. */
	if (madvise(NULL, 0, -1) == 0) {
		printf("# skipped: an emulator takes any advice and follows none\n");
		return;
	}
	populate_errno = ENOMEM;
	CHECK(zr_workspace_new(&workspace) == -ENOMEM);
	CHECK(!workspace);
	populate_errno = EHWPOISON;
	CHECK(zr_workspace_new(&workspace) == -ENOMEM);
	CHECK(!workspace);

	/* A kernel before 5.14. */
	populate_errno = EINVAL;
	CHECK(zr_workspace_new(&workspace) == 0);
	populate_errno = 0;
	check_resident(workspace);
	workspace = zr_workspace_free(workspace);
}

/* Each codec at levels of each kind, and back. */
static void use_everything(struct zr_workspace *workspace, const uint8_t *page)
{
	static const int32_t levels[] = { ZR_CODEC_LEVEL_DEFAULT, -5, 1, 6, 9, 12, 22 };
	struct zr_codec_params params;
	uint32_t i, k;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		for (k = 0; k < ZR_ARRAY_SIZE(levels); ++k) {
			params = params_of(i, levels[k]);
			if (zr_codec_check(&params) < 0)
				continue;
			if (i == ZR_ALGORITHM_LZ4HC && levels[k] > 9)
				continue;
			check_round_trip(workspace, &params, page);
		}
	}
}

/* What a page needs to be written must be there before: at that moment, there may be no memory. */
static void test_first_use_takes_no_memory(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *warm = workspace_new();
	uint8_t page[ZR_PAGE_SIZE];
	struct rusage before, after;
	unsigned long n_before;
	unsigned int round;

	page_fill_compressible(page);
	use_everything(warm, page); /* the code, the stack */

	/* More than once, since a fault may also be the kernel's own doing. */
	for (round = 0; round < 20; ++round) {
		ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();

		n_before = n_allocations;
		getrusage(RUSAGE_THREAD, &before);
		use_everything(workspace, page);
		getrusage(RUSAGE_THREAD, &after);
		CHECK(n_allocations == n_before);
		if (after.ru_minflt == before.ru_minflt && after.ru_majflt == before.ru_majflt)
			break;
	}
#if !ZR_SANITIZED
	CHECK(round < 20);
#endif
#ifdef COUNTS_ALLOCATIONS
	CHECK(n_allocations > 0);
#endif
}

static void test_limit_is_met_exactly(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	uint8_t page[ZR_PAGE_SIZE], *dst;
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
			check_back(workspace, &params, dst, n, page);

			CHECK(compress(workspace, &params, page, 1, &dst) == 0);
			CHECK(compress(workspace, &params, page, 0, &dst) == 0);
		}
	}
}

/* Pages of one byte, of every short period, of one byte but for one: zstd might choose other blocks
 * for them than the one kind that is stored; and an error of a library would be NO_GAIN as well. */
static void test_simple_pages_compress_at_every_level(void)
{
	static const int32_t levels[] = { -7, -1, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
					  11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22 };
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_codec_params params;
	uint32_t i, k, value;
	size_t period, at, limit;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		for (k = 0; k < ZR_ARRAY_SIZE(levels); ++k) {
			params = params_of(i, levels[k]);
			if (zr_codec_check(&params) < 0)
				continue;
			for (value = 0; value < 256; ++value) {
				memset(page, (int)value, sizeof(page));
				check_compresses(workspace, &params, page, 64);
				page[rng_below(&rng, sizeof(page))] ^= 1;
				check_compresses(workspace, &params, page, 64);
			}
			for (period = 1; period <= 300; period += 1 + period / 16) {
				/* The fast ones take long steps where nothing repeats yet. */
				limit = i == ZR_ALGORITHM_ZSTD && levels[k] > 0 ? 64 + 2 * period
										: ZR_PAGE_SIZE;
				bytes_random(&rng, page, period);
				for (at = period; at < sizeof(page); ++at)
					page[at] = page[at - period];
				check_compresses(workspace, &params, page, limit);
			}
		}
	}
}

/* A frame around a block has 5 bytes, 9 with a magic number. */
static void test_zstd_objects_have_no_header(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	const struct zr_codec_params params = params_of(ZR_ALGORITHM_ZSTD, 3);
	uint8_t page[ZR_PAGE_SIZE], framed[ZR_CODEC_BOUND], *dst, *back;
	size_t n;

	memset(page, 'x', sizeof(page));
	n = compress(workspace, &params, page, ZR_PAGE_SIZE, &dst);
	CHECK(n > 0 && n <= 12);

	page_fill_compressible(page);
	n = compress(workspace, &params, page, ZR_PAGE_SIZE, &dst);
	CHECK(n > 0);

	/* Magic number or not: a frame is no object. */
	memcpy(framed, "\x28\xb5\x2f\xfd\0\x10", 6);
	framed[6] = (uint8_t)(5 | n << 3);
	framed[7] = (uint8_t)(n >> 5);
	framed[8] = (uint8_t)(n >> 13);
	memcpy(framed + 9, dst, zr_min(n, sizeof(framed) - 9));
	CHECK(decompress(workspace, &params, framed, n + 9, &back) == -EIO);
	CHECK(decompress(workspace, &params, framed + 4, n + 5, &back) == -EIO);
	check_back(workspace, &params, framed + 9, n, page);
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
			bytes_random(&rng, page, sizeof(page));
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
	uint8_t pages[2 * ZR_PAGE_SIZE], *page, *dst;
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
		check_back(other, &params, dst, n, page);
	}
}

/*
 * The streaming calls of lz4hc could take the last page for a dictionary. The same noise again, in
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
			bytes_random(&rng, pages, ZR_PAGE_SIZE);
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

/* The stream of lz4hc: past 1 GiB of pages the library starts its positions anew. */
static void test_positions_wrap(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	struct zr_codec_params params = params_of(ZR_ALGORITHM_LZ4HC, 1);
	uint8_t page[ZR_PAGE_SIZE];
	uint32_t round;

	page_fill_compressible(page);
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
			page_fill_compressible(page);
			n = compress(workspace, &params, page, ZR_CODEC_BOUND, &dst);
			CHECK(n > 0);
			memcpy(bytes, dst, n);

			CHECK(decompress(workspace, &params, bytes, 0, &back) == -EIO);
			for (n_cut = 1; n_cut < n; ++n_cut) {
				/* zstd reads from the end: where a cut is another good end, there
				 * is another page. */
				CHECK(decompress(workspace, &params, bytes, n_cut, &back) == -EIO ||
				      i == ZR_ALGORITHM_ZSTD);
			}
			bytes[n] = 0;
			CHECK(decompress(workspace, &params, bytes, n + 1, &back) == -EIO);
			check_back(workspace, &params, bytes, n, page);
		}
		memset(bytes, 0, sizeof(bytes));
		CHECK(decompress(workspace, &params, bytes, sizeof(bytes), &back) == -EIO);
	}

	params = params_of(ZR_N_ALGORITHMS, ZR_CODEC_LEVEL_DEFAULT);
	CHECK(decompress(workspace, &params, bytes, 10, &back) == -EIO);
}

/* One of the ways in which an object is not what was written. @bytes has ZR_CODEC_BOUND. */
static size_t damage(uint8_t *bytes, size_t n_bytes, const uint8_t *other, size_t n_other)
{
	size_t at = rng_below(&rng, n_bytes), n;

	switch (rng_below(&rng, 6)) {
	case 0: /* a bit, where the lengths are */
		bytes[rng_below(&rng, zr_min(n_bytes, 16))] ^= (uint8_t)(1 << rng_below(&rng, 8));
		return n_bytes;
	case 1: /* a bit anywhere */
		bytes[at] ^= (uint8_t)(1 << rng_below(&rng, 8));
		return n_bytes;
	case 2: /* the start alone */
		return at + 1;
	case 3: /* the start of one and the end of another */
		n = zr_min(n_other, n_bytes - at);
		memcpy(bytes + at, other + n_other - n, n);
		return n_bytes;
	case 4: /* a part of it again */
		n = rng_below(&rng, zr_min(n_bytes - at, ZR_CODEC_BOUND - n_bytes) + 1);
		memcpy(bytes + n_bytes, bytes + at, n);
		return n_bytes + n;
	default: /* a run of noise */
		bytes_random(&rng, bytes + at, rng_below(&rng, zr_min(n_bytes - at, 8)) + 1);
		return n_bytes;
	}
}

/* Damage gives -EIO or some page; the fences see to the rest. Good bytes stay good after it. */
static void test_damage_is_contained(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = workspace_new();
	static uint8_t page[ZR_PAGE_SIZE], good[ZR_CODEC_BOUND], bytes[ZR_CODEC_BOUND],
		other[ZR_CODEC_BOUND];
	uint8_t *dst, *back;
	struct zr_codec_params params;
	uint32_t i, round, step;
	size_t n = 0, n_good, n_other = 0;

	for (i = 0; i < ZR_N_ALGORITHMS; ++i) {
		for (round = 0; round < 4 * N_PAGES; ++round) {
			params = params_of(i, level_pick(zr_codec_by_algorithm(i)));
			page_fill(page);
			n_good = compress(workspace, &params, page, ZR_CODEC_BOUND, &dst);
			if (n_good == 0)
				continue;
			memcpy(good, dst, n_good);

			for (step = 0; step < 60; ++step) {
				if (step % 3 == 0)
					memcpy(bytes, good, n = n_good);
				n = damage(bytes, n, other, n_other);
				(void)decompress(workspace, &params, bytes, n, &back);
			}
			check_back(workspace, &params, good, n_good, page);
			memcpy(other, good, n_other = n_good);
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
			bytes_random(&rng, bytes, n);
			/* zstd: literals as they are, and few of them, so that what follows is
			 * looked at. */
			if (i == ZR_ALGORITHM_ZSTD && round % 4 > 1)
				bytes[0] &= 0x38;
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
	RUN(test_workspace_is_resident);
	RUN(test_refused_memory_is_no_workspace);
	RUN(test_first_use_takes_no_memory);
	RUN(test_limit_is_met_exactly);
	RUN(test_incompressible_is_no_gain);
	RUN(test_simple_pages_compress_at_every_level);
	RUN(test_zstd_objects_have_no_header);
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
