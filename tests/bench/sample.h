#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Sample: pages that are made up, the same each time
 *
 * Of text, of pointers, same-filled and of noise, in a fixed mixture: for who has no file of real
 * ones, and must count the same everywhere.
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    none.
 * Cost:      some microseconds a page.
 */

#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014), as in the tests. */
uint64_t sample_random(uint64_t *state);

/* One that does not compress. */
void sample_noise(uint8_t *page, uint64_t *state);

/* Page number @no of all that there could be. */
void sample_page(uint8_t *page, uint32_t no);
