/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "checker.h"

#include <err.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "page.h"

/* Pages. A cluster of swap slots, which is discarded at once when it is free, is 512. */
#define DROP_PAGES  1024u
#define DROP_ONE_IN 512u /* runs */
#define RUN_SHIFTS  6u   /* runs of 1, 2, 4 ... 32 pages */

#define MAX_THREADS 16u

struct range {
	struct board *board;
	uint64_t *memory;  /* of all ranges */
	uint32_t *rounds;  /* by page; 0: not filled, zeros */
	uint64_t begin, n; /* pages */
	uint64_t random;
	pthread_t thread;
};

static uint64_t *page_at(const struct range *range, uint64_t number)
{
	return range->memory + number * PAGE_WORDS;
}

static void report_bad(struct board *board, const struct bad_page *bad)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	uint64_t n_bad;

	pthread_mutex_lock(&lock);
	n_bad = atomic_load(&board->n_bad);
	if (n_bad < BOARD_BAD_PAGES)
		board->bad[n_bad] = *bad;
	atomic_store(&board->n_bad, n_bad + 1);
	pthread_mutex_unlock(&lock);
}

static void write_page(struct range *range, uint64_t number)
{
	page_make(page_at(range, number), number, ++range->rounds[number]);
	atomic_fetch_add(&range->board->n_written, 1);
}

/* A bad page is reported once: it is written anew, and what becomes of that is another matter. */
static void verify_page(struct range *range, uint64_t number)
{
	struct bad_page bad;

	if (!page_verify(page_at(range, number), number, range->rounds[number], &bad)) {
		report_bad(range->board, &bad);
		write_page(range, number);
	}
	atomic_fetch_add(&range->board->n_verified, 1);
}

static void verify_zeros(struct range *range, uint64_t number)
{
	const uint64_t *words = page_at(range, number);

	for (uint64_t i = 0; i < PAGE_WORDS; ++i) {
		if (words[i] == 0)
			continue;
		report_bad(range->board, &(struct bad_page){ .number = number,
							     .offset = i * sizeof(*words),
							     .found = words[i] });
		return;
	}
}

static void drop_run(struct range *range)
{
	const uint64_t n = range->n < DROP_PAGES ? range->n : DROP_PAGES;
	const uint64_t begin = range->begin + random_next(&range->random) % (range->n - n + 1);

	if (madvise(page_at(range, begin), n * PAGE_BYTES, MADV_DONTNEED) < 0)
		err(2, "checker: cannot drop pages");
	for (uint64_t number = begin; number < begin + n; ++number) {
		verify_zeros(range, number);
		write_page(range, number);
	}
	atomic_fetch_add(&range->board->n_dropped, n);
}

static void check_run(struct range *range)
{
	const uint64_t begin = range->begin + random_next(&range->random) % range->n;
	const uint64_t n_wanted = (uint64_t)1 << random_next(&range->random) % RUN_SHIFTS;
	const uint64_t end = range->begin + range->n;

	for (uint64_t number = begin; number < begin + n_wanted && number < end; ++number) {
		verify_page(range, number);
		if (random_next(&range->random) % 2)
			write_page(range, number);
	}
}

static void *range_run(void *argument)
{
	struct range *range = argument;
	const uint64_t end = range->begin + range->n;

	for (uint64_t number = range->begin; number < end; ++number) {
		write_page(range, number);
		atomic_fetch_add(&range->board->n_filled, 1);
	}
	while (atomic_load(&range->board->phase) < PHASE_LAST) {
		if (random_next(&range->random) % DROP_ONE_IN == 0)
			drop_run(range);
		else
			check_run(range);
	}
	for (uint64_t number = range->begin; number < end; number += range->board->stride)
		verify_page(range, number);
	return NULL;
}

static void *map(uint64_t n_bytes)
{
	void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		err(2, "checker: no %llu bytes", (unsigned long long)n_bytes);
	return memory;
}

void checker_run(struct board *board, uint64_t n_pages, unsigned int n_threads)
{
	struct range ranges[MAX_THREADS];
	uint64_t *memory = map(n_pages * PAGE_BYTES);
	uint32_t *rounds = map(n_pages * sizeof(*rounds));

	if (n_threads > MAX_THREADS)
		errx(2, "checker: at most %u threads", MAX_THREADS);
	if (mlock(rounds, n_pages * sizeof(*rounds)) < 0)
		err(2, "checker: cannot lock %llu bytes",
		    (unsigned long long)(n_pages * sizeof(*rounds)));
	for (unsigned int i = 0; i < n_threads; ++i) {
		ranges[i] = (struct range){
			.board = board,
			.memory = memory,
			.rounds = rounds,
			.begin = n_pages * i / n_threads,
			.n = n_pages * (i + 1) / n_threads - n_pages * i / n_threads,
			.random = 0x9e3779b97f4a7c15u * (i + 1),
		};
		if (pthread_create(&ranges[i].thread, NULL, range_run, &ranges[i]) != 0)
			errx(2, "checker: no thread");
	}
	for (unsigned int i = 0; i < n_threads; ++i)
		pthread_join(ranges[i].thread, NULL);
	exit(atomic_load(&board->n_bad) != 0);
}
