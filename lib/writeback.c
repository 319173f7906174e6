/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "writeback.h"

#include <errno.h>
#include <stdatomic.h>

#include "look.h"

/* As long as those of a strict sweep. */
#define BAND_BYTES 64u

struct run {
	struct zr_disk *disk;
	struct zr_batch *batch;
	const struct zr_stop *stop;
	int64_t asked_ns;
	int error; /* the last that ended nothing */
};

static bool has_budget(const struct run *run)
{
	return atomic_load(&run->disk->entry->writeback_limit_enable) != 0;
}

/* writing */

static bool is_the_end(const struct run *run, int error)
{
	switch (error) {
	case -ENODEV:
	case -ENOSPC:
	case -EINVAL:
	case -ESTALE:
		return true;
	case -EIO:
		/* Pages that could not be written are not charged. */
		return has_budget(run) && atomic_load(&run->disk->entry->writeback_limit) == 0;
	default:
		return false;
	}
}

static int flush(struct run *run)
{
	uint64_t n_written = 0;
	int r;

	r = zr_batch_flush(run->batch, &n_written);
	/* Somebody may wait for what these took. */
	if (n_written > 0)
		zr_room_tell(&run->disk->engine->room);
	if (r == 0 || is_the_end(run, r))
		return r;
	run->error = r;
	return 0;
}

static int add(struct run *run, uint64_t page_no)
{
	return zr_batch_add(run->batch, page_no) ? flush(run) : 0;
}

/* by number */

static bool is_stopped(struct run *run)
{
	return zr_stop_is_wanted_at(run->stop, zr_monotonic_ns(), &run->asked_ns);
}

/* Objects longer than @above, up to @up_to bytes. */
struct band {
	uint32_t above, up_to;
};

static int add_leaf(struct run *run, const struct zr_look *look,
		    const struct zr_writeback_range *range, struct band band)
{
	const uint64_t end = zr_min(range->last, look->first + ZR_LEAF_SLOTS - 1) + 1;
	uint64_t page_no;
	int r = 0;

	for (page_no = zr_max(range->first, look->first); r == 0 && page_no < end; ++page_no) {
		const zr_slot slot = look->slots[page_no % ZR_LEAF_SLOTS];

		if (zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT &&
		    zr_slot_length(slot) > band.above && zr_slot_length(slot) <= band.up_to)
			r = add(run, page_no);
	}
	return r;
}

static int add_range(struct run *run, const struct zr_writeback_range *range, struct band band)
{
	struct zr_look look = { .disk = run->disk, .leaf_no = range->first >> ZR_LEAF_SHIFT };
	int r = 0;

	while (r == 0 && look.leaf_no <= range->last >> ZR_LEAF_SHIFT) {
		if (is_stopped(run))
			return -EINTR;
		r = zr_look_on(&look);
		if (r <= 0)
			return r;
		r = look.there ? add_leaf(run, &look, range, band) : 0;
	}
	return r;
}

static int add_ranges(struct run *run, const struct zr_writeback_request *request, struct band band)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < request->n_ranges; ++i)
		r = add_range(run, &request->ranges[i], band);
	return r;
}

static int run_ranges(struct run *run, const struct zr_writeback_request *request)
{
	const struct zr_batch_filter any = { 0 };
	struct band band = { 0, ZR_PAGE_SIZE };
	int r;

	zr_batch_begin(run->batch, run->disk, &any);
	if (has_budget(run))
		band.above = ZR_PAGE_SIZE - BAND_BYTES;
	do {
		r = add_ranges(run, request, band);
		band = (struct band){ band.above - zr_min(band.above, BAND_BYTES), band.above };
	} while (r == 0 && band.up_to > 0);
	return r < 0 ? r : flush(run);
}

/* by what they are */

static int visit(void *context, uint64_t page_no, zr_slot slot)
{
	return add(context, page_no);
}

static int run_types(struct run *run, unsigned int types)
{
	const struct zr_sweep_filter filter = { .types = types };
	struct zr_batch_filter still = { 0 };
	int r;

	if (types & ZR_SWEEP_IDLE)
		still.marks |= ZR_SLOT_IDLE;
	if (types & ZR_SWEEP_INCOMPRESSIBLE)
		still.marks |= ZR_SLOT_INCOMPRESSIBLE;
	if (types & ZR_SWEEP_HUGE)
		still.n_bytes_min = ZR_PAGE_SIZE;

	zr_batch_begin(run->batch, run->disk, &still);
	r = zr_sweep(run->disk, &filter, has_budget(run), run->stop, visit, run);
	return r < 0 ? r : flush(run);
}

/* all of it */

static int request_check(struct zr_disk *disk, const struct zr_writeback_request *request)
{
	uint64_t n_pages;
	size_t i;

	ZR_GUARD_SHARED(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	if (zr_disk_size(disk) == 0)
		return -EINVAL;
	if (!disk->pages.backing)
		return -ENODEV;

	n_pages = zr_align_up(zr_disk_size(disk), ZR_PAGE_SIZE) >> ZR_PAGE_SHIFT;
	for (i = 0; i < request->n_ranges; ++i) {
		if (request->ranges[i].last >= n_pages ||
		    request->ranges[i].first > request->ranges[i].last)
			return -ERANGE;
	}
	return 0;
}

int zr_writeback_run(struct zr_disk *disk, struct zr_batch *batch, const struct zr_stop *stop,
		     const struct zr_writeback_request *request)
{
	struct run run = { .disk = disk, .batch = batch, .stop = stop };
	int r;

	r = request_check(disk, request);
	if (r == 0 && request->n_ranges > 0)
		r = run_ranges(&run, request);
	if (r == 0 && request->types != 0)
		r = run_types(&run, request->types);
	return r < 0 ? r : run.error;
}
