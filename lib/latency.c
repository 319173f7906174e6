/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "latency.h"

/* Buckets of a power of two, and the bits that choose one of them. */
#define STEPS     4u
#define STEP_BITS 2u

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int shift;

	if (ns >> ZR_LATENCY_SHIFT_MIN == 0)
		return 0;
	if (ns >> ZR_LATENCY_SHIFT_MAX != 0)
		return ZR_LATENCY_BUCKETS - 1;

	shift = 63 - (unsigned int)__builtin_clzll(ns);
	return STEPS * (shift - ZR_LATENCY_SHIFT_MIN) +
	       (unsigned int)(ns >> (shift - STEP_BITS) & (STEPS - 1));
}

/* Where the next bucket begins, or would. */
static uint64_t bucket_end(unsigned int bucket)
{
	const unsigned int shift = ZR_LATENCY_SHIFT_MIN + bucket / STEPS;

	return (uint64_t)(STEPS + bucket % STEPS + 1) << (shift - STEP_BITS);
}

static uint64_t word_get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

void zr_latency_add(struct zr_latency *latency, uint64_t ns)
{
	uint64_t seen = word_get(&latency->max_ns);

	/* The most rises seldom: usually this is one look. */
	while (seen < ns &&
	       !atomic_compare_exchange_weak_explicit(&latency->max_ns, &seen, ns,
						      memory_order_relaxed, memory_order_relaxed))
		;
	atomic_fetch_add_explicit(&latency->sum_ns, ns, memory_order_relaxed);
	atomic_fetch_add_explicit(&latency->buckets[bucket_of(ns)], 1, memory_order_relaxed);
}

void zr_latency_clear(struct zr_latency *latency)
{
	unsigned int i;

	for (i = 0; i < ZR_LATENCY_BUCKETS; ++i)
		atomic_store_explicit(&latency->buckets[i], 0, memory_order_relaxed);
	atomic_store_explicit(&latency->sum_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&latency->max_ns, 0, memory_order_relaxed);
}

/* How long the one took that is slower than @percent of them, itself among these. */
static uint64_t percentile(const struct zr_latency_figures *figures, unsigned int percent)
{
	/* ceil(count * percent / 100), for counts of any size */
	const uint64_t rank = figures->count / 100 * percent +
			      (figures->count % 100 * percent + 99) / 100;
	uint64_t n_below = 0;
	unsigned int i;

	if (rank == 0)
		return 0;
	/* The last bucket has no end. */
	for (i = 0; i < ZR_LATENCY_BUCKETS - 1; ++i) {
		n_below += figures->buckets[i];
		if (n_below >= rank)
			return zr_min(bucket_end(i), figures->max_ns);
	}
	return figures->max_ns;
}

void zr_latency_figures(const struct zr_latency *latency, struct zr_latency_figures *figures)
{
	unsigned int i;

	figures->count = 0;
	for (i = 0; i < ZR_LATENCY_BUCKETS; ++i) {
		figures->buckets[i] = word_get(&latency->buckets[i]);
		figures->count += figures->buckets[i];
	}
	figures->sum_ns = word_get(&latency->sum_ns);
	figures->max_ns = word_get(&latency->max_ns);
	figures->p50_ns = percentile(figures, 50);
	figures->p90_ns = percentile(figures, 90);
	figures->p99_ns = percentile(figures, 99);
}

uint64_t zr_latency_below(const struct zr_latency_figures *figures, uint64_t ns)
{
	uint64_t n_below = 0;
	unsigned int i;

	for (i = 0; i < ZR_LATENCY_BUCKETS && bucket_end(i) <= ns; ++i)
		n_below += figures->buckets[i];
	return n_below;
}
