/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Which pages go to the file when somebody says so, in which order, and what ends that
 */

#include "writeback.h"

#include "census.h"
#include "fake-backing.h"
#include "pages-parts.h"

#define N_PAGES 2000u /* almost four leaves */

static struct rig rig;
static struct zr_disk *disk;
static struct zr_batch *batch;
static uint64_t id;

static void set_up_sized(uint64_t file_bytes)
{
	struct zr_backing_record record;

	fake_init(file_bytes);
	record = fake_record();
	rig_init(&rig);
	CHECK(zr_store_backing_add(rig.store, 0, &record, &fake_io, &id) == 0);
	disk = rig_add_backed(&rig, "disk0", N_PAGES * (uint64_t)ZR_PAGE_SIZE, id);
	CHECK(zr_batch_new(&batch) == 0);
}

static void set_up(void)
{
	set_up_sized(MIB(16));
}

static void tear_down(void)
{
	batch = zr_batch_free(batch);
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
	fake_deinit();
}

/* What page @i is: of all lengths, some raw, one of eleven same-filled and one of thirteen a hole. */
static void page_make(uint64_t i, uint8_t page[ZR_PAGE_SIZE])
{
	struct rng rng = { .state = i };

	memset(page, i % 11 == 0 ? (int)i & 0xff : 0, ZR_PAGE_SIZE);
	if (i % 11 != 0 && i % 13 != 0)
		bytes_random(&rng, page,
			     i * 37 % 71 * 64 > ZR_PAGE_SIZE - 64 ? ZR_PAGE_SIZE
								  : i * 37 % 71 * 64 + 32);
}

static void put(uint64_t i)
{
	uint8_t page[ZR_PAGE_SIZE];

	page_make(i, page);
	disk_put(&rig, disk, i * ZR_PAGE_SIZE, page, sizeof(page));
}

static void fill(void)
{
	uint64_t i;

	for (i = 0; i < N_PAGES; ++i) {
		if (i % 13 != 0)
			put(i);
	}
}

static void check_contents(void)
{
	uint8_t page[ZR_PAGE_SIZE], got[ZR_PAGE_SIZE];
	uint64_t i;

	for (i = 0; i < N_PAGES; ++i) {
		page_make(i, page);
		if (i % 13 == 0)
			memset(page, 0, sizeof(page));
		disk_get(&rig, disk, i * ZR_PAGE_SIZE, got, sizeof(got));
		CHECK(memcmp(page, got, sizeof(page)) == 0);
	}
	rig_validate(rig.store);
}

static zr_slot slot_of(uint64_t i)
{
	return zr_pages_slot(zr_slots_find(&disk->pages.slots, i));
}

static bool is_back(uint64_t i)
{
	return zr_slot_kind(slot_of(i)) == ZR_SLOT_KIND_WRITTEN_BACK;
}

static bool is_object(uint64_t i)
{
	return zr_slot_length(slot_of(i)) > 0;
}

static uint64_t n_back(void)
{
	return (uint64_t)disk_gauge(disk, ZR_GAUGE_WRITTEN_BACK);
}

static uint64_t budget(void)
{
	return atomic_load(&disk->entry->writeback_limit);
}

static void set_budget(uint64_t n_pages)
{
	atomic_store(&disk->entry->writeback_limit, n_pages);
	atomic_store(&disk->entry->writeback_limit_enable, 1);
}

static int run_types(unsigned int types, const struct zr_stop *stop)
{
	return zr_writeback_run(disk, batch, stop,
				&(struct zr_writeback_request){ .types = types });
}

static int run_range(uint64_t first, uint64_t last)
{
	const struct zr_writeback_range range = { first, last };

	return zr_writeback_run(disk, batch, NULL,
				&(struct zr_writeback_request){ .ranges = &range, .n_ranges = 1 });
}

/* Some objects are marked idle, every third is marked incompressible. */
static void mark(void)
{
	struct zr_stripes *stripes = &disk->engine->stripes;
	_Atomic zr_slot *slotp;
	uint64_t i;

	CHECK(zr_census_mark_idle(disk, NULL) == 0);
	zr_stripes_lock_all(stripes);
	for (i = 0; i < N_PAGES; ++i) {
		slotp = zr_slots_find(&disk->pages.slots, i);
		if (zr_slot_length(zr_pages_slot(slotp)) == 0)
			continue;
		if (i % 3 == 0)
			atomic_fetch_or(slotp, ZR_SLOT_INCOMPRESSIBLE);
		if (i % 2 == 0)
			atomic_fetch_and(slotp, ~ZR_SLOT_IDLE);
	}
	zr_stripes_unlock_all(stripes);
}

/* modes */

static bool is_of(zr_slot slot, unsigned int types)
{
	const struct zr_sweep_filter filter = { .types = types };

	return zr_sweep_takes(&filter, slot) && zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT;
}

