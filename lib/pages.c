/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "pages.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "crash.h"
#include "fill.h"
#include "pages-parts.h"

int zr_engine_init(struct zr_engine *engine)
{
	int r;

	r = zr_pool_init(&engine->pool, &engine->arena);
	if (r < 0)
		return r;
	zr_stripes_init(&engine->stripes);
	zr_room_init(&engine->room);
	zr_mutex_init(&engine->compaction.list, ZR_RANK_LIST);
	zr_mutex_init(&engine->compaction.lock, ZR_RANK_COMPACT);
	return 0;
}

void zr_engine_deinit(struct zr_engine *engine)
{
	ZR_ASSERT(!engine->compaction.first);
	zr_mutex_deinit(&engine->compaction.lock);
	zr_mutex_deinit(&engine->compaction.list);
	zr_room_deinit(&engine->room);
	zr_stripes_deinit(&engine->stripes);
	zr_pool_deinit(&engine->pool);
}

int zr_ctx_new(struct zr_ctx **ctxp)
{
	ZR_CLEANUP(zr_ctx_freep) struct zr_ctx *ctx = NULL;
	int r;

	ctx = malloc(sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	/* Its memory comes now and not in the middle of a write. Not zeros: the compiler would make
	 * that a calloc(), which touches nothing. */
	memset(ctx, 0xff, sizeof(*ctx));
	ctx->workspace = NULL;
	ctx->window = NULL;
	ctx->reads_on = false;
	ctx->wanted = (struct zr_wanted){ 0 };

	r = zr_workspace_new(&ctx->workspace);
	if (r < 0)
		return r;

	*ctxp = ZR_STEAL(ctx);
	return 0;
}

struct zr_ctx *zr_ctx_free(struct zr_ctx *ctx)
{
	if (!ctx)
		return NULL;

	ctx->workspace = zr_workspace_free(ctx->workspace);
	zr_ctx_settle(ctx);
	ctx->window = zr_window_free(ctx->window);
	free(ctx);
	return NULL;
}

void zr_pages_init(struct zr_pages *pages, struct zr_engine *engine, struct zr_entry *entry,
		   uint64_t id)
{
	unsigned int i;

	pages->engine = engine;
	pages->disk_id = id;
	pages->counters = &entry->counters;
	zr_mutex_init(&pages->change, ZR_RANK_CHANGE);
	pages->backing = NULL;
	zr_slots_init(&pages->slots, &engine->pool, &entry->root);
	zr_slots_init(&pages->ages, &engine->pool, &entry->ages_root);
	for (i = 0; i < ZR_N_GAUGES; ++i)
		atomic_init(&pages->xgauges[i], 0);
	atomic_init(&pages->xused_bytes, 0);
	atomic_init(&pages->xlimit_bytes, 0);
	atomic_init(&pages->xspill_bytes, 0);
	atomic_init(&pages->xspill_wake_bytes, 0);
	atomic_init(&pages->xspill_above_bytes, 0);
	atomic_init(&pages->xhas_larger, false);
	atomic_init(&pages->xrefused, false);
	atomic_init(&pages->xspill_error, 0);
	pages->hand = 0;
	pages->mark_hand = 0;
	atomic_init(&pages->xspill_again_ns, 0);
	pages->spill_n_free = 0;
	pages->waits_for_others = false;

	ZR_GUARD(&engine->compaction.list);
	pages->next = engine->compaction.first;
	engine->compaction.first = pages;
}

void zr_pages_deinit(struct zr_pages *pages)
{
	struct zr_compaction *compaction = &pages->engine->compaction;
	struct zr_pages **at;

	{
		ZR_GUARD(&compaction->lock);
		ZR_GUARD(&compaction->list);
		for (at = &compaction->first; *at != pages; at = &(*at)->next)
			;
		*at = pages->next;
		if (compaction->at == pages) {
			compaction->at = pages->next;
			compaction->leaf_no = 0;
		}
	}
	zr_pages_set_backing(pages, NULL);
	zr_slots_deinit(&pages->ages);
	zr_slots_deinit(&pages->slots);
	zr_mutex_deinit(&pages->change);
}

/* figures */

/* Of a slot that is written back. */
static int64_t frame_bytes(const struct zr_pages *pages, zr_slot slot)
{
	return pages->backing ? zr_frame_bytes(pages->backing, zr_slot_length(slot)) : 0;
}

/* What is in a slot, added to (@sign 1) or taken from (-1) a tally. */
void zr_pages_tally_slot(const struct zr_pages *pages, struct zr_tally *tally, zr_slot slot,
			 int64_t sign)
{
	const uint32_t n_bytes = zr_slot_bytes(slot);

	if (slot == ZR_SLOT_HOLE)
		return;

	tally->gauge[ZR_GAUGE_PAGES] += sign;
	if (n_bytes > 0)
		tally->gauge[ZR_GAUGE_CELL_BYTES] += sign * zr_pool_cell_bytes(n_bytes);

	if (zr_slot_kind(slot) == ZR_SLOT_KIND_SAME) {
		tally->gauge[ZR_GAUGE_SAME] += sign;
		if (n_bytes == 0 && zr_slot_word(slot) == 0)
			tally->gauge[ZR_GAUGE_ZERO] += sign;
		return;
	}

	if (zr_slot_length(slot) < ZR_PAGE_SIZE)
		tally->gauge[ZR_GAUGE_CODEC + zr_slot_codec(slot)] += sign;
	if (zr_slot_kind(slot) == ZR_SLOT_KIND_WRITTEN_BACK) {
		tally->gauge[ZR_GAUGE_WRITTEN_BACK] += sign;
		tally->gauge[ZR_GAUGE_FRAME_BYTES] += sign * frame_bytes(pages, slot);
		return;
	}

	tally->gauge[ZR_GAUGE_COMPR_BYTES] += sign * n_bytes;
	if (n_bytes == ZR_PAGE_SIZE)
		tally->gauge[ZR_GAUGE_HUGE] += sign;
	if (n_bytes <= ZR_PAGE_SIZE / 2)
		tally->gauge[ZR_GAUGE_GOOD] += sign;
}

void zr_pages_tally_apply(struct zr_pages *pages, const struct zr_tally *tally)
{
	unsigned int i;

	for (i = 0; i < ZR_N_GAUGES; ++i) {
		if (tally->gauge[i] != 0)
			atomic_fetch_add_explicit(&pages->xgauges[i], tally->gauge[i],
						  memory_order_relaxed);
	}
}

uint64_t zr_pages_peak(struct zr_pages *pages, uint64_t used_bytes)
{
	_Atomic uint64_t *peak = &pages->counters->mem_used_max_bytes;
	uint64_t seen = atomic_load_explicit(peak, memory_order_relaxed);

	while (seen < used_bytes &&
	       !atomic_compare_exchange_weak_explicit(peak, &seen, used_bytes, memory_order_relaxed,
						      memory_order_relaxed))
		;
	return zr_max(seen, used_bytes);
}

/* slots to pages and back */

struct zr_rwlock *zr_pages_stripe(struct zr_pages *pages, uint64_t page_no)
{
	return zr_stripe_of(&pages->engine->stripes, pages->disk_id, page_no);
}

/* Whose slots are retired. */
struct retirement {
	struct zr_engine *engine;
	struct zr_backing *backing; /* where written back ones are */
};

static void retire_slot(void *context, zr_slot slot)
{
	const struct retirement *retirement = context;
	const uint32_t n_bytes = zr_slot_bytes(slot);

	if (zr_slot_kind(slot) == ZR_SLOT_KIND_WRITTEN_BACK)
		zr_backing_remove(retirement->backing, slot);
	if (n_bytes == 0)
		return;
	ZR_CRASH("retire");
	zr_pool_free(&retirement->engine->pool, zr_slot_position(slot), n_bytes);
}

void zr_pages_retire_slot(struct zr_pages *pages, zr_slot slot)
{
	struct retirement retirement = { .engine = pages->engine };

	/* Who retires what was in memory need not hold the shape, and may look at nothing else. */
	if (zr_slot_kind(slot) == ZR_SLOT_KIND_WRITTEN_BACK)
		retirement.backing = pages->backing;
	retire_slot(&retirement, slot);
}

static void retire_leaf(struct zr_pages *pages, zr_position leaf)
{
	struct retirement retirement = { pages->engine, pages->backing };

	if (leaf != 0)
		zr_slots_retire_leaf(&pages->slots, leaf, retire_slot, &retirement);
}

int zr_pages_object_new(struct zr_pages *pages, const void *bytes, uint32_t n_bytes,
			zr_position *positionp)
{
	int r;

	r = zr_pool_alloc(&pages->engine->pool, n_bytes, positionp);
	if (r < 0)
		return r;

	memcpy(zr_pool_at(&pages->engine->pool, *positionp), bytes, n_bytes);
	ZR_CRASH("allocate");
	return 0;
}

static int encode_same(struct zr_pages *pages, uint64_t word, zr_slot *slotp)
{
	zr_position position;
	int r;

	if (zr_slot_same(word, slotp))
		return 0;

	r = zr_pages_object_new(pages, &word, sizeof(word), &position);
	if (r < 0)
		return r;

	*slotp = zr_slot_same_object(position);
	return 0;
}

/* A slot for the page, with an object that nobody refers to yet. Return: 0 or -ENOMEM. */
static int slot_encode(struct zr_pages *pages, struct zr_ctx *ctx, const void *page, zr_slot *slotp)
{
	const void *bytes = ctx->object;
	zr_position position;
	uint64_t word;
	size_t n_bytes;
	int r;

	if (zr_fill_detect(page, &word))
		return encode_same(pages, word, slotp);

	r = zr_codec_compress(ctx->workspace, &pages->codecs[0], page, ctx->object,
			      ZR_OBJECT_USEFUL_MAX, &n_bytes);
	ZR_CRASH("compress");
	if (r == ZR_CODEC_E_NO_GAIN) {
		bytes = page;
		n_bytes = ZR_PAGE_SIZE;
	}

	r = zr_pages_object_new(pages, bytes, (uint32_t)n_bytes, &position);
	if (r < 0)
		return r;

	*slotp = zr_slot_object(position, (uint32_t)n_bytes, 0);
	return 0;
}

static int decode_object(struct zr_pages *pages, struct zr_ctx *ctx, zr_slot slot, void *page)
{
	const uint32_t n_bytes = zr_slot_bytes(slot);
	const void *bytes = zr_pool_at(&pages->engine->pool, zr_slot_position(slot));
	int r;

	if (n_bytes == ZR_PAGE_SIZE) {
		memcpy(page, bytes, ZR_PAGE_SIZE);
		return 0;
	}

	r = zr_codec_decompress(ctx->workspace, &pages->codecs[zr_slot_codec(slot)], bytes, n_bytes,
				page);
	if (r < 0)
		atomic_fetch_add_explicit(&pages->counters->undecodable_pages, 1,
					  memory_order_relaxed);
	return r;
}

/* The caller holds the page's stripe, which keeps the cell alive. Return: 0 or -EIO. */
int zr_pages_decode(struct zr_pages *pages, struct zr_ctx *ctx, zr_slot slot, void *page)
{
	uint64_t word;

	zr_assert_held(ZR_RANK_STRIPE);

	switch (zr_slot_kind(slot)) {
	case ZR_SLOT_KIND_HOLE:
		memset(page, 0, ZR_PAGE_SIZE);
		return 0;
	case ZR_SLOT_KIND_SAME:
		if (zr_slot_form(slot) == ZR_SLOT_FORM_OBJECT)
			memcpy(&word, zr_pool_at(&pages->engine->pool, zr_slot_position(slot)),
			       sizeof(word));
		else
			word = zr_slot_word(slot);
		zr_fill_page(page, word);
		return 0;
	case ZR_SLOT_KIND_OBJECT:
		return decode_object(pages, ctx, slot, page);
	case ZR_SLOT_KIND_WRITTEN_BACK:
	default:
		ZR_ASSERT(false); /* it is not in memory */
		return -EIO;
	}
}

zr_slot zr_pages_slot(const _Atomic zr_slot *slotp)
{
	/* Acquire pairs with the release in zr_pages_publish_locked(): the object is whole before
	 * its slot can be seen, by readers and by whoever attaches after a kill. */
	return slotp ? atomic_load_explicit(slotp, memory_order_acquire) : ZR_SLOT_HOLE;
}

static int64_t slot_cell_bytes(zr_slot slot)
{
	const uint32_t n_bytes = zr_slot_bytes(slot);

	return n_bytes > 0 ? zr_pool_cell_bytes(n_bytes) : 0;
}

/* Return: the slot of the page, made if it was missing and charged by the caller as @n_missing
 * nodes; NULL and *errorp where there is no memory for it. */
static _Atomic zr_slot *slot_make(struct zr_pages *pages, uint64_t page_no, int n_missing,
				  int *errorp)
{
	_Atomic zr_slot *slotp;
	int n_added;

	n_added = zr_slots_make(&pages->slots, page_no, &slotp);
	if (n_added < 0) {
		*errorp = n_added;
		return NULL;
	}

	/* Somebody else may have added, and paid for, some of them. */
	zr_pages_uncharge(pages, (n_missing - n_added) * ZR_NODE_BYTES);
	return slotp;
}

/* What is too large to stay goes to the file at once. */
static void note_larger(struct zr_pages *pages, zr_slot fresh)
{
	const uint32_t above = atomic_load_explicit(&pages->xspill_above_bytes,
						    memory_order_relaxed);

	if (above == 0 || zr_slot_bytes(fresh) <= above ||
	    atomic_load_explicit(&pages->xhas_larger, memory_order_relaxed))
		return;
	atomic_store(&pages->xhas_larger, true);
	zr_room_want(&pages->engine->room);
}

/*
 * Put @fresh in the page's place, with the page's stripe held exclusive. On success what was there
 * comes back in *stalep, for the caller to retire once the stripe is released.
 *
 * Return: 0, -ENOSPC or -ENOMEM; on these nothing has changed and @fresh is still the caller's.
 */
int zr_pages_publish_locked(struct zr_pages *pages, uint64_t page_no, zr_slot fresh,
			    enum zr_limit limit, zr_slot *stalep)
{
	_Atomic zr_slot *slotp = zr_slots_find(&pages->slots, page_no);
	const int n_missing = slotp ? 0 : (int)zr_slots_missing(&pages->slots, page_no);
	const zr_slot stale = zr_pages_slot(slotp);
	const int64_t growth = slot_cell_bytes(fresh) - slot_cell_bytes(stale) +
			       n_missing * ZR_NODE_BYTES;
	struct zr_tally change = { 0 };
	int r;

	zr_assert_held(ZR_RANK_STRIPE);

	r = zr_pages_charge(pages, growth, limit);
	if (r < 0)
		return r;

	if (!slotp) {
		slotp = slot_make(pages, page_no, n_missing, &r);
		if (!slotp) {
			zr_pages_uncharge(pages, growth);
			return r;
		}
	}

	ZR_CRASH("publish");
	atomic_store_explicit(slotp, fresh, memory_order_release);
	ZR_CRASH("published");
	zr_pages_tally_slot(pages, &change, fresh, 1);
	zr_pages_tally_slot(pages, &change, stale, -1);
	zr_pages_tally_apply(pages, &change);
	if (zr_slot_bytes(fresh) == ZR_PAGE_SIZE)
		atomic_fetch_add_explicit(&pages->counters->huge_pages_since, 1,
					  memory_order_relaxed);
	note_larger(pages, fresh);
	*stalep = stale;
	return 0;
}

/* What is in a slot that is about to be read, and no longer idle then. Whoever has the stripe
 * shared as well clears the same bit, and nobody else changes the slot. */
static zr_slot slot_use(_Atomic zr_slot *slotp)
{
	zr_slot slot = zr_pages_slot(slotp);

	zr_assert_held(ZR_RANK_STRIPE);

	/* No other kind has these bits for marks. */
	if (slot & ZR_SLOT_MARKS && zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT) {
		(void)atomic_compare_exchange_strong_explicit(slotp, &slot, slot & ~ZR_SLOT_MARKS,
							      memory_order_acq_rel,
							      memory_order_acquire);
		slot &= ~ZR_SLOT_MARKS;
	}
	return slot;
}

int zr_page_read(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no, void *page)
{
	struct zr_found found;
	zr_slot slot;
	int r;

	{
		ZR_GUARD_SHARED(zr_pages_stripe(pages, page_no));

		slot = slot_use(zr_slots_find(&pages->slots, page_no));
		if (zr_slot_kind(slot) != ZR_SLOT_KIND_WRITTEN_BACK)
			return zr_pages_decode(pages, ctx, slot, page);
		r = zr_pages_found_locked(pages, ctx, slot, &found);
		if (r < 0)
			return r;
	}

	r = zr_pages_fetch(pages, ctx, page_no, &found, page);
	zr_pages_unpin(&found);
	return r;
}

/*
 * Until the store in zr_pages_publish_locked() readers see the old page; after it, the new one.
 * Everything that can fail runs before it. Freeing the old object first would save one object of
 * memory for a moment, but then a failed write destroys data, and two writers of one page can both
 * publish over the same empty slot and leak an object.
 */
int zr_page_write(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no, const void *page)
{
	zr_slot fresh, stale;
	int r;

	r = slot_encode(pages, ctx, page, &fresh);
	if (r < 0)
		return r;

	{
		ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));
		r = zr_pages_publish_locked(pages, page_no, fresh, ZR_LIMIT_HOLDS, &stale);
	}

	zr_pages_retire_slot(pages, r < 0 ? fresh : stale);
	return r;
}

