/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What a sweep calls back for, and in which order: compared with the slots themselves.
 */

#include "rig.h"

#include <errno.h>

#include "census.h"
#include "pages-parts.h"
#include "sweep.h"

#define N_PAGES 3000u /* almost six leaves */

static struct rig rig;
static struct zr_disk *disk;

/* What was called back, in its order. */
static struct visits {
	uint64_t page_nos[N_PAGES];
	zr_slot slots[N_PAGES];
	unsigned int n, n_most;
	int r_then; /* what the call after n_most gives */
} visits;

static zr_slot slot_of(uint64_t page_no)
{
	return zr_pages_slot(zr_slots_find(&disk->pages.slots, page_no));
}

static int visit(void *context, uint64_t page_no, zr_slot slot)
{
	zr_assert_none_held();
	CHECK(context == &visits);
	CHECK(slot == slot_of(page_no)); /* nobody changes anything here */
	if (visits.n == visits.n_most)
		return visits.r_then;
	visits.page_nos[visits.n] = page_no;
	visits.slots[visits.n++] = slot;
	return 0;
}

static int sweep(const struct zr_sweep_filter *filter, bool strict, const struct zr_stop *stop)
{
	visits.n = 0;
	return zr_sweep(disk, filter, strict, stop, visit, &visits);
}

/* Pages of every kind; some marked, some used since. */
static void set_up(struct rng *rng)
{
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", UINT64_C(1) << 40);
	visits = (struct visits){ .n_most = UINT32_MAX };
	for (i = 0; i < N_PAGES; ++i) {
		page_random(rng, page);
		if (i / ZR_LEAF_SLOTS != 2) /* this leaf is absent */
			disk_put(&rig, disk, i * (uint64_t)ZR_PAGE_SIZE, page, sizeof(page));
		if (rng_below(rng, 4) == 0)
			(void)zr_disk_recompress(disk, rig.ctx, i,
						 1 + (unsigned int)rng_below(rng, ZR_RECOMP_MAX),
						 0);
	}
	CHECK(zr_census_mark_idle(disk, NULL) == 0);
	for (i = 0; i < N_PAGES; i += 1 + (unsigned int)rng_below(rng, 4))
		disk_get(&rig, disk, i * (uint64_t)ZR_PAGE_SIZE, page, sizeof(page));
}

