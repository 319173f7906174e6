#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Backing: the space of a file that pages are written back to
 *
 * The file is an array of blocks of 4 KiB, the first of which marks it as ours. An object on it lies
 * in a frame: its bytes sealed, which may be encryption and is a proof at least that they are those
 * of that page of that disk. Frames lie side by side at multiples of 16 bytes, across blocks. Whole
 * blocks are claimed, filled with frames and written at once; a block whose last frame went is free
 * again. Nothing is ever written into a block that has a frame.
 *
 * What is where stands in the slots of the disks and nowhere else; how many frames a block has is
 * derived from them:
 *
 *   count of a block = frames in it + readers of these + a bit of its own while it is claimed
 *   free blocks      = blocks whose count is 0
 *   roomy zones      = runs of 16 blocks all of which but one are free
 *
 * What reaches the file, and how it is sealed, is the business of who gives a struct zr_backing_io.
 *
 * Ownership: the record is in the store; the io is the caller's, and outlives the backing.
 * Locking:   every call locks for itself, at rank BACKING. Counts are atomic.
 * Errors:    -EIO for what cannot be read, or is not what was written.
 * Cost:      2 bytes a block of private memory and a bit, 0.05 % of the file; a claim looks at
 *            counts until it finds room, 0.1 ns each.
 */

#include <stdatomic.h>

#include "layout.h"
#include "slot.h"
#include "sync.h"

#define ZR_BLOCK_SHIFT 12
#define ZR_BLOCK_BYTES (1u << ZR_BLOCK_SHIFT)

/* As much as positions reach. */
#define ZR_BACKING_BYTES_MAX (UINT64_C(1) << 46)

/* Most that sealing may add. */
#define ZR_SEAL_BYTES_MAX 64u

/* Whose object is in a frame: sealed with it. */
struct zr_frame_owner {
	uint64_t disk_id;
	uint64_t page_no;
};

/*
 * The file, as the engine sees it. Offsets and lengths are whole blocks, memory is aligned to
 * ZR_BLOCK_BYTES. Each may be called by several threads at a time, and waits for the file alone.
 * Return: 0 or -errno; what was read short is -EIO.
 */
struct zr_backing_io {
	void *context;
	int (*read)(void *context, uint64_t offset, void *bytes, size_t n_bytes);
	int (*write)(void *context, uint64_t offset, const void *bytes, size_t n_bytes);
	/* Give the file's memory of a range back, which reads as anything from then on. NULL: never. */
	int (*punch)(void *context, uint64_t offset, uint64_t n_bytes);
	/* @n_object bytes into a frame of the record's seal_bytes more, and back. A sequence number
	 * is used once. Opening is -EIO for what was not sealed for that owner by this run. */
	void (*seal)(void *context, const struct zr_frame_owner *owner, uint64_t sequence,
		     const void *object, uint32_t n_object, void *frame);
	int (*open)(void *context, const struct zr_frame_owner *owner, const void *frame,
		    uint32_t n_object, void *object);
};

/* What is emptied as a whole; see clean.h. */
#define ZR_ZONE_SHIFT 4
#define ZR_ZONE_BYTES (ZR_BLOCK_BYTES << ZR_ZONE_SHIFT)

struct zr_backing {
	struct zr_backing_record *record; /* in the store */
	uint64_t id;                      /* of the record, once somebody uses it */
	const struct zr_backing_io *io;   /* NULL: the file is lost, and what was on it */
	uint64_t n_blocks;                /* the mark's among them */
	_Atomic uint16_t *xcounts;        /* of each block */
	_Atomic uint64_t xn_free;
	_Atomic uint8_t *xzone_taken;  /* of each zone, blocks that are not free */
	_Atomic uint64_t xn_roomy;     /* zones with one such block at most */
	_Atomic uint64_t xframe_bytes; /* of all frames, rounded up to units */
	_Atomic uint32_t xusers;       /* disks that have it, and who reads from it */

	struct zr_mutex lock;
	/* protected by lock */
	uint64_t cursor;      /* where to look for room next */
	uint64_t *dirty;      /* a bit a block: the file has memory for it */
	uint64_t sequence;    /* next to give out */
	uint64_t reserved_to; /* and up to where that is noted in the store */
	bool *victims;        /* zones of which nothing is claimed */
	/* of who cleans */
	uint32_t *zone_bytes; /* of frames that begin in each zone */
};

/* Of @record, which says how large it is. All is free. Return: 0 or -ENOMEM. */
int zr_backing_new(struct zr_backing **backingp, struct zr_backing_record *record,
		   const struct zr_backing_io *io);
struct zr_backing *zr_backing_free(struct zr_backing *backing);

/* Whoever used the record before is gone. Before frames are marked. */
void zr_backing_begin(struct zr_backing *backing);

