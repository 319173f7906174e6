/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "pool-parts.h"

/* How many larger classes are asked for a cell before somebody has to wait: 128 bytes. */
#define BORROW_CLASSES 8u

/* How long a refusal of the kernel's stands for the next one. */
#define REFUSED_NS (INT64_C(100) * 1000 * 1000)

_Static_assert((ZR_POSITION_MAX + 1) * ZR_CELL_UNIT / ZR_SPAN_BYTES < ZR_SPAN_NONE,
	       "span numbers fit 32 bits");
_Static_assert(ZR_POOL_CLASSES < UINT8_MAX, "class numbers plus 1 fit the span table");
_Static_assert(ZR_SPAN_BYTES % ZR_PAGE_SIZE == 0, "cells of whole pages lie at whole pages");

static void class_init(struct zr_class *class, unsigned int class_no)
{
	unsigned int i;

	zr_mutex_init(&class->lock, ZR_RANK_CLASS);
	for (i = 0; i < ZR_SPAN_LISTS; ++i)
		class->first[i] = class->last[i] = ZR_SPAN_NONE;
	class->gaps = ZR_SPAN_NONE;
	class->cell_bytes = class_no == ZR_POOL_PAGE_CLASS ? ZR_PAGE_SIZE
							   : (class_no + 1) * ZR_CELL_UNIT;
	class->n_cells = (uint32_t)(ZR_SPAN_BYTES / class->cell_bytes);
	class->reciprocal =
		(uint32_t)(((UINT64_C(1) << 32) + class->cell_bytes - 1) / class->cell_bytes);
}

