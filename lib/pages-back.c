/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pages that are on the backing file
 *
 * Nobody holds a lock while the file is waited for. Who found a slot that is written back pins its
 * frame under the stripe, so that the frame stays what it is whatever becomes of the page: what is
 * read then is the page as it was when its slot was looked at.
 */

#include "pages.h"

#include <errno.h>
#include <stdatomic.h>

#include "pages-parts.h"

int zr_ctx_let_wait(struct zr_ctx *ctx)
{
	return ctx->window ? 0 : zr_window_new(&ctx->window);
}

static void wanted_drop(struct zr_ctx *ctx)
{
	if (ctx->wanted.pages)
		zr_pages_unpin(&ctx->wanted.found);
	ctx->wanted.pages = NULL;
}

void zr_ctx_settle(struct zr_ctx *ctx)
{
	if (!ctx->window)
		return;
	wanted_drop(ctx);
	zr_window_close(ctx->window);
}

void zr_pages_set_backing(struct zr_pages *pages, struct zr_backing *backing)
{
	if (backing)
		atomic_fetch_add(&backing->xusers, 1);
	if (pages->backing)
		atomic_fetch_sub(&pages->backing->xusers, 1);
	pages->backing = backing;
}

int zr_pages_found_locked(struct zr_pages *pages, const struct zr_ctx *ctx, zr_slot slot,
			  struct zr_found *found)
{
	zr_assert_held(ZR_RANK_STRIPE);

	if (!ctx->window)
		return -EINPROGRESS;
	*found = (struct zr_found){ slot, pages->backing, pages->codecs[zr_slot_codec(slot)] };
	zr_backing_pin(found->backing, slot);
	return 0;
}

int zr_pages_fetch(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
		   const struct zr_found *found, void *page)
{
	const struct zr_frame_owner owner = { pages->disk_id, page_no };
	const uint32_t n_bytes = zr_slot_length(found->slot);
	struct zr_counters *counters = pages->counters;
	int r;

	r = zr_backing_fetch(found->backing, ctx->window, ctx->reads_on, &owner, found->slot,
			     n_bytes == ZR_PAGE_SIZE ? page : ctx->object);
	atomic_fetch_add_explicit(&counters->bd_reads, 1, memory_order_relaxed);
	if (r < 0) {
		atomic_fetch_add_explicit(&counters->failed_backing_reads, 1, memory_order_relaxed);
		return r;
	}
	if (n_bytes == ZR_PAGE_SIZE)
		return 0;

	r = zr_codec_decompress(ctx->workspace, &found->codec, ctx->object, n_bytes, page);
	if (r < 0)
		atomic_fetch_add_explicit(&counters->undecodable_pages, 1, memory_order_relaxed);
	return r;
}

/* changing part of what is on the file. While its frame is pinned no other can be where it is: so the
 * same slot of the same file is the same page */

bool zr_pages_was_fetched(const struct zr_pages *pages, const struct zr_ctx *ctx, uint64_t page_no,
			  zr_slot slot)
{
	const struct zr_wanted *wanted = &ctx->wanted;

	return wanted->pages == pages && wanted->page_no == page_no && wanted->is_fetched &&
	       wanted->found.slot == slot && wanted->found.backing == pages->backing;
}

int zr_pages_want_locked(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no, zr_slot slot)
{
	struct zr_found found;
	int r;

	r = zr_pages_found_locked(pages, ctx, slot, &found);
	if (r < 0)
		return r;
	wanted_drop(ctx);
	ctx->wanted = (struct zr_wanted){ pages, page_no, found, false };
	return -EREMOTE;
}

int zr_ctx_fetch(struct zr_ctx *ctx)
{
	struct zr_wanted *wanted = &ctx->wanted;
	int r;

	ctx->reads_on = false;
	r = zr_pages_fetch(wanted->pages, ctx, wanted->page_no, &wanted->found, ctx->fetched);
	wanted->is_fetched = r == 0;
	return r;
}

bool zr_page_relocate(struct zr_pages *pages, uint64_t page_no, zr_slot slot, zr_slot fresh)
{
	_Atomic zr_slot *at;

	ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

	at = zr_slots_find(&pages->slots, page_no);
	if (zr_pages_slot(at) != slot)
		return false;
	atomic_store_explicit(at, fresh, memory_order_release);
	return true;
}
