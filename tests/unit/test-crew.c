/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Large requests, done by several threads, are what one thread would have done: the same bytes, each
 * page once, the same answer to an error, and nothing once the time is over that a request may take.
 * Reading and writing disks is wrapped, to see who does what, to have it fail, and to have threads
 * wait for each other; the clock, to stand still; and there are four cores.
 */

#include "crew.h"

#include <errno.h>
#include <pthread.h>

#include "rig.h"
#include "safety.h"
#include "shelf.h"
#include "thread.h"

#define N_CORES     4
#define N_SERVING   4u
#define DISK_BYTES  MIB(4)
#define LARGE_BYTES ((size_t)MIB(1))
#define PART_BYTES  16384u
#define N_PARTS     (LARGE_BYTES / PART_BYTES)
#define NOWHERE     UINT64_MAX

/* thread.c and buffers.c want it. */
void safety_buffer_refused(size_t n_bytes)
{
}

static struct rig rig;
static struct zr_disk *disk;
static struct crew *crew;
static struct shelf shelf;
static uint8_t shadow[DISK_BYTES], bytes[LARGE_BYTES + PART_BYTES];

/* what is wrapped */

static _Atomic bool watching;   /* calls are noted */
static _Atomic bool together;   /* who serves goes on once the crew has begun, too */
static _Atomic bool takes_long; /* the first part of who serves does; the crew waits for that */
static _Atomic int64_t stands_at_ns; /* the clock does; 0: it goes */
static _Atomic uint64_t fails_at;    /* the page with that byte, and with @fails_after ... */
static _Atomic bool fails_after;     /* ... all behind it */
static _Atomic int fails_with;       /* -errno, or 0: less is there than was asked for */
static _Atomic unsigned int n_calls, n_by_crew;
static _Atomic size_t n_longest; /* of a call, in bytes */
static _Atomic uint8_t n_times[DISK_BYTES / ZR_PAGE_SIZE];

long __real_sysconf(int name);
long __wrap_sysconf(int name);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __real_zr_disk_read(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, void *bytes,
			size_t n_bytes, size_t *n_readp);
int __wrap_zr_disk_read(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, void *bytes,
			size_t n_bytes, size_t *n_readp);
int __real_zr_disk_write(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset,
			 const void *bytes, size_t n_bytes, size_t *n_writtenp);
int __wrap_zr_disk_write(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset,
			 const void *bytes, size_t n_bytes, size_t *n_writtenp);

long __wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN ? N_CORES : __real_sysconf(name);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	const int64_t at_ns = atomic_load(&stands_at_ns);

	if (clock != CLOCK_MONOTONIC || at_ns == 0)
		return __real_clock_gettime(clock, now);
	*now = (struct timespec){ .tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000 };
	return 0;
}

static bool in_crew(void)
{
	return !thread_self.seat;
}

static void wait_for_others(size_t n_bytes)
{
	if (in_crew()) {
		atomic_fetch_add(&n_by_crew, 1);
		while (atomic_load(&takes_long))
			usleep(100);
		return;
	}
	/* Not one of a request that is offered to nobody. */
	if (n_bytes > PART_BYTES)
		return;
	while (atomic_load(&together) && atomic_load(&n_by_crew) == 0)
		usleep(100);
	if (atomic_load(&takes_long)) {
		atomic_fetch_add(&stands_at_ns, 1000000000);
		atomic_store(&takes_long, false);
	}
}

