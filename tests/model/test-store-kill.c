/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A worker is killed at a random instant, and the next one must find every page as it was written.
 *
 * A child attaches to the store and changes it with several threads until SIGKILL. What each thread
 * is about to do, and what is done, it notes in memory that it shares with the parent: for each
 * unit (a page, or a sector within a page that others write too) the stamp that is there and the
 * one on its way. The parent attaches in turn, checks that each unit is whole and one of the two,
 * and that memory is accounted for; then the next child goes on with the same store.
 *
 * SEED, ZR_TEST_ROUNDS and ZR_TEST_SECONDS say how long.
 */

#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "census.h"
#include "stats.h"

#define N_WRITERS    3u
#define SECTOR_BYTES 512u
#define N_TEMPORARY  4u

/* A leaf and a bit each, so that leaves come and go and are shared at the seams. */
#define REGION_PAGES   700u
/* Of each writer; the sectors of a page are of different writers. */
#define REGION_SECTORS 128u

struct unit {
	_Atomic uint64_t done, begun; /* stamps; 0: zeros or a hole */
};

/* What outlives a child, outside the store. */
struct notes {
	_Atomic uint64_t n_operations;
	_Atomic uint64_t size_done[N_WRITERS], size_begun[N_WRITERS]; /* of own disks, in pages */
	struct unit pages[N_WRITERS][REGION_PAGES];                   /* of the shared disk */
	struct unit own[N_WRITERS][REGION_PAGES];                     /* of each writer's own */
	struct unit sectors[N_WRITERS][REGION_SECTORS];
};

struct writer {
	unsigned int no;
	struct rng rng;
	struct rig rig; /* a context of its own */
	struct zr_disk *shared, *sectors, *own;
};

static struct notes *notes;

static uint64_t fresh_stamp(struct rng *rng)
{
	const uint64_t word = rng_next(rng);

	/* now and then one that fits its slot */
	return (word & 3) == 0 && rng_below(rng, 2) ? word >> 12 << 2 : word;
}

static uint64_t sector_offset(unsigned int writer, unsigned int i)
{
	return (uint64_t)(i * N_WRITERS + writer) * SECTOR_BYTES;
}

static const char *own_name(unsigned int writer)
{
	static const char *const names[N_WRITERS] = { "own0", "own1", "own2" };

	return names[writer];
}

/* the child */

static void begin(struct unit *units, unsigned int n_units, const uint64_t *stamps)
{
	unsigned int i;

	for (i = 0; i < n_units; ++i)
		atomic_store(&units[i].begun, stamps ? stamps[i] : 0);
}

static void end(struct unit *units, unsigned int n_units)
{
	unsigned int i;

	for (i = 0; i < n_units; ++i)
		atomic_store(&units[i].done, atomic_load(&units[i].begun));
	atomic_fetch_add(&notes->n_operations, 1);
}

static void take_back(struct unit *units, unsigned int n_units)
{
	unsigned int i;

	for (i = 0; i < n_units; ++i)
		atomic_store(&units[i].begun, atomic_load(&units[i].done));
}

#define WRITE_PAGES 8u

/* Up to eight pages at once. At the limit the first of them may be all. */
static void write_pages(struct writer *writer, struct zr_disk *disk, uint64_t first,
			struct unit *units, unsigned int n_pages)
{
	uint8_t bytes[WRITE_PAGES * ZR_PAGE_SIZE];
	uint64_t stamps[WRITE_PAGES];
	unsigned int i, n_done;
	size_t n_written;
	int r;

	for (i = 0; i < n_pages; ++i) {
		stamps[i] = fresh_stamp(&writer->rng);
		stamp_make(bytes + i * ZR_PAGE_SIZE, ZR_PAGE_SIZE, stamps[i]);
	}

	begin(units, n_pages, stamps);
	r = zr_disk_write(disk, writer->rig.ctx, first * ZR_PAGE_SIZE, bytes,
			  n_pages * ZR_PAGE_SIZE, &n_written);
	CHECK(r == 0 || r == -ENOSPC);
	n_done = (unsigned int)(n_written / ZR_PAGE_SIZE);
	take_back(units + n_done, n_pages - n_done);
	end(units, n_done);
}

