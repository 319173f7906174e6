/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Changes of pages in the background, and marks: none of them changes what is read, and a write in
 * the middle of any is what counts.
 */

#include "pages-rig.h"

#include <errno.h>

#include "crash.h"

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

/* Every algorithm is the codec of its own number; the last is that of the highest priority. */
#define PRIORITIES (((1u << ZR_N_ALGORITHMS) - 1) & ~1u)
#define LAST       ZR_ALGORITHM_ZSTD

static void set_up_codecs(void)
{
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_N_ALGORITHMS; ++i)
		pages.codecs[i].algorithm = i;
	pages.recomp_priorities = PRIORITIES;
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

	r = zr_page_recompress(&pages, ctx, 7, codec_no, 0);
	check_page(7, page);
	if (!is_object || cell_bytes >= zr_pool_cell_bytes(n_before)) {
		CHECK(r == ZR_PAGE_E_AS_IT_WAS);
		/* and no bit is left on, but that */
		CHECK(slot_of(7) ==
		      (before | (is_object && codec_no == LAST && zr_slot_codec(before) < LAST
					 ? ZR_SLOT_INCOMPRESSIBLE
					 : 0)));
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
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZO, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD, 0) == 0);
	CHECK(gauge(ZR_GAUGE_HUGE) == 0);
	CHECK(gauge(ZR_GAUGE_CODEC + ZR_ALGORITHM_ZSTD) == 1);
	CHECK(entry.counters.huge_pages_since == 1);
	check_page(7, page);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZ4, 0) == ZR_PAGE_E_AS_IT_WAS);

	bytes_random(&rng, page, sizeof(page));
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(gauge(ZR_GAUGE_HUGE) == 1);
	tear_down();
}

static void test_nothing_to_recompress(void)
{
	zr_slot slot;

	set_up_codecs();
	CHECK(zr_page_recompress(&pages, ctx, 7, 1, 0) == ZR_PAGE_E_AS_IT_WAS); /* no leaf */
	write_word(0, 1);
	CHECK(zr_page_recompress(&pages, ctx, 7, 1, 0) == ZR_PAGE_E_AS_IT_WAS); /* a hole */
	CHECK(zr_page_recompress(&pages, ctx, 0, 1, 0) == ZR_PAGE_E_AS_IT_WAS);
	write_word(0, UINT64_C(0xfedcba9876543210));
	slot = slot_of(0);
	CHECK(zr_page_recompress(&pages, ctx, 0, 1, 0) == ZR_PAGE_E_AS_IT_WAS);
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
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD, 0) == -EIO);
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
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD, 0) == -ENOMEM);
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
	zr_pages_retire_slot(&pages, fresh); /* still ours */
	check_page(7, other);

	/* Discarded, with its leaf. */
	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	fresh = copy_of(slot);
	zr_page_discard(&pages, 7);
	CHECK(zr_page_change_end(&pages, 7, slot, fresh) == ZR_PAGE_E_AS_IT_WAS);
	zr_pages_retire_slot(&pages, fresh);
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
			zr_pages_retire_slot(&pages, fresh);
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
	zr_pages_retire_slot(&pages, copy);
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
	pages.recomp_priorities = PRIORITIES;
	check_page(7, page);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD, 0) == 0);
	CHECK(!(slot_of(7) & ZR_SLOT_PENDING));
	check_page(7, page);
	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(!(slot_of(7) & ZR_SLOT_PENDING));
	tear_down();
}

/* idle marks */

static bool is_idle(uint64_t page_no)
{
	used_bytes(); /* nothing counts them */
	return slot_of(page_no) & ZR_SLOT_IDLE;
}

/* Page 7 half noise and marked. */
static void put_marked(struct rng *rng, uint8_t page[ZR_PAGE_SIZE])
{
	memset(page, 0, ZR_PAGE_SIZE);
	bytes_random(rng, page, 500);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(!is_idle(7));
	zr_pages_mark_leaf_idle(&pages, 0);
	CHECK(is_idle(7));
}

