/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * For how long pages were not used, with a clock of the test's own
 */

#include "budget.h"
#include "policy-rig.h"

static void test_off_nothing_is_done(void)
{
	set_up();
	put_all();
	CHECK(zr_policy_step(policy, disk, &clock_now) == ZR_POLICY_NEVER);
	CHECK(n_age_nodes() == 0 && !(slot_of(0) & ZR_SLOT_UNUSED));
	tear_down();
}

static void test_ages_grow_and_end_with_use(void)
{
	uint64_t i;

	set_up();
	put_all();
	set((struct ages){ .idle_s = 80 });
	CHECK(live(1) > 0);
	CHECK(n_age_nodes() == 0 && age(0) == 0 && (slot_of(0) & ZR_SLOT_UNUSED));
	for (i = 0; i < 20; ++i) {
		live(10);
		check(7);
		put(9);
	}
	CHECK(n_age_nodes() == 3 + N_PAGES / 2048);
	for (i = 0; i < N_PAGES; ++i) {
		const bool is_hot = i == 7 || i == 9;

		CHECK(is_hot ? age(i) == 0 : age(i) >= 180 && age(i) <= 201);
		CHECK(is_idle(i) == !is_hot);
	}
	rig_validate(rig.store);
	live(60);
	CHECK(age(7) >= 40 && age(7) <= 61 && !is_idle(7));
	live(40);
	CHECK(is_idle(7) && is_idle(9));
	check(7); /* to use it ends it at once */
	CHECK(age(7) == 0 && !is_idle(7));
	tear_down();
}

/* Many intervals of one second come to what they are, and the oldest grow no older. */
static void test_ages_of_any_length(void)
{
	set_up();
	put(0);
	set((struct ages){ .idle_s = 3 });
	live(1000);
	CHECK(age(0) >= 996 && age(0) <= 1000);
	set((struct ages){ .idle_s = ZR_AGE_S_MAX });
	live(35 * HOUR_S);
	CHECK(age(0) >= 35 * HOUR_S);
	live(3 * HOUR_S);
	CHECK(age(0) == ZR_AGE_S_MAX && is_idle(0));
	tear_down();
}

/* What has no object has no age, and takes no memory. */
static void test_holes_and_words_have_none(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t i;

	set_up();
	set((struct ages){ .idle_s = 16 });
	put_all();
	live(100);
	CHECK(n_age_nodes() == 3 + N_PAGES / 2048 && age(3000) > 0);
	zr_fill_page(page, UINT64_C(1) << 54); /* whose slot has the bit of the mark */
	disk_put(&rig, disk, 5 * ZR_PAGE_SIZE, page, sizeof(page));
	disk_get(&rig, disk, 5 * ZR_PAGE_SIZE, page, sizeof(page));
	CHECK(age(5) == 0);
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 2048 * ZR_PAGE_SIZE) == 0);
	live(10);
	CHECK(n_age_nodes() == 3 + (N_PAGES - 2048) / 2048 && age(3000) > 0);
	/* New pages there are new. */
	for (i = 0; i < 2048; ++i)
		put(i);
	CHECK(age(0) == 0);
	live(4);
	CHECK(age(0) < 10 && age(3000) > 100);
	rig_validate(rig.store);
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0 && n_age_nodes() == 0);
	rig_validate(rig.store);
	live(10);
	tear_down();
}

static void test_turned_off_the_memory_goes(void)
{
	uint64_t used;

	set_up();
	put_all();
	used = (uint64_t)atomic_load(&disk->pages.xused_bytes);
	set((struct ages){ .writeback_s = 2 * HOUR_S });
	live(HOUR_S);
	CHECK((uint64_t)atomic_load(&disk->pages.xused_bytes) ==
	      used + n_age_nodes() * ZR_PAGE_SIZE);
	CHECK(n_age_nodes() > 0);
	set((struct ages){ .idle_s = 100 }); /* another one: they stay */
	CHECK(n_age_nodes() > 0 && age(0) > 0);
	set((struct ages){ 0 });
	CHECK(n_age_nodes() == 0 && (uint64_t)atomic_load(&disk->pages.xused_bytes) == used);
	rig_validate(rig.store);
	/* They begin anew. */
	set((struct ages){ .idle_s = 100 });
	live(20);
	CHECK(age(0) < 20);
	tear_down();
}

static void test_ages_outlive_a_death(void)
{
	uint64_t before;

	set_up();
	put_all();
	set((struct ages){ .idle_s = 100 });
	live(300);
	check(3);
	before = n_age_nodes();
	CHECK(before > 0 && age(4) >= 280);
	die();
	CHECK(n_age_nodes() == before && age(4) >= 280 && age(3) == 0);
	/* The time without a worker counts. */
	pass(100 * SECOND_NS);
	live(2);
	CHECK(age(4) >= 390 && age(4) <= 404);

	/* In the middle of a look: no age is too large. */
	pass(50 * SECOND_NS);
	CHECK(zr_policy_step(policy, disk, &clock_now) == clock_now.now_ns);
	die();
	live(20);
	CHECK(age(4) <= 474 && age(N_PAGES - 1) >= 440 && age(N_PAGES - 1) <= 474);
	tear_down();
}

