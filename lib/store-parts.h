#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Store parts: what the files of the store share
 *
 *   store.c      the memfd, the directory, making and attaching
 *   snapshot.c   all figures at one moment
 *
 * Ownership: as store.h.
 * Locking:   names with _locked want the store's list, shared to look.
 * Errors:    as store.h.
 * Cost:      as store.h.
 */

#include "store.h"

struct zr_upkeep;

struct zr_store {
	struct zr_engine engine;
	struct zr_upkeep *upkeep;         /* NULL: none */
	struct zr_superblock *superblock; /* in the store */

	struct zr_rwlock dir;
	/* protected by dir */
	struct zr_disk *disks;           /* by rising id */
	bool entry_in_use[ZR_DISKS_MAX]; /* by a disk, or by a removed one that is still pinned */
};

void zr_store_usage_locked(const struct zr_store *store, const struct zr_pool_usage *pool,
			   struct zr_store_usage *usage);
