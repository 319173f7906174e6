/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Each object is filled with a byte of its own, so that objects that overlap, or a cell given
 * twice, are seen when the bytes are compared. A worker that died is a pool dropped while its arena
 * stays.
 */

#include "test.h"

#include <errno.h>

#include "faults.h"
#include "layout.h"
#include "pool.h"

#define ARENA_BYTES   (UINT64_C(64) << 20)
#define N_SPANS       ((ARENA_BYTES - ZR_SPANS_OFFSET) / ZR_SPAN_BYTES)
#define RESERVE_BYTES (UINT64_C(1) << 20)
#define SPAN_CELLS    (ZR_SPAN_BYTES / ZR_PAGE_SIZE) /* of whole pages */

struct object {
	zr_position position;
	uint32_t n_bytes;
	uint8_t value;
};

static struct zr_arena arena;
static struct zr_pool pool;

static void pool_open(void)
{
	memset(&pool, 0, sizeof(pool));
	CHECK(zr_pool_init(&pool, &arena) == 0);
}

static void set_up(void)
{
	arena = (struct zr_arena)ZR_ARENA_NULL;
	CHECK(zr_arena_create(&arena, ARENA_BYTES) == 0);
	CHECK(arena.size_bytes == ARENA_BYTES);
	pool_open();
}

static uint64_t live_bytes(void)
{
	const struct zr_pool_usage usage = zr_pool_usage(&pool);

	CHECK(zr_arena_memory(&arena) == usage.span_bytes + usage.reserve_bytes);
	CHECK(usage.reserve_bytes <= RESERVE_BYTES);
	return zr_pool_validate(&pool);
}

/* Nothing may be left. */
static void tear_down(void)
{
	CHECK(live_bytes() == 0);
	CHECK(zr_pool_usage(&pool).span_bytes == 0);
	zr_pool_deinit(&pool);
	zr_arena_deinit(&arena);
}

static int object_alloc(struct object *object, uint32_t n_bytes, uint8_t value)
{
	int r;

	r = zr_pool_alloc(&pool, n_bytes, &object->position);
	if (r < 0)
		return r;
	object->n_bytes = n_bytes;
	object->value = value;
	memset(zr_pool_at(&pool, object->position), value, n_bytes);
	return 0;
}

static void object_check(const struct object *object)
{
	const uint8_t *bytes = zr_pool_at(&pool, object->position);
	uint32_t i;

	for (i = 0; i < object->n_bytes; ++i)
		CHECK(bytes[i] == object->value);
}

static void object_free(const struct object *object)
{
	object_check(object);
	zr_pool_free(&pool, object->position, object->n_bytes);
}

static void objects_shuffle(struct rng *rng, struct object *objects, unsigned int n_objects)
{
	while (n_objects > 1) {
		const unsigned int at = (unsigned int)rng_below(rng, n_objects--);
		const struct object object = objects[at];

		objects[at] = objects[n_objects];
		objects[n_objects] = object;
	}
}

/* Two and a half spans of a class, filled, freed in any order, gone. */
static void check_class(struct rng *rng, uint32_t n_bytes)
{
	static struct object objects[3 * ZR_SPAN_BYTES / ZR_CELL_UNIT];
	const uint32_t cell_bytes = zr_pool_cell_bytes(n_bytes);
	const unsigned int n_objects = (unsigned int)(5 * ZR_SPAN_BYTES / cell_bytes / 2);
	unsigned int i;

	for (i = 0; i < n_objects; ++i)
		CHECK(object_alloc(&objects[i], n_bytes, (uint8_t)(i * 7 + 1)) == 0);
	CHECK(live_bytes() == (uint64_t)n_objects * cell_bytes);

	objects_shuffle(rng, objects, n_objects);
	for (i = 0; i < n_objects; ++i)
		object_free(&objects[i]);
	CHECK(live_bytes() == 0);
	CHECK(zr_pool_usage(&pool).span_bytes == 0);
}

static void test_every_class(void)
{
	struct rng rng = rng_init("test-pool");
	uint32_t cell_bytes;

	set_up();
	for (cell_bytes = ZR_CELL_UNIT; cell_bytes <= ZR_PAGE_SIZE; cell_bytes += ZR_CELL_UNIT)
		check_class(&rng, cell_bytes - (uint32_t)rng_below(&rng, ZR_CELL_UNIT));
	check_class(&rng, 1);
	check_class(&rng, ZR_PAGE_SIZE);
	tear_down();
}

