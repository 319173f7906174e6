/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A disk at its limit, memory that the kernel refuses, and stored bytes that were damaged: what was
 * there must still be there, and no damage may read as zeros. Damage is done through the mapping of
 * the store; refusals are counted, so that each place that can be refused is.
 */

#include "rig.h"

#include <errno.h>

#include "faults.h"

#define NODES (4 * (uint64_t)ZR_PAGE_SIZE) /* the path to a first page */

static struct rig rig;
static struct zr_disk *disk;
static struct rng rng;

static void set_up(void)
{
	rig_init(&rig);
	disk = rig_add(&rig, "disk0", MIB(1));
}

static void tear_down(void)
{
	faults_countdown = 0;
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static uint64_t used_bytes(void)
{
	struct zr_disk_figures figures;

	zr_disk_figures(disk, &figures);
	return figures.used_bytes;
}

static int write_page(uint64_t page_no, const uint8_t *page)
{
	size_t n_written;
	int r;

	r = zr_disk_write(disk, rig.ctx, page_no * ZR_PAGE_SIZE, page, ZR_PAGE_SIZE, &n_written);
	CHECK(n_written == (r == 0 ? ZR_PAGE_SIZE : 0));
	return r;
}

static void check_page(uint64_t page_no, const uint8_t *want)
{
	uint8_t page[ZR_PAGE_SIZE];

	disk_get(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	CHECK(memcmp(page, want, sizeof(page)) == 0);
}

/* the limit */

static void test_limit_keeps_old_data(void)
{
	uint8_t raw[ZR_PAGE_SIZE], small[ZR_PAGE_SIZE] = "x";

	set_up();
	bytes_random(&rng, raw, sizeof(raw));
	CHECK(write_page(0, small) == 0);
	CHECK(zr_disk_set_mem_limit(disk, used_bytes() + ZR_PAGE_SIZE - 16) == 0);

	CHECK(write_page(1, raw) == -ENOSPC);
	CHECK(disk->entry->counters.failed_writes == 1);
	CHECK(disk->entry->counters.huge_pages_since == 0);
	check_page(0, small);
	CHECK(zr_disk_orig_bytes(disk) == ZR_PAGE_SIZE);
	rig_validate(rig.store);

	CHECK(zr_disk_set_mem_limit(disk, used_bytes() + ZR_PAGE_SIZE) == 0);
	CHECK(write_page(1, raw) == 0); /* just so */
	CHECK(write_page(2, small) == -ENOSPC);
	check_page(1, raw);
	tear_down();
}

/* As a write that fits exactly is no growth past the limit, one that replaces as much is none. */
static void test_overwriting_works_at_the_limit(void)
{
	uint8_t raw[ZR_PAGE_SIZE], word[ZR_PAGE_SIZE];
	unsigned int i;

	set_up();
	for (i = 0; i < 8; ++i) {
		bytes_random(&rng, raw, sizeof(raw));
		CHECK(write_page(i, raw) == 0);
	}
	CHECK(zr_disk_set_mem_limit(disk, used_bytes()) == 0);
	for (i = 0; i < 8; ++i) {
		bytes_random(&rng, raw, sizeof(raw));
		CHECK(write_page(i, raw) == 0);
		check_page(i, raw);
	}
	zr_fill_page(word, 0);
	CHECK(write_page(9, word) == 0); /* takes nothing */

	/* Below what is used already: what does not grow goes on, what does is refused. */
	CHECK(zr_disk_set_mem_limit(disk, 1) == 0);
	CHECK(write_page(3, raw) == 0);
	CHECK(write_page(9, raw) == -ENOSPC);
	check_page(9, word);
	CHECK(zr_disk_set_mem_limit(disk, 0) == 0);
	CHECK(write_page(9, raw) == 0);
	tear_down();
}

/* Nodes are counted: a page far away needs three. */
static void test_limit_counts_tables(void)
{
	uint8_t zeros[ZR_PAGE_SIZE] = { 0 };

	set_up();
	CHECK(zr_disk_set_mem_limit(disk, NODES - 1) == 0);
	CHECK(write_page(0, zeros) == -ENOSPC);
	CHECK(used_bytes() == 0);
	CHECK(zr_disk_set_mem_limit(disk, NODES) == 0);
	CHECK(write_page(0, zeros) == 0);
	CHECK(write_page(511, zeros) == 0);
	CHECK(write_page(512, zeros) == -ENOSPC);
	CHECK(used_bytes() == NODES);
	tear_down();
}

/* A write that meets the limit half way says how far it came. */
static void test_part_of_a_write(void)
{
	static uint8_t bytes[16 * ZR_PAGE_SIZE], back[sizeof(bytes)];
	size_t n_written = 0, n_read;

	set_up();
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
	bytes_random(&rng, bytes, sizeof(bytes));
	CHECK(zr_disk_set_mem_limit(disk, NODES + 5 * ZR_PAGE_SIZE) == 0);
	CHECK(zr_disk_write(disk, rig.ctx, 0, bytes, sizeof(bytes), &n_written) == -ENOSPC);
	CHECK(n_written == 5 * ZR_PAGE_SIZE);
	CHECK(zr_disk_size(disk) == n_written);
	CHECK(zr_disk_read(disk, rig.ctx, 0, back, sizeof(back), &n_read) == 0);
	CHECK(n_read == n_written && memcmp(back, bytes, n_written) == 0);
	tear_down();
}

/* Part of a same-filled page changed makes an object of it. Past the limit that is refused to a
 * write, and the old word stays; what gives memory back in the end needs no room first. */
static void test_parts_at_the_limit(void)
{
	uint8_t word[ZR_PAGE_SIZE];
	size_t n_written = 1;

	set_up();
	zr_fill_page(word, UINT64_C(0x1111111111111111));
	CHECK(write_page(0, word) == 0);
	CHECK(write_page(1, word) == 0);
	CHECK(zr_disk_set_mem_limit(disk, used_bytes()) == 0);
	CHECK(zr_disk_write(disk, rig.ctx, 5, "abc", 3, &n_written) == -ENOSPC);
	CHECK(n_written == 0);
	check_page(0, word);

	CHECK(zr_disk_punch(disk, rig.ctx, 5, 100) == 0);
	memset(word + 5, 0, 100);
	check_page(0, word);
	CHECK(zr_disk_truncate(disk, rig.ctx, ZR_PAGE_SIZE + 100) == 0);
	CHECK(zr_disk_size(disk) == ZR_PAGE_SIZE + 100);
	CHECK(zr_disk_extend(disk, MIB(1)) == 0);
	zr_fill_page(word, 0);
	memset(word, 0x11, 100);
	check_page(1, word);
	tear_down();
}

/* refusals of the kernel */

/*
 * A raw page at a new place takes its object and four nodes, five cells of one class. With 0 to 4
 * of them left and the next memory refused, each allocation is refused in turn.
 */
static void test_each_allocation_of_a_write_is_refused(void)
{
	uint8_t raw[ZR_PAGE_SIZE], zeros[ZR_PAGE_SIZE] = { 0 };
	zr_position taken[64];
	unsigned int n_cells, n_taken;
	struct zr_pool *pool;

	bytes_random(&rng, raw, sizeof(raw));
	for (n_cells = 0; n_cells <= 5; ++n_cells) {
		set_up();
		pool = &disk->engine->pool;
		CHECK(write_page(0, raw) == 0);
		n_taken = faults_drain(pool, taken, ZR_ARRAY_SIZE(taken));
		CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0); /* its five cells are free */
		CHECK(zr_disk_truncate(disk, rig.ctx, MIB(1)) == 0);
		n_taken += faults_drain(pool, taken + n_taken, 5 - n_cells);

		faults_countdown = 1;
		CHECK(write_page(100, raw) == (n_cells < 5 ? -ENOMEM : 0));
		CHECK(faults_countdown == (n_cells < 5 ? 0 : 1));
		faults_undrain(pool, taken, n_taken);
		rig_validate(rig.store);
		check_page(100, n_cells < 5 ? zeros : raw);
		CHECK(zr_disk_orig_bytes(disk) == (n_cells < 5 ? 0 : ZR_PAGE_SIZE));
		CHECK(disk->entry->counters.failed_writes == (n_cells < 5));

		faults_countdown = 0;
		CHECK(write_page(100, raw) == 0);
		check_page(100, raw);
		tear_down();
	}
}

/* From now on no cell can be had, and no memory for one. */
static zr_position taken[256];
static unsigned int n_taken;

static void refuse_all(void)
{
	n_taken = faults_drain(&disk->engine->pool, taken, ZR_ARRAY_SIZE(taken));
	CHECK(n_taken < ZR_ARRAY_SIZE(taken));
	faults_all = true;
}

static void refuse_no_more(void)
{
	faults_all = false;
	faults_undrain(&disk->engine->pool, taken, n_taken);
	rig_validate(rig.store);
}

/* Over a page that is there: one allocation, and the old page is whole if it is refused. */
static void test_refused_overwrite_keeps_the_old_page(void)
{
	uint8_t old[ZR_PAGE_SIZE], fresh[ZR_PAGE_SIZE];
	size_t n_written;

	set_up();
	bytes_random(&rng, old, sizeof(old));
	memset(fresh, 3, sizeof(fresh));
	bytes_random(&rng, fresh, 777);
	CHECK(write_page(0, old) == 0);

	refuse_all();
	CHECK(write_page(0, fresh) == -ENOMEM);
	refuse_no_more();
	check_page(0, old);

	CHECK(write_page(0, fresh) == 0);
	refuse_all();
	CHECK(zr_disk_write(disk, rig.ctx, 1000, old, 1000, &n_written) == -ENOMEM);
	CHECK(n_written == 0);
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 500) == -ENOMEM);
	CHECK(zr_disk_truncate(disk, rig.ctx, 600) == -ENOMEM);
	CHECK(zr_disk_size(disk) == MIB(1));
	refuse_no_more();
	check_page(0, fresh);
	tear_down();
}

