/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Disks of which it is known what their slots say: words follow from what is written, lengths are
 * asked for slot by slot. And all of it once more against the gauges.
 */

#include "rig.h"

#include <errno.h>

#include "census.h"
#include "pages-parts.h"

#define TIB(n) ((uint64_t)(n) << 40)

static struct rig rig;
static struct zr_disk *disk;

static void set_up(uint64_t size_bytes)
{
	rig_init(&rig);
	disk = rig_add(&rig, "disk0", size_bytes);
}

static void tear_down(void)
{
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static void put_page(uint64_t page_no, const void *page)
{
	disk_put(&rig, disk, page_no * ZR_PAGE_SIZE, page, ZR_PAGE_SIZE);
}

static void put_word(uint64_t page_no, uint64_t word)
{
	uint8_t page[ZR_PAGE_SIZE];

	zr_fill_page(page, word);
	put_page(page_no, page);
}

/* Noise, and zeros behind it. */
static void put_noise(struct rng *rng, uint64_t page_no, size_t n_noise)
{
	uint8_t page[ZR_PAGE_SIZE] = { 0 };

	bytes_random(rng, page, n_noise);
	put_page(page_no, page);
}

static zr_slot slot_of(uint64_t page_no)
{
	return zr_pages_slot(zr_slots_find(&disk->pages.slots, page_no));
}

static void take(struct zr_census *census)
{
	memset(census, 0xff, sizeof(*census));
	CHECK(zr_census_take(disk, NULL, census) == 0);
}

/* What was found slot by slot is what the gauges say, and so is what was found at one moment. */
static void check_gauges(const struct zr_census *census)
{
	struct zr_census exact;
	struct zr_tally gauges;

	zr_census_exact(disk, &gauges, &exact);
	CHECK(memcmp(&gauges, &exact.tally, sizeof(gauges)) == 0);
	CHECK(memcmp(census->tally.gauge, gauges.gauge, sizeof(gauges.gauge)) == 0);
	CHECK(census->tally.n_nodes == census->n_leaves && census->n_leaves == exact.n_leaves);
	CHECK(memcmp(census->objects, exact.objects, sizeof(exact.objects)) == 0);
	CHECK(memcmp(census->fills, exact.fills, sizeof(exact.fills)) == 0);
	CHECK(census->n_idle == exact.n_idle && census->object_bytes == exact.object_bytes);
}

static void test_nothing_there(void)
{
	static const struct zr_census none;
	struct zr_census census;

	set_up(ZR_DISK_SIZE_MAX); /* absent leaves cost nothing */
	take(&census);
	CHECK(memcmp(&census, &none, sizeof(census)) == 0);
	check_gauges(&census);
	CHECK(zr_census_mark_idle(disk, NULL) == 0);
	tear_down();
}

static void test_words_by_what_they_repeat(void)
{
	static const struct {
		uint64_t word;
		enum zr_fill_kind kind;
	} words[] = {
		{ 0, ZR_FILL_ZERO },
		{ UINT64_C(0x0101010101010101), ZR_FILL_8_BITS },
		{ UINT64_MAX, ZR_FILL_8_BITS }, /* which is a small number, too */
		{ UINT64_C(0xa5a5a5a5a5a5a5a5), ZR_FILL_8_BITS },
		{ UINT64_C(0x0001000100010001), ZR_FILL_16_BITS },
		{ UINT64_C(0xff00ff00ff00ff00), ZR_FILL_16_BITS },
		{ UINT64_C(0x0000000100000001), ZR_FILL_32_BITS },
		{ UINT64_C(0xdeadbeefdeadbeef), ZR_FILL_32_BITS },
		{ 1, ZR_FILL_64_BITS },
		{ UINT64_MAX - 1, ZR_FILL_64_BITS },
		{ UINT64_C(0xfedcba9876543210), ZR_FILL_64_BITS }, /* an object of 8 bytes */
		{ UINT64_C(0xdeadbeefdeadbeee), ZR_FILL_64_BITS },
	};
	uint64_t fills[ZR_N_FILL_KINDS] = { 0 };
	struct zr_census census;
	unsigned int i;

	set_up(MIB(8));
	for (i = 0; i < ZR_ARRAY_SIZE(words); ++i) {
		put_word(i * 100, words[i].word);
		++fills[words[i].kind];
		take(&census);
		CHECK(memcmp(census.fills, fills, sizeof(fills)) == 0);
	}
	CHECK(census.n_leaves == 3);
	CHECK(census.object_bytes == 16); /* two words */
	check_gauges(&census);
	tear_down();
}

static void test_objects_by_length(void)
{
	struct rng rng = rng_init("test-census");
	uint64_t objects[ZR_CENSUS_BUCKETS] = { 0 }, n_bytes = 0;
	struct zr_census census;
	unsigned int i;

	set_up(MIB(16));
	for (i = 0; i < 500; ++i) {
		put_noise(&rng, i * 3, 16 + rng_below(&rng, ZR_PAGE_SIZE - 16));
		n_bytes += zr_slot_bytes(slot_of(i * 3));
		++objects[(zr_slot_bytes(slot_of(i * 3)) + 63) / 64 - 1];
	}
	put_noise(&rng, 2000, ZR_PAGE_SIZE);
	n_bytes += ZR_PAGE_SIZE;
	++objects[ZR_CENSUS_BUCKETS - 1];
	take(&census);
	CHECK(memcmp(census.objects, objects, sizeof(objects)) == 0);
	CHECK(census.object_bytes == n_bytes && census.tally.gauge[ZR_GAUGE_PAGES] == 501);
	check_gauges(&census);
	tear_down();
}

/* stopping, and disks that there is nothing to say of */

static unsigned int n_asked, n_before_stop;

static bool stop_then(void *context)
{
	zr_assert_none_held();
	return n_asked++ >= n_before_stop;
}

static const struct zr_stop stop = { stop_then, NULL };

static void stop_after(unsigned int n)
{
	n_asked = 0;
	n_before_stop = n;
}

static void test_stopping(void)
{
	struct rng rng = rng_init("test-census");
	struct zr_census census = { .n_idle = 4711 };

	set_up(MIB(4));
	put_word(0, 0);
	put_noise(&rng, 1, 100);
	stop_after(0);
	CHECK(zr_census_take(disk, &stop, &census) == -EINTR);
	CHECK(census.n_idle == 4711); /* nothing was said */
	CHECK(n_asked == 1);
	stop_after(0);
	CHECK(zr_census_mark_idle(disk, &stop) == -EINTR);
	stop_after(UINT32_MAX);
	CHECK(zr_census_mark_idle(disk, &stop) == 0);
	CHECK(zr_census_take(disk, &stop, &census) == 0);
	CHECK(census.n_idle == 1);
	tear_down();
}

static void test_no_size_and_removed(void)
{
	char text[ZR_BLOCK_STATE_LINE];
	struct zr_census census;
	uint64_t page_no = 0;

	set_up(0);
	CHECK(zr_census_take(disk, NULL, &census) == -EINVAL);
	CHECK(zr_census_mark_idle(disk, NULL) == -EINVAL);
	CHECK(zr_census_block_state(disk, &page_no, text, sizeof(text)) == -EINVAL);
	put_word(0, 1);
	CHECK(zr_census_block_state(disk, &page_no, text, sizeof(text) - 1) == -EINVAL);
	CHECK(zr_census_block_state(disk, &page_no, text, sizeof(text)) == (int)sizeof(text));
	CHECK(page_no > 0);

	zr_store_remove(rig.store, disk);
	page_no = 0;
	CHECK(zr_census_take(disk, NULL, &census) == -ESTALE);
	CHECK(zr_census_mark_idle(disk, NULL) == -ESTALE);
	CHECK(zr_census_block_state(disk, &page_no, text, sizeof(text)) == -ESTALE);
	CHECK(page_no == 0);
	tear_down();
}

/* idle marks */

static void test_marks_of_the_whole_disk(void)
{
	struct rng rng = rng_init("test-census");
	const uint64_t far = TIB(100) / ZR_PAGE_SIZE;
	struct zr_census census;
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i;

	set_up(0);
	for (i = 0; i < 30; ++i)
		put_noise(&rng, i * 500, 100 + i * 100);
	put_noise(&rng, far, 500);
	put_word(1, 1);
	put_word(2, UINT64_C(0xfedcba9876543210));
	CHECK(zr_census_mark_idle(disk, NULL) == 0);
	take(&census);
	CHECK(census.n_idle == 31);
	check_gauges(&census);

	disk_get(&rig, disk, far * ZR_PAGE_SIZE, page, sizeof(page));
	disk_get(&rig, disk, 100, page, 1); /* part of page 0 */
	put_noise(&rng, 500, 700);
	disk_put(&rig, disk, 1000 * (uint64_t)ZR_PAGE_SIZE + 5, "x", 1);
	CHECK(zr_disk_punch(disk, rig.ctx, 1500 * (uint64_t)ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
	take(&census);
	CHECK(census.n_idle == 26);

	disk = zr_disk_unpin(rig.store, disk);
	rig_reattach(&rig); /* they outlive a worker */
	disk = zr_store_find(rig.store, "disk0");
	take(&census);
	CHECK(census.n_idle == 26);
	check_gauges(&census);
	tear_down();
}

/* block_state */

static void check_line(const char *line, uint64_t page_no, const char *flags)
{
	char want[64];

	snprintf(want, sizeof(want), "%12" PRIu64 "            0.000000 %s\n", page_no, flags);
	CHECK(strlen(want) == ZR_BLOCK_STATE_LINE);
	CHECK(memcmp(line, want, ZR_BLOCK_STATE_LINE) == 0);
}

static void test_lines_of_every_kind(void)
{
	static const uint64_t far = UINT64_C(68719476735); /* the last there can be */
	struct rng rng = rng_init("test-census");
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t page_no = 0;
	unsigned int i;
	char text[8192];

	set_up(0);
	put_word(0, 0);
	put_word(3, UINT64_C(0xfedcba9876543210));
	put_noise(&rng, 511, 1000);
	put_noise(&rng, 512, ZR_PAGE_SIZE);
	for (i = 0; i < sizeof(page); ++i) /* text of 64 letters: zstd alone makes it shorter */
		page[i] = (uint8_t)(32 + rng_below(&rng, 64));
	put_page(1024, page);
	CHECK(zr_disk_recompress(disk, rig.ctx, 1024, ZR_RECOMP_MAX, 0) == 0);
	CHECK(zr_disk_recompress(disk, rig.ctx, 512, ZR_RECOMP_MAX, 0) == ZR_PAGE_E_AS_IT_WAS);
	CHECK(zr_census_mark_idle(disk, NULL) == 0);
	put_noise(&rng, far, 100);
	disk_get(&rig, disk, 512 * (uint64_t)ZR_PAGE_SIZE, page, sizeof(page));

	CHECK(zr_census_block_state(disk, &page_no, text, sizeof(text)) ==
	      6 * (int)ZR_BLOCK_STATE_LINE);
	check_line(text, 0, "s.....");
	check_line(text + 40, 3, "s.....");
	check_line(text + 80, 511, "...i..");
	check_line(text + 120, 512, "..h..n");
	check_line(text + 160, 1024, "...ir.");
	check_line(text + 200, far, "......");
	CHECK(zr_census_block_state(disk, &page_no, text, sizeof(text)) == 0);
	CHECK(zr_census_block_state(disk, &page_no, text, sizeof(text)) == 0);

	tear_down();
}

/* However little room there is, the lines are the same, each once. */
static void test_lines_in_pieces(void)
{
	static char whole[3000 * ZR_BLOCK_STATE_LINE], text[sizeof(whole)];
	struct rng rng = rng_init("test-census");
	uint64_t page_no;
	int n_whole, n, n_text;
	unsigned int i, round;

	set_up(MIB(64));
	for (i = 0; i < 2500; ++i)
		put_word(rng_below(&rng, MIB(64) / ZR_PAGE_SIZE), i);
	page_no = 0;
	n_whole = zr_census_block_state(disk, &page_no, whole, sizeof(whole));
	CHECK(n_whole == 40 * (int)(zr_disk_orig_bytes(disk) / ZR_PAGE_SIZE));

	for (round = 0; round < 20; ++round) {
		page_no = 0;
		n_text = 0;
		while ((n = zr_census_block_state(disk, &page_no, text + n_text,
						  40 + rng_below(&rng, 40 << round % 10))) > 0)
			n_text += n;
		CHECK(n == 0 && n_text == n_whole && memcmp(text, whole, (size_t)n_text) == 0);
	}

	/* From the middle on, beginning with a hole. */
	put_word(100, 1);
	page_no = 101;
	CHECK(zr_disk_punch(disk, rig.ctx, 101 * (uint64_t)ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
	CHECK(zr_census_block_state(disk, &page_no, text, 40) == 40);
	CHECK(strtoull(text, NULL, 10) > 101 && page_no > strtoull(text, NULL, 10));
	tear_down();
}

int main(void)
{
	RUN(test_nothing_there);
	RUN(test_words_by_what_they_repeat);
	RUN(test_objects_by_length);
	RUN(test_stopping);
	RUN(test_no_size_and_removed);
	RUN(test_marks_of_the_whole_disk);
	RUN(test_lines_of_every_kind);
	RUN(test_lines_in_pieces);
	return 0;
}
