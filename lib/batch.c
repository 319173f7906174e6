/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "batch.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "crash.h"
#include "disk-parts.h"
#include "pages-parts.h"

#define BATCH_BLOCKS 128u
#define BATCH_BYTES  (BATCH_BLOCKS * ZR_BLOCK_BYTES)

/* A page of the part that is under way. */
struct batched {
	uint64_t page_no;
	zr_slot slot, fresh; /* marked pending, and what is to be in its place */
};

struct zr_batch {
	uint8_t *bytes; /* aligned, for direct I/O */
	struct zr_ctx *ctx;
	struct zr_disk *disk;
	struct zr_batch_filter filter;
	uint32_t n_most; /* pages in one request */
	bool compressed;
	uint64_t n_out;   /* bytes, since it began */
	uint32_t n_named; /* of page_nos */
	uint32_t n_done;  /* of these: written, or left out */
	uint64_t page_nos[ZR_WRITEBACK_BATCH_SIZE_MAX];
	/* the part that is under way */
	struct zr_backing *backing;
	uint64_t first; /* block that was claimed */
	uint32_t n_blocks;
	uint32_t n_bytes; /* of them filled */
	uint32_t n_taken;
	struct batched taken[ZR_WRITEBACK_BATCH_SIZE_MAX];
};

