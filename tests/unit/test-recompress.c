/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Runs over a whole disk: which pages they try, with what, and that what is there stays what it was.
 */

#include "rig.h"

#include <errno.h>

#include "census.h"
#include "pages-parts.h"
#include "recompress.h"

#define N_PAGES 1500u

static struct rig rig;
static struct zr_disk *disk;
static uint8_t shadow[N_PAGES][ZR_PAGE_SIZE];
static struct zr_recompress_result result;

static zr_slot slot_of(uint64_t page_no)
{
	return zr_pages_slot(zr_slots_find(&disk->pages.slots, page_no));
}

static bool is_object(uint64_t page_no)
{
	return zr_slot_kind(slot_of(page_no)) == ZR_SLOT_KIND_OBJECT;
}

static void set_up_with(const struct zr_attrs *attrs)
{
	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	CHECK(zr_disk_reset(disk, attrs) == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, (N_PAGES + 100) * (uint64_t)ZR_PAGE_SIZE) == 0);
}

static void set_up(void)
{
	struct zr_disk_spec spec;

	rig_spec_init(&spec);
	set_up_with(&spec.attrs);
}

static void tear_down(void)
{
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* Some letters of 64 and one letter: lz4 makes something of the second part, zstd of both. */
static void page_of_text(struct rng *rng, uint8_t page[ZR_PAGE_SIZE])
{
	const size_t n_random = rng_below(rng, ZR_PAGE_SIZE);
	size_t i;

	for (i = 0; i < ZR_PAGE_SIZE; ++i)
		page[i] = i < n_random ? (uint8_t)(32 + rng_below(rng, 64)) : 'x';
}

static void fill(struct rng *rng)
{
	unsigned int i;

	for (i = 0; i < N_PAGES; ++i) {
		if (rng_below(rng, 2))
			page_of_text(rng, shadow[i]);
		else
			page_random(rng, shadow[i]);
		disk_put(&rig, disk, i * (uint64_t)ZR_PAGE_SIZE, shadow[i], ZR_PAGE_SIZE);
	}
}

static void check_contents(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i;

	for (i = 0; i < N_PAGES; ++i) {
		disk_get(&rig, disk, i * (uint64_t)ZR_PAGE_SIZE, page, sizeof(page));
		CHECK(memcmp(page, shadow[i], sizeof(page)) == 0);
	}
	rig_validate(rig.store);
}

static int run(const struct zr_recompress_request *request)
{
	return zr_recompress_run(disk, rig.ctx, NULL, request, &result);
}

static uint64_t used_bytes(void)
{
	struct zr_disk_figures figures;

	zr_disk_figures(disk, &figures);
	return figures.used_bytes;
}

static const struct zr_recompress_request all = { .max_pages = ZR_RECOMPRESS_ALL,
						  .first_priority = 1,
						  .last_priority = ZR_RECOMP_MAX };
static const struct zr_recompress_request last = { .max_pages = ZR_RECOMPRESS_ALL,
						   .first_priority = ZR_RECOMP_MAX,
						   .last_priority = ZR_RECOMP_MAX };

static unsigned int n_objects(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < N_PAGES; ++i)
		n += is_object(i);
	return n;
}

/* Everything is either done or given up then, and less memory is in use, in the store as well. */
static void test_all_pages(void)
{
	struct rng rng = rng_init("test-recompress");
	struct zr_store_usage before, after;
	uint64_t used;
	unsigned int i;

	set_up();
	fill(&rng);
	zr_store_compact(rig.store);
	zr_store_usage(rig.store, &before);
	used = used_bytes();
	CHECK(run(&last) == 0);
	CHECK(result.n_tried == n_objects());
	CHECK(result.n_smaller > 0 && result.n_smaller < result.n_tried);
	CHECK(used_bytes() < used);
	zr_store_usage(rig.store, &after);
	/* Each class ends with part of a page, and there may be more classes than before. */
	CHECK(after.memory_bytes < before.memory_bytes || zr_system_page_bytes() > ZR_PAGE_SIZE);
	zr_store_compact(rig.store);
	zr_store_usage(rig.store, &before);
	CHECK(before.memory_bytes == after.memory_bytes); /* it was compacted */
	for (i = 0; i < N_PAGES; ++i)
		CHECK(!is_object(i) || zr_slot_codec(slot_of(i)) == ZR_RECOMP_MAX ||
		      (slot_of(i) & ZR_SLOT_INCOMPRESSIBLE));
	check_contents();

	CHECK(run(&all) == 0); /* nothing is left to try */
	CHECK(result.n_tried == 0 && result.n_smaller == 0);
	tear_down();
}

