/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Everything that may happen to pages on a file at once: threads read, write, change in part and
 * drop pages that are theirs, and compare; others write back, mark, compact and clean; the tier thread
 * takes what passes a limit; and a disk goes from one file to another. Each file is smaller than
 * what is written, so that its blocks are used again and again. ZR_RACE_S says for how long.
 *
 * The files are memory: under TSan a block that is written while somebody reads it is a data race.
 */

#include <pthread.h>

#include "batch.h"
#include "../unit/fake-backing.h"
#include "tier.h"
#include "writeback.h"

#define N_OWNERS     3
#define PAGES_EACH   UINT64_C(1024)
#define N_FILES      2
#define FILE_BYTES   MIB(2)
#define READ_PAGES   24
#define MOVING_PAGES UINT64_C(256)
#define HOT_PAGES    UINT64_C(64)

static uint8_t files[N_FILES][2 * FILE_BYTES] __attribute__((aligned(ZR_BLOCK_BYTES)));

/* A file takes its time, and others theirs meanwhile. */
static void file_wait(void)
{
	nanosleep(&(struct timespec){ 0, 20000 }, NULL);
}

static int file_read(void *context, uint64_t offset, void *bytes, size_t n_bytes)
{
	memcpy(bytes, (uint8_t *)context + offset, n_bytes);
	file_wait();
	return 0;
}

static int file_write(void *context, uint64_t offset, const void *bytes, size_t n_bytes)
{
	file_wait();
	memcpy((uint8_t *)context + offset, bytes, n_bytes);
	return 0;
}

static int file_punch(void *context, uint64_t offset, uint64_t n_bytes)
{
	memset((uint8_t *)context + offset, 0xdb, n_bytes);
	return 0;
}

static const struct zr_backing_io ios[N_FILES] = {
	{ files[0], file_read, file_write, file_punch, fake_seal, fake_open },
	{ files[1], file_read, file_write, file_punch, fake_seal, fake_open },
};

static struct rig rig;
static struct zr_disk *disk, *moving;
static uint64_t ids[N_FILES];
static _Atomic bool xover;
static _Atomic uint64_t xn_refused, xn_written_back;
static _Atomic uint64_t xhot; /* where most of it happens, in each owner's part, and goes on */

/* An owner and what its pages should be. */
struct owner {
	struct zr_disk *disk;
	struct zr_ctx *ctx;
	struct rng rng;
	uint64_t first, n_pages;
	uint8_t (*model)[ZR_PAGE_SIZE];
};

static void owner_init(struct owner *owner, struct zr_disk *of, uint64_t first, uint64_t n_pages,
		       uint64_t seed)
{
	*owner = (struct owner){ .disk = of,
				 .rng = { .state = seed },
				 .first = first,
				 .n_pages = n_pages,
				 .model = calloc(n_pages, ZR_PAGE_SIZE) };
	CHECK(owner->model && zr_ctx_new(&owner->ctx) == 0 && zr_ctx_let_wait(owner->ctx) == 0);
}

static void owner_deinit(struct owner *owner)
{
	zr_ctx_free(owner->ctx);
	free(owner->model);
}

static void owner_check(struct owner *owner, uint64_t at, uint64_t n)
{
	static _Thread_local uint8_t pages[READ_PAGES][ZR_PAGE_SIZE];
	size_t n_read = 0;

	n = zr_min(n, owner->n_pages - at);
	CHECK(zr_disk_read(owner->disk, owner->ctx, (owner->first + at) * ZR_PAGE_SIZE, pages,
			   n * ZR_PAGE_SIZE, &n_read) == 0);
	CHECK(n_read == n * ZR_PAGE_SIZE);
	CHECK(memcmp(pages, owner->model[at], n * ZR_PAGE_SIZE) == 0);
}

static void owner_write(struct owner *owner, uint64_t at, uint32_t from, uint32_t n_bytes)
{
	uint8_t page[ZR_PAGE_SIZE];
	size_t n_written;
	int r;

	page_random(&owner->rng, page);
	r = zr_disk_write(owner->disk, owner->ctx, (owner->first + at) * ZR_PAGE_SIZE + from,
			  page + from, n_bytes, &n_written);
	CHECK(r == 0 || (r == -ENOSPC && n_written == 0));
	if (r == 0)
		memcpy(owner->model[at] + from, page + from, n_bytes);
	else
		atomic_fetch_add(&xn_refused, 1);
}

