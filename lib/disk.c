/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "disk.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "crash.h"
#include "disk-parts.h"
#include "swap-header.h"

/* How long a change waits for memory that is on its way: for a page, and for all it is to change.
 * Who swaps can take a refusal and must not be kept waiting: in all, and if none came to anybody.
 */
#define PATIENCE_NS           (INT64_C(1000) * 1000 * 1000)
#define PATIENCE_ALL_NS       (INT64_C(5000) * 1000 * 1000)
#define PATIENCE_SWAP_NS      (INT64_C(200) * 1000 * 1000)
#define PATIENCE_SWAP_NONE_NS (INT64_C(20) * 1000 * 1000)

/* And for room below a limit, while colder pages go to the file: until none went for so long, and in
 * all. */
#define PATIENCE_ROOM_NONE_NS (INT64_C(5000) * 1000 * 1000)
#define PATIENCE_ROOM_ALL_NS  (INT64_C(60000) * 1000 * 1000)

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
	/* Of adding nothing clang makes a load, and where a long has 32 bits (clang 14) one that wants
	 * a library. */
	if (n_more > 0)
		atomic_fetch_add_explicit(counter, n_more, memory_order_relaxed);
}

int64_t zr_disk_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void zr_disk_touch(struct zr_disk *disk)
{
	const int64_t now = zr_disk_now_ns();

	atomic_store_explicit(&disk->entry->mtime_ns, now, memory_order_relaxed);
	atomic_store_explicit(&disk->entry->ctime_ns, now, memory_order_relaxed);
}

