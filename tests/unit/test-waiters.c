/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What has to wait is done once each, whole, by somebody else: reads and writes in the order that
 * they came, some of the waiters kept from writes, bytes as they were handed over; who finds no room
 * waits and is not taken for stuck; and nothing is lost at the end. What waits for a file is a
 * function that waits for the test.
 */

#include "waiters.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>

#include "rig.h"
#include "safety.h"
#include "shelf.h"

#define N_REQUESTS 16u
#define N_ENTRIES  (N_REQUESTS + WAITERS_MORE)
#define N_BYTES    (64u << 10)
#define N_ASIDE    2u /* writes of that size */
#define N_MAX      8192u
#define ALL        UINT64_MAX

/* thread.c and buffers.c want it. */
void safety_buffer_refused(size_t n_bytes)
{
}

static struct waiters waiters;
static struct seat seats[WAITERS], own_seat;
static uint8_t bytes[N_BYTES];

/* what the waiters are given */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* protected by lock */
static uint64_t stuck_to; /* requests up to that number wait */
static unsigned int n_begun, n_done, n_writes_now, n_writes_most;
static uint64_t begun[N_MAX]; /* by number of the request */
static unsigned int n_times[N_MAX];

static uint8_t byte_of(uint64_t unique, size_t at)
{
	return (uint8_t)(unique * 31 + at / 512 * 7 + at);
}

static bool is_in_a_seat(uint64_t unique)
{
	unsigned int i;

	for (i = 0; i < WAITERS; ++i)
		if (atomic_load(&seats[i].unique) == unique)
			return true;

	return false;
}

static void check_request(const struct waited *request)
{
	const uint64_t unique = request->unique & ~SHELF_RESENT;
	size_t i;

	CHECK(thread_self.ctx && thread_self.ctx->window && thread_self.takes_long);
	CHECK(is_in_a_seat(unique) && !waiters_have(&waiters, unique));
	CHECK(atomic_load(&thread_self.seat->is_long));
	CHECK(request->offset == unique * 3 && request->begin_ns == (int64_t)unique);
	for (i = 0; request->opcode == FUSE_WRITE && i < request->n_bytes; ++i)
		CHECK(request->bytes[i] == byte_of(unique, i));
	if (request->opcode == FUSE_READ)
		memset(request->bytes, (int)unique, request->n_bytes);
}

