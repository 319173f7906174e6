#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Tool: what the programs here share
 *
 * Messages, lists of codecs, and files or devices as pages.
 *
 * Ownership: a tool_input is embedded; it owns its descriptor from tool_input_open() to
 *            tool_input_close().
 * Locking:   none.
 * Errors:    printed on standard error, as program: file: what is wrong; -1 is all that is left.
 * Cost:      none worth a word.
 */

#include "codec.h"

/* Exit statuses, beside EXIT_SUCCESS. */
#define TOOL_EXIT_FAILED 1
#define TOOL_EXIT_USAGE  2

struct tool_codec {
	struct zr_codec_params params;
	char text[32]; /* NAME, or NAME:LEVEL if one was given */
};

struct tool_input {
	const char *path;
	int fd;
	uint64_t n_bytes;
	uint64_t n_pages; /* the last one may be short */
};

void __attribute__((format(printf, 1, 2))) tool_error(const char *format, ...);

/*
 * CODEC[:LEVEL],... or CODEC[=LEVEL],...
 * @option: whose value it is, for messages
 * Return: how many, or -1 with the error printed.
 */
int tool_codecs_parse(const char *option, const char *text, struct tool_codec *codecs,
		      unsigned int n_codecs_max);

/* Return: 0, or -1 with the error printed: only files and block devices have pages. */
int tool_input_open(struct tool_input *input, const char *path);
void tool_input_close(struct tool_input *input);

/* Whole pages; what is past the end of the file in its last page is 0.
 * Return: 0, or -1 with the error printed. */
int tool_input_read(const struct tool_input *input, uint64_t page_no, void *pages, size_t n_pages);

/* The next pages from @page_no on that are not a hole of the file. Return: how many; 0: none. */
uint64_t tool_input_data(const struct tool_input *input, uint64_t page_no, uint64_t *data_nop);

/* One line that stays in place, on a terminal; NULL clears it. */
void __attribute__((format(printf, 1, 2))) tool_progress(const char *format, ...);
