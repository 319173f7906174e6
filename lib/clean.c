/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "clean.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "look.h"
#include "pages-parts.h"
#include "store-parts.h"

#define MOVE_BLOCKS 64u
#define MOVE_BYTES  (MOVE_BLOCKS * ZR_BLOCK_BYTES)
#define MOVE_FRAMES 512u

/* Frames that cannot be read stay where they are; so many in a pass, and the file cannot be. */
#define UNREAD_MAX 16u

/* Zones at most that full are emptied ahead of need, in so many steps of fullness. */
#define STEPS      8u
#define STEPS_MOST 6u

/* Most that a pass moves: it is looked at again then whether it is worth it. */
#define PASS_BYTES (UINT64_C(16) << 20)

/* Less than an eighth free, while less than so much of what is not is frames. */
#define FREE_SHARE    8u
#define FRAME_PERCENT 75u

/* When a page finds no room the work is worth it for less. */
#define NEEDED_FRAME_PERCENT 95u

/* A frame on its way. */
struct moved {
	uint64_t page_no;
	zr_slot slot, fresh;
};

struct zr_cleaner {
	uint8_t *bytes; /* aligned, for direct I/O */
	struct zr_window *window;
	struct zr_backing *backing;
	struct zr_disk *disk;
	uint64_t first; /* block that was claimed */
	uint32_t n_blocks, n_bytes, n_moved;
	unsigned int n_unread; /* in this pass */
	struct moved moved[MOVE_FRAMES];
	struct zr_look look;
};

int zr_cleaner_new(struct zr_cleaner **cleanerp)
{
	struct zr_cleaner *cleaner;

	cleaner = malloc(sizeof(*cleaner));
	if (!cleaner)
		return -ENOMEM;
	/* Its memory comes now, not when there is none. */
	memset(cleaner, 0xff, sizeof(*cleaner));
	cleaner->window = NULL;
	cleaner->bytes = aligned_alloc(ZR_BLOCK_BYTES, MOVE_BYTES);
	if (!cleaner->bytes || zr_window_new(&cleaner->window) < 0) {
		zr_cleaner_free(cleaner);
		return -ENOMEM;
	}
	memset(cleaner->bytes, 0, MOVE_BYTES);
	*cleanerp = cleaner;
	return 0;
}

struct zr_cleaner *zr_cleaner_free(struct zr_cleaner *cleaner)
{
	if (!cleaner)
		return NULL;

	zr_window_free(cleaner->window);
	free(cleaner->bytes);
	free(cleaner);
	return NULL;
}

bool zr_clean_is_worth_it(const struct zr_backing *backing, bool is_needed)
{
	const uint64_t n_free = atomic_load(&backing->xn_free);
	const uint64_t used_bytes = (backing->n_blocks - n_free) << ZR_BLOCK_SHIFT;
	const uint64_t percent = is_needed ? NEEDED_FRAME_PERCENT : FRAME_PERCENT;

	return (is_needed || n_free < backing->n_blocks / FREE_SHARE) &&
	       atomic_load(&backing->xframe_bytes) < used_bytes / 100 * percent;
}

/* every frame. A disk that was emptied meanwhile may have another file by now, which may be larger:
 * what is said of its zones means nothing then, but must be one of ours */

static bool is_on_file(const struct zr_backing *backing, zr_slot slot)
{
	return zr_slot_kind(slot) == ZR_SLOT_KIND_WRITTEN_BACK &&
	       zr_backing_zone(slot) < zr_backing_zones(backing);
}

typedef int visit_slot(struct zr_cleaner *cleaner, uint64_t page_no, zr_slot slot);

static int walk_disk(struct zr_cleaner *cleaner, struct zr_disk *disk, const struct zr_stop *stop,
		     visit_slot *visit)
{
	struct zr_look *look = &cleaner->look;
	int64_t asked_ns = 0;
	unsigned int i;
	int r = 0;

	*look = (struct zr_look){ .disk = disk };
	cleaner->disk = disk;
	while (r == 0 && zr_look_on(look) > 0) {
		if (zr_stop_is_wanted_at(stop, zr_monotonic_ns(), &asked_ns))
			return -EINTR;
		for (i = 0; r == 0 && look->there && i < ZR_LEAF_SLOTS; ++i) {
			if (is_on_file(cleaner->backing, look->slots[i]))
				r = visit(cleaner, look->first + i, look->slots[i]);
		}
	}
	return r;
}