static void serve(void *context, const struct waited *request)
{
	const bool is_write = request->opcode == FUSE_WRITE;

	CHECK(context == &waiters);
	check_request(request);
	pthread_mutex_lock(&lock);
	CHECK(n_begun < N_MAX);
	begun[n_begun++] = request->unique & ~SHELF_RESENT;
	n_writes_now += is_write;
	n_writes_most = (unsigned int)zr_max(n_writes_most, n_writes_now);
	pthread_cond_broadcast(&changed);
	while ((request->unique & ~SHELF_RESENT) <= stuck_to)
		pthread_cond_wait(&changed, &lock);
	n_writes_now -= is_write;
	++n_times[request->unique & ~SHELF_RESENT];
	++n_done;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void stick(uint64_t to)
{
	pthread_mutex_lock(&lock);
	stuck_to = to;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void wait_for(const unsigned int *count, unsigned int n)
{
	pthread_mutex_lock(&lock);
	while (*count < n)
		pthread_cond_wait(&changed, &lock);
	CHECK(*count == n);
	pthread_mutex_unlock(&lock);
}

/* rig */

static void set_up(void)
{
	n_begun = n_done = n_writes_now = n_writes_most = 0;
	memset(n_times, 0, sizeof(n_times));
	memset((void *)seats, 0, sizeof(seats));
	memset((void *)&own_seat, 0, sizeof(own_seat));
	stuck_to = 0;
	waiters_init(&waiters, seats, serve, &waiters);
	CHECK(waiters_start(&waiters, N_REQUESTS, N_BYTES) == 0);
}

/* Requests 1 to @n were done, once each. */
static void tear_down(unsigned int n)
{
	unsigned int i;

	stick(0);
	waiters_stop(&waiters);
	CHECK(n_done == n && n_begun == n);
	for (i = 1; i <= n; ++i)
		CHECK(n_times[i] == 1);
	for (i = 0; i < WAITERS; ++i)
		CHECK(atomic_load(&seats[i].unique) == 0);
}

static struct waited request(uint32_t opcode, uint64_t unique, uint32_t n_bytes)
{
	return (struct waited){ .unique = unique | SHELF_RESENT,
				.node = 256,
				.opcode = opcode,
				.n_bytes = n_bytes,
				.offset = unique * 3,
				.begin_ns = (int64_t)unique };
}

static void read_post(uint64_t unique)
{
	const struct waited read = request(FUSE_READ, unique, N_BYTES);

	CHECK(waiters_post(&waiters, &read, false));
}

/* The bytes are the caller's again when it returns. */
static void write_post_from(uint8_t *from, uint64_t unique, uint32_t n_bytes)
{
	struct waited write = request(FUSE_WRITE, unique, n_bytes);
	size_t i;

	for (i = 0; i < n_bytes; ++i)
		from[i] = byte_of(unique, i);
	write.bytes = from;
	CHECK(waiters_post(&waiters, &write, false));
	memset(from, 0xa5, n_bytes);
}

static void write_post(uint64_t unique, uint32_t n_bytes)
{
	write_post_from(bytes, unique, n_bytes);
}

/* who is not there */

static void test_nobody_is_there(void)
{
	const struct waited read = request(FUSE_READ, 1, 1);

	waiters_init(&waiters, seats, serve, &waiters);
	CHECK(!waiters_post(&waiters, &read, false));
	CHECK(waiters_are_idle(&waiters) && !waiters_have(&waiters, 1));
	waiters_calm(&waiters);
	waiters_stop(&waiters);
}

static void test_started_again(void)
{
	set_up();
	CHECK(waiters_start(&waiters, N_REQUESTS, N_BYTES) == 0);
	CHECK(waiters.n_threads == WAITERS);
	waiters_calm(&waiters);
	read_post(1);
	wait_for(&n_done, 1);
	tear_down(1);
}

/* order */

static void test_more_requests_than_waiters(void)
{
	const unsigned int n = 200;
	unsigned int i;

	set_up();
	stick(ALL);
	for (i = 1; i <= WAITERS; ++i) {
		read_post(i);
		wait_for(&n_begun, i);
	}
	for (; i <= n; ++i) {
		read_post(i);
		CHECK(waiters_have(&waiters, i) && !is_in_a_seat(i));
	}
	CHECK(!waiters_have(&waiters, 1) && !waiters_are_idle(&waiters));
	CHECK(n_begun == WAITERS);

	/* By one, the others being stuck: as they came. */
	stick(WAITERS - 1);
	wait_for(&n_done, n - (WAITERS - 1));
	for (i = WAITERS; i < n; ++i)
		CHECK(begun[i] == i + 1);
	stick(0);
	wait_for(&n_done, n);
	while (!waiters_are_idle(&waiters))
		usleep(100);
	tear_down(n);
}

static void test_some_are_kept_from_writes(void)
{
	unsigned int i;

	set_up();
	stick(ALL);
	for (i = 1; i <= WAITERS_WRITING; ++i)
		write_post(i, 1);
	wait_for(&n_begun, WAITERS_WRITING);
	for (; i < WAITERS; ++i)
		read_post(i);
	wait_for(&n_begun, WAITERS - 1);
	/* A write that came before is not begun, a read that came later is. */
	write_post(WAITERS, 100);
	read_post(WAITERS + 1);
	wait_for(&n_begun, WAITERS);
	CHECK(begun[WAITERS - 1] == WAITERS + 1);
	CHECK(waiters_have(&waiters, WAITERS));
	stick(0);
	wait_for(&n_done, WAITERS + 1);
	CHECK(n_writes_most == WAITERS_WRITING);
	tear_down(WAITERS + 1);
}

/* bytes */

static void test_bytes_of_a_write_are_its_own(void)
{
	static const uint32_t sizes[] = { 1, 511, 4096, 4097, N_BYTES - 1, N_BYTES };
	struct rng rng = rng_init("bytes");
	unsigned int i;

	set_up();
	for (i = 1; i <= 2000; ++i) {
		if (i % 3 == 0)
			read_post(i);
		else
			write_post(i, i % 5 == 0 ? (uint32_t)rng_below(&rng, N_BYTES) + 1
						 : sizes[rng_below(&rng, ZR_ARRAY_SIZE(sizes))]);
	}
	wait_for(&n_done, 2000);
	CHECK(waiters.n_parked == 0);
	tear_down(2000);
}

static void test_what_stays_is_not_copied(void)
{
	static uint8_t reply[N_BYTES], data[N_ASIDE * 2][N_BYTES];
	struct waited stays = request(FUSE_READ, 1, N_BYTES);
	unsigned int i, j;

	set_up();
	stays.bytes = reply;
	CHECK(waiters_post(&waiters, &stays, true));
	wait_for(&n_done, 1);
	CHECK(bytes_are(reply, 1, sizeof(reply)));

	/* More than would fit aside, and nobody waits. */
	stick(ALL);
	for (i = 0; i < ZR_ARRAY_SIZE(data); ++i) {
		for (j = 0; j < N_BYTES; ++j)
			data[i][j] = byte_of(i + 2, j);
		stays = request(FUSE_WRITE, i + 2, N_BYTES);
		stays.bytes = data[i];
		CHECK(waiters_post(&waiters, &stays, true));
	}
	CHECK(waiters.n_parked == 0);
	tear_down(1 + ZR_ARRAY_SIZE(data));
}

/* room */

struct poster {
	pthread_t thread;
	uint64_t unique;
	uint32_t n_bytes; /* of a write; 0: a read */
	_Atomic bool has_posted;
	uint8_t bytes[N_BYTES];
};

static void *post(void *context)
{
	struct poster *poster = context;

	if (poster->n_bytes > 0) {
		write_post_from(poster->bytes, poster->unique, poster->n_bytes);
	} else {
		thread_self.seat = &own_seat;
		read_post(poster->unique);
	}
	atomic_store(&poster->has_posted, true);
	return NULL;
}

static void poster_start(struct poster *poster, uint64_t unique, uint32_t n_bytes)
{
	poster->unique = unique;
	poster->n_bytes = n_bytes;
	atomic_store(&poster->has_posted, false);
	CHECK(pthread_create(&poster->thread, NULL, post, poster) == 0);
}

static uint64_t writes_waiting(void)
{
	uint64_t n;

	pthread_mutex_lock(&waiters.lock);
	n = waiters.n_waiting - waiters.n_let_in;
	pthread_mutex_unlock(&waiters.lock);
	return n;
}

static void test_writes_wait_for_room_in_their_order(void)
{
	static struct poster large, small;
	unsigned int i, n = WAITERS_WRITING + N_ASIDE;

	set_up();
	stick(ALL);
	for (i = 1; i <= n; ++i) {
		write_post(i, N_BYTES);
		if (i <= WAITERS_WRITING)
			wait_for(&n_begun, i);
	}
	poster_start(&large, n + 1, N_BYTES);
	while (writes_waiting() != 1)
		usleep(100);
	poster_start(&small, n + 2, 1);
	while (writes_waiting() != 2)
		usleep(100);
	usleep(1000);
	CHECK(!large.has_posted && !small.has_posted);

	/* Reads go on meanwhile: those who do no writes are there for them. */
	read_post(n + 3);
	wait_for(&n_begun, WAITERS_WRITING + 1);
	CHECK(begun[WAITERS_WRITING] == n + 3);

	/* One who does writes goes on. */
	stick(WAITERS_WRITING - 1);
	CHECK(pthread_join(large.thread, NULL) == 0 && pthread_join(small.thread, NULL) == 0);
	wait_for(&n_done, n + 3 - (WAITERS_WRITING - 1));
	for (i = 1; i <= N_ASIDE; ++i)
		CHECK(begun[WAITERS_WRITING + i] == WAITERS_WRITING + i);
	CHECK(begun[n + 1] == n + 1 && begun[n + 2] == n + 2);
	tear_down(n + 3);
}

static void test_who_finds_no_entry_waits_and_is_no_hang(void)
{
	static struct poster late;
	unsigned int i;
	uint64_t n_noted;

	set_up();
	stick(ALL);
	for (i = 1; i <= WAITERS; ++i) {
		read_post(i);
		wait_for(&n_begun, i);
	}
	for (; i <= WAITERS + N_ENTRIES; ++i)
		read_post(i);
	poster_start(&late, i, 0);
	/* Once a second and more often, for as long as it waits. */
	while (atomic_load(&own_seat.n_done) == 0)
		usleep(1000);
	n_noted = atomic_load(&own_seat.n_done);
	while (atomic_load(&own_seat.n_done) == n_noted)
		usleep(1000);
	CHECK(atomic_load(&own_seat.is_long) && !late.has_posted);
	stick(0);
	CHECK(pthread_join(late.thread, NULL) == 0);
	wait_for(&n_done, i);
	tear_down(i);
}

/* the end */

static void test_stopped_with_requests_queued(void)
{
	unsigned int i;

	for (i = 0; i < 20; ++i) {
		unsigned int n;

		set_up();
		stick(i % 2 ? ALL : 0);
		for (n = 1; n <= 50; ++n) {
			if (n % 4 == 0 && n < 12 + i)
				write_post(n, 1000 + n);
			else
				read_post(n);
		}
		tear_down(50);
	}
}

/* many at once */

static void *post_many(void *context)
{
	struct poster *poster = context;
	unsigned int i;

	for (i = 0; i < 500; ++i, poster->unique += 4) {
		if (i % 2)
			read_post(poster->unique);
		else
			write_post_from(poster->bytes, poster->unique,
					(uint32_t)(poster->unique * 977 % N_BYTES) + 1);
	}
	return NULL;
}

static void test_four_who_post(void)
{
	static struct poster posters[4];
	unsigned int i;

	set_up();
	for (i = 0; i < 4; ++i) {
		posters[i].unique = i + 1;
		CHECK(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]) == 0);
	}
	for (i = 0; i < 4; ++i)
		CHECK(pthread_join(posters[i].thread, NULL) == 0);
	wait_for(&n_done, 2000);
	CHECK(n_writes_most <= WAITERS_WRITING);
	tear_down(2000);
}

int main(void)
{
	RUN(test_nobody_is_there);
	RUN(test_started_again);
	RUN(test_more_requests_than_waiters);
	RUN(test_some_are_kept_from_writes);
	RUN(test_bytes_of_a_write_are_its_own);
	RUN(test_what_stays_is_not_copied);
	RUN(test_writes_wait_for_room_in_their_order);
	RUN(test_who_finds_no_entry_waits_and_is_no_hang);
	RUN(test_stopped_with_requests_queued);
	RUN(test_four_who_post);
	return 0;
}