int zr_disk_new(struct zr_disk **diskp, struct zr_engine *engine, struct zr_entry *entry,
		unsigned int entry_no, uint64_t id)
{
	struct zr_disk *disk;

	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return -ENOMEM;

	disk->id = id;
	disk->entry = entry;
	disk->engine = engine;
	disk->entry_no = entry_no;
	zr_rwlock_init(&disk->shape, ZR_RANK_DISK);
	zr_pages_init(&disk->pages, engine, entry, id);
	zr_disk_limits_apply(disk);
	zr_disk_take_codecs(disk);
	memcpy(disk->name, zr_disk_attrs_valid(disk)->name, sizeof(disk->name));
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

/* waiting for memory: between attempts, with nothing held */

struct patience {
	uint64_t generation;      /* of the pool, before the attempt */
	int64_t end_ns;           /* 0: there was no attempt yet */
	int64_t end_all_ns;       /* and not later, whatever was done since */
	int64_t silence_ns;       /* for how long none may come */
	bool is_last;             /* the attempt after the end */
	uint64_t room_generation; /* of the room, before the attempt */
	int64_t room_since_ns;    /* 0: it was not waited for */
	bool no_room;             /* there will be none */
};

static void attempt(struct zr_disk *disk, struct patience *patience)
{
	patience->generation = zr_pool_generation(&disk->engine->pool);
	patience->room_generation = zr_room_generation(&disk->engine->room);
}

static void patience_begin(struct zr_disk *disk, struct patience *patience)
{
	struct zr_attrs attrs;
	bool swaps;

	zr_disk_attrs(disk, &attrs);
	/* A worker that took over has a burst to answer, and little yet to give. */
	swaps = attrs.format == ZR_FORMAT_SWAP && zr_disk_size(disk) > 0 &&
		!zr_pool_is_new(&disk->engine->pool);
	patience->end_ns = zr_monotonic_ns() + (swaps ? PATIENCE_SWAP_NS : PATIENCE_NS);
	patience->end_all_ns = zr_monotonic_ns() + (swaps ? PATIENCE_SWAP_NS : PATIENCE_ALL_NS);
	patience->silence_ns = swaps ? PATIENCE_SWAP_NONE_NS : PATIENCE_NS;
}

/* Something else was waited for: if memory is wanted after that, it is as if for the first time. */
static void patience_forget(struct patience *patience)
{
	patience->end_ns = 0;
	patience->is_last = false;
}

/* The attempt did some of it. */
static void patience_renew(struct patience *patience)
{
	if (patience->end_ns == 0)
		return;
	patience->end_ns = (int64_t)zr_min((uint64_t)(zr_monotonic_ns() + PATIENCE_NS),
					   (uint64_t)patience->end_all_ns);
	patience->is_last = false;
}

static bool can_have_room(struct zr_disk *disk)
{
	ZR_GUARD_SHARED(&disk->shape);

	return zr_disk_spills(disk) && zr_room_is_made(&disk->engine->room);
}

/* The attempt passed a limit. Return: is there to be another one? */
static bool wait_for_room(struct zr_disk *disk, const struct zr_ctx *ctx, struct patience *patience,
			  int *r)
{
	struct zr_room *room = &disk->engine->room;
	int64_t now;
	bool came;

	if (patience->no_room || !can_have_room(disk))
		return false;
	if (!ctx->window) {
		*r = -EINPROGRESS;
		return false;
	}

	now = zr_monotonic_ns();
	if (patience->room_since_ns == 0)
		patience->room_since_ns = now;
	atomic_store(&disk->pages.xrefused, true);
	/* What failed long ago says nothing of now, nor that there was nothing to give to others. */
	if (atomic_load(&disk->pages.xspill_error) > 0 ||
	    atomic_load(&disk->pages.xspill_again_ns) <= now)
		atomic_store(&disk->pages.xspill_error, 0);
	zr_room_want(room);
	came = zr_room_wait(room, patience->room_generation, now + PATIENCE_ROOM_NONE_NS);
	if (!came)
		zr_room_give_up(room);
	patience->no_room = !came || atomic_load(&disk->pages.xspill_error) != 0 ||
			    now - patience->room_since_ns > PATIENCE_ROOM_ALL_NS;
	return true;
}

static void note_patience(struct zr_disk *disk, const struct patience *patience)
{
	if (patience->room_since_ns != 0)
		zr_latency_add(&disk->entry->spill_latency,
			       (uint64_t)(zr_monotonic_ns() - patience->room_since_ns));
}

/* The attempt wanted memory. Return: is there to be another one? */
static bool wait_for_memory(struct zr_disk *disk, struct patience *patience, int *r)
{
	int64_t now;

	if (patience->is_last) {
		*r = -ENOMEM;
		return false;
	}
	if (patience->end_ns == 0)
		patience_begin(disk, patience);

	/* Late is not in vain: memory may have come while this thread was waiting for a core. */
	now = zr_monotonic_ns();
	patience->is_last = now >= patience->end_ns ||
			    !zr_pool_wait(&disk->engine->pool, patience->generation,
					  (int64_t)zr_min((uint64_t)patience->end_ns,
							  (uint64_t)(now + patience->silence_ns)));
	return true;
}

/* The attempt was @r. Return: is there to be another one? */
static bool be_patient(struct zr_disk *disk, struct zr_ctx *ctx, struct patience *patience, int *r)
{
	bool again = false;

	if (*r == -EREMOTE) {
		*r = zr_ctx_fetch(ctx);
		again = *r == 0;
		patience_forget(patience);
	} else if (*r == -ENOSPC) {
		again = wait_for_room(disk, ctx, patience, r);
		patience_forget(patience);
	} else if (*r == -EAGAIN) {
		again = wait_for_memory(disk, patience, r);
	}
	if (!again)
		zr_ctx_settle(ctx);
	return again;
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
	int r = 0;

	/* The kernel does not clip direct reads at the end: this does. */
	n_bytes = offset < size ? zr_min(n_bytes, size - offset) : 0;
	ctx->reads_on = n_bytes > ZR_PAGE_SIZE;

	for (; r == 0 && n_done < n_bytes; n_done += n_step) {
		n_step = zr_min(n_bytes - n_done, ZR_PAGE_SIZE - in_page(offset + n_done));
		r = read_page(disk, ctx, offset + n_done, (uint8_t *)bytes + n_done, n_step);
	}
	zr_ctx_settle(ctx);
	if (r == -EINPROGRESS) /* it will be asked for again */
		return r;

	count(&disk->entry->counters.num_reads, pages_touched(offset, n_bytes));
	if (r < 0) {
		count(&disk->entry->counters.failed_reads, 1);
		return r;
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

/* From *n_writtenp on. Return: also -EAGAIN, with what was written before it. */
static int write_on(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, const uint8_t *bytes,
		    size_t n_bytes, size_t *n_writtenp)
{
	const size_t n_before = *n_writtenp;
	size_t n_step;
	int r = 0;

	ZR_GUARD_SHARED(&disk->shape);

	if (disk->removed)
		return -ESTALE;

	while (r == 0 && *n_writtenp < n_bytes) {
		const uint64_t at = offset + *n_writtenp;

		n_step = zr_min(n_bytes - *n_writtenp, ZR_PAGE_SIZE - in_page(at));
		r = write_page(disk, ctx, at, bytes + *n_writtenp, n_step);
		if (r == 0)
			*n_writtenp += n_step;
	}

	/* The pages first, then the size that shows them. */
	if (*n_writtenp > n_before) {
		size_raise(disk, offset + *n_writtenp);
		zr_disk_touch(disk);
	}
	return r;
}

int zr_disk_write(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, const void *bytes,
		  size_t n_bytes, size_t *n_writtenp)
{
	struct patience patience = { 0 };
	int r;

	*n_writtenp = 0;
	r = range_check(disk, offset, n_bytes);
	if (r < 0)
		return r;

	do {
		const size_t n_before = *n_writtenp;

		attempt(disk, &patience);
		r = write_on(disk, ctx, offset, bytes, n_bytes, n_writtenp);
		if (*n_writtenp > n_before)
			patience_renew(&patience);
	} while (be_patient(disk, ctx, &patience, &r));

	note_patience(disk, &patience);
	if (r == -ESTALE || r == -EINPROGRESS)
		return r;
	count(&disk->entry->counters.num_writes, pages_touched(offset, n_bytes));
	if (r < 0)
		count(&disk->entry->counters.failed_writes, 1);
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
		zr_disk_touch(disk);
	return r;
}

static int punch(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, uint64_t n_bytes)
{
	const uint64_t size = zr_disk_size(disk);

	if (in_page(size) != 0 && offset < size && n_bytes >= size - offset) {
		ZR_GUARD_EXCLUSIVE(&disk->shape);
		return punch_locked(disk, ctx, offset, n_bytes, true);
	}

	ZR_GUARD_SHARED(&disk->shape);
	return punch_locked(disk, ctx, offset, n_bytes, false);
}

int zr_disk_punch(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, uint64_t n_bytes)
{
	struct patience patience = { 0 };
	int r;

	do {
		attempt(disk, &patience);
		r = punch(disk, ctx, offset, n_bytes);
	} while (be_patient(disk, ctx, &patience, &r));
	if (r != -EINPROGRESS) /* it will be asked for again */
		count(&disk->entry->counters.num_discards, 1);
	return r;
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
		zr_disk_touch(disk);
	}
	return 0;
}

/* Drop what lies past the size, which is set already. May be repeated. */
void zr_disk_drop_past_size_locked(struct zr_disk *disk)
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

/* On an error nothing has changed. *stalep is what the caller retires once the shape is released,
 * so that nobody waits for that. */
static int truncate_locked(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes,
			   struct zr_stale *stalep)
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
	ZR_CRASH("truncate");
	if (size_bytes == 0)
		*stalep = zr_pages_unhook(&disk->pages);
	else if (size_bytes < old)
		zr_disk_drop_past_size_locked(disk);
	zr_disk_touch(disk);
	return 0;
}

int zr_disk_truncate(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes)
{
	struct patience patience = { 0 };
	struct zr_stale stale = { 0 };
	int r;

	if (size_bytes > ZR_DISK_SIZE_MAX)
		return -EFBIG;

	do {
		attempt(disk, &patience);
		ZR_GUARD_EXCLUSIVE(&disk->shape);
		r = truncate_locked(disk, ctx, size_bytes, &stale);
	} while (be_patient(disk, ctx, &patience, &r));
	zr_pages_retire(&disk->pages, stale);
	return r;
}

/* The shape is held exclusive, so nobody writes meanwhile; the pages come before the size. */
static int format_locked(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes)
{
	ZR_CLEANUP(zr_freep) struct zr_swap_header *header = NULL;
	const struct zr_attrs *attrs = zr_disk_attrs_valid(disk);
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
		zr_disk_drop_past_size_locked(disk);
	return r;
}

static int set_disksize(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes)
{
	struct zr_stale none = { 0 };
	int r;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	if (zr_disk_size(disk) != 0)
		return -EBUSY;

	r = format_locked(disk, ctx, size_bytes);
	ZR_CRASH("format");
	return r < 0 ? r : truncate_locked(disk, ctx, size_bytes, &none);
}

int zr_disk_set_disksize(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes)
{
	struct patience patience = { 0 };
	int r;

	if (size_bytes == 0)
		return -EINVAL;
	if (size_bytes > ZR_DISK_SIZE_MAX)
		return -EFBIG;

	do {
		attempt(disk, &patience);
		r = set_disksize(disk, ctx, zr_align_up(size_bytes, ZR_PAGE_SIZE));
	} while (be_patient(disk, ctx, &patience, &r));
	return r;
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

/* recompression */

static int recompress(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t page_no,
		      unsigned int priority, uint32_t threshold)
{
	ZR_GUARD(&disk->pages.change);
	ZR_GUARD_SHARED(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	if (priority > ZR_RECOMP_MAX || !(disk->pages.recomp_priorities >> priority & 1))
		return -EINVAL;
	return zr_page_recompress(&disk->pages, ctx, page_no, priority, threshold);
}

int zr_disk_recompress(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t page_no,
		       unsigned int priority, uint32_t threshold)
{
	struct patience patience = { 0 };
	int r;

	do {
		attempt(disk, &patience);
		r = recompress(disk, ctx, page_no, priority, threshold);
	} while (be_patient(disk, ctx, &patience, &r));
	return r;
}

int zr_disk_try_recompress(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t page_no,
			   unsigned int priority)
{
	return recompress(disk, ctx, page_no, priority, 0);
}

void zr_disk_remove(struct zr_disk *disk)
{
	ZR_GUARD_EXCLUSIVE(&disk->shape);
	disk->removed = true;
	atomic_store(&disk->entry->id, 0);
	ZR_CRASH("removed");
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

	zr_disk_drop_past_size_locked(disk);
	zr_disk_ages_apply_locked(disk);
	ZR_CRASH("settle");
	size = zr_disk_size(disk);
	if (in_page(size) == 0)
		return 0;

	/* A page that does not decode stays as it is: its readers are told. */
	r = zr_page_read(&disk->pages, ctx, page_of(size), ctx->page);
	if (r < 0 || tail_is_zero(ctx, in_page(size)))
		return 0;

	return zero_part(disk, ctx, size, ZR_PAGE_SIZE - in_page(size));
}