static void test_every_mode(void)
{
	static const unsigned int modes[] = { ZR_SWEEP_IDLE, ZR_SWEEP_HUGE,
					      ZR_SWEEP_IDLE | ZR_SWEEP_HUGE,
					      ZR_SWEEP_INCOMPRESSIBLE };
	zr_slot before[N_PAGES];
	unsigned int i, mode;
	uint64_t n;

	for (mode = 0; mode < ZR_ARRAY_SIZE(modes); ++mode) {
		set_up();
		fill();
		mark();
		for (i = 0; i < N_PAGES; ++i)
			before[i] = slot_of(i);
		CHECK(run_types(modes[mode], NULL) == 0);
		for (i = 0, n = 0; i < N_PAGES; ++i) {
			CHECK(is_back(i) == is_of(before[i], modes[mode]));
			CHECK(is_back(i) || slot_of(i) == before[i]);
			n += is_back(i);
		}
		CHECK(n > 20 && n_back() == n);
		check_contents();
		tear_down();
	}
}

static void test_what_is_there_already_is_left(void)
{
	unsigned int n_writes;

	set_up();
	fill();
	CHECK(run_range(0, N_PAGES - 1) == 0);
	n_writes = fake.n_writes;
	CHECK(run_range(0, N_PAGES - 1) == 0 && run_types(ZR_SWEEP_HUGE, NULL) == 0);
	CHECK(zr_census_mark_idle(disk, NULL) == 0 && run_types(ZR_SWEEP_IDLE, NULL) == 0);
	CHECK(fake.n_writes == n_writes);
	check_contents();
	tear_down();
}

static void test_pages_by_number(void)
{
	const struct zr_writeback_range ranges[] = {
		{ 42, 42 }, { 99, 99 }, { 500, 700 }, { 600, 650 }, { 1, 3 }, { 1999, 1999 },
	};
	const struct zr_writeback_request request = { ranges, ZR_ARRAY_SIZE(ranges), 0 };
	unsigned int i;

	set_up();
	fill();
	CHECK(zr_writeback_run(disk, batch, NULL, &request) == 0);
	for (i = 0; i < N_PAGES; ++i) {
		const bool wanted = i == 42 || i == 99 || (i >= 500 && i <= 700) ||
				    (i >= 1 && i <= 3) || i == 1999;

		CHECK(is_back(i) == (wanted && is_object(i)));
	}
	check_contents();
	tear_down();
}

static void test_numbers_and_a_type(void)
{
	const struct zr_writeback_range range = { 10, 20 };
	const struct zr_writeback_request request = { &range, 1, ZR_SWEEP_HUGE };
	unsigned int i;

	set_up();
	fill();
	CHECK(zr_writeback_run(disk, batch, NULL, &request) == 0);
	for (i = 0; i < N_PAGES; ++i) {
		if (is_object(i))
			CHECK(is_back(i) ==
			      ((i >= 10 && i <= 20) || zr_slot_length(slot_of(i)) == ZR_PAGE_SIZE));
	}
	CHECK(disk_gauge(disk, ZR_GAUGE_HUGE) == 0);
	tear_down();
}

/* Leaves that are absent, and what lies past the size. */
static void test_holes(void)
{
	set_up();
	CHECK(run_range(0, N_PAGES - 1) == 0 && run_types(ZR_SWEEP_HUGE, NULL) == 0);
	put(1400);
	CHECK(run_range(0, N_PAGES - 1) == 0 && is_back(1400) && n_back() == 1);
	CHECK(run_range(0, N_PAGES) == -ERANGE && run_range(N_PAGES, N_PAGES) == -ERANGE);
	CHECK(run_range(UINT64_MAX, UINT64_MAX) == -ERANGE && run_range(5, 4) == -ERANGE);

	/* The page that the size cuts is one that may be asked for, and stays. */
	put(3);
	CHECK(zr_disk_truncate(disk, rig.ctx, 3 * ZR_PAGE_SIZE + 5) == 0);
	CHECK(run_range(3, 3) == 0 && !is_back(3) && run_range(4, 4) == -ERANGE);
	tear_down();
}

/* budgets */

/* Everything on the file is at least as long as what is not, to 64 bytes. */
static void check_largest_went(void)
{
	uint32_t shortest = ZR_PAGE_SIZE, longest = 0;
	unsigned int i;

	for (i = 0; i < N_PAGES; ++i) {
		const uint32_t band = (zr_slot_length(slot_of(i)) + 63) / 64;

		if (is_back(i))
			shortest = zr_min(shortest, band);
		else
			longest = zr_max(longest, band);
	}
	CHECK(shortest >= longest);
}

