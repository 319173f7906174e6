/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Memory of the store: the shelf, locking, what there is, and whether it agrees
 */

#include "store.h"

#include <errno.h>
#include <stdatomic.h>

#include "crash.h"
#include "store-parts.h"

/* Mapped between two looks at whether that is still wanted; and what one page table maps, or less. */
#define PIECE_BYTES (UINT64_C(2) << 20)

/* the shelf */

uint64_t zr_store_shelf_bytes(const struct zr_store *store)
{
	return atomic_load(&store->superblock->shelf_bytes);
}

static int shelf_grow(struct zr_store *store, uint64_t n_bytes)
{
	struct zr_arena *arena = &store->engine.arena;
	const uint64_t wanted = zr_align_up(n_bytes, arena->grain_bytes);
	uint64_t have;
	int r;

	ZR_GUARD(&store->engine.pool.grow);

	have = zr_store_shelf_bytes(store);
	if (wanted <= have)
		return 0;
	r = zr_arena_populate(arena, ZR_SHELF_START + have, wanted - have);
	if (r < 0)
		return r;

	ZR_CRASH("shelf");
	atomic_store(&store->superblock->shelf_bytes, wanted);
	return 0;
}

void *zr_store_shelf(struct zr_store *store, uint64_t n_bytes)
{
	if (n_bytes > ZR_SHELF_BYTES_MAX)
		return NULL;
	/* Before it is loaded somebody else's store may be growing as well. */
	if (n_bytes > zr_store_shelf_bytes(store) &&
	    (!store->loaded || shelf_grow(store, n_bytes) < 0))
		return NULL;
	return zr_arena_at(&store->engine.arena, ZR_SHELF_START);
}

/* offsets */

uint64_t zr_store_reach(const struct zr_store *store)
{
	const struct zr_superblock *superblock = store->superblock;

	if (superblock->store_bytes >= superblock->wanted_bytes)
		return UINT64_MAX;
	return (uint64_t)store->engine.pool.n_spans << ZR_SPAN_SHIFT;
}

/* locking */

int zr_store_lock(struct zr_store *store)
{
	return zr_arena_lock(&store->engine.arena);
}

bool zr_store_is_swappable(const struct zr_store *store)
{
	return store->superblock->noswap == 0;
}

/* What is being populated here: how far it is. */
struct populating {
	const struct zr_stop *stop;
	int64_t asked_ns;
	uint64_t n_bytes;
};

static int range_fault_in(struct zr_store *store, struct populating *populating, uint64_t offset,
			  uint64_t n_bytes)
{
	uint64_t n_piece;
	int r;

	for (; n_bytes > 0; offset += n_piece, n_bytes -= n_piece) {
		if (zr_stop_is_wanted_at(populating->stop, zr_monotonic_ns(),
					 &populating->asked_ns))
			return -EINTR;
		n_piece = zr_min(n_bytes, PIECE_BYTES);
		r = zr_arena_fault_in(&store->engine.arena, offset, n_piece);
		if (r < 0)
			return r;
		populating->n_bytes += n_piece;
	}
	return 0;
}

/* What the kernel says there is, for whoever knows nothing of it yet. What another process takes
 * back since it said so comes again, and goes when the store is loaded: so it is asked anew for each
 * piece. */
static int mapped_populate(struct zr_store *store, struct populating *populating)
{
	uint64_t start, end, at = 0;
	int r = 0;

	while (r == 0 && zr_arena_next_data(&store->engine.arena, at, &start, &end)) {
		at = zr_min(end, start + PIECE_BYTES);
		r = range_fault_in(store, populating, start, at - start);
	}
	return r;
}

