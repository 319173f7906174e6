/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "sample.h"

#include <string.h>

#include "fill.h"

uint64_t sample_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}
void sample_noise(uint8_t *page, uint64_t *rng)
{
	size_t at;

	for (at = 0; at < ZR_PAGE_SIZE; at += sizeof(uint64_t)) {
		const uint64_t word = sample_random(rng);

		memcpy(page + at, &word, sizeof(word));
	}
}

/* Some words are much more frequent than others. */
static void page_of_text(uint8_t *page, uint64_t *rng)
{
	static const char words[][12] = {
		"the ",      "of ",     "a ",       "page ",   "is ",      "and ",   "in ",
		"memory ",   "it ",     "by ",      "that ",   "disk ",    "lock ",  "which ",
		"return ",   "static ", "if (",     ") {\n\t", ");\n",     " = ",    "struct ",
		"position ", "0x%08x",  "->next",   "const ",  "unsigned", "while ", "compress",
		"\n\n",      "1024, ",  "sizeof(*", "size_t ",
	};
	size_t at = 0, n;

	while (at < ZR_PAGE_SIZE) {
		const uint64_t random = sample_random(rng);
		const char *word = words[(random & 31) * (random >> 5 & 31) / 31];

		if ((random >> 10 & 7) == 0) { /* a name nobody has used yet */
			page[at++] = (uint8_t)('a' + (random >> 16) % 26);
			continue;
		}
		n = (size_t)zr_min(strlen(word), ZR_PAGE_SIZE - at);
		memcpy(page + at, word, n);
		at += n;
	}
}

/* Records of a heap: addresses near each other, small numbers, nothing. */
static void page_of_pointers(uint8_t *page, uint64_t *rng)
{
	uint64_t heap = UINT64_C(0x00005612a3b40000) + (sample_random(rng) & 0xfff000), word;
	size_t at;

	for (at = 0; at < ZR_PAGE_SIZE; at += sizeof(word)) {
		const uint64_t random = sample_random(rng);

		switch (random & 7) {
		case 0:
		case 1:
		case 2:
			word = heap + (random >> 8 & 0xfff0);
			break;
		case 3:
			word = random >> 8 & 0xff;
			break;
		case 4:
			word = random >> 32;
			break;
		default:
			word = 0;
			break;
		}
		memcpy(page + at, &word, sizeof(word));
	}
}

void sample_page(uint8_t *page, uint32_t no)
{
	uint64_t rng = no;

	if (no % 16 == 7)
		sample_noise(page, &rng);
	else if (no % 8 == 5)
		zr_fill_page(page, no % 16 == 5 ? 0 : sample_random(&rng) >> 16);
	else if (no % 2 == 0)
		page_of_text(page, &rng);
	else
		page_of_pointers(page, &rng);
}