static void test_largest_first_under_a_budget(void)
{
	uint64_t n_objects;

	set_up();
	fill();
	CHECK(zr_census_mark_idle(disk, NULL) == 0);
	set_budget(700);
	CHECK(run_types(ZR_SWEEP_IDLE, NULL) == -EIO);
	CHECK(n_back() == 700 && budget() == 0);
	check_largest_went();
	CHECK(run_types(ZR_SWEEP_IDLE, NULL) == -EIO && n_back() == 700);
	check_contents();

	set_budget(300);
	CHECK(run_range(0, N_PAGES - 1) == -EIO && n_back() == 1000 && budget() == 0);
	check_largest_went();

	/* As much as is needed, and nothing is refused. */
	n_objects = N_PAGES - 154 - (uint64_t)disk_gauge(disk, ZR_GAUGE_SAME);
	set_budget(n_objects - 1000);
	CHECK(run_range(0, N_PAGES - 1) == 0 && n_back() == n_objects && budget() == 0);
	CHECK(run_range(0, N_PAGES - 1) == 0);
	check_contents();
	tear_down();
}

/* errors */

static void test_what_cannot_be_asked(void)
{
	struct zr_disk_spec spec;
	struct zr_disk *other;

	set_up();
	fill();
	other = rig_add(&rig, "other", 0);
	zr_batch_begin(batch, other, &(struct zr_batch_filter){ 0 });
	CHECK(zr_writeback_run(other, batch, NULL,
			       &(struct zr_writeback_request){ .types = ZR_SWEEP_HUGE }) ==
	      -EINVAL);
	CHECK(zr_disk_truncate(other, rig.ctx, MIB(1)) == 0);
	CHECK(zr_writeback_run(other, batch, NULL,
			       &(struct zr_writeback_request){ .types = ZR_SWEEP_HUGE }) ==
	      -ENODEV);
	zr_disk_unpin(rig.store, other);

	zr_store_remove(rig.store, disk);
	CHECK(run_types(ZR_SWEEP_HUGE, NULL) == -ESTALE && run_range(0, 1) == -ESTALE);
	zr_disk_unpin(rig.store, disk);
	disk = rig_add_backed(&rig, "disk1", MIB(4), id);
	put(1);
	zr_disk_spec_init(&spec, 0);
	CHECK(zr_disk_reset(disk, &spec.attrs) == 0);
	CHECK(run_types(ZR_SWEEP_HUGE, NULL) == -EINVAL);
	tear_down();
}

/* Each request is tried, and what is not written costs nothing. */
static void test_errors_of_the_file_end_nothing(void)
{
	uint64_t n_objects;

	set_up();
	fill();
	n_objects = N_PAGES - 154 - (uint64_t)disk_gauge(disk, ZR_GAUGE_SAME);
	fake.write_error = ETIMEDOUT;
	CHECK(run_range(0, N_PAGES - 1) == -ETIMEDOUT && n_back() == 0);
	CHECK(fake.n_writes > 5);
	check_contents();

	set_budget(5000);
	fake.write_error = EIO;
	CHECK(run_range(0, N_PAGES - 1) == -EIO && n_back() == 0 && budget() == 5000);
	check_contents();

	fake.write_error = 0;
	CHECK(run_range(0, N_PAGES - 1) == 0 && n_back() == n_objects);
	CHECK(budget() == 5000 - n_objects);
	check_contents();
	tear_down();
}

static unsigned int n_requests;

static void fail_second(void)
{
	fake.write_error = ++n_requests == 2 ? EIO : 0;
	fake.meanwhile = fail_second;
}

static void test_one_request_of_many_fails(void)
{
	uint64_t n_objects, n_failed;

	set_up();
	fill();
	n_objects = N_PAGES - 154 - (uint64_t)disk_gauge(disk, ZR_GAUGE_SAME);
	n_requests = 0;
	fake.meanwhile = fail_second;
	CHECK(run_range(0, N_PAGES - 1) == -EIO);
	fake.meanwhile = NULL;
	n_failed = atomic_load(&disk->entry->counters.failed_backing_writes);
	CHECK(n_failed > 0 && n_failed <= 128 && n_back() == n_objects - n_failed);
	check_contents();
	tear_down();
}

static int make_large(struct zr_attrs *attrs, void *context)
{
	attrs->writeback_batch_size = ZR_WRITEBACK_BATCH_SIZE_MAX;
	attrs->compressed_writeback = 0;
	return 0;
}

