/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "store.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "compact.h"
#include "store-parts.h"
#include "upkeep.h"

static struct zr_entry *entry_at(const struct zr_store *store, unsigned int entry_no)
{
	return zr_arena_at(&store->engine.arena,
			   ZR_DIRECTORY_START + (uint64_t)entry_no * ZR_ENTRY_BYTES);
}

static void superblock_write(struct zr_store *store)
{
	struct zr_superblock *superblock = store->superblock;

	superblock->layout_version = ZR_LAYOUT_VERSION;
	superblock->page_bytes = ZR_PAGE_SIZE;
	superblock->span_bytes = ZR_SPAN_BYTES;
	superblock->store_bytes = store->engine.arena.size_bytes;
	atomic_store(&superblock->next_id, 1);
	atomic_store(&superblock->n_entries, 0);
	atomic_store(&superblock->n_spans, 0);
	superblock->magic = ZR_MAGIC;
}

static int superblock_check(const struct zr_store *store)
{
	const struct zr_superblock *superblock = store->superblock;

	if (superblock->magic != ZR_MAGIC)
		return -EINVAL;
	if (superblock->layout_version != ZR_LAYOUT_VERSION ||
	    superblock->page_bytes != ZR_PAGE_SIZE || superblock->span_bytes != ZR_SPAN_BYTES)
		return -EPROTONOSUPPORT;
	if (superblock->store_bytes != store->engine.arena.size_bytes ||
	    atomic_load(&superblock->n_entries) > ZR_DISKS_MAX)
		return -EUCLEAN;
	return 0;
}

/* With nothing in it yet: zr_store_free() takes that. */
static struct zr_store *store_alloc(void)
{
	struct zr_store *store = calloc(1, sizeof(*store));

	if (store)
		store->engine.arena = (struct zr_arena)ZR_ARENA_NULL;
	return store;
}

/* What is above the arena, which the caller has made. */
static int store_assemble(struct zr_store *store)
{
	int r;

	r = zr_engine_init(&store->engine);
	if (r < 0)
		return r;

	zr_rwlock_init(&store->dir, ZR_RANK_DIR);
	store->superblock = zr_arena_at(&store->engine.arena, 0);
	return 0;
}

int zr_store_new(struct zr_store **storep, uint64_t size_bytes)
{
	ZR_CLEANUP(zr_store_freep) struct zr_store *store = NULL;
	int r;

	store = store_alloc();
	if (!store)
		return -ENOMEM;

	r = zr_arena_create(&store->engine.arena, size_bytes);
	if (r < 0)
		return r;
	r = store_assemble(store);
	if (r < 0)
		return r;
	r = zr_arena_populate(&store->engine.arena, 0, ZR_DIRECTORY_START);
	if (r < 0)
		return r;

	superblock_write(store);
	*storep = ZR_STEAL(store);
	return 0;
}

struct zr_store *zr_store_free(struct zr_store *store)
{
	struct zr_disk *disk;

	if (!store)
		return NULL;

	zr_store_untend(store);
	while ((disk = store->disks)) {
		store->disks = disk->next;
		zr_disk_free(disk);
	}
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
	return store->upkeep ? 0 : zr_upkeep_new(&store->upkeep, &store->engine);
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

static void list_add_locked(struct zr_store *store, struct zr_disk *disk)
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

/* The list holds one pin, so the last one goes only after the disk was removed. */
struct zr_disk *zr_disk_unpin(struct zr_store *store, struct zr_disk *disk)
{
	unsigned int entry_no;

	if (!disk || atomic_fetch_sub(&disk->xpins, 1) > 1)
		return NULL;

	entry_no = disk->entry_no;
	zr_disk_free(disk);
	ZR_GUARD_EXCLUSIVE(&store->dir);
	store->entry_in_use[entry_no] = false;
	return NULL;
}

/* the directory */

static bool attrs_are_sound(const struct zr_attrs *attrs)
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
	       (attrs->mode & ~07777u) == 0;
}

static int entry_find_free_locked(const struct zr_store *store, unsigned int *entry_nop)
{
	unsigned int entry_no;

	zr_assert_held(ZR_RANK_DIR);

	for (entry_no = 0; entry_no < ZR_DISKS_MAX; ++entry_no) {
		if (!store->entry_in_use[entry_no]) {
			*entry_nop = entry_no;
			return 0;
		}
	}
	return -ENOSPC;
}

/* Memory for the entry. One below n_entries has it, and a refusal would take it away. */
static int entry_provide(struct zr_store *store, unsigned int entry_no)
{
	int r;

	if (entry_no < atomic_load(&store->superblock->n_entries))
		return 0;

	r = zr_arena_populate(&store->engine.arena,
			      ZR_DIRECTORY_START + (uint64_t)entry_no * ZR_ENTRY_BYTES,
			      ZR_ENTRY_BYTES);
	if (r == 0)
		atomic_store(&store->superblock->n_entries, entry_no + 1);
	return r;
}

