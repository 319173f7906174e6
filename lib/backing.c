/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "backing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Numbers reserved in the store in one go: as many are skipped after a death. */
#define SEQUENCE_STEP 65536u

/* Spreads what goes up in steps over the file: 2^64 over the golden ratio. */
#define CURSOR_STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t first_block(zr_slot slot)
{
	return zr_slot_file_position(slot) * ZR_CELL_UNIT >> ZR_BLOCK_SHIFT;
}

/* One past the last. */
static uint64_t end_block(const struct zr_backing *backing, zr_slot slot)
{
	const uint64_t end = zr_slot_file_position(slot) * ZR_CELL_UNIT +
			     zr_frame_bytes(backing, zr_slot_length(slot));

	return (end + ZR_BLOCK_BYTES - 1) >> ZR_BLOCK_SHIFT;
}

/* free blocks. A zone is roomy also with a block of it taken: what begins in the one before may end
 * in it */

#define ROOMY_TAKEN 1u

static void block_take(struct zr_backing *backing, uint64_t block)
{
	const uint8_t before =
		atomic_fetch_add_explicit(&backing->xzone_taken[block >> ZR_ZONE_SHIFT], 1,
					  memory_order_relaxed);

	if (before == ROOMY_TAKEN)
		atomic_fetch_sub_explicit(&backing->xn_roomy, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&backing->xn_free, 1, memory_order_relaxed);
}

static void block_give(struct zr_backing *backing, uint64_t block)
{
	const uint8_t before =
		atomic_fetch_sub_explicit(&backing->xzone_taken[block >> ZR_ZONE_SHIFT], 1,
					  memory_order_relaxed);

	if (before == ROOMY_TAKEN + 1)
		atomic_fetch_add_explicit(&backing->xn_roomy, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&backing->xn_free, 1, memory_order_relaxed);
}

static bool is_roomy(const struct zr_backing *backing, uint64_t zone)
{
	return atomic_load_explicit(&backing->xzone_taken[zone], memory_order_relaxed) <=
	       ROOMY_TAKEN;
}

/* All is free, but for the mark and what the last zone lacks. */
static void blocks_begin(struct zr_backing *backing)
{
	const uint64_t n_zones = zr_backing_zones(backing);
	uint64_t block;

	atomic_store(&backing->xn_roomy, n_zones);
	atomic_store(&backing->xn_free, n_zones << ZR_ZONE_SHIFT);
	for (block = backing->n_blocks; block < n_zones << ZR_ZONE_SHIFT; ++block)
		block_take(backing, block);
	atomic_store(&backing->xcounts[0], 1);
	block_take(backing, 0);
}

int zr_backing_new(struct zr_backing **backingp, struct zr_backing_record *record,
		   const struct zr_backing_io *io)
{
	struct zr_backing *backing;

	ZR_ASSERT(record->seal_bytes <= ZR_SEAL_BYTES_MAX);

	backing = calloc(1, sizeof(*backing));
	if (!backing)
		return -ENOMEM;

	backing->record = record;
	backing->io = io;
	backing->n_blocks = record->size_bytes >> ZR_BLOCK_SHIFT;
	backing->xcounts = calloc(backing->n_blocks, sizeof(*backing->xcounts));
	backing->dirty = calloc((backing->n_blocks + 63) / 64, sizeof(*backing->dirty));
	backing->xzone_taken = calloc(zr_backing_zones(backing), sizeof(*backing->xzone_taken));
	backing->victims = calloc(zr_backing_zones(backing), sizeof(*backing->victims));
	backing->zone_bytes = calloc(zr_backing_zones(backing), sizeof(*backing->zone_bytes));
	zr_mutex_init(&backing->lock, ZR_RANK_BACKING);
	if (!backing->xcounts || !backing->dirty || !backing->xzone_taken || !backing->victims ||
	    !backing->zone_bytes) {
		zr_backing_free(backing);
		return -ENOMEM;
	}

	blocks_begin(backing);
	/* What a former process wrote, and what goes, is punched as if this one had. */
	memset(backing->dirty, 0xff, (backing->n_blocks + 63) / 64 * sizeof(*backing->dirty));
	zr_backing_begin(backing);
	*backingp = backing;
	return 0;
}

