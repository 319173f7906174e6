/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "disk.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "swap-header.h"

static uint32_t in_page(uint64_t offset)
{
	return (uint32_t)(offset % ZR_PAGE_SIZE);
}

static uint64_t page_of(uint64_t offset)
{
	return offset >> ZR_PAGE_SHIFT;
}

/* How many pages the range touches. */
static uint64_t pages_touched(uint64_t offset, uint64_t n_bytes)
{
	return n_bytes == 0 ? 0 : page_of(offset + n_bytes - 1) - page_of(offset) + 1;
}

static void count(_Atomic uint64_t *counter, uint64_t n_more)
{
	atomic_fetch_add_explicit(counter, n_more, memory_order_relaxed);
}

int64_t zr_disk_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void touch(struct zr_disk *disk)
{
	const int64_t now = zr_disk_now_ns();

	atomic_store_explicit(&disk->entry->mtime_ns, now, memory_order_relaxed);
	atomic_store_explicit(&disk->entry->ctime_ns, now, memory_order_relaxed);
}

/* attributes: two copies and a word that says which is valid */

static const struct zr_attrs *attrs_valid(const struct zr_disk *disk)
{
	return &disk->entry->attrs[atomic_load(&disk->entry->valid) & 1];
}

/* Write the other copy, flip the word. The caller holds the shape exclusive. */
static void attrs_publish_locked(struct zr_disk *disk, const struct zr_attrs *attrs)
{
	const uint64_t valid = atomic_load(&disk->entry->valid);

	zr_assert_held(ZR_RANK_DISK);

	disk->entry->attrs[~valid & 1] = *attrs;
	atomic_store(&disk->entry->valid, valid + 1);
	atomic_store(&disk->pages.xlimit_bytes, attrs->mem_limit_bytes);
}

/* The same with other codecs, on an empty disk: readers look at them without the shape, but only
 * for a slot that is no hole. */
static void codecs_publish_locked(struct zr_disk *disk, const struct zr_attrs *attrs)
{
	attrs_publish_locked(disk, attrs);
	memcpy(disk->pages.codecs, attrs->codecs, sizeof(attrs->codecs));
}

int zr_disk_new(struct zr_disk **diskp, struct zr_engine *engine, struct zr_entry *entry,
		unsigned int entry_no)
{
	struct zr_disk *disk;

	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return -ENOMEM;

	disk->id = atomic_load(&entry->id);
	disk->entry = entry;
	disk->engine = engine;
	disk->entry_no = entry_no;
	zr_rwlock_init(&disk->shape, ZR_RANK_DISK);
	zr_pages_init(&disk->pages, engine, entry);
	atomic_store(&disk->pages.xlimit_bytes, attrs_valid(disk)->mem_limit_bytes);
	memcpy(disk->pages.codecs, attrs_valid(disk)->codecs, sizeof(disk->pages.codecs));
	memcpy(disk->name, attrs_valid(disk)->name, sizeof(disk->name));
	atomic_init(&disk->xpins, 1);

	*diskp = disk;
	return 0;
}

struct zr_disk *zr_disk_free(struct zr_disk *disk)
{
	if (!disk)
		return NULL;

	if (disk->removed)
		zr_pages_retire(&disk->pages, zr_pages_unhook(&disk->pages));
	zr_pages_deinit(&disk->pages);
	zr_rwlock_deinit(&disk->shape);
	free(disk);
	return NULL;
}

uint64_t zr_disk_size(const struct zr_disk *disk)
{
	return atomic_load_explicit(&disk->entry->size_bytes, memory_order_acquire);
}

uint64_t zr_disk_orig_bytes(const struct zr_disk *disk)
{
	return (uint64_t)atomic_load_explicit(&disk->pages.xgauges[ZR_GAUGE_PAGES],
					      memory_order_relaxed)
	       << ZR_PAGE_SHIFT;
}

/* reading and writing */

static int read_page(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, uint8_t *bytes,
		     size_t n_bytes)
{
	int r;

	if (n_bytes == ZR_PAGE_SIZE)
		return zr_page_read(&disk->pages, ctx, page_of(offset), bytes);

	r = zr_page_read(&disk->pages, ctx, page_of(offset), ctx->page);
	if (r == 0)
		memcpy(bytes, ctx->page + in_page(offset), n_bytes);
	return r;
}