static void tear_down(void)
{
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* Said once more, in other words. */
static bool is_wanted(const struct zr_sweep_filter *filter, zr_slot slot)
{
	if (zr_slot_kind(slot) != ZR_SLOT_KIND_OBJECT)
		return false;
	if ((filter->types & ZR_SWEEP_IDLE) && !(slot & ZR_SLOT_IDLE))
		return false;
	if ((filter->types & ZR_SWEEP_HUGE) && zr_slot_bytes(slot) != ZR_PAGE_SIZE)
		return false;
	if ((filter->types & ZR_SWEEP_INCOMPRESSIBLE) && !(slot & ZR_SLOT_INCOMPRESSIBLE))
		return false;
	if ((filter->types & ZR_SWEEP_COMPRESSIBLE) && (slot & ZR_SLOT_INCOMPRESSIBLE))
		return false;
	if (filter->codecs_mask && !(filter->codecs_mask & 1u << zr_slot_codec(slot)))
		return false;
	return zr_slot_bytes(slot) >= filter->min_bytes;
}

/* Each that is wanted once, and none that is shorter before one of a higher band. */
static void check_sweep(const struct zr_sweep_filter *filter, bool strict)
{
	const uint32_t band_bytes = strict ? 64 : 256;
	static bool seen[N_PAGES];
	unsigned int i, n_wanted = 0;

	CHECK(sweep(filter, strict, NULL) == 0);
	memset(seen, 0, sizeof(seen));
	for (i = 0; i < visits.n; ++i) {
		CHECK(visits.page_nos[i] < N_PAGES && !seen[visits.page_nos[i]]);
		seen[visits.page_nos[i]] = true;
		CHECK(is_wanted(filter, visits.slots[i]));
		CHECK(i == 0 || (zr_slot_bytes(visits.slots[i]) - 1) / band_bytes <=
					(zr_slot_bytes(visits.slots[i - 1]) - 1) / band_bytes);
	}
	for (i = 0; i < N_PAGES; ++i)
		n_wanted += is_wanted(filter, slot_of(i));
	CHECK(visits.n == n_wanted);
}

static void test_filters_and_order(void)
{
	static const struct zr_sweep_filter filters[] = {
		{ 0 },
		{ .types = ZR_SWEEP_IDLE },
		{ .types = ZR_SWEEP_HUGE },
		{ .types = ZR_SWEEP_HUGE | ZR_SWEEP_IDLE },
		{ .types = ZR_SWEEP_INCOMPRESSIBLE },
		{ .types = ZR_SWEEP_COMPRESSIBLE },
		{ .min_bytes = 1000 },
		{ .types = ZR_SWEEP_IDLE | ZR_SWEEP_COMPRESSIBLE, .min_bytes = 2000 },
		{ .codecs_mask = 1 },
		{ .codecs_mask = 6 },
		{ .types = ZR_SWEEP_IDLE, .min_bytes = 100, .codecs_mask = 8 },
		{ .min_bytes = ZR_PAGE_SIZE },
	};
	struct rng rng = rng_init("test-sweep");
	unsigned int i;

	set_up(&rng);
	for (i = 0; i < ZR_ARRAY_SIZE(filters); ++i) {
		check_sweep(&filters[i], false);
		CHECK(visits.n > 0 && visits.n < N_PAGES); /* each has some of these pages */
		check_sweep(&filters[i], true);
	}
	check_sweep(&(struct zr_sweep_filter){ .min_bytes = ZR_PAGE_SIZE + 1 }, true);
	CHECK(visits.n == 0);
	check_sweep(&(struct zr_sweep_filter){ .types = ZR_SWEEP_COMPRESSIBLE |
							ZR_SWEEP_INCOMPRESSIBLE },
		    true);
	CHECK(visits.n == 0);
	tear_down();
}

static void test_what_the_visitor_says(void)
{
	struct rng rng = rng_init("test-sweep");

	set_up(&rng);
	visits.n_most = 10;
	visits.r_then = 1;
	CHECK(sweep(&(struct zr_sweep_filter){ 0 }, true, NULL) == 0);
	CHECK(visits.n == 10);
	visits.r_then = -EIO;
	CHECK(sweep(&(struct zr_sweep_filter){ 0 }, true, NULL) == -EIO);
	CHECK(visits.n == 10);
	tear_down();
}

static unsigned int n_before_stop;

static bool stop_then(void *context)
{
	zr_assert_none_held();
	return n_before_stop-- == 0;
}

static const struct zr_stop stop = { stop_then, NULL };

static void test_stopping(void)
{
	struct rng rng = rng_init("test-sweep");

	set_up(&rng);
	n_before_stop = 0;
	CHECK(sweep(&(struct zr_sweep_filter){ 0 }, true, &stop) == -EINTR);
	CHECK(visits.n == 0);
	n_before_stop = UINT32_MAX;
	CHECK(sweep(&(struct zr_sweep_filter){ 0 }, true, &stop) == 0);
	CHECK(visits.n > 0);
	tear_down();
}

static int wait_a_little(void *context, uint64_t page_no, zr_slot slot)
{
	const struct timespec pause = { 0, 2 * 1000 * 1000 };

	++*(unsigned int *)context;
	nanosleep(&pause, NULL);
	return 0;
}

/* However long a visit takes: it is asked before each. */
static void test_stopping_between_visits(void)
{
	struct rng rng = rng_init("test-sweep");
	unsigned int n_visits = 0;

	set_up(&rng);
	n_before_stop = 5;
	CHECK(zr_sweep(disk, &(struct zr_sweep_filter){ 0 }, true, &stop, wait_a_little,
		       &n_visits) == -EINTR);
	CHECK(n_visits > 0 && n_visits <= 5);
	tear_down();
}

static void test_no_size_and_removed(void)
{
	struct rng rng = rng_init("test-sweep");

	set_up(&rng);
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
	CHECK(sweep(&(struct zr_sweep_filter){ 0 }, true, NULL) == -EINVAL);
	CHECK(zr_disk_truncate(disk, rig.ctx, 1) == 0);
	CHECK(sweep(&(struct zr_sweep_filter){ 0 }, true, NULL) == 0);
	zr_store_remove(rig.store, disk);
	CHECK(sweep(&(struct zr_sweep_filter){ 0 }, true, NULL) == -ESTALE);
	CHECK(visits.n == 0);
	tear_down();
}

int main(void)
{
	RUN(test_filters_and_order);
	RUN(test_what_the_visitor_says);
	RUN(test_stopping);
	RUN(test_stopping_between_visits);
	RUN(test_no_size_and_removed);
	return 0;
}