void zr_backing_begin(struct zr_backing *backing)
{
	backing->id = atomic_load(&backing->record->id);
	backing->sequence = atomic_load(&backing->record->sequence);
	backing->reserved_to = backing->sequence;
	/* Not where one that was killed was writing: over a network that may still be under way. */
	backing->cursor = 1 + backing->sequence * CURSOR_STEP % (backing->n_blocks - 1);
}

struct zr_backing *zr_backing_free(struct zr_backing *backing)
{
	if (!backing)
		return NULL;

	ZR_ASSERT(atomic_load(&backing->xusers) == 0);
	zr_mutex_deinit(&backing->lock);
	free(backing->zone_bytes);
	free(backing->victims);
	free(backing->xzone_taken);
	free(backing->dirty);
	free(backing->xcounts);
	free(backing);
	return NULL;
}

/* counts of blocks. Only a claim makes a count of 0 another, so a block that has one keeps what is in
 * it until that went */

/* Of a claimed block, instead of 1: it is about to be written, so who reads on must not take what is
 * in it for what will be. */
#define CLAIMED ((uint16_t)(UINT16_MAX / 2 + 1))

static void count_up(struct zr_backing *backing, uint64_t first, uint64_t end)
{
	for (; first < end; ++first) {
		const uint16_t before = atomic_fetch_add_explicit(&backing->xcounts[first], 1,
								  memory_order_relaxed);

		ZR_ASSERT(before > 0 && (before & ~CLAIMED) < CLAIMED - 1);
		(void)before;
	}
}

static void count_down_by(struct zr_backing *backing, uint64_t first, uint64_t end, uint16_t n)
{
	for (; first < end; ++first) {
		/* Release, and the claim acquires: who reads the block is done with it. */
		const uint16_t before = atomic_fetch_sub_explicit(&backing->xcounts[first], n,
								  memory_order_release);

		ZR_ASSERT(before >= n);
		if (before == n)
			block_give(backing, first);
	}
}

static void count_down(struct zr_backing *backing, uint64_t first, uint64_t end)
{
	count_down_by(backing, first, end, 1);
}

static bool is_free(const struct zr_backing *backing, uint64_t block)
{
	return atomic_load_explicit(&backing->xcounts[block], memory_order_acquire) == 0;
}

/* Blocks that are asked for. */
struct asked {
	uint32_t n_blocks;
	bool spares_roomy; /* none of roomy zones */
};

static bool may_claim(const struct zr_backing *backing, const struct asked *asked, uint64_t block)
{
	const uint64_t zone = block >> ZR_ZONE_SHIFT;

	return is_free(backing, block) && !backing->victims[zone] &&
	       !(asked->spares_roomy && is_roomy(backing, zone));
}

/* The first run of blocks in [@from, @end) that may be claimed. Return: how many. */
static uint32_t run_find(const struct zr_backing *backing, const struct asked *asked, uint64_t from,
			 uint64_t end, uint64_t *firstp)
{
	uint32_t n = 0;

	while (from < end && !may_claim(backing, asked, from))
		++from;
	while (n < asked->n_blocks && from + n < end && may_claim(backing, asked, from + n))
		++n;
	*firstp = from;
	return n;
}

/* A run that is long enough, or the longest there is. */
static uint32_t run_choose_locked(struct zr_backing *backing, const struct asked *asked,
				  uint64_t *firstp)
{
	const uint64_t begin = backing->cursor;
	uint64_t at = begin, end = backing->n_blocks, first;
	uint32_t n, n_best = 0;

	zr_assert_held(ZR_RANK_BACKING);

	for (;;) {
		n = run_find(backing, asked, at, end, &first);
		if (n > n_best) {
			n_best = n;
			*firstp = first;
		}
		if (n_best == asked->n_blocks)
			return n_best;
		at = first + n;
		if (at < end)
			continue;
		if (end == begin || begin == 1)
			return n_best;
		/* Around, once. */
		at = 1;
		end = begin;
	}
}