/* Discarding needs no memory, and gives what others can be written with. */
static void test_discarding_works_without_memory(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i;

	set_up();
	for (i = 0; i < 20; ++i) {
		bytes_random(&rng, page, sizeof(page));
		CHECK(write_page(i, page) == 0);
	}
	refuse_all();
	CHECK(write_page(0, page) == -ENOMEM);
	CHECK(zr_disk_punch(disk, rig.ctx, 5 * ZR_PAGE_SIZE, 2 * ZR_PAGE_SIZE) == 0);
	CHECK(write_page(0, page) == 0);
	check_page(0, page);
	/* A page that compresses takes the other cell, which is larger than it needs. */
	memset(page + 100, 0, sizeof(page) - 100);
	CHECK(write_page(5, page) == 0);
	check_page(5, page);
	CHECK(zr_pool_usage(&disk->engine->pool).borrowed_bytes > 0);
	refuse_no_more();

	CHECK(write_page(5, page) == 0); /* and gives it back with the next write */
	CHECK(zr_pool_usage(&disk->engine->pool).borrowed_bytes == 0);
	tear_down();
}

/* Many writes, one refused: k counts until none is left to refuse. Where larger cells are free,
 * nobody notices. */
static void test_every_refusal_of_a_long_write(void)
{
	static uint8_t bytes[64 * ZR_PAGE_SIZE], back[sizeof(bytes)];
	const uint64_t far = UINT64_C(1) << 40;
	unsigned int k, n_failed = 0;
	bool refused = true;
	size_t n_written, at;
	int r;

	for (at = 0; at < sizeof(bytes); at += ZR_PAGE_SIZE)
		page_random(&rng, bytes + at);

	for (k = 1; refused; ++k) {
		set_up();
		faults_countdown = k;
		r = zr_disk_write(disk, rig.ctx, far + 7, bytes, sizeof(bytes), &n_written);
		refused = faults_countdown == 0;
		CHECK(r == 0 || (r == -ENOMEM && refused));
		CHECK(n_written == sizeof(bytes) || r < 0);
		CHECK(zr_disk_size(disk) == (n_written > 0 ? far + 7 + n_written : MIB(1)));
		rig_validate(rig.store);
		faults_countdown = 0;
		if (n_written > 0)
			disk_get(&rig, disk, far + 7, back, n_written);
		CHECK(memcmp(back, bytes, n_written) == 0);
		n_failed += r < 0;
		tear_down();
	}
	CHECK(k > 5);
	CHECK(n_failed > 0); /* the first one at least: there is nothing yet */
}