int zr_disk_read(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, void *bytes,
		 size_t n_bytes, size_t *n_readp)
{
	const uint64_t size = zr_disk_size(disk);
	size_t n_done = 0, n_step;
	int r;

	/* The kernel does not clip direct reads at the end: this does. */
	n_bytes = offset < size ? zr_min(n_bytes, size - offset) : 0;
	count(&disk->entry->counters.num_reads, pages_touched(offset, n_bytes));

	for (; n_done < n_bytes; n_done += n_step) {
		n_step = zr_min(n_bytes - n_done, ZR_PAGE_SIZE - in_page(offset + n_done));
		r = read_page(disk, ctx, offset + n_done, (uint8_t *)bytes + n_done, n_step);
		if (r < 0) {
			count(&disk->entry->counters.failed_reads, 1);
			return r;
		}
	}

	*n_readp = n_done;
	return 0;
}

static int write_page(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset,
		      const uint8_t *bytes, size_t n_bytes)
{
	if (n_bytes == ZR_PAGE_SIZE)
		return zr_page_write(&disk->pages, ctx, page_of(offset), bytes);
	return zr_page_update(&disk->pages, ctx, page_of(offset), in_page(offset),
			      (uint32_t)n_bytes, bytes);
}

/* Writers at the end race for the larger size; the shape keeps truncation out. */
static void size_raise(struct zr_disk *disk, uint64_t size_bytes)
{
	uint64_t seen = zr_disk_size(disk);

	while (seen < size_bytes &&
	       !atomic_compare_exchange_weak(&disk->entry->size_bytes, &seen, size_bytes))
		;
}

static int range_check(struct zr_disk *disk, uint64_t offset, uint64_t n_bytes)
{
	if (offset <= ZR_DISK_SIZE_MAX && n_bytes <= ZR_DISK_SIZE_MAX - offset)
		return 0;

	count(&disk->entry->counters.invalid_io, 1);
	return -EFBIG;
}

int zr_disk_write(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, const void *bytes,
		  size_t n_bytes, size_t *n_writtenp)
{
	size_t n_step;
	int r;

	*n_writtenp = 0;
	r = range_check(disk, offset, n_bytes);
	if (r < 0)
		return r;

	ZR_GUARD_SHARED(&disk->shape);

	if (disk->removed)
		return -ESTALE;

	count(&disk->entry->counters.num_writes, pages_touched(offset, n_bytes));
	while (r == 0 && *n_writtenp < n_bytes) {
		const uint64_t at = offset + *n_writtenp;

		n_step = zr_min(n_bytes - *n_writtenp, ZR_PAGE_SIZE - in_page(at));
		r = write_page(disk, ctx, at, (const uint8_t *)bytes + *n_writtenp, n_step);
		if (r == 0)
			*n_writtenp += n_step;
		else
			count(&disk->entry->counters.failed_writes, 1);
	}

	/* The pages first, then the size that shows them. */
	if (*n_writtenp > 0) {
		size_raise(disk, offset + *n_writtenp);
		touch(disk);
	}
	return r;
}

/* holes */

static void discard_pages(struct zr_disk *disk, uint64_t page_no, uint64_t end)
{
	while (page_no < end && page_no % ZR_LEAF_SLOTS != 0)
		zr_page_discard(&disk->pages, page_no++);

	while (zr_slots_next_leaf(&disk->pages.slots, page_no >> ZR_LEAF_SHIFT,
				  end >> ZR_LEAF_SHIFT, &page_no)) {
		zr_page_discard_leaf(&disk->pages, page_no);
		page_no = (page_no + 1) << ZR_LEAF_SHIFT;
	}

	for (page_no = zr_max(page_no, zr_align_down(end, ZR_LEAF_SLOTS)); page_no < end; ++page_no)
		zr_page_discard(&disk->pages, page_no);
}

/* Zero part of a page that lies within the disk. */
static int zero_part(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, uint64_t n_bytes)
{
	if (n_bytes == 0)
		return 0;
	return zr_page_update(&disk->pages, ctx, page_of(offset), in_page(offset),
			      (uint32_t)n_bytes, NULL);
}

