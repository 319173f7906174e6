/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What waits until disks may be changed: none of it is lost, none is served twice, what is put
 * aside comes back as it was read and in its order; and who found no room waits, and serves its own
 * in the end.
 */

#include "held.h"

#include <stdatomic.h>

#include "safety.h"
#include "test.h"

#define N_THREADS 4u
#define LARGE     (THREAD_REPLY_BYTES + 4096u)
#define N_ROOM    2u /* for the largest */
#define N_ROOM    2u /* for the largest */

void safety_buffer_refused(size_t n_bytes)
{
}

static struct held held;
static uint8_t large[LARGE];

/* Never looked into. */
static struct record *record_of(uint64_t unique)
{
	return (struct record *)(uintptr_t)(unique * 8);
}

/* As if the calling thread had read it: its bytes say which it is. */
static void read_one(uint8_t *request, size_t n_request, uint64_t unique)
{
	memset(request, (int)(unique * 7 % 251), n_request);
	thread_self.unique = unique;
	thread_self.is_resent = unique % 2;
	thread_self.record = unique % 3 == 0 ? record_of(unique) : NULL;
}

static void check_one(const uint8_t *request, size_t n_request, uint64_t unique)
{
	size_t i;

	for (i = 0; i < n_request; ++i)
		CHECK(request[i] == (uint8_t)(unique * 7 % 251));
	CHECK(thread_self.unique == unique);
	CHECK(thread_self.is_resent == unique % 2);
	CHECK(thread_self.record == (unique % 3 == 0 ? record_of(unique) : NULL));
}

static void test_nothing_held(void)
{
	size_t n_request;

	CHECK(held_init(&held, N_THREADS) == 0);
	CHECK(held_end(&held));
	CHECK(!held_end(&held));
	read_one(large, 100, 1);
	CHECK(!held_put(&held, large, 100));
	CHECK(!held_take(&held, &n_request));
	CHECK(!held.memory.bytes);
	held_deinit(&held);
}

static void test_what_was_put_comes_back_in_order(void)
{
	static const size_t sizes[] = { 1, 7, 8, 56, 80, 4096 + 80, 65536, 131072 + 80 };
	const uint8_t *request;
	uint64_t unique;
	size_t n_request;

	CHECK(held_init(&held, N_THREADS) == 0);
	for (unique = 1; unique <= ZR_ARRAY_SIZE(sizes); ++unique) {
		read_one(large, sizes[unique - 1], unique);
		CHECK(held_put(&held, large, sizes[unique - 1]));
		CHECK(!thread_self.record); /* it has another owner now */
	}
	CHECK(held_end(&held));
	for (unique = 1; unique <= ZR_ARRAY_SIZE(sizes); ++unique) {
		request = held_take(&held, &n_request);
		CHECK(request && (uintptr_t)request % 8 == 0 && n_request == sizes[unique - 1]);
		check_one(request, n_request, unique);
	}
	CHECK(!held_take(&held, &n_request));
	CHECK(!held.memory.bytes); /* it is there for this alone */
	held_deinit(&held);
}

static void test_never_ended(void)
{
	CHECK(held_init(&held, N_THREADS) == 0);
	read_one(large, LARGE, 3);
	CHECK(held_put(&held, large, LARGE));
	held_deinit(&held);
}

static void test_two_of_the_largest(void)
{
	const uint8_t *request;
	size_t n_request;
	unsigned int i;

	CHECK(held_init(&held, N_THREADS) == 0);
	for (i = 1; i <= N_ROOM; ++i) {
		read_one(large, LARGE, i);
		CHECK(held_put(&held, large, LARGE));
	}
	CHECK(held_end(&held));
	for (i = 1; i <= N_ROOM; ++i) {
		request = held_take(&held, &n_request);
		CHECK(request && n_request == LARGE);
		check_one(request, n_request, i);
	}
	held_deinit(&held);
}

/* more than there is room for: so much that no thread ends before */

#define N_EACH 5u

static _Atomic unsigned int n_put, n_own, n_begun;

static void *put_many(void *context)
{
	const uint64_t first = *(const uint64_t *)context;
	uint8_t *request = malloc(LARGE);
	uint64_t unique;

	CHECK(request);
	for (unique = first; unique < first + N_EACH; ++unique) {
		read_one(request, LARGE, unique);
		atomic_fetch_add(&n_begun, 1);
		if (held_put(&held, request, LARGE)) {
			atomic_fetch_add(&n_put, 1);
			continue;
		}
		/* Its own still, and only now that nothing is held. */
		CHECK(!atomic_load(&held.is_on));
		check_one(request, LARGE, unique);
		atomic_fetch_add(&n_own, 1);
	}
	free(request);
	return NULL;
}

static void test_who_finds_no_room_waits(void)
{
	uint64_t firsts[N_THREADS] = { 1, 101, 201, 301 }, last[N_THREADS] = { 0 };
	pthread_t threads[N_THREADS];
	unsigned int i, n_taken = 0;
	const uint8_t *request;
	size_t n_request;

	CHECK(held_init(&held, N_THREADS) == 0);
	for (i = 0; i < N_THREADS; ++i)
		CHECK(pthread_create(&threads[i], NULL, put_many, &firsts[i]) == 0);
	/* As many as there is room for are put aside, and then each of the threads stands with one more. */
	while (atomic_load(&n_begun) < N_ROOM + N_THREADS)
		sched_yield();
	CHECK(atomic_load(&n_own) == 0);

	CHECK(held_end(&held));
	while ((request = held_take(&held, &n_request))) {
		check_one(request, n_request, thread_self.unique);
		/* One after another, as its thread has read them. */
		CHECK(last[thread_self.unique / 100] < thread_self.unique);
		last[thread_self.unique / 100] = thread_self.unique;
		++n_taken;
	}
	for (i = 0; i < N_THREADS; ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(n_taken == N_ROOM && n_put == N_ROOM && n_own == N_EACH * N_THREADS - N_ROOM);
	held_deinit(&held);
}

/* Somebody must go on reading: there may be a read behind, that the others wait for. */
static void test_the_last_thread_does_not_wait(void)
{
	unsigned int i;

	CHECK(held_init(&held, 0) == 0);
	for (i = 0; i < N_ROOM; ++i) {
		read_one(large, LARGE, i + 1);
		if (!held_put(&held, large, LARGE))
			break;
	}
	read_one(large, LARGE, 99);
	CHECK(!held_put(&held, large, LARGE));
	check_one(large, LARGE, 99);
	CHECK(held_end(&held));
	held_deinit(&held);
}

int main(void)
{
	RUN(test_nothing_held);
	RUN(test_what_was_put_comes_back_in_order);
	RUN(test_never_ended);
	RUN(test_two_of_the_largest);
	RUN(test_who_finds_no_room_waits);
	RUN(test_the_last_thread_does_not_wait);
	return 0;
}