/* What of a page is changed. */
struct part {
	uint32_t at, n_bytes;
	const void *bytes; /* NULL: zeros */
};

/* What the page was, into ctx->page. */
static int update_read_locked(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
			      zr_slot slot)
{
	if (zr_slot_kind(slot) != ZR_SLOT_KIND_WRITTEN_BACK)
		return zr_pages_decode(pages, ctx, slot, ctx->page);
	if (!zr_pages_was_fetched(pages, ctx, page_no, slot))
		return zr_pages_want_locked(pages, ctx, page_no, slot);
	memcpy(ctx->page, ctx->fetched, ZR_PAGE_SIZE);
	return 0;
}

/* The stripe is held from the read to the store: a write between them would be lost. */
static int update_locked(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
			 const struct part *part, zr_slot *stalep)
{
	const zr_slot slot = slot_use(zr_slots_find(&pages->slots, page_no));
	zr_slot fresh;
	int r;

	if (slot == ZR_SLOT_HOLE && !part->bytes)
		return 0;

	r = update_read_locked(pages, ctx, page_no, slot);
	if (r < 0)
		return r;

	if (part->bytes)
		memcpy(ctx->page + part->at, part->bytes, part->n_bytes);
	else
		memset(ctx->page + part->at, 0, part->n_bytes);

	r = slot_encode(pages, ctx, ctx->page, &fresh);
	if (r < 0)
		return r;

	r = zr_pages_publish_locked(pages, page_no, fresh,
				    part->bytes ? ZR_LIMIT_HOLDS : ZR_LIMIT_YIELDS, stalep);
	if (r < 0)
		*stalep = fresh; /* nobody saw it: retire this one */
	return r;
}