static void change_shared(struct writer *writer)
{
	const unsigned int n = 1 + (unsigned int)rng_below(&writer->rng, WRITE_PAGES);
	const unsigned int at = (unsigned int)rng_below(&writer->rng, REGION_PAGES - n + 1);
	const uint64_t first = (uint64_t)writer->no * REGION_PAGES + at;
	struct unit *units = &notes->pages[writer->no][at];
	unsigned int n_punched = n;

	if (rng_below(&writer->rng, 3) > 0) {
		write_pages(writer, writer->shared, first, units, n);
		return;
	}

	if (rng_below(&writer->rng, 8) == 0) /* most of a leaf */
		n_punched = REGION_PAGES - at;
	begin(units, n_punched, NULL);
	CHECK(zr_disk_punch(writer->shared, writer->rig.ctx, first * ZR_PAGE_SIZE,
			    (uint64_t)n_punched * ZR_PAGE_SIZE) == 0);
	end(units, n_punched);
}

static void change_sector(struct writer *writer)
{
	const unsigned int at = (unsigned int)rng_below(&writer->rng, REGION_SECTORS);
	struct unit *unit = &notes->sectors[writer->no][at];
	const uint64_t offset = sector_offset(writer->no, at);
	uint64_t stamp = fresh_stamp(&writer->rng);
	uint8_t bytes[SECTOR_BYTES];

	if (rng_below(&writer->rng, 4) == 0) {
		begin(unit, 1, NULL);
		CHECK(zr_disk_punch(writer->sectors, writer->rig.ctx, offset, SECTOR_BYTES) == 0);
	} else {
		stamp_make(bytes, sizeof(bytes), stamp);
		begin(unit, 1, &stamp);
		disk_put(&writer->rig, writer->sectors, offset, bytes, sizeof(bytes));
	}
	end(unit, 1);
}

static void write_own(struct writer *writer)
{
	const unsigned int n = 1 + (unsigned int)rng_below(&writer->rng, WRITE_PAGES);
	const unsigned int at = (unsigned int)rng_below(&writer->rng, REGION_PAGES - n + 1);
	const uint64_t size = atomic_load(&notes->size_done[writer->no]);

	atomic_store(&notes->size_begun[writer->no], zr_max(size, at + n));
	write_pages(writer, writer->own, at, &notes->own[writer->no][at], n);
	atomic_store(&notes->size_begun[writer->no], zr_disk_size(writer->own) / ZR_PAGE_SIZE);
	atomic_store(&notes->size_done[writer->no], zr_disk_size(writer->own) / ZR_PAGE_SIZE);
}

static void truncate_own(struct writer *writer)
{
	const unsigned int n_pages = (unsigned int)rng_below(&writer->rng, REGION_PAGES + 1);
	struct unit *cut = &notes->own[writer->no][n_pages];

	begin(cut, REGION_PAGES - n_pages, NULL);
	atomic_store(&notes->size_begun[writer->no], n_pages);
	CHECK(zr_disk_truncate(writer->own, writer->rig.ctx, (uint64_t)n_pages * ZR_PAGE_SIZE) ==
	      0);
	atomic_store(&notes->size_done[writer->no], n_pages);
	end(cut, REGION_PAGES - n_pages);
}

static void limit_own(struct writer *writer)
{
	const uint64_t limit = rng_below(&writer->rng, 3) ? 0 : rng_below(&writer->rng, MIB(2));

	CHECK(zr_disk_set_mem_limit(writer->own, limit) == 0);
	/* Of all together one that nobody reaches, so that what they use is counted, or none. */
	zr_store_set_mem_limit(writer->rig.store, limit ? MIB(1000) : 0);
}

static void mark(struct writer *writer)
{
	int r;

	r = zr_census_mark_idle(rng_below(&writer->rng, 2) ? writer->shared : writer->own, NULL);
	CHECK(r == 0 || r == -EINVAL); /* an own one may have no size */
}

