#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Ages: for how long the objects of a disk were not used
 *
 * Nobody who uses a page notes when. A look goes over all leaves now and then: an object that still
 * has its unused mark was not used since the last one and is older by the time between the two; what
 * has not is of age 0, and gets the mark, which goes when its page is used. So an age is too small
 * by the time between two looks at most, and never too large but for a kill in the middle of a leaf.
 *
 * Ages are 16 bits of two seconds each and end at 36 hours. Four share a word of a tree of their own,
 * page_no / 4 -> word. What is not in the tree is of age 0, so a disk that is all in use has none.
 *
 * Ownership: the tree is the pages', charged to the disk, and goes when they go.
 * Locking:   callers hold the shape, shared unless it says otherwise. The words of a leaf are changed
 *            with its stripes held, by one thread at a time; a leaf of words goes with all stripes.
 * Errors:    none: where there is no memory for a word, or no room below the limit, the age stays 0.
 * Cost:      2 bytes a page in use. A look takes 1 us a leaf of pages.
 */

#include "pages.h"

#define ZR_AGE_UNIT_S  2u
#define ZR_AGE_UNIT_NS (INT64_C(1000000000) * ZR_AGE_UNIT_S)

/* Of an age: 0, 1, 2..3, 4..7, ... 32768..65535 */
#define ZR_AGE_BUCKETS 17u

typedef uint16_t zr_age;

/* The least age that is @seconds. */
static inline zr_age zr_age_of(uint32_t seconds)
{
	return (zr_age)zr_min((seconds + ZR_AGE_UNIT_S - 1) / ZR_AGE_UNIT_S, (uint32_t)UINT16_MAX);
}

static inline unsigned int zr_age_bucket(zr_age age)
{
	return age == 0 ? 0 : 32u - (unsigned int)__builtin_clz(age);
}

/* What a look has found so far. */
struct zr_ages_seen {
	uint64_t in_bucket[ZR_AGE_BUCKETS]; /* objects by their age */
};

/*
 * The first leaf at or above @leaf_no that has pages or ages. Return: UINT64_MAX past the last one.
 */
uint64_t zr_ages_next_leaf(const struct zr_pages *pages, uint64_t leaf_no);

/* One leaf of a look, the last one of which was @n_units before. Objects of @idle_from or older are
 * marked idle; 0: none is. */
void zr_ages_look(struct zr_pages *pages, uint64_t leaf_no, uint32_t n_units, zr_age idle_from,
		  struct zr_ages_seen *seen);

/* A look has come to leaf @leaf_no, and @next is the one that comes then. Words that it shares with
 * neighbours go with the last of these, if none is above 0. */
void zr_ages_trim(struct zr_pages *pages, uint64_t leaf_no, uint64_t next);

/* Ages of a leaf; 0 for what is no object. */
void zr_ages_copy(struct zr_pages *pages, uint64_t leaf_no, zr_age ages[ZR_LEAF_SLOTS]);

/* Objects of @idle_from or older are idle from now on, and no others. */
void zr_ages_mark_idle(struct zr_pages *pages, uint64_t leaf_no, zr_age idle_from);

/* None are kept any more. The shape is held exclusive. */
void zr_ages_drop(struct zr_pages *pages);