static void test_objects_alone_are_marked(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t page[ZR_PAGE_SIZE];
	zr_slot slot;

	set_up();
	zr_pages_mark_leaf_idle(&pages, 0); /* absent: takes no memory */
	CHECK(used_bytes() == 0);
	write_word(0, 0);
	write_word(1, UINT64_C(0xfedcba9876543210));
	bytes_random(&rng, page, sizeof(page));
	CHECK(zr_page_write(&pages, ctx, 9, page) == 0);
	put_marked(&rng, page);
	slot = slot_of(7);
	zr_pages_mark_leaf_idle(&pages, 0); /* once more is the same */
	CHECK(slot_of(7) == slot);
	CHECK(is_idle(9)); /* a huge one is an object */
	CHECK(!is_idle(0) && !is_idle(1));
	CHECK(slot_of(2) == ZR_SLOT_HOLE && !is_idle(ZR_LEAF_SLOTS));
	tear_down();
}

static void test_use_clears_the_mark(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t page[ZR_PAGE_SIZE];
	uint16_t in_leaf[ZR_LEAF_SLOTS];
	zr_slot slots[ZR_LEAF_SLOTS];

	set_up();
	put_marked(&rng, page);
	/* Looking at what is there is no use. */
	CHECK(zr_page_is_data(&pages, 7) && is_idle(7));
	CHECK(zr_pages_copy_leaf(&pages, 0, slots) && slots[7] == slot_of(7) && is_idle(7));
	CHECK(zr_pages_find_vacated(&pages, 0, in_leaf) == 0 && is_idle(7));

	check_page(7, page);
	CHECK(!is_idle(7));
	put_marked(&rng, page);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(!is_idle(7));
	put_marked(&rng, page);
	CHECK(zr_page_update(&pages, ctx, 7, 100, 1, "x") == 0);
	CHECK(!is_idle(7));
	put_marked(&rng, page);
	CHECK(zr_page_update(&pages, ctx, 7, 0, 100, NULL) == 0);
	CHECK(!is_idle(7));
	put_marked(&rng, page);
	zr_page_discard(&pages, 7);
	CHECK(slot_of(7) == ZR_SLOT_HOLE);
	put_marked(&rng, page);
	zr_page_discard_leaf(&pages, 0);
	CHECK(used_bytes() == 3 * ZR_PAGE_SIZE); /* the inner nodes */
	tear_down();
}

/* What is refused has changed nothing, but what was read for it was used. */
static void test_refused_changes_of_marked_pages(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t page[ZR_PAGE_SIZE], noise[ZR_PAGE_SIZE];

	set_up();
	put_marked(&rng, page);
	bytes_random(&rng, noise, sizeof(noise));
	atomic_store(&pages.xlimit_bytes, (uint64_t)used_bytes());
	CHECK(zr_page_write(&pages, ctx, 7, noise) == -ENOSPC);
	CHECK(is_idle(7));
	CHECK(zr_page_update(&pages, ctx, 7, 1000, 2000, noise) == -ENOSPC);
	CHECK(!is_idle(7));
	check_page(7, page);
	tear_down();
}

