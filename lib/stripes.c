/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "stripes.h"

#include "layout.h"

void zr_stripes_init(struct zr_stripes *stripes)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(stripes->locks); ++i)
		zr_rwlock_init(&stripes->locks[i], ZR_RANK_STRIPE);
}

void zr_stripes_deinit(struct zr_stripes *stripes)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(stripes->locks); ++i)
		zr_rwlock_deinit(&stripes->locks[i]);
}

/* The first lock of a leaf's eight. Multiplicative hashing: Knuth, TAOCP volume 3, 6.4. */
static unsigned int group_start(uint64_t disk_id, uint64_t leaf_no)
{
	const uint64_t hash = (leaf_no + (disk_id << 40)) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned int)(hash >> 58) % ZR_STRIPE_GROUPS * ZR_STRIPES_PER_LEAF;
}

struct zr_rwlock *zr_stripe_of(struct zr_stripes *stripes, uint64_t disk_id, uint64_t page_no)
{
	return &stripes->locks[group_start(disk_id, page_no >> ZR_LEAF_SHIFT) +
			       page_no % ZR_STRIPES_PER_LEAF];
}

/* One rank for the whole run, entered once: the run rises, so two runs cannot deadlock. */
static void run_lock(struct zr_stripes *stripes, unsigned int start, unsigned int n_locks)
{
	unsigned int i;

	zr_rank_enter(ZR_RANK_STRIPE);
	for (i = start; i < start + n_locks; ++i)
		zr_must(pthread_rwlock_wrlock(&stripes->locks[i].impl));
}

static void run_unlock(struct zr_stripes *stripes, unsigned int start, unsigned int n_locks)
{
	unsigned int i;

	for (i = start; i < start + n_locks; ++i)
		zr_must(pthread_rwlock_unlock(&stripes->locks[i].impl));
	zr_rank_leave(ZR_RANK_STRIPE);
}

void zr_stripes_lock_leaf(struct zr_stripes *stripes, uint64_t disk_id, uint64_t leaf_no)
{
	run_lock(stripes, group_start(disk_id, leaf_no), ZR_STRIPES_PER_LEAF);
}

void zr_stripes_unlock_leaf(struct zr_stripes *stripes, uint64_t disk_id, uint64_t leaf_no)
{
	run_unlock(stripes, group_start(disk_id, leaf_no), ZR_STRIPES_PER_LEAF);
}

void zr_stripes_lock_all(struct zr_stripes *stripes)
{
	run_lock(stripes, 0, ZR_ARRAY_SIZE(stripes->locks));
}

void zr_stripes_unlock_all(struct zr_stripes *stripes)
{
	run_unlock(stripes, 0, ZR_ARRAY_SIZE(stripes->locks));
}
