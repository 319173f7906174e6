/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Changes of pages in the background: moving, recompression
 *
 * Moving copies under the page's stripe, which is held no longer than a read of the page would.
 * What takes longer works without a lock on a slot that it marked pending (slot.h says why).
 */

#include "pages.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "crash.h"
#include "pages-parts.h"

/* moving */

unsigned int zr_pages_find_vacated(struct zr_pages *pages, uint64_t leaf_no,
				   uint16_t in_leaf[ZR_LEAF_SLOTS])
{
	const uint64_t first = leaf_no << ZR_LEAF_SHIFT;
	const _Atomic zr_slot *slots;
	unsigned int i, n = 0;

	/* Any stripe of the leaf keeps it there. */
	ZR_GUARD_SHARED(zr_pages_stripe(pages, first));

	slots = zr_slots_find(&pages->slots, first);
	if (!slots)
		return 0;

	for (i = 0; i < ZR_LEAF_SLOTS; ++i) {
		const zr_slot slot = atomic_load_explicit(&slots[i], memory_order_relaxed);

		if (zr_slot_bytes(slot) > 0 &&
		    zr_pool_is_vacated(&pages->engine->pool, zr_slot_position(slot)))
			in_leaf[n++] = (uint16_t)i;
	}
	return n;
}

static int move_locked(struct zr_pages *pages, _Atomic zr_slot *slotp, zr_slot slot)
{
	struct zr_pool *pool = &pages->engine->pool;
	const uint32_t n_bytes = zr_slot_bytes(slot);
	zr_position position;
	int r;

	zr_assert_held(ZR_RANK_STRIPE);

	r = zr_pool_alloc_again(pool, zr_slot_position(slot), n_bytes, &position);
	if (r < 0)
		return r;

	memcpy(zr_pool_at(pool, position), zr_pool_at(pool, zr_slot_position(slot)), n_bytes);
	ZR_CRASH("move");
	atomic_store_explicit(slotp, zr_slot_moved(slot, position), memory_order_release);
	return 1;
}

int zr_page_move(struct zr_pages *pages, uint64_t page_no)
{
	_Atomic zr_slot *slotp;
	zr_slot slot;
	int r = 0;

	{
		ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

		slotp = zr_slots_find(&pages->slots, page_no);
		slot = zr_pages_slot(slotp);
		if (zr_slot_bytes(slot) > 0 &&
		    zr_pool_is_vacated(&pages->engine->pool, zr_slot_position(slot)))
			r = move_locked(pages, slotp, slot);
	}

	if (r > 0)
		zr_pages_retire_slot(pages, slot);
	return r;
}

/* idle marks */

void zr_pages_mark_leaf_idle(struct zr_pages *pages, uint64_t leaf_no)
{
	struct zr_stripes *stripes = &pages->engine->stripes;
	_Atomic zr_slot *slots;
	unsigned int i;

	zr_stripes_lock_leaf(stripes, pages->disk_id, leaf_no);
	slots = zr_slots_find(&pages->slots, leaf_no << ZR_LEAF_SHIFT);
	for (i = 0; slots && i < ZR_LEAF_SLOTS; ++i) {
		const zr_slot slot = zr_pages_slot(&slots[i]);

		if (zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT && !(slot & ZR_SLOT_IDLE))
			atomic_store_explicit(&slots[i], slot | ZR_SLOT_IDLE, memory_order_release);
	}
	zr_stripes_unlock_leaf(stripes, pages->disk_id, leaf_no);
}

/* changes that take longer. Marks come and go meanwhile, and say nothing of the object */

int zr_page_change_begin(struct zr_pages *pages, uint64_t page_no, zr_slot *slotp)
{
	_Atomic zr_slot *at;
	zr_slot slot;

	ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

	at = zr_slots_find(&pages->slots, page_no);
	slot = zr_pages_slot(at);
	if (zr_slot_kind(slot) != ZR_SLOT_KIND_OBJECT)
		return ZR_PAGE_E_AS_IT_WAS;

	/* To change it is to use it, as with the kernel's zram. */
	*slotp = (slot & ~ZR_SLOT_IDLE) | ZR_SLOT_PENDING;
	atomic_store_explicit(at, *slotp, memory_order_relaxed);
	return 0;
}

int zr_page_change_end(struct zr_pages *pages, uint64_t page_no, zr_slot slot, zr_slot fresh)
{
	_Atomic zr_slot *at;
	zr_slot stale;
	int r;

	ZR_ASSERT(slot & ZR_SLOT_PENDING);

	{
		ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

		at = zr_slots_find(&pages->slots, page_no);
		if (!zr_slot_is_still(zr_pages_slot(at), slot))
			return ZR_PAGE_E_AS_IT_WAS;
		/* The leaf is there and the limit yields: this does not fail. */
		r = zr_pages_publish_locked(pages, page_no, fresh, ZR_LIMIT_YIELDS, &stale);
		ZR_ASSERT(r == 0);
		if (r < 0)
			return r;
	}

	zr_pages_retire_slot(pages, stale);
	return 0;
}

void zr_page_change_drop(struct zr_pages *pages, uint64_t page_no, zr_slot slot)
{
	_Atomic zr_slot *at;
	zr_slot now;

	ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

	at = zr_slots_find(&pages->slots, page_no);
	now = zr_pages_slot(at);
	if (zr_slot_is_still(now, slot))
		atomic_store_explicit(at, now & ~ZR_SLOT_PENDING, memory_order_relaxed);
}

/* The page as it was when its change began, into ctx->page. */
static int pending_read(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no, zr_slot slot)
{
	ZR_GUARD_SHARED(zr_pages_stripe(pages, page_no));

	if (!zr_slot_is_still(zr_pages_slot(zr_slots_find(&pages->slots, page_no)), slot))
		return ZR_PAGE_E_AS_IT_WAS;
	return zr_pages_decode(pages, ctx, slot, ctx->page);
}

/* A slot for ctx->page by another codec, if its cell is smaller than that of @slot. */
static int encode_smaller(struct zr_pages *pages, struct zr_ctx *ctx, zr_slot slot,
			  unsigned int codec_no, zr_slot *freshp)
{
	const uint32_t limit = zr_pool_cell_bytes(zr_slot_bytes(slot)) - ZR_CELL_UNIT;
	zr_position position;
	size_t n_bytes;
	int r;

	if (limit == 0)
		return ZR_PAGE_E_AS_IT_WAS;

	r = zr_codec_compress(ctx->workspace, &pages->codecs[codec_no], ctx->page, ctx->object,
			      zr_min(limit, ZR_OBJECT_USEFUL_MAX), &n_bytes);
	if (r == ZR_CODEC_E_NO_GAIN)
		return ZR_PAGE_E_AS_IT_WAS;

	r = zr_pages_object_new(pages, ctx->object, (uint32_t)n_bytes, &position);
	if (r == 0)
		*freshp = zr_slot_object(position, (uint32_t)n_bytes, codec_no);
	return r;
}

int zr_page_recompress(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
		       unsigned int codec_no)
{
	zr_slot slot, fresh = ZR_SLOT_HOLE;
	int r;

	r = zr_page_change_begin(pages, page_no, &slot);
	if (r != 0)
		return r;

	r = pending_read(pages, ctx, page_no, slot);
	if (r == 0)
		r = encode_smaller(pages, ctx, slot, codec_no, &fresh);
	if (r == 0)
		r = zr_page_change_end(pages, page_no, slot, fresh);
	if (r == 0)
		return 0;

	zr_pages_retire_slot(pages, fresh);
	zr_page_change_drop(pages, page_no, slot);
	return r;
}
