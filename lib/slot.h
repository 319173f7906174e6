#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Slot: one page in 64 bits
 *
 * Everything there is to know of a page fits a word that is read and published whole:
 *
 *   bit  0..1   kind            hole (the word is 0), same-filled, object, written back
 *        2      idle            not used since it was marked
 *        3      incompressible  every codec gave up on it
 *        4      pending         a background change is under way; any new slot clears it
 *   object, written back:
 *        5..7   codec           number in the disk's codec table
 *        8..19  length - 1      stored bytes, 1..4096; 4096 is the raw page
 *       20..61  position        in 16-byte units: 64 TiB; of the store, or of the backing file
 *       62      unused          of an object: since its age was looked at (ages.h)
 *   same-filled:
 *        5..7   form            how the 64-bit word is kept
 *        8..63  value           the word's low 56 bits sign-extended; or 32 bits, repeated; or the
 *                               position of an 8-byte object
 *
 * Ownership: a slot owns its object; whoever swapped it out retires it.
 * Locking:   none here; see sync.h for the word in a leaf.
 * Errors:    none.
 * Cost:      shifts.
 */

#include "base.h"
#include "check.h"

typedef uint64_t zr_slot;

/* Of an object or a node, in units of ZR_CELL_UNIT bytes of the store; 0 names nothing. */
typedef uint64_t zr_position;

#define ZR_CELL_UNIT      16u
#define ZR_POSITION_MAX   ((UINT64_C(1) << 42) - 1)
#define ZR_SLOT_HOLE      ((zr_slot)0)
#define ZR_SLOT_FILL_SIZE 8u /* bytes of a fill word's object */

enum zr_slot_kind {
	ZR_SLOT_KIND_HOLE = 0,
	ZR_SLOT_KIND_SAME = 1,
	ZR_SLOT_KIND_OBJECT = 2,
	ZR_SLOT_KIND_WRITTEN_BACK = 3,
};

enum zr_slot_form {
	ZR_SLOT_FORM_SIGNED = 0,   /* 56 bits, sign-extended */
	ZR_SLOT_FORM_REPEATED = 1, /* 32 bits, twice; 8 and 16 repeat in these too */
	ZR_SLOT_FORM_OBJECT = 2,   /* any other word */
};

/* A background change (recompress, write back) reads a slot and works without a lock. Would it
 * publish if it found the same word again, it would lose a write that came back to the same cell
 * meanwhile. So it sets this bit first, every new slot is without, and publishing wants it set. */
#define ZR_SLOT_PENDING ((zr_slot)1 << 4)

/* Of objects alone. Readers clear the marks under a stripe that they share; so of all bits these
 * alone may change while somebody else has the stripe shared. */
#define ZR_SLOT_IDLE           ((zr_slot)1 << 2)
#define ZR_SLOT_INCOMPRESSIBLE ((zr_slot)1 << 3)

/* The same for ages. The idle mark cannot be it, too: people set and clear that one. */
#define ZR_SLOT_UNUSED ((zr_slot)1 << 62)

/* What goes when a page is used. */
#define ZR_SLOT_MARKS (ZR_SLOT_IDLE | ZR_SLOT_UNUSED)

static inline enum zr_slot_kind zr_slot_kind(zr_slot slot)
{
	return (enum zr_slot_kind)(slot & 3);
}

static inline enum zr_slot_form zr_slot_form(zr_slot slot)
{
	return (enum zr_slot_form)(slot >> 5 & 7);
}

static inline unsigned int zr_slot_codec(zr_slot slot)
{
	return (unsigned int)(slot >> 5 & 7);
}

static inline zr_slot zr_slot_object(zr_position position, uint32_t n_bytes, unsigned int codec)
{
	ZR_ASSERT(position > 0 && position <= ZR_POSITION_MAX);
	ZR_ASSERT(n_bytes >= 1 && n_bytes <= ZR_PAGE_SIZE && codec < 8);
	return ZR_SLOT_KIND_OBJECT | (zr_slot)codec << 5 | (zr_slot)(n_bytes - 1) << 8 |
	       position << 20;
}

/* The same object on the backing file. @position: of its frame, in units as above. */
static inline zr_slot zr_slot_written_back(uint64_t position, uint32_t n_bytes, unsigned int codec)
{
	return zr_slot_object(position, n_bytes, codec) | ZR_SLOT_KIND_WRITTEN_BACK;
}

