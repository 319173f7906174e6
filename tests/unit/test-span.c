/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Every operation is done to a span and to an array with two bools a cell, which is obviously
 * right; then all that a span can be asked is compared with what the array says.
 */

#include "test.h"

#include "span.h"

#define CELLS_MAX 65536u

/* Around words of 64 bits, and what a class can have: 65536 cells of 16 bytes are the most. */
static const uint32_t sizes[] = { 1,   2,   63,  64,  65,   127,  128,   129,
				  255, 256, 257, 273, 4369, 5461, 65535, CELLS_MAX };

struct cell {
	bool live, shut;
};

static struct cell cells[CELLS_MAX];
static struct zr_span *span;

static void set_up(uint32_t n_cells)
{
	uint32_t i;

	span = zr_span_new(7, n_cells);
	CHECK(span);
	for (i = 0; i < n_cells; ++i)
		cells[i] = (struct cell){ .shut = true };
}

static void tear_down(void)
{
	free(span);
	span = NULL;
}

/* All that can be asked. */
static void check_all(void)
{
	uint32_t i, n_live = 0, n_avail = 0, top = 0;

	for (i = 0; i < span->n_cells; ++i) {
		CHECK(zr_span_is_live(span, i) == cells[i].live);
		CHECK(zr_span_bit(span->shut, i) == cells[i].shut);
		n_live += cells[i].live;
		n_avail += !cells[i].live && !cells[i].shut;
		if (cells[i].live)
			top = i + 1;
	}
	CHECK(span->n_live == n_live && span->n_avail == n_avail);
	CHECK(zr_span_top(span) == top);
	zr_span_validate(span);
}

static uint32_t live_below(uint32_t cell)
{
	uint32_t i, n = 0;

	for (i = 0; i < cell; ++i)
		n += cells[i].live;
	return n;
}

/* The lowest cell that can be had; n_cells if none can. */
static uint32_t lowest(void)
{
	uint32_t i;

	for (i = 0; i < span->n_cells && (cells[i].live || cells[i].shut); ++i)
		;
	return i;
}

static void take(void)
{
	const uint32_t want = lowest();

	CHECK(want < span->n_cells);
	CHECK(zr_span_take(span) == want);
	cells[want].live = true;
}

static void give(uint32_t cell)
{
	const uint32_t n_avail = span->n_avail;

	zr_span_give(span, cell);
	cells[cell].live = false;
	CHECK(span->n_avail == n_avail + !cells[cell].shut);
}

static void open_cells(uint32_t from, uint32_t to)
{
	uint32_t i;

	zr_span_open(span, from, to);
	for (i = from; i < to; ++i)
		cells[i].shut = false;
}

static void shut_cells(uint32_t from, uint32_t to)
{
	uint32_t i;

	zr_span_shut(span, from, to);
	for (i = from; i < to; ++i)
		cells[i].shut = true;
}

static void mark(uint32_t cell)
{
	CHECK(zr_span_mark(span, cell) == !cells[cell].live);
	cells[cell].live = true;
}

static void test_a_new_span_gives_nothing(void)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(sizes); ++i) {
		set_up(sizes[i]);
		CHECK(span->class_no == 7 && span->n_cells == sizes[i]);
		CHECK(span->list == ZR_SPAN_UNLISTED && span->populated_bytes == 0);
		CHECK(span->prev == ZR_SPAN_NONE && span->next == ZR_SPAN_NONE);
		CHECK(span->n_avail == 0 && span->n_live == 0);
		check_all();
		tear_down();
	}
}

/* Opened whole, the cells come lowest first, as many as there are and no one twice; what lies past
 * the last one in its word never does. */
static void test_cells_come_lowest_first(void)
{
	unsigned int i;
	uint32_t cell;

	for (i = 0; i < ZR_ARRAY_SIZE(sizes); ++i) {
		set_up(sizes[i]);
		open_cells(0, sizes[i]);
		CHECK(span->n_avail == sizes[i]);
		for (cell = 0; cell < sizes[i]; ++cell) {
			CHECK(zr_span_take(span) == cell);
			cells[cell].live = true;
		}
		CHECK(span->n_avail == 0);
		check_all();

		/* And the one that is freed is the next one to come. */
		for (cell = sizes[i]; cell-- > 0;) {
			if (cell % 97 != 0 && cell + 1 != sizes[i])
				continue;
			give(cell);
			take();
		}
		check_all();
		tear_down();
	}
}

