/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Threads on the same disks, as the tester of s3backer checks them: of each page it is noted who is
 * writing it and what was written last. A reader takes that note before and after its read, and
 * holds the page to it only when no write overlapped. Whatever overlapped, a page is always whole:
 * each is a stamp, which says what all of it must be. Sectors of one page are each one thread's
 * own, so a lost update of a neighbour is seen at once.
 *
 * SEED and ZR_TEST_SECONDS. Meant for TSan, and worth running without.
 */

#include "rig.h"

#include <errno.h>
#include <pthread.h>

#include "census.h"
#include "policy.h"
#include "recompress.h"
#include "stats.h"

#define N_WORKERS    3u
#define N_SIDES      5u
#define N_PAGES      1100u /* two leaves and a bit */
#define SECTOR_BYTES 512u
#define N_SECTORS    64u /* of each worker */
#define LARGE_PAGES  64u

/* Of one page: protected by lock. */
struct note {
	pthread_mutex_t lock;
	uint64_t stamp;   /* what is there, if known */
	uint64_t version; /* counts writes that began */
	unsigned int n_writing;
	bool known; /* false after writes that overlapped */
};

struct worker {
	unsigned int no;
	struct rng rng;
	struct rig rig; /* the store of all, a context of its own */
	uint64_t sectors[N_SECTORS];
};

static struct note notes[N_PAGES];
static struct zr_disk *pages_disk, *sectors_disk, *cut_disk;
static _Atomic bool stop;
static _Atomic uint64_t n_checked, n_overlapped, n_refused, n_recompressed;

/* Memory comes in the end, however long the thread that brings it waits for a core. */
#define PATIENTLY(r, call)    \
	do {                  \
		(r) = (call); \
	} while ((r) == -ENOMEM)

static void put(struct rig *rig, struct zr_disk *disk, uint64_t offset, const void *bytes,
		size_t n_bytes)
{
	size_t n_written;
	int r;

	PATIENTLY(r, zr_disk_write(disk, rig->ctx, offset, bytes, n_bytes, &n_written));
	CHECK(r == 0 && n_written == n_bytes);
}

static uint64_t fresh_stamp(struct rng *rng)
{
	return rng_next(rng) | 4; /* not 0, which is a hole */
}

/* pages that all write */

/* Return: which write of the page this is. */
static uint64_t write_begins(struct note *note)
{
	uint64_t version;

	CHECK(pthread_mutex_lock(&note->lock) == 0);
	version = ++note->version;
	if (++note->n_writing > 1)
		note->known = false;
	CHECK(pthread_mutex_unlock(&note->lock) == 0);
	return version;
}

/* @written: false if it was refused, and then what was there is there still. */
static void write_ends(struct note *note, uint64_t version, uint64_t stamp, bool alone,
		       bool written)
{
	CHECK(pthread_mutex_lock(&note->lock) == 0);
	--note->n_writing;
	if (note->version != version || !alone) {
		note->known = false;
	} else if (written) {
		note->stamp = stamp;
		note->known = true;
	}
	CHECK(pthread_mutex_unlock(&note->lock) == 0);
}

static bool is_alone(struct note *note)
{
	bool alone;

	CHECK(pthread_mutex_lock(&note->lock) == 0);
	alone = note->n_writing == 1;
	CHECK(pthread_mutex_unlock(&note->lock) == 0);
	return alone;
}

static void write_page(struct worker *worker)
{
	const uint64_t page_no = rng_below(&worker->rng, N_PAGES);
	const uint64_t stamp = fresh_stamp(&worker->rng);
	struct note *note = &notes[page_no];
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t version;
	size_t n_written;
	bool alone;
	int r;

	stamp_make(page, sizeof(page), stamp);
	version = write_begins(note);
	alone = is_alone(note);
	PATIENTLY(r, zr_disk_write(pages_disk, worker->rig.ctx, page_no * ZR_PAGE_SIZE, page,
				   sizeof(page), &n_written));
	CHECK(r == 0 || r == -ENOSPC);
	CHECK(n_written == (r == 0 ? sizeof(page) : 0));
	if (r < 0)
		atomic_fetch_add(&n_refused, 1);
	write_ends(note, version, stamp, alone, r == 0);
}

