/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Files that pages are written back to: records in the superblock, and what this process has of them
 */

#include "store.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "crash.h"
#include "store-parts.h"

/* The index of the record. Return: -ENOENT. */
static int index_find(const struct zr_store *store, uint64_t id)
{
	int i;

	for (i = 0; id != 0 && i < (int)ZR_BACKINGS_MAX; ++i) {
		if (atomic_load(&store->superblock->backings[i].id) == id)
			return i;
	}
	return -ENOENT;
}

struct zr_backing *zr_store_backing_find_locked(struct zr_store *store, uint64_t id)
{
	const int i = index_find(store, id);

	zr_assert_held(ZR_RANK_DIR);

	return i < 0 ? NULL : store->backings[i];
}

const struct zr_backing_record *zr_store_backing_at(const struct zr_store *store,
						    unsigned int index)
{
	const struct zr_backing_record *record = &store->superblock->backings[index];

	ZR_ASSERT(index < ZR_BACKINGS_MAX);
	return atomic_load(&record->id) != 0 ? record : NULL;
}

uint64_t zr_store_backing_free_blocks(struct zr_store *store, uint64_t id)
{
	const struct zr_backing *backing;

	ZR_GUARD_SHARED(&store->dir);

	backing = zr_store_backing_find_locked(store, id);
	return backing ? atomic_load(&backing->xn_free) : 0;
}

/* making and closing */

int zr_store_backing_add(struct zr_store *store, unsigned int index,
			 const struct zr_backing_record *wanted, const struct zr_backing_io *io,
			 uint64_t *idp)
{
	struct zr_backing_record *record = &store->superblock->backings[index];
	int r;

	ZR_ASSERT(index < ZR_BACKINGS_MAX);

	if (wanted->seal_bytes > ZR_SEAL_BYTES_MAX || wanted->size_bytes < 2 * ZR_BLOCK_BYTES ||
	    wanted->size_bytes % ZR_BLOCK_BYTES != 0 || wanted->size_bytes > ZR_BACKING_BYTES_MAX ||
	    !memchr(wanted->path, 0, sizeof(wanted->path)))
		return -EINVAL;

	ZR_GUARD_EXCLUSIVE(&store->dir);

	if (atomic_load(&record->id) != 0)
		return -EEXIST;
	memcpy((uint8_t *)record + sizeof(record->id), (const uint8_t *)wanted + sizeof(record->id),
	       sizeof(*record) - sizeof(record->id));
	atomic_store(&record->sequence, 0);
	r = zr_backing_new(&store->backings[index], record, io);
	if (r < 0)
		return r;

	ZR_CRASH("backing");
	*idp = atomic_fetch_add(&store->superblock->next_backing_id, 1) + 1;
	store->backings[index]->id = *idp;
	atomic_store(&record->id, *idp);
	return 0;
}

/* Its attributes may be on their way out. */
static bool names(struct zr_disk *disk, uint64_t id)
{
	ZR_GUARD_SHARED(&disk->shape);

	return zr_disk_attrs_valid(disk)->backing_id == id;
}

static bool is_named_locked(const struct zr_store *store, uint64_t id)
{
	struct zr_disk *disk;

	for (disk = store->disks; disk; disk = disk->next) {
		if (names(disk, id))
			return true;
	}
	return false;
}

static bool is_idle_locked(const struct zr_store *store, unsigned int index)
{
	zr_assert_held(ZR_RANK_DIR);

	return !is_named_locked(store, store->backings[index]->id) &&
	       atomic_load(&store->backings[index]->xusers) == 0;
}

bool zr_store_backing_is_idle(struct zr_store *store, uint64_t id)
{
	int i;

	ZR_GUARD_SHARED(&store->dir);

	i = index_find(store, id);
	return i >= 0 && is_idle_locked(store, (unsigned int)i);
}

int zr_store_backing_remove(struct zr_store *store, uint64_t id)
{
	struct zr_backing_record *record;
	int i;

	ZR_GUARD_EXCLUSIVE(&store->dir);

	i = index_find(store, id);
	if (i < 0)
		return i;
	if (!is_idle_locked(store, (unsigned int)i))
		return -EBUSY;

	record = &store->superblock->backings[i];
	atomic_store(&record->id, 0);
	ZR_CRASH("backing-gone");
	explicit_bzero(record->key, sizeof(record->key));
	store->backings[i] = zr_backing_free(store->backings[i]);
	return 0;
}