/* What is known to be there: first what never goes, then the spans, one by one. */
static int loaded_populate(struct zr_store *store, struct populating *populating)
{
	struct zr_pool *pool = &store->engine.pool;
	const uint64_t n_spans = atomic_load(&store->superblock->n_spans);
	uint32_t span_no;
	int r;

	r = range_fault_in(store, populating, 0, zr_store_directory_end(store));
	if (r == 0)
		r = range_fault_in(store, populating, ZR_SHELF_START, zr_store_shelf_bytes(store));
	if (r == 0)
		r = range_fault_in(store, populating, ZR_SPAN_TABLE,
				   zr_pool_usage(pool).table_bytes);
	for (span_no = 0; r == 0 && span_no < n_spans; ++span_no) {
		if (zr_stop_is_wanted_at(populating->stop, zr_monotonic_ns(),
					 &populating->asked_ns))
			return -EINTR;
		r = zr_pool_fault_in(pool, span_no, &populating->n_bytes);
	}
	return r;
}

int zr_store_populate(struct zr_store *store, const struct zr_stop *stop, uint64_t *n_bytesp)
{
	struct populating populating = { .stop = stop };
	int r;

	r = store->loaded ? loaded_populate(store, &populating)
			  : mapped_populate(store, &populating);
	if (r < 0)
		return r;

	if (n_bytesp)
		*n_bytesp = populating.n_bytes;
	return 0;
}

void zr_store_follow(struct zr_store *store)
{
	struct zr_arena *arena = &store->engine.arena;
	uint64_t at = 0;

	while (zr_arena_next_data(arena, at, &at, NULL)) {
		(void)zr_arena_fault_in(arena, at, arena->grain_bytes);
		at = zr_align_up(at + 1, PIECE_BYTES);
	}
}

/* limits and figures */

void zr_store_set_mem_limit(struct zr_store *store, uint64_t limit_bytes)
{
	zr_engine_set_mem_limit(&store->engine, limit_bytes);
}

uint64_t zr_store_mem_limit(const struct zr_store *store)
{
	return atomic_load(&store->engine.xlimit_bytes);
}

void zr_store_usage_locked(const struct zr_store *store, const struct zr_pool_usage *pool,
			   struct zr_store_usage *usage)
{
	const struct zr_disk *disk;

	usage->memory_bytes = zr_arena_memory(&store->engine.arena);
	usage->reserve_bytes = pool->reserve_bytes;
	usage->span_bytes = pool->span_bytes;
	usage->wasted_bytes = pool->wasted_bytes;
	usage->span_table_bytes = pool->table_bytes;
	usage->shelf_bytes = zr_store_shelf_bytes(store);
	usage->pages_compacted = atomic_load(&store->superblock->pages_compacted);
	usage->n_disks = 0;
	for (disk = store->disks; disk; disk = disk->next)
		++usage->n_disks;
}

void zr_store_usage(struct zr_store *store, struct zr_store_usage *usage)
{
	const struct zr_pool_usage pool = zr_pool_usage(&store->engine.pool);

	ZR_GUARD_SHARED(&store->dir);
	zr_store_usage_locked(store, &pool, usage);
}

void zr_store_validate(struct zr_store *store)
{
	const struct zr_pool_usage pool = zr_pool_usage(&store->engine.pool);
	const uint64_t live_bytes = zr_pool_validate(&store->engine.pool);
	uint64_t used_bytes = 0;
	struct zr_disk *disk;

	for (disk = store->disks; disk; disk = disk->next) {
		zr_pages_validate(&disk->pages);
		used_bytes += (uint64_t)atomic_load(&disk->pages.xused_bytes);
	}

	zr_store_backings_validate(store);

	/* The sum is kept for the limit alone. */
	ZR_ASSERT(atomic_load(&store->superblock->mem_limit_bytes) == zr_store_mem_limit(store));
	ZR_ASSERT(zr_store_mem_limit(store) == 0 ||
		  (uint64_t)atomic_load(&store->engine.xused_bytes) == used_bytes);

	/* Every cell is some slot's or some tree's: else it was leaked. */
	ZR_ASSERT(live_bytes == used_bytes && live_bytes == pool.live_bytes - pool.borrowed_bytes);

	/* Nothing is populated that is not accounted for. */
	ZR_ASSERT(zr_arena_memory(&store->engine.arena) ==
		  zr_store_directory_end(store) + zr_store_shelf_bytes(store) + pool.table_bytes +
			  pool.span_bytes);
}
