/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is done by itself, with a clock of the test's own: what becomes of old objects, and when
 * nothing may be done
 */

#include "allowance.h"
#include "budget.h"
#include "compact.h"
#include "policy-rig.h"
#include "tier.h"

/* what becomes of old objects */

static void test_old_objects_are_recompressed(void)
{
	uint64_t used, i;

	set_up();
	put_all();
	set((struct ages){ .recompress_s = 100 });
	used = (uint64_t)atomic_load(&disk->pages.xused_bytes);
	for (i = 0; i < 9; ++i) {
		live(11);
		check(4);
	}
	CHECK(n_recompressed() == 0);
	for (i = 0; i < 9; ++i) {
		live(11);
		check(4);
	}
	CHECK(n_recompressed() > (int64_t)N_PAGES / 4 && zr_slot_codec(slot_of(4)) == 0);
	CHECK((uint64_t)atomic_load(&disk->pages.xused_bytes) < used);
	CHECK(atomic_load(&disk->entry->counters.policy_recompressions) >=
	      (uint64_t)n_recompressed());
	/* It is no use of the page. */
	CHECK(age(100) >= 150 && age(N_PAGES - 1) >= 150);
	for (i = 0; i < N_PAGES; ++i)
		check(i);
	tear_down();
}

static void test_old_objects_go_to_the_file(void)
{
	uint64_t i;

	set_up();
	put_all();
	set((struct ages){ .writeback_s = 100 });
	for (i = 0; i < 18; ++i) {
		live(11);
		check(4);
		CHECK(i > 8 || n_back() == 0);
	}
	CHECK(n_back() == N_PAGES - 1 && zr_slot_kind(slot_of(4)) == ZR_SLOT_KIND_OBJECT);
	CHECK(atomic_load(&disk->entry->counters.policy_writes) == N_PAGES - 1);
	CHECK(fake.n_writes < N_PAGES / 64);
	/* What is on the file has no age, so the memory of ages goes, too. */
	CHECK(n_age_nodes() <= 5);
	for (i = 0; i < N_PAGES; ++i)
		check(i);
	tear_down();
}

static void test_a_file_that_fails(void)
{
	set_up();
	put_all();
	set((struct ages){ .writeback_s = 10 });
	fake.write_error = EIO;
	live(100);
	CHECK(n_back() == 0 && atomic_load(&disk->plan.xfile_error) == -EIO);
	CHECK(fake.n_writes > 0 && fake.n_writes <= 12);
	fake.write_error = 0;
	atomic_store(&disk->entry->writeback_limit_enable, 1);
	live(100);
	CHECK(n_back() == 0 && atomic_load(&disk->plan.xdelay) == ZR_DELAY_LIMIT);
	atomic_store(&disk->entry->writeback_limit_enable, 0);
	live(100);
	CHECK(n_back() == N_PAGES && atomic_load(&disk->plan.xfile_error) == 0);
	tear_down();
}

static void test_so_much_a_day(void)
{
	const uint64_t daily = MIB(1);
	unsigned int day;

	set_up();
	put_all();
	set((struct ages){ .writeback_s = 100, .daily_bytes = daily });
	clock_now.boot_ns = 3 * DAY_S * SECOND_NS;
	for (day = 1; day <= 3; ++day) {
		live(DAY_S / 2);
		CHECK(fake.n_written_bytes <= day * daily);
		CHECK(fake.n_written_bytes > day * (daily - 65536));
		CHECK(zr_budget_used(disk->entry, clock_now.boot_ns) <= daily);
		CHECK(atomic_load(&disk->plan.xdelay) == ZR_DELAY_BUDGET ||
		      atomic_load(&disk->plan.xdelay) == ZR_DELAY_TIME);
		die(); /* which does not renew it */
		live(DAY_S / 4);
		CHECK(fake.n_written_bytes <= day * daily);
		live(DAY_S / 4);
	}
	set((struct ages){ .writeback_s = 100 });
	live(1000);
	CHECK(n_back() == N_PAGES);
	tear_down();
}

/* At a limit what was not used for longest goes first, wherever it lies. */
static void test_the_oldest_go_first(void)
{
	struct zr_tier *tier;
	unsigned int tries;
	uint64_t i, used;

	set_up();
	put_all();
	/* That of the system, since the thread has that one. */
	clock_now.now_ns = zr_monotonic_ns() - 1000 * SECOND_NS;
	if (clock_now.now_ns <= 0) {
		tear_down();
		return;
	}
	set((struct ages){ .idle_s = 800 });
	live(500);
	for (i = 0; i < N_PAGES / 2; ++i)
		check(i);
	live(500);
	CHECK(atomic_load(&disk->plan.xoldest_from) == 256);
	used = (uint64_t)atomic_load(&disk->pages.xused_bytes);
	CHECK(zr_tier_new(&tier, rig.store, NULL) == 0);
	CHECK(zr_disk_set_mem_limit(disk, used / 100 * 105) == 0);
	zr_tier_begin(tier);
	for (tries = 0; n_back() < 100 && tries < 10000; ++tries)
		usleep(1000);
	tier = zr_tier_free(tier);
	CHECK(n_back() >= 100 && n_back() < (int64_t)N_PAGES / 2);
	for (i = 0; i < N_PAGES / 2; ++i)
		CHECK(zr_slot_kind(slot_of(i)) == ZR_SLOT_KIND_OBJECT);
	CHECK(zr_budget_used(disk->entry, zr_boot_ns()) == fake.n_written_bytes);
	tear_down();
}

