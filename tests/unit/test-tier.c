/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pages that go to the backing file by themselves: at a limit, and because they are large
 */

#include "tier.h"

#include <pthread.h>
#include <unistd.h>

#include "fake-backing.h"

#define N_PAGES UINT64_C(8192)

static struct rig rig;
static struct zr_disk *disk;
static struct zr_tier *tier;
static uint64_t id;

static void set_up_sized(uint64_t file_bytes)
{
	struct zr_backing_record record;

	fake_init(file_bytes);
	record = fake_record();
	rig_init(&rig);
	CHECK(zr_store_backing_add(rig.store, 0, &record, &fake_io, &id) == 0);
	disk = rig_add_backed(&rig, "disk0", N_PAGES * ZR_PAGE_SIZE, id);
	CHECK(zr_tier_new(&tier, rig.store, NULL) == 0);
}

static void set_up(void)
{
	set_up_sized(MIB(32));
}

static void tear_down(void)
{
	tier = zr_tier_free(tier);
	disk = zr_disk_unpin(rig.store, disk);
	rig_validate(rig.store);
	rig_empty(&rig);
	CHECK(zr_store_backing_remove(rig.store, id) == 0);
	rig_deinit(&rig);
	fake_deinit();
}

struct change {
	uint32_t on_limit, spill_above_bytes;
};

static int change(struct zr_attrs *attrs, void *context)
{
	const struct change *wanted = context;

	attrs->on_limit = wanted->on_limit;
	attrs->spill_above_bytes = wanted->spill_above_bytes;
	return 0;
}

static void set(uint32_t on_limit, uint32_t spill_above_bytes)
{
	struct change wanted = { on_limit, spill_above_bytes };

	CHECK(zr_disk_change_attrs(disk, false, change, &wanted) == 0);
}

/* Lengths of a quarter, a half and the whole page. */
static uint64_t word_of(uint64_t page_no)
{
	return (page_no + 1) << 3 | (1 + page_no % 3);
}

static int put(uint64_t page_no, struct zr_ctx *ctx)
{
	uint8_t page[ZR_PAGE_SIZE];
	size_t n;

	stamp_make(page, sizeof(page), word_of(page_no));
	return zr_disk_write(disk, ctx, page_no * ZR_PAGE_SIZE, page, sizeof(page), &n);
}

