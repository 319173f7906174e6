/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is in use, from what the slots refer to
 *
 * The span table says what the cells of a span measure; every object is marked once; and what
 * memory there is the memfd itself knows. An object without memory would read as zeros: such a
 * store is refused, before anything is changed. Memory that no object needs goes, or is there to be
 * given.
 */

#include "pool.h"

#include <errno.h>

#include "pool-parts.h"

/* What the span table says there is. */
static int spans_make(struct zr_pool *pool)
{
	const uint64_t n_spans = atomic_load(&pool->superblock->n_spans);
	uint32_t span_no;

	if (n_spans > pool->n_spans)
		return -EINVAL;
	for (span_no = 0; span_no < n_spans; ++span_no) {
		const unsigned int class_no = (unsigned int)pool->table[span_no] - 1;

		if (pool->table[span_no] == 0)
			continue;
		if (class_no >= ZR_POOL_CLASSES)
			return -EINVAL;
		pool->spans[span_no] = zr_span_new(class_no, pool->classes[class_no].n_cells);
		if (!pool->spans[span_no])
			return -ENOMEM;
		++pool->classes[class_no].n_spans;
	}
	return 0;
}

/* The span has memory in [from, to), rising from call to call. What comes after a hole, in a span
 * that is populated from its start, is nobody's. */
static void span_has(struct zr_pool *pool, uint32_t span_no, uint64_t from, uint64_t to)
{
	const struct zr_class *class = zr_pool_class_at(pool, span_no);
	struct zr_span *span = pool->spans[span_no];

	if (!zr_class_is_of_pages(class) && from != span->populated_bytes)
		return;
	span->populated_bytes += (uint32_t)(to - from);
	zr_span_open(span, zr_class_cells_below(class, from), zr_class_cells_below(class, to));
}

/* The memfd has memory in [from, to). */
static void range_has(struct zr_pool *pool, uint64_t from, uint64_t to)
{
	while (from < to) {
		const uint32_t span_no = (uint32_t)((from - pool->spans_offset) >> ZR_SPAN_SHIFT);
		const uint64_t start = zr_pool_span_offset(pool, span_no);
		const uint64_t end = zr_min(to, start + ZR_SPAN_BYTES);

		if (pool->spans[span_no])
			span_has(pool, span_no, from - start, end - start);
		from = end;
	}
}

int zr_pool_derive_begin(struct zr_pool *pool)
{
	uint64_t start, end = pool->spans_offset, limit;
	int r;

	r = spans_make(pool);
	if (r < 0)
		return r;

	/* Before anything in a span is looked at: reading a hole would fill it. */
	limit = zr_pool_span_offset(pool, (uint32_t)atomic_load(&pool->superblock->n_spans));
	while (end < limit && zr_arena_next_data(pool->arena, end, &start, &end) && start < limit)
		range_has(pool, start, zr_min(end, limit));
	return 0;
}

int zr_pool_derive_mark(struct zr_pool *pool, zr_position position, uint32_t n_bytes)
{
	const uint64_t n_spans = atomic_load(&pool->superblock->n_spans);
	uint64_t at = position * ZR_CELL_UNIT, cell;
	struct zr_class *class;
	struct zr_span *span;

	if (position > ZR_POSITION_MAX || at < pool->spans_offset)
		return -EINVAL;
	at -= pool->spans_offset;
	if (at >> ZR_SPAN_SHIFT >= n_spans || !pool->spans[at >> ZR_SPAN_SHIFT])
		return -EINVAL;

	span = pool->spans[at >> ZR_SPAN_SHIFT];
	class = &pool->classes[span->class_no];
	at &= ZR_SPAN_BYTES - 1;
	cell = at / class->cell_bytes;
	if (n_bytes > class->cell_bytes || at % class->cell_bytes != 0 || cell >= span->n_cells)
		return -EINVAL;
	/* What is shut has no memory, and would read as zeros. */
	if (zr_span_bit(span->shut, (uint32_t)cell) || !zr_span_mark(span, (uint32_t)cell))
		return -EINVAL;

	++class->n_live;
	class->borrowed_bytes += class->cell_bytes - zr_pool_cell_bytes(n_bytes);
	return 0;
}

static void span_end(struct zr_pool *pool, uint32_t span_no)
{
	struct zr_class *class = zr_pool_class_at(pool, span_no);
	struct zr_span *span = pool->spans[span_no];

	atomic_fetch_add(&pool->xspan_bytes, span->populated_bytes);
	zr_pool_gap_update(pool, span_no);
	if (span->n_live == 0) {
		zr_pool_span_drop(pool, span_no);
		return;
	}

	ZR_GUARD(&class->lock);
	atomic_fetch_add(&class->xn_avail, span->n_avail);
	zr_pool_relist_locked(pool, class, span_no);
}

/* Memory that is nobody's goes: of no span, or behind the end of one. */
static void strays_punch(struct zr_pool *pool)
{
	const uint64_t n_spans = atomic_load(&pool->superblock->n_spans);
	const uint64_t end = zr_pool_span_offset(pool, (uint32_t)n_spans);
	const uint64_t table_end = ZR_SPAN_TABLE + zr_align_up(n_spans, pool->arena->grain_bytes);
	uint32_t span_no;

	/* Of a worker that died between populating a page of the table and counting it. */
	zr_arena_punch(pool->arena, table_end, pool->spans_offset - table_end);
	for (span_no = 0; span_no < n_spans; ++span_no) {
		const struct zr_span *span = pool->spans[span_no];
		uint64_t from = 0;

		if (span && zr_class_is_of_pages(zr_pool_class_at(pool, span_no)))
			continue;
		if (span)
			from = span->populated_bytes;
		if (from < ZR_SPAN_BYTES)
			zr_arena_punch(pool->arena, zr_pool_span_offset(pool, span_no) + from,
				       ZR_SPAN_BYTES - from);
	}
	if (end < pool->arena->size_bytes)
		zr_arena_punch(pool->arena, end, pool->arena->size_bytes - end);
}

void zr_pool_derive_end(struct zr_pool *pool)
{
	uint32_t span_no;

	ZR_GUARD(&pool->grow);
	strays_punch(pool);
	for (span_no = (uint32_t)atomic_load(&pool->superblock->n_spans); span_no-- > 0;) {
		if (pool->spans[span_no])
			span_end(pool, span_no);
	}
}