/* Return: how much of the call is to be done; less than @n_bytes if it is to fail. */
static size_t call_begin(uint64_t offset, size_t n_bytes)
{
	const uint64_t end = atomic_load(&fails_at), last = offset + n_bytes - 1;
	size_t longest = atomic_load(&n_longest);
	uint64_t page_no;

	if (!atomic_load(&watching) || n_bytes == 0)
		return n_bytes;
	atomic_fetch_add(&n_calls, 1);
	while (n_bytes > longest && !atomic_compare_exchange_weak(&n_longest, &longest, n_bytes))
		;
	for (page_no = offset / ZR_PAGE_SIZE; page_no <= last / ZR_PAGE_SIZE; ++page_no)
		if (page_no < ZR_ARRAY_SIZE(n_times))
			atomic_fetch_add(&n_times[page_no], 1);
	wait_for_others(n_bytes);
	if (end > last || (end < offset && !atomic_load(&fails_after)))
		return n_bytes;
	return end < offset ? 0
			    : (size_t)(zr_max(zr_align_down(end, ZR_PAGE_SIZE), offset) - offset);
}

int __wrap_zr_disk_read(struct zr_disk *of, struct zr_ctx *ctx, uint64_t offset, void *into,
			size_t n_bytes, size_t *n_readp)
{
	const size_t n = call_begin(offset, n_bytes);
	const int r = __real_zr_disk_read(of, ctx, offset, into, n, n_readp);

	return r == 0 && n < n_bytes ? atomic_load(&fails_with) : r;
}

int __wrap_zr_disk_write(struct zr_disk *of, struct zr_ctx *ctx, uint64_t offset, const void *from,
			 size_t n_bytes, size_t *n_writtenp)
{
	const size_t n = call_begin(offset, n_bytes);
	const int r = __real_zr_disk_write(of, ctx, offset, from, n, n_writtenp);

	return r == 0 && n < n_bytes ? atomic_load(&fails_with) : r;
}

/* rig */

static void watch_begin(void)
{
	memset((void *)n_times, 0, sizeof(n_times));
	n_calls = n_by_crew = 0;
	n_longest = 0;
	watching = true;
}

static void go_well(void)
{
	watching = together = takes_long = fails_after = false;
	stands_at_ns = 0;
	fails_at = NOWHERE;
	fails_with = 0;
}

static void serve_as(unsigned int seat, struct zr_ctx *ctx)
{
	thread_self.seat = &shelf.seats[seat];
	thread_self.ctx = ctx;
	thread_take_seat(seat + 1, 1, 1);
}

static void set_up(unsigned int n_serving)
{
	unsigned int i;

	go_well();
	rig_init(&rig);
	disk = rig_add(&rig, "disk", DISK_BYTES);
	memset(shadow, 0, sizeof(shadow));
	for (i = 0; i < SHELF_SEATS; ++i)
		atomic_store(&shelf.seats[i].unique, 0);
	serve_as(0, rig.ctx);
	CHECK(crew_new(&crew, &shelf, n_serving) == 0);
}

static void tear_down(void)
{
	go_well();
	crew = crew_free(crew);
	thread_leave_seat();
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
	thread_self.seat = NULL;
	thread_self.ctx = NULL;
}

static void fill(struct rng *rng, uint8_t *at, size_t n_bytes)
{
	size_t n;

	for (; n_bytes > 0; n_bytes -= n, at += n) {
		n = zr_min(n_bytes, ZR_PAGE_SIZE);
		rng_fill_mixed(rng, at, n);
	}
}

static void put(uint64_t offset, size_t n_bytes)
{
	size_t n_written = 0;

	CHECK(crew_write(crew, disk, offset, bytes, n_bytes, &n_written) == 0);
	CHECK(n_written == n_bytes);
	memcpy(shadow + offset, bytes, n_bytes);
}

static void check(uint64_t offset, size_t n_bytes)
{
	size_t n_read = 0;

	memset(bytes, 0xa5, sizeof(bytes));
	CHECK(crew_read(crew, disk, offset, bytes, n_bytes, &n_read) == 0);
	CHECK(n_read == n_bytes);
	CHECK(memcmp(bytes, shadow + offset, n_bytes) == 0);
	CHECK(bytes_are(bytes + n_bytes, 0xa5, sizeof(bytes) - n_bytes));
}

