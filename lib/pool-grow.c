/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * How the pool's memory comes and goes
 *
 * A span has memory from its start up to populated_bytes; one of whole pages has it page by page.
 * What a class keeps to give follows how fast it grows: each time more is wanted within
 * AHEAD_NS of the last time, twice as much is kept, so that what is there lasts about that long.
 * All of it happens under the pool's grow, which nobody who serves a request takes.
 */

#include "pool.h"

#include <errno.h>

#include "crash.h"
#include "pool-parts.h"

/* What is kept to give lasts at least that long at the present rate, up to the maximum. */
#define AHEAD_NS  (INT64_C(4) * 1000 * 1000)
#define AHEAD_MAX (UINT32_C(4) << 20)

/* Populated at once. Who waits is told after each step: where the first touch of memory is slow, on
 * a virtual machine, all that is kept ahead may take as long as a swap disk waits. */
#define STEP_BYTES (UINT32_C(256) << 10)

/* For so long whoever tends the pool is new to it. */
#define NEW_NS (INT64_C(1000) * 1000 * 1000)

/* How many spans are looked at while their class is locked. It matters where a system page is more
 * than 4096 bytes: then a span may have free pages and none to give. */
#define LOOK_MAX 32u

/* waiting */

static void waiters_wake(struct zr_pool *pool)
{
	zr_must(pthread_mutex_lock(&pool->wait_lock));
	atomic_fetch_add(&pool->xgeneration, 1);
	zr_must(pthread_cond_broadcast(&pool->waited_for));
	zr_must(pthread_mutex_unlock(&pool->wait_lock));
}

static bool class_is_unused(struct zr_class *class)
{
	ZR_GUARD(&class->lock);
	return class->n_live == 0;
}

void zr_pool_tend(struct zr_pool *pool, bool tended)
{
	unsigned int i;

	if (tended && !atomic_load(&pool->xtended))
		atomic_store(&pool->xtended_ns, zr_monotonic_ns());
	atomic_store(&pool->xtended, tended);
	waiters_wake(pool);

	/* What was used before will be again: a pool that was just derived has nothing to give but
	 * what happens to be free. */
	for (i = 0; tended && i < ZR_POOL_CLASSES; ++i) {
		if (!class_is_unused(&pool->classes[i]))
			zr_pool_want(pool, &pool->classes[i]);
	}
}

bool zr_pool_is_new(const struct zr_pool *pool)
{
	return zr_monotonic_ns() - atomic_load(&pool->xtended_ns) < NEW_NS;
}

uint64_t zr_pool_generation(const struct zr_pool *pool)
{
	return atomic_load(&pool->xgeneration);
}

bool zr_pool_wait(struct zr_pool *pool, uint64_t generation, int64_t deadline_ns)
{
	const struct timespec deadline = { deadline_ns / 1000000000, deadline_ns % 1000000000 };
	int error = 0;

	zr_assert_none_held();

	zr_must(pthread_mutex_lock(&pool->wait_lock));
	while (error == 0 && atomic_load(&pool->xgeneration) == generation)
		error = pthread_cond_timedwait(&pool->waited_for, &pool->wait_lock, &deadline);
	zr_must(pthread_mutex_unlock(&pool->wait_lock));
	return error == 0;
}

/* Two cells at least, so that one is left while the next is on its way. Of whole pages as many as a
 * write to a new place needs, four nodes and the page, and some. */
static uint32_t ahead_min(const struct zr_class *class)
{
	if (zr_class_is_of_pages(class))
		return ZR_POOL_AHEAD_MIN_PAGES * ZR_PAGE_SIZE;
	return (uint32_t)zr_max(ZR_POOL_AHEAD_MIN, 2 * class->cell_bytes);
}

static uint32_t ahead_of(const struct zr_class *class)
{
	return atomic_load_explicit(&class->xahead_bytes, memory_order_relaxed);
}

