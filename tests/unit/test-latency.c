/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Latencies against the times themselves, sorted: what a percentile says is at least what it was,
 * and a quarter more at most.
 */

#include "latency.h"

#include <pthread.h>

#include "test.h"

#define N_TIMES   5000u
#define N_THREADS 4u

static struct zr_latency latency;

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void test_nothing_took_no_time(void)
{
	struct zr_latency_figures figures;
	unsigned int i;

	zr_latency_clear(&latency);
	memset(&figures, 0xff, sizeof(figures));
	zr_latency_figures(&latency, &figures);
	CHECK(figures.count == 0 && figures.sum_ns == 0 && figures.max_ns == 0);
	CHECK(figures.p50_ns == 0 && figures.p90_ns == 0 && figures.p99_ns == 0);
	for (i = 0; i < ZR_LATENCY_BUCKETS; ++i)
		CHECK(figures.buckets[i] == 0);
	CHECK(zr_latency_below(&figures, UINT64_MAX) == 0);
}

/* Where one that took @ns is counted. */
static unsigned int bucket_of(uint64_t ns)
{
	struct zr_latency_figures figures;
	unsigned int i = 0;

	zr_latency_clear(&latency);
	zr_latency_add(&latency, ns);
	zr_latency_figures(&latency, &figures);
	CHECK(figures.count == 1 && figures.sum_ns == ns && figures.max_ns == ns);
	/* Of one, all percentiles are that one. */
	CHECK(figures.p50_ns == ns && figures.p90_ns == ns && figures.p99_ns == ns);
	while (figures.buckets[i] == 0)
		++i;
	CHECK(figures.buckets[i] == 1);
	return i;
}

/* 256 to 319, 320 to 383, 384 to 447, 448 to 511, 512 to 639, ... */
static void test_buckets_are_quarters_of_powers(void)
{
	uint64_t begin = 256, step = 64;
	unsigned int i;

	CHECK(bucket_of(0) == 0 && bucket_of(1) == 0 && bucket_of(255) == 0);
	for (i = 0; i < ZR_LATENCY_BUCKETS; ++i) {
		CHECK(bucket_of(begin) == i);
		CHECK(bucket_of(begin + step - 1) == i);
		begin += step;
		if (i % 4 == 3)
			step *= 2;
	}
	CHECK(begin == UINT64_C(1) << ZR_LATENCY_SHIFT_MAX);
	CHECK(bucket_of(begin) == ZR_LATENCY_BUCKETS - 1);
	CHECK(bucket_of(UINT64_MAX) == ZR_LATENCY_BUCKETS - 1);
}

/* The smallest that @percent of them do not exceed. */
static uint64_t nearest_rank(const uint64_t *times, unsigned int n, unsigned int percent)
{
	return times[(n * percent + 99) / 100 - 1];
}

static void check_percentile(uint64_t said_ns, uint64_t was_ns, uint64_t most_ns)
{
	CHECK(said_ns >= was_ns && said_ns <= most_ns);
	CHECK(said_ns <= zr_max(320, was_ns + was_ns / 4 + 1));
}

static void check_times(uint64_t *times, unsigned int n)
{
	struct zr_latency_figures figures;
	uint64_t sum_ns = 0;
	unsigned int i, shift, n_below;

	zr_latency_clear(&latency);
	for (i = 0; i < n; ++i) {
		zr_latency_add(&latency, times[i]);
		sum_ns += times[i];
	}
	qsort(times, n, sizeof(*times), compare);
	zr_latency_figures(&latency, &figures);
	CHECK(figures.count == n && figures.sum_ns == sum_ns && figures.max_ns == times[n - 1]);
	CHECK(figures.p50_ns <= figures.p90_ns && figures.p90_ns <= figures.p99_ns);
	check_percentile(figures.p50_ns, nearest_rank(times, n, 50), times[n - 1]);
	check_percentile(figures.p90_ns, nearest_rank(times, n, 90), times[n - 1]);
	check_percentile(figures.p99_ns, nearest_rank(times, n, 99), times[n - 1]);

	for (shift = ZR_LATENCY_SHIFT_MIN + 1; shift <= ZR_LATENCY_SHIFT_MAX; ++shift) {
		for (n_below = 0; n_below < n && times[n_below] < UINT64_C(1) << shift; ++n_below)
			;
		CHECK(zr_latency_below(&figures, UINT64_C(1) << shift) == n_below);
	}
	CHECK(zr_latency_below(&figures, 1) == 0);
}

static void test_percentiles_are_right_to_a_quarter(void)
{
	struct rng rng = rng_init("test-latency");
	static uint64_t times[N_TIMES];
	unsigned int round, i, n;

	for (round = 0; round < 200; ++round) {
		n = 1 + (unsigned int)rng_below(&rng, round < 150 ? 20 : N_TIMES);
		for (i = 0; i < n; ++i)
			times[i] = rng_next(&rng) >> (29 + rng_below(&rng, 35));
		check_times(times, n);
	}
}

static void test_the_last_bucket_has_no_end(void)
{
	struct zr_latency_figures figures;
	const uint64_t long_ns = UINT64_C(1) << 40;

	zr_latency_clear(&latency);
	zr_latency_add(&latency, 1000);
	zr_latency_add(&latency, long_ns);
	zr_latency_figures(&latency, &figures);
	CHECK(figures.p50_ns == 1024 && figures.p90_ns == long_ns && figures.max_ns == long_ns);
}

static void *add_on(void *context)
{
	const uint64_t first = *(const uint64_t *)context;
	uint64_t i;

	for (i = 0; i < 50000; ++i)
		zr_latency_add(&latency, first + i);
	return NULL;
}

/* None is lost, nor the longest. */
static void test_threads_add_at_once(void)
{
	struct zr_latency_figures figures;
	pthread_t threads[N_THREADS];
	uint64_t firsts[N_THREADS];
	unsigned int i;

	zr_latency_clear(&latency);
	for (i = 0; i < N_THREADS; ++i) {
		firsts[i] = i * UINT64_C(50000);
		CHECK(pthread_create(&threads[i], NULL, add_on, &firsts[i]) == 0);
	}
	for (i = 0; i < N_THREADS; ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	zr_latency_figures(&latency, &figures);
	CHECK(figures.count == 200000 && figures.max_ns == 199999);
	CHECK(figures.sum_ns == UINT64_C(200000) * 199999 / 2);
}

int main(void)
{
	RUN(test_nothing_took_no_time);
	RUN(test_buckets_are_quarters_of_powers);
	RUN(test_percentiles_are_right_to_a_quarter);
	RUN(test_the_last_bucket_has_no_end);
	RUN(test_threads_add_at_once);
	return 0;
}
