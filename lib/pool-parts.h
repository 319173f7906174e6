#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pool parts: what the files of the pool share
 *
 *   pool.c         cells: allocate, free, account
 *   pool-grow.c    memory: spans come, are populated, trimmed and go
 *   pool-vacate.c  moving: which spans are emptied
 *   pool-derive.c  derivation
 *
 * Ownership: as pool.h.
 * Locking:   names with _locked want the lock of the class; the rest of it wants grow.
 * Errors:    as pool.h.
 * Cost:      as pool.h.
 */

#include "pool.h"

/* Put the span on the list that its counts say. */
void zr_pool_relist_locked(struct zr_pool *pool, struct zr_class *class, uint32_t span_no);

/* Cells [from, to) of a span become available, or cease to be. */
void zr_pool_open_cells(struct zr_pool *pool, uint32_t span_no, uint32_t from, uint32_t to);
void zr_pool_shut_cells_locked(struct zr_pool *pool, uint32_t span_no, uint32_t from, uint32_t to);

/* A new span of the class without memory, on the list of gaps. Return: its number or
 * ZR_SPAN_NONE. */
uint32_t zr_pool_span_add(struct zr_pool *pool, struct zr_class *class);

/* An empty, unlisted span and its memory go. Return: bytes that went. */
uint64_t zr_pool_span_drop(struct zr_pool *pool, uint32_t span_no);

/* Is some of its memory absent? Its place on the list of gaps follows. */
void zr_pool_gap_update(struct zr_pool *pool, uint32_t span_no);

/* For those who hold nothing and do something long: whoever waits for memory comes first. */
void zr_pool_refill_if_wanted(struct zr_pool *pool);

/* Somebody who may populate is to make the class able to give. */
void zr_pool_want(struct zr_pool *pool, const struct zr_class *class);

/* Make the class able to give, or a good part of what that takes: then it is wanted still. Return:
 * 0 or -ENOMEM. */
int zr_pool_grow_class(struct zr_pool *pool, struct zr_class *class);

/* Give back the end of a span above its last object, but for what the class keeps ahead.
 * Return: bytes that went. */
uint64_t zr_pool_trim_top(struct zr_pool *pool, uint32_t span_no);

/* What is available in a class, in cells. */
static inline uint32_t zr_class_avail(const struct zr_class *class)
{
	return atomic_load_explicit(&class->xn_avail, memory_order_relaxed);
}

/* What is kept to give, in cells: everybody must round it the same way. */
static inline uint32_t zr_class_ahead(const struct zr_class *class)
{
	return atomic_load_explicit(&class->xahead_bytes, memory_order_relaxed) / class->cell_bytes;
}

static inline bool zr_class_is_of_pages(const struct zr_class *class)
{
	return class->cell_bytes == ZR_PAGE_SIZE;
}

static inline struct zr_class *zr_pool_class_at(struct zr_pool *pool, uint32_t span_no)
{
	return &pool->classes[pool->spans[span_no]->class_no];
}

static inline uint64_t zr_pool_span_offset(const struct zr_pool *pool, uint32_t span_no)
{
	return pool->spans_offset + ((uint64_t)span_no << ZR_SPAN_SHIFT);
}

/* Cells that lie whole below an offset within a span. */
static inline uint32_t zr_class_cells_below(const struct zr_class *class, uint64_t n_bytes)
{
	return (uint32_t)(n_bytes / class->cell_bytes);
}

/* Stop emptying the spans of a class, which is in need of cells. */
void zr_pool_vacate_cancel(struct zr_pool *pool, struct zr_class *class);
