/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "ages.h"

#include <stdatomic.h>

#include "crash.h"
#include "pages-parts.h"

#define IN_WORD    4u
#define LEAF_WORDS (ZR_LEAF_SLOTS / IN_WORD)
#define LEAVES_MAX (ZR_DISK_PAGES_MAX >> ZR_LEAF_SHIFT)

/* Leaves of pages whose ages share a leaf of words. */
#define SHARE 4u

_Static_assert(SHARE *LEAF_WORDS == ZR_LEAF_SLOTS, "a leaf of words is full");
_Static_assert(ZR_AGE_S_MAX == UINT16_MAX * ZR_AGE_UNIT_S, "the highest age is that of the layout");

static uint64_t first_word(uint64_t leaf_no)
{
	return leaf_no * LEAF_WORDS;
}

/* The words of a leaf, which its stripes or the shape keep there. NULL: all are 0. */
static _Atomic uint64_t *words_find(const struct zr_pages *pages, uint64_t leaf_no)
{
	return zr_slots_find(&pages->ages, first_word(leaf_no));
}

/* The same, made if need be, with the stripes of the leaf held. NULL: there is no memory for it. */
static _Atomic uint64_t *words_make(struct zr_pages *pages, uint64_t leaf_no)
{
	const int n_missing = (int)zr_slots_missing(&pages->ages, first_word(leaf_no));
	_Atomic uint64_t *words = NULL;
	int n_added;

	if (zr_pages_charge(pages, n_missing * ZR_NODE_BYTES, ZR_LIMIT_HOLDS) < 0)
		return NULL;
	n_added = zr_slots_make(&pages->ages, first_word(leaf_no), &words);
	zr_pages_uncharge(pages, (n_missing - (n_added < 0 ? 0 : n_added)) * ZR_NODE_BYTES);
	return n_added < 0 ? NULL : words;
}

static zr_age age_in(uint64_t word, unsigned int i)
{
	return (zr_age)(word >> 16 * (i % IN_WORD));
}

/* Of a slot in whose place of the words @age is written. */
static zr_age age_of_slot(zr_slot slot, zr_age age)
{
	return zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT && slot & ZR_SLOT_UNUSED ? age : 0;
}

uint64_t zr_ages_next_leaf(const struct zr_pages *pages, uint64_t leaf_no)
{
	uint64_t of_pages = UINT64_MAX, of_words = UINT64_MAX;

	if (leaf_no >= LEAVES_MAX)
		return UINT64_MAX;
	if (!zr_slots_next_leaf(&pages->slots, leaf_no, LEAVES_MAX, &of_pages))
		of_pages = UINT64_MAX;
	if (zr_slots_next_leaf(&pages->ages, leaf_no / SHARE, LEAVES_MAX / SHARE, &of_words))
		of_words = zr_max(of_words * SHARE, leaf_no);
	else
		of_words = UINT64_MAX;
	return zr_min(of_pages, of_words);
}

/* Is there anything that is not used any more? */
static bool has_unused(const _Atomic zr_slot *slots)
{
	unsigned int i;

	for (i = 0; i < ZR_LEAF_SLOTS; ++i) {
		const zr_slot slot = zr_pages_slot(&slots[i]);

		if (zr_slot_kind(slot) == ZR_SLOT_KIND_OBJECT && slot & ZR_SLOT_UNUSED)
			return true;
	}
	return false;
}

/* One object. Return: its age now. */
static zr_age look_at(_Atomic zr_slot *at, zr_age before, uint32_t n_units, zr_age idle_from,
		      struct zr_ages_seen *seen)
{
	const zr_slot slot = zr_pages_slot(at);
	zr_slot marked;
	zr_age age = 0;

	if (zr_slot_kind(slot) != ZR_SLOT_KIND_OBJECT)
		return 0;
	if (slot & ZR_SLOT_UNUSED)
		age = (zr_age)zr_min((uint32_t)before + n_units, (uint32_t)UINT16_MAX);
	marked = slot | ZR_SLOT_UNUSED;
	if (idle_from != 0 && age >= idle_from)
		marked |= ZR_SLOT_IDLE;
	if (marked != slot)
		atomic_store_explicit(at, marked, memory_order_release);
	++seen->in_bucket[zr_age_bucket(age)];
	return age;
}

static void look_locked(struct zr_pages *pages, uint64_t leaf_no, uint32_t n_units,
			zr_age idle_from, struct zr_ages_seen *seen)
{
	_Atomic zr_slot *slots = zr_slots_find(&pages->slots, leaf_no << ZR_LEAF_SHIFT);
	_Atomic uint64_t *words = words_find(pages, leaf_no);
	uint64_t before, after;
	unsigned int i, j;

	zr_assert_held(ZR_RANK_STRIPE);

	if (slots && !words && n_units > 0 && has_unused(slots))
		words = words_make(pages, leaf_no);
	for (i = 0; (slots || words) && i < LEAF_WORDS; ++i) {
		before = words ? atomic_load_explicit(&words[i], memory_order_relaxed) : 0;
		after = 0;
		/* Without a word for it, an object is as old as it can be said to be. */
		for (j = 0; slots && j < IN_WORD; ++j)
			after |= (uint64_t)look_at(&slots[i * IN_WORD + j], age_in(before, j),
						   words ? n_units : 0, idle_from, seen)
				 << 16 * j;
		if (words && after != before)
			atomic_store_explicit(&words[i], after, memory_order_relaxed);
	}
}

