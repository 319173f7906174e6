/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Snapshots of stores that stand still: everything in them can be asked for one by one as well.
 * What they are for, figures of one moment while all goes on, is in the race tests.
 */

#include "rig.h"

#include <errno.h>

#include "snapshot.h"

#define N_DISKS 5u

static struct rig rig;
static struct zr_disk *disks[N_DISKS];

static void set_up(void)
{
	static const char *const names[N_DISKS] = { "a", "b", "c", "d", "e" };
	struct rng rng = rng_init("test-snapshot");
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i, j;

	rig_init(&rig);
	for (i = 0; i < N_DISKS; ++i) {
		disks[i] = rig_add(&rig, names[i], MIB(i));
		for (j = 0; j < i * 100; ++j) {
			page_random(&rng, page);
			disk_put(&rig, disks[i], rng_below(&rng, 1000) * ZR_PAGE_SIZE, page,
				 sizeof(page));
		}
	}
}

static void tear_down(void)
{
	unsigned int i;

	for (i = 0; i < N_DISKS; ++i)
		disks[i] = zr_disk_unpin(rig.store, disks[i]);
	rig_deinit(&rig);
}

static struct zr_snapshot *take(void)
{
	struct zr_snapshot *snapshot;

	CHECK(zr_snapshot_take(rig.store, &snapshot) == 0);
	return snapshot;
}

static void check_disk(const struct zr_snapshot_disk *seen, struct zr_disk *disk)
{
	struct zr_disk_figures figures;
	struct zr_counts counts;
	struct zr_attrs attrs;

	CHECK(seen->id == disk->id && seen->entry_no == disk->entry_no);
	zr_disk_attrs(disk, &attrs);
	CHECK(memcmp(&attrs, &seen->attrs, sizeof(attrs)) == 0);
	zr_disk_figures(disk, &figures);
	CHECK(memcmp(&figures, &seen->figures, sizeof(figures)) == 0);
	zr_disk_counts(disk, &counts);
	CHECK(memcmp(&counts, &seen->counts, sizeof(counts)) == 0);
}

static void test_an_empty_store(void)
{
	struct zr_snapshot *snapshot;

	rig_init(&rig);
	snapshot = take();
	CHECK(snapshot->n_disks == 0 && snapshot->usage.n_disks == 0);
	CHECK(snapshot->usage.memory_bytes == zr_system_whole(ZR_DIRECTORY_START));
	CHECK(snapshot->mem_limit_bytes == 0);
	CHECK(zr_snapshot_free(snapshot) == NULL);
	CHECK(zr_snapshot_free(NULL) == NULL);
	rig_deinit(&rig);
}