int zr_page_update(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no, uint32_t at,
		   uint32_t n_bytes, const void *bytes)
{
	const struct part part = { at, n_bytes, bytes };
	zr_slot stale = ZR_SLOT_HOLE;
	int r;

	ZR_ASSERT(at + n_bytes <= ZR_PAGE_SIZE);

	{
		ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));
		r = update_locked(pages, ctx, page_no, &part, &stale);
	}

	zr_pages_retire_slot(pages, stale);
	return r;
}

/* The leaf looked empty a moment ago; take it out if it still is. */
static void leaf_drop_if_empty(struct zr_pages *pages, uint64_t leaf_no)
{
	_Atomic zr_slot *slotp;
	zr_position leaf = 0;

	zr_stripes_lock_leaf(&pages->engine->stripes, pages->disk_id, leaf_no);
	slotp = zr_slots_find(&pages->slots, leaf_no << ZR_LEAF_SHIFT);
	if (slotp && zr_slots_leaf_is_empty(slotp)) {
		leaf = zr_slots_unhook_leaf(&pages->slots, leaf_no);
		zr_pages_uncharge(pages, ZR_NODE_BYTES);
	}
	zr_stripes_unlock_leaf(&pages->engine->stripes, pages->disk_id, leaf_no);

	retire_leaf(pages, leaf);
}

