/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * An engine and one entry of a directory in plain memory: pages with no disk around them. The
 * figures are compared with what was put in, by hand for the edges and by walking for the rest.
 */

#include "rig.h"

#include <errno.h>

#include "faults.h"
#include "pages-parts.h"

static struct zr_engine engine;
static struct zr_entry entry;
static struct zr_pages pages;
static struct zr_ctx *ctx;

static void set_up(void)
{
	unsigned int i;

	memset(&engine, 0, sizeof(engine));
	memset(&entry, 0, sizeof(entry));
	memset(&pages, 0, sizeof(pages));
	engine.arena = (struct zr_arena)ZR_ARENA_NULL;
	CHECK(zr_arena_create(&engine.arena, RIG_STORE_BYTES) == 0);
	CHECK(zr_engine_init(&engine) == 0);
	/* The superblock, in which reading would give it memory. */
	CHECK(zr_arena_populate(&engine.arena, 0, ZR_DIRECTORY_START) == 0);
	atomic_store(&entry.id, 1);
	zr_pages_init(&pages, &engine, &entry);
	for (i = 0; i < ZR_CODEC_NUMBERS; ++i)
		pages.codecs[i].level = ZR_CODEC_LEVEL_DEFAULT;
	CHECK(zr_ctx_new(&ctx) == 0);
}

static int64_t used_bytes(void)
{
	zr_pages_validate(&pages);
	CHECK(zr_pool_validate(&engine.pool) == (uint64_t)pages.xused_bytes);
	return pages.xused_bytes;
}

/* Nothing may be left. */
static void tear_down(void)
{
	zr_pages_retire(&pages, zr_pages_unhook(&pages));
	CHECK(used_bytes() == 0);
	zr_pool_trim(&engine.pool, 0);
	CHECK(zr_pool_usage(&engine.pool).span_bytes == 0);
	ctx = zr_ctx_free(ctx);
	zr_pages_deinit(&pages);
	zr_engine_deinit(&engine);
	zr_arena_deinit(&engine.arena);
}

static int64_t gauge(enum zr_gauge which)
{
	struct zr_tally tally;

	zr_pages_tally(&pages, &tally);
	return tally.gauge[which];
}

static void check_page(uint64_t page_no, const void *want)
{
	uint8_t page[ZR_PAGE_SIZE];

	memset(page, 0x5a, sizeof(page));
	CHECK(zr_page_read(&pages, ctx, page_no, page) == 0);
	CHECK(memcmp(page, want, sizeof(page)) == 0);
}

static void write_word(uint64_t page_no, uint64_t word)
{
	uint8_t page[ZR_PAGE_SIZE];

	zr_fill_page(page, word);
	CHECK(zr_page_write(&pages, ctx, page_no, page) == 0);
	CHECK(zr_page_is_data(&pages, page_no));
	check_page(page_no, page);
}

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
	CHECK(zr_arena_memory(&engine.arena) == ZR_DIRECTORY_START);
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
	zr_position top;

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

