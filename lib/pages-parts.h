#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pages parts: what the files of pages share
 *
 *   pages.c          reading, writing, discarding; the figures
 *   pages-charge.c   what is used, and the limits
 *   pages-change.c   changes in the background: move, recompress
 *   pages-back.c     pages that are on the backing file
 *   pages-derive.c   derivation
 *   ages.c           ages, a noun of its own
 *
 * Ownership: as pages.h.
 * Locking:   names with _locked want the stripe of the page exclusive, decoding wants it shared.
 * Errors:    as pages.h.
 * Cost:      as pages.h.
 */

#include "pages.h"

#define ZR_NODE_BYTES ((int64_t)ZR_PAGE_SIZE)

/* Whether a change may be refused for the limit's sake. */
enum zr_limit {
	ZR_LIMIT_HOLDS,
	ZR_LIMIT_YIELDS, /* what gives memory back must not need room first */
};

struct zr_rwlock *zr_pages_stripe(struct zr_pages *pages, uint64_t page_no);

/* What is in a slot of the tree, or in one that is absent. */
zr_slot zr_pages_slot(const _Atomic zr_slot *slotp);

/* Take @n_bytes from the limits, of the disk and of all. Not more than nothing always succeeds, so
 * that what does not grow can be overwritten at the limit. Return: 0 or -ENOSPC. */
int zr_pages_charge(struct zr_pages *pages, int64_t n_bytes, enum zr_limit limit);

/* What a disk with these figures is charged. */
static inline int64_t zr_pages_tally_used(const struct zr_tally *tally)
{
	return tally->gauge[ZR_GAUGE_CELL_BYTES] +
	       (int64_t)(tally->n_nodes + tally->n_age_nodes) * ZR_NODE_BYTES;
}

/* Give back, which cannot fail. */
void zr_pages_uncharge(struct zr_pages *pages, int64_t n_bytes);

/* What is in a slot, added to (@sign 1) or taken from (-1) a tally. */
void zr_pages_tally_slot(const struct zr_pages *pages, struct zr_tally *tally, zr_slot slot,
			 int64_t sign);
void zr_pages_tally_apply(struct zr_pages *pages, const struct zr_tally *tally);

/* @slot is written back, and the stripe of its page held: pin it. Return: 0, or -EINPROGRESS where
 * @ctx must not wait. */
int zr_pages_found_locked(struct zr_pages *pages, const struct zr_ctx *ctx, zr_slot slot,
			  struct zr_found *found);

/* Read it, with nothing held. Return: 0 or -EIO, which is counted. */
int zr_pages_fetch(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
		   const struct zr_found *found, void *page);

/* Is the page, which is written back as @slot, what was fetched last for a change of part of it? Then
 * it is in ctx->fetched. */
bool zr_pages_was_fetched(const struct zr_pages *pages, const struct zr_ctx *ctx, uint64_t page_no,
			  zr_slot slot);

/* It is not: it is to be fetched with nothing held, by zr_ctx_fetch(). The stripe is held. Return:
 * -EREMOTE, or -EINPROGRESS where @ctx must not wait. */
int zr_pages_want_locked(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
			 zr_slot slot);

static inline void zr_pages_unpin(const struct zr_found *found)
{
	zr_backing_unpin(found->backing, found->slot);
}

/* A copy of the bytes in the pool. Return: 0, -ENOMEM or -EAGAIN. */
int zr_pages_object_new(struct zr_pages *pages, const void *bytes, uint32_t n_bytes,
			zr_position *positionp);

/* Of a page that is in memory. Return: 0 or -EIO. */
int zr_pages_decode(struct zr_pages *pages, struct zr_ctx *ctx, zr_slot slot, void *page);

/*
 * Put @fresh in the page's place. On success what was there comes back in *stalep, for the caller
 * to retire once the stripe is released.
 *
 * Return: 0, -ENOSPC, -ENOMEM or -EAGAIN; on these nothing has changed and @fresh is still the
 * caller's.
 */
int zr_pages_publish_locked(struct zr_pages *pages, uint64_t page_no, zr_slot fresh,
			    enum zr_limit limit, zr_slot *stalep);

/* Free a tree of ages that was unhooked. */
void zr_ages_retire(struct zr_pages *pages, zr_position root);

/* Free the object of a slot that nobody can see any more, or its frame. */
void zr_pages_retire_slot(struct zr_pages *pages, zr_slot slot);