/* A few pages, or most of a leaf now and then. */
static void punch_pages(struct worker *worker)
{
	const unsigned int at = (unsigned int)rng_below(&worker->rng, N_PAGES);
	const unsigned int most = rng_below(&worker->rng, 20) ? 4 : 600;
	const unsigned int n = 1 +
			       (unsigned int)rng_below(&worker->rng, zr_min(most, N_PAGES - at));
	uint64_t versions[600];
	bool alone[600];
	unsigned int i;

	for (i = 0; i < n; ++i) {
		versions[i] = write_begins(&notes[at + i]);
		alone[i] = is_alone(&notes[at + i]);
	}
	CHECK(zr_disk_punch(pages_disk, worker->rig.ctx, (uint64_t)at * ZR_PAGE_SIZE,
			    (uint64_t)n * ZR_PAGE_SIZE) == 0);
	for (i = 0; i < n; ++i)
		write_ends(&notes[at + i], versions[i], 0, alone[i], true);
}

static struct note note_take(struct note *note)
{
	struct note copy;

	CHECK(pthread_mutex_lock(&note->lock) == 0);
	copy.stamp = note->stamp;
	copy.version = note->version;
	copy.n_writing = note->n_writing;
	copy.known = note->known;
	CHECK(pthread_mutex_unlock(&note->lock) == 0);
	return copy;
}

