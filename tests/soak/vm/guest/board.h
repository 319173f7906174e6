#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Board: what the programs of the guest tell each other.
 *
 * One shared mapping, made before the first of them is forked and locked by the one that prints it.
 * The checker and the hog write what they did, the others what they saw, and the
 * watchdog alone prints: a program that holds the console while it waits for a page that is swapped
 * out would silence all others.
 *
 * Ownership: of the parent of all; it lasts as long as the guest.
 * Locking: none. Each word has one writer or is added to; the words of a bad page are stored before
 * n_bad says that they are there.
 */

#include <stdatomic.h>
#include <stdint.h>

#define PAGE_BYTES 4096u

#define BOARD_BAD_PAGES 16u

enum phase {
	PHASE_FILL,  /* the checker's pages are written for the first time */
	PHASE_CHECK, /* part 1: they are verified and rewritten */
	PHASE_HOG,   /* part 2: somebody else takes all memory there is */
	PHASE_LAST,  /* each page is verified once more */
	PHASE_END,
};

/* What a page that came back wrong was to hold in its first wrong word, and what it held. */
struct bad_page {
	uint64_t number, round, offset, wanted, found;
};

struct board {
	_Atomic int phase;
	uint64_t stride; /* one page in so many is verified in the last phase */

	/* The checker's. */
	_Atomic uint64_t n_filled, n_verified, n_written, n_dropped, n_bad;
	struct bad_page bad[BOARD_BAD_PAGES];

	/* The hog's. */
	_Atomic uint64_t n_hogged; /* pages that the present one has filled */

	/* The killer's. */
	_Atomic int kills_wanted;
	_Atomic uint64_t generation, n_kills, n_errors;
	_Atomic uint64_t pause_ms, pause_ms_max; /* from a kill until the next generation serves */
	_Atomic uint64_t killed_at_ms; /* when the one that nobody followed yet was; or 0 */

	/* Of the disk: what is stored on it, stale pages included, and the memory that takes. */
	_Atomic uint64_t stored_kib, used_kib, used_kib_max;

	/* The sampler's. */
	_Atomic uint64_t sampled_at_ms;
	_Atomic uint64_t free_kib, available_kib, swap_free_kib, swap_used_kib_max;
	_Atomic uint64_t n_swapped_in, n_swapped_out;
};
