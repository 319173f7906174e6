#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Span: which cells of a run of offsets are taken
 *
 * A span is ZR_SPAN_BYTES of offsets cut into equal cells, side by side, without regard to pages.
 * Of each cell two bits are known: live, an object is in it; and shut, it must not be given out,
 * because its memory is absent or because the span is being emptied. Nothing is written into the
 * cells themselves, so that a free one costs no memory access and its memory may go at any time.
 *
 *   n_live  == bits of live
 *   n_avail == cells that are neither live nor shut
 *   no available cell lies in a word below hint
 *
 * Ownership: whoever made it frees it.
 * Locking:   none; the pool holds the lock of the span's class.
 * Errors:    none, but for memory when one is made.
 * Cost:      finding a cell reads the bits from hint on: the lowest first, so that what is in use
 *            keeps to the start. Two bits a cell.
 */

#include "layout.h"

#define ZR_SPAN_NONE UINT32_MAX

/* The list of its class that a span is on. */
enum zr_span_list {
	ZR_SPAN_UNLISTED, /* nothing to give */
	ZR_SPAN_PARTIAL,  /* has an available cell, and a live one */
	ZR_SPAN_EMPTY,    /* has available cells alone */
	ZR_SPAN_LISTS
};

struct zr_span {
	/* protected by the lock of the class */
	uint32_t prev, next; /* on its list */
	enum zr_span_list list;
	uint32_t n_live;
	uint32_t n_avail;
	uint32_t hint;
	/* protected by the pool's grow */
	uint32_t gap_prev, gap_next; /* spans of the class with memory absent */
	uint32_t victim_next;        /* spans that are being emptied */
	uint32_t populated_bytes;
	bool has_gap;
	/* constant */
	uint32_t n_cells;
	uint16_t class_no;
	uint64_t *shut;  /* n_words, behind live */
	uint64_t live[]; /* n_words */
};

/* Every cell is shut. Return: NULL without memory. */
struct zr_span *zr_span_new(unsigned int class_no, uint32_t n_cells);

/* The lowest available cell, which is live then. n_avail must not be 0. */
uint32_t zr_span_take(struct zr_span *span);

/* A live cell is free again, and available if it is not shut. */
void zr_span_give(struct zr_span *span, uint32_t cell);

/* Cells [from, to). Live ones stay live. */
void zr_span_open(struct zr_span *span, uint32_t from, uint32_t to);
void zr_span_shut(struct zr_span *span, uint32_t from, uint32_t to);

/* For derivation. Return: false if it was live already. */
bool zr_span_mark(struct zr_span *span, uint32_t cell);

/* The cell after the last live one; 0 if there is none. */
uint32_t zr_span_top(const struct zr_span *span);

/* How many live cells there are below @cell. */
uint32_t zr_span_live_below(const struct zr_span *span, uint32_t cell);

/* Check the equations above. */
void zr_span_validate(const struct zr_span *span);

static inline bool zr_span_bit(const uint64_t *bits, uint32_t cell)
{
	return bits[cell / 64] >> cell % 64 & 1;
}

static inline bool zr_span_is_live(const struct zr_span *span, uint32_t cell)
{
	return zr_span_bit(span->live, cell);
}