/* damage */

/* The bytes of the page's object, in the store. */
static uint8_t *object_of(uint64_t page_no, uint32_t *n_bytesp)
{
	const _Atomic zr_slot *slotp = zr_slots_find(&disk->pages.slots, page_no);
	const zr_slot slot = *slotp;

	*n_bytesp = zr_slot_bytes(slot);
	CHECK(*n_bytesp > 0 && *n_bytesp < ZR_PAGE_SIZE);
	return zr_pool_at(&disk->engine->pool, zr_slot_position(slot));
}

static void damage(uint64_t page_no)
{
	uint32_t n_bytes;
	uint8_t *bytes = object_of(page_no, &n_bytes);

	memset(bytes, 0xff, n_bytes);
}

static void check_damaged(uint64_t page_no)
{
	const uint64_t n_failed = disk->entry->counters.failed_reads;
	const uint64_t n_undecodable = disk->entry->counters.undecodable_pages;
	uint8_t page[ZR_PAGE_SIZE];
	size_t n_read = 7;

	CHECK(zr_disk_read(disk, rig.ctx, page_no * ZR_PAGE_SIZE, page, sizeof(page), &n_read) ==
	      -EIO);
	CHECK(n_read == 7);
	CHECK(zr_disk_read(disk, rig.ctx, page_no * ZR_PAGE_SIZE + 9, page, 1, &n_read) == -EIO);
	CHECK(disk->entry->counters.failed_reads == n_failed + 2);
	CHECK(disk->entry->counters.undecodable_pages == n_undecodable + 2);
}

