/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Each object is filled with a byte of its own, so that objects that overlap, or a cell given
 * twice, are seen when the bytes are compared. All memory there is must be accounted for at every
 * step, and none may be left in the end.
 */

#include "pool-rig.h"

#define ARENA_SMALL (UINT64_C(64) << 20)
#define SPAN_PAGES  (ZR_SPAN_BYTES / ZR_PAGE_SIZE)

/* cells */

/* A span and a tenth of a class, filled, freed in any order, gone. */
static void check_class(struct rng *rng, uint32_t n_bytes)
{
	static struct object objects[ZR_SPAN_BYTES / ZR_CELL_UNIT * 11 / 10 + 2];
	const uint32_t cell_bytes = zr_pool_cell_bytes(n_bytes);
	const unsigned int n_objects = (unsigned int)(ZR_SPAN_BYTES / cell_bytes * 11 / 10 + 2);
	unsigned int i;

	for (i = 0; i < n_objects; ++i) {
		CHECK(object_alloc(&objects[i], n_bytes, (uint8_t)(i * 7 + 1)) == 0);
		CHECK(class_of(&objects[i])->cell_bytes == cell_bytes);
	}
	CHECK(live_bytes() == (uint64_t)n_objects * cell_bytes);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == 0);
	CHECK(class_of(&objects[0])->n_spans >= 2);

	objects_shuffle(rng, objects, n_objects);
	objects_free(objects, n_objects);
	CHECK(live_bytes() == 0);
	zr_pool_trim(&pool, 0);
	check_nothing_left();
}

static void test_every_class(void)
{
	struct rng rng = rng_init("test-pool");
	uint32_t n_bytes;

	set_up(ARENA_SMALL);
	for (n_bytes = ZR_CELL_UNIT; n_bytes <= ZR_CELL_BYTES_MAX; n_bytes += ZR_CELL_UNIT)
		check_class(&rng, n_bytes - (uint32_t)rng_below(&rng, ZR_CELL_UNIT));
	check_class(&rng, 1);
	check_class(&rng, ZR_CELL_BYTES_MAX + 1);
	check_class(&rng, ZR_PAGE_SIZE);
	tear_down();
}

/* Cells lie side by side: of the memory of a full span less than a cell is lost. */
static void test_full_spans_have_no_waste(void)
{
	static struct object objects[ZR_SPAN_BYTES / 1008];
	struct zr_pool_usage usage;
	unsigned int i;

	set_up(ARENA_SMALL);
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], 1000, (uint8_t)i) == 0);
	zr_pool_trim(&pool, INT64_MAX);
	usage = zr_pool_usage(&pool);
	CHECK(usage.live_bytes == ZR_ARRAY_SIZE(objects) * 1008);
	CHECK(usage.span_bytes <=
	      ZR_SPAN_BYTES + usage.reserve_bytes + usage.wasted_bytes + ZR_PAGE_SIZE);
	CHECK(usage.wasted_bytes < ZR_PAGE_SIZE + 1008);
	objects_free(objects, ZR_ARRAY_SIZE(objects));
	tear_down();
}

/* Nodes of the slot tree find their start by their address. */
static void test_whole_pages_lie_at_whole_pages(void)
{
	static struct object objects[3 * SPAN_PAGES];
	unsigned int i;

	set_up(ARENA_SMALL);
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i) {
		CHECK(object_alloc(&objects[i], ZR_PAGE_SIZE, (uint8_t)i) == 0);
		CHECK(objects[i].position * ZR_CELL_UNIT % ZR_PAGE_SIZE == 0);
	}
	objects_free(objects, ZR_ARRAY_SIZE(objects));
	tear_down();
}

static void test_freed_cells_are_used_again(void)
{
	struct object objects[200];
	struct zr_pool_usage before;
	unsigned int i, round;

	set_up(ARENA_SMALL);
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], 1000, (uint8_t)i) == 0);
	before = zr_pool_usage(&pool);

	for (round = 0; round < 10; ++round) {
		for (i = round % 2; i < ZR_ARRAY_SIZE(objects); i += 2)
			object_free(&objects[i]);
		for (i = round % 2; i < ZR_ARRAY_SIZE(objects); i += 2)
			CHECK(object_alloc(&objects[i], 995, (uint8_t)(i + round)) == 0);
		CHECK(zr_pool_usage(&pool).span_bytes == before.span_bytes);
		live_bytes();
	}
	objects_free(objects, ZR_ARRAY_SIZE(objects));
	tear_down();
}