/* In the order of their priorities, until one helps, and each page once. */
static void test_priorities(void)
{
	struct rng rng = rng_init("test-recompress");
	unsigned int n_of[ZR_CODEC_NUMBERS] = { 0 }, i;
	static zr_slot slots[N_PAGES];

	set_up();
	fill(&rng);
	for (i = 0; i < N_PAGES; ++i)
		slots[i] = slot_of(i);
	CHECK(run(&all) == 0);
	CHECK(result.n_tried == n_objects());
	for (i = 0; i < N_PAGES; ++i) {
		const unsigned int codec_no = zr_slot_codec(slot_of(i));
		unsigned int lower;

		if (!is_object(i))
			continue;
		++n_of[codec_no];
		CHECK(codec_no > 0 || (slot_of(i) & ZR_SLOT_INCOMPRESSIBLE));
		for (lower = 1; lower < codec_no; ++lower) {
			uint8_t object[ZR_CODEC_BOUND];
			size_t n;

			/* It was tried, in vain. */
			CHECK(zr_codec_compress(rig.ctx->workspace, &disk->pages.codecs[lower],
						shadow[i], object, ZR_OBJECT_USEFUL_MAX, &n) != 0 ||
			      zr_pool_cell_bytes((uint32_t)n) >=
				      zr_pool_cell_bytes(zr_slot_bytes(slots[i])));
		}
	}
	CHECK(n_of[0] > 0 && n_of[2] > 0 && n_of[3] > 0);
	check_contents();

	/* Those that the lower ones helped are tried again by the next call. */
	CHECK(run(&all) == 0);
	CHECK(result.n_tried == n_of[1] + n_of[2]);
	check_contents();
	tear_down();
}

/* Largest first: what the run did not come to is no larger than what it tried, but for a band. */
static void test_max_pages(void)
{
	struct rng rng = rng_init("test-recompress");
	struct zr_recompress_request request = last;
	static uint32_t n_before[N_PAGES];
	uint32_t tried_least = ZR_PAGE_SIZE, left_most = 0;
	unsigned int i;

	set_up();
	fill(&rng);
	for (i = 0; i < N_PAGES; ++i)
		n_before[i] = is_object(i) ? zr_slot_bytes(slot_of(i)) : 0;
	request.max_pages = 0;
	CHECK(run(&request) == 0 && result.n_tried == 0);
	request.max_pages = 300;
	CHECK(run(&request) == 0);
	CHECK(result.n_tried == 300);
	for (i = 0; i < N_PAGES; ++i) {
		if (!is_object(i))
			continue;
		if (zr_slot_codec(slot_of(i)) > 0 || (slot_of(i) & ZR_SLOT_INCOMPRESSIBLE))
			tried_least = (uint32_t)zr_min(tried_least, n_before[i]);
		else
			left_most = (uint32_t)zr_max(left_most, n_before[i]);
	}
	CHECK((left_most - 1) / 64 <= (tried_least - 1) / 64);
	request.max_pages = UINT64_MAX - 1; /* in their order, but all */
	CHECK(run(&request) == 0);
	CHECK(result.n_tried == n_objects() - 300);
	check_contents();
	tear_down();
}

static void test_types(void)
{
	struct rng rng = rng_init("test-recompress");
	struct zr_recompress_request request = last;
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i, n_huge = 0, n_idle;

	set_up();
	fill(&rng);
	for (i = 0; i < N_PAGES; ++i)
		n_huge += is_object(i) && zr_slot_bytes(slot_of(i)) == ZR_PAGE_SIZE;
	request.types = ZR_SWEEP_IDLE;
	CHECK(run(&request) == 0 && result.n_tried == 0);
	request.types = ZR_SWEEP_HUGE;
	CHECK(run(&request) == 0 && result.n_tried == n_huge);
	CHECK(zr_census_mark_idle(disk, NULL) == 0);
	for (n_idle = 0, i = 0; i < N_PAGES; ++i) {
		if (i % 3 == 0)
			disk_get(&rig, disk, i * (uint64_t)ZR_PAGE_SIZE, page, sizeof(page));
		else
			n_idle += is_object(i) && zr_slot_codec(slot_of(i)) == 0 &&
				  !(slot_of(i) & ZR_SLOT_INCOMPRESSIBLE);
	}
	request.types = ZR_SWEEP_IDLE | ZR_SWEEP_HUGE;
	CHECK(run(&request) == 0 && result.n_tried == 0);
	request.types = ZR_SWEEP_IDLE;
	CHECK(run(&request) == 0 && result.n_tried == n_idle);
	check_contents();
	tear_down();
}