static void read_page(struct worker *worker)
{
	const uint64_t page_no = rng_below(&worker->rng, N_PAGES);
	const struct note before = note_take(&notes[page_no]);
	struct note after;
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t stamp;

	disk_get(&worker->rig, pages_disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	CHECK(stamp_read(page, sizeof(page), &stamp));

	after = note_take(&notes[page_no]);
	if (before.version != after.version || before.n_writing > 0 || !before.known) {
		atomic_fetch_add(&n_overlapped, 1);
		return;
	}
	CHECK(stamp == before.stamp);
	atomic_fetch_add(&n_checked, 1);
}

static void seek(struct worker *worker)
{
	const uint64_t offset = rng_below(&worker->rng, N_PAGES * (uint64_t)ZR_PAGE_SIZE);
	uint64_t found;
	int r;

	r = zr_disk_seek_data(pages_disk, offset, &found);
	CHECK(r == -ENXIO || (r == 0 && found >= offset && found < zr_disk_size(pages_disk)));
	CHECK(zr_disk_seek_hole(pages_disk, offset, &found) == 0);
	CHECK(found >= offset && found <= zr_disk_size(pages_disk));
}

/* sectors, each of one thread, several to a page */

static void change_sector(struct worker *worker)
{
	const unsigned int i = (unsigned int)rng_below(&worker->rng, N_SECTORS);
	const uint64_t offset = (uint64_t)(i * N_WORKERS + worker->no) * SECTOR_BYTES;
	uint8_t bytes[SECTOR_BYTES];
	int r;

	disk_get(&worker->rig, sectors_disk, offset, bytes, sizeof(bytes));
	CHECK(stamp_is(bytes, sizeof(bytes), worker->sectors[i]));

	if (rng_below(&worker->rng, 4) == 0) {
		worker->sectors[i] = 0;
		PATIENTLY(r, zr_disk_punch(sectors_disk, worker->rig.ctx, offset, SECTOR_BYTES));
		CHECK(r == 0);
	} else {
		worker->sectors[i] = fresh_stamp(&worker->rng);
		stamp_make(bytes, sizeof(bytes), worker->sectors[i]);
		put(&worker->rig, sectors_disk, offset, bytes, sizeof(bytes));
	}
}

/* a disk whose size changes under its readers and writers */

static void reset_cut(struct worker *worker)
{
	const struct zr_codec_params params = { (uint32_t)rng_below(&worker->rng, ZR_N_ALGORITHMS),
						ZR_CODEC_LEVEL_DEFAULT };
	struct zr_disk_spec spec;
	int r;

	rig_spec_init(&spec);
	CHECK(zr_disk_reset(cut_disk, &spec.attrs) == 0);
	r = zr_disk_set_codec(cut_disk, &params);
	CHECK(r == 0 || r == -EBUSY); /* somebody wrote meanwhile */
}

/* recompression: what is there stays what it was, so nothing is noted */

static void recompress(struct worker *worker)
{
	const unsigned int priority = 1 + (unsigned int)rng_below(&worker->rng, ZR_RECOMP_MAX);
	const uint32_t threshold = (uint32_t)rng_below(&worker->rng, 2) * 500;
	struct zr_disk *disks[] = { pages_disk, sectors_disk, cut_disk };
	struct zr_disk *disk = disks[rng_below(&worker->rng, 3)];
	uint64_t page_no = rng_below(&worker->rng, N_PAGES);
	unsigned int i;
	int r;

	for (i = 0; i < 8; ++i, ++page_no) {
		PATIENTLY(r,
			  zr_disk_recompress(disk, worker->rig.ctx, page_no, priority, threshold));
		/* -EIO would be a page that does not decode. */
		CHECK(r == 0 || r == ZR_PAGE_E_AS_IT_WAS);
		if (r == 0)
			atomic_fetch_add(&n_recompressed, 1);
	}
}

/* All of a disk, of which others change the pages, or the size. */
static void recompress_all(struct worker *worker)
{
	const struct zr_recompress_request request = {
		.types = (unsigned int)rng_below(&worker->rng, 4), /* idle, huge */
		.threshold = (uint32_t)rng_below(&worker->rng, 2) * 500,
		.max_pages = rng_below(&worker->rng, 2) ? rng_below(&worker->rng, 100)
							: ZR_RECOMPRESS_ALL,
		.first_priority = 1 + (unsigned int)rng_below(&worker->rng, 2),
		.last_priority = ZR_RECOMP_MAX,
	};
	struct zr_disk *disks[] = { pages_disk, sectors_disk, cut_disk };
	struct zr_disk *disk = disks[rng_below(&worker->rng, 3)];
	struct zr_recompress_result result;
	int r;

	r = zr_recompress_run(disk, worker->rig.ctx, NULL, &request, &result);
	CHECK(r == 0 || r == -ENOMEM || (r == -EINVAL && disk == cut_disk)); /* it had no size */
	atomic_fetch_add(&n_recompressed, result.n_smaller);
}

static void change_cut(struct worker *worker)
{
	const uint64_t page_no = rng_below(&worker->rng, LARGE_PAGES);
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t stamp;
	size_t n;

	switch (rng_below(&worker->rng, 8)) {
	case 0:
		if (rng_below(&worker->rng, 8) == 0)
			reset_cut(worker);
		CHECK(zr_disk_truncate(cut_disk, worker->rig.ctx, page_no * ZR_PAGE_SIZE) == 0);
		break;
	case 1:
		CHECK(zr_disk_extend(cut_disk, page_no * ZR_PAGE_SIZE) == 0);
		break;
	case 2:
	case 3:
	case 4:
		stamp_make(page, sizeof(page), fresh_stamp(&worker->rng));
		put(&worker->rig, cut_disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
		break;
	default:
		CHECK(zr_disk_read(cut_disk, worker->rig.ctx, page_no * ZR_PAGE_SIZE, page,
				   sizeof(page), &n) == 0);
		CHECK(n == 0 || n == sizeof(page));
		CHECK(n == 0 || stamp_read(page, n, &stamp));
		break;
	}
}

static void *work(void *context)
{
	struct worker *worker = context;
	unsigned int roll;

	while (!atomic_load(&stop)) {
		roll = (unsigned int)rng_below(&worker->rng, 100);
		if (roll < 25)
			write_page(worker);
		else if (roll < 60)
			read_page(worker);
		else if (roll < 65)
			punch_pages(worker);
		else if (roll < 67)
			seek(worker);
		else if (roll < 82)
			change_sector(worker);
		else if (roll < 86)
			recompress(worker);
		else if (roll < 87)
			recompress_all(worker);
		else
			change_cut(worker);
	}
	return NULL;
}

/* threads that look, name and limit */

static void *look(void *context)
{
	const struct zr_stats_context nobody = { .version = "test" };
	struct rig *rig = context;
	struct zr_disk_figures figures;
	struct zr_store_usage usage;
	struct zr_disk *disk;
	char *text;
	size_t n_text;

	while (!atomic_load(&stop)) {
		CHECK(zr_stats_text(rig->store, &nobody, &text, &n_text) == 0);
		free(text);
		zr_store_usage(rig->store, &usage);
		zr_disk_figures(pages_disk, &figures);
		CHECK(figures.orig_bytes <= N_PAGES * (uint64_t)ZR_PAGE_SIZE);
		CHECK(figures.used_bytes >= figures.compr_bytes);
		disk = zr_store_find(rig->store, "sectors");
		CHECK(disk == sectors_disk);
		zr_disk_unpin(rig->store, disk);
		zr_disk_unpin(rig->store, zr_store_find(rig->store, "coming"));
		usleep(500);
	}
	return NULL;
}

static void *rename_and_limit(void *context)
{
	struct rig *rig = context;
	struct rng rng = { .state = 1 };
	struct zr_attrs attrs;
	const char *name;
	unsigned int i;

	for (i = 0; !atomic_load(&stop); ++i) {
		name = i % 2 ? "one" : "another";
		CHECK(zr_store_rename(rig->store, pages_disk, name, NULL) == 0);
		CHECK(zr_disk_set_mem_limit(pages_disk, i % 4 ? 0 : rng_below(&rng, MIB(2))) == 0);
		CHECK(zr_disk_set_owner(sectors_disk, 0600, i, i) == 0);
		zr_disk_attrs(sectors_disk, &attrs);
		CHECK(attrs.uid == i && attrs.gid == i);
		usleep(300);
	}
	CHECK(zr_disk_set_mem_limit(pages_disk, 0) == 0);
	return NULL;
}

static void *come_and_go(void *context)
{
	struct rig *rig = context;
	struct zr_disk *disk, *other;
	uint8_t page[ZR_PAGE_SIZE];

	memset(page, 7, sizeof(page));
	while (!atomic_load(&stop)) {
		disk = rig_add(rig, "coming", MIB(1));
		put(rig, disk, MIB(3), page, sizeof(page));
		other = rig_add(rig, "going", 0);
		put(rig, other, 5, page, sizeof(page));
		CHECK(zr_store_rename(rig->store, other, "coming", disk) == 0);
		disk_get(rig, disk, MIB(3), page, sizeof(page)); /* pinned: still there */
		zr_disk_unpin(rig->store, disk);
		zr_store_remove(rig->store, other);
		zr_disk_unpin(rig->store, other);
		usleep(200);
	}
	return NULL;
}

/* Marks come and go with what others read, write and compress anew. */
static void *mark_and_compact(void *context)
{
	struct rig *rig = context;

	while (!atomic_load(&stop)) {
		CHECK(zr_census_mark_idle(pages_disk, NULL) == 0);
		CHECK(zr_census_mark_idle(sectors_disk, NULL) == 0);
		zr_store_compact(rig->store);
		usleep(1000);
	}
	return NULL;
}

static int change_ages(struct zr_attrs *attrs, void *context)
{
	const unsigned int *round = context;

	attrs->idle_age_s = *round % 16 ? 3 : 0;
	attrs->recompress_age_s = *round % 16 ? 2 : 0;
	return 0;
}

/* Seconds go by in no time. Ages are kept, asked for, given up, and kept again. */
static void *grow_older(void *context)
{
	struct zr_disk *const disks[] = { pages_disk, sectors_disk, cut_disk };
	char text[ZR_BLOCK_STATE_LINE * 64];
	struct zr_moment moment = { 0, 0 };
	struct zr_policy *policy;
	struct rig *rig = context;
	struct zr_batch *batch;
	unsigned int round, i;
	uint64_t at;

	CHECK(zr_batch_new(&batch) == 0 && zr_policy_new(&policy, NULL, batch) == 0);
	for (round = 0; !atomic_load(&stop); ++round) {
		struct zr_disk *disk = disks[round % ZR_ARRAY_SIZE(disks)];

		CHECK(zr_disk_change_attrs(disk, false, change_ages, &round) == 0);
		for (i = 0; i < 20; ++i) {
			moment.now_ns += INT64_C(500000000);
			(void)zr_policy_step(policy, disk, &moment);
		}
		i = (unsigned int)-zr_census_mark_older(disk, 1, NULL);
		CHECK(i == 0 || i == EINVAL);
		at = rng_below(&(struct rng){ .state = round }, N_PAGES);
		(void)zr_census_block_state(disk, &at, text, sizeof(text));
		CHECK(zr_store_has_policies(rig->store) || round % 16 == 0);
		usleep(100);
	}
	zr_policy_free(policy);
	zr_batch_free(batch);
	return NULL;
}

/* all together */

static struct rig rig;
static struct worker workers[N_WORKERS];
static struct rig side_rigs[N_SIDES];
static pthread_t threads[N_WORKERS + N_SIDES];

static void threads_start(void)
{
	static void *(*const sides[N_SIDES])(void *context) = { look, rename_and_limit, come_and_go,
								mark_and_compact, grow_older };
	struct rng rng = rng_init("test-disk-race");
	unsigned int i;

	atomic_store(&stop, false);
	for (i = 0; i < N_WORKERS; ++i) {
		workers[i].no = i;
		workers[i].rng.state = rng_next(&rng);
		workers[i].rig.store = rig.store;
		CHECK(zr_ctx_new(&workers[i].rig.ctx) == 0);
		CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
	}
	for (i = 0; i < N_SIDES; ++i) {
		side_rigs[i].store = rig.store;
		CHECK(zr_ctx_new(&side_rigs[i].ctx) == 0);
		CHECK(pthread_create(&threads[N_WORKERS + i], NULL, sides[i], &side_rigs[i]) == 0);
	}
}

static void threads_end(void)
{
	unsigned int i;

	atomic_store(&stop, true);
	for (i = 0; i < N_WORKERS + N_SIDES; ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (i = 0; i < N_WORKERS; ++i)
		workers[i].rig.ctx = zr_ctx_free(workers[i].rig.ctx);
	for (i = 0; i < N_SIDES; ++i)
		side_rigs[i].ctx = zr_ctx_free(side_rigs[i].ctx);
}

static void check_all(void)
{
	uint8_t bytes[ZR_PAGE_SIZE];
	uint64_t stamp;
	unsigned int i, j;

	for (i = 0; i < N_PAGES; ++i) {
		CHECK(notes[i].n_writing == 0);
		disk_get(&rig, pages_disk, i * (uint64_t)ZR_PAGE_SIZE, bytes, ZR_PAGE_SIZE);
		CHECK(stamp_read(bytes, ZR_PAGE_SIZE, &stamp));
		CHECK(!notes[i].known || stamp == notes[i].stamp);
	}
	for (i = 0; i < N_SECTORS; ++i) {
		for (j = 0; j < N_WORKERS; ++j) {
			disk_get(&rig, sectors_disk, (i * N_WORKERS + j) * (uint64_t)SECTOR_BYTES,
				 bytes, SECTOR_BYTES);
			CHECK(stamp_is(bytes, SECTOR_BYTES, workers[j].sectors[i]));
		}
	}
}

static uint64_t n_moved(void)
{
	return atomic_load(&pages_disk->engine->compaction.xmoved);
}

static void test_what_is_read_was_written(void)
{
	unsigned int i;

	rig_init(&rig);
	pages_disk = rig_add(&rig, "one", N_PAGES * (uint64_t)ZR_PAGE_SIZE);
	sectors_disk = rig_add(&rig, "sectors", N_SECTORS * N_WORKERS * (uint64_t)SECTOR_BYTES);
	cut_disk = rig_add(&rig, "cut", 0);
	for (i = 0; i < N_PAGES; ++i) {
		CHECK(pthread_mutex_init(&notes[i].lock, NULL) == 0);
		notes[i].known = true;
	}

	CHECK(zr_store_tend(rig.store) == 0);
	threads_start();
	sleep((unsigned int)test_number("ZR_TEST_SECONDS", 5));
	while (n_checked == 0 || n_recompressed == 0 || n_moved() == 0)
		usleep(1000);
	threads_end();
	zr_store_untend(rig.store);

	rig_validate(rig.store);
	check_all();
	printf("# %" PRIu64 " reads checked, %" PRIu64 " overlapped, %" PRIu64
	       " writes refused, %" PRIu64 " pages recompressed, %" PRIu64 " by their age, %" PRIu64
	       " objects moved\n",
	       n_checked, n_overlapped, n_refused, n_recompressed,
	       (uint64_t)atomic_load(&pages_disk->entry->counters.policy_recompressions),
	       n_moved());
	for (i = 0; i < N_PAGES; ++i)
		CHECK(pthread_mutex_destroy(&notes[i].lock) == 0);
	zr_disk_unpin(rig.store, pages_disk);
	zr_disk_unpin(rig.store, sectors_disk);
	zr_disk_unpin(rig.store, cut_disk);
	rig_deinit(&rig);
}

/* Each has one page of the same leaf, writes it and discards it: the leaf is made by several at
 * once, and goes while others are about to use it. */
static void *share_a_leaf(void *context)
{
	struct worker *worker = context;
	const uint64_t offset = (uint64_t)worker->no * ZR_PAGE_SIZE;
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t stamp = 0;

	while (!atomic_load(&stop)) {
		disk_get(&worker->rig, cut_disk, offset, page, sizeof(page));
		CHECK(stamp_is(page, sizeof(page), stamp));
		stamp = stamp ? 0 : fresh_stamp(&worker->rng);
		stamp_make(page, sizeof(page), stamp);
		if (stamp)
			disk_put(&worker->rig, cut_disk, offset, page, sizeof(page));
		else
			CHECK(zr_disk_punch(cut_disk, worker->rig.ctx, offset, sizeof(page)) == 0);
	}
	return NULL;
}

static void test_leaves_come_and_go(void)
{
	unsigned int i, round;

	rig_init(&rig);
	cut_disk = rig_add(&rig, "disk", MIB(1));
	for (round = 0; round < 10; ++round) {
		atomic_store(&stop, false);
		for (i = 0; i < N_WORKERS; ++i) {
			workers[i].no = i;
			workers[i].rig.store = rig.store;
			CHECK(zr_ctx_new(&workers[i].rig.ctx) == 0);
			CHECK(pthread_create(&threads[i], NULL, share_a_leaf, &workers[i]) == 0);
		}
		usleep(100000);
		atomic_store(&stop, true);
		for (i = 0; i < N_WORKERS; ++i) {
			CHECK(pthread_join(threads[i], NULL) == 0);
			workers[i].rig.ctx = zr_ctx_free(workers[i].rig.ctx);
		}
		rig_validate(rig.store);
		CHECK(zr_disk_punch(cut_disk, rig.ctx, 0, MIB(1)) == 0);
	}
	zr_disk_unpin(rig.store, cut_disk);
	rig_deinit(&rig);
}

/* A punch up to the size may drop the whole last page only while nobody writes past the size in it.
 */
static void *punch_to_the_end(void *context)
{
	struct worker *worker = context;

	while (!atomic_load(&stop))
		CHECK(zr_disk_punch(cut_disk, worker->rig.ctx, 0, 1000) == 0);
	return NULL;
}

static void test_a_punch_to_the_end_keeps_what_is_appended(void)
{
	uint8_t bytes[1000], kept[1000];
	unsigned int round;

	rig_init(&rig);
	cut_disk = rig_add(&rig, "disk", 1000);
	workers[0].rig.store = rig.store;
	CHECK(zr_ctx_new(&workers[0].rig.ctx) == 0);
	atomic_store(&stop, false);
	CHECK(pthread_create(&threads[0], NULL, punch_to_the_end, &workers[0]) == 0);

	for (round = 0; round < 5000; ++round) {
		memset(bytes, 1 + (int)(round % 250), sizeof(bytes));
		CHECK(zr_disk_truncate(cut_disk, rig.ctx, 1000) == 0);
		disk_put(&rig, cut_disk, 2000, bytes, sizeof(bytes));
		disk_get(&rig, cut_disk, 2000, kept, sizeof(kept));
		CHECK(memcmp(bytes, kept, sizeof(bytes)) == 0);
	}

	atomic_store(&stop, true);
	CHECK(pthread_join(threads[0], NULL) == 0);
	workers[0].rig.ctx = zr_ctx_free(workers[0].rig.ctx);
	zr_disk_unpin(rig.store, cut_disk);
	rig_deinit(&rig);
}

int main(void)
{
	RUN(test_a_punch_to_the_end_keeps_what_is_appended);
	RUN(test_leaves_come_and_go);
	RUN(test_what_is_read_was_written);
	return 0;
}
