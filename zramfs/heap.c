/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "heap.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* More than there are threads: glibc's own limit is 8 for each core, and then arenas are shared. */
#define ARENAS_MAX 128

/* An arena is a heap of 64 MiB at most: its end is never given back. */
#define TRIM_THRESHOLD (64 << 20)

/* By which the main one grows, beyond what is asked for. */
#define HEAP_STEP_BYTES (16u << 10)

/* Below the threshold from which on a piece is mapped by itself. */
#define PIECE_BYTES (16u << 10)

void heap_begin(void)
{
#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, ARENAS_MAX);
	mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
	mallopt(M_TOP_PAD, HEAP_STEP_BYTES);
#endif
}

void heap_warm(size_t n_bytes)
{
#ifdef __GLIBC__
	struct piece {
		struct piece *next;
		uint8_t rest[PIECE_BYTES - sizeof(struct piece *)];
	} *first = NULL, *piece;

	while (n_bytes >= PIECE_BYTES && (piece = malloc(sizeof(*piece)))) {
		memset(piece, 0, sizeof(*piece));
		piece->next = first;
		first = piece;
		n_bytes -= PIECE_BYTES;
	}
	while ((piece = first)) {
		first = piece->next;
		free(piece);
	}
#endif
}
