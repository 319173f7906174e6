/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The figures of a disk, from its slots: to know them after a death, and to check them
 */

#include "pages.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "pages-parts.h"

struct derivation {
	struct zr_pages *pages;
	struct zr_tally tally;
};

static int derive_node(void *context, zr_position position)
{
	struct derivation *derivation = context;

	++derivation->tally.n_nodes;
	return zr_pool_derive_mark(&derivation->pages->engine->pool, position, ZR_PAGE_SIZE);
}

static int derive_age_node(void *context, zr_position position)
{
	struct derivation *derivation = context;

	++derivation->tally.n_age_nodes;
	return zr_pool_derive_mark(&derivation->pages->engine->pool, position, ZR_PAGE_SIZE);
}

/* Any age is one. */
static int pass_age(void *context, uint64_t word_no, uint64_t ages)
{
	return 0;
}

static int derive_slot(void *context, uint64_t page_no, zr_slot slot)
{
	struct derivation *derivation = context;
	struct zr_engine *engine = derivation->pages->engine;
	struct zr_backing *backing = derivation->pages->backing;
	const uint32_t n_bytes = zr_slot_bytes(slot);

	if (!zr_slot_is_sound(slot))
		return -EINVAL;
	if (zr_slot_kind(slot) == ZR_SLOT_KIND_WRITTEN_BACK &&
	    (!backing || zr_backing_derive_mark(backing, slot) < 0))
		return -EINVAL;

	zr_pages_tally_slot(derivation->pages, &derivation->tally, slot, 1);
	return n_bytes == 0 ? 0
			    : zr_pool_derive_mark(&engine->pool, zr_slot_position(slot), n_bytes);
}

int zr_pages_derive(struct zr_pages *pages)
{
	struct derivation derivation = { .pages = pages };
	int64_t used;
	int r;

	r = zr_slots_walk(&pages->slots, derive_node, derive_slot, &derivation);
	if (r == 0)
		r = zr_slots_walk(&pages->ages, derive_age_node, pass_age, &derivation);
	if (r < 0)
		return r;

	used = zr_pages_tally_used(&derivation.tally);
	zr_pages_tally_apply(pages, &derivation.tally);
	atomic_store(&pages->slots.xn_nodes, derivation.tally.n_nodes);
	atomic_store(&pages->ages.xn_nodes, derivation.tally.n_age_nodes);
	atomic_store(&pages->xused_bytes, used);
	(void)zr_pages_peak(pages, (uint64_t)used);
	return 0;
}

static int count_node(void *context, zr_position position)
{
	struct derivation *derivation = context;

	++derivation->tally.n_nodes;
	return 0;
}

static int count_age_node(void *context, zr_position position)
{
	struct derivation *derivation = context;

	++derivation->tally.n_age_nodes;
	return 0;
}

static int count_slot(void *context, uint64_t page_no, zr_slot slot)
{
	struct derivation *derivation = context;

	ZR_ASSERT(zr_slot_is_sound(slot));
	zr_pages_tally_slot(derivation->pages, &derivation->tally, slot, 1);
	return 0;
}

void zr_pages_validate(struct zr_pages *pages)
{
	struct derivation derivation = { .pages = pages };
	struct zr_tally kept;

	(void)zr_slots_walk(&pages->slots, count_node, count_slot, &derivation);
	(void)zr_slots_walk(&pages->ages, count_age_node, pass_age, &derivation);
	zr_pages_tally(pages, &kept);
	ZR_ASSERT(memcmp(&kept, &derivation.tally, sizeof(kept)) == 0);
	ZR_ASSERT(atomic_load(&pages->xused_bytes) == zr_pages_tally_used(&kept));
}

struct frames {
	struct zr_pages *pages;
	uint16_t *counts;
};

static int frame_node(void *context, zr_position position)
{
	return 0;
}

static int frame_slot(void *context, uint64_t page_no, zr_slot slot)
{
	const struct frames *frames = context;

	if (zr_slot_kind(slot) == ZR_SLOT_KIND_WRITTEN_BACK)
		zr_backing_count(frames->pages->backing, slot, frames->counts);
	return 0;
}

void zr_pages_count_frames(struct zr_pages *pages, uint16_t *counts)
{
	struct frames frames = { pages, counts };

	(void)zr_slots_walk(&pages->slots, frame_node, frame_slot, &frames);
}
