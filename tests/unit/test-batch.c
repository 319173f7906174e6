/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pages that are written back, and what becomes of them: read, written in part and whole, dropped,
 * found again after a death; and all that a file may refuse
 */

#include "batch-rig.h"
#include "census.h"

static void test_all_pages_there_and_back(void)
{
	const uint64_t used_before = MIB(1);
	struct zr_disk_figures figures;
	uint64_t n_written, n;

	set_up();
	fill();
	n = n_objects();
	CHECK(write_back(0, N_PAGES, 0, &n_written) == 0);
	CHECK(n_written == n && n_back() == n && n > 700);
	rig_validate(rig.store);
	zr_disk_figures(disk, &figures);
	CHECK(figures.orig_bytes == N_PAGES * ZR_PAGE_SIZE && figures.compr_bytes == 0);
	CHECK(figures.used_bytes < used_before / 16);
	CHECK(figures.tally.gauge[ZR_GAUGE_HUGE] == 0);
	/* Packed, and in large requests. */
	CHECK((uint64_t)figures.tally.gauge[ZR_GAUGE_FRAME_BYTES] < fake.n_written_bytes);
	CHECK(fake.n_written_bytes < n * (ZR_PAGE_SIZE * 3 / 4));
	CHECK(fake.largest_write > 100u << 10);
	check_all();
	CHECK(fake.n_reads < 2 * n);

	/* Once is enough. */
	CHECK(write_back(0, N_PAGES, 0, &n_written) == 0 && n_written == 0);
	tear_down();
}

/* Gauges and slots say the same, and what is looked at slot by slot does not take them for objects. */
static void test_a_census(void)
{
	struct zr_census census;
	struct zr_tally gauges;
	uint64_t n;

	set_up();
	fill();
	CHECK(write_back(0, N_PAGES / 2, 0, &n) == 0);
	zr_census_exact(disk, &gauges, &census);
	CHECK(memcmp(gauges.gauge, census.tally.gauge, sizeof(gauges.gauge)) == 0);
	CHECK(gauges.gauge[ZR_GAUGE_WRITTEN_BACK] == (int64_t)n);
	CHECK(zr_census_take(disk, NULL, &census) == 0);
	CHECK(memcmp(gauges.gauge, census.tally.gauge, sizeof(gauges.gauge)) == 0);
	tear_down();
}

static void test_who_must_not_wait_does_not(void)
{
	struct zr_ctx *ctx;
	uint8_t page[ZR_PAGE_SIZE] = { 0 };
	uint64_t n;
	size_t done;

	set_up();
	CHECK(zr_ctx_new(&ctx) == 0);
	put(3, word_of(3));
	put(4, word_of(4));
	CHECK(write_back(3, 4, 0, &n) == 0 && n == 1);
	CHECK(zr_disk_read(disk, ctx, 3 * ZR_PAGE_SIZE, page, sizeof(page), &done) == -EINPROGRESS);
	CHECK(zr_disk_read(disk, ctx, 4 * ZR_PAGE_SIZE, page, sizeof(page), &done) == 0);
	CHECK(zr_disk_write(disk, ctx, 3 * ZR_PAGE_SIZE + 1, page, 1, &done) == -EINPROGRESS);
	CHECK(zr_disk_punch(disk, ctx, 3 * ZR_PAGE_SIZE + 1, 1) == -EINPROGRESS);
	CHECK(zr_disk_truncate(disk, ctx, 3 * ZR_PAGE_SIZE + 1) == -EINPROGRESS);
	CHECK(fake.n_reads == 0);
	CHECK(atomic_load(&disk->entry->counters.num_discards) == 0);
	CHECK(atomic_load(&disk->entry->counters.failed_reads) == 0);
	CHECK(atomic_load(&disk->entry->counters.failed_writes) == 0);
	check(3, word_of(3));
	/* A whole page is written without what was there. */
	stamp_make(page, sizeof(page), word_of(9));
	CHECK(zr_disk_write(disk, ctx, 3 * ZR_PAGE_SIZE, page, sizeof(page), &done) == 0);
	check(3, word_of(9));
	zr_ctx_free(ctx);
	tear_down();
}