/* Of three spans with holes in them one is filled up first, from its start. */
static void test_lowest_cells_are_used_first(void)
{
	static struct object objects[3 * ZR_SPAN_BYTES / 2048];
	struct rng rng = rng_init("test-pool");
	unsigned int i, n_kept = 0;
	uint32_t cell, at, n_spans;

	set_up(ARENA_SMALL);
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], 2048, (uint8_t)i) == 0);
	n_spans = class_of(&objects[0])->n_spans;
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i) {
		if (rng_below(&rng, 3) == 0)
			object_free(&objects[i]);
		else
			objects[n_kept++] = objects[i];
	}

	for (i = n_kept; i < ZR_ARRAY_SIZE(objects); ++i) {
		const struct zr_span *span;

		CHECK(object_alloc(&objects[i], 2041, (uint8_t)i) == 0);
		span = span_of(&objects[i]);
		at = (uint32_t)(objects[i].position * ZR_CELL_UNIT % ZR_SPAN_BYTES / 2048);
		for (cell = 0; cell < at; ++cell)
			CHECK(zr_span_is_live(span, cell));
		/* as long as it has one, it is the one that gives */
		CHECK(i == n_kept || span == span_of(&objects[i - 1]) ||
		      span_of(&objects[i - 1])->n_avail == 0);
	}
	CHECK(class_of(&objects[0])->n_spans == n_spans);
	objects_free(objects, ZR_ARRAY_SIZE(objects));
	tear_down();
}

/* What zr_pool_free() divides by, for each class and each of its cells, and for all between. */
static void test_division_is_exact(void)
{
	unsigned int i;
	uint32_t within;

	set_up(ARENA_SMALL);
	for (i = 0; i < ZR_POOL_CLASSES; ++i) {
		const uint32_t cell_bytes = pool.classes[i].cell_bytes;
		const uint64_t reciprocal = pool.classes[i].reciprocal;

		CHECK(pool.classes[i].n_cells == ZR_SPAN_BYTES / cell_bytes);
		for (within = 0; within < ZR_SPAN_BYTES; within += 1 + within % 3)
			CHECK(within * reciprocal >> 32 == within / cell_bytes);
		for (within = 0; within < ZR_SPAN_BYTES; within += cell_bytes) {
			CHECK(within * reciprocal >> 32 == within / cell_bytes);
			CHECK((within + cell_bytes - 1) * reciprocal >> 32 == within / cell_bytes);
		}
	}
	tear_down();
}

/* growth */

static uint32_t ahead_of(const struct zr_class *class)
{
	return atomic_load(&class->xahead_bytes);
}

/* How much later than it was to be a class may notice that it grew @ago_ns ago: within that, what
 * follows is the same. */
#define LATE_NS INT64_C(3000000)

/* Make the class grow, as if it had done so @ago_ns before. How long its memory takes to come makes
 * no difference; where the thread was kept from looking at the clock, it is done again. */
static void grow_again(struct zr_class *class, int64_t ago_ns)
{
	static struct object taken[(16u << 20) / 2048];
	const uint32_t before = ahead_of(class);
	unsigned int n_taken;
	int64_t began;

	do {
		n_taken = 0;
		while (atomic_load(&class->xn_avail) > 0)
			CHECK(object_alloc(&taken[n_taken++], 2048, 1) == 0);
		atomic_store(&class->xahead_bytes, before);
		began = zr_monotonic_ns();
		class->grown_ns = began - ago_ns;
		CHECK(object_alloc(&taken[n_taken], 2048, 1) == 0);
		objects_free(taken, n_taken + 1);
		zr_pool_trim(&pool, INT64_MAX);
	} while (class->grown_ns - began > LATE_NS); /* when it looked */
	live_bytes();
}

