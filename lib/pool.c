/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "layout.h"

#define SPAN_NONE UINT32_MAX
#define CELL_NONE UINT16_MAX

#define SPAN_PAGES_MAX (ZR_SPAN_BYTES / ZR_PAGE_SIZE)
#define SPAN_CELLS_MAX (ZR_SPAN_BYTES / ZR_CELL_UNIT)
#define BITMAP_BYTES   (SPAN_CELLS_MAX / 8)

/* Free spans kept populated, so that a workload at the edge of a span does not punch and populate
 * it over and over: 1 MiB. */
#define RESERVE_BYTES_MAX (UINT64_C(1) << 20)

/*
 * A span is a run of pages cut into equal cells of one class.
 *
 *   n_live + n_free == n_carved         every cell ever given out is one or the other
 *   n_free == length of the free chain  the chain runs through the free cells themselves
 *   n_carved <= n_cells                 the rest was never touched
 *   n_live > 0                          an empty span goes back at once
 *   on the class's partial list if and only if n_live < n_cells
 */
struct zr_span {
	uint32_t prev, next; /* on the partial list; next also on the free chains */
	uint16_t class_no;
	uint16_t n_live;
	uint16_t n_free;
	uint16_t n_carved;
	uint16_t free_head; /* cell number, or CELL_NONE */
	uint8_t n_pages;    /* populated; 0: the span is free and has no memory */
	bool in_use;
};

_Static_assert((ZR_POSITION_MAX + 1) * ZR_CELL_UNIT / ZR_SPAN_BYTES < SPAN_NONE,
	       "span numbers fit 32 bits");
_Static_assert(SPAN_CELLS_MAX < CELL_NONE, "cell numbers fit 16 bits");
_Static_assert(ZR_POOL_CLASSES <= UINT16_MAX, "class numbers fit 16 bits");

static unsigned int class_no_of(uint32_t n_bytes)
{
	ZR_ASSERT(n_bytes >= 1 && n_bytes <= ZR_PAGE_SIZE);
	return (n_bytes - 1) / ZR_CELL_UNIT;
}

static uint64_t span_offset(uint32_t span_no)
{
	return ZR_SPANS_OFFSET + span_no * ZR_SPAN_BYTES;
}

/* As many pages as leave the least tail; of equals the most, since single pages at a stride of 32
 * KiB cost 3 % in the kernel's page tables. */
static void class_choose_pages(struct zr_class *class)
{
	uint32_t n_pages, best_tail = UINT32_MAX, best_pages = 1;

	for (n_pages = 1; n_pages <= SPAN_PAGES_MAX; ++n_pages) {
		uint32_t n_bytes = n_pages * ZR_PAGE_SIZE;
		uint32_t tail = n_bytes % class->cell_bytes;

		/* tail / n_bytes <= best_tail / best_bytes, without dividing */
		if (best_tail == UINT32_MAX ||
		    (uint64_t)tail * best_pages <= (uint64_t)best_tail * n_pages) {
			best_tail = tail;
			best_pages = n_pages;
		}
	}

	class->n_pages = (uint8_t)best_pages;
	class->n_cells = (uint16_t)(best_pages * ZR_PAGE_SIZE / class->cell_bytes);
}

static void class_init(struct zr_class *class, unsigned int class_no)
{
	zr_mutex_init(&class->lock, ZR_RANK_CLASS);
	class->partial = SPAN_NONE;
	class->cell_bytes = (class_no + 1) * ZR_CELL_UNIT;
	class_choose_pages(class);
}

