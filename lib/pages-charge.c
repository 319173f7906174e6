/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is used, and the limits. Whoever charges has a stripe, so that with all of them nobody does
 */

#include "pages.h"

#include <errno.h>
#include <stdatomic.h>

#include "pages-parts.h"

void zr_pages_uncharge(struct zr_pages *pages, int64_t n_bytes)
{
	struct zr_engine *engine = pages->engine;

	zr_assert_held(ZR_RANK_STRIPE);

	atomic_fetch_sub_explicit(&pages->xused_bytes, n_bytes, memory_order_relaxed);
	if (atomic_load_explicit(&engine->xlimit_bytes, memory_order_relaxed) != 0)
		atomic_fetch_sub_explicit(&engine->xused_bytes, n_bytes, memory_order_relaxed);
}

/* Return: -ENOSPC where @n_bytes more would be more than the limit; 0: there is none. */
static int use(_Atomic int64_t *xused_bytes, int64_t n_bytes, uint64_t limit_bytes, int64_t *usedp)
{
	int64_t used = atomic_load_explicit(xused_bytes, memory_order_relaxed);

	do {
		if (limit_bytes != 0 && (uint64_t)(used + n_bytes) > limit_bytes)
			return -ENOSPC;
	} while (!atomic_compare_exchange_weak_explicit(xused_bytes, &used, used + n_bytes,
							memory_order_relaxed,
							memory_order_relaxed));
	*usedp = used + n_bytes;
	return 0;
}

/* Is it time for pages to go to the file, before the limit is reached? Of all disks together nobody
 * says from where on. */
static bool is_to_spill(struct zr_pages *pages, int64_t used)
{
	const uint64_t from = atomic_load_explicit(&pages->xspill_wake_bytes, memory_order_relaxed);

	return from != 0 && (uint64_t)used > from;
}

int zr_pages_charge(struct zr_pages *pages, int64_t n_bytes, enum zr_limit limit)
{
	struct zr_engine *engine = pages->engine;
	const uint64_t all_bytes = atomic_load_explicit(&engine->xlimit_bytes,
							memory_order_relaxed);
	const uint64_t own_bytes = atomic_load_explicit(&pages->xlimit_bytes, memory_order_relaxed);
	const bool holds = n_bytes > 0 && limit == ZR_LIMIT_HOLDS;
	int64_t used, all_used;

	zr_assert_held(ZR_RANK_STRIPE);

	if (use(&pages->xused_bytes, n_bytes, holds ? own_bytes : 0, &used) < 0)
		return -ENOSPC;
	if (all_bytes != 0 &&
	    use(&engine->xused_bytes, n_bytes, holds ? all_bytes : 0, &all_used) < 0) {
		atomic_fetch_sub_explicit(&pages->xused_bytes, n_bytes, memory_order_relaxed);
		return -ENOSPC;
	}

	if (n_bytes > 0)
		(void)zr_pages_peak(pages, (uint64_t)used);
	if (n_bytes > 0 && is_to_spill(pages, used))
		zr_room_want(&engine->room);
	return 0;
}

/* Without a limit the sum is not kept: two threads that write would wait for it. */
void zr_engine_set_mem_limit(struct zr_engine *engine, uint64_t limit_bytes)
{
	const struct zr_pages *pages;
	int64_t used = 0;

	ZR_GUARD(&engine->compaction.list);
	zr_stripes_lock_all(&engine->stripes);
	for (pages = engine->compaction.first; pages; pages = pages->next)
		used += atomic_load_explicit(&pages->xused_bytes, memory_order_relaxed);
	atomic_store(&engine->xused_bytes, used);
	atomic_store(&engine->xlimit_bytes, limit_bytes);
	atomic_store(&engine->pool.superblock->mem_limit_bytes, limit_bytes);
	zr_stripes_unlock_all(&engine->stripes);
}
