/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Stores with a thread that tends them. Who asks the kernel for memory, or gives some back, is
 * counted by thread (faults.h); that it is refused, or comes late, is asked for. What is measured
 * is only whether somebody waited for all of their time or not. Where all stood still meanwhile, a
 * thread that does nothing but look at the clock among them, that says nothing, and does not count.
 */

#include "rig.h"

#include <errno.h>
#include <pthread.h>

#include "faults.h"
#include "upkeep.h"
#include "page-slack.h"

#define N_THREADS 3u
#define N_PAGES   2000u

#define MS INT64_C(1000000)

/* Whoever waited so long waited in vain: a second is what they wait at most. */
#define LONG_NS  (900 * MS)
/* Nothing takes so long, however busy the machine is. */
#define NEVER_NS (120000 * MS)
/* Where a thread that sleeps for PULSE_MS comes back after so long, others are late too. */
#define STILL_NS (20 * MS)
#define PULSE_MS 5u

static struct rig rig;
static _Atomic bool stop; /* for the threads of a test */

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void pause_ms(unsigned int ms)
{
	const struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&pause, NULL);
}

/* did the machine stand still? */

static _Atomic int64_t pulse_ns;       /* when there was one */
static _Atomic int64_t still_until_ns; /* 0: never */

static void *pulse(void *context)
{
	int64_t now;

	for (;;) {
		now = now_ns();
		if (now - atomic_load(&pulse_ns) > STILL_NS)
			atomic_store(&still_until_ns, now);
		atomic_store(&pulse_ns, now);
		pause_ms(PULSE_MS);
	}
	return context;
}

static void pulse_start(void)
{
	pthread_t thread;

	atomic_store(&pulse_ns, now_ns());
	CHECK(pthread_create(&thread, NULL, pulse, NULL) == 0);
	CHECK(pthread_detach(thread) == 0);
}

/* Also while it does, or has just ceased to. */
static bool stood_still_since(int64_t began)
{
	return now_ns() - atomic_load(&pulse_ns) > STILL_NS ||
	       atomic_load(&still_until_ns) >= began;
}

/* Did it take all of the time that one waits? */
static bool took_long(int64_t began)
{
	return now_ns() - began >= LONG_NS && !stood_still_since(began);
}

/* Nobody can have served who was refused while all stood still. */
static bool is_to_be_done_again(int r, int64_t began)
{
	return r == -ENOMEM && !atomic_load(&faults_all) && stood_still_since(began);
}

static void put(struct zr_disk *disk, uint64_t offset, const void *bytes, size_t n_bytes)
{
	size_t n_written;
	int64_t began;
	int r;

	do {
		began = now_ns();
		r = zr_disk_write(disk, rig.ctx, offset, bytes, n_bytes, &n_written);
	} while (is_to_be_done_again(r, began));
	CHECK(r == 0 && n_written == n_bytes);
}

static void set_up(void)
{
	rig_init(&rig);
	CHECK(zr_store_tend(rig.store) == 0);
}

/* Who tends a store changes it at any time: what is to be validated must have an end of that. */
static void tear_down(void)
{
	rig_reattach(&rig);
	rig_deinit(&rig);
}

/* writers */

struct writer {
	pthread_t thread;
	struct zr_ctx *ctx;
	struct zr_disk *disk;
	uint64_t seed;
	unsigned int n_pages;
	unsigned int n_refused, n_asked, n_long; /* results */
	int64_t longest_ns;
	uint64_t words[N_PAGES]; /* what is there; 0: a hole */
};

static struct writer writers[N_THREADS];

static void write_one(struct writer *writer, struct rng *rng)
{
	const uint64_t page_no = rng_below(rng, N_PAGES), word = rng_next(rng) | 4;
	uint8_t page[ZR_PAGE_SIZE];
	size_t n_written;
	int64_t began;
	int r;

	stamp_make(page, sizeof(page), word);
	do {
		began = now_ns();
		r = zr_disk_write(writer->disk, writer->ctx, page_no * ZR_PAGE_SIZE, page,
				  sizeof(page), &n_written);
	} while (is_to_be_done_again(r, began));
	writer->n_long += took_long(began);
	writer->longest_ns = (int64_t)zr_max((uint64_t)writer->longest_ns,
					     (uint64_t)(now_ns() - began));
	CHECK(r == 0 || r == -ENOMEM);
	if (r == 0)
		writer->words[page_no] = word;
	else
		++writer->n_refused;
}

