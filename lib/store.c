/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "store.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "compact.h"
#include "crash.h"
#include "store-parts.h"
#include "upkeep.h"

struct zr_store *zr_store_free(struct zr_store *store)
{
	struct zr_disk *disk;
	unsigned int i;

	if (!store)
		return NULL;

	zr_store_untend(store);
	while ((disk = store->disks)) {
		store->disks = disk->next;
		zr_disk_free(disk);
	}
	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		zr_backing_free(store->backings[i]);
	if (store->superblock) {
		zr_engine_deinit(&store->engine);
		zr_rwlock_deinit(&store->dir);
	}
	zr_arena_deinit(&store->engine.arena);
	free(store);
	return NULL;
}

int zr_store_tend(struct zr_store *store)
{
	int r;

	r = zr_store_tend_later(store, true);
	if (r == 0)
		zr_upkeep_begin(store->upkeep);
	return r;
}

int zr_store_tend_later(struct zr_store *store, bool in_real_time)
{
	return store->upkeep ? 0 : zr_upkeep_new(&store->upkeep, &store->engine, in_real_time);
}

void zr_store_untend(struct zr_store *store)
{
	store->upkeep = zr_upkeep_free(store->upkeep);
}

uint64_t zr_store_compact(struct zr_store *store)
{
	uint64_t n_bytes;

	(void)zr_compact(&store->engine, NULL, &n_bytes); /* nobody stops it */
	return n_bytes;
}

int zr_store_fd(const struct zr_store *store)
{
	return store->engine.arena.fd;
}

/* the list of disks */

void zr_store_list_add_locked(struct zr_store *store, struct zr_disk *disk)
{
	struct zr_disk **at = &store->disks;

	zr_assert_held(ZR_RANK_DIR);

	while (*at && (*at)->id < disk->id)
		at = &(*at)->next;
	disk->next = *at;
	*at = disk;
	store->entry_in_use[disk->entry_no] = true;
}

static void list_remove_locked(struct zr_store *store, struct zr_disk *disk)
{
	struct zr_disk **at = &store->disks;

	zr_assert_held(ZR_RANK_DIR);

	while (*at != disk)
		at = &(*at)->next;
	*at = disk->next;
	disk->next = NULL;
}

static struct zr_disk *list_find_locked(const struct zr_store *store, const char *name)
{
	struct zr_disk *disk;

	zr_assert_held(ZR_RANK_DIR);

	for (disk = store->disks; disk; disk = disk->next) {
		if (strcmp(disk->name, name) == 0)
			return disk;
	}
	return NULL;
}

static struct zr_disk *pin(struct zr_disk *disk)
{
	if (disk)
		atomic_fetch_add(&disk->xpins, 1);
	return disk;
}

struct zr_disk *zr_store_find(struct zr_store *store, const char *name)
{
	ZR_GUARD_SHARED(&store->dir);
	return pin(list_find_locked(store, name));
}

struct zr_disk *zr_store_next(struct zr_store *store, uint64_t id)
{
	struct zr_disk *disk;

	ZR_GUARD_SHARED(&store->dir);
	for (disk = store->disks; disk && disk->id <= id; disk = disk->next)
		;
	return pin(disk);
}

struct zr_disk *zr_store_get(struct zr_store *store, uint64_t id)
{
	struct zr_disk *disk = id > 0 ? zr_store_next(store, id - 1) : NULL;

	if (disk && disk->id != id)
		return zr_disk_unpin(store, disk);
	return disk;
}

static void entry_release(struct zr_store *store, unsigned int entry_no)
{
	ZR_GUARD_EXCLUSIVE(&store->dir);
	store->entry_in_use[entry_no] = false;
}

/* The list holds one pin, so the last one goes only after the disk was removed. */
struct zr_disk *zr_disk_unpin(struct zr_store *store, struct zr_disk *disk)
{
	unsigned int entry_no;

	if (!disk || atomic_fetch_sub(&disk->xpins, 1) > 1)
		return NULL;

	entry_no = disk->entry_no;
	zr_disk_free(disk);
	entry_release(store, entry_no);
	return NULL;
}

/* the directory */