void zr_page_discard(struct zr_pages *pages, uint64_t page_no)
{
	struct zr_tally change = { 0 };
	_Atomic zr_slot *slotp;
	zr_slot stale;
	bool empty;

	{
		ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));

		slotp = zr_slots_find(&pages->slots, page_no);
		stale = zr_pages_slot(slotp);
		if (stale == ZR_SLOT_HOLE)
			return;

		atomic_store_explicit(slotp, ZR_SLOT_HOLE, memory_order_release);
		zr_pages_tally_slot(pages, &change, stale, -1);
		zr_pages_tally_apply(pages, &change);
		zr_pages_uncharge(pages, slot_cell_bytes(stale));
		empty = zr_slots_leaf_is_empty(slotp);
	}

	zr_pages_retire_slot(pages, stale);
	if (empty)
		leaf_drop_if_empty(pages, page_no >> ZR_LEAF_SHIFT);
}

void zr_page_discard_leaf(struct zr_pages *pages, uint64_t leaf_no)
{
	struct zr_tally change = { 0 };
	_Atomic zr_slot *slots;
	zr_position leaf = 0;
	unsigned int i;

	zr_stripes_lock_leaf(&pages->engine->stripes, pages->disk_id, leaf_no);
	slots = zr_slots_find(&pages->slots, leaf_no << ZR_LEAF_SHIFT);
	if (slots) {
		leaf = zr_slots_unhook_leaf(&pages->slots, leaf_no);
		for (i = 0; i < ZR_LEAF_SLOTS; ++i)
			zr_pages_tally_slot(pages, &change, zr_pages_slot(&slots[i]), -1);
		zr_pages_tally_apply(pages, &change);
		zr_pages_uncharge(pages, ZR_NODE_BYTES - change.gauge[ZR_GAUGE_CELL_BYTES]);
	}
	zr_stripes_unlock_leaf(&pages->engine->stripes, pages->disk_id, leaf_no);

	ZR_CRASH("punch-leaf");
	retire_leaf(pages, leaf);
}