/* The page stays what it is, so nothing is noted. */
static void recompress(struct writer *writer)
{
	const unsigned int priority = 1 + (unsigned int)rng_below(&writer->rng, ZR_RECOMP_MAX);
	struct zr_disk *disk = rng_below(&writer->rng, 2) ? writer->shared : writer->own;
	uint64_t page_no = rng_below(&writer->rng, N_WRITERS * REGION_PAGES);
	unsigned int i;
	int r;

	for (i = 0; i < WRITE_PAGES; ++i) {
		r = zr_disk_recompress(disk, writer->rig.ctx, page_no + i, priority, 0);
		CHECK(r == 0 || r == ZR_PAGE_E_AS_IT_WAS);
	}
}

static void *write_for_ever(void *context)
{
	struct writer *writer = context;
	unsigned int roll;

	for (;;) {
		roll = (unsigned int)rng_below(&writer->rng, 100);
		if (roll < 40)
			change_shared(writer);
		else if (roll < 65)
			change_sector(writer);
		else if (roll < 87)
			write_own(writer);
		else if (roll < 88)
			mark(writer);
		else if (roll < 94)
			recompress(writer);
		else if (roll < 96)
			zr_store_compact(writer->rig.store);
		else if (roll < 98)
			truncate_own(writer);
		else
			limit_own(writer);
	}
	return NULL;
}

/* Disks that come, are written, renamed over each other and go. */
static void change_temporary(struct rig *rig, struct rng *rng)
{
	struct zr_disk_spec spec;
	struct zr_disk *disk, *replaced;
	uint8_t page[ZR_PAGE_SIZE];
	char name[16];
	size_t n_written;
	int r;

	rig_spec_init(&spec);
	snprintf(spec.attrs.name, sizeof(spec.attrs.name), "temporary%u",
		 (unsigned int)rng_below(rng, N_TEMPORARY));
	spec.attrs.format = rng_below(rng, 2) ? ZR_FORMAT_SWAP : ZR_FORMAT_NONE;
	spec.disksize_bytes = rng_below(rng, 2) ? MIB(1) : 0;
	r = zr_store_add(rig->store, rig->ctx, &spec, &disk);
	CHECK(r == 0 || r == -EEXIST);
	if (r < 0)
		disk = zr_store_find(rig->store, spec.attrs.name);
	CHECK(disk);

	/* A swap disk is refused memory that does not come at once, on a busy machine. */
	stamp_make(page, sizeof(page), fresh_stamp(rng));
	r = zr_disk_write(disk, rig->ctx, (100 + rng_below(rng, 1000)) * ZR_PAGE_SIZE, page,
			  sizeof(page), &n_written);
	CHECK(r == 0 || r == -ENOMEM);
	CHECK(zr_disk_set_owner(disk, 0600, (uint32_t)rng_below(rng, 100), 0) == 0);
	if (rng_below(rng, 2)) {
		snprintf(name, sizeof(name), "temporary%u",
			 (unsigned int)rng_below(rng, N_TEMPORARY));
		replaced = zr_store_find(rig->store, name);
		CHECK(zr_store_rename(rig->store, disk, name, replaced) == 0);
		zr_disk_unpin(rig->store, replaced);
	}
	if (rng_below(rng, 3) == 0)
		zr_store_remove(rig->store, disk);
	zr_disk_unpin(rig->store, disk);
}

static void look_around(struct rig *rig)
{
	const struct zr_stats_context nobody = { .version = "test" };
	char *text = NULL;
	size_t n_text;

	CHECK(zr_stats_text(rig->store, &nobody, &text, &n_text) == 0);
	free(text);
}

