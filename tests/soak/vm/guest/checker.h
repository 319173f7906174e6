#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Checker: a program with more memory than there is, which knows what each page must hold.
 *
 * Each thread has a range of pages to itself. It fills them, and then takes short runs at random
 * places: each page is verified, and half of them are rewritten in their next round. Now and then a
 * long run is dropped, must be zeros, and is filled anew: swap slots come and go in clusters. When
 * the board's phase says so, each verifies its range once more, or some pages of it, and ends.
 * Which round a page is in is known from locked memory that no swap has ever seen.
 */

#include "board.h"

/* Does not return: exits 0 if no page was bad, 1 if one was, 2 if it could not begin. */
_Noreturn void checker_run(struct board *board, uint64_t n_pages, unsigned int n_threads);
