/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "hog.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "page.h"

void hog_run(struct board *board, uint64_t n_pages)
{
	struct timespec now;
	uint64_t state;
	uint64_t *words = mmap(NULL, n_pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (words == MAP_FAILED)
		_exit(2);
	clock_gettime(CLOCK_MONOTONIC, &now);
	state = (uint64_t)now.tv_nsec << 1 | 1;
	for (uint64_t n_done = 1; n_done <= n_pages; ++n_done) {
		for (uint64_t i = 0; i < PAGE_WORDS; ++i)
			*words++ = random_next(&state);
		atomic_store(&board->n_hogged, n_done);
	}
	_exit(0);
}
