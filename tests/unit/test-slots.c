/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The tree is compared with a sorted list of the page numbers that were put into it, chosen at the
 * edges of leaves and of nodes of every level. A slot holds a word made of its page number, so a
 * page number that leads to another page's slot is seen. Nothing here has an object.
 */

#include "test.h"

#include <errno.h>
#include <stdatomic.h>

#include "faults.h"
#include "layout.h"
#include "slots.h"
#include "system.h"

#define LAST_PAGE (ZR_DISK_PAGES_MAX - 1)
#define LAST_LEAF (LAST_PAGE >> ZR_LEAF_SHIFT)
#define END_LEAF  (LAST_LEAF + 1)

/* Sorted. */
static const uint64_t far_apart[] = {
	0,
	1,
	511,
	512,
	1023,
	(UINT64_C(1) << 18) - 1,
	UINT64_C(1) << 18,
	(UINT64_C(1) << 27) - 1,
	UINT64_C(1) << 27,
	(UINT64_C(1) << 27) + 511,
	UINT64_C(0x123456789),
	UINT64_C(1) << 35,
	LAST_PAGE - 512,
	LAST_PAGE - 1,
	LAST_PAGE,
};

static struct zr_arena arena;
static struct zr_pool pool;
static _Atomic uint64_t root;
static struct zr_slots slots;

static void set_up(void)
{
	arena = (struct zr_arena)ZR_ARENA_NULL;
	CHECK(zr_arena_create(&arena, UINT64_C(64) << 20) == 0);
	memset(&pool, 0, sizeof(pool));
	CHECK(zr_pool_init(&pool, &arena) == 0);
	CHECK(zr_arena_populate(&arena, 0, zr_system_whole(ZR_DIRECTORY_START)) ==
	      0); /* the superblock */
	atomic_store(&root, 0);
	zr_slots_init(&slots, &pool, &root);
}

static uint64_t n_nodes(void)
{
	const uint64_t n = atomic_load(&slots.xn_nodes);

	CHECK(zr_pool_validate(&pool) == n * ZR_PAGE_SIZE);
	return n;
}

static void tear_down(void)
{
	CHECK(n_nodes() == 0);
	zr_pool_trim(&pool, 0);
	CHECK(zr_pool_usage(&pool).span_bytes == 0);
	zr_slots_deinit(&slots);
	zr_pool_deinit(&pool);
	zr_arena_deinit(&arena);
}

static zr_slot word_of(uint64_t page_no)
{
	zr_slot slot;

	CHECK(zr_slot_same(page_no + 1, &slot));
	return slot;
}

static void put(uint64_t page_no)
{
	const unsigned int n_missing = zr_slots_missing(&slots, page_no);
	const uint64_t n_before = n_nodes();
	_Atomic zr_slot *slotp = NULL;

	CHECK(zr_slots_make(&slots, page_no, &slotp) == (int)n_missing);
	CHECK(n_nodes() == n_before + n_missing);
	CHECK(zr_slots_missing(&slots, page_no) == 0);
	CHECK(zr_slots_find(&slots, page_no) == slotp);
	CHECK(*slotp == ZR_SLOT_HOLE);
	*slotp = word_of(page_no);
}

static void put_all(void)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(far_apart); ++i)
		put(far_apart[i]);
}

static void ignore(void *context, zr_slot slot)
{
	uint64_t *n_retired = context;

	CHECK(slot != ZR_SLOT_HOLE);
	++*n_retired;
}

static void drop_all(void)
{
	uint64_t n_retired = 0;

	zr_slots_retire(&slots, zr_slots_unhook_all(&slots), ignore, &n_retired);
	CHECK(root == 0);
}

static void test_empty_tree(void)
{
	uint64_t leaf_no = 42, n_retired = 0;
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(far_apart); ++i) {
		CHECK(zr_slots_find(&slots, far_apart[i]) == NULL);
		CHECK(zr_slots_missing(&slots, far_apart[i]) == 4);
		CHECK(zr_slots_unhook_leaf(&slots, far_apart[i] >> ZR_LEAF_SHIFT) == 0);
	}
	CHECK(!zr_slots_next_leaf(&slots, 0, END_LEAF, &leaf_no));
	CHECK(leaf_no == 42);
	CHECK(zr_slots_prune(&slots) == 0);
	CHECK(zr_slots_unhook_all(&slots) == 0);
	zr_slots_retire(&slots, 0, ignore, &n_retired);
	CHECK(n_retired == 0);
	CHECK(zr_arena_memory(&arena) ==
	      zr_system_whole(ZR_DIRECTORY_START)); /* reading allocates nothing */
	tear_down();
}

