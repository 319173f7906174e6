/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Figures of one moment while all goes on: threads write, discard, read, mark, recompress and reset
 * on several disks, one packs memory and one changes limits, and the last looks. Each time it
 * looks, the gauges of a disk must be what another count of its slots gives, to the byte, and the
 * figures of a snapshot must agree with each other in every way they can.
 *
 * SEED, and ZR_TEST_LOOKS for how often. Meant for TSan, and worth running without.
 */

#include "rig.h"

#include <errno.h>
#include <pthread.h>

#include "census.h"
#include "snapshot.h"

#define N_DISKS     4u
#define N_WORKERS   3u
#define N_PAGES     1600u /* three leaves and a bit */
#define N_LOOKS     5000u
/* Each time one looks: what is not of one moment shows seldom. */
#define N_SNAPSHOTS 4u
#define FAR         (UINT64_C(1) << 30) /* a page beyond others: nodes of its own */

struct worker {
	struct rng rng;
	struct rig rig; /* the store of all, a context of its own */
	pthread_t thread;
};

static struct rig rig;
static struct zr_disk *disks[N_DISKS];
static struct worker workers[N_WORKERS + 2];
static _Atomic bool stop;
static _Atomic uint64_t n_changes, n_refused, n_recompressed, n_resets;

/* changes */

/* Memory comes in the end, however long the thread that brings it waits for a core. */
#define PATIENTLY(r, call)    \
	do {                  \
		(r) = (call); \
	} while ((r) == -ENOMEM)

static void write_some(struct worker *worker, struct zr_disk *disk, uint64_t page_no)
{
	uint8_t bytes[ZR_PAGE_SIZE];
	size_t n_written, n_bytes = sizeof(bytes);
	uint64_t offset = page_no * ZR_PAGE_SIZE;
	int r;

	page_random(&worker->rng, bytes);
	if (rng_below(&worker->rng, 4) == 0) { /* part of a page */
		offset += rng_below(&worker->rng, 2000);
		n_bytes = 1 + rng_below(&worker->rng, 2000);
	}
	PATIENTLY(r, zr_disk_write(disk, worker->rig.ctx, offset, bytes, n_bytes, &n_written));
	CHECK(r == 0 || r == -ENOSPC);
	if (r < 0)
		atomic_fetch_add(&n_refused, 1);
}

static void punch_some(struct worker *worker, struct zr_disk *disk, uint64_t page_no)
{
	const uint64_t most = rng_below(&worker->rng, 30) ? 4 : 700;
	const uint64_t n_bytes = rng_below(&worker->rng, most * ZR_PAGE_SIZE);
	int r;

	PATIENTLY(r, zr_disk_punch(disk, worker->rig.ctx, page_no * ZR_PAGE_SIZE, n_bytes));
	CHECK(r == 0);
}

static void read_some(struct worker *worker, struct zr_disk *disk, uint64_t page_no)
{
	uint8_t bytes[4 * ZR_PAGE_SIZE];
	size_t n_read;

	CHECK(zr_disk_read(disk, worker->rig.ctx, page_no * ZR_PAGE_SIZE, bytes, sizeof(bytes),
			   &n_read) == 0);
}

static void recompress_some(struct worker *worker, struct zr_disk *disk, uint64_t page_no)
{
	int r;

	PATIENTLY(r, zr_disk_recompress(disk, worker->rig.ctx, page_no, ZR_RECOMP_MAX, 0));
	CHECK(r == 0 || r == ZR_PAGE_E_AS_IT_WAS);
	if (r == 0)
		atomic_fetch_add(&n_recompressed, 1);
}

static void reset(struct worker *worker, struct zr_disk *disk)
{
	const uint64_t size_bytes = rng_below(&worker->rng, MIB(4));
	struct zr_disk_spec spec;
	int r;

	rig_spec_init(&spec);
	if (rng_below(&worker->rng, 2))
		r = zr_disk_reset(disk, &spec.attrs);
	else
		PATIENTLY(r, zr_disk_truncate(disk, worker->rig.ctx, size_bytes));
	CHECK(r == 0);
	atomic_fetch_add(&n_resets, 1);
}

static void *work(void *context)
{
	struct worker *worker = context;

	while (!atomic_load(&stop)) {
		struct zr_disk *disk = disks[rng_below(&worker->rng, N_DISKS)];
		const uint64_t page_no = rng_below(&worker->rng, N_PAGES) +
					 (rng_below(&worker->rng, 50) ? 0 : FAR);
		const uint64_t roll = rng_below(&worker->rng, 1000);
		int r;

		if (roll < 600) {
			write_some(worker, disk, page_no);
		} else if (roll < 750) {
			punch_some(worker, disk, page_no);
		} else if (roll < 940) {
			read_some(worker, disk, page_no);
		} else if (roll < 980) {
			recompress_some(worker, disk, page_no);
		} else if (roll < 998) {
			r = zr_census_mark_idle(disk, NULL);
			CHECK(r == 0 || r == -EINVAL);
		} else {
			reset(worker, disk);
		}
		atomic_fetch_add(&n_changes, 1);
	}
	return NULL;
}