/* when nothing may be done */

static void use(uint64_t n_pages)
{
	uint64_t i;

	for (i = 0; i < n_pages; ++i)
		check(i % 16);
}

static void test_not_while_it_is_busy(void)
{
	unsigned int i;

	set_up();
	put_all();
	set((struct ages){ .writeback_s = 10 });
	for (i = 0; i < 300; ++i) {
		use(60); /* 300 a second */
		pass(SECOND_NS / 5);
		(void)zr_policy_step(policy, disk, &clock_now);
	}
	CHECK(n_back() == 0 && age(1000) > 40);
	CHECK(atomic_load(&disk->plan.xdelay) == ZR_DELAY_BUSY);

	/* Unless memory is short. */
	pressure = 1500;
	for (i = 0; i < 100 && n_back() < (int64_t)N_PAGES - 16; ++i) {
		use(60);
		live(1);
	}
	CHECK(n_back() >= (int64_t)N_PAGES - 16 && atomic_load(&disk->plan.xis_short));
	tear_down();

	set_up();
	put_all();
	set((struct ages){ .writeback_s = 10 });
	for (i = 0; i < 300; ++i) {
		use(20); /* 100 a second */
		(void)zr_policy_step(policy, disk, &clock_now);
		pass(SECOND_NS / 5);
	}
	live(1);
	CHECK(n_back() >= (int64_t)N_PAGES - 16);
	tear_down();
}

static void test_what_is_short(void)
{
	const uint64_t used = MIB(4);

	set_up();
	put_all();
	CHECK((uint64_t)atomic_load(&disk->pages.xused_bytes) > used);
	CHECK(!zr_policy_is_short(policy, disk, clock_now.now_ns));
	CHECK(zr_disk_set_mem_limit(disk, (uint64_t)atomic_load(&disk->pages.xused_bytes) + 4096) ==
	      0);
	CHECK(zr_policy_is_short(policy, disk, clock_now.now_ns));
	CHECK(zr_disk_set_mem_limit(disk, 0) == 0);
	zr_store_set_mem_limit(rig.store, (uint64_t)atomic_load(&disk->pages.xused_bytes) + 4096);
	CHECK(zr_policy_is_short(policy, disk, clock_now.now_ns));
	zr_store_set_mem_limit(rig.store, 0);
	CHECK(!zr_policy_is_short(policy, disk, clock_now.now_ns));
	/* Asked once a second. */
	pressure = 1000;
	CHECK(!zr_policy_is_short(policy, disk, clock_now.now_ns));
	pass(SECOND_NS);
	CHECK(zr_policy_is_short(policy, disk, clock_now.now_ns));
	pressure = 999;
	pass(SECOND_NS);
	CHECK(!zr_policy_is_short(policy, disk, clock_now.now_ns));
	tear_down();
}

/* Any ten seconds have no more than their share, and a step. */
static void test_allowance(void)
{
	struct zr_allowance allowance = { 0 };
	int64_t now = 12345, when, spent_at[2000], spent = 0;
	unsigned int i, first = 0;

	for (i = 0; i < ZR_ARRAY_SIZE(spent_at); ++i) {
		while ((when = zr_allowance_when(&allowance, 5, now)) > now)
			now = when;
		zr_allowance_spend(&allowance, SECOND_NS / 200);
		spent_at[i] = now;
		while (now - spent_at[first] > 10 * SECOND_NS)
			++first;
		spent = (int64_t)(i - first + 1) * (SECOND_NS / 200);
		CHECK(spent <= 11 * SECOND_NS / 20 + SECOND_NS / 100);
	}
	CHECK(now >= 190 * SECOND_NS && now <= 210 * SECOND_NS);
	CHECK(zr_allowance_when(&allowance, 0, now) > now);
}

static void test_a_share_of_a_core(void)
{
	unsigned int n_steps;
	int64_t cpu_ns;

	set_up();
	put_all();
	set((struct ages){ .recompress_s = 10 });
	live(5);
	cpu_percent = 1;
	policy_renew();
	cpu_ns = zr_thread_cpu_ns();
	n_steps = live(20);
	cpu_ns = zr_thread_cpu_ns() - cpu_ns;
	printf("# 20 seconds at 1 percent: %.1f ms in %u steps, %" PRId64 " pages\n",
	       (double)cpu_ns / 1e6, n_steps, n_recompressed());
	cpu_percent = 0;
	set((struct ages){ .writeback_s = 10 });
	live(100);
	CHECK(n_back() == 0 && atomic_load(&disk->plan.xdelay) == ZR_DELAY_OFF);
	tear_down();
}

/* compaction */

