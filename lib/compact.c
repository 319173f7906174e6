/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "compact.h"

#include <errno.h>

/* The slots looked at in one go, of which most may be absent: a stripe is held meanwhile. */
#define WINDOW_LEAVES UINT64_C(65536)
#define LEAVES_MAX    (ZR_DISK_PAGES_MAX >> ZR_LEAF_SHIFT)

static void pass_begin_locked(struct zr_engine *engine)
{
	struct zr_compaction *compaction = &engine->compaction;

	zr_assert_held(ZR_RANK_COMPACT);

	compaction->n_left = zr_pool_vacate_begin(&engine->pool);
	compaction->under_way = true;
	compaction->leaf_no = 0;
	ZR_GUARD(&compaction->list);
	compaction->at = compaction->first;
}

static void pages_next_locked(struct zr_compaction *compaction)
{
	zr_assert_held(ZR_RANK_COMPACT);

	compaction->leaf_no = 0;
	ZR_GUARD(&compaction->list);
	compaction->at = compaction->at->next;
}

/* Return: false when everything was looked at. */
static bool leaf_find_locked(struct zr_engine *engine)
{
	struct zr_compaction *compaction = &engine->compaction;

	while (compaction->at) {
		const uint64_t end = zr_min(LEAVES_MAX, compaction->leaf_no + WINDOW_LEAVES);

		if (compaction->leaf_no >= LEAVES_MAX) {
			pages_next_locked(compaction);
			continue;
		}
		/* Any stripe keeps inner nodes there. */
		ZR_GUARD_SHARED(&engine->stripes.locks[0]);
		if (zr_slots_next_leaf(&compaction->at->slots, compaction->leaf_no, end,
				       &compaction->leaf_no))
			return true;
		compaction->leaf_no = end;
	}
	return false;
}

static void leaf_move_locked(struct zr_engine *engine)
{
	struct zr_compaction *compaction = &engine->compaction;
	const uint64_t first = compaction->leaf_no << ZR_LEAF_SHIFT;
	uint16_t in_leaf[ZR_LEAF_SLOTS];
	unsigned int i, n;

	n = zr_pages_find_vacated(compaction->at, compaction->leaf_no, in_leaf);
	for (i = 0; i < n; ++i) {
		if (zr_page_move(compaction->at, first + in_leaf[i]) <= 0)
			continue;
		atomic_fetch_add_explicit(&compaction->xmoved, 1, memory_order_relaxed);
		if (compaction->n_left > 0)
			--compaction->n_left;
	}
}

/* Return: is there more to do? */
static bool step_locked(struct zr_engine *engine, uint64_t *n_bytesp)
{
	struct zr_compaction *compaction = &engine->compaction;

	if (!compaction->under_way) {
		pass_begin_locked(engine);
		return true;
	}

	if (compaction->n_left > 0) {
		if (leaf_find_locked(engine)) {
			leaf_move_locked(engine);
			++compaction->leaf_no;
			return true;
		}
		compaction->n_left = 0;
	}

	compaction->under_way = zr_pool_vacate_end(&engine->pool, n_bytesp);
	return compaction->under_way;
}

bool zr_compact_step(struct zr_engine *engine)
{
	uint64_t n_bytes = 0;

	ZR_GUARD(&engine->compaction.lock);
	return step_locked(engine, &n_bytes);
}

/* The rest of what is under way, or a pass. What went is added to *n_bytesp. */
static int run(struct zr_engine *engine, const struct zr_stop *stop, int64_t *asked_nsp,
	       uint64_t *n_bytesp)
{
	bool more = true;

	while (more) {
		if (zr_stop_is_wanted_at(stop, zr_monotonic_ns(), asked_nsp))
			return -EINTR;
		ZR_GUARD(&engine->compaction.lock);
		more = step_locked(engine, n_bytesp);
	}
	return 0;
}

bool zr_compact_is_under_way(struct zr_engine *engine)
{
	ZR_GUARD(&engine->compaction.lock);
	return engine->compaction.under_way;
}

int zr_compact(struct zr_engine *engine, const struct zr_stop *stop, uint64_t *n_bytesp)
{
	uint64_t n_bytes = 0;
	int64_t asked_ns = 0;
	int r = 0;

	if (zr_compact_is_under_way(engine))
		r = run(engine, stop, &asked_ns, &n_bytes);
	if (r < 0)
		return r;
	n_bytes += zr_pool_trim(&engine->pool, 0);
	r = run(engine, stop, &asked_ns, &n_bytes);
	if (r < 0)
		return r;

	/* Where objects are packed, what was kept ahead elsewhere may be too much. */
	n_bytes += zr_pool_trim(&engine->pool, 0);
	if (n_bytesp)
		*n_bytesp = n_bytes;
	return 0;
}