static void *compact(void *context)
{
	struct worker *worker = context;

	while (!atomic_load(&stop)) {
		zr_store_compact(worker->rig.store);
		usleep(1000);
	}
	return NULL;
}

static void *limit(void *context)
{
	struct worker *worker = context;
	struct zr_disk *disk;

	while (!atomic_load(&stop)) {
		zr_store_set_mem_limit(rig.store, rng_below(&worker->rng, 3)
							  ? rng_below(&worker->rng, MIB(8))
							  : 0);
		CHECK(zr_disk_set_mem_limit(disks[0], rng_below(&worker->rng, MIB(4))) == 0);
		disk = rig_add(&worker->rig, "passing", MIB(1));
		write_some(worker, disk, 0);
		zr_store_remove(worker->rig.store, disk);
		write_some(worker, disks[1], 0);
		zr_disk_unpin(worker->rig.store, disk);
		if (rng_below(&worker->rng, 10) == 0)
			zr_store_reset_counters(rig.store);
		usleep(1000);
	}
	return NULL;
}

/* looking */

static void check_exact(struct zr_disk *disk)
{
	struct zr_census census;
	struct zr_tally gauges;
	uint64_t n_objects = 0, n_fills = 0;
	unsigned int i;

	zr_census_exact(disk, &gauges, &census);
	CHECK(memcmp(&gauges, &census.tally, sizeof(gauges)) == 0);

	for (i = 0; i < ZR_CENSUS_BUCKETS; ++i)
		n_objects += census.objects[i];
	for (i = 0; i < ZR_N_FILL_KINDS; ++i)
		n_fills += census.fills[i];
	CHECK(n_fills == (uint64_t)gauges.gauge[ZR_GAUGE_SAME]);
	CHECK(n_objects + n_fills == (uint64_t)gauges.gauge[ZR_GAUGE_PAGES]);
	CHECK(census.n_idle <= n_objects && census.n_leaves <= gauges.n_nodes);
	CHECK(census.object_bytes <= (uint64_t)gauges.gauge[ZR_GAUGE_CELL_BYTES]);
}

static void check_tally(const struct zr_tally *tally)
{
	const int64_t *gauge = tally->gauge;
	int64_t n_compressed = 0;
	unsigned int i;

	for (i = 0; i < ZR_CODEC_NUMBERS; ++i)
		n_compressed += gauge[ZR_GAUGE_CODEC + i];
	for (i = 0; i < ZR_N_GAUGES; ++i)
		CHECK(gauge[i] >= 0);
	/* Each page is one of these. */
	CHECK(gauge[ZR_GAUGE_PAGES] == gauge[ZR_GAUGE_SAME] + gauge[ZR_GAUGE_HUGE] + n_compressed);
	CHECK(gauge[ZR_GAUGE_ZERO] <= gauge[ZR_GAUGE_SAME]);
	CHECK(gauge[ZR_GAUGE_GOOD] <= n_compressed);
	CHECK(gauge[ZR_GAUGE_COMPR_BYTES] >= gauge[ZR_GAUGE_HUGE] * ZR_PAGE_SIZE + n_compressed);
	CHECK(gauge[ZR_GAUGE_COMPR_BYTES] <=
	      gauge[ZR_GAUGE_HUGE] * ZR_PAGE_SIZE + n_compressed * ZR_OBJECT_USEFUL_MAX);
	CHECK(gauge[ZR_GAUGE_COMPR_BYTES] <= gauge[ZR_GAUGE_CELL_BYTES]);
	/* At least a leaf and what leads to it, where there is a page. */
	CHECK(gauge[ZR_GAUGE_PAGES] == 0 || tally->n_nodes >= 4);
	CHECK((uint64_t)gauge[ZR_GAUGE_PAGES] <= tally->n_nodes * ZR_LEAF_SLOTS);
}

static void check_figures(const struct zr_disk_figures *figures)
{
	const int64_t *gauge = figures->tally.gauge;

	check_tally(&figures->tally);
	CHECK(figures->orig_bytes == (uint64_t)gauge[ZR_GAUGE_PAGES] * ZR_PAGE_SIZE);
	CHECK(figures->compr_bytes == (uint64_t)gauge[ZR_GAUGE_COMPR_BYTES]);
	CHECK(figures->table_bytes ==
	      (figures->tally.n_nodes + figures->tally.n_age_nodes) * ZR_PAGE_SIZE);
	CHECK(figures->used_bytes == (uint64_t)gauge[ZR_GAUGE_CELL_BYTES] + figures->table_bytes);
	CHECK(figures->used_bytes <= figures->total_bytes);
	CHECK(figures->total_bytes <= figures->max_bytes);
	CHECK(figures->compr_bytes <= figures->orig_bytes);
}