/* The ends can fail, the whole pages between them cannot: so the ends go first. */
static int punch_range(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, uint64_t end)
{
	const uint64_t first = zr_align_up(offset, ZR_PAGE_SIZE);
	const uint64_t last = zr_align_down(end, ZR_PAGE_SIZE);
	int r;

	if (first > last)
		return zero_part(disk, ctx, offset, end - offset);

	r = zero_part(disk, ctx, offset, first - offset);
	if (r < 0)
		return r;
	r = zero_part(disk, ctx, last, end - last);
	if (r < 0)
		return r;

	count(&disk->entry->counters.notify_free, page_of(last - first));
	discard_pages(disk, page_of(first), page_of(last));
	return 0;
}

/* @whole_tail: nobody writes past the size meanwhile, so that up to there means the whole last
 * page: what lies past the size in it is zero already. */
static int punch_locked(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, uint64_t n_bytes,
			bool whole_tail)
{
	const uint64_t size = zr_disk_size(disk);
	uint64_t end;
	int r;

	if (disk->removed)
		return -ESTALE;
	if (n_bytes == 0 || offset >= size)
		return 0;

	end = n_bytes < size - offset ? offset + n_bytes : size;
	if (whole_tail && end == size)
		end = zr_align_up(size, ZR_PAGE_SIZE);
	r = punch_range(disk, ctx, offset, end);
	if (r == 0)
		touch(disk);
	return r;
}

int zr_disk_punch(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, uint64_t n_bytes)
{
	const uint64_t size = zr_disk_size(disk);

	if (in_page(size) != 0 && offset < size && n_bytes >= size - offset) {
		ZR_GUARD_EXCLUSIVE(&disk->shape);
		return punch_locked(disk, ctx, offset, n_bytes, true);
	}

	ZR_GUARD_SHARED(&disk->shape);
	return punch_locked(disk, ctx, offset, n_bytes, false);
}

/* size */