/* Of @n_blocks, those that leave as many as @n_left, and as many zones as these are roomy. */
static struct asked ask(const struct zr_backing *backing, uint32_t n_blocks, uint64_t n_left)
{
	const uint64_t n_free = atomic_load(&backing->xn_free);
	const uint64_t n_roomy = atomic_load(&backing->xn_roomy);
	/* A run that begins in the middle of one takes one more. */
	const uint64_t n_zones_left = zr_max(n_left >> ZR_ZONE_SHIFT, (uint64_t)2);
	struct asked asked = { 0 };

	if (n_free <= n_left)
		return asked;
	asked.n_blocks = (uint32_t)zr_min(n_blocks, n_free - n_left);
	asked.spares_roomy = n_left > 0 && n_roomy <= n_zones_left;
	if (n_left > 0 && !asked.spares_roomy)
		asked.n_blocks = (uint32_t)zr_min(asked.n_blocks, (n_roomy - n_zones_left)
									  << ZR_ZONE_SHIFT);
	return asked;
}

uint32_t zr_backing_claim(struct zr_backing *backing, uint32_t n_blocks, uint64_t n_left,
			  uint64_t *firstp)
{
	uint64_t block;
	struct asked asked;
	uint32_t n;

	/* Where there is nothing, looking for it would take longest. */
	asked = ask(backing, n_blocks, n_left);
	if (asked.n_blocks == 0)
		return 0;

	ZR_GUARD(&backing->lock);

	n = run_choose_locked(backing, &asked, firstp);
	if (n == 0)
		return 0;
	for (block = *firstp; block < *firstp + n; ++block) {
		atomic_store_explicit(&backing->xcounts[block], CLAIMED, memory_order_relaxed);
		block_take(backing, block);
		backing->dirty[block / 64] |= UINT64_C(1) << block % 64;
	}
	backing->cursor = *firstp + n < backing->n_blocks ? *firstp + n : 1;
	return n;
}

void zr_backing_release(struct zr_backing *backing, uint64_t first, uint32_t n_blocks)
{
	count_down_by(backing, first, first + n_blocks, CLAIMED);
}

/* frames */

void zr_backing_add(struct zr_backing *backing, zr_slot slot)
{
	count_up(backing, first_block(slot), end_block(backing, slot));
	atomic_fetch_add_explicit(&backing->xframe_bytes,
				  zr_frame_bytes(backing, zr_slot_length(slot)),
				  memory_order_relaxed);
}

void zr_backing_remove(struct zr_backing *backing, zr_slot slot)
{
	atomic_fetch_sub_explicit(&backing->xframe_bytes,
				  zr_frame_bytes(backing, zr_slot_length(slot)),
				  memory_order_relaxed);
	count_down(backing, first_block(slot), end_block(backing, slot));
}

int zr_backing_derive_mark(struct zr_backing *backing, zr_slot slot)
{
	const uint64_t end = end_block(backing, slot);
	uint64_t block;

	if (first_block(slot) == 0 || end > backing->n_blocks)
		return -EINVAL;

	for (block = first_block(slot); block < end; ++block) {
		/* More than fit: a store that is damaged. */
		if (atomic_load(&backing->xcounts[block]) > ZR_BLOCK_BYTES / ZR_CELL_UNIT)
			return -EINVAL;
		if (atomic_fetch_add(&backing->xcounts[block], 1) == 0)
			block_take(backing, block);
	}
	atomic_fetch_add(&backing->xframe_bytes, zr_frame_bytes(backing, zr_slot_length(slot)));
	return 0;
}

void zr_backing_pin(struct zr_backing *backing, zr_slot slot)
{
	atomic_fetch_add_explicit(&backing->xusers, 1, memory_order_relaxed);
	count_up(backing, first_block(slot), end_block(backing, slot));
}