static bool has_backing(struct zr_disk *disk, const struct zr_backing *backing)
{
	ZR_GUARD_SHARED(&disk->shape);

	return disk->pages.backing == backing;
}

/* @end: when a disk that has the file is done. Return: 0, -EINTR, or what they returned. */
static int walk(struct zr_store *store, struct zr_cleaner *cleaner, const struct zr_stop *stop,
		visit_slot *visit, int (*end)(struct zr_cleaner *cleaner))
{
	struct zr_disk *disk;
	uint64_t id = 0;
	int r = 0;

	while (r == 0 && (disk = zr_store_next(store, id))) {
		id = disk->id;
		if (has_backing(disk, cleaner->backing)) {
			r = walk_disk(cleaner, disk, stop, visit);
			if (r == 0 && end)
				r = end(cleaner);
		}
		zr_disk_unpin(store, disk);
	}
	return r;
}

/* which zones are to be emptied */

static int weigh(struct zr_cleaner *cleaner, uint64_t page_no, zr_slot slot)
{
	struct zr_backing *backing = cleaner->backing;

	backing->zone_bytes[zr_backing_zone(slot)] += zr_frame_bytes(backing, zr_slot_length(slot));
	return 0;
}

static unsigned int step_of(uint32_t zone_bytes)
{
	return (unsigned int)(zone_bytes / (ZR_ZONE_BYTES / STEPS + 1));
}

/* Those in which least is left, as much as there is room for elsewhere. */
static void choose(struct zr_backing *backing, bool is_needed)
{
	const uint64_t room = atomic_load(&backing->xn_roomy) * ZR_ZONE_BYTES;
	const uint64_t most = zr_min(PASS_BYTES, room / 4 * 3);
	uint64_t zone, sum = 0;
	unsigned int step;

	for (step = 0; step < (is_needed ? STEPS : STEPS_MOST); ++step) {
		for (zone = 0; zone < zr_backing_zones(backing); ++zone) {
			const uint32_t n_bytes = backing->zone_bytes[zone];

			if (n_bytes == 0 || step_of(n_bytes) != step || sum + n_bytes > most)
				continue;
			sum += n_bytes;
			zr_backing_set_victim(backing, zone, true);
		}
	}
}

/* moving */

static int move_write(struct zr_cleaner *cleaner)
{
	const struct zr_backing_io *io = cleaner->backing->io;
	const uint64_t n_whole = zr_align_up(cleaner->n_bytes, ZR_BLOCK_BYTES);

	memset(cleaner->bytes + cleaner->n_bytes, 0, n_whole - cleaner->n_bytes);
	return io->write(io->context, cleaner->first << ZR_BLOCK_SHIFT, cleaner->bytes, n_whole);
}

static void move_publish(struct zr_cleaner *cleaner)
{
	struct zr_backing *backing = cleaner->backing;
	uint32_t i;

	ZR_GUARD_SHARED(&cleaner->disk->shape);

	/* On another file the same slot is another frame. */
	if (cleaner->disk->pages.backing != backing)
		return;
	for (i = 0; i < cleaner->n_moved; ++i) {
		const struct moved *moved = &cleaner->moved[i];

		zr_backing_add(backing, moved->fresh);
		ZR_CRASH("clean");
		zr_backing_remove(backing, zr_page_relocate(&cleaner->disk->pages, moved->page_no,
							    moved->slot, moved->fresh)
						   ? moved->slot
						   : moved->fresh);
	}
}

/* What was gathered stays where it is. */
static void move_drop(struct zr_cleaner *cleaner)
{
	uint32_t i;

	for (i = 0; i < cleaner->n_moved; ++i)
		zr_backing_unpin(cleaner->backing, cleaner->moved[i].slot);
	if (cleaner->n_blocks > 0)
		zr_backing_release(cleaner->backing, cleaner->first, cleaner->n_blocks);
	cleaner->n_moved = cleaner->n_bytes = cleaner->n_blocks = 0;
}