static void test_threshold(void)
{
	struct rng rng = rng_init("test-recompress");
	struct zr_recompress_request request = last;
	unsigned int i;

	set_up();
	fill(&rng);
	request.threshold = 2500;
	CHECK(run(&request) == 0);
	CHECK(result.n_smaller > 0);
	for (i = 0; i < N_PAGES; ++i)
		CHECK(!is_object(i) || zr_slot_codec(slot_of(i)) == 0 ||
		      zr_slot_bytes(slot_of(i)) < 2500);
	check_contents();
	CHECK(run(&last) == 0);
	CHECK(result.n_smaller > 0);
	check_contents();
	tear_down();
}

static void test_what_cannot_be_asked(void)
{
	static const struct zr_recompress_request none[] = {
		{ 0 },
		{ .first_priority = 2, .last_priority = 1 },
		{ .first_priority = 0, .last_priority = 0 },
		{ .first_priority = 4, .last_priority = 4 },
		{ .first_priority = 2, .last_priority = 2 }, /* not configured, below */
		{ .first_priority = 1, .last_priority = 3, .threshold = ZR_OBJECT_USEFUL_MAX + 1 },
	};
	struct zr_recompress_request no_pages = all;
	struct zr_disk_spec spec;
	unsigned int i;

	no_pages.max_pages = 0;
	rig_spec_init(&spec);
	spec.attrs.recomp_priorities = 1u << 1 | 1u << 3;
	set_up_with(&spec.attrs);
	for (i = 0; i < ZR_ARRAY_SIZE(none); ++i)
		CHECK(run(&none[i]) == -EINVAL);
	CHECK(run(&all) == 0);
	spec.attrs.recomp_priorities = 0;
	CHECK(zr_disk_reset(disk, &spec.attrs) == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, MIB(1)) == 0);
	CHECK(run(&all) == -EINVAL);
	rig_spec_init(&spec);
	CHECK(zr_disk_reset(disk, &spec.attrs) == 0);
	CHECK(run(&all) == -EINVAL); /* no size */
	CHECK(run(&no_pages) == -EINVAL);
	CHECK(zr_disk_truncate(disk, rig.ctx, MIB(1)) == 0);
	CHECK(run(&no_pages) == 0);
	zr_store_remove(rig.store, disk);
	CHECK(run(&all) == -ESTALE);
	tear_down();
}

/* The others are done, and who asked is told. */
static void test_damage(void)
{
	struct rng rng = rng_init("test-recompress");
	uint8_t page[ZR_PAGE_SIZE] = { 0 };
	struct zr_pool *pool;
	unsigned int n;

	set_up();
	fill(&rng);
	bytes_random(&rng, page, 3000);
	disk_put(&rig, disk, N_PAGES * (uint64_t)ZR_PAGE_SIZE, page, sizeof(page));
	pool = &disk->engine->pool;
	memset(zr_pool_at(pool, zr_slot_position(slot_of(N_PAGES))), 0xff, 3000);
	n = n_objects() + 1;
	CHECK(run(&last) == -EIO);
	CHECK(result.n_tried == n);
	CHECK(!(slot_of(N_PAGES) & (ZR_SLOT_INCOMPRESSIBLE | ZR_SLOT_PENDING)));
	check_contents();
	tear_down();
}

static unsigned int n_before_stop;

static bool stop_then(void *context)
{
	zr_assert_none_held();
	return n_before_stop-- == 0;
}

static const struct zr_stop stop = { stop_then, NULL };

static void test_stopping(void)
{
	struct rng rng = rng_init("test-recompress");

	set_up();
	fill(&rng);
	n_before_stop = 3;
	CHECK(zr_recompress_run(disk, rig.ctx, &stop, &last, &result) == -EINTR);
	CHECK(result.n_tried > 0 && result.n_tried < n_objects());
	check_contents();
	n_before_stop = 0;
	CHECK(zr_recompress_run(disk, rig.ctx, &stop, &last, &result) == -EINTR);
	CHECK(result.n_tried == 0);
	CHECK(run(&last) == 0);
	check_contents();
	tear_down();
}

int main(void)
{
	RUN(test_all_pages);
	RUN(test_priorities);
	RUN(test_max_pages);
	RUN(test_types);
	RUN(test_threshold);
	RUN(test_what_cannot_be_asked);
	RUN(test_damage);
	RUN(test_stopping);
	return 0;
}