bool zr_page_is_data(struct zr_pages *pages, uint64_t page_no)
{
	ZR_GUARD_SHARED(zr_pages_stripe(pages, page_no));

	return zr_pages_slot(zr_slots_find(&pages->slots, page_no)) != ZR_SLOT_HOLE;
}

struct zr_stale zr_pages_unhook(struct zr_pages *pages)
{
	struct zr_stale stale = { .backing = pages->backing };
	unsigned int i;

	/* Until its frames went. */
	if (stale.backing)
		atomic_fetch_add(&stale.backing->xusers, 1);

	zr_stripes_lock_all(&pages->engine->stripes);
	stale.root = zr_slots_unhook_all(&pages->slots);
	stale.ages_root = zr_slots_unhook_all(&pages->ages);
	for (i = 0; i < ZR_N_GAUGES; ++i)
		atomic_store_explicit(&pages->xgauges[i], 0, memory_order_relaxed);
	zr_pages_uncharge(pages, atomic_load_explicit(&pages->xused_bytes, memory_order_relaxed));
	zr_stripes_unlock_all(&pages->engine->stripes);
	return stale;
}

void zr_pages_retire(struct zr_pages *pages, struct zr_stale stale)
{
	struct retirement retirement = { pages->engine, stale.backing };

	zr_slots_retire(&pages->slots, stale.root, retire_slot, &retirement);
	zr_ages_retire(pages, stale.ages_root);
	if (stale.backing)
		atomic_fetch_sub(&stale.backing->xusers, 1);
}