/* Fill a free entry. Its id is stored last: until then a death leaves it free. */
static void entry_write(struct zr_store *store, struct zr_entry *entry,
			const struct zr_attrs *attrs)
{
	const int64_t now = zr_disk_now_ns();

	memset(entry, 0, sizeof(*entry));
	entry->attrs[0] = *attrs;
	entry->attrs[0].replaces_id = 0;
	atomic_store(&entry->atime_ns, now);
	atomic_store(&entry->mtime_ns, now);
	atomic_store(&entry->ctime_ns, now);
	atomic_store(&entry->id, atomic_fetch_add(&store->superblock->next_id, 1));
}

static int disk_make_locked(struct zr_store *store, const struct zr_attrs *attrs,
			    struct zr_disk **diskp)
{
	struct zr_entry *entry;
	unsigned int entry_no;
	int r;

	/* What attaching would refuse must not get in. */
	if (!attrs_are_sound(attrs))
		return -EINVAL;
	if (list_find_locked(store, attrs->name))
		return -EEXIST;
	r = entry_find_free_locked(store, &entry_no);
	if (r < 0)
		return r;

	r = entry_provide(store, entry_no);
	if (r < 0)
		return r;

	entry = entry_at(store, entry_no);
	entry_write(store, entry, attrs);
	r = zr_disk_new(diskp, &store->engine, entry, entry_no);
	if (r < 0) {
		atomic_store(&entry->id, 0);
		return r;
	}
	list_add_locked(store, *diskp);
	return 0;
}

int zr_store_add(struct zr_store *store, struct zr_ctx *ctx, const struct zr_disk_spec *spec,
		 struct zr_disk **diskp)
{
	struct zr_disk *disk = NULL;
	int r;

	{
		ZR_GUARD_EXCLUSIVE(&store->dir);
		r = disk_make_locked(store, &spec->attrs, &disk);
		if (r < 0)
			return r;
		pin(disk);
	}

	if (spec->disksize_bytes > 0) {
		r = zr_disk_set_disksize(disk, ctx, spec->disksize_bytes);
		if (r < 0) {
			zr_store_remove(store, disk);
			zr_disk_unpin(store, disk);
			return r;
		}
	}

	*diskp = disk;
	return 0;
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
		if (there)
			disk_remove_locked(store, there);
	}

	zr_disk_unpin(store, there);
	return 0;
}

/* attaching */

/* Was the disk renamed over? The rename is what is published; the removal may not be. */
static bool is_replaced(const struct zr_store *store, uint64_t id)
{
	const uint64_t n_entries = atomic_load(&store->superblock->n_entries);
	unsigned int i;

	for (i = 0; i < n_entries; ++i) {
		const struct zr_entry *entry = entry_at(store, i);

		if (atomic_load(&entry->id) != 0 &&
		    entry->attrs[atomic_load(&entry->valid) & 1].replaces_id == id)
			return true;
	}
	return false;
}

/* Nothing goes before all that can be refused was looked at. */
static void drop_replaced(struct zr_store *store)
{
	const uint64_t n_entries = atomic_load(&store->superblock->n_entries);
	unsigned int i;

	for (i = 0; i < n_entries; ++i) {
		struct zr_entry *entry = entry_at(store, i);

		if (is_replaced(store, atomic_load(&entry->id)))
			atomic_store(&entry->id, 0);
	}
}

static int disk_attach(struct zr_store *store, unsigned int entry_no)
{
	struct zr_entry *entry = entry_at(store, entry_no);
	struct zr_disk *disk;
	int r;

	if (atomic_load(&entry->id) == 0 || is_replaced(store, atomic_load(&entry->id)))
		return 0;
	if (atomic_load(&entry->id) >= atomic_load(&store->superblock->next_id) ||
	    atomic_load(&entry->size_bytes) > ZR_DISK_SIZE_MAX ||
	    !attrs_are_sound(&entry->attrs[atomic_load(&entry->valid) & 1]))
		return -EUCLEAN;

	r = zr_disk_new(&disk, &store->engine, entry, entry_no);
	if (r < 0)
		return r;

	ZR_GUARD_EXCLUSIVE(&store->dir);
	list_add_locked(store, disk);
	return zr_pages_derive(&disk->pages) < 0 ? -EUCLEAN : 0;
}

/* An entry that was given memory by a worker that died before it counted it. */
static void directory_trim(struct zr_store *store)
{
	const uint64_t end = ZR_DIRECTORY_START +
			     atomic_load(&store->superblock->n_entries) * ZR_ENTRY_BYTES;

	zr_arena_punch(&store->engine.arena, end, ZR_SPAN_TABLE - end);
}

