#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Fill: same-filled pages
 *
 * Is a page one 64-bit word, repeated? Such a page needs no object.
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    none.
 * Cost:      a few ns for most pages, which differ early; 100 ns for one that is same-filled.
 */

#include "base.h"

/* @page need not be aligned. */
bool zr_fill_detect(const void *page, uint64_t *wordp);
void zr_fill_page(void *page, uint64_t word);