/* Return: false where the word needs an object of its own. */
static inline bool zr_slot_same(uint64_t word, zr_slot *slotp)
{
	if ((uint64_t)((int64_t)(word << 8) >> 8) == word) {
		*slotp = ZR_SLOT_KIND_SAME | ZR_SLOT_FORM_SIGNED << 5 | word << 8;
		return true;
	}
	if (word >> 32 == (word & UINT32_MAX)) {
		*slotp = ZR_SLOT_KIND_SAME | ZR_SLOT_FORM_REPEATED << 5 | (word & UINT32_MAX) << 8;
		return true;
	}
	return false;
}

static inline zr_slot zr_slot_same_object(zr_position position)
{
	ZR_ASSERT(position > 0 && position <= ZR_POSITION_MAX);
	return ZR_SLOT_KIND_SAME | ZR_SLOT_FORM_OBJECT << 5 | position << 8;
}

/* The word of a same-filled slot that needs no object. */
static inline uint64_t zr_slot_word(zr_slot slot)
{
	if (zr_slot_form(slot) == ZR_SLOT_FORM_SIGNED)
		return (uint64_t)((int64_t)slot >> 8);
	return (slot >> 8 & UINT32_MAX) | slot >> 8 << 32;
}

/* Bytes of the slot's object in the pool; 0 if it has none. */
static inline uint32_t zr_slot_bytes(zr_slot slot)
{
	if (zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT)
		return (uint32_t)(slot >> 8 & 0xfff) + 1;
	if (zr_slot_kind(slot) == ZR_SLOT_KIND_SAME && zr_slot_form(slot) == ZR_SLOT_FORM_OBJECT)
		return ZR_SLOT_FILL_SIZE;
	return 0;
}

/* Bytes of a page's object, in the pool or on the backing file; 0 if it has none. */
static inline uint32_t zr_slot_length(zr_slot slot)
{
	return zr_slot_kind(slot) & ZR_SLOT_KIND_OBJECT ? (uint32_t)(slot >> 8 & 0xfff) + 1 : 0;
}

/* Of a written back page: where its frame is on the file, in units of ZR_CELL_UNIT bytes. */
static inline uint64_t zr_slot_file_position(zr_slot slot)
{
	return slot >> 20 & ZR_POSITION_MAX;
}

/* Meaningful where zr_slot_bytes() is not 0. */
static inline zr_position zr_slot_position(zr_slot slot)
{
	if (zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT)
		return slot >> 20 & ZR_POSITION_MAX;
	return slot >> 8 & ZR_POSITION_MAX;
}

/* The same object at another place. */
static inline zr_slot zr_slot_moved(zr_slot slot, zr_position position)
{
	const unsigned int shift = zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT ? 20 : 8;

	ZR_ASSERT(zr_slot_bytes(slot) > 0 && position > 0 && position <= ZR_POSITION_MAX);
	return (slot & ~ZR_SLOT_PENDING & ~((zr_slot)ZR_POSITION_MAX << shift)) | position << shift;
}

/* Is it what @slot was, but for the marks, which come and go whatever else happens? */
static inline bool zr_slot_is_still(zr_slot now, zr_slot slot)
{
	return ((now ^ slot) & ~ZR_SLOT_MARKS) == 0;
}

/* Could a store hold this word? Guards against garbage at attach. */
static inline bool zr_slot_is_sound(zr_slot slot)
{
	switch (zr_slot_kind(slot)) {
	case ZR_SLOT_KIND_HOLE:
		return slot == ZR_SLOT_HOLE;
	case ZR_SLOT_KIND_SAME:
		if (slot & (ZR_SLOT_IDLE | ZR_SLOT_INCOMPRESSIBLE | ZR_SLOT_PENDING))
			return false;
		return zr_slot_form(slot) < ZR_SLOT_FORM_OBJECT ||
		       (zr_slot_form(slot) == ZR_SLOT_FORM_OBJECT && zr_slot_position(slot) > 0 &&
			slot >> 8 <= ZR_POSITION_MAX);
	case ZR_SLOT_KIND_OBJECT:
		return zr_slot_position(slot) > 0 && slot >> 63 == 0;
	case ZR_SLOT_KIND_WRITTEN_BACK:
	default:
		return zr_slot_file_position(slot) > 0 && slot >> 62 == 0 &&
		       !(slot & (ZR_SLOT_IDLE | ZR_SLOT_PENDING));
	}
}