static void owner_punch(struct owner *owner, uint64_t at, uint32_t from, uint64_t n_bytes)
{
	n_bytes = zr_min(n_bytes, (owner->n_pages - at) * ZR_PAGE_SIZE - from);
	CHECK(zr_disk_punch(owner->disk, owner->ctx, (owner->first + at) * ZR_PAGE_SIZE + from,
			    n_bytes) == 0);
	memset(owner->model[at] + from, 0, n_bytes);
}

static void owner_step(struct owner *owner)
{
	const uint64_t hot = atomic_load_explicit(&xhot, memory_order_relaxed);
	const uint64_t at = rng_below(&owner->rng, 8) == 0
				    ? rng_below(&owner->rng, owner->n_pages)
				    : (hot + rng_below(&owner->rng, HOT_PAGES)) % owner->n_pages;
	const uint32_t from = (uint32_t)rng_below(&owner->rng, ZR_PAGE_SIZE - 1);

	switch (rng_below(&owner->rng, 16)) {
	case 0:
		owner_punch(owner, at, 0, ZR_PAGE_SIZE);
		break;
	case 1:
		owner_punch(owner, at, from, 1 + rng_below(&owner->rng, 8 * ZR_PAGE_SIZE));
		break;
	case 2:
	case 3:
		owner_write(owner, at, from,
			    1 + (uint32_t)rng_below(&owner->rng, ZR_PAGE_SIZE - from));
		break;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		owner_write(owner, at, 0, ZR_PAGE_SIZE);
		break;
	default:
		owner_check(owner, at, 1 + rng_below(&owner->rng, READ_PAGES));
		break;
	}
}

static void *owner_main(void *context)
{
	struct owner *owner = context;
	uint64_t at;

	while (!atomic_load(&xover))
		owner_step(owner);
	for (at = 0; at < owner->n_pages; at += READ_PAGES)
		owner_check(owner, at, READ_PAGES);
	return NULL;
}

/* By hand, while the tier thread does the same. */
static void *write_back_main(void *context)
{
	struct rng rng = { .state = (uintptr_t)context };
	struct zr_writeback_range range;
	struct zr_writeback_request request = { .ranges = &range, .n_ranges = 1 };
	struct zr_batch *batch;
	int r;

	CHECK(zr_batch_new(&batch) == 0);
	while (!atomic_load(&xover)) {
		range.first = rng_below(&rng, N_OWNERS) * PAGES_EACH +
			      atomic_fetch_add(&xhot, rng_below(&rng, 4) == 0) % PAGES_EACH;
		range.last = zr_min(range.first + HOT_PAGES, N_OWNERS * PAGES_EACH) - 1;
		r = zr_writeback_run(disk, batch, NULL, &request);
		CHECK(r == 0 || r == -ENOSPC);
		atomic_fetch_add(&xn_written_back, r == 0);
		range.first = 0;
		range.last = MOVING_PAGES - 1;
		/* It may have no size, or no file. */
		r = zr_writeback_run(moving, batch, NULL, &request);
		CHECK(r == 0 || r == -ENOSPC || r == -EINVAL || r == -ENODEV || r == -ERANGE);
	}
	zr_batch_free(batch);
	return NULL;
}

/* From file to file, and its size up and down. */
static void *moving_main(void *context)
{
	struct zr_attrs attrs;
	struct owner owner;
	uint64_t round, i;

	zr_disk_attrs(moving, &attrs);
	attrs.backing_id = 0;
	for (round = 0; !atomic_load(&xover); ++round) {
		owner_init(&owner, moving, 0, MOVING_PAGES, round);
		CHECK(zr_store_back(rig.store, moving, ids[round % N_FILES]) == 0);
		CHECK(zr_disk_truncate(moving, owner.ctx, MOVING_PAGES * ZR_PAGE_SIZE) == 0);
		for (i = 0; i < 600 && !atomic_load(&xover); ++i)
			owner_step(&owner);
		CHECK(zr_disk_truncate(moving, owner.ctx, 100 * ZR_PAGE_SIZE + 123) == 0);
		CHECK(zr_disk_truncate(moving, owner.ctx, MOVING_PAGES * ZR_PAGE_SIZE) == 0);
		memset((uint8_t *)owner.model + 100 * ZR_PAGE_SIZE + 123, 0,
		       (MOVING_PAGES - 100) * ZR_PAGE_SIZE - 123);
		for (i = 0; i < MOVING_PAGES; i += READ_PAGES)
			owner_check(&owner, i, READ_PAGES);
		if (round % 2)
			CHECK(zr_disk_truncate(moving, owner.ctx, 0) == 0);
		CHECK(zr_disk_reset(moving, &attrs) == 0);
		owner_deinit(&owner);
	}
	return NULL;
}

