#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Latency: how long requests take, as counts on a logarithmic scale
 *
 * Four buckets for each power of two of nanoseconds, so that a percentile is right to a quarter.
 * What is below the first or above the last is counted there. Lives in the store, in a disk's
 * entry: like other counters it outlives a worker.
 *
 *   bucket(ns) = 4 * (floor(log2(ns)) - ZR_LATENCY_SHIFT_MIN) + the two bits below the highest
 *
 * Ownership: embedded.
 * Locking:   none: relaxed atomic words. A copy may miss what is counted meanwhile, but its count
 *            is the sum of its buckets.
 * Errors:    none.
 * Cost:      below 20 ns an addition, two atomic additions and a shift, and twice that where two
 *            threads add at once; see tests/bench/latency.
 */

#include <stdatomic.h>

#include "base.h"

#define ZR_LATENCY_SHIFT_MIN 8u  /* 256 ns */
#define ZR_LATENCY_SHIFT_MAX 35u /* 34 s */
#define ZR_LATENCY_BUCKETS   ((ZR_LATENCY_SHIFT_MAX - ZR_LATENCY_SHIFT_MIN) * 4)

struct zr_latency {
	_Atomic uint64_t buckets[ZR_LATENCY_BUCKETS];
	_Atomic uint64_t sum_ns;
	_Atomic uint64_t max_ns;
};

/* A copy, with what people ask of it. */
struct zr_latency_figures {
	uint64_t buckets[ZR_LATENCY_BUCKETS];
	uint64_t count; /* the sum of the buckets */
	uint64_t sum_ns;
	uint64_t p50_ns, p90_ns, p99_ns,
		max_ns; /* 0 if there were none; p50 <= p90 <= p99 <= max */
};

void zr_latency_add(struct zr_latency *latency, uint64_t ns);
void zr_latency_clear(struct zr_latency *latency);
void zr_latency_figures(const struct zr_latency *latency, struct zr_latency_figures *figures);

/* How many took less than @ns, a power of two. At ZR_LATENCY_SHIFT_MAX it is all, since the last
 * bucket has what took longer too. */
uint64_t zr_latency_below(const struct zr_latency_figures *figures, uint64_t ns);