/* By one thread, past the crew. */
static void check_all(void)
{
	size_t at;

	for (at = 0; at < DISK_BYTES; at += LARGE_BYTES) {
		disk_get(&rig, disk, at, bytes, LARGE_BYTES);
		CHECK(memcmp(bytes, shadow + at, LARGE_BYTES) == 0);
	}
}

/* Each page was done once, of all that the request has. */
static void check_pages(uint64_t offset, size_t n_bytes)
{
	const uint64_t end = (offset + n_bytes + ZR_PAGE_SIZE - 1) / ZR_PAGE_SIZE;
	uint64_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(n_times); ++i)
		CHECK(n_times[i] == (i >= offset / ZR_PAGE_SIZE && i < end));
}

/* the same bytes */

static void test_all_sizes_and_offsets(void)
{
	struct rng rng = rng_init("sizes");
	unsigned int i;

	set_up(N_SERVING);
	for (i = 0; i < 60; ++i) {
		const size_t align = rng_below(&rng, 2) ? 1 : ZR_PAGE_SIZE;
		const size_t n = zr_max(zr_align_down(rng_below(&rng, sizeof(bytes) + 1), align),
					1);
		const uint64_t at = zr_align_down(rng_below(&rng, DISK_BYTES - n + 1), align);

		fill(&rng, bytes, n);
		watch_begin();
		put(at, n);
		check_pages(at, n);
		watch_begin();
		check(at, n);
		check_pages(at, n);
		check(at / 2, sizeof(bytes));
	}
	watching = false;
	check_all();
	tear_down();
}

static void test_the_crew_does_its_part(void)
{
	static const uint64_t offsets[] = { 0, 1, PART_BYTES - 1, PART_BYTES,
					    5 * ZR_PAGE_SIZE + 7 };
	struct rng rng = rng_init("part");
	unsigned int i;

	set_up(N_SERVING);
	stands_at_ns = 1; /* nobody is late */
	together = true;
	for (i = 0; i < ZR_ARRAY_SIZE(offsets); ++i) {
		fill(&rng, bytes, LARGE_BYTES);
		do { /* until one of them had gone to sleep before */
			watch_begin();
			put(offsets[i], LARGE_BYTES);
			check_pages(offsets[i], LARGE_BYTES);
		} while (n_by_crew == 0);
		CHECK(n_longest <= PART_BYTES &&
		      n_calls == N_PARTS + (offsets[i] % PART_BYTES != 0));
		do {
			watch_begin();
			check(offsets[i], LARGE_BYTES);
			check_pages(offsets[i], LARGE_BYTES);
		} while (n_by_crew == 0);
		CHECK(n_longest <= PART_BYTES &&
		      n_calls == N_PARTS + (offsets[i] % PART_BYTES != 0));
	}
	go_well();
	check_all();
	tear_down();
}

static void test_what_is_small_is_done_by_one(void)
{
	struct rng rng = rng_init("small");

	set_up(N_SERVING);
	fill(&rng, bytes, LARGE_BYTES);
	watch_begin();
	put(ZR_PAGE_SIZE, (128u << 10) - 1);
	check(ZR_PAGE_SIZE, (512u << 10) - 1);
	put(0, 0);
	check(0, 0);
	CHECK(n_calls == 2 && n_by_crew == 0);
	tear_down();
}