static void test_parts_of_pages(void)
{
	uint8_t page[ZR_PAGE_SIZE], got[ZR_PAGE_SIZE];
	uint64_t n;

	set_up();
	fill();
	CHECK(write_back(0, N_PAGES, 0, &n) == 0);
	stamp_make(page, sizeof(page), word_of(7));
	memcpy(page + 100, "part", 4);
	disk_put(&rig, disk, 7 * ZR_PAGE_SIZE + 100, "part", 4);
	memset(page + 3000, 0, 500);
	CHECK(zr_disk_punch(disk, rig.ctx, 7 * ZR_PAGE_SIZE + 3000, 500) == 0);
	disk_get(&rig, disk, 7 * ZR_PAGE_SIZE, got, sizeof(got));
	CHECK(memcmp(page, got, sizeof(page)) == 0);
	CHECK(n_back() == n - 1);

	/* The page that the size cuts is in memory, and stays there. */
	CHECK(zr_disk_truncate(disk, rig.ctx, 10 * ZR_PAGE_SIZE + 7) == 0);
	n = n_back();
	CHECK(write_back(10, 11, 0, &n) == 0 && n == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, 11 * ZR_PAGE_SIZE) == 0);
	stamp_make(page, sizeof(page), word_of(10));
	memset(page + 7, 0, sizeof(page) - 7);
	disk_get(&rig, disk, 10 * ZR_PAGE_SIZE, got, sizeof(got));
	CHECK(memcmp(page, got, sizeof(page)) == 0);
	rig_validate(rig.store);
	tear_down();
}

static void test_what_goes_frees_the_file(void)
{
	uint64_t n, n_free;

	set_up();
	n_free = zr_store_backing_free_blocks(rig.store, id);
	fill();
	CHECK(write_back(0, N_PAGES, 0, &n) == 0);
	CHECK(zr_store_backing_free_blocks(rig.store, id) < n_free - n / 4);
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 100 * ZR_PAGE_SIZE) == 0); /* page by page */
	rig_validate(rig.store);
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 600 * ZR_PAGE_SIZE) == 0); /* a leaf, and on */
	rig_validate(rig.store);
	CHECK(zr_disk_truncate(disk, rig.ctx, 700 * ZR_PAGE_SIZE) == 0);
	rig_validate(rig.store);
	fill();
	CHECK(n_back() == 0);
	CHECK(zr_store_backing_free_blocks(rig.store, id) == n_free);
	CHECK(write_back(0, N_PAGES, 0, &n) == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
	CHECK(zr_store_backing_free_blocks(rig.store, id) == n_free);

	CHECK(fake.n_punches == 0);
	CHECK(zr_store_punch(rig.store, 16));
	CHECK(fake.n_punches > 0);
	n = fake.n_punches;
	CHECK(zr_store_punch(rig.store, 1));
	CHECK(fake.n_punches <= n + 2); /* nothing twice */
	tear_down();
}

static void test_after_a_death(void)
{
	uint64_t n, n_free;

	set_up();
	fill();
	CHECK(write_back(0, N_PAGES / 2, 0, &n) == 0);
	n = n_back();
	n_free = zr_store_backing_free_blocks(rig.store, id);
	disk = zr_disk_unpin(rig.store, disk);
	rig_reattach_backed(&rig, false);
	disk = zr_store_find(rig.store, "disk0");
	CHECK(disk && n_back() == n);
	CHECK(zr_store_backing_free_blocks(rig.store, id) == n_free);
	check_all();
	CHECK(write_back(0, N_PAGES, 0, &n) == 0 && n > 0);
	check_all();
	tear_down();
}

static void test_a_file_that_is_lost(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t n;
	size_t done;

	set_up();
	fill();
	CHECK(write_back(0, 10, 0, &n) == 0 && n > 0);
	disk = zr_disk_unpin(rig.store, disk);
	rig_reattach_backed(&rig, true);
	disk = zr_store_find(rig.store, "disk0");
	CHECK(zr_disk_read(disk, rig.ctx, 0, page, sizeof(page), &done) == -EIO);
	CHECK(atomic_load(&disk->entry->counters.failed_backing_reads) == 1);
	check(20, word_of(20));
	CHECK(write_back(0, N_PAGES, 0, &n) == -ENODEV);
	/* It can be written anew. */
	put(0, 1);
	check(0, 1);
	tear_down();
}