static void test_first_and_last_cell(void)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(sizes); ++i) {
		const uint32_t last = sizes[i] - 1;

		set_up(sizes[i]);
		open_cells(last, last + 1);
		check_all();
		take();
		CHECK(cells[last].live);
		CHECK(zr_span_top(span) == sizes[i]);
		CHECK(zr_span_live_below(span, last) == 0);
		CHECK(zr_span_live_below(span, sizes[i]) == 1);
		give(last);
		shut_cells(last, last + 1);
		check_all();

		open_cells(0, 1);
		take();
		CHECK(cells[0].live);
		CHECK(zr_span_top(span) == 1 && zr_span_live_below(span, 0) == 0);
		check_all();
		tear_down();
	}
}

/* Each range that begins and ends near a word's edge, opened, and shut again in another. */
static void test_ranges_at_edges_of_words(void)
{
	static const uint32_t edges[] = {
		0, 1, 63, 64, 65, 127, 128, 129, 191, 192, 193, 199, 200
	};
	unsigned int from, to;

	for (from = 0; from < ZR_ARRAY_SIZE(edges); ++from) {
		for (to = from; to < ZR_ARRAY_SIZE(edges); ++to) {
			set_up(200);
			open_cells(edges[from], edges[to]);
			check_all();
			open_cells(edges[from] / 2, edges[to] / 2);
			check_all();
			shut_cells(edges[to] / 3, edges[to]);
			check_all();
			shut_cells(0, 200);
			check_all();
			CHECK(span->n_avail == 0);
			tear_down();
		}
	}
}

/* What is in use stays in use when its memory may not be given any more: and once it is freed it is
 * not given again before it is opened. */
static void test_shut_cells_stay_live_and_are_not_given_again(void)
{
	unsigned int i;

	set_up(150);
	open_cells(0, 150);
	for (i = 0; i < 150; ++i)
		take();
	shut_cells(40, 140);
	CHECK(span->n_live == 150 && span->n_avail == 0);
	check_all();

	give(39);
	give(40);
	give(139);
	give(140);
	CHECK(span->n_avail == 2);
	take();
	take();
	CHECK(cells[39].live && cells[140].live && span->n_avail == 0);
	CHECK(!cells[40].live && !cells[139].live);
	check_all();

	open_cells(0, 150);
	CHECK(span->n_avail == 2);
	take();
	CHECK(cells[40].live);
	check_all();
	tear_down();
}

static void test_marks_count_once(void)
{
	set_up(130);
	mark(129);
	mark(129);
	mark(0);
	CHECK(span->n_live == 2 && span->n_avail == 0);
	check_all();

	/* Shut or not, when it is marked. */
	open_cells(0, 130);
	CHECK(span->n_avail == 128);
	mark(64);
	mark(64);
	CHECK(span->n_avail == 127);
	take();
	CHECK(cells[1].live);
	check_all();
	tear_down();
}

static void any_step(struct rng *rng)
{
	const uint32_t n_cells = span->n_cells;
	const uint32_t cell = (uint32_t)rng_below(rng, n_cells);
	const uint32_t to = cell + (uint32_t)rng_below(rng, n_cells - cell + 1);

	switch (rng_below(rng, 16)) {
	case 0:
		open_cells(cell, to);
		break;
	case 1:
		shut_cells(cell, (uint32_t)zr_min(to, cell + 70));
		break;
	case 2:
		mark(cell);
		break;
	case 3:
		CHECK(zr_span_live_below(span, cell) == live_below(cell));
		CHECK(zr_span_live_below(span, n_cells) == span->n_live);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		if (cells[cell].live)
			give(cell);
		break;
	default:
		if (span->n_avail > 0)
			take();
		break;
	}
}

static void test_random_steps(void)
{
	struct rng rng = rng_init("test-span");
	unsigned int i, step;

	for (i = 0; i < ZR_ARRAY_SIZE(sizes); ++i) {
		const unsigned int n_steps = sizes[i] > 1000 ? 2000 : 20000;

		set_up(sizes[i]);
		for (step = 0; step < n_steps; ++step) {
			any_step(&rng);
			if (sizes[i] <= 273 ? step % 8 == 0 : step % 200 == 0)
				check_all();
		}
		check_all();
		tear_down();
	}
}

int main(void)
{
	RUN(test_a_new_span_gives_nothing);
	RUN(test_cells_come_lowest_first);
	RUN(test_first_and_last_cell);
	RUN(test_ranges_at_edges_of_words);
	RUN(test_shut_cells_stay_live_and_are_not_given_again);
	RUN(test_marks_count_once);
	RUN(test_random_steps);
	return 0;
}