static void test_far_apart_pages_have_their_slots(void)
{
	unsigned int i;

	set_up();
	put_all();
	for (i = 0; i < ZR_ARRAY_SIZE(far_apart); ++i)
		CHECK(*zr_slots_find(&slots, far_apart[i]) == word_of(far_apart[i]));

	/* Neighbours in a leaf that is there are holes; in one that is not, nothing. */
	CHECK(*zr_slots_find(&slots, 2) == ZR_SLOT_HOLE);
	CHECK(zr_slots_find(&slots, 1024) == NULL);
	CHECK(zr_slots_missing(&slots, 1024) == 1);
	CHECK(zr_slots_missing(&slots, UINT64_C(3) << 18) == 2);
	CHECK(zr_slots_missing(&slots, UINT64_C(7) << 27) == 3);
	drop_all();
	tear_down();
}

static void test_reading_allocates_nothing(void)
{
	struct rng rng = rng_init("test-slots");
	uint64_t memory, leaf_no, n_before;
	unsigned int i;

	set_up();
	put_all();
	memory = zr_arena_memory(&arena);
	n_before = n_nodes();
	for (i = 0; i < 100000; ++i) {
		const uint64_t page_no = rng_below(&rng, ZR_DISK_PAGES_MAX) >> i % 36;

		zr_slots_find(&slots, page_no);
		zr_slots_missing(&slots, page_no);
		zr_slots_next_leaf(&slots, page_no >> ZR_LEAF_SHIFT, END_LEAF, &leaf_no);
	}
	CHECK(zr_arena_memory(&arena) == memory);
	CHECK(n_nodes() == n_before);
	drop_all();
	tear_down();
}

/* The lowest leaf of the list in [leaf_no, end); end if there is none. */
static uint64_t listed_leaf(uint64_t leaf_no, uint64_t end)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(far_apart); ++i) {
		if (far_apart[i] >> ZR_LEAF_SHIFT >= leaf_no)
			return zr_min(end, far_apart[i] >> ZR_LEAF_SHIFT);
	}
	return end;
}

static void check_next_leaf(uint64_t from, uint64_t end)
{
	const uint64_t want = listed_leaf(from, end);
	uint64_t found = end;

	CHECK(zr_slots_next_leaf(&slots, from, end, &found) == (want < end));
	CHECK(found == want);
}

static void test_next_leaf(void)
{
	unsigned int i, j;
	int off;

	set_up();
	put_all();
	for (i = 0; i < ZR_ARRAY_SIZE(far_apart); ++i) {
		const uint64_t leaf_no = far_apart[i] >> ZR_LEAF_SHIFT;

		for (off = leaf_no > 0 ? -1 : 0; off <= 1; ++off) {
			const uint64_t from = leaf_no + (uint64_t)(int64_t)off;

			for (j = 0; j < ZR_ARRAY_SIZE(far_apart); ++j)
				check_next_leaf(from, zr_max(from, far_apart[j] >> ZR_LEAF_SHIFT));
			check_next_leaf(from, zr_max(from, END_LEAF));
		}
	}
	drop_all();
	tear_down();
}

static void test_leaf_unhooks_and_retires(void)
{
	uint64_t n_retired = 0, n_before;
	zr_position leaf;

	set_up();
	put_all();
	n_before = atomic_load(&slots.xn_nodes);
	leaf = zr_slots_unhook_leaf(&slots, 0);
	CHECK(leaf != 0);
	CHECK(atomic_load(&slots.xn_nodes) == n_before - 1);
	CHECK(zr_slots_find(&slots, 0) == NULL);
	CHECK(zr_slots_unhook_leaf(&slots, 0) == 0);
	CHECK(*zr_slots_find(&slots, 512) == word_of(512)); /* the next leaf */

	zr_slots_retire_leaf(&slots, leaf, ignore, &n_retired);
	CHECK(n_retired == 3); /* 0, 1, 511 */
	n_nodes();
	drop_all();
	tear_down();
}

static void test_retiring_visits_each_slot_once(void)
{
	uint64_t n_retired = 0;
	zr_position top;

	set_up();
	put_all();
	top = zr_slots_unhook_all(&slots);
	CHECK(top != 0 && root == 0);
	CHECK(zr_slots_find(&slots, 0) == NULL);
	zr_slots_retire(&slots, top, ignore, &n_retired);
	CHECK(n_retired == ZR_ARRAY_SIZE(far_apart));
	tear_down();
}