static void check(uint64_t page_no)
{
	uint8_t page[ZR_PAGE_SIZE];

	disk_get(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	CHECK(stamp_is(page, sizeof(page), word_of(page_no)));
}

static uint64_t used_bytes(void)
{
	struct zr_disk_figures figures;

	zr_disk_figures(disk, &figures);
	return figures.used_bytes;
}

static int64_t n_back(void)
{
	return disk_gauge(disk, ZR_GAUGE_WRITTEN_BACK);
}

/* For what another thread does: up to ten seconds. */
#define EVENTUALLY(condition)                                              \
	do {                                                               \
		unsigned int tries_ = 0;                                   \
                                                                           \
		while (!(condition) && ++tries_ < 10000)                   \
			nanosleep(&(struct timespec){ 0, 1000000 }, NULL); \
		CHECK(condition);                                          \
	} while (0)

static void test_more_than_the_limit(void)
{
	uint64_t i;

	set_up();
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	zr_tier_begin(tier);
	for (i = 0; i < N_PAGES; ++i) {
		CHECK(put(i, rig.ctx) == 0);
		CHECK(used_bytes() <= MIB(1));
	}
	CHECK(n_back() > (int64_t)N_PAGES / 2);
	for (i = 0; i < N_PAGES; ++i)
		check(i);
	CHECK(atomic_load(&disk->entry->counters.failed_writes) == 0);
	/* It goes on until it is below the mark. */
	EVENTUALLY(used_bytes() <= MIB(1) / 10 * 9);
	tear_down();
}

static void test_a_limit_of_all_disks(void)
{
	uint64_t i;

	set_up();
	zr_store_set_mem_limit(rig.store, MIB(1));
	zr_tier_begin(tier);
	for (i = 0; i < N_PAGES; ++i)
		CHECK(put(i, rig.ctx) == 0);
	for (i = 0; i < N_PAGES; ++i)
		check(i);
	tear_down();
}

/* So little that the mark is below what one write wants. */
static void test_a_limit_of_a_few_pages(void)
{
	uint64_t i;

	set_up();
	CHECK(zr_disk_set_mem_limit(disk, 16 * ZR_PAGE_SIZE) == 0);
	zr_tier_begin(tier);
	for (i = 0; i < 200; ++i)
		CHECK(put(i * ZR_LEAF_SLOTS % 4 + i, rig.ctx) == 0);
	tear_down();
}

static void test_who_must_not_wait_is_told(void)
{
	struct zr_ctx *ctx;
	int64_t n_failed;
	uint64_t i;
	int r = 0;

	set_up();
	CHECK(zr_ctx_new(&ctx) == 0);
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	tier = zr_tier_free(tier);
	for (i = 0; r == 0; ++i)
		r = put(i, ctx);
	CHECK(r == -ENOSPC); /* nobody makes room */
	--i;                 /* the one that was refused */
	CHECK(zr_tier_new(&tier, rig.store, NULL) == 0);
	CHECK(put(i, ctx) == -EINPROGRESS);
	n_failed = (int64_t)atomic_load(&disk->entry->counters.failed_writes);
	fake.write_error = EIO; /* so that it stays as it is */
	zr_tier_begin(tier);
	CHECK(put(i, ctx) == -EINPROGRESS);
	CHECK((int64_t)atomic_load(&disk->entry->counters.failed_writes) == n_failed);
	fake.write_error = 0;
	EVENTUALLY(put(i, rig.ctx) == 0);
	zr_ctx_free(ctx);
	tear_down();
}

static void test_refusing(void)
{
	uint64_t i;
	int r = 0;

	set_up();
	set(ZR_ON_LIMIT_ENOSPC, 0);
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	zr_tier_begin(tier);
	for (i = 0; r == 0; ++i)
		r = put(i, rig.ctx);
	CHECK(r == -ENOSPC && n_back() == 0);
	tear_down();
}

static void test_a_file_that_is_full_or_fails(void)
{
	uint64_t i, n;
	int r = 0;

	set_up_sized(MIB(1));
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	zr_tier_begin(tier);
	for (i = 0; r == 0; ++i)
		r = put(i, rig.ctx);
	CHECK(r == -ENOSPC && n_back() > 100);
	for (n = 0; n + 1 < i; ++n)
		check(n);
	/* There is room again. */
	CHECK(zr_disk_punch(disk, rig.ctx, 0, i / 2 * ZR_PAGE_SIZE) == 0);
	CHECK(put(0, rig.ctx) == 0);
	check(0);
	tear_down();

	set_up();
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	zr_tier_begin(tier);
	fake.write_error = EIO;
	for (i = 0, r = 0; r == 0; ++i)
		r = put(i, rig.ctx);
	CHECK(r == -ENOSPC && n_back() == 0);
	fake.write_error = 0;
	/* It is tried again by itself. */
	EVENTUALLY(n_back() > 0);
	EVENTUALLY(put(i, rig.ctx) == 0);
	tear_down();
}

static void test_large_objects_go_at_once(void)
{
	uint64_t i;

	set_up();
	set(ZR_ON_LIMIT_DEFAULT, ZR_PAGE_SIZE / 2);
	zr_tier_begin(tier);
	for (i = 0; i < 300; ++i)
		CHECK(put(i, rig.ctx) == 0);
	EVENTUALLY(n_back() == 200 || n_back() == 100);
	EVENTUALLY(disk_gauge(disk, ZR_GAUGE_HUGE) == 0);
	for (i = 0; i < 300; ++i)
		check(i);
	tear_down();
}

/* What is used again and again stays. */
static void test_what_is_cold_goes_first(void)
{
	uint64_t i, n_reads;

	set_up();
	CHECK(zr_disk_set_mem_limit(disk, MIB(4)) == 0);
	zr_tier_begin(tier);
	for (i = 0; i < 16; ++i)
		CHECK(put(i, rig.ctx) == 0);
	for (; i < N_PAGES; ++i) {
		CHECK(put(i, rig.ctx) == 0);
		check(i % 16);
		check((i + 7) % 16);
		/* Nobody who swaps is as fast as this. */
		if (i % 16 == 0)
			nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	n_reads = fake.n_reads;
	printf("# reads of 16 hot pages from the file: %" PRIu64 " of %" PRIu64 "\n", n_reads,
	       2 * N_PAGES);
	CHECK(n_reads < N_PAGES / 8);
	tear_down();
}

static int put_on(struct zr_disk *on, uint64_t page_no, struct zr_ctx *ctx)
{
	uint8_t page[ZR_PAGE_SIZE];
	size_t n;

	stamp_make(page, sizeof(page), word_of(page_no));
	return zr_disk_write(on, ctx, page_no * ZR_PAGE_SIZE, page, sizeof(page), &n);
}

/* One disk has taken all of the limit, another, which has nothing to give, waits for room. */
static void test_room_that_another_disk_has(void)
{
	struct zr_disk *other;
	struct zr_ctx *ctx;
	unsigned int round;
	uint64_t i = 0;
	int r;

	set_up();
	other = rig_add_backed(&rig, "disk1", N_PAGES * ZR_PAGE_SIZE, id);
	CHECK(zr_ctx_new(&ctx) == 0);
	zr_store_set_mem_limit(rig.store, MIB(1));
	zr_tier_begin(tier);
	for (round = 0; round < 20; ++round) {
		while ((r = put_on(other, i % N_PAGES, ctx)) == 0)
			++i;
		CHECK(r == -EINPROGRESS);
		CHECK(zr_disk_punch(disk, rig.ctx, 0, N_PAGES * ZR_PAGE_SIZE) == 0);
		while ((r = put_on(other, i % N_PAGES, ctx)) == 0)
			++i;
		CHECK(put(round, rig.ctx) == 0);
	}
	zr_ctx_free(ctx);
	zr_disk_unpin(rig.store, other);
	tear_down();
}

/* All that can go is gone, and what stays is above the mark: nobody looks at it all the time. */
static void test_nothing_to_take_is_not_looked_for(void)
{
	struct zr_disk *other;
	int64_t before = 0, now;
	unsigned int n_looks = 0;
	uint64_t i;
	int r = 0;

	set_up();
	other = rig_add(&rig, "disk1", N_PAGES * ZR_PAGE_SIZE);
	for (i = 0; i < N_PAGES; ++i)
		CHECK(put(i, rig.ctx) == 0);
	zr_store_set_mem_limit(rig.store, MIB(32));
	for (i = 0; r == 0; ++i)
		r = put_on(other, i, rig.ctx);
	CHECK(r == -ENOSPC);
	zr_store_set_mem_limit(rig.store, MIB(14));
	zr_tier_begin(tier);
	EVENTUALLY(disk_gauge(disk, ZR_GAUGE_COMPR_BYTES) == 0);
	nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
	for (i = 0; i < 200; ++i) {
		nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
		now = atomic_load(&disk->pages.xspill_again_ns);
		n_looks += now != before;
		before = now;
	}
	/* One a second. */
	CHECK(n_looks < 10);
	zr_disk_unpin(rig.store, other);
	tear_down();
}

static _Atomic bool xover;

static void *tell_on(void *context)
{
	while (!atomic_load(&xover)) {
		zr_room_tell(zr_store_room(rig.store));
		nanosleep(&(struct timespec){ 0, 10000 }, NULL);
	}
	return NULL;
}

static void take_long(void)
{
	nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
}

/* What failed once is over, and others have news all the time. */
static void test_an_error_of_long_ago(void)
{
	struct zr_ctx *ctx;
	pthread_t thread;
	uint64_t i = 0;
	int r = 0;

	set_up_sized(MIB(1));
	CHECK(zr_ctx_new(&ctx) == 0);
	zr_store_set_mem_limit(rig.store, MIB(1));
	zr_tier_begin(tier);
	while (r == 0)
		r = put(i++, rig.ctx);
	CHECK(r == -ENOSPC);
	CHECK(zr_disk_punch(disk, rig.ctx, 0, N_PAGES * ZR_PAGE_SIZE) == 0);
	nanosleep(&(struct timespec){ 1, 500000000 }, NULL);
	for (i = 0, r = 0; r == 0; ++i)
		r = put(i, ctx);
	CHECK(r == -EINPROGRESS);
	--i; /* the one that was refused */
	atomic_store(&xover, false);
	fake.meanwhile = take_long;
	CHECK(pthread_create(&thread, NULL, tell_on, NULL) == 0);
	nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	CHECK(put(i, rig.ctx) == 0);
	atomic_store(&xover, true);
	CHECK(pthread_join(thread, NULL) == 0);
	zr_ctx_free(ctx);
	tear_down();
}

#define N_WRITERS 4

static void *write_on(void *context)
{
	const uint64_t first = (uint64_t)(uintptr_t)context;
	struct zr_ctx *ctx;
	unsigned int round;
	uint64_t i;

	CHECK(zr_ctx_new(&ctx) == 0 && zr_ctx_let_wait(ctx) == 0);
	for (round = 0; round < 2; ++round) {
		for (i = first; i < N_PAGES; i += N_WRITERS)
			CHECK(put(i, ctx) == 0);
	}
	zr_ctx_free(ctx);
	return NULL;
}

static void test_several_who_write(void)
{
	pthread_t threads[N_WRITERS];
	uintptr_t i;

	set_up();
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	zr_tier_begin(tier);
	for (i = 0; i < N_WRITERS; ++i)
		CHECK(pthread_create(&threads[i], NULL, write_on, (void *)i) == 0);
	for (i = 0; i < N_WRITERS; ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (i = 0; i < N_PAGES; ++i)
		check(i);
	tear_down();
}

static _Atomic bool reading;

static void *read_on(void *context)
{
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_ctx *ctx;
	uint64_t i;
	size_t n;

	CHECK(zr_ctx_new(&ctx) == 0 && zr_ctx_let_wait(ctx) == 0);
	for (i = 0; atomic_load(&reading); ++i)
		CHECK(zr_disk_read(disk, ctx, i % 256 * ZR_PAGE_SIZE, page, sizeof(page), &n) == 0);
	zr_ctx_free(ctx);
	return NULL;
}

/* Pages that are used all the time lose each mark at once. Some of them go all the same. */
static void test_all_is_in_use(void)
{
	pthread_t threads[3];
	unsigned int i;

	set_up();
	CHECK(zr_disk_set_mem_limit(disk, MIB(1) / 2) == 0);
	zr_tier_begin(tier);
	atomic_store(&reading, true);
	for (i = 0; i < ZR_ARRAY_SIZE(threads); ++i)
		CHECK(pthread_create(&threads[i], NULL, read_on, NULL) == 0);
	for (i = 0; i < 2048; ++i)
		CHECK(put(i % 256, rig.ctx) == 0);
	atomic_store(&reading, false);
	for (i = 0; i < ZR_ARRAY_SIZE(threads); ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	tear_down();
}

static void test_it_ends_while_it_is_waited_for(void)
{
	set_up();
	tier = zr_tier_free(tier); /* never begun */
	CHECK(zr_tier_new(&tier, rig.store, NULL) == 0);
	zr_tier_begin(tier);
	zr_tier_begin(tier);
	tear_down();
}

/* Writes page after page, until it is refused. */
struct filler {
	struct zr_ctx *ctx;
	_Atomic uint64_t n_pages;
	_Atomic int r;
};

static void *fill_on(void *context)
{
	struct filler *filler = context;

	int r;

	do {
		r = put(atomic_load(&filler->n_pages), filler->ctx);
		atomic_store(&filler->r, r);
	} while (r == 0 && atomic_fetch_add(&filler->n_pages, 1) < N_PAGES - 2);
	return NULL;
}

/* Return: which page it waits with. */
static uint64_t stands_still(struct filler *filler)
{
	uint64_t before;

	do {
		before = atomic_load(&filler->n_pages);
		usleep(100000);
	} while (atomic_load(&filler->n_pages) != before);
	return before;
}

/* All memory that the pool has to give. */
struct hoard {
	zr_position taken[4096];
	uint32_t n_bytes[4096];
	size_t n;
};

static void hoard_take(struct hoard *hoard, struct zr_pool *pool)
{
	uint32_t n_bytes;

	for (n_bytes = ZR_PAGE_SIZE; n_bytes > 0; n_bytes -= 16) {
		while (zr_pool_alloc(pool, n_bytes, &hoard->taken[hoard->n]) == 0) {
			hoard->n_bytes[hoard->n] = n_bytes;
			CHECK(++hoard->n < ZR_ARRAY_SIZE(hoard->taken));
		}
	}
}

static void hoard_give(struct hoard *hoard, struct zr_pool *pool)
{
	while (hoard->n-- > 0)
		zr_pool_free(pool, hoard->taken[hoard->n], hoard->n_bytes[hoard->n]);
}

/* As in a worker that takes over: it serves before it has the whole store in memory. */
static void test_who_is_refused_before_it_begins_waits(void)
{
	struct filler filler = { 0 };
	pthread_t thread;
	uint64_t i;

	set_up();
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	filler.ctx = rig.ctx;
	CHECK(pthread_create(&thread, NULL, fill_on, &filler) == 0);
	CHECK(stands_still(&filler) < N_PAGES / 2 && atomic_load(&filler.r) == 0);
	zr_tier_begin(tier);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(atomic_load(&filler.r) == 0);
	for (i = 0; i < N_PAGES - 2; ++i)
		check(i);
	tear_down();
}

static void test_who_does_not_begin_is_waited_for_once(void)
{
	uint64_t i;

	set_up();
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	CHECK(zr_room_is_made(zr_store_room(rig.store)));
	for (i = 0; put(i, rig.ctx) == 0; ++i)
		;
	CHECK(i < N_PAGES / 2 && put(i, rig.ctx) == -ENOSPC);
	CHECK(!zr_room_is_made(zr_store_room(rig.store)));
	zr_tier_begin(tier);
	CHECK(put(i, rig.ctx) == 0);
	tear_down();
}

/* It waits for memory, for room for longer than it would for memory, and for memory again: that is to
 * be waited for as if for the first time. Nobody makes either by himself here. */
static void test_waiting_for_room_is_not_waiting_for_memory(void)
{
	static struct hoard hoard;
	struct filler filler = { 0 };
	struct zr_engine *engine;
	pthread_t thread;
	uint64_t page_no;

	set_up();
	engine = disk->engine;
	CHECK(zr_ctx_new(&filler.ctx) == 0 && zr_ctx_let_wait(filler.ctx) == 0);
	zr_room_set(&engine->room, ZR_ROOM_MADE);
	zr_pool_tend(&engine->pool, true);
	CHECK(pthread_create(&thread, NULL, fill_on, &filler) == 0);
	page_no = stands_still(&filler); /* for memory */

	CHECK(zr_disk_set_mem_limit(disk, ZR_PAGE_SIZE) == 0);
	CHECK(zr_pool_refill(&engine->pool) == 0);
	EVENTUALLY(atomic_load(&disk->pages.xrefused)); /* for room */
	usleep(1200000);
	hoard_take(&hoard, &engine->pool);
	CHECK(zr_disk_set_mem_limit(disk, 0) == 0);
	zr_room_tell(&engine->room);
	usleep(100000); /* for memory again */
	CHECK(atomic_load(&filler.n_pages) == page_no);
	hoard_give(&hoard, &engine->pool);
	CHECK(zr_pool_refill(&engine->pool) == 0);
	EVENTUALLY(atomic_load(&filler.n_pages) > page_no || atomic_load(&filler.r) != 0);
	CHECK(atomic_load(&filler.n_pages) > page_no);

	zr_room_set(&engine->room, ZR_ROOM_NONE);
	zr_pool_tend(&engine->pool, false);
	CHECK(pthread_join(thread, NULL) == 0);
	filler.ctx = zr_ctx_free(filler.ctx);
	tear_down();
}

int main(void)
{
	RUN(test_more_than_the_limit);
	RUN(test_a_limit_of_all_disks);
	RUN(test_a_limit_of_a_few_pages);
	RUN(test_who_must_not_wait_is_told);
	RUN(test_refusing);
	RUN(test_a_file_that_is_full_or_fails);
	RUN(test_large_objects_go_at_once);
	RUN(test_what_is_cold_goes_first);
	RUN(test_room_that_another_disk_has);
	RUN(test_nothing_to_take_is_not_looked_for);
	RUN(test_an_error_of_long_ago);
	RUN(test_several_who_write);
	RUN(test_all_is_in_use);
	RUN(test_it_ends_while_it_is_waited_for);
	RUN(test_who_is_refused_before_it_begins_waits);
	RUN(test_who_does_not_begin_is_waited_for_once);
	RUN(test_waiting_for_room_is_not_waiting_for_memory);
	return 0;
}
