/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pages with no disk around them. The figures are compared with what was put in, by hand for the
 * edges and by walking for the rest.
 */

#include "pages-rig.h"

#include <errno.h>

static void test_holes_read_as_zeros(void)
{
	static const uint8_t zeros[ZR_PAGE_SIZE];

	set_up();
	check_page(0, zeros);
	check_page(ZR_DISK_PAGES_MAX - 1, zeros);
	CHECK(!zr_page_is_data(&pages, 0));
	zr_page_discard(&pages, 0);
	zr_page_discard_leaf(&pages, 0);
	zr_pages_prune(&pages);
	CHECK(used_bytes() == 0);
	/* None of this takes memory. */
	CHECK(zr_arena_memory(&engine.arena) == zr_system_whole(ZR_DIRECTORY_START));
	tear_down();
}

static void test_words_need_an_object_only_if_they_must(void)
{
	set_up();
	write_word(0, 0);
	CHECK(used_bytes() == 4 * ZR_PAGE_SIZE);
	CHECK(gauge(ZR_GAUGE_ZERO) == 1 && gauge(ZR_GAUGE_SAME) == 1);
	write_word(1, UINT64_C(0x00123456789abcde));
	write_word(2, UINT64_C(0xff80000000000000));
	write_word(3, UINT64_C(0xdeadbeefdeadbeef));
	CHECK(used_bytes() == 4 * ZR_PAGE_SIZE);

	write_word(4, UINT64_C(0xfedcba9876543210));
	CHECK(used_bytes() == 4 * ZR_PAGE_SIZE + 16);
	CHECK(gauge(ZR_GAUGE_SAME) == 5 && gauge(ZR_GAUGE_ZERO) == 1);
	CHECK(gauge(ZR_GAUGE_COMPR_BYTES) == 0);
	CHECK(gauge(ZR_GAUGE_PAGES) == 5);

	write_word(4, 1); /* and its object goes */
	CHECK(used_bytes() == 4 * ZR_PAGE_SIZE);
	tear_down();
}

/* What compresses too little is stored as it is, and says so. */
static void test_huge_pages_are_raw(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t page[ZR_PAGE_SIZE];

	set_up();
	bytes_random(&rng, page, sizeof(page));
	CHECK(zr_page_write(&pages, ctx, 9, page) == 0);
	check_page(9, page);
	CHECK(gauge(ZR_GAUGE_HUGE) == 1);
	CHECK(gauge(ZR_GAUGE_COMPR_BYTES) == ZR_PAGE_SIZE);
	CHECK(used_bytes() == 5 * ZR_PAGE_SIZE);
	CHECK(entry.counters.huge_pages_since == 1);

	memset(page, 0, sizeof(page) / 2); /* half of it compresses away */
	CHECK(zr_page_write(&pages, ctx, 9, page) == 0);
	check_page(9, page);
	CHECK(gauge(ZR_GAUGE_HUGE) == 0);
	CHECK(entry.counters.huge_pages_since == 1);
	CHECK(gauge(ZR_GAUGE_COMPR_BYTES) > ZR_PAGE_SIZE / 2);
	CHECK(gauge(ZR_GAUGE_GOOD) == 0);

	memset(page, 0, sizeof(page) - 64);
	CHECK(zr_page_write(&pages, ctx, 9, page) == 0);
	CHECK(gauge(ZR_GAUGE_GOOD) == 1);
	tear_down();
}