/* First all that is referred to, of all disks; only then may anything be freed or allocated. */
static int store_derive(struct zr_store *store)
{
	const uint64_t n_entries = atomic_load(&store->superblock->n_entries);
	unsigned int entry_no;
	int r;

	r = zr_pool_derive_begin(&store->engine.pool);
	if (r == -EINVAL)
		return -EUCLEAN;
	for (entry_no = 0; r == 0 && entry_no < n_entries; ++entry_no)
		r = disk_attach(store, entry_no);
	if (r < 0)
		return r;

	drop_replaced(store);
	zr_pool_derive_end(&store->engine.pool);
	zr_engine_set_mem_limit(&store->engine, atomic_load(&store->superblock->mem_limit_bytes));
	directory_trim(store);
	return 0;
}

static int store_settle(struct zr_store *store)
{
	ZR_CLEANUP(zr_ctx_freep) struct zr_ctx *ctx = NULL;
	struct zr_disk *disk;
	int r;

	r = zr_ctx_new(&ctx);
	for (disk = store->disks; r == 0 && disk; disk = disk->next)
		r = zr_disk_settle(disk, ctx);
	return r;
}

static int store_load(struct zr_store *store)
{
	int r;

	r = superblock_check(store);
	if (r < 0)
		return r;

	r = store_derive(store);
	return r < 0 ? r : store_settle(store);
}

int zr_store_attach(struct zr_store **storep, int fd)
{
	ZR_CLEANUP(zr_store_freep) struct zr_store *store = NULL;
	int r;

	store = store_alloc();
	if (!store)
		return -ENOMEM;

	r = zr_arena_attach(&store->engine.arena, fd);
	if (r < 0)
		return r;

	r = store_assemble(store);
	if (r == 0)
		r = store_load(store);
	if (r < 0) {
		store->engine.arena.fd = -1; /* still the caller's */
		return r;
	}

	*storep = ZR_STEAL(store);
	return 0;
}

void zr_store_set_mem_limit(struct zr_store *store, uint64_t limit_bytes)
{
	zr_engine_set_mem_limit(&store->engine, limit_bytes);
}

uint64_t zr_store_mem_limit(const struct zr_store *store)
{
	return atomic_load(&store->engine.xlimit_bytes);
}

void zr_store_usage_locked(const struct zr_store *store, const struct zr_pool_usage *pool,
			   struct zr_store_usage *usage)
{
	const struct zr_disk *disk;

	usage->memory_bytes = zr_arena_memory(&store->engine.arena);
	usage->reserve_bytes = pool->reserve_bytes;
	usage->span_bytes = pool->span_bytes;
	usage->wasted_bytes = pool->wasted_bytes;
	usage->span_table_bytes = pool->table_bytes;
	usage->pages_compacted = atomic_load(&store->superblock->pages_compacted);
	usage->n_disks = 0;
	for (disk = store->disks; disk; disk = disk->next)
		++usage->n_disks;
}

void zr_store_usage(struct zr_store *store, struct zr_store_usage *usage)
{
	const struct zr_pool_usage pool = zr_pool_usage(&store->engine.pool);

	ZR_GUARD_SHARED(&store->dir);
	zr_store_usage_locked(store, &pool, usage);
}

void zr_store_validate(struct zr_store *store)
{
	const uint64_t n_entries = atomic_load(&store->superblock->n_entries);
	const struct zr_pool_usage pool = zr_pool_usage(&store->engine.pool);
	const uint64_t live_bytes = zr_pool_validate(&store->engine.pool);
	uint64_t used_bytes = 0;
	struct zr_disk *disk;

	for (disk = store->disks; disk; disk = disk->next) {
		zr_pages_validate(&disk->pages);
		used_bytes += (uint64_t)atomic_load(&disk->pages.xused_bytes);
	}

	/* The sum is kept for the limit alone. */
	ZR_ASSERT(atomic_load(&store->superblock->mem_limit_bytes) == zr_store_mem_limit(store));
	ZR_ASSERT(zr_store_mem_limit(store) == 0 ||
		  (uint64_t)atomic_load(&store->engine.xused_bytes) == used_bytes);

	/* Every cell is some slot's or some tree's: else it was leaked. */
	ZR_ASSERT(live_bytes == used_bytes && live_bytes == pool.live_bytes - pool.borrowed_bytes);

	/* Nothing is populated that is not accounted for. */
	ZR_ASSERT(zr_arena_memory(&store->engine.arena) ==
		  ZR_DIRECTORY_START + n_entries * ZR_ENTRY_BYTES + pool.table_bytes +
			  pool.span_bytes);
}
