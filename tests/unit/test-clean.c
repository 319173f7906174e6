/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Frames that are moved so that blocks become free, and what comes in the middle of it; what reads on
 * into blocks that are being written
 */

#include "clean.h"

#include <pthread.h>
#include <semaphore.h>

#include "batch-rig.h"
#include "disk-parts.h"

static void test_cleaning(void)
{
	struct zr_cleaner *cleaner;
	struct zr_backing *backing;
	uint64_t n, n_free, i;

	set_up_sized(MIB(1) + (1 << 19));
	fill();
	CHECK(zr_cleaner_new(&cleaner) == 0);
	CHECK(write_back(0, N_PAGES, 0, &n) == -ENOSPC);
	for (i = 0; i < N_PAGES; ++i) {
		if (i % 2 > 0)
			put(i, word_of(i));
	}
	backing = zr_store_backing_use(rig.store, 0);
	n_free = zr_store_backing_free_blocks(rig.store, id);
	CHECK(zr_clean_is_worth_it(backing, false));
	CHECK(zr_clean(rig.store, cleaner, backing, false, NULL, &n) == 0 && n > 0);
	CHECK(zr_store_backing_free_blocks(rig.store, id) == n_free + n);
	rig_validate(rig.store);
	check_all();

	/* What cannot be read stays, and is no reason to leave the rest: one read in three fails. */
	for (i = 0; i < N_PAGES; i += 4)
		put(i, word_of(i));
	fake.read_error = EIO;
	fake.read_error_every = 3;
	CHECK(zr_clean(rig.store, cleaner, backing, true, NULL, &n) == 0 ||
	      fake.n_failed_reads >= 16);
	CHECK(fake.n_failed_reads > 1);
	fake.read_error = 0;
	rig_validate(rig.store);
	check_all();

	/* What fails moves nothing, and what comes meanwhile stays. */
	for (i = 0; i < N_PAGES; i += 4)
		put(i, word_of(i));
	fake.write_error = EIO;
	CHECK(zr_clean(rig.store, cleaner, backing, false, NULL, &n) == -EIO);
	fake.write_error = 0;
	rig_validate(rig.store);
	check_all();
	fake.meanwhile = overwrite_some;
	CHECK(zr_clean(rig.store, cleaner, backing, false, NULL, &n) == 0);
	check(1, 77);
	check(2, 0);
	rig_validate(rig.store);
	zr_store_backing_unuse(backing);
	zr_cleaner_free(cleaner);
	tear_down();
}

/* what comes in the middle of a request */

/* What reads on comes upon blocks that are being written. */

static pthread_t writer;
static sem_t is_claimed, may_write;

static void wait_in_the_write(void)
{
	sem_post(&is_claimed);
	sem_wait(&may_write);
}

static void *write_back_main(void *context)
{
	const uint64_t *range = context;
	uint64_t n;

	CHECK(write_back(range[0], range[1], 0, &n) == 0 && n > 0);
	return NULL;
}

static void write_back_begin(uint64_t range[2])
{
	sem_init(&is_claimed, 0, 0);
	sem_init(&may_write, 0, 0);
	fake.meanwhile = wait_in_the_write;
	CHECK(pthread_create(&writer, NULL, write_back_main, range) == 0);
	sem_wait(&is_claimed);
}

static void write_back_end(void)
{
	sem_post(&may_write);
	CHECK(pthread_join(writer, NULL) == 0);
}

static void test_reading_on_into_what_is_written(void)
{
	static uint8_t pages[2 * ZR_PAGE_SIZE];
	uint64_t n, range[2] = { 1, 2 };

	set_up();
	put(0, word_of(0));
	put(1, word_of(1));
	CHECK(write_back(0, 1, 0, &n) == 0 && n == 1);
	write_back_begin(range);
	fake.meanwhile = write_back_end;
	disk_get(&rig, disk, 0, pages, sizeof(pages));
	CHECK(stamp_is(pages, ZR_PAGE_SIZE, word_of(0)));
	CHECK(stamp_is(pages + ZR_PAGE_SIZE, ZR_PAGE_SIZE, word_of(1)));
	tear_down();
}

static void test_cleaning_what_is_written(void)
{
	const uint64_t page_no = ZR_LEAF_SLOTS; /* looked at after the first one was moved */
	uint64_t n, range[2] = { page_no, page_no + 1 };
	struct zr_cleaner *cleaner;
	struct zr_backing *backing;

	set_up();
	CHECK(zr_cleaner_new(&cleaner) == 0);
	put(0, word_of(0));
	put(page_no, word_of(page_no));
	CHECK(write_back(0, 1, 0, &n) == 0 && n == 1);
	write_back_begin(range);
	backing = zr_store_backing_use(rig.store, 0);
	fake.meanwhile = write_back_end;
	CHECK(zr_clean(rig.store, cleaner, backing, false, NULL, &n) == 0);
	check(0, word_of(0));
	check(page_no, word_of(page_no));
	zr_cleaner_free(cleaner);
	zr_store_backing_unuse(backing);
	tear_down();
}

/* What becomes of a disk while the frames on its file are being weighed. */

static bool call_meanwhile(void *context)
{
	fake_meanwhile();
	return false;
}

