#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Frame: one picture of zramfsctl top
 *
 * What stands in a sample, and what happened since the one before, as a table that fits a width and
 * a height. A frame knows no terminal: it is text, with or without colours.
 *
 * Ownership: none.
 * Locking:   one thread.
 * Errors:    a mount that could not be asked is a line of the frame.
 * Cost:      none worth a word.
 */

#include <stdbool.h>
#include <stdio.h>

#include "sample.h"

struct frame {
	unsigned int width, height; /* a height of 0 has no end */
	bool is_coloured;
	bool is_terminal; /* rows of a terminal: each ends what stood there before */
};

/* @before: NULL for the first, which has no rates. */
void frame_print(const struct frame *frame, const struct sample *sample,
		 const struct sample *before, FILE *out);