static void test_reads_that_fail(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t n;
	size_t done;

	set_up();
	fill();
	CHECK(write_back(0, N_PAGES, 0, &n) == 0);
	fake.read_error = EIO;
	CHECK(zr_disk_read(disk, rig.ctx, 0, page, sizeof(page), &done) == -EIO);
	CHECK(zr_disk_write(disk, rig.ctx, 1, page, 1, &done) == -EIO);
	fake.read_error = 0;
	check_all();

	/* What somebody wrote there is not what we wrote. */
	memset(fake.bytes + ZR_BLOCK_BYTES, 0, ZR_BLOCK_BYTES);
	CHECK(zr_disk_read(disk, rig.ctx, 0, page, sizeof(page), &done) == -EIO);
	CHECK(atomic_load(&disk->entry->counters.failed_backing_reads) == 3);
	CHECK(atomic_load(&disk->entry->counters.failed_reads) == 2);
	tear_down();
}

static void test_writes_that_fail(void)
{
	uint64_t n, n_free;

	set_up();
	n_free = zr_store_backing_free_blocks(rig.store, id);
	fill();
	atomic_store(&disk->entry->writeback_limit, 5000);
	atomic_store(&disk->entry->writeback_limit_enable, 1);
	fake.write_error = ENOSPC;
	CHECK(write_back(0, N_PAGES, 0, &n) == -ENOSPC && n == 0);
	CHECK(atomic_load(&disk->entry->writeback_limit) == 5000);
	CHECK(atomic_load(&disk->entry->counters.failed_backing_writes) > 0);
	CHECK(zr_store_backing_free_blocks(rig.store, id) == n_free);
	rig_validate(rig.store);
	fake.write_error = 0;
	CHECK(write_back(0, N_PAGES, 0, &n) == 0 && n == n_objects());
	CHECK(atomic_load(&disk->entry->writeback_limit) == 5000 - n);
	check_all();
	tear_down();
}

static void test_a_budget(void)
{
	uint64_t n;

	set_up();
	fill();
	atomic_store(&disk->entry->writeback_limit, 200);
	atomic_store(&disk->entry->writeback_limit_enable, 1);
	CHECK(write_back(0, N_PAGES, 0, &n) == -EIO && n == 200);
	CHECK(atomic_load(&disk->entry->writeback_limit) == 0 && n_back() == 200);
	check_all();
	tear_down();
}

static int set_quota(struct zr_attrs *attrs, void *context)
{
	attrs->backing_limit_bytes = *(uint64_t *)context;
	return 0;
}

static void test_a_quota_and_a_full_file(void)
{
	uint64_t n, quota = MIB(1);

	set_up();
	fill();
	CHECK(zr_disk_change_attrs(disk, false, set_quota, &quota) == 0);
	CHECK(write_back(0, N_PAGES, 0, &n) == -ENOSPC && n > 0);
	CHECK(disk_gauge(disk, ZR_GAUGE_FRAME_BYTES) <= (int64_t)quota);
	check_all();
	tear_down();

	set_up_sized(MIB(1));
	fill();
	CHECK(write_back(0, N_PAGES, 0, &n) == -ENOSPC && n > 300);
	CHECK(zr_store_backing_free_blocks(rig.store, id) <= 256 / 16 + 16);
	check_all();
	rig_validate(rig.store);
	tear_down();
}

static void test_a_fragmented_file(void)
{
	uint64_t n, i;

	set_up_sized(MIB(1));
	fill();
	CHECK(write_back(0, N_PAGES, 0, &n) == -ENOSPC);
	for (i = 0; i < N_PAGES; ++i) {
		if (i % 5 > 0)
			put(i, word_of(i));
	}
	CHECK(zr_store_backing_free_blocks(rig.store, id) > 0);
	CHECK(write_back(0, N_PAGES, 0, &n) == -ENOSPC && n > 0);
	check_all();
	rig_validate(rig.store);
	tear_down();
}

static void test_writes_meanwhile(void)
{
	uint64_t n;

	set_up();
	fill();
	fake.meanwhile = overwrite_some;
	CHECK(write_back(1, 4, 0, &n) == 0 && n == 1);
	check(1, 77);
	check(2, 0);
	check(3, word_of(3));
	rig_validate(rig.store);
	tear_down();
}

static void reset(void)
{
	struct zr_disk_spec spec;

	zr_disk_spec_init(&spec, 0);
	CHECK(zr_disk_reset(disk, &spec.attrs) == 0);
}

