#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Page: what a page of the checker holds.
 *
 * Its number and its round and nothing else decide every word, so any page can be verified without
 * any other, and a page of another number or of an older round is told from a damaged one. 5 to 19
 * of its 64 blocks are random and the others repeat these: lz4 makes a quarter of it, more or less,
 * so that objects of many sizes are stored. No page is filled with one word.
 *
 * Cost: about a microsecond, several times that in an emulated machine.
 */

#include <stdint.h>

#include "board.h"

#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))

/* Writes PAGE_WORDS words. */
void page_make(uint64_t *words, uint64_t number, uint64_t round);

/*
 * Returns: 1 if these words are the page of that number and round; 0 if not, and then *badp says
 * where they differ first.
 */
int page_verify(const uint64_t *words, uint64_t number, uint64_t round, struct bad_page *badp);

/* Random words, for who needs some; the state must not be 0. */
static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}