static _Noreturn void child_run(int fd, uint64_t seed)
{
	static struct writer writers[N_WRITERS];
	struct rng rng = { .state = seed };
	struct rig rig;
	pthread_t thread;
	unsigned int i;

	CHECK(zr_store_attach(&rig.store, fd) == 0);
	CHECK(zr_store_tend(rig.store) == 0);
	CHECK(zr_ctx_new(&rig.ctx) == 0);
	for (i = 0; i < N_WRITERS; ++i) {
		writers[i].no = i;
		writers[i].rng.state = rng_next(&rng);
		writers[i].rig.store = rig.store;
		CHECK(zr_ctx_new(&writers[i].rig.ctx) == 0);
		writers[i].shared = zr_store_find(rig.store, "shared");
		writers[i].sectors = zr_store_find(rig.store, "sectors");
		writers[i].own = zr_store_find(rig.store, own_name(i));
		CHECK(writers[i].shared && writers[i].sectors && writers[i].own);
		CHECK(pthread_create(&thread, NULL, write_for_ever, &writers[i]) == 0);
	}
	for (;;) {
		change_temporary(&rig, &rng);
		if (rng_below(&rng, 8) == 0)
			look_around(&rig);
	}
}

/* the parent */

/* Is the unit whole, and what was there or what was to be? From now on it is what it is. */
static void check_unit(struct unit *unit, const uint8_t *bytes, size_t n_bytes)
{
	const uint64_t done = atomic_load(&unit->done), begun = atomic_load(&unit->begun);
	const bool old = stamp_is(bytes, n_bytes, done);

	CHECK(old || stamp_is(bytes, n_bytes, begun));
	atomic_store(&unit->done, old ? done : begun);
	atomic_store(&unit->begun, old ? done : begun);
}

static void check_pages(struct rig *rig, struct zr_disk *disk, uint64_t first, struct unit *units,
			unsigned int n_units)
{
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i;

	for (i = 0; i < n_units; ++i) {
		disk_get(rig, disk, (first + i) * ZR_PAGE_SIZE, page, sizeof(page));
		check_unit(&units[i], page, sizeof(page));
	}
}

/* What lies past the size must be gone, also when the size grows over it again. */
static void check_own(struct rig *rig, unsigned int writer)
{
	struct zr_disk *disk = zr_store_find(rig->store, own_name(writer));
	const uint64_t done = notes->size_done[writer], begun = notes->size_begun[writer];
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int size, i;

	CHECK(disk && zr_disk_size(disk) % ZR_PAGE_SIZE == 0);
	size = (unsigned int)(zr_disk_size(disk) / ZR_PAGE_SIZE);
	/* a write that met the limit may have grown it less than it was to */
	CHECK(size == done || size == begun || (size > done && size < begun));
	check_pages(rig, disk, 0, notes->own[writer], size);

	CHECK(zr_disk_extend(disk, REGION_PAGES * ZR_PAGE_SIZE) == 0);
	for (i = size; i < REGION_PAGES; ++i) {
		disk_get(rig, disk, (uint64_t)i * ZR_PAGE_SIZE, page, sizeof(page));
		CHECK(bytes_are(page, 0, sizeof(page)));
		notes->own[writer][i].done = notes->own[writer][i].begun = 0;
	}
	notes->size_done[writer] = notes->size_begun[writer] = REGION_PAGES;
	zr_disk_unpin(rig->store, disk);
}

static void check_shared(struct rig *rig, unsigned int writer)
{
	struct zr_disk *shared = zr_store_find(rig->store, "shared");
	struct zr_disk *sectors = zr_store_find(rig->store, "sectors");
	uint8_t bytes[SECTOR_BYTES];
	unsigned int i;

	CHECK(shared && sectors);
	check_pages(rig, shared, (uint64_t)writer * REGION_PAGES, notes->pages[writer],
		    REGION_PAGES);
	for (i = 0; i < REGION_SECTORS; ++i) {
		disk_get(rig, sectors, sector_offset(writer, i), bytes, sizeof(bytes));
		check_unit(&notes->sectors[writer][i], bytes, sizeof(bytes));
	}
	zr_disk_unpin(rig->store, shared);
	zr_disk_unpin(rig->store, sectors);
}