static void class_set_ahead(struct zr_class *class, uint32_t ahead_bytes)
{
	atomic_store_explicit(&class->xahead_bytes, ahead_bytes, memory_order_relaxed);
	atomic_store_explicit(&class->xlow, zr_max(1, ahead_bytes / 2 / class->cell_bytes),
			      memory_order_relaxed);
}

/* More is wanted: how much is it to be from now on? @was_short: what was there was not enough for
 * somebody, even if it is there again, since they gave back what they had got. */
static void class_adapt(struct zr_class *class, int64_t now, bool was_short)
{
	uint32_t ahead_bytes = ahead_min(class);

	if (was_short || now - class->grown_ns < AHEAD_NS)
		ahead_bytes = (uint32_t)zr_min(AHEAD_MAX, 2 * (uint64_t)ahead_of(class));
	else if (now - class->grown_ns < 4 * AHEAD_NS)
		ahead_bytes = ahead_of(class);
	class_set_ahead(class, (uint32_t)zr_max(ahead_bytes, ahead_min(class)));
	class->grown_ns = now;
}

/* gaps: spans with memory absent */

static void gap_add(struct zr_pool *pool, struct zr_class *class, uint32_t span_no)
{
	struct zr_span *span = pool->spans[span_no];

	span->has_gap = true;
	span->gap_prev = ZR_SPAN_NONE;
	span->gap_next = class->gaps;
	if (span->gap_next != ZR_SPAN_NONE)
		pool->spans[span->gap_next]->gap_prev = span_no;
	class->gaps = span_no;
}

static void gap_remove(struct zr_pool *pool, struct zr_class *class, uint32_t span_no)
{
	struct zr_span *span = pool->spans[span_no];

	span->has_gap = false;
	if (span->gap_next != ZR_SPAN_NONE)
		pool->spans[span->gap_next]->gap_prev = span->gap_prev;
	if (span->gap_prev != ZR_SPAN_NONE)
		pool->spans[span->gap_prev]->gap_next = span->gap_next;
	else
		class->gaps = span->gap_next;
}

void zr_pool_gap_update(struct zr_pool *pool, uint32_t span_no)
{
	struct zr_class *class = zr_pool_class_at(pool, span_no);
	const struct zr_span *span = pool->spans[span_no];
	const bool has_gap = span->populated_bytes < ZR_SPAN_BYTES;

	zr_assert_held(ZR_RANK_GROW);

	if (has_gap && !span->has_gap)
		gap_add(pool, class, span_no);
	else if (!has_gap && span->has_gap)
		gap_remove(pool, class, span_no);
}

/* spans */

/* The lowest span number that is free, its byte of the table populated. */
static uint32_t number_take(struct zr_pool *pool)
{
	const uint32_t n_used = (uint32_t)atomic_load(&pool->superblock->n_spans);
	const uint32_t grain = pool->arena->grain_bytes;
	uint32_t span_no = pool->number_hint;

	while (span_no < n_used && pool->table[span_no] != 0)
		++span_no;
	pool->number_hint = span_no;
	if (span_no < n_used)
		return span_no;
	if (span_no == pool->n_spans)
		return ZR_SPAN_NONE;

	if (span_no % grain == 0 &&
	    zr_arena_populate(pool->arena, ZR_SPAN_TABLE + span_no, grain) < 0)
		return ZR_SPAN_NONE;
	atomic_store(&pool->superblock->n_spans, span_no + 1);
	return span_no;
}

uint32_t zr_pool_span_add(struct zr_pool *pool, struct zr_class *class)
{
	const unsigned int class_no = (unsigned int)(class - pool->classes);
	struct zr_span *span;
	uint32_t span_no;

	zr_assert_held(ZR_RANK_GROW);

	span_no = number_take(pool);
	if (span_no == ZR_SPAN_NONE)
		return ZR_SPAN_NONE;
	span = zr_span_new(class_no, class->n_cells);
	if (!span)
		return ZR_SPAN_NONE;

	pool->spans[span_no] = span;
	/* Before the first cell can be given: whoever attaches must know what the cells are. */
	atomic_store(&pool->table[span_no], (uint8_t)(class_no + 1));
	++class->n_spans;
	zr_pool_gap_update(pool, span_no);
	return span_no;
}