static void test_pages_of_every_kind_and_codec(void)
{
	static uint8_t shadow[256][ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");
	unsigned int algorithm, i, round;

	for (algorithm = 0; algorithm < ZR_N_ALGORITHMS; ++algorithm) {
		set_up();
		pages.codecs[0].algorithm = algorithm;
		for (round = 0; round < 4; ++round) {
			for (i = 0; i < ZR_ARRAY_SIZE(shadow); ++i) {
				page_random(&rng, shadow[i]);
				CHECK(zr_page_write(&pages, ctx, i * 300, shadow[i]) == 0);
			}
			used_bytes();
			for (i = 0; i < ZR_ARRAY_SIZE(shadow); ++i)
				check_page(i * 300, shadow[i]);
		}
		CHECK(gauge(ZR_GAUGE_PAGES) == ZR_ARRAY_SIZE(shadow));
		tear_down();
	}
}

static void test_update_changes_just_its_part(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t shadow[ZR_PAGE_SIZE] = { 0 }, bytes[ZR_PAGE_SIZE];
	unsigned int i;

	set_up();
	for (i = 0; i < 2000; ++i) {
		const uint32_t at = (uint32_t)rng_below(&rng, ZR_PAGE_SIZE);
		const uint32_t n_bytes = 1 + (uint32_t)rng_below(&rng, ZR_PAGE_SIZE - at);

		if (i % 3 == 0) {
			memset(shadow + at, 0, n_bytes);
			CHECK(zr_page_update(&pages, ctx, 5, at, n_bytes, NULL) == 0);
		} else {
			page_random(&rng, bytes);
			memcpy(shadow + at, bytes, n_bytes);
			CHECK(zr_page_update(&pages, ctx, 5, at, n_bytes, bytes) == 0);
		}
		check_page(5, shadow);
	}
	used_bytes();
	tear_down();
}

static void test_zeroing_part_of_a_hole_leaves_a_hole(void)
{
	set_up();
	CHECK(zr_page_update(&pages, ctx, 5, 10, 100, NULL) == 0);
	CHECK(!zr_page_is_data(&pages, 5));
	CHECK(used_bytes() == 0);

	CHECK(zr_page_update(&pages, ctx, 5, 10, 3, "\0\0") == 0); /* written zeros are data */
	CHECK(zr_page_is_data(&pages, 5));
	CHECK(gauge(ZR_GAUGE_ZERO) == 1);
	tear_down();
}

static void test_last_page_of_a_leaf_takes_it_along(void)
{
	set_up();
	write_word(0, 1);
	write_word(511, 1);
	write_word(512, 1);
	CHECK(used_bytes() == 5 * ZR_PAGE_SIZE);
	zr_page_discard(&pages, 0);
	CHECK(used_bytes() == 5 * ZR_PAGE_SIZE);
	zr_page_discard(&pages, 511);
	CHECK(used_bytes() == 4 * ZR_PAGE_SIZE);
	CHECK(zr_page_is_data(&pages, 512));

	zr_page_discard_leaf(&pages, 1);
	CHECK(used_bytes() == 3 * ZR_PAGE_SIZE);
	CHECK(gauge(ZR_GAUGE_PAGES) == 0);
	zr_pages_prune(&pages); /* inner nodes wait for this */
	CHECK(used_bytes() == 0);
	tear_down();
}

static void test_whole_leaf_goes_at_once(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t page_no;

	set_up();
	for (page_no = 511; page_no <= 1024; ++page_no) {
		page_random(&rng, page);
		CHECK(zr_page_write(&pages, ctx, page_no, page) == 0);
	}
	zr_page_discard_leaf(&pages, 1);
	used_bytes();
	CHECK(gauge(ZR_GAUGE_PAGES) == 2);
	CHECK(zr_page_is_data(&pages, 511) && zr_page_is_data(&pages, 1024));
	CHECK(!zr_page_is_data(&pages, 512) && !zr_page_is_data(&pages, 1023));
	tear_down();
}

static void test_unhooked_pages_can_be_freed_later(void)
{
	struct zr_stale top;

	set_up();
	write_word(3, UINT64_C(0xfedcba9876543210));
	top = zr_pages_unhook(&pages);
	CHECK(!zr_page_is_data(&pages, 3));
	CHECK(pages.xused_bytes == 0);
	write_word(3, 1);
	zr_pages_retire(&pages, top);
	CHECK(used_bytes() == 4 * ZR_PAGE_SIZE);
	tear_down();
}

static void test_peak_stays(void)
{
	set_up();
	write_word(0, UINT64_C(0xfedcba9876543210));
	CHECK(entry.counters.mem_used_max_bytes == 4 * ZR_PAGE_SIZE + 16);
	zr_page_discard(&pages, 0);
	zr_pages_prune(&pages);
	CHECK(used_bytes() == 0);
	CHECK(entry.counters.mem_used_max_bytes == 4 * ZR_PAGE_SIZE + 16);
	tear_down();
}

/* Memory is refused once for each cell that the write needs; with the ones that it got it then goes
 * on. After each refusal all is as it was. */
static void test_refused_memory_changes_nothing(void)
{
	const uint64_t far = UINT64_C(1) << 35; /* an object and three nodes */
	struct rng rng = rng_init("test-pages");
	uint8_t old[ZR_PAGE_SIZE], fresh[ZR_PAGE_SIZE];
	unsigned int n_taken, n_spared, n_refused = 0;
	zr_position taken[1024];
	int64_t before;
	int r = -ENOMEM;

	set_up();
	rng_fill_mixed(&rng, old, sizeof(old));
	CHECK(zr_page_write(&pages, ctx, 0, old) == 0);
	memset(fresh, 1, sizeof(fresh));
	bytes_random(&rng, fresh, sizeof(fresh) / 3);
	before = used_bytes();
	write_word(far / 2, 1); /* nodes, whose cells are free then */
	write_word(far / 4, 1);
	zr_page_discard(&pages, far / 2);
	zr_page_discard(&pages, far / 4);
	zr_pages_prune(&pages);
	CHECK(used_bytes() == before);

	for (n_spared = 0; r < 0; ++n_spared) {
		n_taken = faults_drain(&engine.pool, taken, ZR_ARRAY_SIZE(taken));
		CHECK(n_taken >= 4 && n_taken < ZR_ARRAY_SIZE(taken));
		faults_undrain(&engine.pool, taken + n_taken - n_spared, n_spared);
		faults_all = true;
		r = zr_page_write(&pages, ctx, far, fresh);
		faults_all = false;
		faults_undrain(&engine.pool, taken, n_taken - n_spared);
		if (r < 0) {
			CHECK(r == -ENOMEM);
			CHECK(used_bytes() == before);
			CHECK(!zr_page_is_data(&pages, far));
			++n_refused;
		}
	}
	CHECK(n_refused == 4);
	check_page(0, old);
	check_page(far, fresh);
	tear_down();
}

static void test_derivation_finds_all_again(void)
{
	static uint8_t shadow[300][ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");
	struct zr_tally before, after;
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(shadow); ++i) {
		page_random(&rng, shadow[i]);
		CHECK(zr_page_write(&pages, ctx, i * 1000, shadow[i]) == 0);
	}
	zr_pages_tally(&pages, &before);

	derive_again();
	zr_pages_tally(&pages, &after);
	CHECK(memcmp(&before, &after, sizeof(before)) == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(shadow); ++i)
		check_page(i * 1000, shadow[i]);
	tear_down();
}

int main(void)
{
	RUN(test_holes_read_as_zeros);
	RUN(test_words_need_an_object_only_if_they_must);
	RUN(test_huge_pages_are_raw);
	RUN(test_pages_of_every_kind_and_codec);
	RUN(test_update_changes_just_its_part);
	RUN(test_zeroing_part_of_a_hole_leaves_a_hole);
	RUN(test_last_page_of_a_leaf_takes_it_along);
	RUN(test_whole_leaf_goes_at_once);
	RUN(test_unhooked_pages_can_be_freed_later);
	RUN(test_peak_stays);
	RUN(test_refused_memory_changes_nothing);
	RUN(test_derivation_finds_all_again);
	return 0;
}