bool zr_store_attrs_are_sound(const struct zr_attrs *attrs)
{
	const char *why;
	unsigned int i;

	if (memchr(attrs->name, 0, sizeof(attrs->name)) == NULL ||
	    zr_disk_name_check(attrs->name, &why) < 0)
		return false;
	for (i = 0; i < ZR_CODEC_NUMBERS; ++i) {
		if (zr_codec_check(&attrs->codecs[i]) < 0)
			return false;
	}
	return attrs->label[ZR_LABEL_MAX] == 0 && attrs->format <= ZR_FORMAT_SWAP &&
	       attrs->swap_priority >= -1 && attrs->swap_priority <= INT16_MAX &&
	       (attrs->mode & ~07777u) == 0 &&
	       (attrs->recomp_priorities & ~(((2u << ZR_RECOMP_MAX) - 1) & ~1u)) == 0 &&
	       attrs->on_limit <= ZR_ON_LIMIT_ENOSPC &&
	       attrs->backing_key <= ZR_BACKING_KEY_RANDOM && attrs->writeback_at <= 100 &&
	       attrs->spill_above_bytes <= ZR_PAGE_SIZE && attrs->writeback_batch_size > 0 &&
	       attrs->writeback_batch_size <= ZR_WRITEBACK_BATCH_SIZE_MAX &&
	       attrs->idle_age_s <= ZR_AGE_S_MAX && attrs->recompress_age_s <= ZR_AGE_S_MAX &&
	       attrs->writeback_age_s <= ZR_AGE_S_MAX && attrs->compact_at <= 100;
}

static bool has_policies(const struct zr_attrs *attrs)
{
	return zr_attrs_keep_ages(attrs) || attrs->compact_at != 0;
}

bool zr_store_has_policies(struct zr_store *store)
{
	const uint64_t n_entries = atomic_load(&store->superblock->n_entries);
	struct zr_attrs attrs;
	struct zr_disk *disk;
	unsigned int i;

	if (store->loaded) {
		ZR_GUARD_SHARED(&store->dir);
		for (disk = store->disks; disk; disk = disk->next) {
			zr_disk_attrs(disk, &attrs);
			if (has_policies(&attrs))
				return true;
		}
		return false;
	}
	for (i = 0; i < zr_min(n_entries, ZR_DISKS_MAX); ++i) {
		const struct zr_entry *entry = zr_store_entry(store, i);

		if (atomic_load(&entry->id) != 0 &&
		    has_policies(&entry->attrs[atomic_load(&entry->valid) & 1]))
			return true;
	}
	return false;
}

/* making: an entry is claimed, filled, and the disk in it made; its id and its place on the list
 * come last. Until then nobody sees it, and a death leaves the entry free. */

/* Return: the number of a free entry, which is the caller's then, -EEXIST or -ENOSPC. */
static int entry_claim(struct zr_store *store, const char *name)
{
	int entry_no;

	ZR_GUARD_EXCLUSIVE(&store->dir);

	if (list_find_locked(store, name))
		return -EEXIST;
	for (entry_no = 0; entry_no < (int)ZR_DISKS_MAX; ++entry_no) {
		if (!store->entry_in_use[entry_no]) {
			store->entry_in_use[entry_no] = true;
			return entry_no;
		}
	}
	return -ENOSPC;
}

/* Memory for the entry, and for those before it that others claimed: all below n_entries have it.
 */
static int entry_provide(struct zr_store *store, unsigned int entry_no)
{
	_Atomic uint64_t *n_entries = &store->superblock->n_entries;
	struct zr_arena *arena = &store->engine.arena;
	uint64_t next, at;
	int r = 0;

	/* Most were used before, and whoever brings memory elsewhere need not be waited for. */
	if (entry_no < atomic_load(n_entries))
		return 0;

	ZR_GUARD(&store->engine.pool.grow);

	while ((next = atomic_load(n_entries)) <= entry_no) {
		at = ZR_DIRECTORY_START + next * ZR_ENTRY_BYTES;
		if (at % arena->grain_bytes == 0)
			r = zr_arena_populate(arena, at, arena->grain_bytes);
		if (r < 0)
			return r;
		ZR_CRASH("provide");
		atomic_store(n_entries, next + 1);
	}
	return 0;
}