static void test_the_end_of_the_disk(void)
{
	static const uint64_t past[] = { DISK_BYTES, DISK_BYTES + 1, UINT64_MAX - 1000,
					 UINT64_MAX - LARGE_BYTES + 1 };
	struct rng rng = rng_init("end");
	size_t n_done = 0;
	unsigned int i;

	set_up(N_SERVING);
	fill(&rng, bytes, LARGE_BYTES);
	put(DISK_BYTES - LARGE_BYTES, LARGE_BYTES);
	watch_begin();
	CHECK(crew_read(crew, disk, DISK_BYTES - LARGE_BYTES / 2 - 3, bytes, LARGE_BYTES,
			&n_done) == 0);
	CHECK(n_done == LARGE_BYTES / 2 + 3 && n_by_crew == 0);
	CHECK(memcmp(bytes, shadow + DISK_BYTES - n_done, n_done) == 0);
	watching = false;
	for (i = 0; i < ZR_ARRAY_SIZE(past); ++i) {
		n_done = 1;
		CHECK(crew_read(crew, disk, past[i], bytes, LARGE_BYTES, &n_done) == 0);
		CHECK(n_done == 0);
	}
	n_done = 1;
	CHECK(crew_write(crew, disk, past[2], bytes, LARGE_BYTES, &n_done) == -EFBIG);
	CHECK(n_done == 0 && zr_disk_size(disk) == DISK_BYTES);

	/* It grows by one thread: the size is never ahead of the pages. */
	watch_begin();
	CHECK(crew_write(crew, disk, DISK_BYTES - 5, bytes, LARGE_BYTES, &n_done) == 0);
	CHECK(n_done == LARGE_BYTES && n_calls == 1);
	CHECK(zr_disk_size(disk) == DISK_BYTES - 5 + LARGE_BYTES);
	tear_down();
}

/* errors */

static bool page_is(uint64_t offset, const uint8_t *want)
{
	uint8_t page[ZR_PAGE_SIZE];

	disk_get(&rig, disk, offset, page, sizeof(page));
	return memcmp(page, want, sizeof(page)) == 0;
}

/* All of @bytes up to @n_done is there, and each page behind it as it is or as it was. */
static void check_prefix(uint64_t offset, size_t n_done)
{
	size_t at;

	CHECK((offset + n_done) % ZR_PAGE_SIZE == 0);
	go_well();
	for (at = 0; at < LARGE_BYTES; at += ZR_PAGE_SIZE) {
		if (page_is(offset + at, bytes + at))
			memcpy(shadow + offset + at, bytes + at, ZR_PAGE_SIZE);
		else
			CHECK(at >= n_done && page_is(offset + at, shadow + offset + at));
	}
}

static void test_an_error_in_the_middle(void)
{
	struct rng rng = rng_init("error");
	size_t n_done;
	unsigned int i;

	set_up(N_SERVING);
	for (i = 0; i < 60; ++i) {
		const uint64_t at = rng_below(&rng, 100) * ZR_PAGE_SIZE;
		const size_t fails = rng_below(&rng, LARGE_BYTES);

		fill(&rng, bytes, LARGE_BYTES);
		watch_begin();
		fails_at = at + fails;
		fails_after = rng_below(&rng, 2);
		fails_with = i % 3 == 0 ? 0 : -ENOSPC; /* 0: as where it was made smaller */
		n_done = 1;
		CHECK(crew_write(crew, disk, at, bytes, LARGE_BYTES, &n_done) == fails_with);
		CHECK(n_done == zr_align_down(fails, ZR_PAGE_SIZE));
		check_prefix(at, n_done);

		watch_begin();
		fails_at = at + fails;
		fails_with = i % 3 == 0 ? 0 : -EIO;
		n_done = 1;
		CHECK(crew_read(crew, disk, at, bytes, LARGE_BYTES, &n_done) == fails_with);
		CHECK(fails_with < 0 || n_done == zr_align_down(fails, ZR_PAGE_SIZE));
		CHECK(memcmp(bytes, shadow + at, zr_align_down(fails, ZR_PAGE_SIZE)) == 0);
		go_well();
	}
	check_all();
	tear_down();
}

/* Each part might wait for memory in vain, as long as a request may. */
static void test_who_fails_is_the_last(void)
{
	size_t n_done;

	set_up(N_SERVING);
	stands_at_ns = 1;
	do {
		watch_begin();
		together = fails_after = true;
		fails_at = 0;
		fails_with = -ENOMEM;
		CHECK(crew_write(crew, disk, 0, bytes, LARGE_BYTES, &n_done) == -ENOMEM);
		CHECK(n_done == 0 && n_calls <= N_SERVING);
	} while (n_by_crew == 0);
	tear_down();
}