static void test_a_reset_meanwhile(void)
{
	uint64_t n;

	set_up();
	fill();
	fake.meanwhile = reset;
	CHECK(write_back(0, 100, 0, &n) == 0 && n == 0);
	CHECK(zr_disk_size(disk) == 0 && disk->pages.backing == NULL);
	rig_validate(rig.store);
	/* Nobody has it any more. */
	CHECK(zr_store_back(rig.store, disk, id) == 0);
	CHECK(zr_store_backing_remove(rig.store, id) == -EBUSY);
	tear_down();
}

static void overwrite_and_fill_the_file(void)
{
	struct zr_ctx *ctx = rig.ctx;
	uint64_t n;

	CHECK(zr_ctx_new(&rig.ctx) == 0);
	put(1, 77);
	CHECK(write_back(500, N_PAGES, 0, &n) == -ENOSPC);
	zr_ctx_free(rig.ctx);
	rig.ctx = ctx;
}

/* The frame that is being read stays, though its page went and the file has no other room. */
static void test_a_frame_is_not_reused_under_a_reader(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t n;

	set_up_sized(MIB(1));
	fill();
	CHECK(write_back(0, 3, 0, &n) == 0);
	fake.meanwhile = overwrite_and_fill_the_file;
	disk_get(&rig, disk, ZR_PAGE_SIZE, page, sizeof(page));
	CHECK(stamp_is(page, sizeof(page), word_of(1)));
	check(1, 77);
	rig_validate(rig.store);
	tear_down();
}

/* Who updates holds the shape, shared. */
static void write_page_one(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_ctx *ctx;

	CHECK(zr_ctx_new(&ctx) == 0);
	stamp_make(page, sizeof(page), 99);
	CHECK(zr_page_write(&disk->pages, ctx, 1, page) == 0);
	zr_ctx_free(ctx);
}

static void test_an_update_finds_another_page(void)
{
	uint8_t want[ZR_PAGE_SIZE], page[ZR_PAGE_SIZE];
	uint64_t n;

	set_up();
	fill();
	CHECK(write_back(0, 3, 0, &n) == 0);
	fake.meanwhile = write_page_one;
	disk_put(&rig, disk, ZR_PAGE_SIZE + 5, "x", 1);
	stamp_make(want, sizeof(want), 99);
	want[5] = 'x';
	disk_get(&rig, disk, ZR_PAGE_SIZE, page, sizeof(page));
	CHECK(memcmp(want, page, sizeof(page)) == 0);
	rig_validate(rig.store);
	tear_down();
}

/* Who waits for the file to change part of a page keeps nobody from the disk: not from its shape. */

static unsigned int n_changed;

static int note_change(struct zr_attrs *attrs, void *context)
{
	++n_changed;
	return 0;
}

static void change_attrs(void)
{
	CHECK(zr_disk_change_attrs(disk, false, note_change, NULL) == 0);
}

static void test_the_shape_is_free_while_the_file_is_read(void)
{
	uint64_t n;

	set_up();
	fill();
	CHECK(write_back(0, 8, 0, &n) == 0 && n > 4);
	fake.meanwhile = change_attrs;
	disk_put(&rig, disk, ZR_PAGE_SIZE + 5, "x", 1);
	CHECK(n_changed == 1);
	fake.meanwhile = change_attrs;
	CHECK(zr_disk_punch(disk, rig.ctx, 2 * ZR_PAGE_SIZE + 7, ZR_PAGE_SIZE) == 0);
	CHECK(n_changed == 2);
	fake.meanwhile = change_attrs;
	CHECK(zr_disk_truncate(disk, rig.ctx, 6 * ZR_PAGE_SIZE + 7) == 0);
	CHECK(n_changed == 3);
	rig_validate(rig.store);
	tear_down();
}

/* marks, codecs, and pages that are stored as they are */

/* A file that went after somebody who stands by had looked at it is not there for them either: its
 * descriptor is somebody else's by then. */
