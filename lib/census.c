/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "census.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "budget.h"
#include "disk-parts.h"
#include "look.h"

#define LEAVES_MAX (ZR_DISK_PAGES_MAX >> ZR_LEAF_SHIFT)

/* counting, from the bits of the slots alone */

static enum zr_fill_kind fill_kind(zr_slot slot)
{
	uint64_t word;

	/* It has an object because it repeats nothing. */
	if (zr_slot_bytes(slot) > 0)
		return ZR_FILL_64_BITS;

	word = zr_slot_word(slot);
	if (word == 0)
		return ZR_FILL_ZERO;
	if (word == (word & 0xff) * UINT64_C(0x0101010101010101))
		return ZR_FILL_8_BITS;
	if (word == (word & 0xffff) * UINT64_C(0x0001000100010001))
		return ZR_FILL_16_BITS;
	if (word == (word & UINT32_MAX) * UINT64_C(0x0000000100000001))
		return ZR_FILL_32_BITS;
	return ZR_FILL_64_BITS;
}

static void count_object(struct zr_census *census, zr_slot slot)
{
	int64_t *gauge = census->tally.gauge;
	const uint32_t n_bytes = zr_slot_bytes(slot);

	++census->objects[(n_bytes - 1) / ZR_CENSUS_BUCKET_BYTES];
	gauge[ZR_GAUGE_COMPR_BYTES] += n_bytes;
	if (slot & ZR_SLOT_IDLE)
		++census->n_idle;

	if (n_bytes == ZR_PAGE_SIZE)
		++gauge[ZR_GAUGE_HUGE];
	else
		++gauge[ZR_GAUGE_CODEC + zr_slot_codec(slot)];
	if (n_bytes <= ZR_PAGE_SIZE / 2)
		++gauge[ZR_GAUGE_GOOD];
}

/* @seal_bytes: of a frame, beyond its object. */
static void count_written_back(struct zr_census *census, zr_slot slot, uint32_t seal_bytes)
{
	int64_t *gauge = census->tally.gauge;
	const uint32_t n_bytes = zr_slot_length(slot);

	++gauge[ZR_GAUGE_WRITTEN_BACK];
	gauge[ZR_GAUGE_FRAME_BYTES] += (int64_t)zr_align_up(n_bytes + seal_bytes, ZR_CELL_UNIT);
	if (n_bytes < ZR_PAGE_SIZE)
		++gauge[ZR_GAUGE_CODEC + zr_slot_codec(slot)];
}

static void count_same(struct zr_census *census, zr_slot slot)
{
	const enum zr_fill_kind kind = fill_kind(slot);

	++census->fills[kind];
	++census->tally.gauge[ZR_GAUGE_SAME];
	if (kind == ZR_FILL_ZERO)
		++census->tally.gauge[ZR_GAUGE_ZERO];
}

/* The same sums as zr_pages_tally_slot() makes, and not by it: what one does wrong the other
 * shows. */
static void count_slot(struct zr_census *census, zr_slot slot, uint32_t seal_bytes)
{
	const uint32_t n_bytes = zr_slot_bytes(slot);

	if (slot == ZR_SLOT_HOLE)
		return;

	++census->tally.gauge[ZR_GAUGE_PAGES];
	census->object_bytes += n_bytes;
	census->tally.gauge[ZR_GAUGE_CELL_BYTES] +=
		n_bytes > ZR_CELL_BYTES_MAX ? ZR_PAGE_SIZE
					    : (int64_t)zr_align_up(n_bytes, ZR_CELL_UNIT);
	if (zr_slot_kind(slot) == ZR_SLOT_KIND_SAME)
		count_same(census, slot);
	else if (zr_slot_kind(slot) == ZR_SLOT_KIND_WRITTEN_BACK)
		count_written_back(census, slot, seal_bytes);
	else
		count_object(census, slot);
}

static uint32_t seal_bytes_of(struct zr_disk *disk)
{
	ZR_GUARD_SHARED(&disk->shape);

	return disk->pages.backing ? disk->pages.backing->record->seal_bytes : 0;
}

int zr_census_take(struct zr_disk *disk, const struct zr_stop *stop, struct zr_census *census)
{
	struct zr_census taken = { 0 };
	const uint32_t seal_bytes = seal_bytes_of(disk);
	struct zr_look look = { .disk = disk };
	int64_t asked_ns = 0;
	unsigned int i;
	int r;

	while ((r = zr_look_on(&look)) > 0) {
		if (zr_stop_is_wanted_at(stop, zr_monotonic_ns(), &asked_ns))
			return -EINTR;
		if (!look.there)
			continue;
		++taken.n_leaves;
		for (i = 0; i < ZR_LEAF_SLOTS; ++i)
			count_slot(&taken, look.slots[i], seal_bytes);
	}
	if (r < 0)
		return r;

	taken.tally.n_nodes = taken.n_leaves;
	*census = taken;
	return 0;
}

/* idle marks */

/* Return: 1, 0 at the end, -EINVAL, -ESTALE. */
static int mark_on(struct zr_look *look, bool all, zr_age from)
{
	int r;

	ZR_GUARD_SHARED(&look->disk->shape);

	r = zr_look_find_locked(look);
	if (r > 0 && !all && !zr_attrs_keep_ages(zr_disk_attrs_valid(look->disk)))
		return -EINVAL;
	if (r > 0 && look->there && all)
		zr_pages_mark_leaf_idle(&look->disk->pages, look->leaf_no++);
	else if (r > 0 && look->there)
		zr_ages_mark_idle(&look->disk->pages, look->leaf_no++, from);
	return r;
}