static void populated_add(struct zr_pool *pool, uint32_t span_no, int64_t n_bytes)
{
	struct zr_span *span = pool->spans[span_no];

	span->populated_bytes = (uint32_t)(span->populated_bytes + n_bytes);
	atomic_fetch_add_explicit(&pool->xspan_bytes, (uint64_t)n_bytes, memory_order_relaxed);
	zr_pool_gap_update(pool, span_no);
}

uint64_t zr_pool_span_drop(struct zr_pool *pool, uint32_t span_no)
{
	struct zr_class *class = zr_pool_class_at(pool, span_no);
	struct zr_span *span = pool->spans[span_no];
	const uint64_t n_bytes = span->populated_bytes;

	zr_assert_held(ZR_RANK_GROW);
	ZR_ASSERT(span->n_live == 0 && span->list == ZR_SPAN_UNLISTED);

	if (n_bytes > 0)
		zr_arena_punch(pool->arena, zr_pool_span_offset(pool, span_no), ZR_SPAN_BYTES);
	ZR_CRASH("shrink");
	if (span->has_gap)
		gap_remove(pool, class, span_no);
	atomic_fetch_sub_explicit(&pool->xspan_bytes, n_bytes, memory_order_relaxed);
	atomic_store(&pool->table[span_no], 0);
	pool->spans[span_no] = NULL;
	pool->number_hint = (uint32_t)zr_min(pool->number_hint, span_no);
	--class->n_spans;
	free(span);
	return n_bytes;
}

/* growing */

/* The first absent range of the span, at most @n_bytes of it. */
static void gap_find(const struct zr_span *span, bool of_pages, uint64_t n_bytes, uint64_t *fromp,
		     uint64_t *top)
{
	uint32_t page;

	*fromp = span->populated_bytes;
	*top = zr_min(ZR_SPAN_BYTES, *fromp + n_bytes);
	if (!of_pages)
		return;

	/* In spans of whole pages a page that is shut is absent. */
	for (page = 0; !zr_span_bit(span->shut, page); ++page)
		;
	*fromp = (uint64_t)page * ZR_PAGE_SIZE;
	while (page < span->n_cells && zr_span_bit(span->shut, page) &&
	       (uint64_t)page * ZR_PAGE_SIZE < *fromp + n_bytes)
		++page;
	*top = (uint64_t)page * ZR_PAGE_SIZE;
}

/* Give the span @n_bytes more, or as much as it can have. Return: 0 or -ENOMEM. */
static int span_populate(struct zr_pool *pool, uint32_t span_no, uint64_t n_bytes)
{
	const struct zr_class *class = zr_pool_class_at(pool, span_no);
	uint64_t from, to;
	int r;

	gap_find(pool->spans[span_no], zr_class_is_of_pages(class),
		 zr_align_up(n_bytes, pool->arena->grain_bytes), &from, &to);
	r = zr_arena_populate(pool->arena, zr_pool_span_offset(pool, span_no) + from, to - from);
	if (r < 0)
		return r;

	ZR_CRASH("grow");
	populated_add(pool, span_no, (int64_t)(to - from));
	zr_pool_open_cells(pool, span_no, zr_class_cells_below(class, from),
			   zr_class_cells_below(class, to));
	return 0;
}

/* Return: 0 or -ENOMEM. */
static int class_populate(struct zr_pool *pool, struct zr_class *class, uint64_t n_bytes)
{
	uint32_t span_no = class->gaps;
	int r;

	if (span_no == ZR_SPAN_NONE)
		span_no = zr_pool_span_add(pool, class);
	if (span_no == ZR_SPAN_NONE)
		return -ENOMEM;

	r = span_populate(pool, span_no, n_bytes);
	if (r < 0 && pool->spans[span_no]->populated_bytes == 0)
		zr_pool_span_drop(pool, span_no);
	return r;
}