/* All but the id. */
static void entry_write(struct zr_entry *entry, const struct zr_attrs *attrs)
{
	const int64_t now = zr_disk_now_ns();

	memset(entry, 0, sizeof(*entry));
	entry->attrs[0] = *attrs;
	entry->attrs[0].replaces_id = 0;
	atomic_store(&entry->atime_ns, now);
	atomic_store(&entry->mtime_ns, now);
	atomic_store(&entry->ctime_ns, now);
}

static int disk_make(struct zr_store *store, const struct zr_attrs *attrs, struct zr_disk **diskp)
{
	const int claimed = entry_claim(store, attrs->name);
	const unsigned int entry_no = (unsigned int)claimed;
	struct zr_entry *entry;
	int r;

	if (claimed < 0)
		return claimed;

	r = entry_provide(store, entry_no);
	if (r == 0) {
		entry = zr_store_entry(store, entry_no);
		entry_write(entry, attrs);
		r = zr_disk_new(diskp, &store->engine, entry, entry_no,
				atomic_fetch_add(&store->superblock->next_id, 1));
	}
	if (r < 0)
		entry_release(store, entry_no);
	return r;
}

/* The maker's pin is the caller's; the list gets one of its own. */
static int disk_publish(struct zr_store *store, struct zr_disk *disk)
{
	ZR_GUARD_EXCLUSIVE(&store->dir);

	/* Somebody else may have taken the name meanwhile. */
	if (list_find_locked(store, disk->name))
		return -EEXIST;
	ZR_CRASH("make");
	atomic_store(&disk->entry->id, disk->id);
	zr_store_list_add_locked(store, pin(disk));
	ZR_CRASH("made");
	return 0;
}

int zr_store_add(struct zr_store *store, struct zr_ctx *ctx, const struct zr_disk_spec *spec,
		 struct zr_disk **diskp)
{
	struct zr_disk *disk;
	int r;

	/* What attaching would refuse must not get in. */
	if (!zr_store_attrs_are_sound(&spec->attrs))
		return -EINVAL;
	r = disk_make(store, &spec->attrs, &disk);
	if (r < 0)
		return r;

	if (spec->attrs.backing_id != 0)
		r = zr_store_back(store, disk, spec->attrs.backing_id);
	if (r == 0 && spec->disksize_bytes > 0)
		r = zr_disk_set_disksize(disk, ctx, spec->disksize_bytes);
	if (r == 0)
		r = disk_publish(store, disk);
	if (r < 0) {
		zr_disk_remove(disk); /* so that its pages go with it */
		zr_disk_unpin(store, disk);
		return r;
	}

	*diskp = disk;
	return 0;
}

uint64_t zr_store_next_id(const struct zr_store *store)
{
	return atomic_load(&store->superblock->next_id);
}

static void disk_remove_locked(struct zr_store *store, struct zr_disk *disk)
{
	list_remove_locked(store, disk);
	zr_disk_remove(disk);
}

/* Two may try: the second finds it gone. */
void zr_store_remove(struct zr_store *store, struct zr_disk *disk)
{
	{
		ZR_GUARD_EXCLUSIVE(&store->dir);
		if (disk->removed)
			return;
		disk_remove_locked(store, disk);
	}
	zr_disk_unpin(store, disk);
}

int zr_store_rename(struct zr_store *store, struct zr_disk *disk, const char *name,
		    struct zr_disk *replaced)
{
	struct zr_disk *there;
	const char *why;
	int r;

	r = zr_disk_name_check(name, &why);
	if (r < 0)
		return r;

	{
		ZR_GUARD_EXCLUSIVE(&store->dir);

		there = list_find_locked(store, name);
		if (there == disk)
			return 0;
		if (there && there != replaced)
			return -EEXIST;

		r = zr_disk_set_name(disk, name, there ? there->id : 0);
		if (r < 0)
			return r;
		ZR_CRASH("rename-over");
		if (there)
			disk_remove_locked(store, there);
	}

	zr_disk_unpin(store, there);
	return 0;
}