static void test_growth_follows_what_is_asked(void)
{
	const int64_t fast = 0, steady = INT64_C(10000000), slow = INT64_C(100000000);
	struct zr_class *class;
	uint32_t ahead;

	set_up(ARENA_SMALL);
	class = &pool.classes[zr_pool_class_of(2048)];
	CHECK(ahead_of(class) == 0);
	grow_again(class, INT64_C(3600000000000)); /* it never did */
	CHECK(ahead_of(class) == ZR_POOL_AHEAD_MIN);
	for (ahead = 2 * ZR_POOL_AHEAD_MIN; ahead <= 4u << 20; ahead *= 2) {
		grow_again(class, fast);
		CHECK(ahead_of(class) == ahead);
		CHECK(zr_pool_usage(&pool).reserve_bytes == ahead);
		grow_again(class, steady);
		CHECK(ahead_of(class) == ahead);
	}
	grow_again(class, fast);
	CHECK(ahead_of(class) == 4u << 20); /* the most */
	grow_again(class, slow);
	CHECK(ahead_of(class) == ZR_POOL_AHEAD_MIN);
	tear_down();
}

/* Two cells, whatever they measure, and of whole pages as many as a write to a new place needs. */
static void test_a_few_cells_are_kept_ahead(void)
{
	struct object object, other;

	set_up(ARENA_SMALL);
	CHECK(object_alloc(&object, ZR_PAGE_SIZE, 1) == 0);
	CHECK(ahead_of(class_of(&object)) == ZR_POOL_AHEAD_MIN_PAGES * ZR_PAGE_SIZE);
	CHECK(object_alloc(&other, 3000, 1) == 0);
	CHECK(ahead_of(class_of(&other)) == 2 * 3008);
	CHECK(zr_pool_usage(&pool).span_bytes ==
	      zr_system_whole(ahead_of(class_of(&object))) + zr_system_whole(2 * ZR_PAGE_SIZE));
	object_free(&object);
	object_free(&other);
	tear_down();
}

/* Of a span that ends early, what nothing is in; and all of it, when nothing is in it. */
static void test_trim_keeps_what_is_ahead(void)
{
	static struct object objects[500];
	struct zr_class *class;
	unsigned int i;

	set_up(ARENA_SMALL);
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i) {
		CHECK(object_alloc(&objects[i], 1024, (uint8_t)i) == 0);
		atomic_store(&class_of(&objects[i])->xahead_bytes, ZR_POOL_AHEAD_MIN);
	}
	class = class_of(&objects[0]);
	CHECK(zr_pool_usage(&pool).span_bytes < 520 * 1024);
	objects_free(objects + 1, ZR_ARRAY_SIZE(objects) - 1);
	atomic_store(&class->xahead_bytes, 300000);
	zr_pool_trim(&pool, INT64_MAX); /* nothing is quiet for so long */
	CHECK(zr_pool_usage(&pool).reserve_bytes == 300000);
	CHECK(zr_pool_usage(&pool).span_bytes == zr_system_whole(301024));
	live_bytes();

	zr_pool_trim(&pool, 0);
	CHECK(ahead_of(class) == ZR_POOL_AHEAD_MIN);
	CHECK(zr_pool_usage(&pool).span_bytes == zr_system_whole(2 * ZR_PAGE_SIZE));
	live_bytes();
	object_check(&objects[0]);
	object_free(&objects[0]);
	CHECK(zr_pool_trim(&pool, 0) == zr_system_whole(2 * ZR_PAGE_SIZE));
	CHECK(ahead_of(class) == 0);
	tear_down();
}

/* Every other one of many pages is freed: their memory goes page by page and comes back so. Where a
 * page of the system has several, every other one of these. */
static bool is_other(unsigned int i)
{
	return i / (zr_system_page_bytes() / ZR_PAGE_SIZE) % 2 == 0;
}

