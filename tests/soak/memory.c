/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Changes and checks its memory, which is to be larger than it may have.
 *
 * A part of it is asked to go after each step, so that pages are on their way out all the time, and
 * not only when the limit is reached. Each page is of one thread. The round that is in each page is
 * noted in memory that stays: a page that comes back from swap as it was a round ago is found out.
 */

#include "load.h"
#include "page.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "test.h"

#define N_THREADS 2u
#define MIB_MAX   4096u
#define RUN_PAGES 64u
#define KEY       7u

static uint8_t *memory;
static uint32_t *rounds; /* locked */
static unsigned int n_pages;
static uint64_t seed;
static _Atomic uint64_t n_changed, n_checked;

static void check(unsigned int page)
{
	const char *wrong;

	wrong = page_check(memory + (size_t)page * PAGE_BYTES,
			   (struct page_name){ .key = KEY, .no = page }, rounds[page], rounds[page],
			   rounds[page] == 0, NULL);
	if (wrong)
		load_fail("page %u of memory %s", page, wrong);
	atomic_fetch_add(&n_checked, 1);
}

static void change(unsigned int page)
{
	page_make(memory + (size_t)page * PAGE_BYTES, (struct page_name){ .key = KEY, .no = page },
		  ++rounds[page]);
	atomic_fetch_add(&n_changed, 1);
}

static void page_out(unsigned int page)
{
	if (madvise(memory + (size_t)page * PAGE_BYTES, (size_t)RUN_PAGES * PAGE_BYTES,
		    MADV_PAGEOUT) < 0)
		load_fail("madvise: %s", strerror(errno));
}

/* A short run of pages anywhere, as programs do it; half of the runs only look. */
static void run(unsigned int no)
{
	const unsigned int n_own = n_pages / N_THREADS, first = no * n_own;
	struct rng rng = { .state = seed + no };
	unsigned int page, i;

	for (i = 0; i < n_own; ++i)
		change(first + i);
	while (load_goes_on()) {
		const bool changes = rng_below(&rng, 2);

		page = first + (unsigned int)rng_below(&rng, n_own - RUN_PAGES);
		load_asks(no, "page of memory", page);
		for (i = 0; i < RUN_PAGES; ++i) {
			check(page + i);
			if (changes)
				change(page + i);
		}
		page_out(first + (unsigned int)rng_below(&rng, n_own - RUN_PAGES));
		load_has(no);
	}
	for (i = 0; i < n_own; ++i)
		check(first + i);
}

static void *reserve(size_t n_bytes)
{
	void *bytes = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			   0);

	if (bytes == MAP_FAILED)
		load_fail("no memory: %s", strerror(errno));
	return bytes;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		load_fail("usage: memory MIB");
	load_init();
	seed = rng_init("memory").state;
	n_pages = load_number(argv[1], MIB_MAX) * (1048576 / PAGE_BYTES);
	memory = reserve((size_t)n_pages * PAGE_BYTES);
	rounds = reserve(n_pages * sizeof(*rounds));
	/* Whole pages of 2 MiB would be swapped as such, and are another test. */
	(void)madvise(memory, (size_t)n_pages * PAGE_BYTES, MADV_NOHUGEPAGE);
	if (mlock(rounds, n_pages * sizeof(*rounds)) < 0)
		load_fail("mlock: %s", strerror(errno));

	load_run(N_THREADS, run);
	printf("%llu pages changed, %llu checked\n", (unsigned long long)n_changed,
	       (unsigned long long)n_checked);
	return EXIT_SUCCESS;
}