static void *write_all(void *context)
{
	struct writer *writer = context;
	struct rng rng = { .state = writer->seed };
	unsigned int i;

	faults_n_own = 0;
	for (i = 0; i < writer->n_pages; ++i) {
		write_one(writer, &rng);
		if (i % 8 == 0) {
			const uint64_t page_no = rng_below(&rng, N_PAGES);

			CHECK(zr_disk_punch(writer->disk, writer->ctx, page_no * ZR_PAGE_SIZE,
					    ZR_PAGE_SIZE) == 0);
			writer->words[page_no] = 0;
		}
	}
	writer->n_asked = faults_n_own;
	return NULL;
}

static void writers_init(struct rng *rng)
{
	char name[16];
	unsigned int i;

	for (i = 0; i < N_THREADS; ++i) {
		memset(&writers[i], 0, sizeof(writers[i]));
		snprintf(name, sizeof(name), "disk%u", i);
		writers[i].disk = rig_add(&rig, name, N_PAGES * ZR_PAGE_SIZE);
		writers[i].seed = rng_next(rng);
		CHECK(zr_ctx_new(&writers[i].ctx) == 0);
	}
}

static void writers_run(unsigned int n_pages)
{
	unsigned int i;

	for (i = 0; i < N_THREADS; ++i) {
		writers[i].n_pages = n_pages;
		writers[i].n_refused = writers[i].n_long = 0;
		writers[i].longest_ns = 0;
		++writers[i].seed;
		CHECK(pthread_create(&writers[i].thread, NULL, write_all, &writers[i]) == 0);
	}
	for (i = 0; i < N_THREADS; ++i)
		CHECK(pthread_join(writers[i].thread, NULL) == 0);
}