static void test_no_room_for_ages(void)
{
	set_up();
	put_all();
	CHECK(zr_disk_set_mem_limit(disk,
				    zr_align_up((uint64_t)atomic_load(&disk->pages.xused_bytes),
						4096)) == 0);
	set((struct ages){ .idle_s = 16 });
	live(100);
	CHECK(n_age_nodes() == 0 && age(0) == 0);
	CHECK(zr_disk_set_mem_limit(disk, 0) == 0);
	live(100);
	CHECK(n_age_nodes() > 0 && age(0) >= 90);
	tear_down();
}

/* A mark by hand says nothing of ages, and neither does taking it away. */
static void test_marks_by_hand(void)
{
	uint64_t leaf_no;

	set_up();
	put_all();
	set((struct ages){ .writeback_s = HOUR_S });
	live(1000);
	check(1);
	CHECK(zr_census_mark_idle(disk, NULL) == 0);
	live(500);
	CHECK(age(1) <= 500 && age(2) >= 1000 && is_idle(1));
	/* idle 1000 */
	for (leaf_no = 0; leaf_no < N_PAGES / ZR_LEAF_SLOTS; ++leaf_no) {
		ZR_GUARD_SHARED(&disk->shape);
		zr_ages_mark_idle(&disk->pages, leaf_no, zr_age_of(1000));
	}
	CHECK(!is_idle(1) && is_idle(2));
	live(1000);
	CHECK(age(1) >= 900 && age(2) >= 2000);
	tear_down();
}

/* The kernel's: older ones are marked, and younger ones are not any more. */
static void test_idle_for_so_long(void)
{
	set_up();
	put_all();
	CHECK(apply("idle", "10") == -EINVAL && apply("idle", "") == -EINVAL);
	set((struct ages){ .writeback_s = HOUR_S });
	live(1000);
	check(5);
	CHECK(apply("idle", "all") == 0 && is_idle(5));
	CHECK(apply("idle", "100") == 0 && !is_idle(5) && is_idle(6));
	CHECK(apply("idle", "2000") == 0 && !is_idle(6));
	live(1500);
	CHECK(apply("idle", "2000") == 0 && !is_idle(5) && is_idle(6));
	CHECK(apply("idle", "+0") == 0 && is_idle(5));
	CHECK(apply("idle", "1h") == -EINVAL && apply("idle", "-1") == -EINVAL);
	tear_down();
}

/* When it was used last, in seconds since the system started. */
static void test_last_use_in_block_state(void)
{
	unsigned long long page_no, used_s;
	char text[ZR_BLOCK_STATE_LINE * 3];
	uint64_t at = 0;

	set_up();
	put(0);
	put(1);
	CHECK(zr_census_block_state(disk, &at, text, sizeof(text)) > 0);
	CHECK(sscanf(text, "%llu %llu.", &page_no, &used_s) == 2 && used_s == 0);
	set((struct ages){ .writeback_s = HOUR_S });
	/* By the clocks of the system. */
	clock_now.now_ns = zr_monotonic_ns() - 1100 * SECOND_NS;
	if (clock_now.now_ns > 0) {
		live(1000);
		check(1);
		live(100);
		at = 0;
		CHECK(zr_census_block_state(disk, &at, text, sizeof(text)) > 0);
		CHECK(sscanf(text, "%llu %llu.", &page_no, &used_s) == 2 && page_no == 0);
		at = (uint64_t)zr_boot_ns() / SECOND_NS - used_s;
		CHECK(at >= 1090 && at <= 1110 + 450);
		CHECK(sscanf(text + ZR_BLOCK_STATE_LINE, "%llu %llu.", &page_no, &used_s) == 2);
		at = (uint64_t)zr_boot_ns() / SECOND_NS - used_s;
		CHECK(page_no == 1 && at <= 110 + 450);
	}
	tear_down();
}

int main(void)
{
	RUN(test_off_nothing_is_done);
	RUN(test_ages_grow_and_end_with_use);
	RUN(test_ages_of_any_length);
	RUN(test_holes_and_words_have_none);
	RUN(test_turned_off_the_memory_goes);
	RUN(test_ages_outlive_a_death);
	RUN(test_no_room_for_ages);
	RUN(test_marks_by_hand);
	RUN(test_idle_for_so_long);
	RUN(test_last_use_in_block_state);
	return 0;
}