static void *sparse_new(size_t n_bytes)
{
	void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void wait_init(struct zr_pool *pool)
{
	pthread_condattr_t attr;

	zr_must(pthread_condattr_init(&attr));
	zr_must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	zr_must(pthread_cond_init(&pool->waited_for, &attr));
	zr_must(pthread_condattr_destroy(&attr));
	zr_must(pthread_mutex_init(&pool->wait_lock, NULL));
}

int zr_pool_init(struct zr_pool *pool, struct zr_arena *arena)
{
	/* A slot has no bits for a position past this. */
	const uint64_t end = zr_min(arena->size_bytes, (ZR_POSITION_MAX + 1) * ZR_CELL_UNIT);
	unsigned int i;

	pool->arena = arena;
	pool->superblock = zr_arena_at(arena, 0);
	pool->table = zr_arena_at(arena, ZR_SPAN_TABLE);
	pool->spans_offset = zr_spans_offset(arena->size_bytes);
	pool->n_spans = (uint32_t)((end - pool->spans_offset) >> ZR_SPAN_SHIFT);
	pool->victims = ZR_SPAN_NONE;

	pool->spans = sparse_new(pool->n_spans * sizeof(*pool->spans));
	if (!pool->spans)
		return -ENOMEM;
	pool->xvacated_from = sparse_new(pool->n_spans * sizeof(*pool->xvacated_from));
	if (!pool->xvacated_from) {
		munmap(pool->spans, pool->n_spans * sizeof(*pool->spans));
		pool->spans = NULL;
		return -ENOMEM;
	}

	for (i = 0; i < ZR_POOL_CLASSES; ++i)
		class_init(&pool->classes[i], i);
	zr_mutex_init(&pool->grow, ZR_RANK_GROW);
	zr_must(sem_init(&pool->wake, 0, 0));
	wait_init(pool);
	return 0;
}

void zr_pool_deinit(struct zr_pool *pool)
{
	uint32_t i;

	if (!pool->spans)
		return;

	for (i = 0; i < atomic_load(&pool->superblock->n_spans) && i < pool->n_spans; ++i)
		free(pool->spans[i]);
	munmap(pool->spans, pool->n_spans * sizeof(*pool->spans));
	munmap(pool->xvacated_from, pool->n_spans * sizeof(*pool->xvacated_from));
	pool->spans = NULL;
	for (i = 0; i < ZR_POOL_CLASSES; ++i)
		zr_mutex_deinit(&pool->classes[i].lock);
	zr_mutex_deinit(&pool->grow);
	zr_must(sem_destroy(&pool->wake));
	zr_must(pthread_cond_destroy(&pool->waited_for));
	zr_must(pthread_mutex_destroy(&pool->wait_lock));
}

/* lists: the spans of a class that have something to give */

static void list_remove(struct zr_pool *pool, struct zr_class *class, uint32_t span_no)
{
	struct zr_span *span = pool->spans[span_no];
	const enum zr_span_list list = span->list;

	if (span->next != ZR_SPAN_NONE)
		pool->spans[span->next]->prev = span->prev;
	else
		class->last[list] = span->prev;
	if (span->prev != ZR_SPAN_NONE)
		pool->spans[span->prev]->next = span->next;
	else
		class->first[list] = span->next;
	span->list = ZR_SPAN_UNLISTED;
}

static void list_add(struct zr_pool *pool, struct zr_class *class, uint32_t span_no,
		     enum zr_span_list list, bool at_front)
{
	struct zr_span *span = pool->spans[span_no];

	span->list = list;
	span->prev = at_front ? ZR_SPAN_NONE : class->last[list];
	span->next = at_front ? class->first[list] : ZR_SPAN_NONE;
	if (span->prev != ZR_SPAN_NONE)
		pool->spans[span->prev]->next = span_no;
	else
		class->first[list] = span_no;
	if (span->next != ZR_SPAN_NONE)
		pool->spans[span->next]->prev = span_no;
	else
		class->last[list] = span_no;
}

void zr_pool_relist_locked(struct zr_pool *pool, struct zr_class *class, uint32_t span_no)
{
	struct zr_span *span = pool->spans[span_no];
	enum zr_span_list list = ZR_SPAN_UNLISTED;
	const bool was_full = span->list == ZR_SPAN_UNLISTED;

	zr_assert_held(ZR_RANK_CLASS);

	if (span->n_avail > 0)
		list = span->n_live > 0 ? ZR_SPAN_PARTIAL : ZR_SPAN_EMPTY;
	if (list == span->list)
		return;

	if (span->list != ZR_SPAN_UNLISTED)
		list_remove(pool, class, span_no);
	/* The fullest are to be filled first, so that the others can be emptied. */
	if (list != ZR_SPAN_UNLISTED)
		list_add(pool, class, span_no, list, was_full);
}

/* cells */

/* Whoever tends the pool is to look at it. A post that is on its way already is enough. */
static void wake(struct zr_pool *pool)
{
	if (atomic_load_explicit(&pool->xtended, memory_order_relaxed) &&
	    !atomic_exchange(&pool->xwoken, true))
		zr_must(sem_post(&pool->wake));
}

void zr_pool_want(struct zr_pool *pool, const struct zr_class *class)
{
	const unsigned int class_no = (unsigned int)(class - pool->classes);

	atomic_fetch_or_explicit(&pool->xwanted[class_no / 64], UINT64_C(1) << class_no % 64,
				 memory_order_release);
	wake(pool);
}

static zr_position position_of(const struct zr_pool *pool, const struct zr_class *class,
			       uint32_t span_no, uint32_t cell)
{
	return (zr_pool_span_offset(pool, span_no) + (uint64_t)cell * class->cell_bytes) /
	       ZR_CELL_UNIT;
}

/* Return: false if the class has nothing to give. */
static bool class_take(struct zr_pool *pool, struct zr_class *class, uint32_t n_bytes,
		       zr_position *positionp)
{
	uint32_t span_no, cell;
	bool low;

	if (atomic_load_explicit(&class->xn_avail, memory_order_relaxed) == 0)
		return false;

	{
		ZR_GUARD(&class->lock);

		span_no = class->first[ZR_SPAN_PARTIAL];
		if (span_no == ZR_SPAN_NONE)
			span_no = class->first[ZR_SPAN_EMPTY];
		if (span_no == ZR_SPAN_NONE)
			return false;

		cell = zr_span_take(pool->spans[span_no]);
		zr_pool_relist_locked(pool, class, span_no);
		++class->n_live;
		class->borrowed_bytes += class->cell_bytes - zr_pool_cell_bytes(n_bytes);
		low = atomic_fetch_sub_explicit(&class->xn_avail, 1, memory_order_relaxed) - 1 <=
		      atomic_load_explicit(&class->xlow, memory_order_relaxed);
	}

	*positionp = position_of(pool, class, span_no, cell);
	if (ZR_PARANOID)
		memset(zr_pool_at(pool, *positionp), ZR_POISON_FRESH, class->cell_bytes);
	if (low)
		zr_pool_want(pool, class);
	return true;
}

/* The class itself, or one of the next @n_more larger ones. */
static bool classes_take(struct zr_pool *pool, unsigned int class_no, unsigned int n_more,
			 uint32_t n_bytes, zr_position *positionp)
{
	const unsigned int end = (unsigned int)zr_min(class_no + n_more + 1, ZR_POOL_CLASSES);

	for (; class_no < end; ++class_no) {
		if (class_take(pool, &pool->classes[class_no], n_bytes, positionp))
			return true;
	}
	return false;
}

/* Where nobody tends the pool, whoever needs memory gets it. */
static int grow_here(struct zr_pool *pool, struct zr_class *class)
{
	ZR_GUARD(&pool->grow);
	return zr_pool_grow_class(pool, class);
}

/* What was refused some time ago may be there now: then it is asked for again. */
static bool was_refused_lately(const struct zr_pool *pool)
{
	const int64_t refused_ns = atomic_load_explicit(&pool->xrefused_ns, memory_order_relaxed);

	return refused_ns != 0 && zr_monotonic_ns() - refused_ns < REFUSED_NS;
}

int zr_pool_alloc(struct zr_pool *pool, uint32_t n_bytes, zr_position *positionp)
{
	const unsigned int class_no = zr_pool_class_of(n_bytes);
	struct zr_class *class = &pool->classes[class_no];
	const bool tended = atomic_load_explicit(&pool->xtended, memory_order_relaxed);
	bool refused;

	if (class_take(pool, class, n_bytes, positionp))
		return 0;

	if (!tended) {
		while (grow_here(pool, class) == 0) {
			if (class_take(pool, class, n_bytes, positionp))
				return 0;
		}
	} else {
		atomic_store(&class->xshort, true);
		zr_pool_want(pool, class);
		if (classes_take(pool, class_no, BORROW_CLASSES, n_bytes, positionp))
			return 0;
	}

	/* Rather too large a cell than none, once memory has run out. */
	refused = !tended || was_refused_lately(pool);
	if (refused && classes_take(pool, class_no, ZR_POOL_CLASSES, n_bytes, positionp))
		return 0;
	return refused ? -ENOMEM : -EAGAIN;
}

/* Division by a constant of the class: exact below ZR_SPAN_BYTES, since the reciprocal is too large
 * by less than cell_bytes / 2^32 and 2^20 * 2^12 is 2^32 (Granlund and Montgomery, 1994). */
static uint32_t cell_at(const struct zr_class *class, uint32_t within)
{
	return (uint32_t)((uint64_t)within * class->reciprocal >> 32);
}

/* Return: is the span empty now? */
static bool cell_give(struct zr_pool *pool, struct zr_class *class, uint32_t span_no, uint32_t cell,
		      uint32_t n_bytes)
{
	struct zr_span *span = pool->spans[span_no];

	ZR_GUARD(&class->lock);

	if (!zr_span_bit(span->shut, cell))
		atomic_fetch_add_explicit(&class->xn_avail, 1, memory_order_relaxed);
	zr_span_give(span, cell);
	zr_pool_relist_locked(pool, class, span_no);
	--class->n_live;
	class->borrowed_bytes -= class->cell_bytes - zr_pool_cell_bytes(n_bytes);
	return span->list == ZR_SPAN_EMPTY;
}

void zr_pool_free(struct zr_pool *pool, zr_position position, uint32_t n_bytes)
{
	const uint64_t at = position * ZR_CELL_UNIT - pool->spans_offset;
	const uint32_t span_no = (uint32_t)(at >> ZR_SPAN_SHIFT);
	struct zr_span *span = pool->spans[span_no];
	struct zr_class *class = &pool->classes[span->class_no];
	const uint32_t cell = cell_at(class, (uint32_t)(at & (ZR_SPAN_BYTES - 1)));

	ZR_ASSERT(position == position_of(pool, class, span_no, cell));
	ZR_ASSERT(n_bytes <= class->cell_bytes);
	if (ZR_PARANOID)
		memset(zr_pool_at(pool, position), ZR_POISON_FREED, class->cell_bytes);

	if (cell_give(pool, class, span_no, cell, n_bytes))
		wake(pool);
}

int zr_pool_alloc_again(struct zr_pool *pool, zr_position position, uint32_t n_bytes,
			zr_position *positionp)
{
	const uint64_t at = position * ZR_CELL_UNIT - pool->spans_offset;
	struct zr_class *class = zr_pool_class_at(pool, (uint32_t)(at >> ZR_SPAN_SHIFT));
	struct zr_class *own = &pool->classes[zr_pool_class_of(n_bytes)];

	/* What was borrowed goes back if it can. */
	if (own != class && class_take(pool, own, n_bytes, positionp))
		return 0;
	return class_take(pool, class, n_bytes, positionp) ? 0 : -ENOSPC;
}

void zr_pool_open_cells(struct zr_pool *pool, uint32_t span_no, uint32_t from, uint32_t to)
{
	struct zr_class *class = zr_pool_class_at(pool, span_no);
	struct zr_span *span = pool->spans[span_no];
	uint32_t n_before;

	ZR_GUARD(&class->lock);

	n_before = span->n_avail;
	zr_span_open(span, from, to);
	atomic_fetch_add_explicit(&class->xn_avail, span->n_avail - n_before, memory_order_relaxed);
	zr_pool_relist_locked(pool, class, span_no);
}

void zr_pool_shut_cells_locked(struct zr_pool *pool, uint32_t span_no, uint32_t from, uint32_t to)
{
	struct zr_class *class = zr_pool_class_at(pool, span_no);
	struct zr_span *span = pool->spans[span_no];
	const uint32_t n_before = span->n_avail;

	zr_span_shut(span, from, to);
	atomic_fetch_sub_explicit(&class->xn_avail, n_before - span->n_avail, memory_order_relaxed);
	zr_pool_relist_locked(pool, class, span_no);
}

/* figures */

static void class_account(struct zr_class *class, struct zr_pool_usage *usage)
{
	uint64_t avail_bytes, reserve_bytes;

	ZR_GUARD(&class->lock);

	avail_bytes = (uint64_t)zr_class_avail(class) * class->cell_bytes;
	reserve_bytes = zr_min(avail_bytes, atomic_load(&class->xahead_bytes));
	usage->live_bytes += class->n_live * class->cell_bytes;
	usage->borrowed_bytes += class->borrowed_bytes;
	usage->reserve_bytes += reserve_bytes;
	/* Whole pages beyond that are on their way back, and no pass could hasten it. */
	if (!zr_class_is_of_pages(class))
		usage->wasted_bytes += avail_bytes - reserve_bytes;
}

struct zr_pool_usage zr_pool_usage(struct zr_pool *pool)
{
	const uint64_t n_spans = atomic_load(&pool->superblock->n_spans);
	struct zr_pool_usage usage = { 0 };
	unsigned int i;

	for (i = 0; i < ZR_POOL_CLASSES; ++i)
		class_account(&pool->classes[i], &usage);
	/* What was there when a class was looked at may be on its way back by now. */
	usage.span_bytes = zr_max(atomic_load(&pool->xspan_bytes),
				  usage.live_bytes + usage.reserve_bytes + usage.wasted_bytes);
	usage.table_bytes = zr_align_up(n_spans, pool->arena->grain_bytes);
	return usage;
}

/* What the lists hold must be what the counts say. Return: how many spans are listed. */
static uint32_t lists_validate(struct zr_pool *pool, struct zr_class *class)
{
	uint32_t span_no, prev, n_listed = 0;
	uint64_t n_avail = 0;
	unsigned int list;

	ZR_GUARD(&class->lock);
	for (list = ZR_SPAN_PARTIAL; list < ZR_SPAN_LISTS; ++list) {
		prev = ZR_SPAN_NONE;
		for (span_no = class->first[list]; span_no != ZR_SPAN_NONE;
		     span_no = pool->spans[span_no]->next) {
			const struct zr_span *span = pool->spans[span_no];

			ZR_ASSERT(span->prev == prev && span->list == list);
			ZR_ASSERT(span->n_avail > 0);
			ZR_ASSERT((span->n_live > 0) == (list == ZR_SPAN_PARTIAL));
			ZR_ASSERT(&pool->classes[span->class_no] == class);
			n_avail += span->n_avail;
			prev = span_no;
			++n_listed;
		}
		ZR_ASSERT(class->last[list] == prev);
	}
	ZR_ASSERT(n_avail == atomic_load(&class->xn_avail));
	return n_listed;
}

uint64_t zr_pool_validate(struct zr_pool *pool)
{
	const uint64_t n_spans = atomic_load(&pool->superblock->n_spans);
	uint64_t span_bytes = 0, live_bytes = 0, borrowed_bytes = 0;
	uint32_t span_no, n_listed = 0;
	unsigned int i;

	for (i = 0; i < ZR_POOL_CLASSES; ++i) {
		n_listed += lists_validate(pool, &pool->classes[i]);
		borrowed_bytes += pool->classes[i].borrowed_bytes;
	}

	for (span_no = 0; span_no < n_spans; ++span_no) {
		const struct zr_span *span = pool->spans[span_no];
		const struct zr_class *class;

		ZR_ASSERT((pool->table[span_no] != 0) == (span != NULL));
		if (!span)
			continue;
		ZR_ASSERT(pool->table[span_no] == span->class_no + 1);
		class = &pool->classes[span->class_no];
		zr_span_validate(span);
		ZR_ASSERT(span->has_gap == (span->populated_bytes < ZR_SPAN_BYTES));
		ZR_ASSERT((uint64_t)span->n_live * class->cell_bytes <= span->populated_bytes);
		if (!zr_class_is_of_pages(class))
			ZR_ASSERT((uint64_t)zr_span_top(span) * class->cell_bytes <=
				  span->populated_bytes);
		span_bytes += span->populated_bytes;
		live_bytes += (uint64_t)span->n_live * class->cell_bytes;
		n_listed -= span->list != ZR_SPAN_UNLISTED;
	}
	ZR_ASSERT(span_bytes == atomic_load(&pool->xspan_bytes));
	ZR_ASSERT(n_listed == 0);
	return live_bytes - borrowed_bytes;
}