static void test_all_is_as_asked_for_singly(void)
{
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *snapshot = NULL;
	struct zr_store_usage usage;
	struct timespec before, after;
	unsigned int i;

	set_up();
	zr_store_set_mem_limit(rig.store, MIB(100));
	CHECK(zr_disk_set_mem_limit(disks[3], MIB(50)) == 0);
	zr_store_remove(rig.store, disks[1]); /* pinned, but no longer there */

	clock_gettime(CLOCK_REALTIME, &before);
	snapshot = take();
	clock_gettime(CLOCK_REALTIME, &after);
	CHECK(snapshot->time_ns >= (uint64_t)before.tv_sec * 1000000000 + (uint64_t)before.tv_nsec);
	CHECK(snapshot->time_ns <= (uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec);

	CHECK(snapshot->n_disks == N_DISKS - 1 && snapshot->mem_limit_bytes == MIB(100));
	check_disk(&snapshot->disks[0], disks[0]);
	for (i = 2; i < N_DISKS; ++i)
		check_disk(&snapshot->disks[i - 1], disks[i]);
	CHECK(snapshot->disks[2].figures.limit_bytes == MIB(50));
	zr_store_usage(rig.store, &usage);
	CHECK(memcmp(&usage, &snapshot->usage, sizeof(usage)) == 0);
	tear_down();
}

/* It is a copy: what happens later does not show. */
static void test_a_snapshot_stays_what_it_was(void)
{
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *snapshot = NULL;
	struct zr_snapshot_disk before;

	set_up();
	snapshot = take();
	before = snapshot->disks[4];
	CHECK(before.figures.orig_bytes > 0);
	CHECK(zr_disk_punch(disks[4], rig.ctx, 0, MIB(8)) == 0);
	CHECK(memcmp(&before, &snapshot->disks[4], sizeof(before)) == 0);
	tear_down();
}

/* The most is never below what it is shown beside. */
static void test_the_peak(void)
{
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *snapshot = NULL;
	unsigned int i;

	set_up();
	for (i = 0; i < N_DISKS; ++i)
		CHECK(zr_disk_reset_peak(disks[i]) == 0);
	snapshot = take();
	for (i = 0; i < N_DISKS; ++i) {
		const struct zr_disk_figures *figures = &snapshot->disks[i].figures;

		CHECK(figures->max_bytes == figures->total_bytes);
		CHECK(figures->total_bytes >= figures->used_bytes);
	}
	tear_down();
}

/* counters */

static void test_discards_are_counted(void)
{
	struct zr_counts counts;

	set_up();
	zr_disk_counts(disks[2], &counts);
	CHECK(counts.num_discards == 0 && counts.notify_free == 0);
	CHECK(zr_disk_punch(disks[2], rig.ctx, 0, 3 * ZR_PAGE_SIZE) == 0);
	CHECK(zr_disk_punch(disks[2], rig.ctx, 10, 10) == 0);     /* no whole page */
	CHECK(zr_disk_punch(disks[2], rig.ctx, MIB(9), 10) == 0); /* past the end */
	zr_disk_counts(disks[2], &counts);
	CHECK(counts.num_discards == 3 && counts.notify_free == 3);
	tear_down();
}

static void latencies_add(struct zr_disk *disk)
{
	zr_latency_add(&disk->entry->read_latency, 1000);
	zr_latency_add(&disk->entry->read_latency, 3000);
	zr_latency_add(&disk->entry->write_latency, 70000);
}

static void check_no_latency(const struct zr_latency_figures *figures)
{
	CHECK(figures->count == 0 && figures->sum_ns == 0 && figures->max_ns == 0);
}

/* As with other counters a death does not lose them. */
static void test_latencies_outlive_a_worker(void)
{
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *snapshot = NULL;
	unsigned int i;

	set_up();
	latencies_add(disks[1]);
	for (i = 0; i < N_DISKS; ++i)
		disks[i] = zr_disk_unpin(rig.store, disks[i]);
	rig_reattach(&rig);
	snapshot = take();
	CHECK(snapshot->disks[1].read_latency.count == 2);
	CHECK(snapshot->disks[1].read_latency.sum_ns == 4000);
	CHECK(snapshot->disks[1].write_latency.max_ns == 70000);
	check_no_latency(&snapshot->disks[0].read_latency);
	rig_deinit(&rig);
}

/* Objects of one length, and every other one gone: there is something to compact. */
static void scatter(struct zr_disk *disk)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t page_no;

	for (page_no = 0; page_no < 2000; ++page_no) {
		stamp_make(page, sizeof(page), page_no << 8 | 1);
		disk_put(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	}
	for (page_no = 0; page_no < 2000; page_no += 2)
		CHECK(zr_disk_punch(disk, rig.ctx, page_no * ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
}

static void test_counters_of_all_go_back_to_0(void)
{
	static const struct zr_counts none;
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *before = NULL;
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *after = NULL;
	unsigned int i;

	set_up();
	for (i = 0; i < N_DISKS; ++i) {
		CHECK(zr_disk_punch(disks[i], rig.ctx, 0, MIB(1)) == 0);
		latencies_add(disks[i]);
	}
	scatter(disks[4]);
	CHECK(zr_store_compact(rig.store) > 0);
	before = take();
	CHECK(before->usage.pages_compacted > 0);
	CHECK(before->disks[4].counts.num_writes == 400 + 2000);

	zr_store_reset_counters(rig.store);
	after = take();
	CHECK(after->usage.pages_compacted == 0);
	for (i = 0; i < N_DISKS; ++i) {
		CHECK(memcmp(&after->disks[i].counts, &none, sizeof(none)) == 0);
		check_no_latency(&after->disks[i].read_latency);
		check_no_latency(&after->disks[i].write_latency);
		/* What is derived from slots, and peaks, stay. */
		CHECK(memcmp(&before->disks[i].figures, &after->disks[i].figures,
			     sizeof(after->disks[i].figures)) == 0);
	}
	CHECK(before->disks[4].figures.max_bytes > before->disks[4].figures.used_bytes);
	tear_down();
}

static void test_resetting_a_disk_clears_its_own(void)
{
	static const struct zr_counts none;
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *snapshot = NULL;
	struct zr_disk_spec spec;

	set_up();
	latencies_add(disks[2]);
	latencies_add(disks[3]);
	CHECK(zr_disk_punch(disks[2], rig.ctx, 0, 1) == 0);
	zr_disk_spec_init(&spec, 0);
	CHECK(zr_disk_reset(disks[2], &spec.attrs) == 0);
	snapshot = take();
	CHECK(memcmp(&snapshot->disks[2].counts, &none, sizeof(none)) == 0);
	check_no_latency(&snapshot->disks[2].read_latency);
	check_no_latency(&snapshot->disks[2].write_latency);
	CHECK(snapshot->disks[2].figures.max_bytes == 0);
	CHECK(snapshot->disks[3].counts.num_writes == 300);
	CHECK(snapshot->disks[3].read_latency.count == 2);
	tear_down();
}

int main(void)
{
	RUN(test_an_empty_store);
	RUN(test_all_is_as_asked_for_singly);
	RUN(test_a_snapshot_stays_what_it_was);
	RUN(test_the_peak);
	RUN(test_discards_are_counted);
	RUN(test_latencies_outlive_a_worker);
	RUN(test_counters_of_all_go_back_to_0);
	RUN(test_resetting_a_disk_clears_its_own);
	return 0;
}