/* disks */

int zr_store_back(struct zr_store *store, struct zr_disk *disk, uint64_t id)
{
	struct zr_backing *backing;

	ZR_GUARD_SHARED(&store->dir);

	backing = zr_store_backing_find_locked(store, id);
	if (id != 0 && !backing)
		return -ENOENT;
	return zr_disk_set_backing(disk, id, backing);
}

struct zr_room *zr_store_room(struct zr_store *store)
{
	return &store->engine.room;
}

const struct zr_backing_record *zr_store_backing_removed(const struct zr_store *store,
							 unsigned int index)
{
	const struct zr_backing_record *record = &store->superblock->backings[index];

	ZR_ASSERT(index < ZR_BACKINGS_MAX);
	return atomic_load(&record->id) == 0 && memchr(record->path, 0, sizeof(record->path))
		       ? record
		       : NULL;
}

struct zr_backing *zr_store_backing_use(struct zr_store *store, unsigned int index)
{
	struct zr_backing *backing;

	ZR_GUARD_SHARED(&store->dir);

	backing = store->backings[index];
	if (backing)
		atomic_fetch_add(&backing->xusers, 1);
	return backing;
}

void zr_store_backing_unuse(struct zr_backing *backing)
{
	atomic_fetch_sub(&backing->xusers, 1);
}

bool zr_store_punch(struct zr_store *store, uint32_t n_least)
{
	struct zr_backing *backing;
	bool can_be = false;
	unsigned int i;

	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		backing = zr_store_backing_use(store, i);
		if (!backing)
			continue;
		if (backing->io && backing->io->punch) {
			can_be = true;
			/* What is refused is tried again with what comes to be free. */
			(void)zr_backing_punch(backing, n_least);
		}
		zr_store_backing_unuse(backing);
	}
	return can_be;
}

/* taking over */

int zr_store_backing_attach(struct zr_store *store, unsigned int index,
			    const struct zr_backing_io *io)
{
	struct zr_backing_record *record = &store->superblock->backings[index];

	ZR_ASSERT(!store->loaded && index < ZR_BACKINGS_MAX);

	/* It may have gone, and another have come, since this was called last. */
	store->backings[index] = zr_backing_free(store->backings[index]);
	if (atomic_load(&record->id) == 0)
		return 0;
	if (record->seal_bytes > ZR_SEAL_BYTES_MAX || record->size_bytes < 2 * ZR_BLOCK_BYTES ||
	    record->size_bytes > ZR_BACKING_BYTES_MAX)
		return -EUCLEAN;
	return zr_backing_new(&store->backings[index], record, io);
}

int zr_store_backings_load(struct zr_store *store)
{
	unsigned int i;
	int r = 0;

	for (i = 0; r == 0 && i < ZR_BACKINGS_MAX; ++i) {
		const uint64_t id = atomic_load(&store->superblock->backings[i].id);

		/* It was there when it was looked at, and is not any more. */
		if (id == 0)
			store->backings[i] = zr_backing_free(store->backings[i]);
		/* The file is not there: what was on it is lost, and all else goes on. */
		if (id != 0 && (!store->backings[i] || store->backings[i]->id != id))
			r = zr_store_backing_attach(store, i, NULL);
		if (r == 0 && store->backings[i])
			zr_backing_begin(store->backings[i]);
	}
	return r;
}

/* checking */

void zr_store_backings_validate(struct zr_store *store)
{
	struct zr_backing *backing;
	struct zr_disk *disk;
	uint64_t frame_bytes;
	uint16_t *counts;
	unsigned int i;

	for (i = 0; i < ZR_BACKINGS_MAX; ++i) {
		backing = store->backings[i];
		if (!backing)
			continue;
		counts = calloc(backing->n_blocks, sizeof(*counts));
		frame_bytes = 0;
		for (disk = store->disks; counts && disk; disk = disk->next) {
			if (disk->pages.backing != backing)
				continue;
			zr_pages_count_frames(&disk->pages, counts);
			frame_bytes +=
				(uint64_t)atomic_load(&disk->pages.xgauges[ZR_GAUGE_FRAME_BYTES]);
		}
		if (counts)
			zr_backing_validate(backing, counts, frame_bytes);
		free(counts);
	}
}