static const struct zr_stop meanwhile_stop = { call_meanwhile, NULL };

static void remove_disk(void)
{
	zr_store_remove(rig.store, disk);
	disk = zr_disk_unpin(rig.store, disk);
}

static void test_a_disk_goes_while_it_is_cleaned(void)
{
	struct zr_cleaner *cleaner;
	struct zr_backing *backing;
	struct zr_disk *other;
	uint64_t n;

	set_up();
	CHECK(zr_cleaner_new(&cleaner) == 0);
	/* So that the first disk has no file. */
	other = disk;
	CHECK(zr_disk_reset(other, zr_disk_attrs_valid(other)) == 0);
	disk = rig_add_backed(&rig, "disk1", N_PAGES * ZR_PAGE_SIZE, id);
	put(0, word_of(0));
	CHECK(write_back(0, 1, 0, &n) == 0 && n == 1);
	backing = zr_store_backing_use(rig.store, 0);
	fake.meanwhile = remove_disk;
	CHECK(zr_clean(rig.store, cleaner, backing, false, &meanwhile_stop, &n) == 0);
	zr_cleaner_free(cleaner);
	zr_store_backing_unuse(backing);
	disk = other;
	tear_down();
}

static uint64_t large_id;

static void move_to_the_large_file(void)
{
	uint64_t i, n;

	CHECK(zr_disk_reset(disk, zr_disk_attrs_valid(disk)) == 0);
	CHECK(zr_store_back(rig.store, disk, large_id) == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, 2 * N_PAGES * ZR_PAGE_SIZE) == 0);
	for (i = 0; i < 2 * N_PAGES; ++i)
		put(i, word_of(i));
	CHECK(write_back(0, 2 * N_PAGES, 0, &n) == 0);
}

static void test_a_disk_gets_another_file_while_it_is_cleaned(void)
{
	struct zr_backing_record record;
	struct zr_cleaner *cleaner;
	struct zr_backing *backing;
	uint64_t n;

	set_up_sized(MIB(1));
	CHECK(zr_cleaner_new(&cleaner) == 0);
	put(0, word_of(0));
	CHECK(write_back(0, 1, 0, &n) == 0 && n == 1);
	fake_deinit();
	fake_init(MIB(16));
	record = fake_record();
	CHECK(zr_store_backing_add(rig.store, 1, &record, &fake_io, &large_id) == 0);
	backing = zr_store_backing_use(rig.store, 0);
	fake.meanwhile = move_to_the_large_file;
	CHECK(zr_clean(rig.store, cleaner, backing, false, &meanwhile_stop, &n) == 0);
	zr_cleaner_free(cleaner);
	zr_store_backing_unuse(backing);
	zr_store_remove(rig.store, disk);
	disk = zr_disk_unpin(rig.store, disk);
	CHECK(zr_store_backing_remove(rig.store, large_id) == 0);
	tear_down();
}

static void move_page_to_the_same_place(void)
{
	uint64_t n;

	CHECK(zr_disk_reset(disk, zr_disk_attrs_valid(disk)) == 0);
	CHECK(zr_store_back(rig.store, disk, large_id) == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, N_PAGES * ZR_PAGE_SIZE) == 0);
	put(0, word_of(0));
	CHECK(write_back(0, 1, 0, &n) == 0 && n == 1);
}

/* A page of the other file is not taken for the one that was moved, though all of its slot is the
 * same. */
static void test_a_disk_gets_another_file_while_a_frame_is_moved(void)
{
	struct zr_backing_record record;
	struct zr_cleaner *cleaner;
	struct zr_backing *backing;
	zr_slot before[ZR_LEAF_SLOTS], after[ZR_LEAF_SLOTS];
	uint64_t n;

	set_up();
	record = fake_record();
	CHECK(zr_store_backing_add(rig.store, 1, &record, &fake_io, &large_id) == 0);
	CHECK(zr_cleaner_new(&cleaner) == 0);
	put(0, word_of(0));
	CHECK(write_back(0, 1, 0, &n) == 0 && n == 1);
	CHECK(zr_pages_copy_leaf(&disk->pages, 0, before));
	backing = zr_store_backing_use(rig.store, 0);
	fake.meanwhile = move_page_to_the_same_place;
	CHECK(zr_clean(rig.store, cleaner, backing, false, NULL, &n) == 0);
	CHECK(zr_pages_copy_leaf(&disk->pages, 0, after) && after[0] == before[0]);
	check(0, word_of(0));
	zr_cleaner_free(cleaner);
	zr_store_backing_unuse(backing);
	zr_store_remove(rig.store, disk);
	disk = zr_disk_unpin(rig.store, disk);
	CHECK(zr_store_backing_remove(rig.store, large_id) == 0);
	tear_down();
}

int main(void)
{
	RUN(test_cleaning);
	RUN(test_reading_on_into_what_is_written);
	RUN(test_cleaning_what_is_written);
	RUN(test_a_disk_goes_while_it_is_cleaned);
	RUN(test_a_disk_gets_another_file_while_it_is_cleaned);
	RUN(test_a_disk_gets_another_file_while_a_frame_is_moved);
	return 0;
}
