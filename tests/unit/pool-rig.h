#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of the pool share: a pool in an arena of its own, and objects that are filled with a
 * byte each, so that objects that overlap, or a cell given twice, are seen when the bytes are
 * compared.
 */

#include <errno.h>

#include "faults.h"
#include "layout.h"
#include "pool-parts.h"
#include "system.h"
#include "test.h"

/* Offsets cost nothing, and every class wants a span of its own. */
#define RIG_ARENA_BYTES (UINT64_C(1) << 30)

struct object {
	zr_position position;
	uint32_t n_bytes;
	uint8_t value;
};

static struct zr_arena arena;
static struct zr_pool pool;

static inline void pool_open(void)
{
	memset(&pool, 0, sizeof(pool));
	CHECK(zr_pool_init(&pool, &arena) == 0);
}

static inline void set_up(uint64_t arena_bytes)
{
	arena = (struct zr_arena)ZR_ARENA_NULL;
	CHECK(zr_arena_create(&arena, arena_bytes) == 0);
	CHECK(arena.size_bytes == arena_bytes);
	CHECK(zr_arena_populate(&arena, 0, zr_system_whole(ZR_DIRECTORY_START)) ==
	      0); /* the superblock */
	pool_open();
}

/* All memory is accounted for. Return: what is in use, in cells of its own class. */
static inline uint64_t live_bytes(void)
{
	const struct zr_pool_usage usage = zr_pool_usage(&pool);

	CHECK(zr_arena_memory(&arena) ==
	      zr_system_whole(ZR_DIRECTORY_START) + usage.table_bytes + usage.span_bytes);
	CHECK(usage.live_bytes + usage.reserve_bytes + usage.wasted_bytes <= usage.span_bytes);
	return zr_pool_validate(&pool);
}

static inline void check_nothing_left(void)
{
	uint32_t i;

	CHECK(live_bytes() == 0);
	CHECK(zr_pool_usage(&pool).span_bytes == 0 && zr_pool_usage(&pool).borrowed_bytes == 0);
	for (i = 0; i < atomic_load(&pool.superblock->n_spans); ++i)
		CHECK(!pool.spans[i] && pool.table[i] == 0);
	for (i = 0; i < ZR_POOL_CLASSES; ++i)
		CHECK(pool.classes[i].n_spans == 0 && pool.classes[i].gaps == ZR_SPAN_NONE);
}

static inline void tear_down(void)
{
	CHECK(live_bytes() == 0);
	zr_pool_trim(&pool, 0);
	check_nothing_left();
	zr_pool_deinit(&pool);
	zr_arena_deinit(&arena);
}

/* The end of a pass, span by span. Return: bytes that went. */
static inline uint64_t vacate_end(void)
{
	uint64_t n_bytes = 0;

	while (zr_pool_vacate_end(&pool, &n_bytes))
		;
	CHECK(pool.victims == ZR_SPAN_NONE);
	return n_bytes;
}

/* objects */

static inline int object_alloc(struct object *object, uint32_t n_bytes, uint8_t value)
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

static inline void object_check(const struct object *object)
{
	const uint8_t *bytes = zr_pool_at(&pool, object->position);

	CHECK(bytes[0] == object->value);
	CHECK(memcmp(bytes, bytes + 1, object->n_bytes - 1) == 0);
}

static inline void object_free(const struct object *object)
{
	object_check(object);
	zr_pool_free(&pool, object->position, object->n_bytes);
}

static inline void objects_free(const struct object *objects, unsigned int n_objects)
{
	while (n_objects > 0)
		object_free(&objects[--n_objects]);
}

static inline uint32_t span_no_of(const struct object *object)
{
	return (uint32_t)((object->position * ZR_CELL_UNIT - pool.spans_offset) >> ZR_SPAN_SHIFT);
}

static inline struct zr_span *span_of(const struct object *object)
{
	return pool.spans[span_no_of(object)];
}

/* The class that the object's cell is of. */
static inline struct zr_class *class_of(const struct object *object)
{
	return &pool.classes[span_of(object)->class_no];
}

static inline void objects_shuffle(struct rng *rng, struct object *objects, unsigned int n_objects)
{
	while (n_objects > 1) {
		const unsigned int at = (unsigned int)rng_below(rng, n_objects--);
		const struct object object = objects[at];

		objects[at] = objects[n_objects];
		objects[n_objects] = object;
	}
}