/* Nodes of the slot tree find their start by their address. */
static void test_whole_pages_lie_at_whole_pages(void)
{
	struct object objects[3 * SPAN_CELLS];
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i) {
		CHECK(object_alloc(&objects[i], ZR_PAGE_SIZE, (uint8_t)i) == 0);
		CHECK(objects[i].position * ZR_CELL_UNIT % ZR_PAGE_SIZE == 0);
	}
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		object_free(&objects[i]);
	tear_down();
}

static void test_freed_cells_are_used_again(void)
{
	struct object objects[200];
	struct zr_pool_usage before;
	unsigned int i, round;

	set_up();
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

	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		object_free(&objects[i]);
	tear_down();
}

/* A mebibyte is kept, the rest goes back to the kernel, and what is kept is used first. */
static void test_empty_spans_go_back(void)
{
	static struct object objects[1024];
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], ZR_PAGE_SIZE, (uint8_t)i) == 0);
	CHECK(zr_arena_memory(&arena) == sizeof(objects) / sizeof(*objects) * ZR_PAGE_SIZE);

	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		object_free(&objects[i]);
	CHECK(zr_arena_memory(&arena) == RESERVE_BYTES);

	for (i = 0; i < RESERVE_BYTES / ZR_PAGE_SIZE; ++i)
		CHECK(object_alloc(&objects[i], ZR_PAGE_SIZE, (uint8_t)i) == 0);
	CHECK(zr_arena_memory(&arena) == RESERVE_BYTES);
	CHECK(zr_pool_usage(&pool).reserve_bytes == 0);

	while (i-- > 0)
		object_free(&objects[i]);
	tear_down();
}

/* All offsets there are, then one more; one freed is one that can be had. */
static void test_offsets_end(void)
{
	static struct object objects[N_SPANS * SPAN_CELLS];
	struct object past = { 0 };
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], ZR_PAGE_SIZE, (uint8_t)(i * 3)) == 0);
	CHECK(object_alloc(&past, ZR_PAGE_SIZE, 0) == -ENOMEM);
	CHECK(object_alloc(&past, 1, 0) == -ENOMEM);
	CHECK(past.position == 0);
	CHECK(live_bytes() == sizeof(objects) / sizeof(*objects) * ZR_PAGE_SIZE);

	object_free(&objects[77]);
	CHECK(object_alloc(&objects[77], ZR_PAGE_SIZE, 5) == 0);
	CHECK(object_alloc(&past, ZR_PAGE_SIZE, 0) == -ENOMEM);

	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		object_free(&objects[i]);
	tear_down();
}

/* The kernel refuses a span: nothing has changed, and the next try goes well. */
static void test_refused_memory_changes_nothing(void)
{
	struct object object = { 0 };
	uint32_t n_bytes;

	set_up();
	for (n_bytes = 1; n_bytes <= ZR_PAGE_SIZE; n_bytes += 73) {
		const uint64_t memory = zr_arena_memory(&arena);

		faults_countdown = 1;
		if (object_alloc(&object, n_bytes, 1) == 0) { /* from the reserve */
			CHECK(faults_countdown == 1);
			faults_countdown = 0;
			object_free(&object);
			continue;
		}
		CHECK(faults_countdown == 0);
		CHECK(live_bytes() == 0);
		CHECK(zr_arena_memory(&arena) == memory);
		CHECK(object_alloc(&object, n_bytes, 1) == 0);
		object_free(&object);
	}
	tear_down();
}

/* Kernels before 5.14 know no MADV_POPULATE_WRITE and say EINVAL. */
static void test_old_kernels_give_memory_too(void)
{
	struct object object;

	set_up();
	faults_errno = EINVAL;
	faults_countdown = 1;
	CHECK(object_alloc(&object, 5000 / 2, 3) == 0);
	CHECK(faults_countdown == 0);
	faults_errno = ENOMEM;
	live_bytes();
	object_free(&object);
	tear_down();
}

/* derivation */

static uint64_t derive(const struct object *objects, unsigned int n_objects)
{
	uint64_t marked = 0;
	unsigned int i;

	CHECK(zr_pool_derive_begin(&pool) == 0);
	for (i = 0; i < n_objects; ++i) {
		CHECK(zr_pool_derive_mark(&pool, objects[i].position, objects[i].n_bytes) == 0);
		marked += zr_pool_cell_bytes(objects[i].n_bytes);
	}
	zr_pool_derive_end(&pool);
	return marked;
}

