/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What it costs to note how long a request took: the note alone, by one thread and by two that note
 * in the same place, and the two looks at the clock that go with it.
 */

#include "latency.h"

#include <pthread.h>
#include <stdio.h>

#include "sync.h"

#define N_NOTES   UINT64_C(20000000)
#define N_THREADS 2u
#define N_ROUNDS  5u

static struct zr_latency latency;
static pthread_barrier_t barrier;
static _Atomic uint64_t looks;

/* Times as requests take them, spread over a few buckets. */
static void note(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; ++i)
		zr_latency_add(&latency, 4000 + (i * 977 & 16383));
}

static void look(uint64_t n)
{
	uint64_t i, sum = 0;

	for (i = 0; i < n; ++i) {
		const int64_t began_ns = zr_monotonic_ns();

		sum += (uint64_t)(zr_monotonic_ns() - began_ns);
	}
	looks += sum;
}

static void *run(void *context)
{
	void (*const *work)(uint64_t n) = context;

	pthread_barrier_wait(&barrier);
	(*work)(N_NOTES);
	pthread_barrier_wait(&barrier);
	return NULL;
}

/* The best of some rounds. Return: ns for each, by @n_threads at once. */
static double measure(void (*work)(uint64_t n), unsigned int n_threads)
{
	pthread_t threads[N_THREADS];
	int64_t best_ns = INT64_MAX;
	unsigned int i, round;

	for (round = 0; round < N_ROUNDS; ++round) {
		int64_t began_ns;

		zr_must(pthread_barrier_init(&barrier, NULL, n_threads + 1));
		for (i = 0; i < n_threads; ++i)
			zr_must(pthread_create(&threads[i], NULL, run, &work));
		began_ns = zr_monotonic_ns();
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		best_ns = (int64_t)zr_min((uint64_t)best_ns,
					  (uint64_t)(zr_monotonic_ns() - began_ns));
		for (i = 0; i < n_threads; ++i)
			zr_must(pthread_join(threads[i], NULL));
		zr_must(pthread_barrier_destroy(&barrier));
	}
	return (double)best_ns / (double)N_NOTES;
}

int main(void)
{
	printf("%-34s %9s %9s\n", "ns each", "1 thread", "2 threads");
	printf("%-34s %9.1f %9.1f\n", "a note", measure(note, 1), measure(note, N_THREADS));
	printf("%-34s %9.1f %9.1f\n", "the clock, before and after", measure(look, 1),
	       measure(look, N_THREADS));
	return 0;
}
