/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "page.h"

#include <string.h>

#define BLOCK_WORDS 8u
#define N_BLOCKS    (PAGE_WORDS / BLOCK_WORDS)

#define FRESH_MIN    5u
#define FRESH_CHOICE 15u

static uint64_t mix(uint64_t number, uint64_t round)
{
	uint64_t word = number * 0x9e3779b97f4a7c15u + round * 0xd1b54a32d192ed03u;

	word = (word ^ (word >> 32)) * 0xd6e8feb86659fd93u;
	return (word ^ (word >> 32)) | 1;
}

void page_make(uint64_t *words, uint64_t number, uint64_t round)
{
	uint64_t state = mix(number, round);
	const uint64_t n_fresh = FRESH_MIN + (state >> 8) % FRESH_CHOICE;
	const uint64_t *from;

	words[0] = number;
	words[1] = round;
	for (uint64_t i = 2; i < n_fresh * BLOCK_WORDS; ++i)
		words[i] = random_next(&state);
	for (uint64_t block = n_fresh; block < N_BLOCKS; ++block) {
		from = words + random_next(&state) % n_fresh * BLOCK_WORDS;
		memcpy(words + block * BLOCK_WORDS, from, BLOCK_WORDS * sizeof(*words));
	}
}

int page_verify(const uint64_t *words, uint64_t number, uint64_t round, struct bad_page *badp)
{
	uint64_t wanted[PAGE_WORDS];
	uint64_t i = 0;

	page_make(wanted, number, round);
	if (memcmp(words, wanted, sizeof(wanted)) == 0)
		return 1;
	/* Still different, unless somebody is writing to it: then the last word stands for it. */
	while (i < PAGE_WORDS - 1 && words[i] == wanted[i])
		++i;
	*badp = (struct bad_page){
		.number = number,
		.round = round,
		.offset = i * sizeof(*words),
		.wanted = wanted[i],
		.found = words[i],
	};
	return 0;
}
