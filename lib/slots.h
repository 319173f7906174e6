#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Slots: page number -> slot
 *
 *   root -> node -> node -> node -> leaf       512 entries each: 9 bits of the page number a level,
 *           512 GiB 1 GiB   2 MiB   4 KiB      2^36 pages
 *
 * A node is a page of the pool, its entries positions of nodes; a leaf's entries are slots. An
 * absent node is a null entry: reading allocates nothing, and what was never written costs nothing.
 *
 * Ownership: the tree owns its nodes; slots own their objects: whoever swaps one out retires it.
 * Locking:   to look at a slot hold the stripe of its page, exclusive to change it; its idle mark
 *            is cleared with the stripe shared. To walk inner nodes hold a stripe or the disk's
 *            shape shared. Links are changed under TREE, which calls take for themselves. A leaf
 *            goes with all stripes of its pages held exclusive, an inner node with all stripes of
 *            the store and the shape.
 * Errors:    -ENOMEM; the tree is then as it was.
 * Cost:      four dependent loads to find a slot; 4 KiB for 2 MiB of pages, 0.2 %.
 */

#include "layout.h"
#include "pool.h"

struct zr_slots {
	struct zr_pool *pool;
	_Atomic uint64_t *root;    /* in the disk's entry */
	struct zr_mutex tree;      /* links from node to node */
	_Atomic uint64_t xn_nodes; /* linked ones */
};

void zr_slots_init(struct zr_slots *slots, struct zr_pool *pool, _Atomic uint64_t *root);
void zr_slots_deinit(struct zr_slots *slots);

/* NULL where the leaf is absent: all its pages are holes. */
_Atomic zr_slot *zr_slots_find(const struct zr_slots *slots, uint64_t page_no);

/* How many nodes zr_slots_make() would add for @page_no, 0..4. */
unsigned int zr_slots_missing(const struct zr_slots *slots, uint64_t page_no);

/* Find, adding what is missing. Return: how many nodes were added, or -ENOMEM. */
int zr_slots_make(struct zr_slots *slots, uint64_t page_no, _Atomic zr_slot **slotp);

/* The first leaf at or above @leaf_no and below @end that is there. Return: false if none is. */
bool zr_slots_next_leaf(const struct zr_slots *slots, uint64_t leaf_no, uint64_t end,
			uint64_t *leaf_nop);

/* Take the leaf of @leaf_no out, which the caller then owns. Return: its position, 0 if absent. */
zr_position zr_slots_unhook_leaf(struct zr_slots *slots, uint64_t leaf_no);

/* Free an unhooked leaf, handing each slot that is not a hole to @retire. */
void zr_slots_retire_leaf(struct zr_slots *slots, zr_position leaf,
			  void (*retire)(void *context, zr_slot slot), void *context);

/* Take everything out. Return: the root, for zr_slots_retire(); 0 if there was nothing. */
zr_position zr_slots_unhook_all(struct zr_slots *slots);

/* Does the leaf that @slot lies in hold nothing but holes? */
bool zr_slots_leaf_is_empty(const _Atomic zr_slot *slot);

/* Free every leaf without a slot and every node without a child. Nobody may be looking.
 * Return: how many went. */
unsigned int zr_slots_prune(struct zr_slots *slots);

/* Free an unhooked tree, handing each slot that is not a hole to @retire. */
void zr_slots_retire(struct zr_slots *slots, zr_position root,
		     void (*retire)(void *context, zr_slot slot), void *context);

/* Call @node for each node, before its children, and @slot for each slot that is not a hole, until
 * one returns not 0, which is returned. Survives garbage, if @node refuses what it saw before. */
int zr_slots_walk(const struct zr_slots *slots, int (*node)(void *context, zr_position position),
		  int (*slot)(void *context, uint64_t page_no, zr_slot slot), void *context);