/* A death: the same engine and pages, derived anew from the slots. */
static void derive_again(void)
{
	zr_pages_deinit(&pages);
	zr_pool_deinit(&engine.pool);
	memset(&engine.pool, 0, sizeof(engine.pool));
	CHECK(zr_pool_init(&engine.pool, &engine.arena) == 0);
	zr_pages_init(&pages, &engine, &entry);
	CHECK(zr_pool_derive_begin(&engine.pool) == 0);
	CHECK(zr_pages_derive(&pages) == 0);
	zr_pool_derive_end(&engine.pool);
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

/* moving */

/* Pages 0..n_pages of every kind, of which the odd ones are discarded then. */
static void half_full(struct rng *rng, uint8_t (*shadow)[ZR_PAGE_SIZE], unsigned int n_pages)
{
	unsigned int i;

	for (i = 0; i < n_pages; ++i) {
		if (i % 4 == 0)
			page_random(rng, shadow[i]);
		else /* most of one class, so that there is something to gain */
			stamp_make(shadow[i], ZR_PAGE_SIZE, rng_next(rng) << 2 | 1);
		CHECK(zr_page_write(&pages, ctx, i, shadow[i]) == 0);
	}
	for (i = 1; i < n_pages; i += 2) {
		zr_page_discard(&pages, i);
		memset(shadow[i], 0, ZR_PAGE_SIZE);
	}
	zr_pool_trim(&engine.pool, 0);
}

static uint64_t vacate_end(void)
{
	uint64_t n_bytes = 0;

	while (zr_pool_vacate_end(&engine.pool, &n_bytes))
		;
	return n_bytes;
}

/* What is said to lie in what is emptied is what moves, and nothing else; the words of same-filled
 * pages as well as pages. */
static void test_moving_keeps_what_is_there(void)
{
	static uint8_t shadow[8 * ZR_LEAF_SLOTS][ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");
	uint16_t in_leaf[ZR_LEAF_SLOTS];
	uint64_t n_moving, n_moved = 0, leaf_no;
	struct zr_tally before, after;
	unsigned int i, n;

	set_up();
	half_full(&rng, shadow, ZR_ARRAY_SIZE(shadow));
	zr_pages_tally(&pages, &before);
	CHECK(zr_page_move(&pages, 0) == 0); /* nothing is being emptied */
	n_moving = zr_pool_vacate_begin(&engine.pool);
	CHECK(n_moving > 0);
	for (leaf_no = 0; leaf_no < 9; ++leaf_no) {
		n = zr_pages_find_vacated(&pages, leaf_no, in_leaf);
		CHECK(leaf_no < 8 || n == 0); /* absent */
		for (i = 0; i < n; ++i) {
			CHECK(zr_page_move(&pages, leaf_no * ZR_LEAF_SLOTS + in_leaf[i]) == 1);
			CHECK(zr_page_move(&pages, leaf_no * ZR_LEAF_SLOTS + in_leaf[i]) == 0);
		}
		n_moved += n;
		CHECK(zr_pages_find_vacated(&pages, leaf_no, in_leaf) == 0);
	}
	CHECK(n_moved == n_moving);
	CHECK(zr_page_move(&pages, 1) == 0);    /* a hole */
	CHECK(zr_page_move(&pages, 9999) == 0); /* an absent leaf */
	CHECK(vacate_end() > 0);
	used_bytes();
	zr_pages_tally(&pages, &after);
	CHECK(memcmp(&before, &after, sizeof(before)) == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(shadow); ++i)
		check_page(i, shadow[i]);
	tear_down();
}

/* changes that take longer */

static zr_slot slot_of(uint64_t page_no)
{
	return zr_pages_slot(zr_slots_find(&pages.slots, page_no));
}

/* Six bits of noise to a byte: lz4 and lzo do not find anything in it, zstd a quarter. */
static void page_six_bits(struct rng *rng, uint8_t page[ZR_PAGE_SIZE])
{
	unsigned int i;

	for (i = 0; i < ZR_PAGE_SIZE; ++i)
		page[i] = (uint8_t)(32 + rng_below(rng, 64));
}

static void set_up_codecs(void)
{
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_N_ALGORITHMS; ++i)
		pages.codecs[i].algorithm = i;
}

/* Compress the page as @codec_no would. Return: the cell it would need. */
static uint32_t cell_with(const uint8_t page[ZR_PAGE_SIZE], unsigned int codec_no)
{
	uint8_t object[ZR_CODEC_BOUND];
	size_t n_bytes;

	if (zr_codec_compress(ctx->workspace, &pages.codecs[codec_no], page, object,
			      ZR_OBJECT_USEFUL_MAX, &n_bytes) != 0)
		return ZR_PAGE_SIZE;
	return zr_pool_cell_bytes((uint32_t)n_bytes);
}

static void check_recompress(const uint8_t page[ZR_PAGE_SIZE], unsigned int codec_no)
{
	const zr_slot before = slot_of(7);
	const bool is_object = zr_slot_kind(before) == ZR_SLOT_KIND_OBJECT;
	const uint32_t n_before = zr_slot_bytes(before);
	const int64_t n_with = gauge(ZR_GAUGE_CODEC + codec_no), used = used_bytes();
	const uint32_t cell_bytes = is_object ? cell_with(page, codec_no) : 0;
	int r;

	r = zr_page_recompress(&pages, ctx, 7, codec_no);
	check_page(7, page);
	if (!is_object || cell_bytes >= zr_pool_cell_bytes(n_before)) {
		CHECK(r == ZR_PAGE_E_AS_IT_WAS);
		CHECK(slot_of(7) == before); /* and no bit is left on */
		CHECK(used_bytes() == used);
		return;
	}

	CHECK(r == 0);
	CHECK(zr_slot_codec(slot_of(7)) == codec_no && !(slot_of(7) & ZR_SLOT_PENDING));
	CHECK(zr_pool_cell_bytes(zr_slot_bytes(slot_of(7))) == cell_bytes);
	CHECK(used_bytes() == used + cell_bytes - zr_pool_cell_bytes(n_before));
	CHECK(gauge(ZR_GAUGE_CODEC + codec_no) == n_with + 1);
	CHECK(gauge(ZR_GAUGE_HUGE) == 0);
}

static void test_recompression_with_every_codec(void)
{
	struct rng rng = rng_init("test-pages");
	unsigned int from, to, i;
	uint8_t page[ZR_PAGE_SIZE];
	int64_t n_compressed;

	set_up_codecs();
	for (from = 0; from < ZR_N_ALGORITHMS; ++from) {
		for (to = 0; to < ZR_N_ALGORITHMS; ++to) {
			pages.codecs[0].algorithm = from;
			for (i = 0; i < 24; ++i) {
				if (i % 8 == 0)
					page_six_bits(&rng, page);
				else
					page_random(&rng, page);
				CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
				check_recompress(page, to);
				check_recompress(page, to); /* once more: nothing to gain */
				n_compressed = gauge(ZR_GAUGE_PAGES) - gauge(ZR_GAUGE_SAME) -
					       gauge(ZR_GAUGE_HUGE);
				CHECK(gauge(ZR_GAUGE_CODEC + to) <= n_compressed);
			}
			zr_page_discard(&pages, 7);
		}
	}
	for (i = 0; i < ZR_CODEC_NUMBERS; ++i)
		CHECK(gauge(ZR_GAUGE_CODEC + i) == 0);
	tear_down();
}

/* zstd makes something of what was stored raw. */
static void test_huge_pages_can_be_recompressed(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t page[ZR_PAGE_SIZE];

	set_up_codecs();
	page_six_bits(&rng, page);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(gauge(ZR_GAUGE_HUGE) == 1 && gauge(ZR_GAUGE_CODEC) == 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZO) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD) == 0);
	CHECK(gauge(ZR_GAUGE_HUGE) == 0);
	CHECK(gauge(ZR_GAUGE_CODEC + ZR_ALGORITHM_ZSTD) == 1);
	CHECK(entry.counters.huge_pages_since == 1);
	check_page(7, page);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZ4) == ZR_PAGE_E_AS_IT_WAS);

	bytes_random(&rng, page, sizeof(page));
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(gauge(ZR_GAUGE_HUGE) == 1);
	tear_down();
}

