/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "slots.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "crash.h"

#define NODE_BYTES     (ZR_LEAF_SLOTS * sizeof(uint64_t))
#define LEVELS         4 /* the leaf is level 0 */
#define LEVEL_MASK     (ZR_LEAF_SLOTS - 1)
#define LEVEL_SHIFT(l) ((unsigned int)(l)*ZR_LEAF_SHIFT)

_Static_assert(NODE_BYTES == ZR_PAGE_SIZE, "a node is a page of the pool");
_Static_assert(ZR_DISK_PAGES_MAX == UINT64_C(1) << LEVELS * ZR_LEAF_SHIFT,
	       "the tree addresses every page a disk can have");

/* Acquire pairs with the release in zr_slots_make(): a node is zeroed before it is linked. */
static uint64_t entry_get(const _Atomic uint64_t *entry)
{
	return atomic_load_explicit(entry, memory_order_acquire);
}

static void entry_set(_Atomic uint64_t *entry, uint64_t value)
{
	atomic_store_explicit(entry, value, memory_order_release);
}

static _Atomic uint64_t *node_at(const struct zr_slots *slots, zr_position node)
{
	return zr_pool_at(slots->pool, node);
}

void zr_slots_init(struct zr_slots *slots, struct zr_pool *pool, _Atomic uint64_t *root)
{
	slots->pool = pool;
	slots->root = root;
	atomic_init(&slots->xn_nodes, 0);
	zr_mutex_init(&slots->tree, ZR_RANK_TREE);
}

void zr_slots_deinit(struct zr_slots *slots)
{
	zr_mutex_deinit(&slots->tree);
}

/* Go down towards @page_no as far as there are nodes. Return: the entry where it stopped, and in
 * *levelp the level of the node that entry would name; -1 if the entry is the slot itself. */
static _Atomic uint64_t *descend(const struct zr_slots *slots, uint64_t page_no, int bottom,
				 int *levelp)
{
	_Atomic uint64_t *entry = slots->root;
	int level = LEVELS - 1;
	zr_position node;

	while (level >= bottom) {
		node = entry_get(entry);
		if (node == 0)
			break;
		entry = node_at(slots, node) + (page_no >> LEVEL_SHIFT(level) & LEVEL_MASK);
		--level;
	}

	*levelp = level;
	return entry;
}

_Atomic zr_slot *zr_slots_find(const struct zr_slots *slots, uint64_t page_no)
{
	_Atomic uint64_t *entry;
	int level;

	entry = descend(slots, page_no, 0, &level);
	return level < 0 ? entry : NULL;
}

unsigned int zr_slots_missing(const struct zr_slots *slots, uint64_t page_no)
{
	int level;

	descend(slots, page_no, 0, &level);
	return (unsigned int)(level + 1);
}

static void count_nodes(struct zr_slots *slots, int n_more)
{
	atomic_fetch_add_explicit(&slots->xn_nodes, (uint64_t)(int64_t)n_more,
				  memory_order_relaxed);
}

static int node_new(struct zr_slots *slots, zr_position *nodep)
{
	int r;

	r = zr_pool_alloc(slots->pool, NODE_BYTES, nodep);
	if (r < 0)
		return r;

	memset(zr_pool_at(slots->pool, *nodep), 0, NODE_BYTES);
	return 0;
}

static void node_free(struct zr_slots *slots, zr_position node)
{
	zr_pool_free(slots->pool, node, NODE_BYTES);
}

/* Nodes of level 0..@level, each the only child of the next. Return: 0 or -ENOMEM. */
static int branch_new(struct zr_slots *slots, uint64_t page_no, int level, zr_position *branchp)
{
	zr_position nodes[LEVELS];
	int i, r;

	for (i = 0; i <= level; ++i) {
		r = node_new(slots, &nodes[i]);
		if (r < 0) {
			while (i-- > 0)
				node_free(slots, nodes[i]);
			return r;
		}
		if (i > 0)
			entry_set(node_at(slots, nodes[i]) +
					  (page_no >> LEVEL_SHIFT(i) & LEVEL_MASK),
				  nodes[i - 1]);
	}

	*branchp = nodes[level];
	return 0;
}

int zr_slots_make(struct zr_slots *slots, uint64_t page_no, _Atomic zr_slot **slotp)
{
	_Atomic uint64_t *entry;
	int level, n_added = 0, r;
	zr_position branch;

	ZR_ASSERT(page_no < ZR_DISK_PAGES_MAX);

	entry = descend(slots, page_no, 0, &level);
	if (level >= 0) {
		ZR_GUARD(&slots->tree);

		/* Somebody under another stripe may have been here meanwhile. */
		entry = descend(slots, page_no, 0, &level);
		if (level >= 0) {
			r = branch_new(slots, page_no, level, &branch);
			if (r < 0)
				return r;
			ZR_CRASH("link");
			entry_set(entry, branch);
			n_added = level + 1;
			count_nodes(slots, n_added);
			entry = descend(slots, page_no, 0, &level);
		}
	}

	ZR_ASSERT(level < 0);
	*slotp = entry;
	return n_added;
}

bool zr_slots_next_leaf(const struct zr_slots *slots, uint64_t leaf_no, uint64_t end,
			uint64_t *leaf_nop)
{
	uint64_t page_no = leaf_no << ZR_LEAF_SHIFT;
	const uint64_t end_page = end << ZR_LEAF_SHIFT;
	uint64_t span_pages;
	int level;

	while (page_no < end_page) {
		/* Down to the entry that names the leaf, and no further. */
		if (entry_get(descend(slots, page_no, 1, &level)) != 0) {
			*leaf_nop = page_no >> ZR_LEAF_SHIFT;
			return true;
		}

		/* What is absent spans this many pages. */
		span_pages = UINT64_C(1) << LEVEL_SHIFT(level + 1);
		page_no = zr_align_down(page_no, span_pages) + span_pages;
	}
	return false;
}