static void writers_check(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i, page_no;

	for (i = 0; i < N_THREADS; ++i) {
		for (page_no = 0; page_no < N_PAGES; ++page_no) {
			disk_get(&rig, writers[i].disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
			CHECK(stamp_is(page, sizeof(page), writers[i].words[page_no]));
		}
	}
}

static void writers_deinit(void)
{
	unsigned int i;

	for (i = 0; i < N_THREADS; ++i) {
		writers[i].ctx = zr_ctx_free(writers[i].ctx);
		writers[i].disk = zr_disk_unpin(rig.store, writers[i].disk);
	}
}

/* memory comes */

static void test_writers_neither_fail_nor_ask_for_memory(void)
{
	struct rng rng = rng_init("test-upkeep");
	unsigned int i, round;

	set_up();
	writers_init(&rng);
	for (round = 0; round < 3; ++round) {
		writers_run(3000);
		for (i = 0; i < N_THREADS; ++i) {
			CHECK(writers[i].n_refused == 0);
			CHECK(writers[i].n_asked == 0);
			printf("# the longest write took %.1f ms\n",
			       (double)writers[i].longest_ns / 1e6);
		}
	}
	CHECK(faults_n_populated > 0);
	writers_check();
	writers_deinit();
	tear_down();
}

/* Every request takes 30 ms: who finds nothing waits for it, and gets it. */
static void test_who_must_wait_gets_it(void)
{
	struct zr_disk *disk;
	uint8_t page[ZR_PAGE_SIZE], back[ZR_PAGE_SIZE];
	int64_t began;
	uint64_t word;

	set_up();
	disk = rig_add(&rig, "disk0", MIB(1));
	faults_delay_ms = 30;
	faults_n_own = 0;
	for (word = 4; word < 8; ++word) {
		stamp_make(page, sizeof(page), word);
		began = now_ns();
		put(disk, word * ZR_PAGE_SIZE, page, sizeof(page));
		if (word == 5) /* the first object of all, and the first nodes */
			CHECK(now_ns() - began >= 30 * MS);
		disk_get(&rig, disk, word * ZR_PAGE_SIZE, back, sizeof(back));
		CHECK(stamp_is(back, sizeof(back), word));
	}
	CHECK(faults_n_own == 0);
	faults_delay_ms = 0;
	zr_disk_unpin(rig.store, disk);
	tear_down();
}

/* Answers each wake-up when nobody holds anything: what was taken and given back is there again,
 * and looks like enough. */
static void *refill_late(void *context)
{
	struct zr_pool *pool = context;

	while (!atomic_load(&stop)) {
		if (!atomic_load(&pool->xwoken))
			continue;
		pause_ms(3);
		CHECK(zr_pool_refill(pool) == 0);
	}
	return NULL;
}

/* A raw page at a new place takes its object and four nodes, all or none of them. */
static void test_a_first_write_needs_five_pages(void)
{
	struct zr_disk *disk;
	uint8_t page[ZR_PAGE_SIZE];
	pthread_t thread;
	int64_t began;
	uint64_t i;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", MIB(1));
	zr_pool_tend(&disk->engine->pool, true);
	atomic_store(&stop, false);
	CHECK(pthread_create(&thread, NULL, refill_late, &disk->engine->pool) == 0);
	stamp_make(page, sizeof(page), 7);
	for (i = 0; i < 8; ++i) {
		began = now_ns();
		put(disk, i << 40, page, sizeof(page));
		CHECK(!took_long(began));
	}
	atomic_store(&stop, true);
	CHECK(pthread_join(thread, NULL) == 0);
	zr_pool_tend(&disk->engine->pool, false);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* What changes a disk's size waits as well, with nothing held. */
static void test_punching_and_truncating_wait_too(void)
{
	struct zr_disk *disk;
	uint8_t page[ZR_PAGE_SIZE];
	int64_t began;
	int r;

	set_up();
	disk = rig_add(&rig, "disk0", MIB(1));
	stamp_make(page, sizeof(page), 3);
	put(disk, 0, page, sizeof(page));
	put(disk, ZR_PAGE_SIZE, page, sizeof(page));
	faults_delay_ms = 30;
	do {
		began = now_ns();
		r = zr_disk_punch(disk, rig.ctx, 0, 3000); /* a smaller object */
	} while (is_to_be_done_again(r, began));
	CHECK(r == 0);
	do {
		began = now_ns();
		r = zr_disk_truncate(disk, rig.ctx, ZR_PAGE_SIZE + 500);
	} while (is_to_be_done_again(r, began));
	CHECK(r == 0);
	faults_delay_ms = 0;
	memset(page, 0, 3000);
	disk_get(&rig, disk, 0, page, 3000);
	CHECK(bytes_are(page, 0, 3000));
	CHECK(zr_disk_size(disk) == ZR_PAGE_SIZE + 500);
	zr_disk_unpin(rig.store, disk);
	tear_down();
}

/* memory is refused */

static zr_position taken[1u << 18];

/* Whatever is kept ahead is taken, and no more comes. Return: how many cells. */
static unsigned int drain(struct zr_pool *pool)
{
	unsigned int n_taken = 0;
	int r;

	atomic_store(&faults_all, true);
	while ((r = zr_pool_alloc(pool, 1, &taken[n_taken])) != -ENOMEM) {
		if (r == 0)
			CHECK(++n_taken < ZR_ARRAY_SIZE(taken));
		else
			pause_ms(1); /* who tends it was not refused yet */
	}
	return n_taken;
}

static unsigned int n_refused_in_all(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < N_THREADS; ++i)
		n += writers[i].n_refused;
	return n;
}

/* Whoever writes is told at once, not after a second each; what is there stays; and when memory can
 * be had again it is used, without anybody doing anything about it. */
static void test_refusals_are_quick_and_pass(void)
{
	struct rng rng = rng_init("test-upkeep");
	unsigned int i, n_taken, n_long = 0;
	struct zr_pool *pool;
	int64_t began;

	set_up();
	writers_init(&rng);
	writers_run(200);
	pool = &writers[0].disk->engine->pool;
	faults_n_refused = 0;
	n_taken = drain(pool);
	writers_run(1500);
	for (i = 0; i < N_THREADS; ++i)
		n_long += writers[i].n_long;
	/* All but those that need none, or find what was discarded. */
	CHECK(n_refused_in_all() > N_THREADS * 1500 / 4 && faults_n_refused > 0);
	CHECK(n_long < n_refused_in_all() / 100);
	writers_check();

	faults_all = false;
	began = now_ns();
	do {
		CHECK(now_ns() - began < NEVER_NS);
		writers_run(1000);
	} while (n_refused_in_all() > 0);
	writers_check();
	faults_undrain(pool, taken, n_taken);
	writers_deinit();
	tear_down();
}

/* how long it is waited */

static struct zr_disk *a_disk(enum zr_format format)
{
	struct zr_disk_spec spec;
	struct zr_disk *disk;

	zr_disk_spec_init(&spec, 0);
	strcpy(spec.attrs.name, "waits");
	spec.attrs.format = format;
	spec.disksize_bytes = MIB(1);
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &disk) == 0);
	return disk;
}

