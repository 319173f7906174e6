/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Which spans are emptied
 *
 * A class with more free cells than it keeps ahead can be packed: its emptiest spans, and the end
 * of one more, are shut, and as many objects as lie there fit elsewhere. With B cells available
 * beyond what is kept, a span of which a are available and l live can be emptied whole if
 *
 *   B - a >= l
 *
 * and otherwise down to its first x = l - (B - a) cells, which are then full. Who moves the objects
 * finds them by looking at every slot (compact.h), so nothing here knows whose they are: at eight
 * slots to a cache line that costs less than a reference of four bytes in each cell would in
 * memory.
 */

#include "pool.h"

#include <errno.h>

#include "pool-parts.h"

/* How many spans are looked at for the emptiest, while their class is locked. */
#define LOOK_MAX 32u

static void vacated_from_set(struct zr_pool *pool, uint32_t span_no, uint32_t from)
{
	atomic_store_explicit(&pool->xvacated_from[span_no], from, memory_order_relaxed);
}

/* Empty the span from cell @keep on. Return: how many objects are to move. */
static uint32_t victim_add(struct zr_pool *pool, uint32_t span_no, uint32_t keep)
{
	struct zr_class *class = zr_pool_class_at(pool, span_no);
	struct zr_span *span = pool->spans[span_no];
	uint32_t n_moving;

	zr_assert_held(ZR_RANK_GROW);

	{
		ZR_GUARD(&class->lock);
		zr_pool_shut_cells_locked(pool, span_no, keep, span->n_cells);
		n_moving = span->n_live - zr_span_live_below(span, keep);
	}

	/* In units, since that is what a position says. */
	vacated_from_set(pool, span_no, keep * (class->cell_bytes / ZR_CELL_UNIT) + 1);
	span->victim_next = pool->victims;
	pool->victims = span_no;
	++class->n_victims;
	class->vacating = true;
	return n_moving;
}

/* Its cells can be given again, as far as they have memory. */
static void victim_release(struct zr_pool *pool, uint32_t span_no)
{
	const struct zr_class *class = zr_pool_class_at(pool, span_no);

	vacated_from_set(pool, span_no, 0);
	zr_pool_open_cells(pool, span_no, 0,
			   zr_class_cells_below(class, pool->spans[span_no]->populated_bytes));
}

/* The span to empty next: one that ends early already, then the emptiest. */
static uint32_t victim_find(struct zr_pool *pool, struct zr_class *class)
{
	uint32_t span_no, found = ZR_SPAN_NONE, n = 0;

	ZR_GUARD(&class->lock);

	if (class->n_victims == 0 && class->gaps != ZR_SPAN_NONE &&
	    pool->spans[class->gaps]->n_live > 0)
		return class->gaps;

	for (span_no = class->last[ZR_SPAN_PARTIAL]; span_no != ZR_SPAN_NONE && n < LOOK_MAX;
	     span_no = pool->spans[span_no]->prev, ++n) {
		if (atomic_load_explicit(&pool->xvacated_from[span_no], memory_order_relaxed) ==
			    0 &&
		    (found == ZR_SPAN_NONE ||
		     pool->spans[span_no]->n_live < pool->spans[found]->n_live))
			found = span_no;
	}
	return found;
}

/* Cells beyond what is kept ahead. */
static int64_t class_spare(const struct zr_class *class)
{
	return (int64_t)zr_class_avail(class) - zr_class_ahead(class);
}

/* Bytes of the span that go when nothing is left from cell @keep on. */
static uint64_t gain(const struct zr_pool *pool, const struct zr_class *class,
		     const struct zr_span *span, uint32_t keep)
{
	const uint64_t keep_bytes = zr_align_up((uint64_t)keep * class->cell_bytes,
						pool->arena->grain_bytes);

	return span->populated_bytes > keep_bytes ? span->populated_bytes - keep_bytes : 0;
}

/* Return: how many objects of the class are to move. */
static uint64_t class_vacate(struct zr_pool *pool, struct zr_class *class)
{
	int64_t spare, elsewhere, n_live;
	const struct zr_span *span;
	uint64_t n_moving = 0;
	uint32_t span_no, keep;

	zr_assert_held(ZR_RANK_GROW);

	spare = class_spare(class);
	while (spare > 0 && (span_no = victim_find(pool, class)) != ZR_SPAN_NONE) {
		span = pool->spans[span_no];
		{
			ZR_GUARD(&class->lock);
			elsewhere = spare - span->n_avail;
			n_live = span->n_live;
		}

		keep = elsewhere >= n_live ? 0 : (uint32_t)(n_live - elsewhere);
		if (gain(pool, class, span, keep) == 0)
			break;
		n_moving += victim_add(pool, span_no, keep);
		if (keep > 0)
			break; /* a second end would be one more span populated in part */
		spare = elsewhere - n_live;
	}
	return n_moving;
}

uint64_t zr_pool_vacate_begin(struct zr_pool *pool)
{
	uint64_t n_moving = 0;
	unsigned int i;

	for (i = 0; i < ZR_POOL_PAGE_CLASS; ++i) {
		zr_pool_refill_if_wanted(pool);
		ZR_GUARD(&pool->grow);
		n_moving += class_vacate(pool, &pool->classes[i]);
	}
	return n_moving;
}

void zr_pool_vacate_cancel(struct zr_pool *pool, struct zr_class *class)
{
	uint32_t span_no;

	zr_assert_held(ZR_RANK_GROW);

	for (span_no = pool->victims; span_no != ZR_SPAN_NONE;
	     span_no = pool->spans[span_no]->victim_next) {
		if (zr_pool_class_at(pool, span_no) == class)
			victim_release(pool, span_no);
	}
	class->vacating = false;
}

/* Is nothing left of the span, and nobody wants it back? Then no cell of it is given any more. */
static bool victim_is_empty(struct zr_pool *pool, struct zr_class *class, uint32_t span_no)
{
	/* Opened again since the class was short of cells: it may have been the last it had. */
	if (atomic_load_explicit(&pool->xvacated_from[span_no], memory_order_relaxed) == 0)
		return false;

	ZR_GUARD(&class->lock);
	if (pool->spans[span_no]->n_live > 0)
		return false;
	zr_pool_shut_cells_locked(pool, span_no, 0, class->n_cells);
	return true;
}

/* What was too late to be seen is still there, and stays. Return: bytes that went. */
static uint64_t victim_end(struct zr_pool *pool, uint32_t span_no)
{
	struct zr_class *class = zr_pool_class_at(pool, span_no);
	const bool empty = victim_is_empty(pool, class, span_no);

	zr_assert_held(ZR_RANK_GROW);

	pool->victims = pool->spans[span_no]->victim_next;
	if (--class->n_victims == 0)
		class->vacating = false;
	vacated_from_set(pool, span_no, 0);
	if (empty)
		return zr_pool_span_drop(pool, span_no);

	victim_release(pool, span_no);
	return zr_pool_trim_top(pool, span_no);
}

bool zr_pool_vacate_end(struct zr_pool *pool, uint64_t *n_bytesp)
{
	uint64_t n_bytes;

	zr_pool_refill_if_wanted(pool);
	ZR_GUARD(&pool->grow);

	if (pool->victims == ZR_SPAN_NONE)
		return false;
	n_bytes = victim_end(pool, pool->victims);
	atomic_fetch_add(&pool->superblock->pages_compacted, n_bytes / ZR_PAGE_SIZE);
	*n_bytesp += n_bytes;
	return pool->victims != ZR_SPAN_NONE;
}