void zr_backing_unpin(struct zr_backing *backing, zr_slot slot)
{
	count_down(backing, first_block(slot), end_block(backing, slot));
	atomic_fetch_sub_explicit(&backing->xusers, 1, memory_order_release);
}

uint64_t zr_backing_sequence(struct zr_backing *backing, uint32_t n)
{
	uint64_t first;

	ZR_GUARD(&backing->lock);

	/* Noted before they are used: who comes after a death goes on behind them. */
	if (backing->sequence + n > backing->reserved_to) {
		backing->reserved_to = backing->sequence + n + SEQUENCE_STEP;
		atomic_store(&backing->record->sequence, backing->reserved_to);
	}
	first = backing->sequence;
	backing->sequence += n;
	return first;
}

/* reading */

int zr_window_new(struct zr_window **windowp)
{
	struct zr_window *window;

	window = aligned_alloc(ZR_BLOCK_BYTES, zr_align_up(sizeof(*window), ZR_BLOCK_BYTES));
	if (!window)
		return -ENOMEM;
	/* Its memory comes now: the kernel copies to it. */
	memset(window, 0, sizeof(*window));
	*windowp = window;
	return 0;
}

struct zr_window *zr_window_free(struct zr_window *window)
{
	if (window)
		zr_window_close(window);
	free(window);
	return NULL;
}

void zr_window_close(struct zr_window *window)
{
	if (!window->backing)
		return;
	count_down(window->backing, window->first, window->first + window->n_blocks);
	atomic_fetch_sub_explicit(&window->backing->xusers, 1, memory_order_release);
	window->backing = NULL;
}

/* Pin a block that has frames, all of which are there. */
static bool try_count_up(struct zr_backing *backing, uint64_t block)
{
	uint16_t seen = atomic_load_explicit(&backing->xcounts[block], memory_order_relaxed);

	do {
		if (seen == 0 || seen & CLAIMED)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&backing->xcounts[block], &seen,
							(uint16_t)(seen + 1), memory_order_acquire,
							memory_order_relaxed));
	return true;
}

/* Blocks from @first to @end, which are pinned by the caller, and as many more as have frames. */
static int window_read(struct zr_backing *backing, struct zr_window *window, uint64_t first,
		       uint64_t end, bool ahead)
{
	const uint64_t most = zr_min(first + ZR_WINDOW_BLOCKS, backing->n_blocks);
	uint64_t last = end;
	int r;

	if (!backing->io)
		return -EIO;

	zr_window_close(window);
	count_up(backing, first, end);
	while (ahead && last < most && try_count_up(backing, last))
		++last;
	atomic_fetch_add_explicit(&backing->xusers, 1, memory_order_relaxed);
	window->backing = backing;
	window->first = first;
	window->n_blocks = (uint32_t)(last - first);

	r = backing->io->read(backing->io->context, first << ZR_BLOCK_SHIFT, window->bytes,
			      (last - first) << ZR_BLOCK_SHIFT);
	if (r < 0)
		zr_window_close(window);
	return r;
}

static bool window_has(const struct zr_window *window, const struct zr_backing *backing,
		       uint64_t first, uint64_t end)
{
	return window->backing == backing && first >= window->first &&
	       end <= window->first + window->n_blocks;
}

int zr_backing_frame(struct zr_backing *backing, struct zr_window *window, bool ahead, zr_slot slot,
		     const uint8_t **framep)
{
	const uint64_t first = first_block(slot), end = end_block(backing, slot);
	const uint64_t offset = zr_slot_file_position(slot) * ZR_CELL_UNIT;
	int r = 0;

	if (!window_has(window, backing, first, end)) {
		r = window_read(backing, window, first, end, ahead);
		/* What follows may be what cannot be read. */
		if (r < 0 && ahead)
			r = window_read(backing, window, first, end, false);
	}
	if (r < 0)
		return -EIO;
	*framep = window->bytes + (offset - (window->first << ZR_BLOCK_SHIFT));
	return 0;
}