int zr_pool_grow_class(struct zr_pool *pool, struct zr_class *class)
{
	const uint32_t ahead_before = ahead_of(class);
	const int64_t grown_before = class->grown_ns;
	uint32_t n_avail, n_steps;
	bool was_short;
	int r = 0;

	zr_assert_held(ZR_RANK_GROW);

	if (class->vacating)
		zr_pool_vacate_cancel(pool, class);
	was_short = atomic_exchange(&class->xshort, false);
	if (was_short || ahead_before == 0 || zr_class_avail(class) < zr_class_ahead(class))
		class_adapt(class, zr_monotonic_ns(), was_short);

	n_steps = ahead_of(class) / STEP_BYTES + 2; /* the last cell of a step may not be whole */
	while ((n_avail = zr_class_avail(class)) < zr_class_ahead(class)) {
		const uint64_t n_bytes = (uint64_t)(zr_class_ahead(class) - n_avail) *
					 class->cell_bytes;

		/* While others take as fast as this gives, there are other classes, too. */
		if (n_steps-- == 0) {
			zr_pool_want(pool, class);
			return 0;
		}
		r = class_populate(pool, class, zr_min(STEP_BYTES, n_bytes));
		if (r < 0)
			break;
		waiters_wake(pool);
	}
	if (r == 0)
		return 0;

	/* Who is refused must not ask for more and more. And a few cells are as good as all. */
	class_set_ahead(class, ahead_before);
	class->grown_ns = grown_before;
	return zr_class_avail(class) > 0 ? 0 : r;
}

int zr_pool_refill(struct zr_pool *pool)
{
	unsigned int word, class_no;
	uint64_t wanted;
	int r = 0, failed;

	/* First: what is wanted from now on wakes whoever calls this again. */
	atomic_store(&pool->xwoken, false);
	for (word = 0; word < ZR_ARRAY_SIZE(pool->xwanted); ++word) {
		wanted = atomic_exchange(&pool->xwanted[word], 0);
		for (; wanted != 0; wanted &= wanted - 1) {
			class_no = word * 64 + (unsigned int)__builtin_ctzll(wanted);
			ZR_GUARD(&pool->grow);
			failed = zr_pool_grow_class(pool, &pool->classes[class_no]);
			if (failed < 0) {
				/* Still wanted, when memory may be there again. */
				atomic_fetch_or(&pool->xwanted[word], UINT64_C(1) << class_no % 64);
				r = failed;
			}
		}
	}
	atomic_store(&pool->xrefused_ns, r < 0 ? zr_monotonic_ns() : 0);
	waiters_wake(pool);
	return r;
}

void zr_pool_refill_if_wanted(struct zr_pool *pool)
{
	if (atomic_load_explicit(&pool->xwoken, memory_order_relaxed))
		(void)zr_pool_refill(pool);
}

/* mapping what is there */

/* The next run of pages with memory, at or above *pagep. In spans of whole pages those that are not
 * shut have it. Return: how many; 0: none. */
static uint32_t pages_there(const struct zr_span *span, uint32_t *pagep)
{
	uint32_t end;

	while (*pagep < span->n_cells && zr_span_bit(span->shut, *pagep))
		++*pagep;
	for (end = *pagep; end < span->n_cells && !zr_span_bit(span->shut, end); ++end)
		;
	return end - *pagep;
}

