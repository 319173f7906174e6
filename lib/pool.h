#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pool: the allocator of the store
 *
 * Stores objects of 1..4096 bytes in cells of 16-byte classes. Cells lie in spans; a span owns 32
 * KiB of offsets and populates only the one to eight pages that leave its class the least tail.
 * Objects are named by position, never by address. The pool serves all disks and knows none.
 *
 * What is in use is not written down anywhere: it is what the slots refer to, and after a death it
 * is derived from them (zr_pool_derive_*). What the pool itself remembers is private memory.
 *
 * Ownership: a position belongs to whoever allocated it, until they free it.
 * Locking:   every call locks for itself, at rank CLASS. Callers may hold anything above that.
 *            Derivation is single-threaded.
 * Errors:    -ENOMEM when the kernel refuses memory or the offsets are used up; the pool is then as
 *            it was before the call.
 * Cost:      allocate and free are O(1) but for a span populated or punched now and then.
 */

#include "arena.h"
#include "slot.h"
#include "sync.h"

#define ZR_POOL_CLASSES (ZR_PAGE_SIZE / ZR_CELL_UNIT)

struct zr_span;

struct zr_class {
	struct zr_mutex lock;
	/* protected by lock */
	uint32_t partial; /* first span with a cell to give, or none */
	uint64_t n_live;  /* cells in use, in all its spans */
	/* constant */
	uint32_t cell_bytes;
	uint16_t n_cells; /* in a span */
	uint8_t n_pages;  /* in a span */
};

/* What the pool holds, in bytes; populated spans less cells in use is what is lost to open spans.
 */
struct zr_pool_usage {
	uint64_t span_bytes;    /* populated in spans that hold an object */
	uint64_t reserve_bytes; /* populated and free */
	uint64_t live_bytes;    /* cells in use */
};

struct zr_pool {
	struct zr_arena *arena;
	uint32_t n_spans;       /* offsets there are */
	struct zr_span *spans;  /* n_spans entries, sparse */
	uint8_t *derive_bitmap; /* one bit a cell, while deriving */

	struct zr_class classes[ZR_POOL_CLASSES];

	struct zr_mutex spans_lock;
	/* protected by spans_lock */
	uint32_t n_fresh;    /* span numbers at and above this were never used */
	uint32_t free_spans; /* chain of unpopulated ones below it */
	uint32_t reserve[9]; /* chains of free ones with that many pages populated */
	struct zr_pool_usage usage;
};

/* @pool is zeroed; @arena stays the caller's and outlives it. Everything is free, until derived. */
int zr_pool_init(struct zr_pool *pool, struct zr_arena *arena);
void zr_pool_deinit(struct zr_pool *pool);

int zr_pool_alloc(struct zr_pool *pool, uint32_t n_bytes, zr_position *positionp);
void zr_pool_free(struct zr_pool *pool, zr_position position, uint32_t n_bytes);

static inline void *zr_pool_at(const struct zr_pool *pool, zr_position position)
{
	return zr_arena_at(pool->arena, position * ZR_CELL_UNIT);
}

/* What an object of @n_bytes takes from a limit. */
static inline uint32_t zr_pool_cell_bytes(uint32_t n_bytes)
{
	return (uint32_t)zr_align_up(n_bytes, ZR_CELL_UNIT);
}

struct zr_pool_usage zr_pool_usage(struct zr_pool *pool);

/* Rebuild what is in use: begin, mark every object once, end. Memory nobody marked goes back.
 * Return: 0, -ENOMEM; mark: -EINVAL for a position that cannot be, or that was marked before. */
int zr_pool_derive_begin(struct zr_pool *pool);
int zr_pool_derive_mark(struct zr_pool *pool, zr_position position, uint32_t n_bytes);
void zr_pool_derive_end(struct zr_pool *pool);

/* Check the equations of pool.c over all spans. Nobody else may be using the pool.
 * Return: bytes of the cells in use. */
uint64_t zr_pool_validate(struct zr_pool *pool);
