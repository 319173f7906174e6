#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pages parts: what the files of pages share
 *
 *   pages.c          reading, writing, discarding; the figures
 *   pages-change.c   changes in the background: move, recompress
 *   pages-derive.c   derivation
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

/* What is in a slot, added to (@sign 1) or taken from (-1) a tally. */
void zr_pages_tally_slot(const struct zr_pages *pages, struct zr_tally *tally, zr_slot slot,
			 int64_t sign);
void zr_pages_tally_apply(struct zr_pages *pages, const struct zr_tally *tally);

/* A copy of the bytes in the pool. Return: 0, -ENOMEM or -EAGAIN. */
int zr_pages_object_new(struct zr_pages *pages, const void *bytes, uint32_t n_bytes,
			zr_position *positionp);

/* Return: 0 or -EIO. */
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

/* Free the object of a slot that nobody can see any more. @context: the engine. */
void zr_pages_retire_slot(void *context, zr_slot slot);