int zr_pool_fault_in(struct zr_pool *pool, uint32_t span_no, uint64_t *n_bytesp)
{
	const uint64_t offset = zr_pool_span_offset(pool, span_no);
	uint32_t page, n_pages;
	struct zr_span *span;
	int r = 0;

	/* Whoever waits for memory comes first. Then nobody punches. */
	zr_pool_refill_if_wanted(pool);
	ZR_GUARD(&pool->grow);

	span = pool->spans[span_no];
	if (!span)
		return 0;
	if (!zr_class_is_of_pages(zr_pool_class_at(pool, span_no))) {
		r = zr_arena_fault_in(pool->arena, offset, span->populated_bytes);
	} else {
		for (page = 0; r == 0 && (n_pages = pages_there(span, &page)) > 0; page += n_pages)
			r = zr_arena_fault_in(pool->arena, offset + (uint64_t)page * ZR_PAGE_SIZE,
					      (uint64_t)n_pages * ZR_PAGE_SIZE);
	}
	if (r == 0)
		*n_bytesp += span->populated_bytes;
	return r;
}

/* trimming */

/* An empty span that the class can do without. */
static uint32_t empty_take(struct zr_pool *pool, struct zr_class *class)
{
	uint32_t span_no;

	ZR_GUARD(&class->lock);

	span_no = class->first[ZR_SPAN_EMPTY];
	if (span_no == ZR_SPAN_NONE ||
	    zr_class_avail(class) < zr_class_ahead(class) + pool->spans[span_no]->n_avail)
		return ZR_SPAN_NONE;

	zr_pool_shut_cells_locked(pool, span_no, 0, class->n_cells);
	return span_no;
}

/* How many cells of the span, from its start, must stay: its last object, and what the class keeps
 * ahead and does not have elsewhere. */
static uint32_t cells_kept_locked(const struct zr_class *class, const struct zr_span *span)
{
	const uint32_t n_elsewhere = zr_class_avail(class) - span->n_avail;
	const uint32_t n_ahead = zr_class_ahead(class);

	zr_assert_held(ZR_RANK_CLASS);
	return (uint32_t)zr_max(zr_span_top(span),
				span->n_live + n_ahead - zr_min(n_ahead, n_elsewhere));
}

uint64_t zr_pool_trim_top(struct zr_pool *pool, uint32_t span_no)
{
	struct zr_class *class = zr_pool_class_at(pool, span_no);
	struct zr_span *span = pool->spans[span_no];
	uint64_t keep_bytes, n_bytes;

	zr_assert_held(ZR_RANK_GROW);

	{
		ZR_GUARD(&class->lock);

		keep_bytes =
			zr_align_up((uint64_t)cells_kept_locked(class, span) * class->cell_bytes,
				    pool->arena->grain_bytes);
		if (keep_bytes >= span->populated_bytes)
			return 0;
		zr_pool_shut_cells_locked(pool, span_no, zr_class_cells_below(class, keep_bytes),
					  span->n_cells);
	}

	n_bytes = span->populated_bytes - keep_bytes;
	zr_arena_punch(pool->arena, zr_pool_span_offset(pool, span_no) + keep_bytes, n_bytes);
	populated_add(pool, span_no, -(int64_t)n_bytes);
	return n_bytes;
}

/* Available pages next to each other, whole grains of them; they are shut then. Return: how many,
 * from *pagep on. */
static uint32_t pages_take_locked(struct zr_pool *pool, uint32_t span_no, uint32_t n_most,
				  uint32_t *pagep)
{
	const struct zr_span *span = pool->spans[span_no];
	const uint32_t step = pool->arena->grain_bytes / ZR_PAGE_SIZE;
	uint32_t page, n = 0, i;

	for (page = 0; page < span->n_cells && n + step <= n_most; page += step) {
		for (i = 0; i < step && !zr_span_bit(span->live, page + i) &&
			    !zr_span_bit(span->shut, page + i);
		     ++i)
			;
		if (i == step)
			n += step;
		else if (n > 0)
			break;
		if (n == step)
			*pagep = page;
	}
	if (n > 0)
		zr_pool_shut_cells_locked(pool, span_no, *pagep, *pagep + n);
	return n;
}