int zr_disk_extend(struct zr_disk *disk, uint64_t size_bytes)
{
	if (size_bytes > ZR_DISK_SIZE_MAX)
		return -EFBIG;

	ZR_GUARD_SHARED(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	if (size_bytes > zr_disk_size(disk)) {
		size_raise(disk, size_bytes);
		touch(disk);
	}
	return 0;
}

/* Drop what lies past the size, which is set already. May be repeated. */
static void drop_past_size_locked(struct zr_disk *disk)
{
	const uint64_t size = zr_disk_size(disk);

	zr_assert_held(ZR_RANK_DISK);

	if (size == 0) {
		zr_pages_retire(&disk->pages, zr_pages_unhook(&disk->pages));
		return;
	}
	discard_pages(disk, page_of(zr_align_up(size, ZR_PAGE_SIZE)), ZR_DISK_PAGES_MAX);
	zr_pages_prune(&disk->pages);
}

static int truncate_locked(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes)
{
	const uint64_t old = zr_disk_size(disk);
	const uint64_t page_end = zr_align_up(size_bytes, ZR_PAGE_SIZE);
	int r;

	zr_assert_held(ZR_RANK_DISK);

	if (disk->removed)
		return -ESTALE;

	if (size_bytes < old) {
		r = zero_part(disk, ctx, size_bytes, page_end - size_bytes);
		if (r < 0)
			return r;
	}

	atomic_store(&disk->entry->size_bytes, size_bytes);
	if (size_bytes < old)
		drop_past_size_locked(disk);
	touch(disk);
	return 0;
}

int zr_disk_truncate(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes)
{
	if (size_bytes > ZR_DISK_SIZE_MAX)
		return -EFBIG;

	ZR_GUARD_EXCLUSIVE(&disk->shape);
	return truncate_locked(disk, ctx, size_bytes);
}

/* The shape is held exclusive, so nobody writes meanwhile; the pages come before the size. */
static int format_locked(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes)
{
	ZR_CLEANUP(zr_freep) struct zr_swap_header *header = NULL;
	const struct zr_attrs *attrs = attrs_valid(disk);
	uint64_t at;
	int r;

	if (attrs->format != ZR_FORMAT_SWAP)
		return 0;

	header = malloc(sizeof(*header));
	if (!header)
		return -ENOMEM;

	r = zr_swap_header_make(header, size_bytes, attrs->label, attrs->uuid);
	for (at = 0; r == 0 && at < header->n_bytes; at += ZR_PAGE_SIZE)
		r = zr_page_write(&disk->pages, ctx, page_of(at), header->bytes + at);
	if (r < 0)
		drop_past_size_locked(disk);
	return r;
}

int zr_disk_set_disksize(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes)
{
	int r;

	if (size_bytes == 0)
		return -EINVAL;
	if (size_bytes > ZR_DISK_SIZE_MAX)
		return -EFBIG;
	size_bytes = zr_align_up(size_bytes, ZR_PAGE_SIZE);

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	if (zr_disk_size(disk) != 0)
		return -EBUSY;

	r = format_locked(disk, ctx, size_bytes);
	return r < 0 ? r : truncate_locked(disk, ctx, size_bytes);
}

/* The lowest page of [page_no, end) for which zr_page_is_data() is @data; @end if none is. */
static uint64_t seek_page(struct zr_disk *disk, uint64_t page_no, uint64_t end, bool data)
{
	uint64_t leaf_no;

	while (page_no < end) {
		if (!zr_slots_next_leaf(&disk->pages.slots, page_no >> ZR_LEAF_SHIFT,
					(end + ZR_LEAF_SLOTS - 1) >> ZR_LEAF_SHIFT, &leaf_no))
			return data ? end : page_no;

		/* Absent leaves up to that one are holes. */
		if (leaf_no > page_no >> ZR_LEAF_SHIFT) {
			if (!data)
				return page_no;
			page_no = leaf_no << ZR_LEAF_SHIFT;
		}

		do {
			if (page_no >= end || zr_page_is_data(&disk->pages, page_no) == data)
				return page_no;
			++page_no;
		} while (page_no % ZR_LEAF_SLOTS != 0);
	}
	return end;
}

static int disk_seek(struct zr_disk *disk, uint64_t offset, bool data, uint64_t *foundp)
{
	uint64_t size, page_no, end;

	ZR_GUARD_SHARED(&disk->shape);

	size = zr_disk_size(disk);
	if (offset >= size)
		return -ENXIO;

	end = page_of(zr_align_up(size, ZR_PAGE_SIZE));
	page_no = seek_page(disk, page_of(offset), end, data);
	if (page_no == end && data)
		return -ENXIO;

	*foundp = zr_min(size, zr_max(offset, page_no << ZR_PAGE_SHIFT));
	return 0;
}

int zr_disk_seek_data(struct zr_disk *disk, uint64_t offset, uint64_t *foundp)
{
	return disk_seek(disk, offset, true, foundp);
}

int zr_disk_seek_hole(struct zr_disk *disk, uint64_t offset, uint64_t *foundp)
{
	return disk_seek(disk, offset, false, foundp);
}

/* attributes */

void zr_disk_attrs(struct zr_disk *disk, struct zr_attrs *attrs)
{
	ZR_GUARD_SHARED(&disk->shape);
	*attrs = *attrs_valid(disk);
}

int zr_disk_set_mem_limit(struct zr_disk *disk, uint64_t limit_bytes)
{
	struct zr_attrs attrs;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	attrs = *attrs_valid(disk);
	attrs.mem_limit_bytes = limit_bytes;
	attrs_publish_locked(disk, &attrs);
	return 0;
}

int zr_disk_set_codec(struct zr_disk *disk, const struct zr_codec_params *params)
{
	struct zr_attrs attrs;
	int r;

	r = zr_codec_check(params);
	if (r < 0)
		return r;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	/* What a codec number means must not change while a slot uses it. */
	if (zr_disk_size(disk) != 0)
		return -EBUSY;
	attrs = *attrs_valid(disk);
	attrs.codecs[0] = *params;
	codecs_publish_locked(disk, &attrs);
	return 0;
}

int zr_disk_set_owner(struct zr_disk *disk, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct zr_attrs attrs;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	attrs = *attrs_valid(disk);
	attrs.mode = mode;
	attrs.uid = uid;
	attrs.gid = gid;
	attrs_publish_locked(disk, &attrs);
	atomic_store(&disk->entry->ctime_ns, zr_disk_now_ns());
	return 0;
}

int zr_disk_set_name(struct zr_disk *disk, const char *name, uint64_t replaces_id)
{
	struct zr_attrs attrs;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	attrs = *attrs_valid(disk);
	memset(attrs.name, 0, sizeof(attrs.name));
	memcpy(attrs.name, name, strlen(name));
	attrs.replaces_id = replaces_id;
	attrs_publish_locked(disk, &attrs);
	memcpy(disk->name, attrs.name, sizeof(disk->name));
	atomic_store(&disk->entry->ctime_ns, zr_disk_now_ns());
	return 0;
}

static void counters_clear(struct zr_counters *counters)
{
	atomic_store(&counters->num_reads, 0);
	atomic_store(&counters->num_writes, 0);
	atomic_store(&counters->failed_reads, 0);
	atomic_store(&counters->failed_writes, 0);
	atomic_store(&counters->invalid_io, 0);
	atomic_store(&counters->notify_free, 0);
	atomic_store(&counters->huge_pages_since, 0);
	atomic_store(&counters->undecodable_pages, 0);
	atomic_store(&counters->mem_used_max_bytes, 0);
}

int zr_disk_reset(struct zr_disk *disk, const struct zr_attrs *defaults)
{
	struct zr_attrs attrs = *defaults;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;

	memcpy(attrs.name, attrs_valid(disk)->name, sizeof(attrs.name));
	attrs.mode = attrs_valid(disk)->mode;
	attrs.uid = attrs_valid(disk)->uid;
	attrs.gid = attrs_valid(disk)->gid;
	attrs.replaces_id = 0;

	atomic_store(&disk->entry->size_bytes, 0);
	drop_past_size_locked(disk);
	codecs_publish_locked(disk, &attrs);
	counters_clear(&disk->entry->counters);
	touch(disk);
	return 0;
}

void zr_disk_remove(struct zr_disk *disk)
{
	ZR_GUARD_EXCLUSIVE(&disk->shape);
	disk->removed = true;
	atomic_store(&disk->entry->id, 0);
}

bool zr_disk_is_removed(struct zr_disk *disk)
{
	ZR_GUARD_SHARED(&disk->shape);
	return disk->removed;
}

void zr_disk_set_times(struct zr_disk *disk, const int64_t *atime_ns, const int64_t *mtime_ns)
{
	if (atime_ns)
		atomic_store(&disk->entry->atime_ns, *atime_ns);
	if (mtime_ns)
		atomic_store(&disk->entry->mtime_ns, *mtime_ns);
	atomic_store(&disk->entry->ctime_ns, zr_disk_now_ns());
}

/* The disk's part of what is populated and free in spans, which all disks share. */
static uint64_t open_bytes(struct zr_disk *disk, uint64_t used_bytes)
{
	const struct zr_pool_usage pool = zr_pool_usage(&disk->engine->pool);

	if (pool.live_bytes == 0 || pool.span_bytes <= pool.live_bytes)
		return 0;
	/* The pool may have changed since the disk was asked: at most all of it is the disk's. */
	return (uint64_t)((double)(pool.span_bytes - pool.live_bytes) *
			  ((double)zr_min(used_bytes, pool.live_bytes) / (double)pool.live_bytes));
}

void zr_disk_figures(struct zr_disk *disk, struct zr_disk_figures *figures)
{
	struct zr_tally *tally = &figures->tally;

	ZR_GUARD_SHARED(&disk->shape);

	zr_pages_tally(&disk->pages, tally);
	figures->size_bytes = zr_disk_size(disk);
	figures->orig_bytes = (uint64_t)tally->gauge[ZR_GAUGE_PAGES] << ZR_PAGE_SHIFT;
	figures->compr_bytes = (uint64_t)tally->gauge[ZR_GAUGE_COMPR_BYTES];
	figures->table_bytes = tally->n_nodes << ZR_PAGE_SHIFT;
	figures->used_bytes = (uint64_t)tally->gauge[ZR_GAUGE_CELL_BYTES] + figures->table_bytes;
	figures->total_bytes = figures->used_bytes + open_bytes(disk, figures->used_bytes);
	figures->max_bytes = zr_pages_peak(&disk->pages, figures->total_bytes);
	figures->limit_bytes = attrs_valid(disk)->mem_limit_bytes;
}

static bool tail_is_zero(const struct zr_ctx *ctx, uint32_t at)
{
	for (; at < ZR_PAGE_SIZE; ++at) {
		if (ctx->page[at] != 0)
			return false;
	}
	return true;
}

int zr_disk_settle(struct zr_disk *disk, struct zr_ctx *ctx)
{
	uint64_t size;
	int r;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	drop_past_size_locked(disk);
	size = zr_disk_size(disk);
	if (in_page(size) == 0)
		return 0;

	/* A page that does not decode stays as it is: its readers are told. */
	r = zr_page_read(&disk->pages, ctx, page_of(size), ctx->page);
	if (r < 0 || tail_is_zero(ctx, in_page(size)))
		return 0;

	return zero_part(disk, ctx, size, ZR_PAGE_SIZE - in_page(size));
}