/* Part of what was there is known to the next pool; the rest is memory that goes back. */
static void check_derive(struct rng *rng, unsigned int n_kept)
{
	static struct object objects[4000];
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], 1 + (uint32_t)rng_below(rng, ZR_PAGE_SIZE),
				   (uint8_t)rng_next(rng)) == 0);
	objects_shuffle(rng, objects, ZR_ARRAY_SIZE(objects));

	zr_pool_deinit(&pool);
	pool_open();
	CHECK(derive(objects, n_kept) == live_bytes());
	CHECK(zr_pool_usage(&pool).reserve_bytes == 0);
	for (i = 0; i < n_kept; ++i)
		object_check(&objects[i]);

	for (i = n_kept; i < ZR_ARRAY_SIZE(objects); ++i)
		CHECK(object_alloc(&objects[i], 1 + (uint32_t)rng_below(rng, ZR_PAGE_SIZE),
				   (uint8_t)rng_next(rng)) == 0);
	live_bytes();
	for (i = 0; i < ZR_ARRAY_SIZE(objects); ++i)
		object_free(&objects[i]);
	tear_down();
}

static void test_derivation_keeps_what_is_marked(void)
{
	static const unsigned int kept[] = { 0, 1, 50, 2000, 3999, 4000 };
	struct rng rng = rng_init("test-pool");
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(kept); ++i)
		check_derive(&rng, kept[i]);
}

/* A span populated for a class and derived for one with fewer pages gives the others back. */
static void test_derivation_punches_tails(void)
{
	struct object object;

	set_up();
	CHECK(zr_arena_populate(&arena, ZR_SPANS_OFFSET, 2 * ZR_SPAN_BYTES) == 0);
	object.position = ZR_SPANS_OFFSET / ZR_CELL_UNIT;
	object.n_bytes = 1365; /* three to a page, 1376 a cell */
	object.value = 9;
	memset(zr_pool_at(&pool, object.position), 9, object.n_bytes);
	derive(&object, 1);
	CHECK(live_bytes() == 1376);
	object_free(&object);
	tear_down();
}

static int mark(uint64_t offset, uint32_t n_bytes)
{
	return zr_pool_derive_mark(&pool, offset / ZR_CELL_UNIT, n_bytes);
}

static void test_derivation_refuses_what_cannot_be(void)
{
	struct object object;

	set_up();
	CHECK(object_alloc(&object, 1000, 1) == 0);
	zr_pool_deinit(&pool);
	pool_open();
	CHECK(zr_pool_derive_begin(&pool) == 0);

	CHECK(mark(0, 100) == -EINVAL);
	CHECK(mark(ZR_CELL_UNIT, 100) == -EINVAL);
	CHECK(mark(ZR_SPANS_OFFSET - ZR_CELL_UNIT, 16) == -EINVAL);   /* the directory */
	CHECK(mark(ZR_SPANS_OFFSET + ZR_CELL_UNIT, 4096) == -EINVAL); /* between cells */
	CHECK(mark(ZR_SPANS_OFFSET + ZR_SPAN_BYTES - ZR_CELL_UNIT, 1000) == -EINVAL);
	CHECK(mark(ARENA_BYTES, 4096) == -EINVAL); /* past the end */
	CHECK(mark(ARENA_BYTES + ZR_SPAN_BYTES, 16) == -EINVAL);
	CHECK(zr_pool_derive_mark(&pool, ZR_POSITION_MAX, 16) == -EINVAL);
	CHECK(zr_pool_derive_mark(&pool, UINT64_MAX, 16) == -EINVAL);
	/* times 16 this is the object's offset, in 64 bits */
	CHECK(zr_pool_derive_mark(&pool, object.position | UINT64_C(1) << 60, 1000) == -EINVAL);

	CHECK(zr_pool_derive_mark(&pool, object.position, 1000) == 0);
	CHECK(zr_pool_derive_mark(&pool, object.position, 1000) == -EINVAL); /* twice */
	CHECK(zr_pool_derive_mark(&pool, object.position, 995) == -EINVAL);
	CHECK(zr_pool_derive_mark(&pool, object.position, 16) == -EINVAL); /* another class */
	zr_pool_derive_end(&pool);
	CHECK(live_bytes() == 1008);
	object_free(&object);
	tear_down();
}

static void test_derivation_of_nothing(void)
{
	set_up();
	CHECK(derive(NULL, 0) == 0);
	CHECK(live_bytes() == 0);
	tear_down();
}

int main(void)
{
	RUN(test_every_class);
	RUN(test_whole_pages_lie_at_whole_pages);
	RUN(test_freed_cells_are_used_again);
	RUN(test_empty_spans_go_back);
	RUN(test_offsets_end);
	RUN(test_refused_memory_changes_nothing);
	RUN(test_old_kernels_give_memory_too);
	RUN(test_derivation_keeps_what_is_marked);
	RUN(test_derivation_punches_tails);
	RUN(test_derivation_refuses_what_cannot_be);
	RUN(test_derivation_of_nothing);
	return 0;
}
