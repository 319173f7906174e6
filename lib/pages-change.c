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

/* Of a slot that is an object. To change it is to use it, as with the kernel's zram; but no object is
 * younger for it. */
static zr_slot begin_locked(_Atomic zr_slot *at)
{
	const zr_slot slot = (zr_pages_slot(at) & ~ZR_SLOT_IDLE) | ZR_SLOT_PENDING;

	zr_assert_held(ZR_RANK_STRIPE);

	atomic_store_explicit(at, slot, memory_order_relaxed);
	return slot;
}

int zr_page_change_begin(struct zr_pages *pages, uint64_t page_no, zr_slot *slotp)
{
	_Atomic zr_slot *at;

	ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

	at = zr_slots_find(&pages->slots, page_no);
	if (zr_slot_kind(zr_pages_slot(at)) != ZR_SLOT_KIND_OBJECT)
		return ZR_PAGE_E_AS_IT_WAS;

	*slotp = begin_locked(at);
	return 0;
}

int zr_page_change_end(struct zr_pages *pages, uint64_t page_no, zr_slot slot, zr_slot fresh)
{
	_Atomic zr_slot *at;
	zr_slot stale, now;
	int r;

	ZR_ASSERT(slot & ZR_SLOT_PENDING);

	{
		ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

		at = zr_slots_find(&pages->slots, page_no);
		now = zr_pages_slot(at);
		if (!zr_slot_is_still(now, slot))
			return ZR_PAGE_E_AS_IT_WAS;
		if (zr_slot_kind(fresh) == ZR_SLOT_KIND_OBJECT)
			fresh |= now & ZR_SLOT_UNUSED;
		/* The leaf is there and the limit yields: this does not fail. */
		r = zr_pages_publish_locked(pages, page_no, fresh, ZR_LIMIT_YIELDS, &stale);
		ZR_ASSERT(r == 0);
		if (r < 0)
			return r;
	}

	zr_pages_retire_slot(pages, stale);
	return 0;
}

bool zr_page_change_drop(struct zr_pages *pages, uint64_t page_no, zr_slot slot, zr_slot mark)
{
	_Atomic zr_slot *at;
	zr_slot now;

	ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

	at = zr_slots_find(&pages->slots, page_no);
	now = zr_pages_slot(at);
	if (!zr_slot_is_still(now, slot))
		return false;
	atomic_store_explicit(at, (now & ~ZR_SLOT_PENDING) | mark, memory_order_relaxed);
	return true;
}

/* recompression */

enum {
	E_CHANGED = 2, /* by somebody else, while it was being compressed */
};

/* What is too short, compressed with this codec or one above it, or beyond all of them, is left
 * alone: its mark stays, too. */
static int recompress_begin(struct zr_pages *pages, uint64_t page_no, unsigned int codec_no,
			    uint32_t threshold, zr_slot *slotp)
{
	_Atomic zr_slot *at;
	zr_slot slot;

	ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

	at = zr_slots_find(&pages->slots, page_no);
	slot = zr_pages_slot(at);
	if (zr_slot_kind(slot) != ZR_SLOT_KIND_OBJECT || (slot & ZR_SLOT_INCOMPRESSIBLE) ||
	    zr_slot_codec(slot) >= codec_no || zr_slot_bytes(slot) < threshold)
		return ZR_PAGE_E_AS_IT_WAS;

	*slotp = begin_locked(at);
	return 0;
}

/* The page as it was when its change began, into ctx->page. Return: 0, E_CHANGED or -EIO. */
static int pending_read(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no, zr_slot slot)
{
	ZR_GUARD_SHARED(zr_pages_stripe(pages, page_no));

	if (!zr_slot_is_still(zr_pages_slot(zr_slots_find(&pages->slots, page_no)), slot))
		return E_CHANGED;
	return zr_pages_decode(pages, ctx, slot, ctx->page);
}

/* Compress ctx->page into ctx->object, to a smaller cell than that of @slot. Return: 0 or
 * ZR_PAGE_E_AS_IT_WAS. */
static int compress_smaller(struct zr_pages *pages, struct zr_ctx *ctx, zr_slot slot,
			    unsigned int codec_no, size_t *n_bytesp)
{
	const uint32_t limit = zr_pool_cell_bytes(zr_slot_bytes(slot)) - ZR_CELL_UNIT;
	int r;

	r = zr_codec_compress(ctx->workspace, &pages->codecs[codec_no], ctx->page, ctx->object,
			      zr_min(limit, ZR_OBJECT_USEFUL_MAX), n_bytesp);
	return r == ZR_CODEC_E_NO_GAIN ? ZR_PAGE_E_AS_IT_WAS : 0;
}

/* Put what is in ctx->object in the place of @slot. Return: 0, E_CHANGED, -ENOMEM or -EAGAIN. */
static int recompress_end(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
			  zr_slot slot, unsigned int codec_no, uint32_t n_bytes)
{
	zr_position position;
	zr_slot fresh;
	int r;

	r = zr_pages_object_new(pages, ctx->object, n_bytes, &position);
	if (r < 0)
		return r;

	fresh = zr_slot_object(position, n_bytes, codec_no);
	r = zr_page_change_end(pages, page_no, slot, fresh);
	if (r != 0)
		zr_pages_retire_slot(pages, fresh);
	return r == ZR_PAGE_E_AS_IT_WAS ? E_CHANGED : r;
}

static int recompress_once(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
			   unsigned int codec_no, uint32_t threshold)
{
	const bool is_last = pages->recomp_priorities >> codec_no == 1;
	zr_slot slot = ZR_SLOT_HOLE, mark = 0;
	size_t n_bytes = 0;
	int r;

	r = recompress_begin(pages, page_no, codec_no, threshold, &slot);
	if (r != 0)
		return r;

	r = pending_read(pages, ctx, page_no, slot);
	if (r == 0) {
		r = compress_smaller(pages, ctx, slot, codec_no, &n_bytes);
		mark = r != 0 && is_last ? ZR_SLOT_INCOMPRESSIBLE : 0;
	}
	if (r == 0 && threshold > 0 && n_bytes >= threshold)
		r = ZR_PAGE_E_AS_IT_WAS;
	if (r == 0)
		r = recompress_end(pages, ctx, page_no, slot, codec_no, (uint32_t)n_bytes);
	if (r != 0 && !zr_page_change_drop(pages, page_no, slot, mark) && r > 0)
		r = E_CHANGED;
	return r;
}

int zr_page_recompress(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
		       unsigned int codec_no, uint32_t threshold)
{
	int r;

	r = recompress_once(pages, ctx, page_no, codec_no, threshold);
	/* Compaction moves objects wherever many become shorter; it does so once. */
	if (r == E_CHANGED)
		r = recompress_once(pages, ctx, page_no, codec_no, threshold);
	return r == E_CHANGED ? ZR_PAGE_E_AS_IT_WAS : r;
}