static void test_nothing_to_recompress(void)
{
	zr_slot slot;

	set_up_codecs();
	CHECK(zr_page_recompress(&pages, ctx, 7, 1) == ZR_PAGE_E_AS_IT_WAS); /* no leaf */
	write_word(0, 1);
	CHECK(zr_page_recompress(&pages, ctx, 7, 1) == ZR_PAGE_E_AS_IT_WAS); /* a hole */
	CHECK(zr_page_recompress(&pages, ctx, 0, 1) == ZR_PAGE_E_AS_IT_WAS);
	write_word(0, UINT64_C(0xfedcba9876543210));
	slot = slot_of(0);
	CHECK(zr_page_recompress(&pages, ctx, 0, 1) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(slot_of(0) == slot);
	tear_down();
}

/* It is an error, which is counted, and the page stays as it is, for its readers to be told. */
static void test_recompressing_damage(void)
{
	uint8_t page[ZR_PAGE_SIZE] = { 0 };
	struct rng rng = rng_init("test-pages");
	zr_slot slot;

	set_up_codecs();
	bytes_random(&rng, page, sizeof(page) / 2);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	slot = slot_of(7);
	memset(zr_pool_at(&engine.pool, zr_slot_position(slot)), 0xff, zr_slot_bytes(slot));
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD) == -EIO);
	CHECK(entry.counters.undecodable_pages == 1);
	CHECK(slot_of(7) == slot);
	CHECK(zr_page_read(&pages, ctx, 7, page) == -EIO);
	tear_down();
}