/* What goes on beside requests. */
static void *beside_main(void *context)
{
	struct zr_disk_figures figures;
	uint64_t leaf_no;
	unsigned int i;

	while (!atomic_load(&xover)) {
		zr_store_compact(rig.store);
		for (leaf_no = 0; leaf_no < N_OWNERS * PAGES_EACH / ZR_LEAF_SLOTS; ++leaf_no)
			zr_pages_mark_leaf_idle(&disk->pages, leaf_no);
		zr_disk_figures(disk, &figures);
		CHECK(!zr_store_backing_is_idle(rig.store, ids[0]));
		for (i = 1; i < N_FILES; ++i) /* as it comes */
			(void)zr_store_backing_is_idle(rig.store, ids[i]);
		nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	}
	return NULL;
}

static void set_up(void)
{
	struct zr_backing_record record;
	unsigned int i;

	rig_init(&rig);
	for (i = 0; i < N_FILES; ++i) {
		record = (struct zr_backing_record){ .size_bytes = (i + 1) * FILE_BYTES,
						     .seal_bytes = FAKE_SEAL_BYTES,
						     .path = "/file" };
		CHECK(zr_store_backing_add(rig.store, i, &record, &ios[i], &ids[i]) == 0);
	}
	disk = rig_add_backed(&rig, "disk", N_OWNERS * PAGES_EACH * ZR_PAGE_SIZE, ids[0]);
	moving = rig_add(&rig, "moving", 0);
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
}

static void tear_down(void)
{
	unsigned int i;

	zr_disk_unpin(rig.store, moving);
	zr_disk_unpin(rig.store, disk);
	rig_validate(rig.store);
	rig_empty(&rig);
	for (i = 0; i < N_FILES; ++i)
		CHECK(zr_store_backing_remove(rig.store, ids[i]) == 0);
	rig_deinit(&rig);
}

int main(void)
{
	struct rng rng = rng_init("back-race");
	pthread_t threads[N_OWNERS + 3];
	struct owner owners[N_OWNERS];
	struct zr_tier *tier;
	unsigned int i;

	set_up();
	CHECK(zr_store_tend(rig.store) == 0);
	CHECK(zr_tier_new(&tier, rig.store, NULL) == 0);
	zr_tier_begin(tier);
	for (i = 0; i < N_OWNERS; ++i) {
		owner_init(&owners[i], disk, i * PAGES_EACH, PAGES_EACH, rng_next(&rng));
		CHECK(pthread_create(&threads[i], NULL, owner_main, &owners[i]) == 0);
	}
	CHECK(pthread_create(&threads[i++], NULL, write_back_main,
			     (void *)(uintptr_t)rng_next(&rng)) == 0);
	CHECK(pthread_create(&threads[i++], NULL, moving_main, NULL) == 0);
	CHECK(pthread_create(&threads[i++], NULL, beside_main, NULL) == 0);
	sleep((unsigned int)test_number("ZR_RACE_S", 5));
	atomic_store(&xover, true);
	while (i-- > 0)
		CHECK(pthread_join(threads[i], NULL) == 0);
	printf("# written back by hand %" PRIu64 " times, refused %" PRIu64 "\n",
	       atomic_load(&xn_written_back), atomic_load(&xn_refused));
	for (i = 0; i < N_OWNERS; ++i)
		owner_deinit(&owners[i]);
	tier = zr_tier_free(tier);
	tear_down();
	printf("ok back-race\n");
	return 0;
}