static void test_a_file_that_goes_under_who_stands_by(void)
{
	struct zr_store *next;
	uint64_t n;
	int fd;

	set_up();
	put(0, word_of(0));
	CHECK(write_back(0, 1, 0, &n) == 0 && n == 1);
	fd = fcntl(zr_store_fd(rig.store), F_DUPFD_CLOEXEC, 0);
	CHECK(zr_store_map(&next, fd) == 0);
	CHECK(zr_store_backing_attach(next, 0, &fake_io) == 0);
	zr_store_remove(rig.store, disk);
	disk = zr_disk_unpin(rig.store, disk);
	CHECK(zr_store_backing_remove(rig.store, id) == 0);

	rig.store = zr_store_free(rig.store);
	CHECK(zr_store_load(next) == 0);
	CHECK(!zr_store_backing_use(next, 0));
	fake.n_punches = 0;
	CHECK(!zr_store_punch(next, 1) && fake.n_punches == 0);
	rig.store = next;
	batch = zr_batch_free(batch);
	rig_deinit(&rig);
	fake_deinit();
}

static void test_only_what_is_idle(void)
{
	uint64_t n;

	set_up();
	fill();
	zr_pages_mark_leaf_idle(&disk->pages, 0);
	check(5, word_of(5));
	check(6, word_of(6));
	CHECK(write_back(0, N_PAGES, ZR_SLOT_IDLE, &n) == 0 && n > 300 && n <= 510);
	check_all();
	tear_down();
}

static int set_uncompressed(struct zr_attrs *attrs, void *context)
{
	attrs->compressed_writeback = 0;
	return 0;
}

static void test_uncompressed(void)
{
	uint64_t n;

	set_up();
	CHECK(zr_disk_change_attrs(disk, false, set_uncompressed, NULL) == 0);
	fill();
	CHECK(write_back(0, N_PAGES, 0, &n) == 0 && n == n_objects());
	CHECK((uint64_t)disk_gauge(disk, ZR_GAUGE_FRAME_BYTES) ==
	      n * zr_align_up(ZR_PAGE_SIZE + FAKE_SEAL_BYTES, ZR_CELL_UNIT));
	check_all();
	tear_down();
}

static void test_several_disks_share_a_file(void)
{
	struct zr_disk *first;
	uint64_t n;

	set_up();
	fill();
	CHECK(write_back(0, N_PAGES, 0, &n) == 0);
	first = disk;
	disk = rig_add_backed(&rig, "disk1", N_PAGES * ZR_PAGE_SIZE, id);
	fill();
	CHECK(write_back(0, N_PAGES, 0, &n) == 0);
	check_all();
	rig_validate(rig.store);
	zr_store_remove(rig.store, first);
	CHECK(zr_disk_unpin(rig.store, first) == NULL);
	rig_validate(rig.store);
	check_all();
	CHECK(zr_store_backing_remove(rig.store, id) == -EBUSY);
	tear_down();
}

static void test_numbers_are_never_given_twice(void)
{
	struct zr_backing_record record;
	struct zr_backing *backing;
	uint64_t first;

	fake_init(MIB(1));
	record = fake_record();
	CHECK(zr_backing_new(&backing, &record, &fake_io) == 0);
	first = zr_backing_sequence(backing, 10);
	CHECK(zr_backing_sequence(backing, 1) == first + 10);
	zr_backing_free(backing);
	CHECK(zr_backing_new(&backing, &record, &fake_io) == 0);
	CHECK(zr_backing_sequence(backing, 1) > first + 10);
	zr_backing_free(backing);
	fake_deinit();
}

int main(void)
{
	RUN(test_all_pages_there_and_back);
	RUN(test_a_census);
	RUN(test_who_must_not_wait_does_not);
	RUN(test_parts_of_pages);
	RUN(test_what_goes_frees_the_file);
	RUN(test_after_a_death);
	RUN(test_a_file_that_is_lost);
	RUN(test_reads_that_fail);
	RUN(test_writes_that_fail);
	RUN(test_a_budget);
	RUN(test_a_quota_and_a_full_file);
	RUN(test_a_fragmented_file);
	RUN(test_writes_meanwhile);
	RUN(test_a_reset_meanwhile);
	RUN(test_a_frame_is_not_reused_under_a_reader);
	RUN(test_an_update_finds_another_page);
	RUN(test_the_shape_is_free_while_the_file_is_read);
	RUN(test_a_file_that_goes_under_who_stands_by);
	RUN(test_only_what_is_idle);
	RUN(test_uncompressed);
	RUN(test_several_disks_share_a_file);
	RUN(test_numbers_are_never_given_twice);
	return 0;
}