static uint64_t wasted_percent(void)
{
	const struct zr_pool_usage usage = zr_pool_usage(&disk->engine->pool);

	return usage.span_bytes == 0 ? 0 : usage.wasted_bytes * 100 / usage.span_bytes;
}

static void test_free_cells_come_back(void)
{
	uint64_t i;

	set_up();
	put_all();
	for (i = 0; i < N_PAGES; ++i) {
		if (i % 3 != 0)
			CHECK(zr_disk_punch(disk, rig.ctx, i * ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
	}
	CHECK(wasted_percent() > 20);
	live(100);
	CHECK(wasted_percent() > 20);
	set((struct ages){ .compact_at = 90 });
	live(100);
	CHECK(wasted_percent() > 20);
	set((struct ages){ .compact_at = 10 });
	live(100);
	CHECK(wasted_percent() < 10);
	for (i = 0; i < N_PAGES; i += 3)
		check(i);
	tear_down();
}

static void test_intervals(void)
{
	struct zr_attrs attrs = { 0 };

	CHECK(zr_policy_interval_ns(&attrs) == 0 && !zr_policy_is_on(&attrs));
	attrs.compact_at = 1;
	CHECK(zr_policy_interval_ns(&attrs) == 0 && zr_policy_is_on(&attrs));
	attrs.writeback_age_s = 1;
	CHECK(zr_policy_interval_ns(&attrs) == SECOND_NS && zr_policy_is_on(&attrs));
	attrs.writeback_age_s = HOUR_S;
	CHECK(zr_policy_interval_ns(&attrs) == 450 * SECOND_NS);
	attrs.idle_age_s = 800;
	CHECK(zr_policy_interval_ns(&attrs) == 100 * SECOND_NS);
	attrs.writeback_age_s = attrs.idle_age_s = ZR_AGE_S_MAX;
	CHECK(zr_policy_interval_ns(&attrs) == 600 * SECOND_NS);
}

static void test_attributes(void)
{
	set_up();
	n_followed = 0;
	CHECK(strcmp(show("policy"), "off\n") == 0 && !zr_store_has_policies(rig.store));
	CHECK(apply("idle_age", "131071") == -EINVAL && apply("idle_age", "") == -EINVAL);
	CHECK(apply("compact_at", "101") == -EINVAL && apply("writeback_daily", "x") == -EINVAL);
	/* What says nothing alone wants nobody; and who is not to be had, nothing. */
	CHECK(apply("writeback_daily", "1G") == 0 && apply("idle_age", "0") == 0 &&
	      n_followed == 0);
	follow_error = -ENOMEM;
	CHECK(apply("idle_age", "60") == -ENOMEM && strcmp(show("idle_age"), "0\n") == 0);
	follow_error = 0;
	CHECK(apply("idle_age", "60") == 0 && n_followed == 2);
	CHECK(strcmp(show("idle_age"), "60\n") == 0 && zr_store_has_policies(rig.store));
	CHECK(strcmp(show("writeback_daily"), "1073741824\n") == 0);
	CHECK(apply("recompress_age", "1") == 0 && apply("writeback_age", "131070") == 0);
	CHECK(apply("compact_at", "100") == 0 && n_followed == 5);
	die();
	CHECK(strcmp(show("writeback_age"), "131070\n") == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
	CHECK(strstr(show("policy"), "why           the disk has no size\n"));
	tear_down();
}

static void test_what_policy_says(void)
{
	unsigned int i;

	set_up();
	put_all();
	set((struct ages){ .writeback_s = 100, .daily_bytes = MIB(1) });
	CHECK(strstr(show("policy"), "looked at every 12 s, never yet\n"));
	live(50);
	CHECK(strstr(show("policy"), "last          nothing yet\n"));
	CHECK(strstr(show("policy"), "next          look at ages in "));
	CHECK(strstr(show("policy"), "why           nothing is due before\n"));
	live(100);
	CHECK(strstr(show("policy"), "last          wrote back "));
	CHECK(strstr(show("policy"), "why           writeback_daily is spent\n"));
	CHECK(strstr(show("policy"), " of 1048576 bytes written\n"));
	for (i = 0; i < 40; ++i) {
		set((struct ages){ .writeback_s = 100 });
		use(60);
		pass(SECOND_NS / 5);
		(void)zr_policy_step(policy, disk, &clock_now);
	}
	CHECK(strstr(show("policy"), "why           the disk is busy, and memory is not short\n"));
	cpu_percent = 0;
	(void)zr_policy_step(policy, disk, &clock_now);
	CHECK(strstr(show("policy"), "why           policy_cpu is 0\n"));
	printf("%s", show("policy"));
	tear_down();
}

int main(void)
{
	RUN(test_old_objects_are_recompressed);
	RUN(test_old_objects_go_to_the_file);
	RUN(test_a_file_that_fails);
	RUN(test_so_much_a_day);
	RUN(test_the_oldest_go_first);
	RUN(test_not_while_it_is_busy);
	RUN(test_what_is_short);
	RUN(test_allowance);
	RUN(test_a_share_of_a_core);
	RUN(test_free_cells_come_back);
	RUN(test_intervals);
	RUN(test_attributes);
	RUN(test_what_policy_says);
	return 0;
}