/* Somebody else does the whole of it again, once, and nobody of the crew is at it any more. */
static void test_who_must_not_wait_says_so_once(void)
{
	struct rng rng = rng_init("wait");
	unsigned int n_before;
	size_t n_done;

	set_up(N_SERVING);
	stands_at_ns = 1;
	do {
		fill(&rng, bytes, LARGE_BYTES);
		watch_begin();
		together = fails_after = true;
		fails_at = ZR_PAGE_SIZE + rng_below(&rng, LARGE_BYTES);
		fails_with = -EINPROGRESS;
		CHECK(crew_write(crew, disk, ZR_PAGE_SIZE, bytes, LARGE_BYTES, &n_done) ==
		      -EINPROGRESS);
		CHECK(crew_read(crew, disk, ZR_PAGE_SIZE, bytes, LARGE_BYTES, &n_done) ==
		      -EINPROGRESS);
		n_before = n_calls;
		fails_at = NOWHERE; /* whoever were late would do it */
		usleep(500);
		CHECK(n_calls == n_before);
	} while (n_by_crew == 0);
	go_well();
	fill(&rng, bytes, LARGE_BYTES);
	disk_put(&rig, disk, ZR_PAGE_SIZE, bytes, LARGE_BYTES);
	memcpy(shadow + ZR_PAGE_SIZE, bytes, LARGE_BYTES);
	check_all();
	tear_down();
}

/* What nobody began with in time is done by one, in one call. */
static void test_what_takes_too_long_is_ended_by_one(void)
{
	struct rng rng = rng_init("late");

	set_up(N_SERVING);
	do {
		fill(&rng, bytes, LARGE_BYTES);
		watch_begin();
		stands_at_ns = 1;
		together = takes_long = true;
		put(ZR_PAGE_SIZE, LARGE_BYTES);
		check_pages(ZR_PAGE_SIZE, LARGE_BYTES);
	} while (n_by_crew == 0);
	CHECK(n_calls <= N_SERVING + 1 && n_longest >= LARGE_BYTES - N_SERVING * PART_BYTES);
	go_well();
	check_all();
	tear_down();
}

static void test_the_limit_is_reached(void)
{
	struct rng rng = rng_init("limit");
	struct zr_disk_figures figures;
	size_t n_done;
	unsigned int i;
	int r;

	set_up(N_SERVING);
	for (i = 0; i < 10; ++i) {
		bytes_random(&rng, bytes, LARGE_BYTES);
		CHECK(zr_disk_punch(disk, rig.ctx, 0, DISK_BYTES) == 0);
		memset(shadow, 0, sizeof(shadow));
		zr_disk_figures(disk, &figures);
		CHECK(zr_disk_set_mem_limit(disk, figures.used_bytes + LARGE_BYTES / 8 * (i + 1) +
							  rng_below(&rng, 4096)) == 0);
		n_done = 1;
		r = crew_write(crew, disk, ZR_PAGE_SIZE, bytes, LARGE_BYTES, &n_done);
		if (r == 0) {
			CHECK(n_done == LARGE_BYTES && i >= 7);
		} else {
			CHECK(r == -ENOSPC && n_done < LARGE_BYTES);
			check_prefix(ZR_PAGE_SIZE, n_done);
		}
		rig_validate(rig.store);

		CHECK(zr_disk_set_mem_limit(disk, 0) == 0);
		put(ZR_PAGE_SIZE, LARGE_BYTES);
		check_all();
	}
	tear_down();
}

/* who is woken */

