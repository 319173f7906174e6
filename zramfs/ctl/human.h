#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Human: figures as people read them
 *
 * Ownership: the caller's memory.
 * Locking:   none.
 * Errors:    none.
 * Cost:      none worth a word.
 */

#include <stdint.h>

#define HUMAN_MAX 24u

/* 0B, 1.5G, 512M: powers of 1024, one decimal at most, as zramctl has it. Return: @text. */
const char *human_size(char text[HUMAN_MAX], uint64_t n_bytes);

/* 850ns, 12us, 1.5ms, 2s: three digits at most, and as many of them as say something. */
const char *human_time(char text[HUMAN_MAX], uint64_t ns);