static void check_latency(const struct zr_latency_figures *figures)
{
	CHECK(figures->p50_ns <= figures->p90_ns && figures->p90_ns <= figures->p99_ns);
	CHECK(figures->p99_ns <= figures->max_ns);
}

static void check_snapshot(void)
{
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *snapshot = NULL;
	const struct zr_store_usage *usage;
	uint64_t used_bytes = 0, total_bytes = 0;
	size_t i;

	CHECK(zr_snapshot_take(rig.store, &snapshot) == 0);
	usage = &snapshot->usage;
	CHECK(snapshot->n_disks == usage->n_disks);
	CHECK(snapshot->n_disks == N_DISKS || snapshot->n_disks == N_DISKS + 1);
	for (i = 0; i < snapshot->n_disks; ++i) {
		const struct zr_snapshot_disk *disk = &snapshot->disks[i];

		CHECK(i == 0 || disk->id > snapshot->disks[i - 1].id);
		CHECK(disk->attrs.mem_limit_bytes == disk->figures.limit_bytes);
		check_figures(&disk->figures);
		check_latency(&disk->read_latency);
		check_latency(&disk->write_latency);
		used_bytes += disk->figures.used_bytes;
		total_bytes += disk->figures.total_bytes;
	}
	/* Disks have no memory that spans have not; a removed one that is pinned may have some. */
	CHECK(used_bytes <= usage->span_bytes && total_bytes <= usage->span_bytes);
}

/* all together */

static void start(void)
{
	struct rng rng = rng_init("test-snapshot-race");
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(workers); ++i) {
		workers[i].rng.state = rng_next(&rng);
		workers[i].rig.store = rig.store;
		CHECK(zr_ctx_new(&workers[i].rig.ctx) == 0);
		CHECK(pthread_create(&workers[i].thread, NULL,
				     i < N_WORKERS ? work : (i == N_WORKERS ? compact : limit),
				     &workers[i]) == 0);
	}
}

static void end(void)
{
	unsigned int i;

	atomic_store(&stop, true);
	for (i = 0; i < ZR_ARRAY_SIZE(workers); ++i) {
		CHECK(pthread_join(workers[i].thread, NULL) == 0);
		workers[i].rig.ctx = zr_ctx_free(workers[i].rig.ctx);
	}
}

/* Did all happen that may? */
static bool is_shown(uint64_t n_looks)
{
	return atomic_load(&n_changes) > n_looks && atomic_load(&n_refused) > 0 &&
	       atomic_load(&n_recompressed) > 0 && atomic_load(&n_resets) > 0;
}

static void test_figures_of_one_moment(void)
{
	static const char *const names[N_DISKS] = { "a", "b", "c", "d" };
	const unsigned long n_looks = test_number("ZR_TEST_LOOKS", N_LOOKS);
	struct zr_census census;
	unsigned long i;
	unsigned int j;
	int r;

	rig_init(&rig);
	for (i = 0; i < N_DISKS; ++i)
		disks[i] = rig_add(&rig, names[i], N_PAGES * (uint64_t)ZR_PAGE_SIZE);
	CHECK(zr_store_tend(rig.store) == 0);
	start();
	for (i = 0; i < n_looks || !is_shown(n_looks); ++i) {
		check_exact(disks[i % N_DISKS]);
		for (j = 0; j < N_SNAPSHOTS; ++j)
			check_snapshot();
		if (i % 16 == 0) {
			r = zr_census_take(disks[i / 16 % N_DISKS], NULL, &census);
			CHECK(r == 0 || r == -EINVAL);
		}
		/* Others are to have a turn: a lock that all want is given to who comes first. */
		if (i % 8 == 0)
			usleep(200);
	}
	printf("# %lu looks, %" PRIu64 " changes, %" PRIu64 " writes refused, %" PRIu64
	       " pages recompressed, %" PRIu64 " disks cut\n",
	       i, n_changes, n_refused, n_recompressed, n_resets);
	end();
	zr_store_untend(rig.store);

	zr_store_set_mem_limit(rig.store, MIB(100));
	rig_validate(rig.store);
	for (i = 0; i < N_DISKS; ++i) {
		check_exact(disks[i]);
		disks[i] = zr_disk_unpin(rig.store, disks[i]);
	}
	rig_deinit(&rig);
}

int main(void)
{
	RUN(test_figures_of_one_moment);
	return 0;
}
