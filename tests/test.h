#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What C tests share: checks that are never compiled out, a seeded generator of numbers and pages.
 *
 * A test is a static void test_<what_it_shows>(void); main() lists them with RUN().
 */

#undef NDEBUG

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                        \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fflush(stdout);                                                         \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                \
		}                                                                               \
	} while (0)

#define RUN(test)                         \
	do {                              \
		test();                   \
		printf("ok %s\n", #test); \
	} while (0)

/* fakeroot, in which some build packages, says yes to whoever asks the library. */
static inline bool test_is_root(void)
{
	return syscall(SYS_geteuid) == 0;
}

/* In a child: without the privileges of root, if it had any. */
static inline void test_drop_root(void)
{
	CHECK(!test_is_root() ||
	      (syscall(SYS_setgid, 65534) == 0 && syscall(SYS_setuid, 65534) == 0));
}

struct rng {
	uint64_t state;
};

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
	return rng_next(rng) % bound;
}

/* The seed is SEED of the environment or the clock, and is printed: a failure is one re-run away.
 */
static inline struct rng rng_init(const char *what)
{
	const char *text = getenv("SEED");
	uint64_t seed;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = text ? strtoull(text, NULL, 0)
		    : (uint64_t)now.tv_sec * 1000003u + (uint64_t)now.tv_nsec;
	printf("# %s: SEED=%" PRIu64 "\n", what, seed);
	fflush(stdout);
	return (struct rng){ .state = seed };
}

/* Noise, which does not compress. */
static inline void bytes_random(struct rng *rng, void *bytes, size_t n_bytes)
{
	uint8_t *at = bytes;
	uint64_t word;
	size_t i;

	for (i = 0; i < n_bytes; i += sizeof(word)) {
		word = rng_next(rng);
		memcpy(at + i, &word, n_bytes - i < sizeof(word) ? n_bytes - i : sizeof(word));
	}
}

/* Bytes of which about half repeat: compresses to somewhere between a tenth and the whole. */
static inline void rng_fill_mixed(struct rng *rng, void *bytes, size_t n_bytes)
{
	uint8_t *at = bytes;
	size_t n_random = rng_below(rng, n_bytes + 1), i;

	for (i = 0; i < n_bytes; ++i)
		at[i] = i < n_random ? (uint8_t)rng_next(rng) : (uint8_t)(i / 7);
}