/* What was gathered of a disk goes. */
static int move_flush(struct zr_cleaner *cleaner)
{
	int r = 0;

	if (cleaner->n_moved > 0)
		r = move_write(cleaner);
	ZR_CRASH("cleaned");
	if (r == 0)
		move_publish(cleaner);
	move_drop(cleaner);
	return r;
}

/* Is the page still there? Then its frame stays until it was moved. */
static bool pin_if_still(struct zr_cleaner *cleaner, uint64_t page_no, zr_slot slot)
{
	struct zr_pages *pages = &cleaner->disk->pages;

	ZR_GUARD_SHARED(&cleaner->disk->shape);
	ZR_GUARD_SHARED(zr_pages_stripe(pages, page_no));

	if (pages->backing != cleaner->backing ||
	    zr_pages_slot(zr_slots_find(&pages->slots, page_no)) != slot)
		return false;
	zr_backing_pin(cleaner->backing, slot);
	return true;
}

/* Read the frame behind the others. It is pinned. */
static int move_read(struct zr_cleaner *cleaner, uint64_t page_no, zr_slot slot)
{
	const uint32_t n_bytes = zr_frame_bytes(cleaner->backing, zr_slot_length(slot));
	const uint64_t position = (cleaner->first * ZR_BLOCK_BYTES + cleaner->n_bytes) /
				  ZR_CELL_UNIT;
	const uint8_t *frame;
	int r;

	r = zr_backing_frame(cleaner->backing, cleaner->window, true, slot, &frame);
	if (r < 0)
		return r;
	memcpy(cleaner->bytes + cleaner->n_bytes, frame, n_bytes);
	cleaner->n_bytes += n_bytes;
	cleaner->moved[cleaner->n_moved++] = (struct moved){
		page_no, slot,
		zr_slot_written_back(position, zr_slot_length(slot), zr_slot_codec(slot)) |
			(slot & ZR_SLOT_INCOMPRESSIBLE)
	};
	return 0;
}

static int move(struct zr_cleaner *cleaner, uint64_t page_no, zr_slot slot)
{
	struct zr_backing *backing = cleaner->backing;
	const uint32_t n_bytes = zr_frame_bytes(backing, zr_slot_length(slot));
	int r;

	if (!zr_backing_is_victim(backing, slot))
		return 0;
	if (cleaner->n_moved == MOVE_FRAMES ||
	    cleaner->n_bytes + n_bytes > cleaner->n_blocks * ZR_BLOCK_BYTES) {
		r = move_flush(cleaner);
		if (r < 0)
			return r;
		cleaner->n_blocks = zr_backing_claim(backing, MOVE_BLOCKS, 0, &cleaner->first);
		if (n_bytes > cleaner->n_blocks * ZR_BLOCK_BYTES)
			return 1; /* no room, and that is all that it is about */
	}
	if (!pin_if_still(cleaner, page_no, slot))
		return 0;
	r = move_read(cleaner, page_no, slot);
	if (r < 0)
		zr_backing_unpin(backing, slot);
	return r < 0 && ++cleaner->n_unread < UNREAD_MAX ? 0 : r;
}

int zr_clean(struct zr_store *store, struct zr_cleaner *cleaner, struct zr_backing *backing,
	     bool is_needed, const struct zr_stop *stop, uint64_t *n_blocksp)
{
	const uint64_t n_before = atomic_load(&backing->xn_free);
	uint64_t zone;
	int r;

	*n_blocksp = 0;
	if (!backing->io)
		return -EIO;
	cleaner->backing = backing;
	cleaner->n_moved = cleaner->n_bytes = cleaner->n_blocks = 0;
	cleaner->n_unread = 0;
	memset(backing->zone_bytes, 0, zr_backing_zones(backing) * sizeof(*backing->zone_bytes));
	r = walk(store, cleaner, stop, weigh, NULL);
	if (r < 0)
		return r;

	choose(backing, is_needed);
	r = walk(store, cleaner, stop, move, move_flush);
	if (r != 0)
		move_drop(cleaner);
	zr_window_close(cleaner->window);
	for (zone = 0; zone < zr_backing_zones(backing); ++zone)
		zr_backing_set_victim(backing, zone, false);
	*n_blocksp = zr_max(atomic_load(&backing->xn_free), n_before) - n_before;
	return r < 0 ? r : 0;
}
