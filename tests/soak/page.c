/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "page.h"

#include <stdio.h>
#include <string.h>

#include "test.h"

#define N_WORDS (PAGE_BYTES / sizeof(uint64_t))

static uint64_t word_of(struct page_name name, uint32_t round)
{
	return (uint64_t)name.key << 56 | (uint64_t)name.no << 32 | round;
}

/* How many of the words are random; the rest repeat the first. */
static size_t n_random(uint64_t word, uint64_t chance)
{
	if (word >> 56 >= PAGE_KEY_HUGE)
		return N_WORDS;
	switch (chance & 7) {
	case 0:
		return 0;
	case 1:
		return N_WORDS;
	default:
		return 1 + (chance >> 3) % (N_WORDS / 2);
	}
}

static void make(uint64_t *words, uint64_t word)
{
	struct rng rng = { .state = word * UINT64_C(0x9e3779b97f4a7c15) };
	size_t n, i;

	words[0] = word;
	if (word == 0) {
		memset(words, 0, PAGE_BYTES);
		return;
	}
	n = n_random(word, rng_next(&rng));
	for (i = 1; i < n; ++i)
		words[i] = rng_next(&rng);
	for (; i < N_WORDS; ++i)
		words[i] = word;
}

void page_make(void *page, struct page_name name, uint32_t round)
{
	make(page, round == 0 ? 0 : word_of(name, round));
}

/* The page differs from what its first word says: from where on, and what is there instead? */
static const char *say_broken(char text[200], const uint64_t *words, const uint64_t *whole)
{
	size_t i = 0;

	while (words[i] == whole[i])
		++i;
	snprintf(text, 200,
		 "begins as key %u page %u round %u, and is not that from byte %zu on: %016llx",
		 (unsigned int)(words[0] >> 56), (unsigned int)(words[0] >> 32 & 0xffffff),
		 (unsigned int)(uint32_t)words[0], i * sizeof(words[0]),
		 (unsigned long long)words[i]);
	return text;
}

const char *page_check(const void *page, struct page_name name, uint32_t first, uint32_t last,
		       bool zeros, uint32_t *roundp)
{
	static _Thread_local uint64_t whole[N_WORDS];
	static _Thread_local char text[200];
	const uint64_t *words = page;
	const uint32_t round = (uint32_t)words[0];

	make(whole, words[0]);
	if (memcmp(whole, words, PAGE_BYTES) != 0)
		return say_broken(text, words, whole);

	if (words[0] == 0) {
		if (!zeros) {
			snprintf(text, sizeof(text), "is zeros, and not of round %u to %u", first,
				 last);
			return text;
		}
	} else if (words[0] != word_of(name, round)) {
		snprintf(text, sizeof(text), "is page %u of key %u, round %u",
			 (unsigned int)(words[0] >> 32 & 0xffffff), (unsigned int)(words[0] >> 56),
			 round);
		return text;
	} else if (round < first || round > last) {
		snprintf(text, sizeof(text), "is of round %u, and not of round %u to %u", round,
			 first, last);
		return text;
	}
	if (roundp)
		*roundp = round;
	return NULL;
}
