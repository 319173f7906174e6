#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of writing back share: a disk of pages that are known, a fake file behind it, a batch.
 * One a test.
 */

#include "batch.h"
#include "fake-backing.h"

#define N_PAGES UINT64_C(1024)

static struct rig rig;
static struct zr_disk *disk;
static struct zr_batch *batch;
static uint64_t id;

static inline void set_up_sized(uint64_t file_bytes)
{
	struct zr_backing_record record;

	fake_init(file_bytes);
	record = fake_record();
	rig_init(&rig);
	CHECK(zr_store_backing_add(rig.store, 0, &record, &fake_io, &id) == 0);
	disk = rig_add_backed(&rig, "disk0", N_PAGES * ZR_PAGE_SIZE, id);
	CHECK(zr_batch_new(&batch) == 0);
}

static inline void set_up(void)
{
	set_up_sized(MIB(16));
}

static inline void tear_down(void)
{
	batch = zr_batch_free(batch);
	disk = zr_disk_unpin(rig.store, disk);
	rig_validate(rig.store);
	rig_empty(&rig);
	CHECK(zr_store_backing_remove(rig.store, id) == 0);
	rig_deinit(&rig);
	fake_deinit();
}

static inline void put(uint64_t page_no, uint64_t word)
{
	uint8_t page[ZR_PAGE_SIZE];

	stamp_make(page, sizeof(page), word);
	disk_put(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
}

static inline void check(uint64_t page_no, uint64_t word)
{
	uint8_t page[ZR_PAGE_SIZE];

	disk_get(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	CHECK(stamp_is(page, sizeof(page), word));
}

/* Every page another, of each length that stamps have, and one of eight same-filled. */
static inline uint64_t word_of(uint64_t page_no)
{
	return (page_no + 1) << 3 | (page_no % 8 == 5 ? 0 : 1 + page_no % 3);
}

static inline void fill(void)
{
	uint64_t i;

	for (i = 0; i < N_PAGES; ++i)
		put(i, word_of(i));
}

static inline void check_all(void)
{
	static uint8_t pages[16 * ZR_PAGE_SIZE];
	uint64_t i, j;

	for (i = 0; i < N_PAGES; ++i)
		check(i, word_of(i));
	/* Large reads, which read on. */
	for (i = 0; i < N_PAGES; i += 16) {
		disk_get(&rig, disk, i * ZR_PAGE_SIZE, pages, sizeof(pages));
		for (j = 0; j < 16; ++j)
			CHECK(stamp_is(pages + j * ZR_PAGE_SIZE, ZR_PAGE_SIZE, word_of(i + j)));
	}
}

static inline int write_back(uint64_t first, uint64_t end, zr_slot marks, uint64_t *n_writtenp)
{
	const struct zr_batch_filter filter = { .marks = marks };
	int r = 0;

	*n_writtenp = 0;
	zr_batch_begin(batch, disk, &filter);
	for (; r == 0 && first < end; ++first) {
		if (zr_batch_add(batch, first))
			r = zr_batch_flush(batch, n_writtenp);
	}
	return r < 0 ? r : zr_batch_flush(batch, n_writtenp);
}

static inline uint64_t n_back(void)
{
	return (uint64_t)disk_gauge(disk, ZR_GAUGE_WRITTEN_BACK);
}

static inline uint64_t n_objects(void)
{
	return N_PAGES - (uint64_t)disk_gauge(disk, ZR_GAUGE_SAME);
}

static inline void overwrite_some(void)
{
	put(1, 77);
	CHECK(zr_disk_punch(disk, rig.ctx, 2 * ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
	check(3, word_of(3));
}
