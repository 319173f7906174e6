#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Store parts: what the files of the store share
 *
 *   store.c          the list of disks: making, finding, renaming, removing
 *   store-load.c     the memfd: made, mapped, derived from
 *   store-memory.c   the shelf, locking, what there is and whether it agrees
 *   store-backing.c  files that pages are written back to
 *   snapshot.c       all figures at one moment
 *
 * Ownership: as store.h.
 * Locking:   names with _locked want the store's list, shared to look, exclusive to change.
 * Errors:    as store.h.
 * Cost:      as store.h.
 */

#include "disk-parts.h"
#include "store.h"

struct zr_upkeep;

struct zr_store {
	struct zr_engine engine;
	struct zr_upkeep *upkeep;         /* NULL: none */
	struct zr_superblock *superblock; /* in the store */
	bool loaded;                      /* what lies in it was looked at */

	struct zr_rwlock dir;
	/* protected by dir */
	struct zr_disk *disks;           /* by rising id */
	bool entry_in_use[ZR_DISKS_MAX]; /* by a disk, or by a removed one that is still pinned */
	struct zr_backing *backings[ZR_BACKINGS_MAX]; /* as in the superblock; NULL: free there */
};

static inline struct zr_entry *zr_store_entry(const struct zr_store *store, unsigned int entry_no)
{
	return zr_arena_at(&store->engine.arena,
			   ZR_DIRECTORY_START + (uint64_t)entry_no * ZR_ENTRY_BYTES);
}

/* Up to there the superblock and what was ever used of the directory lie, in whole pages of the
 * system. */
static inline uint64_t zr_store_directory_end(const struct zr_store *store)
{
	return zr_align_up(ZR_DIRECTORY_START +
				   atomic_load(&store->superblock->n_entries) * ZR_ENTRY_BYTES,
			   store->engine.arena.grain_bytes);
}

/* Would attaching take them? */
bool zr_store_attrs_are_sound(const struct zr_attrs *attrs);

/* Put a disk among the others. */
void zr_store_list_add_locked(struct zr_store *store, struct zr_disk *disk);

/* NULL where there is none. */
struct zr_backing *zr_store_backing_find_locked(struct zr_store *store, uint64_t id);

/* What belongs to each record is there. Before disks are attached. */
int zr_store_backings_load(struct zr_store *store);

void zr_store_backings_validate(struct zr_store *store);

void zr_store_usage_locked(const struct zr_store *store, const struct zr_pool_usage *pool,
			   struct zr_store_usage *usage);