static void test_whole_pages_go_one_by_one(void)
{
	static struct object objects[3 * SPAN_PAGES];
	unsigned int i;

	set_up(ARENA_SMALL);
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], ZR_PAGE_SIZE, (uint8_t)(i * 5)) == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i) {
		if (is_other(i))
			object_free(&objects[i]);
	}
	zr_pool_trim(&pool, 0);
	CHECK(zr_pool_usage(&pool).span_bytes ==
	      ZR_ARRAY_SIZE(objects) / 2 * ZR_PAGE_SIZE +
		      zr_system_whole(ahead_of(&pool.classes[ZR_POOL_PAGE_CLASS])));
	CHECK(zr_pool_usage(&pool).wasted_bytes == 0);
	live_bytes();

	/* In the gaps, and what is kept ahead, little where it grows slowly, in one span more. */
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i) {
		if (!is_other(i))
			continue;
		CHECK(object_alloc(&objects[i], ZR_PAGE_SIZE, (uint8_t)(i * 5)) == 0);
		atomic_store(&class_of(&objects[i])->xahead_bytes,
			     ZR_POOL_AHEAD_MIN_PAGES * ZR_PAGE_SIZE);
	}
	CHECK(pool.classes[ZR_POOL_PAGE_CLASS].n_spans <= 4);
	live_bytes();
	objects_free(objects, ZR_ARRAY_SIZE(objects));
	tear_down();
}

/* All offsets there are, then one more; one freed is one that can be had, by a small object too. */
static void test_offsets_end(void)
{
	static struct object objects[60 * SPAN_PAGES];
	struct object past = { 0 };
	unsigned int i, n_objects;

	set_up(ARENA_SMALL);
	n_objects = pool.n_spans * (unsigned int)SPAN_PAGES;
	CHECK(n_objects <= ZR_ARRAY_SIZE(objects));
	for (i = 0; i < n_objects; ++i)
		CHECK(object_alloc(&objects[i], ZR_PAGE_SIZE, (uint8_t)(i * 3)) == 0);
	CHECK(object_alloc(&past, ZR_PAGE_SIZE, 0) == -ENOMEM);
	CHECK(object_alloc(&past, 1, 0) == -ENOMEM);
	CHECK(past.position == 0);
	CHECK(live_bytes() == (uint64_t)n_objects * ZR_PAGE_SIZE);
	CHECK(atomic_load(&pool.superblock->n_spans) == pool.n_spans);

	object_free(&objects[77]);
	CHECK(object_alloc(&objects[77], 1, 5) == 0);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == ZR_PAGE_SIZE - ZR_CELL_UNIT);
	CHECK(object_alloc(&past, 1, 0) == -ENOMEM);
	objects_free(objects, n_objects);
	zr_pool_trim(&pool, 0);

	/* And numbers are used again, the lowest first. */
	CHECK(object_alloc(&past, 1000, 1) == 0);
	CHECK(pool.spans[0] && span_of(&past) == pool.spans[0]);
	object_free(&past);
	tear_down();
}

/* refusals */

/* Memory is wanted for the first page of the span table, and for each span. */
static void test_refused_memory_changes_nothing(void)
{
	struct object object = { 0 };
	uint32_t n_bytes;
	unsigned int k;

	for (k = 1; k <= 2; ++k) {
		for (n_bytes = 1; n_bytes <= ZR_PAGE_SIZE; n_bytes += 73) {
			set_up(ARENA_SMALL);
			faults_countdown = k;
			CHECK(object_alloc(&object, n_bytes, 1) == -ENOMEM);
			CHECK(faults_countdown == 0 && object.position == 0);
			CHECK(live_bytes() == 0);
			CHECK(zr_pool_usage(&pool).span_bytes == 0);
			CHECK(object_alloc(&object, n_bytes, 1) == 0);
			object_free(&object);
			object.position = 0;
			tear_down();
		}
	}
}

/* What a class wants follows from what it was given. */
static void test_refusals_do_not_raise_what_is_wanted(void)
{
	struct object object;
	unsigned int i;

	set_up(ARENA_SMALL);
	faults_all = true;
	for (i = 0; i < 20; ++i)
		CHECK(object_alloc(&object, 1000, 1) == -ENOMEM);
	faults_all = false;
	CHECK(object_alloc(&object, 1000, 1) == 0);
	CHECK(zr_pool_usage(&pool).span_bytes <= zr_system_whole(2 * ZR_POOL_AHEAD_MIN));
	faults_all = true;
	for (i = 0; i < 20; ++i)
		CHECK(zr_pool_alloc(&pool, 2000, &object.position) == -ENOMEM);
	faults_all = false;
	object.position = pool.spans_offset / ZR_CELL_UNIT;
	object_free(&object);
	tear_down();
}

