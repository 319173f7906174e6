#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Stripes: locks for pages
 *
 * A fixed number of reader-writer locks, shared by all disks. The eight that guard one leaf lie
 * side by side, so that neighbouring pages do not wait for each other and a whole leaf can still be
 * taken with eight locks:
 *
 *   stripe = hash(disk, page_no / 512) % 64 * 8 + page_no % 8
 *
 * Ownership: embedded, private memory.
 * Locking:   rank STRIPE. One at a time, or several through the calls below, in rising order.
 * Errors:    none.
 * Cost:      32 KiB; 8 locks for a leaf, 512 for all (about 15 us).
 */

#include "base.h"
#include "sync.h"

#define ZR_STRIPES_PER_LEAF 8u
#define ZR_STRIPE_GROUPS    64u

struct zr_stripes {
	struct zr_rwlock locks[ZR_STRIPE_GROUPS * ZR_STRIPES_PER_LEAF];
};

void zr_stripes_init(struct zr_stripes *stripes);
void zr_stripes_deinit(struct zr_stripes *stripes);

/* The lock of one page. */
struct zr_rwlock *zr_stripe_of(struct zr_stripes *stripes, uint64_t disk_id, uint64_t page_no);

/* All locks of a leaf, exclusive. */
void zr_stripes_lock_leaf(struct zr_stripes *stripes, uint64_t disk_id, uint64_t leaf_no);
void zr_stripes_unlock_leaf(struct zr_stripes *stripes, uint64_t disk_id, uint64_t leaf_no);

/* All locks there are, exclusive. */
void zr_stripes_lock_all(struct zr_stripes *stripes);
void zr_stripes_unlock_all(struct zr_stripes *stripes);