/* A batch that takes several requests, of which one fails. */
static void test_one_request_of_a_batch_fails(void)
{
	uint64_t n_objects, n_failed;

	set_up();
	CHECK(zr_disk_change_attrs(disk, false, make_large, NULL) == 0);
	fill();
	n_objects = N_PAGES - 154 - (uint64_t)disk_gauge(disk, ZR_GAUGE_SAME);
	n_requests = 0;
	fake.meanwhile = fail_second;
	CHECK(run_range(0, N_PAGES - 1) == -EIO);
	fake.meanwhile = NULL;
	n_failed = atomic_load(&disk->entry->counters.failed_backing_writes);
	CHECK(n_failed > 0 && n_failed <= 128 && n_back() == n_objects - n_failed);
	check_contents();
	tear_down();
}

static void test_a_full_file(void)
{
	unsigned int n_writes;

	set_up_sized(MIB(1));
	fill();
	CHECK(run_range(0, N_PAGES - 1) == -ENOSPC && n_back() > 100);
	n_writes = fake.n_writes;
	CHECK(run_range(0, N_PAGES - 1) == -ENOSPC && fake.n_writes <= n_writes + 1);
	check_contents();
	tear_down();
}

static void test_a_lost_file(void)
{
	set_up();
	fill();
	disk = zr_disk_unpin(rig.store, disk);
	rig_reattach_backed(&rig, true);
	disk = zr_store_find(rig.store, "disk0");
	CHECK(run_types(ZR_SWEEP_HUGE, NULL) == -ENODEV);
	tear_down();
}

/* stopping */

static unsigned int n_before_stop;

static bool stop_then(void *context)
{
	usleep(1100); /* it is asked again after a millisecond */
	return n_before_stop-- == 0;
}

static void test_stopping(void)
{
	static const struct zr_stop stop = { stop_then, NULL };
	const struct zr_writeback_range range = { 0, N_PAGES - 1 };
	const struct zr_writeback_request request = { &range, 1, 0 };

	set_up();
	fill();
	n_before_stop = 0;
	CHECK(run_types(ZR_SWEEP_HUGE, &stop) == -EINTR && n_back() == 0);
	n_before_stop = 0;
	CHECK(zr_writeback_run(disk, batch, &stop, &request) == -EINTR && n_back() == 0);
	n_before_stop = 2;
	CHECK(zr_writeback_run(disk, batch, &stop, &request) == -EINTR);
	CHECK(n_back() > 0 && n_back() < 1500);
	check_contents();

	/* What one run was to write is none of the next. */
	n_before_stop = UINT32_MAX;
	CHECK(run_types(ZR_SWEEP_HUGE, &stop) == 0);
	check_contents();
	tear_down();
}

/* what comes meanwhile */

/* In the first request, which has the longest objects. */
static void use_some(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t i;

	for (i = 1000; i < 1100; ++i)
		disk_get(&rig, disk, i * ZR_PAGE_SIZE, page, sizeof(page));
	put(1200);
	CHECK(zr_disk_punch(disk, rig.ctx, 1201 * ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
}

static void test_pages_that_are_used_meanwhile_stay(void)
{
	unsigned int i;

	set_up();
	fill();
	CHECK(zr_census_mark_idle(disk, NULL) == 0);
	fake.meanwhile = use_some;
	CHECK(run_types(ZR_SWEEP_IDLE, NULL) == 0);
	for (i = 0; i < N_PAGES; ++i) {
		if (!is_object(i) || i == 1200)
			continue;
		/* What was in that request goes: to read it meanwhile is late. */
		if (i < 1000 || i >= 1100)
			CHECK(is_back(i));
		else if (zr_slot_length(slot_of(i)) < ZR_PAGE_SIZE / 2)
			CHECK(!is_back(i));
	}
	CHECK(!is_back(1200) && slot_of(1201) == ZR_SLOT_HOLE);
	rig_validate(rig.store);
	tear_down();
}

static void shrink(void)
{
	CHECK(zr_disk_truncate(disk, rig.ctx, 100 * ZR_PAGE_SIZE) == 0);
}

static void test_a_disk_that_shrinks_meanwhile(void)
{
	set_up();
	fill();
	fake.meanwhile = shrink;
	CHECK(run_range(0, N_PAGES - 1) == 0);
	CHECK(n_back() > 50 && n_back() <= 100);
	tear_down();
}

int main(void)
{
	RUN(test_every_mode);
	RUN(test_what_is_there_already_is_left);
	RUN(test_pages_by_number);
	RUN(test_numbers_and_a_type);
	RUN(test_holes);
	RUN(test_largest_first_under_a_budget);
	RUN(test_what_cannot_be_asked);
	RUN(test_errors_of_the_file_end_nothing);
	RUN(test_one_request_of_many_fails);
	RUN(test_one_request_of_a_batch_fails);
	RUN(test_a_full_file);
	RUN(test_a_lost_file);
	RUN(test_stopping);
	RUN(test_pages_that_are_used_meanwhile_stay);
	RUN(test_a_disk_that_shrinks_meanwhile);
	return 0;
}