static void check_damage_with(uint32_t algorithm)
{
	const struct zr_codec_params params = { algorithm, ZR_CODEC_LEVEL_DEFAULT };
	uint8_t page[ZR_PAGE_SIZE] = { 0 };
	size_t n_written;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	CHECK(zr_disk_set_codec(disk, &params) == 0);
	bytes_random(&rng, page, sizeof(page) / 2);
	disk_put(&rig, disk, ZR_PAGE_SIZE, page, sizeof(page));
	damage(1);
	check_damaged(1);

	/* A change of part of it would have to make the rest up. */
	CHECK(zr_disk_write(disk, rig.ctx, ZR_PAGE_SIZE + 5, "x", 1, &n_written) == -EIO);
	CHECK(n_written == 0);
	CHECK(zr_disk_punch(disk, rig.ctx, ZR_PAGE_SIZE, 100) == -EIO);
	CHECK(zr_disk_truncate(disk, rig.ctx, ZR_PAGE_SIZE + 100) == -EIO);
	CHECK(zr_disk_size(disk) == 2 * ZR_PAGE_SIZE);
	check_damaged(1);

	CHECK(write_page(1, page) == 0);
	check_page(1, page);
	damage(1);
	CHECK(zr_disk_punch(disk, rig.ctx, ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
	memset(page, 0, sizeof(page));
	check_page(1, page);
	tear_down();
}

static void test_damage_is_an_error_and_never_zeros(void)
{
	uint32_t algorithm;

	for (algorithm = 0; algorithm < ZR_N_ALGORITHMS; ++algorithm)
		check_damage_with(algorithm);
}

/* What is damaged stays so, and what is not can be read, after another worker attached. */
static void test_damage_outlives_a_worker(void)
{
	uint8_t page[ZR_PAGE_SIZE] = { 0 };

	set_up();
	bytes_random(&rng, page, sizeof(page) / 2);
	CHECK(write_page(0, page) == 0 && write_page(1, page) == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, 2 * ZR_PAGE_SIZE - 1) == 0);
	damage(1);
	disk = zr_disk_unpin(rig.store, disk);
	rig_reattach(&rig);
	disk = zr_store_find(rig.store, "disk0");
	CHECK(disk);
	check_page(0, page);
	CHECK(zr_disk_extend(disk, 2 * ZR_PAGE_SIZE) == 0);
	check_damaged(1);
	tear_down();
}

int main(void)
{
	rng = rng_init("test-disk-failures");
	RUN(test_limit_keeps_old_data);
	RUN(test_overwriting_works_at_the_limit);
	RUN(test_limit_counts_tables);
	RUN(test_part_of_a_write);
	RUN(test_parts_at_the_limit);
	RUN(test_each_allocation_of_a_write_is_refused);
	RUN(test_refused_overwrite_keeps_the_old_page);
	RUN(test_discarding_works_without_memory);
	RUN(test_every_refusal_of_a_long_write);
	RUN(test_damage_is_an_error_and_never_zeros);
	RUN(test_damage_outlives_a_worker);
	return 0;
}