static void test_nobody_is_woken_where_all_are_busy(void)
{
	unsigned int i;

	set_up(N_SERVING);
	for (i = 1; i < N_SERVING; ++i)
		atomic_store(&shelf.seats[i].unique, i);
	for (i = 0; i < 20; ++i) {
		watch_begin();
		put(0, LARGE_BYTES);
		check(0, LARGE_BYTES);
		CHECK(n_calls == 2 && n_by_crew == 0);
		usleep(500); /* now they sleep, if not before */
	}
	/* And where they are not. */
	stands_at_ns = 1;
	together = true;
	atomic_store(&shelf.seats[1].unique, 0);
	do {
		watch_begin();
		put(0, LARGE_BYTES);
	} while (n_by_crew == 0);
	CHECK(n_calls == N_PARTS);
	tear_down();
}

static void test_no_crew(void)
{
	set_up(1);
	watch_begin();
	put(0, LARGE_BYTES);
	check(0, LARGE_BYTES);
	CHECK(n_calls == 2 && n_by_crew == 0);
	tear_down();
}

static void test_made_and_freed(void)
{
	unsigned int i;

	set_up(2);
	for (i = 0; i < 30; ++i) {
		crew = crew_free(crew);
		CHECK(crew_new(&crew, &shelf, i % 6 + 1) == 0);
		crew_lock(crew);
		crew_calm(crew);
		if (i % 3 == 0)
			put(0, LARGE_BYTES);
		if (i % 2 == 0)
			usleep(500);
	}
	check_all();
	CHECK(!crew_free(NULL));
	tear_down();
}

/* two who serve, with offers at once */

struct server {
	pthread_t thread;
	unsigned int no;
	struct rng rng;
	uint8_t bytes[LARGE_BYTES];
};

static void *serve(void *context)
{
	struct server *server = context;
	const uint64_t half = DISK_BYTES / 2, first = server->no * half;
	struct zr_ctx *ctx;
	unsigned int i;
	size_t n_done;

	CHECK(zr_ctx_new(&ctx) == 0);
	serve_as(server->no, ctx);
	for (i = 0; i < 40; ++i) {
		const size_t n = LARGE_BYTES - rng_below(&server->rng, LARGE_BYTES / 3);
		const uint64_t at = first + rng_below(&server->rng, half - n);

		fill(&server->rng, server->bytes, n);
		n_done = 0;
		CHECK(crew_write(crew, disk, at, server->bytes, n, &n_done) == 0 && n_done == n);
		memcpy(shadow + at, server->bytes, n);
		memset(server->bytes, 0xa5, n);
		n_done = 0;
		CHECK(crew_read(crew, disk, at, server->bytes, n, &n_done) == 0 && n_done == n);
		CHECK(memcmp(server->bytes, shadow + at, n) == 0);
	}
	thread_leave_seat();
	thread_self.ctx = zr_ctx_free(ctx);
	return NULL;
}

static void test_two_at_once(void)
{
	static struct server servers[2];
	struct rng rng = rng_init("two");
	unsigned int i;

	set_up(N_SERVING);
	thread_leave_seat();
	for (i = 0; i < 2; ++i) {
		servers[i].no = i;
		servers[i].rng.state = rng_next(&rng);
		CHECK(pthread_create(&servers[i].thread, NULL, serve, &servers[i]) == 0);
	}
	for (i = 0; i < 2; ++i)
		CHECK(pthread_join(servers[i].thread, NULL) == 0);
	check_all();
	tear_down();
}

int main(void)
{
	RUN(test_all_sizes_and_offsets);
	RUN(test_the_crew_does_its_part);
	RUN(test_what_is_small_is_done_by_one);
	RUN(test_the_end_of_the_disk);
	RUN(test_an_error_in_the_middle);
	RUN(test_who_fails_is_the_last);
	RUN(test_who_must_not_wait_says_so_once);
	RUN(test_what_takes_too_long_is_ended_by_one);
	RUN(test_the_limit_is_reached);
	RUN(test_nobody_is_woken_where_all_are_busy);
	RUN(test_no_crew);
	RUN(test_made_and_freed);
	RUN(test_two_at_once);
	return 0;
}