/* Nobody noted what is there, but it must be whole. */
static void check_temporary(struct rig *rig)
{
	struct zr_disk *disk, *next;
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t at, word;

	for (disk = zr_store_next(rig->store, 0); disk; disk = next) {
		at = strncmp(disk->name, "temporary", 9) == 0 ? 100 * ZR_PAGE_SIZE : UINT64_MAX;
		for (; at + ZR_PAGE_SIZE <= zr_disk_size(disk) && at != UINT64_MAX;
		     at += ZR_PAGE_SIZE) {
			disk_get(rig, disk, at, page, sizeof(page));
			CHECK(stamp_read(page, sizeof(page), &word));
		}
		next = zr_store_next(rig->store, disk->id);
		zr_disk_unpin(rig->store, disk);
	}
}

/* Attach, look at everything, let go. */
static void check_store(int fd, struct zr_ctx *ctx)
{
	struct rig rig = { .ctx = ctx };
	unsigned int i;

	CHECK(zr_store_attach(&rig.store, fcntl(fd, F_DUPFD_CLOEXEC, 0)) == 0);
	rig_validate(rig.store);
	for (i = 0; i < N_WRITERS; ++i) {
		check_shared(&rig, i);
		check_own(&rig, i);
	}
	check_temporary(&rig);
	rig_validate(rig.store);
	zr_store_free(rig.store);
}

/* Some are killed while they attach still. */
static void kill_one(int fd, struct rng *rng, bool early)
{
	const uint64_t before = atomic_load(&notes->n_operations);
	const uint64_t seed = rng_next(rng);
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		child_run(fcntl(fd, F_DUPFD_CLOEXEC, 0), seed);

	while (!early && atomic_load(&notes->n_operations) == before &&
	       waitpid(child, &status, WNOHANG) == 0)
		usleep(100);
	usleep((useconds_t)rng_below(rng, early ? 3000 : 30000));
	kill(child, SIGKILL);
	if (waitpid(child, &status, 0) == child)
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	else
		CHECK(!"the child died by itself");
}

/* The store that all children change. Return: its descriptor. */
static int store_make(struct rig *rig)
{
	struct zr_disk *disk;
	unsigned int i;
	int fd;

	rig_init(rig);
	disk = rig_add(rig, "shared", (uint64_t)N_WRITERS * REGION_PAGES * ZR_PAGE_SIZE);
	zr_disk_unpin(rig->store, disk);
	disk = rig_add(rig, "sectors", sector_offset(N_WRITERS, REGION_SECTORS));
	zr_disk_unpin(rig->store, disk);
	for (i = 0; i < N_WRITERS; ++i) {
		disk = rig_add(rig, own_name(i), 0);
		zr_disk_unpin(rig->store, disk);
	}

	fd = fcntl(zr_store_fd(rig->store), F_DUPFD_CLOEXEC, 0);
	CHECK(fd >= 0);
	rig->store = zr_store_free(rig->store);
	return fd;
}

static void test_every_page_is_whole_after_a_kill(void)
{
	const unsigned long n_rounds = test_number("ZR_TEST_ROUNDS", 400);
	const time_t until = time(NULL) + (time_t)test_number("ZR_TEST_SECONDS", 20);
	struct rng rng = rng_init("test-store-kill");
	struct zr_store_usage usage;
	unsigned long i;
	struct rig rig;
	int fd;

	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	CHECK(notes != MAP_FAILED);
	fd = store_make(&rig);
	for (i = 0; i < n_rounds && time(NULL) < until; ++i) {
		kill_one(fd, &rng, i % 8 == 7);
		check_store(fd, rig.ctx);
	}
	CHECK(zr_store_attach(&rig.store, fd) == 0);
	zr_store_usage(rig.store, &usage);
	printf("# %lu kills, %" PRIu64 " operations, %" PRIu64 " pages compacted\n", i,
	       atomic_load(&notes->n_operations), usage.pages_compacted);
	rig_deinit(&rig); /* which finds what was leaked */
	munmap(notes, sizeof(*notes));
}

int main(void)
{
	RUN(test_every_page_is_whole_after_a_kill);
	return 0;
}