static void test_prune_takes_what_is_empty(void)
{
	unsigned int i, j;

	set_up();
	put_all();
	CHECK(zr_slots_prune(&slots) == 0);

	for (i = 0; i < ZR_ARRAY_SIZE(far_apart); ++i) {
		const uint64_t n_before = n_nodes();
		_Atomic zr_slot *slotp = zr_slots_find(&slots, far_apart[i]);

		*slotp = ZR_SLOT_HOLE;
		CHECK(zr_slots_prune(&slots) == n_before - n_nodes());
		for (j = i + 1; j < ZR_ARRAY_SIZE(far_apart); ++j)
			CHECK(*zr_slots_find(&slots, far_apart[j]) == word_of(far_apart[j]));
	}
	CHECK(root == 0);
	tear_down();
}

static void test_empty_leaf_is_seen(void)
{
	_Atomic zr_slot *slotp;
	unsigned int i;

	set_up();
	CHECK(zr_slots_make(&slots, 512, &slotp) == 4);
	for (i = 0; i < ZR_LEAF_SLOTS; ++i) {
		CHECK(zr_slots_leaf_is_empty(&slotp[i]));
		slotp[i] = word_of(i);
		CHECK(!zr_slots_leaf_is_empty(&slotp[0]));
		CHECK(!zr_slots_leaf_is_empty(&slotp[ZR_LEAF_SLOTS - 1]));
		slotp[i] = ZR_SLOT_HOLE;
	}
	CHECK(zr_slots_prune(&slots) == 4);
	tear_down();
}

struct visit {
	uint64_t n_nodes, n_slots, stop_after;
};

static int visit_node(void *context, zr_position position)
{
	struct visit *visit = context;

	CHECK(position != 0);
	++visit->n_nodes;
	return 0;
}

static int visit_slot(void *context, uint64_t page_no, zr_slot slot)
{
	struct visit *visit = context;

	CHECK(page_no == far_apart[visit->n_slots]); /* in rising order */
	CHECK(slot == word_of(page_no));
	return ++visit->n_slots == visit->stop_after ? 7 : 0;
}

static void test_walk_sees_all_and_stops_when_told(void)
{
	struct visit visit = { 0 };

	set_up();
	CHECK(zr_slots_walk(&slots, visit_node, visit_slot, &visit) == 0);
	CHECK(visit.n_nodes == 0 && visit.n_slots == 0);

	put_all();
	CHECK(zr_slots_walk(&slots, visit_node, visit_slot, &visit) == 0);
	CHECK(visit.n_slots == ZR_ARRAY_SIZE(far_apart) && visit.n_nodes == n_nodes());

	visit = (struct visit){ .stop_after = 5 };
	CHECK(zr_slots_walk(&slots, visit_node, visit_slot, &visit) == 7);
	CHECK(visit.n_slots == 5);
	drop_all();
	tear_down();
}

/* A path of four nodes, refused at each of them: nothing is linked and nothing leaks. */
static void test_refused_nodes_change_nothing(void)
{
	zr_position taken[64];
	unsigned int n_cells, n_taken;
	_Atomic zr_slot *slotp;

	for (n_cells = 0; n_cells < 4; ++n_cells) {
		set_up();
		put(0); /* so that there are cells of whole pages */
		n_taken = faults_drain(&pool, taken, ZR_ARRAY_SIZE(taken));
		drop_all();
		CHECK(zr_pool_usage(&pool).span_bytes >= 4 * ZR_PAGE_SIZE);

		/* Four cells are free; all but @n_cells of them are taken. */
		n_taken += faults_drain(&pool, taken + n_taken, 4 - n_cells);
		slotp = NULL;
		faults_countdown = 1;
		CHECK(zr_slots_make(&slots, LAST_PAGE, &slotp) == -ENOMEM);
		CHECK(faults_countdown == 0);
		CHECK(slotp == NULL && root == 0 && slots.xn_nodes == 0);
		CHECK(zr_pool_validate(&pool) == n_taken * ZR_CELL_UNIT);

		CHECK(zr_slots_make(&slots, LAST_PAGE, &slotp) == 4);
		drop_all();
		faults_undrain(&pool, taken, n_taken);
		tear_down();
	}
}

int main(void)
{
	RUN(test_empty_tree);
	RUN(test_far_apart_pages_have_their_slots);
	RUN(test_reading_allocates_nothing);
	RUN(test_next_leaf);
	RUN(test_leaf_unhooks_and_retires);
	RUN(test_retiring_visits_each_slot_once);
	RUN(test_prune_takes_what_is_empty);
	RUN(test_empty_leaf_is_seen);
	RUN(test_walk_sees_all_and_stops_when_told);
	RUN(test_refused_nodes_change_nothing);
	return 0;
}