static int mark(struct zr_disk *disk, bool all, zr_age from, const struct zr_stop *stop)
{
	struct zr_look look = { .disk = disk };
	int64_t asked_ns = 0;
	int r;

	while ((r = mark_on(&look, all, from)) > 0) {
		if (zr_stop_is_wanted_at(stop, zr_monotonic_ns(), &asked_ns))
			return -EINTR;
	}
	return r;
}

int zr_census_mark_idle(struct zr_disk *disk, const struct zr_stop *stop)
{
	return mark(disk, true, 0, stop);
}

int zr_census_mark_older(struct zr_disk *disk, uint32_t seconds, const struct zr_stop *stop)
{
	return mark(disk, false, zr_age_of(seconds), stop);
}

/* block_state */

static char flag(bool set, char letter)
{
	return set ? letter : '.';
}

/* When objects of age 0 were used at the earliest, in seconds since the system started; 0: no ages
 * are kept, or were looked at. */
static uint64_t looked_at_s(struct zr_disk *disk)
{
	const int64_t seen_ns = atomic_load(&disk->entry->ages_seen_ns);

	return seen_ns == 0 ? 0
			    : (uint64_t)((seen_ns + zr_boot_ns() - zr_monotonic_ns()) / 1000000000);
}

/* Of the leaf that is looked at. Return: as above, of whatever it holds. */
static void ages_read(const struct zr_look *look, zr_age ages[ZR_LEAF_SLOTS])
{
	ZR_GUARD_SHARED(&look->disk->shape);

	zr_ages_copy(&look->disk->pages, look->first >> ZR_LEAF_SHIFT, ages);
}

/* @used_s: when it was used last; 0 for what is not known. */
static void say_slot(char *text, uint64_t page_no, zr_slot slot, uint64_t used_s)
{
	const enum zr_slot_kind kind = zr_slot_kind(slot);
	const uint32_t n_bytes = zr_slot_length(slot);
	char line[64]; /* as long as any number of 64 bits makes it */

	snprintf(line, sizeof(line), "%12" PRIu64 " %12" PRIu64 ".%06d %c%c%c%c%c%c\n", page_no,
		 zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT ? used_s : 0, 0,
		 flag(kind == ZR_SLOT_KIND_SAME, 's'), flag(kind == ZR_SLOT_KIND_WRITTEN_BACK, 'w'),
		 flag(n_bytes == ZR_PAGE_SIZE, 'h'), flag(slot & ZR_SLOT_IDLE, 'i'),
		 flag(n_bytes > 0 && zr_slot_codec(slot) > 0, 'r'),
		 flag(slot & ZR_SLOT_INCOMPRESSIBLE, 'n'));
	memcpy(text, line, ZR_BLOCK_STATE_LINE);
}

int zr_census_block_state(struct zr_disk *disk, uint64_t *page_nop, char *text, size_t n_text)
{
	struct zr_look look = { .disk = disk, .leaf_no = *page_nop >> ZR_LEAF_SHIFT };
	const uint64_t seen_s = looked_at_s(disk);
	uint64_t page_no = *page_nop;
	zr_age ages[ZR_LEAF_SLOTS];
	size_t at = 0;
	int r;

	if (n_text < ZR_BLOCK_STATE_LINE)
		return -EINVAL;

	while ((r = zr_look_on(&look)) > 0) {
		if (!look.there)
			continue;
		ages_read(&look, ages);
		for (page_no = zr_max(page_no, look.first); page_no < look.first + ZR_LEAF_SLOTS;
		     ++page_no) {
			const zr_slot slot = look.slots[page_no % ZR_LEAF_SLOTS];

			if (slot == ZR_SLOT_HOLE)
				continue;
			if (n_text - at < ZR_BLOCK_STATE_LINE) {
				*page_nop = page_no;
				return (int)at;
			}
			say_slot(text + at, page_no, slot,
				 seen_s - zr_min(seen_s, (uint64_t)ages[page_no % ZR_LEAF_SLOTS] *
								 ZR_AGE_UNIT_S));
			at += ZR_BLOCK_STATE_LINE;
		}
	}
	if (r < 0)
		return r;

	*page_nop = zr_max(page_no, look.leaf_no << ZR_LEAF_SHIFT);
	return (int)at;
}

/* at one moment */

struct exact {
	struct zr_census *census;
	uint32_t seal_bytes;
};

static int exact_node(void *context, zr_position position)
{
	const struct exact *exact = context;

	++exact->census->tally.n_nodes;
	return 0;
}

static int exact_age_node(void *context, zr_position position)
{
	struct zr_census *census = context;

	++census->tally.n_age_nodes;
	return 0;
}

static int exact_age(void *context, uint64_t word_no, uint64_t ages)
{
	return 0;
}

static int exact_slot(void *context, uint64_t page_no, zr_slot slot)
{
	const struct exact *exact = context;

	count_slot(exact->census, slot, exact->seal_bytes);
	return 0;
}

void zr_census_exact(struct zr_disk *disk, struct zr_tally *gauges, struct zr_census *census)
{
	const struct zr_slots *slots = &disk->pages.slots;
	struct zr_stripes *stripes = &disk->engine->stripes;
	struct exact exact = { census, seal_bytes_of(disk) };
	uint64_t leaf_no;

	memset(census, 0, sizeof(*census));
	zr_stripes_lock_all(stripes);
	zr_pages_tally_frozen(&disk->pages, gauges);
	(void)zr_slots_walk(slots, exact_node, exact_slot, &exact);
	(void)zr_slots_walk(&disk->pages.ages, exact_age_node, exact_age, census);
	for (leaf_no = 0; zr_slots_next_leaf(slots, leaf_no, LEAVES_MAX, &leaf_no); ++leaf_no)
		++census->n_leaves;
	zr_stripes_unlock_all(stripes);
}