int zr_backing_fetch(struct zr_backing *backing, struct zr_window *window, bool ahead,
		     const struct zr_frame_owner *owner, zr_slot slot, void *object)
{
	const uint8_t *frame;
	int r;

	r = zr_backing_frame(backing, window, ahead, slot, &frame);
	if (r < 0)
		return r;
	return backing->io->open(backing->io->context, owner, frame, zr_slot_length(slot), object);
}

void zr_backing_set_victim(struct zr_backing *backing, uint64_t zone, bool is_victim)
{
	ZR_GUARD(&backing->lock);

	backing->victims[zone] = is_victim;
}

/* punching */

static bool is_dirty(const struct zr_backing *backing, uint64_t block)
{
	return backing->dirty[block / 64] >> block % 64 & 1;
}

/* Whoever looks for room meanwhile must find some. */
#define PUNCH_SHARE 4u
#define PUNCH_MOST  4096u

static uint32_t punch_most(const struct zr_backing *backing, uint32_t n_least)
{
	const uint64_t n_free = atomic_load(&backing->xn_free);

	return zr_max((uint32_t)zr_min(n_free / PUNCH_SHARE, (uint64_t)PUNCH_MOST), n_least);
}

/* Claim a run of free blocks that have memory on the file, from *@atp on. Return: how many; 0 at the
 * end. */
static uint32_t punch_claim(struct zr_backing *backing, uint32_t n_least, uint64_t *atp)
{
	const uint32_t n_most = punch_most(backing, n_least);
	uint64_t at = *atp, block;
	uint32_t n = 0;

	ZR_GUARD(&backing->lock);

	while (at < backing->n_blocks && n < n_least) {
		at += n == 0 ? 0 : n + 1; /* that one ended a run too short */
		n = 0;
		while (at < backing->n_blocks && !(is_free(backing, at) && is_dirty(backing, at)))
			++at;
		while (at + n < backing->n_blocks && n < n_most && is_free(backing, at + n) &&
		       is_dirty(backing, at + n))
			++n;
	}
	*atp = at;
	if (n < n_least)
		return 0;
	for (block = at; block < at + n; ++block) {
		atomic_store_explicit(&backing->xcounts[block], CLAIMED, memory_order_relaxed);
		block_take(backing, block);
		backing->dirty[block / 64] &= ~(UINT64_C(1) << block % 64);
	}
	return n;
}

int64_t zr_backing_punch(struct zr_backing *backing, uint32_t n_least)
{
	int64_t n_bytes = 0;
	uint64_t at = 1;
	uint32_t n;
	int r = 0;

	if (!backing->io || !backing->io->punch)
		return 0;

	while (r == 0 && (n = punch_claim(backing, n_least, &at)) > 0) {
		r = backing->io->punch(backing->io->context, at << ZR_BLOCK_SHIFT,
				       (uint64_t)n << ZR_BLOCK_SHIFT);
		zr_backing_release(backing, at, n);
		n_bytes += (int64_t)n << ZR_BLOCK_SHIFT;
		at += n;
	}
	return r < 0 ? r : n_bytes;
}

/* checking */

void zr_backing_validate(struct zr_backing *backing, const uint16_t *counts, uint64_t frame_bytes)
{
	uint64_t block, zone, n_free = 0, n_roomy = 0;

	for (block = 0; block < backing->n_blocks; ++block) {
		ZR_ASSERT(atomic_load(&backing->xcounts[block]) == counts[block] + (block == 0));
		n_free += is_free(backing, block);
	}
	for (zone = 0; zone < zr_backing_zones(backing); ++zone)
		n_roomy += is_roomy(backing, zone);
	ZR_ASSERT(atomic_load(&backing->xn_free) == n_free);
	ZR_ASSERT(atomic_load(&backing->xn_roomy) == n_roomy);
	ZR_ASSERT(atomic_load(&backing->xframe_bytes) == frame_bytes);
	(void)n_free;
	(void)n_roomy;
}

void zr_backing_count(const struct zr_backing *backing, zr_slot slot, uint16_t *counts)
{
	uint64_t block;

	for (block = first_block(slot); block < end_block(backing, slot); ++block)
		++counts[block];
}