static void test_marks_survive_moving_and_a_death(void)
{
	static uint8_t shadow[2 * ZR_LEAF_SLOTS][ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");
	uint16_t in_leaf[ZR_LEAF_SLOTS];
	unsigned int i, n, n_objects = 0;

	set_up();
	half_full(&rng, shadow, ZR_ARRAY_SIZE(shadow));
	zr_pages_mark_leaf_idle(&pages, 0);
	CHECK(zr_pool_vacate_begin(&engine.pool) > 0);
	n = zr_pages_find_vacated(&pages, 0, in_leaf);
	for (i = 0; i < n; ++i) {
		const bool is_object = zr_slot_kind(slot_of(in_leaf[i])) == ZR_SLOT_KIND_OBJECT;

		CHECK(zr_page_move(&pages, in_leaf[i]) == 1);
		CHECK(!!(slot_of(in_leaf[i]) & ZR_SLOT_IDLE) == is_object);
		n_objects += is_object;
	}
	CHECK(n_objects > 0);
	vacate_end();
	derive_again();
	for (i = 0; i < ZR_ARRAY_SIZE(shadow); ++i) {
		const bool is_object = zr_slot_kind(slot_of(i)) == ZR_SLOT_KIND_OBJECT;

		CHECK(!!(slot_of(i) & ZR_SLOT_IDLE) == (is_object && i < ZR_LEAF_SLOTS));
		check_page(i, shadow[i]);
		CHECK(!(slot_of(i) & ZR_SLOT_IDLE));
	}
	used_bytes();
	tear_down();
}

/* A mark that comes or goes in the middle of a change says nothing of the object: the change ends.
 * A write in the middle stops it, marked or not. */
static void test_marks_and_changes(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t page[ZR_PAGE_SIZE], other[ZR_PAGE_SIZE] = { 1, 2, 3 };
	zr_slot slot, fresh;

	set_up();
	put_marked(&rng, page);
	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	CHECK(!is_idle(7) && !(slot & ZR_SLOT_IDLE)); /* used */
	zr_pages_mark_leaf_idle(&pages, 0);
	CHECK(slot_of(7) == (slot | ZR_SLOT_IDLE)); /* and still pending */
	fresh = copy_of(slot);
	CHECK(zr_page_change_end(&pages, 7, slot, fresh) == 0);
	CHECK(slot_of(7) == fresh && !is_idle(7));

	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	zr_pages_mark_leaf_idle(&pages, 0);
	check_page(7, page); /* marked and read: still pending, and not idle */
	CHECK(slot_of(7) == slot);
	fresh = copy_of(slot);
	CHECK(zr_page_change_end(&pages, 7, slot, fresh) == 0);

	CHECK(zr_page_change_begin(&pages, 7, &slot) == 0);
	CHECK(zr_page_write(&pages, ctx, 7, other) == 0);
	zr_pages_mark_leaf_idle(&pages, 0);
	fresh = copy_of(slot_of(7));
	CHECK(zr_page_change_end(&pages, 7, slot, fresh) == ZR_PAGE_E_AS_IT_WAS);
	zr_pages_retire_slot(&pages, fresh);
	CHECK(is_idle(7));
	check_page(7, other);
	tear_down();
}

/* Each attempt is use; what is not tried is not used. */
static void test_recompression_clears_the_mark(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t page[ZR_PAGE_SIZE];

	set_up_codecs();
	page_six_bits(&rng, page);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	zr_pages_mark_leaf_idle(&pages, 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZO, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(!is_idle(7) && !(slot_of(7) & ZR_SLOT_PENDING));
	zr_pages_mark_leaf_idle(&pages, 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD, 0) == 0);
	CHECK(!is_idle(7));
	zr_pages_mark_leaf_idle(&pages, 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_ZSTD, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZO, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(is_idle(7) && !(slot_of(7) & ZR_SLOT_PENDING));
	check_page(7, page);
	tear_down();
}

/* incompressible */

static bool is_given_up(uint64_t page_no)
{
	used_bytes(); /* nothing counts them */
	return slot_of(page_no) & ZR_SLOT_INCOMPRESSIBLE;
}

static void test_giving_up(void)
{
	uint8_t noise[ZR_PAGE_SIZE], page[ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");
	zr_slot slot;

	set_up_codecs();
	bytes_random(&rng, noise, sizeof(noise));
	CHECK(zr_page_write(&pages, ctx, 7, noise) == 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZO, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(!is_given_up(7)); /* there are others to try */
	CHECK(zr_page_recompress(&pages, ctx, 7, LAST, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(is_given_up(7) && !(slot_of(7) & ZR_SLOT_PENDING));

	/* It is not tried again, so that it stays idle, too. Reading leaves the mark. */
	zr_pages_mark_leaf_idle(&pages, 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, LAST, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZO, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(is_idle(7) && is_given_up(7));
	check_page(7, noise);
	CHECK(!is_idle(7) && is_given_up(7));
	slot = slot_of(7);
	derive_again();
	CHECK(slot_of(7) == slot);
	check_page(7, noise);

	/* Any new slot is without. */
	CHECK(zr_page_update(&pages, ctx, 7, 0, 1, "x") == 0);
	CHECK(!is_given_up(7));
	atomic_store(zr_slots_find(&pages.slots, 7), slot_of(7) | ZR_SLOT_INCOMPRESSIBLE);
	page_six_bits(&rng, page);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(!is_given_up(7));
	tear_down();
}

/* Only the highest priority that there is has the last word. */
static void test_giving_up_is_for_the_last(void)
{
	uint8_t noise[ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");

	set_up_codecs();
	pages.recomp_priorities = 1u << ZR_ALGORITHM_LZO | 1u << ZR_ALGORITHM_LZO_RLE;
	bytes_random(&rng, noise, sizeof(noise));
	CHECK(zr_page_write(&pages, ctx, 7, noise) == 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZO, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(!is_given_up(7));
	CHECK(zr_page_recompress(&pages, ctx, 7, ZR_ALGORITHM_LZO_RLE, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(is_given_up(7));
	tear_down();
}

/* What is shorter stays as it is; what does not come below stays, too, but was not given up. */
static void test_thresholds(void)
{
	struct rng rng = rng_init("test-pages");
	uint8_t page[ZR_PAGE_SIZE];
	uint32_t n_before, n_after;
	zr_slot slot;

	set_up_codecs();
	page_six_bits(&rng, page);
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, LAST, 0) == 0);
	n_after = zr_slot_bytes(slot_of(7));

	memset(page + 2000, 'x',
	       sizeof(page) - 2000); /* what lz4 makes something of, and zstd less */
	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	zr_pages_mark_leaf_idle(&pages, 0);
	slot = slot_of(7);
	n_before = zr_slot_bytes(slot);
	CHECK(n_before < n_after);
	CHECK(zr_page_recompress(&pages, ctx, 7, LAST, n_before + 1) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(slot_of(7) == slot); /* nor was it used */
	CHECK(zr_page_recompress(&pages, ctx, 7, LAST, 100) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(slot_of(7) == (slot & ~ZR_SLOT_IDLE));
	CHECK(zr_page_recompress(&pages, ctx, 7, LAST, n_before) == 0);
	n_after = zr_slot_bytes(slot_of(7));

	CHECK(zr_page_write(&pages, ctx, 7, page) == 0);
	CHECK(zr_page_recompress(&pages, ctx, 7, LAST, n_after) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(zr_page_recompress(&pages, ctx, 7, LAST, n_after + 1) == 0);
	CHECK(zr_slot_bytes(slot_of(7)) == n_after);
	check_page(7, page);
	tear_down();
}

#if ZR_DEBUG_LEVEL >= 1
static uint64_t page_to_move;
static unsigned int n_moved_meanwhile;

/* When the new object has its cell: by then the page was looked at. */
static void move_meanwhile(const char *point)
{
	if (strcmp(point, "allocate") == 0 && zr_page_move(&pages, page_to_move) == 1)
		++n_moved_meanwhile;
}

/* Moving an object ends its change; recompression makes room for moves, and begins again. */
static void test_what_is_moved_meanwhile_is_tried_again(void)
{
	static uint8_t shadow[2 * ZR_LEAF_SLOTS][ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-pages");
	uint16_t in_leaf[ZR_LEAF_SLOTS];
	unsigned int i, n, n_in_all = 0;
	uint64_t leaf_no;

	set_up_codecs();
	for (i = 0; i < ZR_ARRAY_SIZE(shadow); ++i) {
		page_six_bits(&rng, shadow[i]);
		memset(shadow[i] + 2000, 'x', ZR_PAGE_SIZE - 2000);
		CHECK(zr_page_write(&pages, ctx, i, shadow[i]) == 0);
	}
	for (i = 1; i < ZR_ARRAY_SIZE(shadow); i += 2)
		zr_page_discard(&pages, i);
	zr_pool_trim(&engine.pool, 0);
	CHECK(zr_pool_vacate_begin(&engine.pool) > 0);
	zr_crash_hook = move_meanwhile;
	n_moved_meanwhile = 0;
	for (leaf_no = 0; leaf_no < 2; ++leaf_no) {
		n = zr_pages_find_vacated(&pages, leaf_no, in_leaf);
		for (i = 0; i < n; ++i) {
			page_to_move = leaf_no * ZR_LEAF_SLOTS + in_leaf[i];
			CHECK(zr_page_recompress(&pages, ctx, page_to_move, LAST, 0) == 0);
			CHECK(zr_slot_codec(slot_of(page_to_move)) == LAST);
		}
		n_in_all += n;
	}
	zr_crash_hook = NULL;
	CHECK(n_in_all > 0 && n_moved_meanwhile == n_in_all);
	for (i = 0; i < ZR_ARRAY_SIZE(shadow); i += 2)
		check_page(i, shadow[i]);
	vacate_end();
	used_bytes();
	tear_down();
}
#endif

int main(void)
{
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
	RUN(test_objects_alone_are_marked);
	RUN(test_use_clears_the_mark);
	RUN(test_refused_changes_of_marked_pages);
	RUN(test_marks_survive_moving_and_a_death);
	RUN(test_marks_and_changes);
	RUN(test_recompression_clears_the_mark);
	RUN(test_giving_up);
	RUN(test_giving_up_is_for_the_last);
	RUN(test_thresholds);
#if ZR_DEBUG_LEVEL >= 1
	RUN(test_what_is_moved_meanwhile_is_tried_again);
#endif
	return 0;
}