/* A pool in use is refused now and then: what is there stays, and what there is memory for can be
 * had. */
static void test_refusals_now_and_then(void)
{
	static struct object objects[5000];
	struct rng rng = rng_init("test-pool");
	unsigned int i;

	set_up(RIG_ARENA_BYTES);
	faults_n_refused = 0;
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i) {
		const uint32_t n_bytes = 1 + (uint32_t)rng_below(&rng, ZR_PAGE_SIZE);
		const struct zr_pool_usage before = zr_pool_usage(&pool);

		faults_countdown = rng_below(&rng, 3) == 0;
		while (object_alloc(&objects[i], n_bytes, (uint8_t)rng_next(&rng)) < 0) {
			const struct zr_pool_usage after = zr_pool_usage(&pool);

			CHECK(faults_countdown == 0);
			CHECK(after.live_bytes == before.live_bytes);
			CHECK(after.span_bytes == before.span_bytes);
		}
	}
	faults_countdown = 0;
	live_bytes();
	CHECK(faults_n_refused > 10);
	objects_shuffle(&rng, objects, ZR_ARRAY_SIZE(objects));
	objects_free(objects, ZR_ARRAY_SIZE(objects));
	CHECK(zr_pool_usage(&pool).borrowed_bytes == 0);
	tear_down();
}

/* Kernels before 5.14 know no MADV_POPULATE_WRITE and say EINVAL. */
static void test_old_kernels_give_memory_too(void)
{
	struct object objects[50];
	unsigned int i;

	set_up(ARENA_SMALL);
	faults_errno = EINVAL;
	faults_all = true;
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], 5000 / 2, (uint8_t)i) == 0);
	faults_all = false;
	faults_errno = ENOMEM;
	live_bytes();
	objects_free(objects, ZR_ARRAY_SIZE(objects));
	tear_down();
}

/* borrowing */

/* Rather a larger cell than none. */
static void test_refused_memory_is_borrowed(void)
{
	struct object pages[16], borrower, other;
	unsigned int n_pages = 0;
	zr_position moved;

	set_up(ARENA_SMALL);
	do {
		CHECK(object_alloc(&pages[n_pages++], ZR_PAGE_SIZE, 7) == 0);
	} while (atomic_load(&class_of(&pages[0])->xn_avail) > 2);
	faults_all = true;
	CHECK(object_alloc(&borrower, 100, 8) == 0);
	CHECK(class_of(&borrower) == &pool.classes[ZR_POOL_PAGE_CLASS]);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == ZR_PAGE_SIZE - 112);
	CHECK(live_bytes() == n_pages * ZR_PAGE_SIZE + 112);

	/* A copy of it borrows too, as long as there is nothing else. */
	CHECK(zr_pool_alloc_again(&pool, borrower.position, 100, &moved) == 0);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == 2 * (ZR_PAGE_SIZE - 112));
	CHECK(object_alloc(&other, 100, 8) == -ENOMEM);
	zr_pool_free(&pool, moved, 100);
	faults_all = false;

	/* Where cells of its own have come up it moves there. */
	CHECK(object_alloc(&other, 100, 9) == 0);
	CHECK(class_of(&other)->cell_bytes == 112);
	CHECK(zr_pool_alloc_again(&pool, borrower.position, 100, &moved) == 0);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == ZR_PAGE_SIZE - 112);
	object_free(&borrower);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == 0);
	CHECK(live_bytes() == n_pages * ZR_PAGE_SIZE + 2 * 112);
	zr_pool_free(&pool, moved, 100);
	objects_free(pages, n_pages);
	object_free(&other);
	tear_down();
}