static void *sparse_new(size_t n_bytes)
{
	void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int zr_pool_init(struct zr_pool *pool, struct zr_arena *arena)
{
	/* A slot has no bits for a position past this. */
	const uint64_t end = zr_min(arena->size_bytes, (ZR_POSITION_MAX + 1) * ZR_CELL_UNIT);
	unsigned int i;

	pool->arena = arena;
	pool->n_spans = (uint32_t)((end - ZR_SPANS_OFFSET) / ZR_SPAN_BYTES);
	pool->spans = sparse_new(pool->n_spans * sizeof(*pool->spans));
	if (!pool->spans)
		return -ENOMEM;

	for (i = 0; i < ZR_POOL_CLASSES; ++i)
		class_init(&pool->classes[i], i);

	zr_mutex_init(&pool->spans_lock, ZR_RANK_ARENA);
	pool->free_spans = SPAN_NONE;
	for (i = 0; i < ZR_ARRAY_SIZE(pool->reserve); ++i)
		pool->reserve[i] = SPAN_NONE;
	return 0;
}

void zr_pool_deinit(struct zr_pool *pool)
{
	unsigned int i;

	if (!pool->spans)
		return;

	munmap(pool->spans, pool->n_spans * sizeof(*pool->spans));
	pool->spans = NULL;
	if (pool->derive_bitmap) /* a derivation that failed */
		munmap(pool->derive_bitmap, (size_t)pool->n_spans * BITMAP_BYTES);
	for (i = 0; i < ZR_POOL_CLASSES; ++i)
		zr_mutex_deinit(&pool->classes[i].lock);
	zr_mutex_deinit(&pool->spans_lock);
}

/* spans: who has one */

static uint32_t span_take_number_locked(struct zr_pool *pool)
{
	uint32_t span_no = pool->free_spans;

	zr_assert_held(ZR_RANK_ARENA);

	if (span_no != SPAN_NONE) {
		pool->free_spans = pool->spans[span_no].next;
		return span_no;
	}
	return pool->n_fresh < pool->n_spans ? pool->n_fresh++ : SPAN_NONE;
}

static void span_give_number_locked(struct zr_pool *pool, uint32_t span_no)
{
	zr_assert_held(ZR_RANK_ARENA);

	pool->spans[span_no].n_pages = 0;
	pool->spans[span_no].next = pool->free_spans;
	pool->free_spans = span_no;
}

/* A span with @n_pages populated, nobody's yet. Return: 0 or -ENOMEM. */
static int span_acquire(struct zr_pool *pool, uint8_t n_pages, uint32_t *span_nop)
{
	const uint64_t n_bytes = n_pages * ZR_PAGE_SIZE;
	uint32_t span_no;

	ZR_GUARD(&pool->spans_lock);

	span_no = pool->reserve[n_pages];
	if (span_no != SPAN_NONE) {
		pool->reserve[n_pages] = pool->spans[span_no].next;
		pool->usage.reserve_bytes -= n_bytes;
	} else {
		span_no = span_take_number_locked(pool);
		if (span_no == SPAN_NONE)
			return -ENOMEM;
		if (zr_arena_populate(pool->arena, span_offset(span_no), n_bytes) < 0) {
			span_give_number_locked(pool, span_no);
			return -ENOMEM;
		}
	}

	pool->usage.span_bytes += n_bytes;
	*span_nop = span_no;
	return 0;
}

static void span_release(struct zr_pool *pool, uint32_t span_no)
{
	struct zr_span *span = &pool->spans[span_no];
	const uint64_t n_bytes = span->n_pages * ZR_PAGE_SIZE;

	ZR_GUARD(&pool->spans_lock);

	span->in_use = false;
	pool->usage.span_bytes -= n_bytes;
	if (pool->usage.reserve_bytes + n_bytes <= RESERVE_BYTES_MAX) {
		span->next = pool->reserve[span->n_pages];
		pool->reserve[span->n_pages] = span_no;
		pool->usage.reserve_bytes += n_bytes;
		return;
	}

	zr_arena_punch(pool->arena, span_offset(span_no), n_bytes);
	span_give_number_locked(pool, span_no);
}

/* partial: the spans of a class with a cell to give */

static void partial_add_locked(struct zr_pool *pool, struct zr_class *class, uint32_t span_no)
{
	struct zr_span *span = &pool->spans[span_no];

	zr_assert_held(ZR_RANK_CLASS);

	span->prev = SPAN_NONE;
	span->next = class->partial;
	if (span->next != SPAN_NONE)
		pool->spans[span->next].prev = span_no;
	class->partial = span_no;
}

static void partial_remove_locked(struct zr_pool *pool, struct zr_class *class, uint32_t span_no)
{
	struct zr_span *span = &pool->spans[span_no];

	zr_assert_held(ZR_RANK_CLASS);

	if (span->next != SPAN_NONE)
		pool->spans[span->next].prev = span->prev;
	if (span->prev != SPAN_NONE)
		pool->spans[span->prev].next = span->next;
	else
		class->partial = span->next;
}

static void span_set_up(struct zr_span *span, const struct zr_class *class, unsigned int class_no)
{
	span->class_no = (uint16_t)class_no;
	span->n_live = span->n_free = span->n_carved = 0;
	span->free_head = CELL_NONE;
	span->n_pages = class->n_pages;
	span->in_use = true;
}

static int class_grow_locked(struct zr_pool *pool, struct zr_class *class)
{
	uint32_t span_no;
	int r;

	zr_assert_held(ZR_RANK_CLASS);

	r = span_acquire(pool, class->n_pages, &span_no);
	if (r < 0)
		return r;

	span_set_up(&pool->spans[span_no], class, (unsigned int)(class - pool->classes));
	partial_add_locked(pool, class, span_no);
	return 0;
}

/* cells: the chain of free ones runs through their first two bytes */

static uint8_t *cell_at(const struct zr_pool *pool, uint32_t span_no, uint32_t cell_bytes,
			uint32_t cell)
{
	return zr_arena_at(pool->arena, span_offset(span_no) + (uint64_t)cell * cell_bytes);
}

static uint16_t cell_next(const uint8_t *at)
{
	uint16_t next;

	memcpy(&next, at, sizeof(next));
	return next;
}

static void cell_chain(struct zr_span *span, uint8_t *at, uint16_t cell, uint32_t cell_bytes)
{
	if (ZR_PARANOID)
		memset(at, ZR_POISON_FREED, cell_bytes);
	memcpy(at, &span->free_head, sizeof(span->free_head));
	span->free_head = cell;
	++span->n_free;
}

/* Check what the comment above struct zr_span promises. */
static void span_validate_locked(const struct zr_pool *pool, uint32_t span_no)
{
	const struct zr_span *span = &pool->spans[span_no];
	const struct zr_class *class = &pool->classes[span->class_no];
	unsigned int n_chain = 0;
	uint16_t cell;

	ZR_ASSERT(span->in_use);
	ZR_ASSERT(span->n_live > 0);
	ZR_ASSERT(span->n_live + span->n_free == span->n_carved);
	ZR_ASSERT(span->n_carved <= class->n_cells);

	for (cell = span->free_head; cell != CELL_NONE;
	     cell = cell_next(cell_at(pool, span_no, class->cell_bytes, cell))) {
		ZR_ASSERT(cell < span->n_carved);
		ZR_ASSERT(n_chain < span->n_free); /* a cycle stops here */
		++n_chain;
	}
	ZR_ASSERT(n_chain == span->n_free);
}

int zr_pool_alloc(struct zr_pool *pool, uint32_t n_bytes, zr_position *positionp)
{
	struct zr_class *class = &pool->classes[class_no_of(n_bytes)];
	struct zr_span *span;
	uint32_t span_no;
	uint16_t cell;
	uint8_t *at;
	int r;

	ZR_GUARD(&class->lock);

	if (class->partial == SPAN_NONE) {
		r = class_grow_locked(pool, class);
		if (r < 0)
			return r;
	}

	span_no = class->partial;
	span = &pool->spans[span_no];
	if (span->free_head != CELL_NONE) {
		cell = span->free_head;
		at = cell_at(pool, span_no, class->cell_bytes, cell);
		span->free_head = cell_next(at);
		--span->n_free;
	} else {
		cell = span->n_carved++;
		at = cell_at(pool, span_no, class->cell_bytes, cell);
	}

	++class->n_live;
	if (++span->n_live == class->n_cells)
		partial_remove_locked(pool, class, span_no);
	if (ZR_PARANOID)
		memset(at, ZR_POISON_FRESH, class->cell_bytes);

	*positionp = (uint64_t)(at - pool->arena->base) / ZR_CELL_UNIT;
	return 0;
}

/* Which cell is at @position? Return: false if none can be. */
static bool cell_find(const struct zr_pool *pool, zr_position position,
		      const struct zr_class *class, uint32_t *span_nop, uint32_t *cellp)
{
	const uint64_t offset = position * ZR_CELL_UNIT;
	uint64_t span_no, within;

	if (position > ZR_POSITION_MAX || offset < ZR_SPANS_OFFSET)
		return false;

	span_no = (offset - ZR_SPANS_OFFSET) / ZR_SPAN_BYTES;
	within = (offset - ZR_SPANS_OFFSET) % ZR_SPAN_BYTES;
	if (span_no >= pool->n_spans || within % class->cell_bytes != 0 ||
	    within / class->cell_bytes >= class->n_cells)
		return false;

	*span_nop = (uint32_t)span_no;
	*cellp = (uint32_t)(within / class->cell_bytes);
	return true;
}

void zr_pool_free(struct zr_pool *pool, zr_position position, uint32_t n_bytes)
{
	const unsigned int class_no = class_no_of(n_bytes);
	struct zr_class *class = &pool->classes[class_no];
	uint32_t span_no = 0, cell = 0;
	struct zr_span *span;
	bool found;

	ZR_GUARD(&class->lock);

	found = cell_find(pool, position, class, &span_no, &cell);
	ZR_ASSERT(found);
	(void)found;
	span = &pool->spans[span_no];
	ZR_ASSERT(span->in_use && span->class_no == class_no && span->n_live > 0);
	ZR_ASSERT(cell < span->n_carved);

	if (span->n_live == class->n_cells)
		partial_add_locked(pool, class, span_no);
	cell_chain(span, zr_pool_at(pool, position), (uint16_t)cell, class->cell_bytes);

	--class->n_live;
	if (--span->n_live == 0) {
		partial_remove_locked(pool, class, span_no);
		span_release(pool, span_no);
	}
}

struct zr_pool_usage zr_pool_usage(struct zr_pool *pool)
{
	struct zr_pool_usage usage;
	uint64_t live_bytes = 0;
	unsigned int i;

	for (i = 0; i < ZR_POOL_CLASSES; ++i) {
		ZR_GUARD(&pool->classes[i].lock);
		live_bytes += pool->classes[i].n_live * pool->classes[i].cell_bytes;
	}

	ZR_GUARD(&pool->spans_lock);
	usage = pool->usage;
	usage.live_bytes = live_bytes;
	return usage;
}

/* derivation */

int zr_pool_derive_begin(struct zr_pool *pool)
{
	ZR_ASSERT(pool->n_fresh == 0 && !pool->derive_bitmap);

	pool->derive_bitmap = sparse_new((size_t)pool->n_spans * BITMAP_BYTES);
	return pool->derive_bitmap ? 0 : -ENOMEM;
}

int zr_pool_derive_mark(struct zr_pool *pool, zr_position position, uint32_t n_bytes)
{
	const unsigned int class_no = class_no_of(n_bytes);
	struct zr_class *class = &pool->classes[class_no];
	uint32_t span_no, cell;
	struct zr_span *span;
	uint8_t *byte, bit;

	if (!cell_find(pool, position, class, &span_no, &cell))
		return -EINVAL;

	span = &pool->spans[span_no];
	if (!span->in_use)
		span_set_up(span, class, class_no);
	else if (span->class_no != class_no)
		return -EINVAL;

	byte = &pool->derive_bitmap[(size_t)span_no * BITMAP_BYTES + cell / 8];
	bit = (uint8_t)(1u << cell % 8);
	if (*byte & bit)
		return -EINVAL;

	*byte |= bit;
	++class->n_live;
	++span->n_live;
	if (cell >= span->n_carved)
		span->n_carved = (uint16_t)(cell + 1);
	if (span_no >= pool->n_fresh)
		pool->n_fresh = span_no + 1;
	return 0;
}

static void derive_span(struct zr_pool *pool, uint32_t span_no)
{
	struct zr_span *span = &pool->spans[span_no];
	struct zr_class *class = &pool->classes[span->class_no];
	const uint8_t *bitmap = &pool->derive_bitmap[(size_t)span_no * BITMAP_BYTES];
	uint16_t cell;

	for (cell = 0; cell < span->n_carved; ++cell) {
		if (bitmap[cell / 8] & 1u << cell % 8)
			continue;
		cell_chain(span, cell_at(pool, span_no, class->cell_bytes, cell), cell,
			   class->cell_bytes);
	}

	pool->usage.span_bytes += span->n_pages * ZR_PAGE_SIZE;
	if (span->n_live < class->n_cells) {
		ZR_GUARD(&class->lock);
		partial_add_locked(pool, class, span_no);
	}
}

/* Give back the memory of [start, end) that no span in use owns. */
static void derive_punch(struct zr_pool *pool, uint64_t start, uint64_t end)
{
	while (start < end) {
		const uint32_t span_no = (uint32_t)((start - ZR_SPANS_OFFSET) / ZR_SPAN_BYTES);
		const struct zr_span *span = &pool->spans[span_no];
		const uint64_t owned = span->in_use ? span->n_pages * ZR_PAGE_SIZE : 0;
		const uint64_t from = zr_max(start, span_offset(span_no) + owned);
		const uint64_t to = zr_min(end, span_offset(span_no) + ZR_SPAN_BYTES);

		if (from < to)
			zr_arena_punch(pool->arena, from, to - from);
		start = to;
	}
}

void zr_pool_derive_end(struct zr_pool *pool)
{
	uint64_t start, end = ZR_SPANS_OFFSET;
	const uint64_t limit = span_offset(pool->n_spans);
	uint32_t span_no;

	while (end < limit && zr_arena_next_data(pool->arena, end, &start, &end) && start < limit)
		derive_punch(pool, start, zr_min(end, limit));

	for (span_no = pool->n_fresh; span_no-- > 0;) {
		if (pool->spans[span_no].in_use) {
			derive_span(pool, span_no);
		} else {
			ZR_GUARD(&pool->spans_lock);
			span_give_number_locked(pool, span_no);
		}
	}

	munmap(pool->derive_bitmap, (size_t)pool->n_spans * BITMAP_BYTES);
	pool->derive_bitmap = NULL;
}

/* Return: how many spans have a cell to give. */
static uint32_t partial_validate(struct zr_pool *pool, struct zr_class *class)
{
	uint32_t span_no, prev = SPAN_NONE, n_partial = 0;

	ZR_GUARD(&class->lock);
	for (span_no = class->partial; span_no != SPAN_NONE; span_no = pool->spans[span_no].next) {
		const struct zr_span *span = &pool->spans[span_no];

		ZR_ASSERT(span->prev == prev && span->n_live < class->n_cells);
		ZR_ASSERT(span->class_no == (uint16_t)(class - pool->classes));
		span_validate_locked(pool, span_no);
		prev = span_no;
		++n_partial;
	}
	return n_partial;
}

uint64_t zr_pool_validate(struct zr_pool *pool)
{
	uint64_t span_bytes = 0, live_bytes = 0;
	uint32_t span_no, n_partial = 0;
	unsigned int i;

	for (i = 0; i < ZR_POOL_CLASSES; ++i)
		n_partial += partial_validate(pool, &pool->classes[i]);

	for (span_no = 0; span_no < pool->n_fresh; ++span_no) {
		const struct zr_span *span = &pool->spans[span_no];
		const struct zr_class *class = &pool->classes[span->class_no];

		if (!span->in_use)
			continue;
		span_validate_locked(pool, span_no);
		span_bytes += span->n_pages * ZR_PAGE_SIZE;
		live_bytes += (uint64_t)span->n_live * class->cell_bytes;
		n_partial -= span->n_live < class->n_cells;
	}
	ZR_ASSERT(span_bytes == pool->usage.span_bytes);
	ZR_ASSERT(n_partial == 0);
	return live_bytes;
}
