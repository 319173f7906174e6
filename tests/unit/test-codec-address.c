/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A page with next to nothing behind it. lz4 and zstd reckon with addresses a step past the page,
 * which may be 128 KiB; of 32 bits, those come out at the start of the address space. */

#include "test.h"

#include <sys/mman.h>

#include "codec.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define N_PAGES     64u
#define N_END_BYTES ((uintptr_t)64 << 10)

static struct rng rng;

/* Return: the last memory that can be had before the end, a page of the system; NULL if none. Of 64
 * bits that is the kernel's, and TSan ends a program that asks. */
static uint8_t *last_memory(size_t unit)
{
	void *wanted, *got;
	uintptr_t n_from_end;

	if (UINTPTR_MAX > UINT32_MAX)
		return NULL;
	for (n_from_end = unit; n_from_end <= N_END_BYTES; n_from_end += unit) {
		wanted = (void *)(UINTPTR_MAX - n_from_end + 1);
		got = mmap(wanted, unit, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (got == wanted)
			return got;
		/* A kernel before 4.17 takes it for a wish. */
		CHECK(got == MAP_FAILED || munmap(got, unit) == 0);
	}
	return NULL;
}

static void page_fill(uint8_t *page)
{
	if (rng_below(&rng, 2))
		rng_fill_mixed(&rng, page, ZR_PAGE_SIZE);
	else
		bytes_random(&rng, page, ZR_PAGE_SIZE);
}

static void check_level(struct zr_workspace *workspace, const struct zr_codec *codec, int32_t level,
			const uint8_t *page)
{
	static uint8_t dst[ZR_CODEC_BOUND], back[ZR_PAGE_SIZE];
	struct zr_codec_params params;
	size_t n;

	CHECK(zr_codec_find(codec->name, &params) == 0);
	params.level = level;
	if (zr_codec_compress(workspace, &params, page, dst, ZR_CODEC_BOUND, &n) != 0)
		return; /* noise */
	CHECK(zr_codec_decompress(workspace, &params, dst, n, back) == 0);
	CHECK(memcmp(back, page, ZR_PAGE_SIZE) == 0);
}

static void test_all_codecs_with_the_longest_steps(void)
{
	ZR_CLEANUP(zr_workspace_freep) struct zr_workspace *workspace = NULL;
	size_t unit = (size_t)sysconf(_SC_PAGESIZE);
	const struct zr_codec *codec;
	uint8_t *memory, *page;
	uint32_t i, round;

	memory = last_memory(unit);
	if (!memory) {
		printf("# skipped: the end of this address space is the kernel's, or taken\n");
		return;
	}
	printf("# %" PRIuPTR " KiB from the end\n", (UINTPTR_MAX - (uintptr_t)memory + 1) / 1024);

	CHECK(zr_workspace_new(&workspace) == 0);
	page = memory + unit - ZR_PAGE_SIZE;
	for (i = 0; (codec = zr_codec_listed(i)); ++i) {
		for (round = 0; round < N_PAGES; ++round) {
			page_fill(page);
			check_level(workspace, codec, codec->level_min, page);
			check_level(workspace, codec, codec->level_default, page);
			check_level(workspace, codec, codec->level_max, page);
		}
	}
	CHECK(munmap(memory, unit) == 0);
}

int main(void)
{
	rng = rng_init("test-codec-address");

	RUN(test_all_codecs_with_the_longest_steps);
	return 0;
}