static void test_recompression_without_memory(void)
{
	struct rng rng = rng_init("test-pages");
	zr_position taken[1024];
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int n_taken;
	zr_slot slot;

	set_up_codecs();
	page_six_bits(&rng, page);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	slot = slot_of(7);
	n_taken = faults_drain(&engine.pool, taken, ZR_ARRAY_SIZE(taken));
	CHECK(n_taken < ZR_ARRAY_SIZE(taken));
	faults_all = true;
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD) == -ENOMEM);
	faults_all = false;
	faults_undrain(&engine.pool, taken, n_taken);
	CHECK(slot_of(7) == slot);
	check_page(7, page);
	tear_down();
}

/* A copy of the object of a slot in another cell, as a change would make it. */
static zr_slot copy_of(zr_slot slot)
{
	const uint32_t n_bytes = zr_slot_bytes(slot);
	zr_position position;

	CHECK(zr_pages_object_new(&pages, zr_pool_at(&engine.pool, zr_slot_position(slot)), n_bytes,
				  &position) == 0);
	return zr_slot_moved(slot, position);
}

static void test_changes_end_only_if_nobody_came(void)
{
	uint8_t page[ZR_PAGE_SIZE] = { 0 }, other[ZR_PAGE_SIZE] = { 1, 2, 3 };
	struct rng rng = rng_init("test-pages");
	zr_slot slot, fresh;

	set_up();
	bytes_random(&rng, page, 500);
	CHECK(zr_page_change_begin(&pages, 7, &slot) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	CHECK(slot == slot_of(7) && (slot & ZR_SLOT_PENDING));
	check_page(7, page); /* readers do not notice */
	used_bytes();
	fresh = copy_of(slot);
	CHECK(zr_page_change_end(&pages, 7, slot, fresh) == 0);
	CHECK(slot_of(7) == fresh);
	check_page(7, page);
	used_bytes();

	/* It was written meanwhile. */
	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	fresh = copy_of(slot);
	CHECK(zr_page_write(&pages, ctx, 7, other) == 0);
	CHECK(zr_page_change_end(&pages, 7, slot, fresh) == ZR_PAGE_E_AS_IT_WAS);
	zr_pages_retire_slot(&engine, fresh); /* still ours */
	check_page(7, other);

	/* Discarded, with its leaf. */
	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	fresh = copy_of(slot);
	zr_page_discard(&pages, 7);
	CHECK(zr_page_change_end(&pages, 7, slot, fresh) == ZR_PAGE_E_AS_IT_WAS);
	zr_pages_retire_slot(&engine, fresh);
	CHECK(!zr_page_is_data(&pages, 7));
	tear_down();
}

static void test_moving_ends_a_change(void)
{
	static uint8_t shadow[2 * ZR_LEAF_SLOTS][ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");
	uint16_t in_leaf[ZR_LEAF_SLOTS];
	zr_slot slot, fresh;
	unsigned int i, n;

	set_up();
	half_full(&rng, shadow, ZR_ARRAY_SIZE(shadow));
	CHECK(zr_pool_vacate_begin(&engine.pool) > 0);
	n = zr_pages_find_vacated(&pages, 0, in_leaf);
	for (i = 0; i < n; ++i) {
		if (zr_page_change_begin(&pages, in_leaf[i], &slot) != 0)
			continue;
		fresh = copy_of(slot);
		if (zr_page_move(&pages, in_leaf[i]) == 1) {
			CHECK(!(slot_of(in_leaf[i]) & ZR_SLOT_PENDING));
			CHECK(zr_page_change_end(&pages, in_leaf[i], slot, fresh) ==
			      ZR_PAGE_E_AS_IT_WAS);
			zr_pages_retire_slot(&engine, fresh);
		} else {
			CHECK(zr_page_change_end(&pages, in_leaf[i], slot, fresh) == 0);
		}
	}
	vacate_end();
	used_bytes();
	for (i = 0; i < ZR_ARRAY_SIZE(shadow); ++i)
		check_page(i, shadow[i]);
	tear_down();
}

/* Two pages that differ and compress to as many bytes: noise of one length, and zeros. */
static void pages_alike(struct rng *rng, uint8_t a[ZR_PAGE_SIZE], uint8_t b[ZR_PAGE_SIZE])
{
	uint8_t object[ZR_CODEC_BOUND];
	size_t n_a, n_b = 0;

	memset(a, 0, ZR_PAGE_SIZE);
	memset(b, 0, ZR_PAGE_SIZE);
	bytes_random(rng, a, 800);
	CHECK(zr_codec_compress(ctx->workspace, &pages.codecs[0], a, object, ZR_OBJECT_USEFUL_MAX,
				&n_a) == 0);
	do {
		bytes_random(rng, b, 800);
		CHECK(zr_codec_compress(ctx->workspace, &pages.codecs[0], b, object,
					ZR_OBJECT_USEFUL_MAX, &n_b) == 0);
	} while (n_b != n_a);
}

/*
 * While a change is under way the page is written twice, and its object comes back to the cell that
 * it was in: the lowest free one is given, and the first write leaves that cell behind. With the
 * same length and codec the slot is the very same word, though the page is another one. But for the
 * pending bit, which no write sets, the change would end, and what was written would be lost.
 */
static void test_the_pending_bit_prevents_a_lost_write(void)
{
	uint8_t old[ZR_PAGE_SIZE], fresh[ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");
	zr_slot slot, copy;

	set_up();
	pages_alike(&rng, old, fresh);
	CHECK(memcmp(old, fresh, sizeof(old)) != 0);
	CHECK(zr_page_write(&pages, ctx, 7, old) == 0);
	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);

	CHECK(zr_page_write(&pages, ctx, 7, fresh) == 0);
	CHECK(zr_slot_position(slot_of(7)) != zr_slot_position(slot));
	CHECK(zr_page_write(&pages, ctx, 7, fresh) == 0);
	CHECK(slot_of(7) == (slot & ~ZR_SLOT_PENDING)); /* without the bit: "nobody came" */
	CHECK(slot_of(7) != slot);

	CHECK(zr_page_write(&pages, ctx, 8, old) == 0); /* what the change made of it */
	copy = copy_of(slot_of(8));
	CHECK(zr_page_change_end(&pages, 7, slot, copy) == ZR_PAGE_E_AS_IT_WAS);
	zr_pages_retire_slot(&engine, copy);
	check_page(7, fresh);
	tear_down();
}

/* A death in the middle of a change leaves the bit: it says nothing to the next one. */
static void test_a_bit_left_behind_does_no_harm(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");
	zr_slot slot;

	set_up_codecs();
	page_six_bits(&rng, page);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	derive_again();
	for (unsigned int i = 0; i < ZR_N_ALGORITHMS; ++i)
		pages.codecs[i] = (struct zr_codec_params){ i, ZR_CODEC_LEVEL_DEFAULT };
	check_page(7, page);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD) == 0);
	CHECK(!(slot_of(7) & ZR_SLOT_PENDING));
	check_page(7, page);
	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(!(slot_of(7) & ZR_SLOT_PENDING));
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
	RUN(test_moving_keeps_what_is_there);
	RUN(test_recompression_with_every_codec);
	RUN(test_huge_pages_can_be_recompressed);
	RUN(test_nothing_to_recompress);
	RUN(test_recompressing_damage);
	RUN(test_recompression_without_memory);
	RUN(test_changes_end_only_if_nobody_came);
	RUN(test_moving_ends_a_change);
	RUN(test_the_pending_bit_prevents_a_lost_write);
	RUN(test_a_bit_left_behind_does_no_harm);
	return 0;
}
