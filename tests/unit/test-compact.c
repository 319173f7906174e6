/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Passes over whole stores. What the disks should say is kept beside them, page by page; how little
 * memory is left follows from what their figures say they use.
 */

#include "rig.h"

#include <errno.h>
#include <pthread.h>

#include "compact.h"
#include "page-slack.h"

#define N_DISKS   3u
#define N_PAGES   3000u
#define N_THREADS 4u

static struct rig rig;
static struct zr_disk *disks[N_DISKS];
static uint64_t words[N_DISKS][N_PAGES]; /* stamps of the pages; 0: a hole */

static struct zr_engine *engine(void)
{
	return disks[0]->engine;
}

static void put(struct rng *rng, unsigned int disk_no, uint64_t page_no)
{
	uint8_t page[ZR_PAGE_SIZE];

	words[disk_no][page_no] = rng_next(rng) | 4;
	stamp_make(page, sizeof(page), words[disk_no][page_no]);
	disk_put(&rig, disks[disk_no], page_no * ZR_PAGE_SIZE, page, sizeof(page));
}

static void discard(unsigned int disk_no, uint64_t page_no)
{
	words[disk_no][page_no] = 0;
	CHECK(zr_disk_punch(disks[disk_no], rig.ctx, page_no * ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
}

static void check_disk(unsigned int disk_no)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t page_no;

	for (page_no = 0; page_no < N_PAGES; ++page_no) {
		disk_get(&rig, disks[disk_no], page_no * ZR_PAGE_SIZE, page, sizeof(page));
		CHECK(stamp_is(page, sizeof(page), words[disk_no][page_no]));
	}
}

static void check_disks(void)
{
	unsigned int i;

	rig_validate(rig.store);
	for (i = 0; i < N_DISKS; ++i) {
		if (disks[i])
			check_disk(i);
	}
}

static void put_all(struct rng *rng)
{
	uint64_t page_no;
	unsigned int i;

	for (page_no = 0; page_no < N_PAGES; ++page_no) {
		for (i = 0; i < N_DISKS; ++i)
			put(rng, i, page_no);
	}
}

static void set_up(struct rng *rng)
{
	static const char *const names[N_DISKS] = { "a", "b", "c" };
	unsigned int i;

	rig_init(&rig);
	memset(words, 0, sizeof(words));
	for (i = 0; i < N_DISKS; ++i)
		disks[i] = rig_add(&rig, names[i], N_PAGES * ZR_PAGE_SIZE);
	put_all(rng);
}

static void discard_some(struct rng *rng, unsigned int percent)
{
	uint64_t page_no;
	unsigned int i;

	for (i = 0; i < N_DISKS; ++i) {
		for (page_no = 0; page_no < N_PAGES; ++page_no) {
			if (disks[i] && rng_below(rng, 100) < percent)
				discard(i, page_no);
		}
	}
}

static void tear_down(void)
{
	unsigned int i;

	for (i = 0; i < N_DISKS; ++i)
		disks[i] = zr_disk_unpin(rig.store, disks[i]);
	rig_deinit(&rig);
}

/* Beyond what the disks use a class has at most what it keeps ahead and part of a page; and a span,
 * what is less than a cell. */
static void check_small(void)
{
	const struct zr_pool *pool = &engine()->pool;
	struct zr_disk_figures figures;
	struct zr_store_usage usage;
	uint64_t most = 0;
	unsigned int i;

	for (i = 0; i < N_DISKS; ++i) {
		if (!disks[i])
			continue;
		zr_disk_figures(disks[i], &figures);
		most += figures.used_bytes;
	}
	for (i = 0; i < ZR_POOL_CLASSES; ++i) {
		const struct zr_class *class = &pool->classes[i];

		most += class->n_spans * (ZR_SPAN_BYTES % class->cell_bytes);
		if (class->n_spans > 0)
			most += atomic_load(&class->xahead_bytes) + zr_system_page_bytes();
	}
	most += pool_page_slack(pool);
	zr_store_usage(rig.store, &usage);
	CHECK(usage.span_bytes <= most);
}

static void test_a_pass_leaves_what_is_there_and_little_else(void)
{
	struct rng rng = rng_init("test-compact");
	struct zr_store_usage before, after;
	unsigned int percent;
	uint64_t n_bytes;

	for (percent = 10; percent <= 90; percent += 40) {
		set_up(&rng);
		discard_some(&rng, percent);
		check_disks();
		zr_store_usage(rig.store, &before);
		n_bytes = zr_store_compact(rig.store);
		zr_store_usage(rig.store, &after);
		CHECK(n_bytes > 0 && after.span_bytes == before.span_bytes - n_bytes);
		CHECK(after.pages_compacted > 0);
		CHECK(atomic_load(&engine()->compaction.xmoved) > 0);
		check_small();
		check_disks();
		CHECK(zr_store_compact(rig.store) == 0); /* there is nothing more to gain */
		CHECK(!engine()->compaction.under_way);
		rig_validate(rig.store);
		tear_down();
	}
}

/* A pass, step by step. Return: how many. */
static unsigned int steps(void)
{
	unsigned int n_steps = 1;

	while (zr_compact_step(engine()))
		++n_steps;
	return n_steps;
}

static void test_nothing_to_do(void)
{
	struct rng rng = rng_init("test-compact");
	uint64_t n_bytes;

	rig_init(&rig);
	disks[0] = rig_add(&rig, "a", 0);
	CHECK(steps() <= 2);
	n_bytes = 1;
	CHECK(zr_compact(engine(), NULL, &n_bytes) == 0 && n_bytes == 0);
	CHECK(zr_compact(engine(), NULL, NULL) == 0);
	disks[0] = zr_disk_unpin(rig.store, disks[0]);
	rig_deinit(&rig);

	set_up(&rng);
	zr_store_compact(rig.store);
	CHECK(steps() <= 2);
	CHECK(!engine()->compaction.under_way);
	check_disks();
	tear_down();
}

/* In small steps, between which all can be done that can be done otherwise. */
static void test_others_go_on_between_steps(void)
{
	struct rng rng = rng_init("test-compact");
	unsigned int i, n_steps = 0;

	set_up(&rng);
	discard_some(&rng, 50);
	CHECK(zr_compact_step(engine()));
	CHECK(engine()->compaction.under_way && engine()->compaction.n_left > 0);
	do {
		for (i = 0; i < 20; ++i) {
			const uint64_t page_no = rng_below(&rng, N_PAGES);

			if (i % 2)
				put(&rng, (unsigned int)rng_below(&rng, N_DISKS), page_no);
			else
				discard((unsigned int)rng_below(&rng, N_DISKS), page_no);
		}
		++n_steps;
		rig_validate(rig.store);
	} while (zr_compact_step(engine()));
	CHECK(n_steps > 3 && n_steps < 100);
	check_disks();
	zr_store_compact(rig.store);
	check_small();
	check_disks();
	tear_down();
}

/* The pass stands in the disk that goes, before it and behind it: it goes on with the others. */
static void test_a_disk_goes_in_the_middle(void)
{
	struct rng rng = rng_init("test-compact");
	unsigned int n_steps, gone, i;

	for (n_steps = 1; n_steps < 20; n_steps += 3) {
		for (gone = 0; gone < N_DISKS; ++gone) {
			set_up(&rng);
			discard_some(&rng, 50);
			for (i = 0; i < n_steps; ++i)
				(void)zr_compact_step(engine());
			zr_store_remove(rig.store, disks[gone]);
			if (i % 2)
				(void)zr_compact_step(engine());
			disks[gone] = zr_disk_unpin(rig.store, disks[gone]);
			if (gone == 0) {
				disks[0] = disks[2];
				disks[2] = NULL;
				memcpy(words[0], words[2], sizeof(words[0]));
			}
			rig_validate(rig.store);
			while (zr_compact_step(engine()))
				;
			check_disks();
			tear_down();
		}
	}
}

/* A disk that comes, or loses all of its pages, in the middle. */
static void test_disks_change_in_the_middle(void)
{
	struct rng rng = rng_init("test-compact");
	struct zr_disk *other;

	set_up(&rng);
	discard_some(&rng, 50);
	CHECK(zr_compact_step(engine()));
	CHECK(zr_compact_step(engine()));
	other = rig_add(&rig, "other", 0);
	disk_put(&rig, other, 0, "abc", 3);
	CHECK(zr_disk_truncate(disks[1], rig.ctx, 0) == 0);
	CHECK(zr_disk_truncate(disks[1], rig.ctx, N_PAGES * ZR_PAGE_SIZE) == 0);
	memset(words[1], 0, sizeof(words[1]));
	while (zr_compact_step(engine()))
		;
	zr_disk_unpin(rig.store, other);
	check_disks();
	tear_down();
}

/* A worker dies in the middle of a pass: objects are where their slots say, moved or not. */
static void test_a_death_in_the_middle(void)
{
	static const char *const names[N_DISKS] = { "a", "b", "c" };
	struct rng rng = rng_init("test-compact");
	unsigned int i;

	set_up(&rng);
	discard_some(&rng, 60);
	for (i = 0; i < 6; ++i)
		(void)zr_compact_step(engine());
	for (i = 0; i < N_DISKS; ++i)
		disks[i] = zr_disk_unpin(rig.store, disks[i]);
	rig_reattach(&rig);
	for (i = 0; i < N_DISKS; ++i)
		CHECK((disks[i] = zr_store_find(rig.store, names[i])));
	check_disks();
	zr_store_compact(rig.store);
	check_small();
	check_disks();
	tear_down();
}

static void *compact(void *context)
{
	zr_store_compact(context);
	return NULL;
}

/* Whoever comes while a pass is under way does the rest of it. */
static void test_threads_share_a_pass(void)
{
	struct rng rng = rng_init("test-compact");
	pthread_t threads[N_THREADS];
	uint64_t n_moving;
	unsigned int i;

	set_up(&rng);
	discard_some(&rng, 50);
	zr_pool_trim(&engine()->pool, 0);
	CHECK(zr_compact_step(engine()));
	n_moving = engine()->compaction.n_left;
	for (i = 0; i < N_THREADS; ++i)
		CHECK(pthread_create(&threads[i], NULL, compact, rig.store) == 0);
	for (i = 0; i < N_THREADS; ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	/* Each object was moved once: nobody else allocated or freed. */
	CHECK(atomic_load(&engine()->compaction.xmoved) == n_moving);
	CHECK(!engine()->compaction.under_way);
	check_small();
	check_disks();
	tear_down();
}

struct writer {
	pthread_t thread;
	struct zr_ctx *ctx;
	unsigned int disk_no;
	uint64_t seed;
};

static _Atomic bool stop;

/* Writes, discards and reads back pages of a disk of its own. */
static void *write_on(void *context)
{
	struct writer *writer = context;
	struct zr_disk *disk = disks[writer->disk_no];
	uint64_t *shadow = words[writer->disk_no];
	struct rng rng = { .state = writer->seed };
	uint8_t page[ZR_PAGE_SIZE];
	size_t n;

	while (!atomic_load(&stop)) {
		const uint64_t page_no = rng_below(&rng, N_PAGES);

		CHECK(zr_disk_read(disk, writer->ctx, page_no * ZR_PAGE_SIZE, page, sizeof(page),
				   &n) == 0);
		CHECK(stamp_is(page, sizeof(page), shadow[page_no]));
		if (rng_below(&rng, 2)) {
			shadow[page_no] = rng_next(&rng) | 4;
			stamp_make(page, sizeof(page), shadow[page_no]);
			CHECK(zr_disk_write(disk, writer->ctx, page_no * ZR_PAGE_SIZE, page,
					    sizeof(page), &n) == 0);
		} else {
			shadow[page_no] = 0;
			CHECK(zr_disk_punch(disk, writer->ctx, page_no * ZR_PAGE_SIZE,
					    sizeof(page)) == 0);
		}
	}
	return NULL;
}

static _Atomic uint64_t n_recompressed;

/* Recompresses whatever there is. Two of them often have the same page. */
static void *recompress_on(void *context)
{
	struct writer *writer = context;
	struct rng rng = { .state = writer->seed };
	struct zr_disk *disk;
	int r;

	while (!atomic_load(&stop)) {
		disk = disks[rng_below(&rng, N_DISKS)];
		r = zr_disk_recompress(disk, writer->ctx, rng_below(&rng, N_PAGES), ZR_RECOMP_MAX,
				       0);
		CHECK(r == 0 || r == ZR_PAGE_E_AS_IT_WAS);
		if (r == 0)
			atomic_fetch_add(&n_recompressed, 1);
	}
	return NULL;
}

static void writer_start(struct writer *writer, void *(*run)(void *context), unsigned int disk_no,
			 struct rng *rng)
{
	*writer = (struct writer){ .disk_no = disk_no, .seed = rng_next(rng) };
	CHECK(zr_ctx_new(&writer->ctx) == 0);
	CHECK(pthread_create(&writer->thread, NULL, run, writer) == 0);
}

/* Was something moved, and recompressed if somebody does that? */
static bool is_shown(unsigned int n_recompressing)
{
	return atomic_load(&engine()->compaction.xmoved) > 0 &&
	       (n_recompressing == 0 || atomic_load(&n_recompressed) > 0);
}

/* Half a second, at least, of writers, one a disk, that look at what they read; of recompression,
 * of passes. */
static void check_beside_writers(struct rng *rng, unsigned int n_recompressing)
{
	struct writer writers[N_DISKS + 2];
	const struct timespec pause = { 0, 10 * 1000 * 1000 };
	unsigned int i;

	atomic_store(&stop, false);
	atomic_store(&n_recompressed, 0);
	for (i = 0; i < N_DISKS; ++i)
		writer_start(&writers[i], write_on, i, rng);
	for (; i < N_DISKS + n_recompressing; ++i)
		writer_start(&writers[i], recompress_on, 0, rng);
	for (i = 0; i < 50 || !is_shown(n_recompressing); ++i) {
		zr_store_compact(rig.store);
		nanosleep(&pause, NULL);
	}
	atomic_store(&stop, true);
	for (i = 0; i < N_DISKS + n_recompressing; ++i) {
		CHECK(pthread_join(writers[i].thread, NULL) == 0);
		writers[i].ctx = zr_ctx_free(writers[i].ctx);
	}
}

static void test_passes_beside_writers(void)
{
	struct rng rng = rng_init("test-compact");

	set_up(&rng);
	check_beside_writers(&rng, 0);
	check_disks();
	zr_store_compact(rig.store);
	check_small();
	check_disks();
	tear_down();
}

static void test_recompression_beside_writers_and_passes(void)
{
	struct rng rng = rng_init("test-compact");

	set_up(&rng);
	check_beside_writers(&rng, 2);
	check_disks();
	zr_store_compact(rig.store);
	check_small();
	check_disks();
	tear_down();
}

/* Who is asked takes a millisecond, so that every step asks. */
static bool stop_then(void *context)
{
	unsigned int *n_more = context;
	const int64_t until_ns = zr_monotonic_ns() + 1000001;

	zr_assert_none_held();
	while (zr_monotonic_ns() < until_ns)
		;
	return (*n_more)-- == 0;
}

static void test_told_to_stop(void)
{
	struct rng rng = rng_init("test-compact");
	unsigned int n_before, n_more;
	const struct zr_stop stop_soon = { stop_then, &n_more };
	uint64_t n_bytes;

	for (n_before = 0; n_before < 8; n_before += n_before + 1) {
		set_up(&rng);
		discard_some(&rng, 50);
		n_more = n_before;
		n_bytes = 4711;
		CHECK(zr_compact(engine(), &stop_soon, &n_bytes) == -EINTR);
		CHECK(n_bytes == 4711);
		CHECK(engine()->compaction.under_way == (n_before > 0));
		check_disks();
		/* Whoever comes next takes it to its end. */
		n_more = UINT32_MAX;
		CHECK(zr_compact(engine(), &stop_soon, &n_bytes) == 0 && n_bytes > 0);
		check_small();
		check_disks();
		tear_down();
	}
}

static void test_upkeep_goes_on_with_what_was_stopped(void)
{
	struct rng rng = rng_init("test-compact");
	unsigned int n_more = 3;
	const struct zr_stop stop_soon = { stop_then, &n_more };
	const struct timespec pause = { .tv_nsec = 1000000 };

	set_up(&rng);
	/* Again, where it was ended before anybody could see that it was stopped. */
	do {
		zr_store_untend(rig.store);
		put_all(&rng);
		discard_some(&rng, 50);
		CHECK(zr_store_tend(rig.store) == 0);
		n_more = 3;
		(void)zr_compact(engine(), &stop_soon, NULL);
	} while (!zr_compact_is_under_way(engine()));
	while (zr_compact_is_under_way(engine()))
		nanosleep(&pause, NULL);
	zr_store_untend(rig.store);
	check_disks();
	tear_down();
}

int main(void)
{
	RUN(test_a_pass_leaves_what_is_there_and_little_else);
	RUN(test_nothing_to_do);
	RUN(test_others_go_on_between_steps);
	RUN(test_a_disk_goes_in_the_middle);
	RUN(test_disks_change_in_the_middle);
	RUN(test_a_death_in_the_middle);
	RUN(test_threads_share_a_pass);
	RUN(test_told_to_stop);
	RUN(test_upkeep_goes_on_with_what_was_stopped);
	RUN(test_passes_beside_writers);
	RUN(test_recompression_beside_writers_and_passes);
	return 0;
}
