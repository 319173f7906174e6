/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is done by itself, with a clock of the test's own: ages, what becomes of old objects, and
 * when nothing may be done
 */

#include "policy.h"

#include <pthread.h>

#include "allowance.h"
#include "budget.h"
#include "census.h"
#include "compact.h"
#include "disk-parts.h"
#include "fake-backing.h"

#define N_PAGES   UINT64_C(4096)
#define SECOND_NS INT64_C(1000000000)
#define HOUR_S    3600
#define DAY_S     86400

static struct rig rig;
static struct zr_disk *disk;
static struct zr_batch *batch;
static struct zr_policy *policy;
static uint64_t id;
static struct zr_moment clock_now;

/* the system, as the test has it */
static int pressure;
static uint32_t cpu_percent;

static int tell_pressure(void *context)
{
	CHECK(context == &pressure);
	return pressure;
}

static uint32_t tell_cpu_percent(void *context)
{
	return cpu_percent;
}

static const struct zr_policy_host host = { &pressure, tell_pressure, tell_cpu_percent };

static void policy_renew(void)
{
	policy = zr_policy_free(policy);
	CHECK(zr_policy_new(&policy, &host, batch) == 0);
}

static void set_up(void)
{
	struct zr_backing_record record;

	fake_init(MIB(32));
	record = fake_record();
	rig_init(&rig);
	CHECK(zr_store_backing_add(rig.store, 0, &record, &fake_io, &id) == 0);
	disk = rig_add_backed(&rig, "disk0", N_PAGES * ZR_PAGE_SIZE, id);
	CHECK(zr_batch_new(&batch) == 0);
	pressure = -1;
	cpu_percent = 100;
	clock_now = (struct zr_moment){ 1000 * SECOND_NS, 5000 * SECOND_NS };
	policy_renew();
}

static void tear_down(void)
{
	policy = zr_policy_free(policy);
	batch = zr_batch_free(batch);
	disk = zr_disk_unpin(rig.store, disk);
	rig_validate(rig.store);
	rig_empty(&rig);
	CHECK(zr_store_backing_remove(rig.store, id) == 0);
	rig_deinit(&rig);
	fake_deinit();
}

/* A worker that dies, and the next one. */
static void die(void)
{
	policy = zr_policy_free(policy);
	rig_reattach_backed(&rig, false);
	disk = zr_store_find(rig.store, "disk0");
	CHECK(disk);
	policy_renew();
}

struct ages {
	uint32_t idle_s, recompress_s, writeback_s, compact_at;
	uint64_t daily_bytes;
};

static int change(struct zr_attrs *attrs, void *context)
{
	const struct ages *wanted = context;

	attrs->idle_age_s = wanted->idle_s;
	attrs->recompress_age_s = wanted->recompress_s;
	attrs->writeback_age_s = wanted->writeback_s;
	attrs->compact_at = wanted->compact_at;
	attrs->writeback_daily_bytes = wanted->daily_bytes;
	return 0;
}

static void set(struct ages wanted)
{
	CHECK(zr_disk_change_attrs(disk, false, change, &wanted) == 0);
}

static void pass(int64_t ns)
{
	clock_now.now_ns += ns;
	clock_now.boot_ns += ns;
}

/* All that there is to do in so many seconds, with the clock put to when it is due. Return: the number
 * of steps. */
static unsigned int live(int64_t seconds)
{
	const int64_t end = clock_now.now_ns + seconds * SECOND_NS;
	unsigned int n_steps = 0;
	int64_t when;

	while (clock_now.now_ns < end) {
		when = zr_policy_step(policy, disk, &clock_now);
		CHECK(when >= clock_now.now_ns && ++n_steps < 10000000);
		pass((int64_t)zr_min((uint64_t)when, (uint64_t)end) - clock_now.now_ns);
	}
	return n_steps;
}

static uint64_t word_of(uint64_t page_no)
{
	return (page_no + 1) << 3 | (1 + page_no % 2);
}

static void put(uint64_t page_no)
{
	uint8_t page[ZR_PAGE_SIZE];

	stamp_make(page, sizeof(page), word_of(page_no));
	disk_put(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
}

static void check(uint64_t page_no)
{
	uint8_t page[ZR_PAGE_SIZE];

	disk_get(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	CHECK(stamp_is(page, sizeof(page), word_of(page_no)));
}

static void put_all(void)
{
	uint64_t i;

	for (i = 0; i < N_PAGES; ++i)
		put(i);
}

/* Seconds since it was used, as far as it is known. */
static uint32_t age(uint64_t page_no)
{
	zr_age ages[ZR_LEAF_SLOTS];

	ZR_GUARD_SHARED(&disk->shape);
	zr_ages_copy(&disk->pages, page_no >> ZR_LEAF_SHIFT, ages);
	return ages[page_no % ZR_LEAF_SLOTS] * ZR_AGE_UNIT_S;
}

static zr_slot slot_of(uint64_t page_no)
{
	zr_slot slots[ZR_LEAF_SLOTS];

	CHECK(zr_pages_copy_leaf(&disk->pages, page_no >> ZR_LEAF_SHIFT, slots));
	return slots[page_no % ZR_LEAF_SLOTS];
}

static bool is_idle(uint64_t page_no)
{
	return slot_of(page_no) & ZR_SLOT_IDLE;
}

static uint64_t n_age_nodes(void)
{
	struct zr_disk_figures figures;

	zr_disk_figures(disk, &figures);
	CHECK(figures.table_bytes ==
	      (figures.tally.n_nodes + figures.tally.n_age_nodes) * ZR_PAGE_SIZE);
	return figures.tally.n_age_nodes;
}

static int64_t n_recompressed(void)
{
	return disk_gauge(disk, ZR_GAUGE_CODEC + 1) + disk_gauge(disk, ZR_GAUGE_CODEC + 2) +
	       disk_gauge(disk, ZR_GAUGE_CODEC + 3);
}

static int64_t n_back(void)
{
	return disk_gauge(disk, ZR_GAUGE_WRITTEN_BACK);
}

/* ages */

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
	RUN(test_old_objects_are_recompressed);
	RUN(test_old_objects_go_to_the_file);
	RUN(test_a_file_that_fails);
	RUN(test_so_much_a_day);
	RUN(test_not_while_it_is_busy);
	RUN(test_what_is_short);
	RUN(test_allowance);
	RUN(test_a_share_of_a_core);
	RUN(test_free_cells_come_back);
	RUN(test_intervals);
	return 0;
}