zr_position zr_slots_unhook_leaf(struct zr_slots *slots, uint64_t leaf_no)
{
	_Atomic uint64_t *entry;
	zr_position leaf;
	int level;

	ZR_GUARD(&slots->tree);

	entry = descend(slots, leaf_no << ZR_LEAF_SHIFT, 1, &level);
	if (level > 0)
		return 0;

	leaf = entry_get(entry);
	if (leaf != 0) {
		entry_set(entry, 0);
		count_nodes(slots, -1);
	}
	return leaf;
}

zr_position zr_slots_unhook_all(struct zr_slots *slots)
{
	ZR_GUARD(&slots->tree);
	atomic_store_explicit(&slots->xn_nodes, 0, memory_order_relaxed);
	return atomic_exchange(slots->root, 0);
}

bool zr_slots_leaf_is_empty(const _Atomic zr_slot *slot)
{
	/* A leaf is a cell of one page and cells of that class lie at whole pages. */
	const _Atomic uint64_t *entries = (const void *)((uintptr_t)slot &
							 ~(uintptr_t)(NODE_BYTES - 1));
	const unsigned int first = (unsigned int)(slot - entries);
	unsigned int i;

	/* From there on, and around: who discards one after another finds the next one at once. A
	 * discard of 1 MiB, page by page, takes 16 us instead of 38. */
	for (i = 1; i <= ZR_LEAF_SLOTS; ++i) {
		if (atomic_load_explicit(&entries[(first + i) % ZR_LEAF_SLOTS],
					 memory_order_relaxed) != 0)
			return false;
	}
	return true;
}

/* Recursion is four deep at most: LEVELS. Return: is the node empty now? */
static bool node_prune(struct zr_slots *slots, zr_position node, int level, unsigned int *n_gonep)
{
	_Atomic uint64_t *entries = node_at(slots, node);
	bool empty = true;
	zr_position child;
	unsigned int i;

	if (level == 0)
		return zr_slots_leaf_is_empty(entries);

	for (i = 0; i < ZR_LEAF_SLOTS; ++i) {
		child = entry_get(&entries[i]);
		if (child == 0)
			continue;
		if (node_prune(slots, child, level - 1, n_gonep)) {
			entry_set(&entries[i], 0);
			node_free(slots, child);
			++*n_gonep;
		} else {
			empty = false;
		}
	}
	return empty;
}

unsigned int zr_slots_prune(struct zr_slots *slots)
{
	unsigned int n_gone = 0;
	zr_position root;

	ZR_GUARD(&slots->tree);

	root = entry_get(slots->root);
	if (root != 0 && node_prune(slots, root, LEVELS - 1, &n_gone)) {
		entry_set(slots->root, 0);
		node_free(slots, root);
		++n_gone;
	}
	count_nodes(slots, -(int)n_gone);
	return n_gone;
}

static void node_retire(struct zr_slots *slots, zr_position node, int level,
			void (*retire)(void *context, zr_slot slot), void *context)
{
	_Atomic uint64_t *entries = node_at(slots, node);
	uint64_t entry;
	unsigned int i;

	for (i = 0; i < ZR_LEAF_SLOTS; ++i) {
		entry = entry_get(&entries[i]);
		if (entry == 0)
			continue;
		if (level > 0)
			node_retire(slots, entry, level - 1, retire, context);
		else
			retire(context, entry);
	}
	node_free(slots, node);
}

void zr_slots_retire(struct zr_slots *slots, zr_position root,
		     void (*retire)(void *context, zr_slot slot), void *context)
{
	if (root != 0)
		node_retire(slots, root, LEVELS - 1, retire, context);
}

void zr_slots_retire_leaf(struct zr_slots *slots, zr_position leaf,
			  void (*retire)(void *context, zr_slot slot), void *context)
{
	node_retire(slots, leaf, 0, retire, context);
}

struct walk {
	const struct zr_slots *slots;
	int (*node)(void *context, zr_position position);
	int (*slot)(void *context, uint64_t page_no, zr_slot slot);
	void *context;
};

static int node_walk(const struct walk *walk, zr_position node, int level, uint64_t page_no)
{
	const _Atomic uint64_t *entries;
	uint64_t entry;
	unsigned int i;
	int r;

	r = walk->node(walk->context, node);
	if (r != 0)
		return r;

	entries = node_at(walk->slots, node);
	for (i = 0; i < ZR_LEAF_SLOTS; ++i) {
		const uint64_t at = page_no + ((uint64_t)i << LEVEL_SHIFT(level));

		entry = entry_get(&entries[i]);
		if (entry == 0)
			continue;
		r = level > 0 ? node_walk(walk, entry, level - 1, at)
			      : walk->slot(walk->context, at, entry);
		if (r != 0)
			return r;
	}
	return 0;
}

int zr_slots_walk(const struct zr_slots *slots, int (*node)(void *context, zr_position position),
		  int (*slot)(void *context, uint64_t page_no, zr_slot slot), void *context)
{
	const struct walk walk = { slots, node, slot, context };
	zr_position root = entry_get(slots->root);

	return root == 0 ? 0 : node_walk(&walk, root, LEVELS - 1, 0);
}