static void test_copies_do_not_grow_the_pool(void)
{
	struct object object;
	zr_position positions[ZR_SYSTEM_PAGE_MAX / 512], other;
	unsigned int n = 0;

	set_up(ARENA_SMALL);
	CHECK(object_alloc(&object, 512, 7) == 0);
	while (n < ZR_ARRAY_SIZE(positions) &&
	       zr_pool_alloc_again(&pool, object.position, 512, &other) == 0)
		positions[n++] = other;
	CHECK(zr_pool_alloc_again(&pool, object.position, 512, &other) == -ENOSPC);
	CHECK(n == zr_system_page_bytes() / 512 - 1);
	CHECK(zr_pool_usage(&pool).span_bytes == zr_system_page_bytes());
	while (n > 0)
		zr_pool_free(&pool, positions[--n], 512);
	object_free(&object);
	tear_down();
}

/* tended: somebody else grows the pool, here the test itself */

static bool was_woken(void)
{
	return sem_trywait(&pool.wake) == 0;
}

static void test_tended_pool_grows_only_when_refilled(void)
{
	struct object object, other;
	uint64_t generation;

	set_up(ARENA_SMALL);
	zr_pool_tend(&pool, true);
	generation = zr_pool_generation(&pool);
	faults_n_own = 0;
	CHECK(!was_woken());
	CHECK(zr_pool_alloc(&pool, 1000, &object.position) == -EAGAIN);
	CHECK(zr_pool_alloc(&pool, 2000, &object.position) == -EAGAIN);
	CHECK(was_woken() && !was_woken()); /* one post is enough */
	CHECK(zr_pool_generation(&pool) == generation);
	CHECK(!zr_pool_wait(&pool, generation, 1)); /* a deadline long ago */
	CHECK(faults_n_own == 0);

	CHECK(zr_pool_refill(&pool) == 0);
	CHECK(faults_n_own >= 3);                  /* the table, and a span for each */
	CHECK(zr_pool_wait(&pool, generation, 1)); /* it came already */
	CHECK(object_alloc(&object, 1000, 1) == 0);
	CHECK(object_alloc(&other, 2000, 2) == 0);
	object_free(&object);
	object_free(&other);
	zr_pool_tend(&pool, false);
	tear_down();
}

/* Before the last cell is taken more is asked for: when half of what is kept ahead is left. */
static void test_tended_pool_asks_before_it_runs_dry(void)
{
	struct object objects[ZR_SYSTEM_PAGE_MAX / 512];
	unsigned int i, n;

	set_up(ARENA_SMALL);
	n = (unsigned int)(zr_system_whole(ZR_POOL_AHEAD_MIN) - ZR_POOL_AHEAD_MIN / 2) / 512;
	zr_pool_tend(&pool, true);
	CHECK(zr_pool_alloc(&pool, 512, &objects[0].position) == -EAGAIN);
	CHECK(was_woken() && zr_pool_refill(&pool) == 0);
	for (i = 0; i < n - 1; ++i)
		CHECK(object_alloc(&objects[i], 512, (uint8_t)i) == 0);
	CHECK(!was_woken()); /* more than half of it is left */
	CHECK(object_alloc(&objects[i++], 512, 3) == 0);
	CHECK(was_woken());
	CHECK(zr_pool_refill(&pool) == 0);
	CHECK(zr_pool_usage(&pool).reserve_bytes >= ZR_POOL_AHEAD_MIN);
	objects_free(objects, i);
	zr_pool_tend(&pool, false);
	tear_down();
}

/* Eight classes up are asked before somebody has to wait, and no more. */
static void test_tended_pool_borrows_a_little(void)
{
	struct object large, object, other;

	set_up(ARENA_SMALL);
	CHECK(object_alloc(&large, 1024, 1) == 0);
	zr_pool_tend(&pool, true);
	CHECK(zr_pool_alloc(&pool, 1024 - 9 * ZR_CELL_UNIT, &object.position) == -EAGAIN);
	CHECK(object_alloc(&object, 1024 - 8 * ZR_CELL_UNIT, 2) == 0);
	CHECK(class_of(&object)->cell_bytes == 1024);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == 8 * ZR_CELL_UNIT);
	CHECK(was_woken());

	/* Both were wanted all the same, and are there next time. */
	CHECK(zr_pool_refill(&pool) == 0);
	CHECK(object_alloc(&other, 1024 - 8 * ZR_CELL_UNIT, 3) == 0);
	CHECK(class_of(&other)->cell_bytes == 1024 - 8 * ZR_CELL_UNIT);
	object_free(&other);
	CHECK(object_alloc(&other, 1024 - 9 * ZR_CELL_UNIT, 3) == 0);
	CHECK(class_of(&other)->cell_bytes == 1024 - 9 * ZR_CELL_UNIT);
	object_free(&other);
	object_free(&object);
	object_free(&large);
	CHECK(zr_pool_usage(&pool).borrowed_bytes == 0);
	zr_pool_tend(&pool, false);
	tear_down();
}