/* The span with the least in it that has a run of free pages to give, which are shut then. */
static uint32_t pages_find_locked(struct zr_pool *pool, struct zr_class *class, uint32_t n_most,
				  uint32_t *pagep, uint32_t *n_pagesp)
{
	enum zr_span_list list;
	uint32_t span_no, n;

	for (list = ZR_SPAN_EMPTY; list != ZR_SPAN_UNLISTED; --list) {
		for (span_no = class->last[list], n = 0; span_no != ZR_SPAN_NONE && n < LOOK_MAX;
		     span_no = pool->spans[span_no]->prev, ++n) {
			*n_pagesp = pages_take_locked(pool, span_no, n_most, pagep);
			if (*n_pagesp > 0)
				return span_no;
		}
	}
	return ZR_SPAN_NONE;
}

/* One run of free pages goes. Return: bytes; 0 if the class can do without none. */
static uint64_t pages_trim(struct zr_pool *pool, struct zr_class *class)
{
	uint32_t span_no, page = 0, n_pages = 0;
	uint64_t avail_bytes, n_bytes;

	{
		ZR_GUARD(&class->lock);

		avail_bytes = (uint64_t)zr_class_avail(class) * ZR_PAGE_SIZE;
		if (avail_bytes < ahead_of(class) + pool->arena->grain_bytes)
			return 0;
		span_no = pages_find_locked(pool, class,
					    (uint32_t)((avail_bytes - ahead_of(class)) /
						       ZR_PAGE_SIZE),
					    &page, &n_pages);
	}
	if (span_no == ZR_SPAN_NONE)
		return 0;

	n_bytes = (uint64_t)n_pages * ZR_PAGE_SIZE;
	zr_arena_punch(pool->arena,
		       zr_pool_span_offset(pool, span_no) + (uint64_t)page * ZR_PAGE_SIZE, n_bytes);
	populated_add(pool, span_no, -(int64_t)n_bytes);
	return n_bytes;
}

/* The span whose end may go: one that ends early already, or that nothing is in. */
static uint32_t class_end_span(struct zr_class *class)
{
	ZR_GUARD(&class->lock);
	return class->gaps != ZR_SPAN_NONE ? class->gaps : class->first[ZR_SPAN_EMPTY];
}

static uint64_t end_trim(struct zr_pool *pool, struct zr_class *class)
{
	const uint32_t span_no = class_end_span(class);

	return span_no == ZR_SPAN_NONE ? 0 : zr_pool_trim_top(pool, span_no);
}

/* One step of it. Return: bytes that went. */
static uint64_t class_trim(struct zr_pool *pool, struct zr_class *class)
{
	uint32_t span_no;

	zr_assert_held(ZR_RANK_GROW);

	if (class->n_spans == 0 || class->n_victims > 0)
		return 0;
	span_no = empty_take(pool, class);
	if (span_no != ZR_SPAN_NONE)
		return zr_pool_span_drop(pool, span_no);
	return zr_class_is_of_pages(class) ? pages_trim(pool, class) : end_trim(pool, class);
}

static void class_calm_down(struct zr_pool *pool, struct zr_class *class, int64_t quiet_ns)
{
	ZR_GUARD(&pool->grow);
	if (class->n_spans > 0 && zr_monotonic_ns() - class->grown_ns >= quiet_ns)
		class_set_ahead(class, class_is_unused(class) ? 0 : ahead_min(class));
}

uint64_t zr_pool_trim(struct zr_pool *pool, int64_t quiet_ns)
{
	uint64_t n_bytes = 0, n_more;
	unsigned int i;

	for (i = 0; i < ZR_POOL_CLASSES; ++i) {
		class_calm_down(pool, &pool->classes[i], quiet_ns);
		do {
			/* Giving back can wait, and there may be much of it. */
			zr_pool_refill_if_wanted(pool);
			ZR_GUARD(&pool->grow);
			n_more = class_trim(pool, &pool->classes[i]);
			n_bytes += n_more;
		} while (n_more > 0);
	}
	return n_bytes;
}