void zr_pages_prune(struct zr_pages *pages)
{
	unsigned int n_gone;

	zr_stripes_lock_all(&pages->engine->stripes);
	n_gone = zr_slots_prune(&pages->slots);
	zr_pages_uncharge(pages, n_gone * ZR_NODE_BYTES);
	zr_stripes_unlock_all(&pages->engine->stripes);
}

void zr_pages_tally_frozen(struct zr_pages *pages, struct zr_tally *tally)
{
	unsigned int i;

	zr_assert_held(ZR_RANK_STRIPE);

	for (i = 0; i < ZR_N_GAUGES; ++i)
		tally->gauge[i] = atomic_load_explicit(&pages->xgauges[i], memory_order_relaxed);
	tally->n_nodes = atomic_load_explicit(&pages->slots.xn_nodes, memory_order_relaxed);
	tally->n_age_nodes = atomic_load_explicit(&pages->ages.xn_nodes, memory_order_relaxed);
	/* Nobody is between a charge and its slot. */
	ZR_ASSERT(atomic_load_explicit(&pages->xused_bytes, memory_order_relaxed) ==
		  zr_pages_tally_used(tally));
}

void zr_pages_tally(struct zr_pages *pages, struct zr_tally *tally)
{
	zr_stripes_lock_all(&pages->engine->stripes);
	zr_pages_tally_frozen(pages, tally);
	zr_stripes_unlock_all(&pages->engine->stripes);
}

bool zr_pages_copy_leaf(struct zr_pages *pages, uint64_t leaf_no, zr_slot slots[ZR_LEAF_SLOTS])
{
	const uint64_t first = leaf_no << ZR_LEAF_SHIFT;
	const _Atomic zr_slot *leaf;
	unsigned int i;

	/* Any stripe of the leaf keeps it there. */
	ZR_GUARD_SHARED(zr_pages_stripe(pages, first));

	leaf = zr_slots_find(&pages->slots, first);
	for (i = 0; leaf && i < ZR_LEAF_SLOTS; ++i)
		slots[i] = atomic_load_explicit(&leaf[i], memory_order_relaxed);
	return leaf != NULL;
}