void zr_ages_look(struct zr_pages *pages, uint64_t leaf_no, uint32_t n_units, zr_age idle_from,
		  struct zr_ages_seen *seen)
{
	struct zr_stripes *stripes = &pages->engine->stripes;

	zr_stripes_lock_leaf(stripes, pages->disk_id, leaf_no);
	look_locked(pages, leaf_no, n_units, idle_from, seen);
	zr_stripes_unlock_leaf(stripes, pages->disk_id, leaf_no);
	ZR_CRASH("aged");
}

static void retire_age(void *context, uint64_t word)
{
}

void zr_ages_retire(struct zr_pages *pages, zr_position root)
{
	zr_slots_retire(&pages->ages, root, retire_age, NULL);
}

void zr_ages_trim(struct zr_pages *pages, uint64_t leaf_no, uint64_t next)
{
	struct zr_stripes *stripes = &pages->engine->stripes;
	const _Atomic uint64_t *words = words_find(pages, leaf_no);
	zr_position leaf;

	/* By one thread alone: nobody makes them larger meanwhile. */
	if (!words || leaf_no / SHARE == next / SHARE || !zr_slots_leaf_is_empty(words))
		return;
	zr_stripes_lock_all(stripes);
	leaf = zr_slots_unhook_leaf(&pages->ages, leaf_no / SHARE);
	zr_pages_uncharge(pages, ZR_NODE_BYTES);
	zr_stripes_unlock_all(stripes);
	ZR_CRASH("ages-trim");
	zr_slots_retire_leaf(&pages->ages, leaf, retire_age, NULL);
}

void zr_ages_copy(struct zr_pages *pages, uint64_t leaf_no, zr_age ages[ZR_LEAF_SLOTS])
{
	const uint64_t first = leaf_no << ZR_LEAF_SHIFT;
	const _Atomic uint64_t *words;
	const _Atomic zr_slot *slots;
	unsigned int i;

	/* Any stripe keeps either leaf there. */
	ZR_GUARD_SHARED(zr_pages_stripe(pages, first));

	slots = zr_slots_find(&pages->slots, first);
	words = words_find(pages, leaf_no);
	for (i = 0; i < ZR_LEAF_SLOTS; ++i) {
		const uint64_t word =
			words ? atomic_load_explicit(&words[i / IN_WORD], memory_order_relaxed) : 0;

		ages[i] = slots ? age_of_slot(zr_pages_slot(&slots[i]), age_in(word, i)) : 0;
	}
}

void zr_ages_mark_idle(struct zr_pages *pages, uint64_t leaf_no, zr_age idle_from)
{
	struct zr_stripes *stripes = &pages->engine->stripes;
	const _Atomic uint64_t *words;
	_Atomic zr_slot *slots;
	unsigned int i;

	zr_stripes_lock_leaf(stripes, pages->disk_id, leaf_no);
	slots = zr_slots_find(&pages->slots, leaf_no << ZR_LEAF_SHIFT);
	words = words_find(pages, leaf_no);
	for (i = 0; slots && i < ZR_LEAF_SLOTS; ++i) {
		const zr_slot slot = zr_pages_slot(&slots[i]);
		const uint64_t word =
			words ? atomic_load_explicit(&words[i / IN_WORD], memory_order_relaxed) : 0;

		if (zr_slot_kind(slot) != ZR_SLOT_KIND_OBJECT)
			continue;
		atomic_store_explicit(&slots[i],
				      age_of_slot(slot, age_in(word, i)) >= idle_from
					      ? slot | ZR_SLOT_IDLE
					      : slot & ~ZR_SLOT_IDLE,
				      memory_order_release);
	}
	zr_stripes_unlock_leaf(stripes, pages->disk_id, leaf_no);
}

void zr_ages_drop(struct zr_pages *pages)
{
	struct zr_stripes *stripes = &pages->engine->stripes;
	uint64_t n_nodes;
	zr_position root;

	if (atomic_load(pages->ages.root) == 0)
		return;
	zr_stripes_lock_all(stripes);
	n_nodes = atomic_load(&pages->ages.xn_nodes);
	root = zr_slots_unhook_all(&pages->ages);
	zr_pages_uncharge(pages, (int64_t)n_nodes * ZR_NODE_BYTES);
	zr_stripes_unlock_all(stripes);
	zr_ages_retire(pages, root);
}
