#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of ages and policies share: a disk with a backing file, somebody who follows its policies
 * with a clock of the test's own, and a system that is as the test says. One a test.
 */

#include "attr.h"
#include "census.h"
#include "disk-parts.h"
#include "fake-backing.h"
#include "policy.h"

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

static inline int tell_pressure(void *context)
{
	CHECK(context == &pressure);
	return pressure;
}

static inline uint32_t tell_cpu_percent(void *context)
{
	return cpu_percent;
}

static const struct zr_policy_host host = { &pressure, tell_pressure, tell_cpu_percent };

static inline void policy_renew(void)
{
	policy = zr_policy_free(policy);
	CHECK(zr_policy_new(&policy, &host, batch) == 0);
}

static inline void set_up(void)
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

static inline void tear_down(void)
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
static inline void die(void)
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

static inline int change(struct zr_attrs *attrs, void *context)
{
	const struct ages *wanted = context;

	attrs->idle_age_s = wanted->idle_s;
	attrs->recompress_age_s = wanted->recompress_s;
	attrs->writeback_age_s = wanted->writeback_s;
	attrs->compact_at = wanted->compact_at;
	attrs->writeback_daily_bytes = wanted->daily_bytes;
	return 0;
}

static inline void set(struct ages wanted)
{
	CHECK(zr_disk_change_attrs(disk, false, change, &wanted) == 0);
}

static inline void pass(int64_t ns)
{
	clock_now.now_ns += ns;
	clock_now.boot_ns += ns;
}

/* All that there is to do in so many seconds, with the clock put to when it is due. Return: the number
 * of steps. */
static inline unsigned int live(int64_t seconds)
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

static inline uint64_t word_of(uint64_t page_no)
{
	return (page_no + 1) << 3 | (1 + page_no % 2);
}

static inline void put(uint64_t page_no)
{
	uint8_t page[ZR_PAGE_SIZE];

	stamp_make(page, sizeof(page), word_of(page_no));
	disk_put(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
}

static inline void check(uint64_t page_no)
{
	uint8_t page[ZR_PAGE_SIZE];

	disk_get(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	CHECK(stamp_is(page, sizeof(page), word_of(page_no)));
}

static inline void put_all(void)
{
	uint64_t i;

	for (i = 0; i < N_PAGES; ++i)
		put(i);
}

/* Seconds since it was used, as far as it is known. */
static inline uint32_t age(uint64_t page_no)
{
	zr_age ages[ZR_LEAF_SLOTS];

	ZR_GUARD_SHARED(&disk->shape);
	zr_ages_copy(&disk->pages, page_no >> ZR_LEAF_SHIFT, ages);
	return ages[page_no % ZR_LEAF_SLOTS] * ZR_AGE_UNIT_S;
}

static inline zr_slot slot_of(uint64_t page_no)
{
	zr_slot slots[ZR_LEAF_SLOTS];

	CHECK(zr_pages_copy_leaf(&disk->pages, page_no >> ZR_LEAF_SHIFT, slots));
	return slots[page_no % ZR_LEAF_SLOTS];
}

static inline bool is_idle(uint64_t page_no)
{
	return slot_of(page_no) & ZR_SLOT_IDLE;
}

static inline uint64_t n_age_nodes(void)
{
	struct zr_disk_figures figures;

	zr_disk_figures(disk, &figures);
	CHECK(figures.table_bytes ==
	      (figures.tally.n_nodes + figures.tally.n_age_nodes) * ZR_PAGE_SIZE);
	return figures.tally.n_age_nodes;
}

static inline int64_t n_recompressed(void)
{
	return disk_gauge(disk, ZR_GAUGE_CODEC + 1) + disk_gauge(disk, ZR_GAUGE_CODEC + 2) +
	       disk_gauge(disk, ZR_GAUGE_CODEC + 3);
}

static inline int64_t n_back(void)
{
	return disk_gauge(disk, ZR_GAUGE_WRITTEN_BACK);
}

/* as control files */

static unsigned int n_followed;
static int follow_error;

static inline int follow(void *context)
{
	CHECK(context == &n_followed);
	++n_followed;
	return follow_error;
}

static const struct zr_attr_daemon daemon_of_test = { .context = &n_followed,
						      .follow_policies = follow };

static inline int apply(const char *name, const char *value)
{
	const struct zr_attr_target target = {
		.store = rig.store, .disk = disk, .ctx = rig.ctx, .daemon = &daemon_of_test
	};

	return zr_attr_find(name)->apply(&target, value);
}

static inline const char *show(const char *name)
{
	const struct zr_attr_target target = { .store = rig.store, .disk = disk };
	static char text[ZR_ATTR_TEXT_MAX];
	int r;

	r = zr_attr_find(name)->show(&target, text, sizeof(text));
	CHECK(r >= 0 && (size_t)r == strlen(text));
	return text;
}
