#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Size: text to bytes
 *
 * What the kernel's memparse() reads (decimal, 0x or 0 octal, with K, M, G, T, P or E for powers of
 * 1024, either case), a percentage where there is something to take it of, and nothing after it but
 * white space.
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    -EINVAL for text that is not a size, -ERANGE for one that does not fit 64 bits.
 * Cost:      none worth a word.
 */

#include "base.h"

/* What a message says is allowed. */
#define ZR_SIZE_ALLOWED "bytes, a number with K, M, G, T, P or E, or a percentage of RAM (50%)"

/* @percent_of_bytes: what "50%" is half of; 0: percentages are -EINVAL. 0 to 10000% are read. */
int zr_size_parse(const char *text, uint64_t percent_of_bytes, uint64_t *bytesp);
