/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "nearest.h"

#include <string.h>

#include "base.h"
#include "say.h"

/* Longer words are not looked at. */
#define WORD_MAX 32u

/* Letters that are changed, missing or too many, or two that changed places. */
static unsigned int distance(const char *from, const char *to)
{
	const size_t n_from = strlen(from), n_to = strlen(to);
	unsigned int cost[WORD_MAX + 1][WORD_MAX + 1];
	size_t i, j;

	for (i = 0; i <= n_from; ++i)
		cost[i][0] = (unsigned int)i;
	for (j = 0; j <= n_to; ++j)
		cost[0][j] = (unsigned int)j;
	for (i = 1; i <= n_from; ++i) {
		for (j = 1; j <= n_to; ++j) {
			const unsigned int changed = from[i - 1] != to[j - 1];

			cost[i][j] =
				(unsigned int)zr_min(cost[i - 1][j - 1] + changed,
						     zr_min(cost[i - 1][j], cost[i][j - 1]) + 1);
			if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
				cost[i][j] = (unsigned int)zr_min(cost[i][j],
								  cost[i - 2][j - 2] + 1);
		}
	}
	return cost[n_from][n_to];
}

void nearest_init(struct nearest *nearest, const char *word)
{
	/* Half of the word may be wrong at most, and three letters of a long one. */
	*nearest = (struct nearest){ .word = word,
				     .distance = (unsigned int)zr_min(strlen(word) / 2, 3) + 1 };
}

void nearest_offer(struct nearest *nearest, const char *candidate)
{
	unsigned int n;

	if (strlen(nearest->word) > WORD_MAX || strlen(candidate) > WORD_MAX)
		return;
	n = distance(nearest->word, candidate);
	if (n < nearest->distance) {
		nearest->best = candidate;
		nearest->distance = n;
	}
}

char *nearest_hint(const struct nearest *nearest)
{
	return nearest->best ? say_text("; the nearest is %s", nearest->best) : say_text("%s", "");
}