/* A refusal stands for a tenth of a second: here, until the pool is refilled. */
static void refusal_hold(void)
{
	CHECK(atomic_load(&pool.xrefused_ns) != 0);
	atomic_store(&pool.xrefused_ns, INT64_MAX);
}

/* Once the kernel refused there is nothing to wait for; when it does not any more, it is tried
 * again, without anybody asking anew. */
static void test_tended_pool_says_when_memory_is_refused(void)
{
	struct object object, page;

	set_up(ARENA_SMALL);
	CHECK(object_alloc(&page, ZR_PAGE_SIZE, 1) == 0);
	zr_pool_tend(&pool, true);
	faults_all = true;
	CHECK(zr_pool_alloc(&pool, 1000, &object.position) == -EAGAIN);
	CHECK(zr_pool_refill(&pool) == -ENOMEM);
	refusal_hold();
	/* Now the largest cell will do. */
	CHECK(object_alloc(&object, 1000, 1) == 0);
	CHECK(class_of(&object)->cell_bytes == ZR_PAGE_SIZE);
	object_free(&object);
	faults_all = false;
	CHECK(zr_pool_refill(&pool) == 0);
	CHECK(object_alloc(&object, 1000, 1) == 0);
	CHECK(class_of(&object)->cell_bytes == 1008);
	object_free(&object);
	object_free(&page);
	zr_pool_tend(&pool, false);
	tear_down();
}

/* A class that has what it wants is no sign of memory: what another one was refused it may still be
 * refused, and whoever wants that is to be told, or to get a larger cell, and not to wait. */
static void test_a_refusal_is_not_forgotten_for_another_class(void)
{
	struct object objects[5], small;
	unsigned int i;

	set_up(ARENA_SMALL);
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], 512, 1) == 0);
	objects_free(objects, ZR_ARRAY_SIZE(objects));
	zr_pool_tend(&pool, true);
	faults_all = true;
	CHECK(zr_pool_alloc(&pool, 100, &small.position) == -EAGAIN);
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], 512, 1) == 0);
	objects_free(objects, ZR_ARRAY_SIZE(objects)); /* wanted, and there again */
	CHECK(zr_pool_refill(&pool) == -ENOMEM);
	refusal_hold();
	CHECK(object_alloc(&small, 100, 1) == 0);
	CHECK(class_of(&small)->cell_bytes == 512);
	object_free(&small);
	faults_all = false;
	zr_pool_tend(&pool, false);
	tear_down();
}

int main(void)
{
	RUN(test_every_class);
	RUN(test_full_spans_have_no_waste);
	RUN(test_whole_pages_lie_at_whole_pages);
	RUN(test_freed_cells_are_used_again);
	RUN(test_lowest_cells_are_used_first);
	RUN(test_division_is_exact);
	RUN(test_growth_follows_what_is_asked);
	RUN(test_a_few_cells_are_kept_ahead);
	RUN(test_trim_keeps_what_is_ahead);
	RUN(test_whole_pages_go_one_by_one);
	RUN(test_offsets_end);
	RUN(test_refused_memory_changes_nothing);
	RUN(test_refusals_do_not_raise_what_is_wanted);
	RUN(test_refusals_now_and_then);
	RUN(test_old_kernels_give_memory_too);
	RUN(test_refused_memory_is_borrowed);
	RUN(test_copies_do_not_grow_the_pool);
	RUN(test_tended_pool_grows_only_when_refilled);
	RUN(test_tended_pool_asks_before_it_runs_dry);
	RUN(test_tended_pool_borrows_a_little);
	RUN(test_tended_pool_says_when_memory_is_refused);
	RUN(test_a_refusal_is_not_forgotten_for_another_class);
	return 0;
}
