/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The memfd: making it, mapping it, and deriving from it what is not written down
 *
 * Mapping looks at nothing that may change, so that a successor can do it, and much of what takes
 * long, while another process serves. Loading looks at everything, and finishes what was half done.
 * Whoever dies in it leaves what the next one finishes.
 */

#include "store.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "crash.h"
#include "store-parts.h"

static void superblock_write(struct zr_store *store, uint64_t wanted_bytes)
{
	struct zr_superblock *superblock = store->superblock;

	superblock->layout_version = ZR_LAYOUT_VERSION;
	superblock->page_bytes = ZR_PAGE_SIZE;
	superblock->span_bytes = ZR_SPAN_BYTES;
	superblock->store_bytes = store->engine.arena.size_bytes;
	superblock->wanted_bytes = wanted_bytes;
	atomic_store(&superblock->next_id, 1);
	atomic_store(&superblock->n_entries, 0);
	atomic_store(&superblock->n_spans, 0);
	atomic_store(&superblock->shelf_bytes, 0);
	superblock->noswap = store->engine.arena.noswap;
	superblock->magic = ZR_MAGIC;
}

/* What never changes. */
static int superblock_check(const struct zr_store *store)
{
	const struct zr_superblock *superblock = store->superblock;

	if (superblock->magic != ZR_MAGIC)
		return -EINVAL;
	if (superblock->layout_version != ZR_LAYOUT_VERSION ||
	    superblock->page_bytes != ZR_PAGE_SIZE || superblock->span_bytes != ZR_SPAN_BYTES)
		return -EPROTONOSUPPORT;
	return superblock->store_bytes == store->engine.arena.size_bytes ? 0 : -EUCLEAN;
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
	r = zr_arena_populate(&store->engine.arena, 0,
			      zr_align_up(ZR_DIRECTORY_START, store->engine.arena.grain_bytes));
	if (r < 0)
		return r;

	superblock_write(store, size_bytes);
	store->loaded = true;
	*storep = ZR_STEAL(store);
	return 0;
}

int zr_store_map(struct zr_store **storep, int fd)
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
		r = superblock_check(store);
	if (r < 0) {
		store->engine.arena.fd = -1; /* still the caller's */
		return r;
	}

	*storep = ZR_STEAL(store);
	return 0;
}

/* Was the disk renamed over? The rename is what is published; the removal may not be. */
static bool is_replaced(const struct zr_store *store, uint64_t id)
{
	const uint64_t n_entries = atomic_load(&store->superblock->n_entries);
	unsigned int i;

	for (i = 0; i < n_entries; ++i) {
		const struct zr_entry *entry = zr_store_entry(store, i);

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
		struct zr_entry *entry = zr_store_entry(store, i);

		if (is_replaced(store, atomic_load(&entry->id)))
			atomic_store(&entry->id, 0);
	}
}

static int disk_attach(struct zr_store *store, unsigned int entry_no)
{
	struct zr_entry *entry = zr_store_entry(store, entry_no);
	const uint64_t id = atomic_load(&entry->id);
	struct zr_disk *disk;
	int r;

	if (id == 0 || is_replaced(store, id))
		return 0;
	if (id >= atomic_load(&store->superblock->next_id) ||
	    atomic_load(&entry->size_bytes) > ZR_DISK_SIZE_MAX ||
	    !zr_store_attrs_are_sound(&entry->attrs[atomic_load(&entry->valid) & 1]))
		return -EUCLEAN;

	r = zr_disk_new(&disk, &store->engine, entry, entry_no, id);
	if (r < 0)
		return r;

	ZR_GUARD_EXCLUSIVE(&store->dir);
	zr_store_list_add_locked(store, disk);
	zr_pages_set_backing(&disk->pages,
			     zr_store_backing_find_locked(store,
							  zr_disk_attrs_valid(disk)->backing_id));
	zr_disk_limits_apply(disk);
	return zr_pages_derive(&disk->pages) < 0 ? -EUCLEAN : 0;
}

/* Is there memory in all of it? Without, it would read as zeros. */
static bool is_there(const struct zr_store *store, uint64_t offset, uint64_t n_bytes)
{
	uint64_t start, end;

	return n_bytes == 0 || (zr_arena_next_data(&store->engine.arena, offset, &start, &end) &&
				start == offset && end >= offset + n_bytes);
}

/* What says how much there is, before any of that is looked at. */
static int extent_check(const struct zr_store *store)
{
	const struct zr_superblock *superblock = store->superblock;
	const uint64_t shelf_bytes = zr_store_shelf_bytes(store);

	if (atomic_load(&superblock->n_entries) > ZR_DISKS_MAX ||
	    atomic_load(&superblock->n_spans) > store->engine.pool.n_spans ||
	    shelf_bytes > ZR_SHELF_BYTES_MAX || shelf_bytes % store->engine.arena.grain_bytes != 0)
		return -EUCLEAN;
	if (!is_there(store, 0, zr_store_directory_end(store)) ||
	    !is_there(store, ZR_SHELF_START, shelf_bytes) ||
	    !is_there(store, ZR_SPAN_TABLE, atomic_load(&superblock->n_spans)))
		return -EUCLEAN;
	return 0;
}

/* What was given memory by a worker that died before it counted it: entries, and of the shelf. */
static void strays_punch(struct zr_store *store)
{
	const uint64_t directory_end = zr_store_directory_end(store);
	const uint64_t shelf_end = ZR_SHELF_START + zr_store_shelf_bytes(store);

	zr_arena_punch(&store->engine.arena, directory_end, ZR_SHELF_START - directory_end);
	if (shelf_end < ZR_SPAN_TABLE)
		zr_arena_punch(&store->engine.arena, shelf_end, ZR_SPAN_TABLE - shelf_end);
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
	if (r == 0)
		r = zr_store_backings_load(store);
	for (entry_no = 0; r == 0 && entry_no < n_entries; ++entry_no) {
		r = disk_attach(store, entry_no);
		ZR_CRASH("derive");
	}
	if (r < 0)
		return r;

	drop_replaced(store);
	ZR_CRASH("derived");
	zr_pool_derive_end(&store->engine.pool);
	zr_engine_set_mem_limit(&store->engine, atomic_load(&store->superblock->mem_limit_bytes));
	strays_punch(store);
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

int zr_store_load(struct zr_store *store)
{
	int r;

	ZR_ASSERT(!store->loaded);

	zr_arena_settle(&store->engine.arena);
	r = extent_check(store);
	if (r == 0)
		r = store_derive(store);
	if (r == 0)
		r = store_settle(store);
	if (r == 0)
		store->loaded = true;
	return r;
}

int zr_store_attach(struct zr_store **storep, int fd)
{
	ZR_CLEANUP(zr_store_freep) struct zr_store *store = NULL;
	int r;

	r = zr_store_map(&store, fd);
	if (r < 0)
		return r;

	r = zr_store_load(store);
	if (r < 0) {
		store->engine.arena.fd = -1; /* still the caller's */
		return r;
	}

	*storep = ZR_STEAL(store);
	return 0;
}
