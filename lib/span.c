/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "span.h"

#include <string.h>

#include "check.h"

#define WORD_BITS 64u

static uint32_t n_words(const struct zr_span *span)
{
	return (span->n_cells + WORD_BITS - 1) / WORD_BITS;
}

static uint64_t bit_of(uint32_t cell)
{
	return UINT64_C(1) << cell % WORD_BITS;
}

/* The bits of word @word that [from, to) covers. */
static uint64_t mask_of(uint32_t word, uint32_t from, uint32_t to)
{
	const uint32_t start = word * WORD_BITS;
	uint64_t mask = UINT64_MAX;

	if (from > start)
		mask &= from >= start + WORD_BITS ? 0 : UINT64_MAX << (from - start);
	if (to < start + WORD_BITS)
		mask &= to <= start ? 0 : UINT64_MAX >> (start + WORD_BITS - to);
	return mask;
}

static uint32_t count_bits(uint64_t word)
{
	return (uint32_t)__builtin_popcountll(word);
}

struct zr_span *zr_span_new(unsigned int class_no, uint32_t n_cells)
{
	const size_t words = (n_cells + WORD_BITS - 1) / WORD_BITS;
	struct zr_span *span;

	span = calloc(1, sizeof(*span) + 2 * words * sizeof(span->live[0]));
	if (!span)
		return NULL;

	span->prev = span->next = span->gap_prev = span->gap_next = ZR_SPAN_NONE;
	span->victim_next = ZR_SPAN_NONE;
	span->class_no = (uint16_t)class_no;
	span->n_cells = n_cells;
	/* What lies past the last cell in its word stays shut, too. */
	span->shut = span->live + words;
	memset(span->shut, 0xff, words * sizeof(span->shut[0]));
	return span;
}

uint32_t zr_span_take(struct zr_span *span)
{
	uint32_t word = span->hint, cell;
	uint64_t avail;

	ZR_ASSERT(span->n_avail > 0);

	while ((avail = ~(span->live[word] | span->shut[word])) == 0)
		++word;

	span->hint = word;
	cell = word * WORD_BITS + (uint32_t)__builtin_ctzll(avail);
	ZR_ASSERT(cell < span->n_cells);
	span->live[word] |= bit_of(cell);
	++span->n_live;
	--span->n_avail;
	return cell;
}

void zr_span_give(struct zr_span *span, uint32_t cell)
{
	const uint32_t word = cell / WORD_BITS;

	ZR_ASSERT(cell < span->n_cells && zr_span_is_live(span, cell));

	span->live[word] &= ~bit_of(cell);
	--span->n_live;
	if (zr_span_bit(span->shut, cell))
		return;

	++span->n_avail;
	if (word < span->hint)
		span->hint = word;
}

void zr_span_open(struct zr_span *span, uint32_t from, uint32_t to)
{
	uint32_t word;

	ZR_ASSERT(from <= to && to <= span->n_cells);

	for (word = from / WORD_BITS; word * WORD_BITS < to; ++word) {
		const uint64_t opened = span->shut[word] & mask_of(word, from, to);

		span->shut[word] &= ~opened;
		span->n_avail += count_bits(opened & ~span->live[word]);
	}
	if (from < to)
		span->hint = (uint32_t)zr_min(span->hint, from / WORD_BITS);
}

void zr_span_shut(struct zr_span *span, uint32_t from, uint32_t to)
{
	uint32_t word;

	ZR_ASSERT(from <= to && to <= span->n_cells);

	for (word = from / WORD_BITS; word * WORD_BITS < to; ++word) {
		const uint64_t closed = ~span->shut[word] & mask_of(word, from, to);

		span->shut[word] |= closed;
		span->n_avail -= count_bits(closed & ~span->live[word]);
	}
}

bool zr_span_mark(struct zr_span *span, uint32_t cell)
{
	ZR_ASSERT(cell < span->n_cells);

	if (zr_span_is_live(span, cell))
		return false;

	span->live[cell / WORD_BITS] |= bit_of(cell);
	++span->n_live;
	if (!zr_span_bit(span->shut, cell))
		--span->n_avail;
	return true;
}

uint32_t zr_span_top(const struct zr_span *span)
{
	uint32_t word;

	for (word = n_words(span); word-- > 0;) {
		if (span->live[word] != 0)
			return (word + 1) * WORD_BITS - (uint32_t)__builtin_clzll(span->live[word]);
	}
	return 0;
}

uint32_t zr_span_live_below(const struct zr_span *span, uint32_t cell)
{
	uint32_t word, n = 0;

	for (word = 0; word * WORD_BITS < cell; ++word)
		n += count_bits(span->live[word] & mask_of(word, 0, cell));
	return n;
}

void zr_span_validate(const struct zr_span *span)
{
	uint32_t word, n_live = 0, n_avail = 0;

	for (word = 0; word < n_words(span); ++word) {
		const uint64_t avail = ~(span->live[word] | span->shut[word]);

		ZR_ASSERT(avail == 0 || word >= span->hint);
		ZR_ASSERT((span->live[word] & ~mask_of(word, 0, span->n_cells)) == 0);
		ZR_ASSERT((avail & ~mask_of(word, 0, span->n_cells)) == 0);
		n_live += count_bits(span->live[word]);
		n_avail += count_bits(avail);
	}
	ZR_ASSERT(n_live == span->n_live);
	ZR_ASSERT(n_avail == span->n_avail);
}