/* Bytes that a frame takes of the file. */
static inline uint32_t zr_frame_bytes(const struct zr_backing *backing, uint32_t n_object)
{
	return (uint32_t)zr_align_up(n_object + backing->record->seal_bytes, ZR_CELL_UNIT);
}

/* Up to @n_blocks free blocks in a row, which are the caller's until zr_backing_release(), if as many
 * as @n_left are left, in roomy zones. Return: how many; 0: there is none. */
uint32_t zr_backing_claim(struct zr_backing *backing, uint32_t n_blocks, uint64_t n_left,
			  uint64_t *firstp);

/* Left by who fills the file: without any room nothing can be moved. In zones, since single blocks are
 * no room: a page that does not compress takes two in a row. */
static inline uint64_t zr_backing_reserve(const struct zr_backing *backing)
{
	return zr_min(backing->n_blocks / 16, UINT64_C(16) << ZR_ZONE_SHIFT);
}

/* What has no frame by now is free again. */
void zr_backing_release(struct zr_backing *backing, uint64_t first, uint32_t n_blocks);

/* The frame of @slot, a written back one, is there, in blocks that were claimed; it is there no
 * more. */
void zr_backing_add(struct zr_backing *backing, zr_slot slot);
void zr_backing_remove(struct zr_backing *backing, zr_slot slot);

/* While a store is loaded: @slot refers to its frame. Return: 0, or -EINVAL where none can be. */
int zr_backing_derive_mark(struct zr_backing *backing, zr_slot slot);

/* The file's blocks that the frame lies in stay as they are, until it is unpinned. Pinned by who
 * holds the stripe of its page. */
void zr_backing_pin(struct zr_backing *backing, zr_slot slot);
void zr_backing_unpin(struct zr_backing *backing, zr_slot slot);

/* Numbers for @n frames, never given out before, by former processes neither. Return: the first. */
uint64_t zr_backing_sequence(struct zr_backing *backing, uint32_t n);

/* Blocks read, and kept for who wants the next frame of them. Of a thread. */
#define ZR_WINDOW_BLOCKS 16u

struct zr_window {
	uint8_t bytes[ZR_WINDOW_BLOCKS * ZR_BLOCK_BYTES]; /* first: it is aligned */
	struct zr_backing *backing;                       /* NULL: nothing is in it */
	uint64_t first;
	uint32_t n_blocks; /* each pinned, so that what is in them cannot change */
};

int zr_window_new(struct zr_window **windowp);
struct zr_window *zr_window_free(struct zr_window *window);

/* Nothing is in it any more. Before its thread waits, or the backing may go. */
void zr_window_close(struct zr_window *window);

/* The frame itself, as it is on the file, in the window. Return: 0 or -EIO. */
int zr_backing_frame(struct zr_backing *backing, struct zr_window *window, bool ahead, zr_slot slot,
		     const uint8_t **framep);

/* The object of a frame that is pinned, into @object. Reads on from there as far as there are
 * frames, if the pages that follow are likely to be wanted (@ahead), and looks into what was read
 * before first. Return: 0 or -EIO. */
int zr_backing_fetch(struct zr_backing *backing, struct zr_window *window, bool ahead,
		     const struct zr_frame_owner *owner, zr_slot slot, void *object);

/* Punch what is free and has memory on the file, in runs of @n_least blocks at least. Return: bytes,
 * or -errno. */
int64_t zr_backing_punch(struct zr_backing *backing, uint32_t n_least);

/* zones */

static inline uint64_t zr_backing_zones(const struct zr_backing *backing)
{
	return (backing->n_blocks + (1u << ZR_ZONE_SHIFT) - 1) >> ZR_ZONE_SHIFT;
}

/* In which the frame of @slot begins. */
static inline uint64_t zr_backing_zone(zr_slot slot)
{
	return zr_slot_file_position(slot) * ZR_CELL_UNIT >> (ZR_BLOCK_SHIFT + ZR_ZONE_SHIFT);
}

/* Claim nothing of the zone, or as before. */
void zr_backing_set_victim(struct zr_backing *backing, uint64_t zone, bool is_victim);

/* Does the frame begin in such a zone? For who set that. */
static inline bool zr_backing_is_victim(const struct zr_backing *backing, zr_slot slot)
{
	return backing->victims[zr_backing_zone(slot)];
}

/* For tests: count the frame of @slot into @counts, one a block; compare all of them, and their
 * bytes, with what is kept. Nobody reads or writes. */
void zr_backing_count(const struct zr_backing *backing, zr_slot slot, uint16_t *counts);
void zr_backing_validate(struct zr_backing *backing, const uint16_t *counts, uint64_t frame_bytes);