int zr_batch_new(struct zr_batch **batchp)
{
	struct zr_batch *batch;
	int r;

	batch = malloc(sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	/* Its memory comes now, not when there is none. */
	memset(batch, 0xff, sizeof(*batch));
	batch->n_named = batch->n_done = 0;
	batch->ctx = NULL;
	batch->bytes = aligned_alloc(ZR_BLOCK_BYTES, BATCH_BYTES);
	r = batch->bytes ? zr_ctx_new(&batch->ctx) : -ENOMEM;
	if (r < 0) {
		zr_batch_free(batch);
		return r;
	}
	memset(batch->bytes, 0, BATCH_BYTES);
	*batchp = batch;
	return 0;
}

struct zr_batch *zr_batch_free(struct zr_batch *batch)
{
	if (!batch)
		return NULL;

	zr_ctx_free(batch->ctx);
	free(batch->bytes);
	free(batch);
	return NULL;
}

void zr_batch_begin(struct zr_batch *batch, struct zr_disk *disk,
		    const struct zr_batch_filter *filter)
{
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
	batch->disk = disk;
	batch->filter = *filter;
	batch->n_most = attrs.writeback_batch_size;
	batch->compressed = attrs.compressed_writeback != 0;
	batch->n_named = batch->n_done = 0;
	batch->n_out = 0;
}

uint64_t zr_batch_bytes(const struct zr_batch *batch)
{
	return batch->n_out;
}

bool zr_batch_add(struct zr_batch *batch, uint64_t page_no)
{
	ZR_ASSERT(batch->n_named < batch->n_most);

	batch->page_nos[batch->n_named++] = page_no;
	return batch->n_named == batch->n_most;
}

/* taking: what can fail without anything being changed */

/* Is the page one for the file? The one that the size cuts is not: whoever takes over after a death
 * must be able to zero what lies behind the size. */
static bool is_wanted(const struct zr_batch *batch, uint64_t page_no, zr_slot slot)
{
	return zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT &&
	       (slot & batch->filter.marks) == batch->filter.marks &&
	       zr_slot_length(slot) >= batch->filter.n_bytes_min &&
	       page_no < zr_disk_size(batch->disk) >> ZR_PAGE_SHIFT;
}

static zr_slot peek(struct zr_pages *pages, uint64_t page_no)
{
	ZR_GUARD_SHARED(zr_pages_stripe(pages, page_no));

	return zr_pages_slot(zr_slots_find(&pages->slots, page_no));
}

static uint32_t frame_bytes(const struct zr_batch *batch, zr_slot slot)
{
	return zr_frame_bytes(batch->backing,
			      batch->compressed ? zr_slot_length(slot) : ZR_PAGE_SIZE);
}

/* What is left of the named pages takes about that much. Pages may change until their turn. */
static uint64_t bytes_wanted(const struct zr_batch *batch)
{
	uint64_t n_bytes = 0;
	uint32_t i;

	for (i = batch->n_done; i < batch->n_named && n_bytes < BATCH_BYTES; ++i) {
		const zr_slot slot = peek(&batch->disk->pages, batch->page_nos[i]);

		if (is_wanted(batch, batch->page_nos[i], slot))
			n_bytes += frame_bytes(batch, slot);
	}
	return zr_min(n_bytes, (uint64_t)BATCH_BYTES);
}

/* Return: whether the disk may have as much more of the file. */
static bool is_within_quota(const struct zr_batch *batch, uint64_t n_bytes)
{
	const uint64_t limit = zr_disk_attrs_valid(batch->disk)->backing_limit_bytes;
	const int64_t used = atomic_load(&batch->disk->pages.xgauges[ZR_GAUGE_FRAME_BYTES]);

	return limit == 0 || (uint64_t)used + n_bytes <= limit;
}

/* One page of writeback_limit. */
static bool budget_take(struct zr_disk *disk)
{
	uint64_t left = atomic_load(&disk->entry->writeback_limit);

	if (atomic_load(&disk->entry->writeback_limit_enable) == 0)
		return true;
	do {
		if (left == 0)
			return false;
	} while (!atomic_compare_exchange_weak(&disk->entry->writeback_limit, &left, left - 1));
	return true;
}

static void budget_give_back(struct zr_disk *disk, uint32_t n_pages)
{
	if (atomic_load(&disk->entry->writeback_limit_enable) != 0)
		atomic_fetch_add(&disk->entry->writeback_limit, n_pages);
}

/* A copy of the page as it was when its change began, sealed, behind the others. Return: 0;
 * ZR_PAGE_E_AS_IT_WAS, -EIO. */
static int seal(struct zr_batch *batch, uint64_t page_no, zr_slot slot, uint64_t sequence)
{
	struct zr_pages *pages = &batch->disk->pages;
	const struct zr_backing_io *io = batch->backing->io;
	const struct zr_frame_owner owner = { pages->disk_id, page_no };
	const void *object = batch->ctx->page;
	int r;

	ZR_GUARD_SHARED(zr_pages_stripe(pages, page_no));

	if (!zr_slot_is_still(zr_pages_slot(zr_slots_find(&pages->slots, page_no)), slot))
		return ZR_PAGE_E_AS_IT_WAS;
	if (!batch->compressed) {
		r = zr_pages_decode(pages, batch->ctx, slot, batch->ctx->page);
		if (r < 0)
			return r;
	} else {
		object = zr_pool_at(&pages->engine->pool, zr_slot_position(slot));
	}
	io->seal(io->context, &owner, sequence, object,
		 batch->compressed ? zr_slot_length(slot) : ZR_PAGE_SIZE,
		 batch->bytes + batch->n_bytes);
	return 0;
}

/* Return: 0; 1 where it has no room in the part; -EIO where the budget is used up. */
static int take_page(struct zr_batch *batch, uint64_t page_no, uint64_t sequence)
{
	struct zr_pages *pages = &batch->disk->pages;
	struct batched *taken = &batch->taken[batch->n_taken];
	const uint64_t position = (batch->first * ZR_BLOCK_BYTES + batch->n_bytes) / ZR_CELL_UNIT;
	zr_slot slot = peek(pages, page_no);

	if (!is_wanted(batch, page_no, slot))
		return 0;
	if (batch->n_bytes + frame_bytes(batch, slot) > batch->n_blocks * ZR_BLOCK_BYTES)
		return 1;
	if (!budget_take(batch->disk))
		return -EIO;
	if (zr_page_change_begin(pages, page_no, &slot) != 0) {
		budget_give_back(batch->disk, 1);
		return 0;
	}
	/* It may have been written since it was looked at. */
	if (batch->n_bytes + frame_bytes(batch, slot) > batch->n_blocks * ZR_BLOCK_BYTES ||
	    seal(batch, page_no, slot, sequence) != 0) {
		zr_page_change_drop(pages, page_no, slot, 0);
		budget_give_back(batch->disk, 1);
		return 0;
	}

	*taken = (struct batched){ page_no, slot,
				   batch->compressed
					   ? zr_slot_written_back(position, zr_slot_length(slot),
								  zr_slot_codec(slot))
					   : zr_slot_written_back(position, ZR_PAGE_SIZE, 0) };
	taken->fresh |= slot & ZR_SLOT_INCOMPRESSIBLE;
	batch->n_bytes += frame_bytes(batch, slot);
	++batch->n_taken;
	return 0;
}

/* Claim blocks, and fill them with as many of the named pages as have room. Return: 0; also with
 * nothing taken, when none is wanted any more. */
static int take(struct zr_batch *batch)
{
	struct zr_disk *disk = batch->disk;
	uint64_t n_bytes, sequence;
	int r = 0;

	ZR_GUARD_SHARED(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	if (zr_disk_size(disk) == 0)
		return -EINVAL;
	if (!disk->pages.backing || !disk->pages.backing->io)
		return -ENODEV;
	/* Until the part is over: a reset may take it from the disk meanwhile. */
	batch->backing = disk->pages.backing;
	atomic_fetch_add(&batch->backing->xusers, 1);

	n_bytes = bytes_wanted(batch);
	if (!is_within_quota(batch, n_bytes))
		return -ENOSPC;
	if (n_bytes > 0) {
		batch->n_blocks =
			zr_backing_claim(batch->backing,
					 (uint32_t)(zr_align_up(n_bytes, ZR_BLOCK_BYTES) >>
						    ZR_BLOCK_SHIFT),
					 zr_backing_reserve(batch->backing), &batch->first);
		if (batch->n_blocks == 0)
			return -ENOSPC;
	}
	sequence = zr_backing_sequence(batch->backing, batch->n_named);
	for (; r == 0 && batch->n_done < batch->n_named; batch->n_done += r == 0)
		r = take_page(batch, batch->page_nos[batch->n_done], sequence + batch->n_done);
	/* What is free may be too short for even one. */
	if (batch->n_taken == 0 && r != 0)
		return r < 0 ? r : -ENOSPC;
	return 0;
}

/* writing, and saying where the pages are */

static int write_out(struct zr_batch *batch)
{
	const struct zr_backing_io *io = batch->backing->io;
	const uint64_t n_whole = zr_align_up(batch->n_bytes, ZR_BLOCK_BYTES);

	memset(batch->bytes + batch->n_bytes, 0, n_whole - batch->n_bytes);
	batch->n_out += n_whole;
	return io->write(io->context, batch->first << ZR_BLOCK_SHIFT, batch->bytes, n_whole);
}

static uint32_t publish(struct zr_batch *batch)
{
	struct zr_pages *pages = &batch->disk->pages;
	uint32_t i, n_written = 0;

	ZR_GUARD_SHARED(&batch->disk->shape);

	for (i = 0; i < batch->n_taken; ++i) {
		const struct batched *taken = &batch->taken[i];

		zr_backing_add(batch->backing, taken->fresh);
		ZR_CRASH("write-back");
		if (zr_page_change_end(pages, taken->page_no, taken->slot, taken->fresh) == 0) {
			++n_written;
			continue;
		}
		zr_backing_remove(batch->backing, taken->fresh);
		zr_page_change_drop(pages, taken->page_no, taken->slot, 0);
	}
	atomic_fetch_add(&pages->counters->bd_writes, n_written);
	return n_written;
}

static void give_up(struct zr_batch *batch)
{
	struct zr_pages *pages = &batch->disk->pages;
	uint32_t i;

	for (i = 0; i < batch->n_taken; ++i)
		zr_page_change_drop(pages, batch->taken[i].page_no, batch->taken[i].slot, 0);
	budget_give_back(batch->disk, batch->n_taken);
	atomic_fetch_add(&pages->counters->failed_backing_writes, batch->n_taken);
}

/* One request. */
static int part(struct zr_batch *batch, uint64_t *n_writtenp)
{
	int r;

	ZR_GUARD(&batch->disk->pages.change);

	batch->backing = NULL;
	batch->n_taken = batch->n_bytes = batch->n_blocks = 0;
	r = take(batch);
	if (r == 0 && batch->n_taken > 0) {
		r = write_out(batch);
		ZR_CRASH("written");
		if (r == 0)
			*n_writtenp += publish(batch);
		else
			give_up(batch);
	}
	if (batch->n_blocks > 0)
		zr_backing_release(batch->backing, batch->first, batch->n_blocks);
	if (batch->backing)
		atomic_fetch_sub(&batch->backing->xusers, 1);
	return r;
}

int zr_batch_flush(struct zr_batch *batch, uint64_t *n_writtenp)
{
	int r, last = 0;

	while (batch->n_done < batch->n_named) {
		r = part(batch, n_writtenp);
		if (r < 0)
			last = r;
		/* What one request met, the next may not. Where nothing can be taken, that stays. */
		if (r < 0 && batch->n_taken == 0)
			break;
	}
	batch->n_named = batch->n_done = 0;
	return last;
}
