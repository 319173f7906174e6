#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Page: contents that say what they are
 *
 * All of a page derives from one word that it begins with: the key of its file, its number, and the
 * round in which it was written. So a reader needs nothing but the page to tell whether it is
 * whole, whether it is where it belongs, and how old it is. Some compress well, some little, some
 * not at all, and some are one repeated word.
 *
 * Round 0 is a page of zeros. A key of PAGE_KEY_HUGE and more makes pages that do not compress.
 *
 * Ownership: pages are the caller's.
 * Locking:   none.
 * Errors:    page_check() says what is wrong in words.
 * Cost:      a microsecond a page.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES    4096u
#define PAGE_KEY_HUGE 128u

struct page_name {
	uint8_t key;
	uint32_t no; /* 24 bits */
};

void page_make(void *page, struct page_name name, uint32_t round);

/* Is it a whole page of that name, of a round from @first to @last? A page of zeros is, if @zeros
 * is said.
 * Return: NULL, or what is wrong, in a buffer of the calling thread; @roundp, if not NULL: which
 * round it is, 0 for zeros. */
const char *page_check(const void *page, struct page_name name, uint32_t first, uint32_t last,
		       bool zeros, uint32_t *roundp);