/* A write that is not possible. Return: when it began. */
static int64_t refused_since(struct zr_disk *disk)
{
	const int64_t began = now_ns();
	uint8_t page[ZR_PAGE_SIZE];
	size_t n_written;

	stamp_make(page, sizeof(page), 6);
	CHECK(zr_disk_write(disk, rig.ctx, 9 * ZR_PAGE_SIZE, page, sizeof(page), &n_written) ==
	      -ENOMEM);
	CHECK(n_written == 0);
	return began;
}

/* Nobody comes: the pool is said to be tended, and is not. */
static void test_waiting_has_an_end(void)
{
	struct zr_disk *disk;
	int64_t began;

	rig_init(&rig);
	disk = a_disk(ZR_FORMAT_NONE);
	zr_pool_tend(&disk->engine->pool, true);
	began = refused_since(disk);
	CHECK(now_ns() - began >= 990 * MS && now_ns() - began < NEVER_NS);
	zr_pool_tend(&disk->engine->pool, false);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* Until it is no longer new to whoever tends it. */
static void tend_for_a_second(struct zr_pool *pool)
{
	zr_pool_tend(pool, true);
	while (zr_pool_is_new(pool))
		pause_ms(10);
}

static void test_swap_hardly_waits(void)
{
	struct zr_disk *disk;
	int64_t began;

	rig_init(&rig);
	disk = a_disk(ZR_FORMAT_SWAP);
	tend_for_a_second(&disk->engine->pool);
	began = refused_since(disk);
	CHECK(now_ns() - began >= 19 * MS && !took_long(began));
	zr_pool_tend(&disk->engine->pool, false);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* Memory comes all the time, but never for those who wait. At most 4 s of it. */
static void *wake_in_vain(void *context)
{
	unsigned int i;

	for (i = 0; i < 4000 && !atomic_load(&stop); ++i) {
		zr_pool_tend(context, true);
		pause_ms(1);
	}
	return NULL;
}

static void test_waking_in_vain_does_not_prolong_it(void)
{
	struct zr_disk *disk;
	pthread_t thread;

	rig_init(&rig);
	disk = a_disk(ZR_FORMAT_SWAP);
	tend_for_a_second(&disk->engine->pool);
	atomic_store(&stop, false);
	CHECK(pthread_create(&thread, NULL, wake_in_vain, &disk->engine->pool) == 0);
	CHECK(!took_long(refused_since(disk)));
	atomic_store(&stop, true);
	CHECK(pthread_join(thread, NULL) == 0);
	zr_pool_tend(&disk->engine->pool, false);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static void *write_and_wait(void *context)
{
	struct writer *writer = context;
	struct rng rng = { .state = 1 };

	while (writer->n_pages-- > 0)
		write_one(writer, &rng);
	return NULL;
}

/* Whoever waits when nobody tends the pool any more gets memory by themselves. */
static void test_who_waits_goes_on_when_tending_ends(void)
{
	struct rng rng = rng_init("test-upkeep");
	struct writer *writer = &writers[0];
	struct zr_pool *pool;

	rig_init(&rig);
	writers_init(&rng);
	pool = &writer->disk->engine->pool;
	zr_pool_tend(pool, true);
	writer->n_pages = 1;
	CHECK(pthread_create(&writer->thread, NULL, write_and_wait, writer) == 0);
	while (!atomic_load(&pool->xwoken))
		pause_ms(1);
	pause_ms(20); /* that it is asleep by then nobody can see */
	zr_pool_tend(pool, false);
	CHECK(pthread_join(writer->thread, NULL) == 0);
	CHECK(writer->n_refused == 0 && writer->n_long == 0);
	writers_check();
	writers_deinit();
	rig_deinit(&rig);
}

/* The thread is started and ended under writers, some of which wait for the memory that it was just
 * about to bring. */
static void test_upkeep_ends_while_somebody_waits(void)
{
	struct rng rng = rng_init("test-upkeep");
	struct zr_upkeep *upkeep = NULL;
	unsigned int i, round;

	rig_init(&rig);
	writers_init(&rng);
	faults_delay_ms = 2;
	for (i = 0; i < N_THREADS; ++i) {
		writers[i].n_pages = 400;
		CHECK(pthread_create(&writers[i].thread, NULL, write_and_wait, &writers[i]) == 0);
	}
	for (round = 0; round < 20; ++round) {
		CHECK(zr_upkeep_new(&upkeep, writers[0].disk->engine, true) == 0);
		zr_upkeep_begin(upkeep);
		pause_ms(10);
		upkeep = zr_upkeep_free(upkeep);
	}
	for (i = 0; i < N_THREADS; ++i) {
		CHECK(pthread_join(writers[i].thread, NULL) == 0);
		CHECK(writers[i].n_refused == 0);
	}
	faults_delay_ms = 0;
	CHECK(zr_upkeep_free(NULL) == NULL);
	writers_check();
	writers_deinit();
	rig_deinit(&rig);
}

/* memory goes */

/* Wait until the spans hold no more than that. */
static void wait_for_spans(uint64_t n_bytes)
{
	const int64_t began = now_ns();
	struct zr_store_usage usage;

	for (;;) {
		zr_store_usage(rig.store, &usage);
		if (usage.span_bytes <= n_bytes)
			break;
		CHECK(now_ns() - began < NEVER_NS);
		pause_ms(20);
	}
	printf("# down to %" PRIu64 " KiB after %.0f ms\n", usage.span_bytes >> 10,
	       (double)(now_ns() - began) / 1e6);
}

static uint64_t used_bytes(void)
{
	struct zr_disk_figures figures;
	uint64_t n_bytes = 0;
	unsigned int i;

	for (i = 0; i < N_THREADS; ++i) {
		zr_disk_figures(writers[i].disk, &figures);
		n_bytes += figures.used_bytes;
	}
	return n_bytes;
}

/* What a class keeps: two cells or a page ahead, and part of a page at its end. */
static uint64_t kept_bytes(void)
{
	const struct zr_pool *pool = &writers[0].disk->engine->pool;
	uint64_t n_bytes = 0;
	unsigned int i;

	for (i = 0; i < ZR_POOL_CLASSES; ++i)
		n_bytes += (atomic_load(&pool->classes[i].xahead_bytes) > 0) *
			   (2 * zr_max(pool->classes[i].cell_bytes, ZR_PAGE_SIZE) +
			    zr_system_page_bytes());
	return n_bytes + pool_page_slack(pool);
}

static void test_memory_comes_back_by_itself(void)
{
	struct rng rng = rng_init("test-upkeep");
	uint64_t page_no, most;
	unsigned int i;

	set_up();
	writers_init(&rng);
	writers_run(5000);
	for (i = 0; i < N_THREADS; ++i) {
		for (page_no = 0; page_no < N_PAGES; ++page_no) {
			if (rng_below(&rng, 2))
				continue;
			CHECK(zr_disk_punch(writers[i].disk, rig.ctx, page_no * ZR_PAGE_SIZE,
					    ZR_PAGE_SIZE) == 0);
			writers[i].words[page_no] = 0;
		}
	}
	/* With what is not worth a pass: a 200th and 64 KiB at the most. */
	most = used_bytes() + kept_bytes();
	wait_for_spans(most + most / 200 + 65536);
	writers_check();

	/* Of disks without pages all of it. */
	for (i = 0; i < N_THREADS; ++i) {
		CHECK(zr_disk_truncate(writers[i].disk, rig.ctx, 0) == 0);
		CHECK(zr_disk_truncate(writers[i].disk, rig.ctx, N_PAGES * ZR_PAGE_SIZE) == 0);
		memset(writers[i].words, 0, sizeof(writers[i].words));
	}
	wait_for_spans(0);
	writers_run(100);
	writers_check();
	writers_deinit();
	tear_down();
}

/* Another worker's store, with much that is free in it. */
static void test_attached_store_is_packed_too(void)
{
	struct rng rng = rng_init("test-upkeep");
	uint64_t page_no;
	unsigned int i;

	rig_init(&rig);
	writers_init(&rng);
	writers_run(5000);
	for (i = 0; i < N_THREADS; ++i) {
		for (page_no = 0; page_no < N_PAGES; page_no += 2) {
			CHECK(zr_disk_punch(writers[i].disk, rig.ctx, page_no * ZR_PAGE_SIZE,
					    ZR_PAGE_SIZE) == 0);
			writers[i].words[page_no] = 0;
		}
		writers[i].disk = zr_disk_unpin(rig.store, writers[i].disk);
	}
	rig_reattach(&rig);
	for (i = 0; i < N_THREADS; ++i)
		CHECK((writers[i].disk = zr_store_get(rig.store, i + 1)));
	CHECK(zr_store_tend(rig.store) == 0);
	wait_for_spans(used_bytes() * 201 / 200 + 65536 +
		       ZR_POOL_CLASSES * (2 * ZR_PAGE_SIZE + zr_system_page_bytes()) +
		       pool_page_slack(&writers[0].disk->engine->pool));
	writers_check();
	writers_run(1000);
	for (i = 0; i < N_THREADS; ++i)
		CHECK(writers[i].n_refused == 0 && writers[i].n_asked == 0);
	writers_check();
	writers_deinit();
	tear_down();
}

/* A successor has its thread before the store is its own. */
static void test_who_tends_later_does_nothing_yet(void)
{
	uint8_t page[ZR_PAGE_SIZE] = { 1 };
	struct zr_upkeep *upkeep = NULL;
	struct zr_engine engine = { 0 };
	struct zr_store_usage usage;
	struct zr_disk *disk;

	/* It looks at nothing of what is not loaded yet. */
	CHECK(zr_upkeep_new(&upkeep, &engine, true) == 0);
	pause_ms(10);
	CHECK(zr_upkeep_free(upkeep) == NULL);

	rig_init(&rig);
	CHECK(zr_store_tend_later(rig.store, true) == 0);
	CHECK(zr_store_tend_later(rig.store, true) == 0);
	pause_ms(30);
	zr_store_usage(rig.store, &usage);
	CHECK(usage.span_bytes == 0);
	/* Whoever writes gets memory by itself, as without such a thread. */
	disk = rig_add(&rig, "a", MIB(4));
	put(disk, 0, page, sizeof(page));
	CHECK(zr_store_tend(rig.store) == 0);
	CHECK(zr_store_tend(rig.store) == 0);
	put(disk, sizeof(page), page, sizeof(page));
	zr_store_untend(rig.store);
	zr_disk_unpin(rig.store, disk);
	tear_down();
}

int main(void)
{
	pulse_start();
	RUN(test_writers_neither_fail_nor_ask_for_memory);
	RUN(test_who_must_wait_gets_it);
	RUN(test_a_first_write_needs_five_pages);
	RUN(test_punching_and_truncating_wait_too);
	RUN(test_refusals_are_quick_and_pass);
	RUN(test_waiting_has_an_end);
	RUN(test_swap_hardly_waits);
	RUN(test_waking_in_vain_does_not_prolong_it);
	RUN(test_who_waits_goes_on_when_tending_ends);
	RUN(test_upkeep_ends_while_somebody_waits);
	RUN(test_memory_comes_back_by_itself);
	RUN(test_attached_store_is_packed_too);
	RUN(test_who_tends_later_does_nothing_yet);
	return 0;
}
