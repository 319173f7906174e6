#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Nearest: which word was meant
 *
 * Ownership: words are the caller's, and stay.
 * Locking:   none.
 * Errors:    none.
 * Cost:      the product of the lengths of two words.
 */

struct nearest {
	const char *word; /* as it was typed */
	const char *best; /* NULL: nothing is near */
	unsigned int distance;
};

void nearest_init(struct nearest *nearest, const char *word);

/* A word that could have been meant. */
void nearest_offer(struct nearest *nearest, const char *candidate);

/* "; the nearest is BEST", or nothing. The text is the caller's to free. */
char *nearest_hint(const struct nearest *nearest);
