#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Trace: what was written to a disk, without its content
 *
 * Reads the lines of tests/bench/README: how long each page came out under each codec, and nothing
 * of what was in it. Comments and empty lines are passed over; whatever else is not an operation is
 * an error.
 *
 * Ownership: a trace is embedded; it owns its file and line buffer from trace_open() to
 *            trace_close().
 * Locking:   none; a trace is read by one thread.
 * Errors:    printed on standard error, as program: trace:line: what is wrong and what is allowed.
 * Cost:      about 70 ns a line of three codecs.
 */

#include <stdint.h>
#include <stdio.h>

#include "codec.h"

#define TRACE_VERSION    1u
#define TRACE_CODECS_MAX 8u

/* Lengths that are none. */
#define TRACE_BYTES_SAME        0u           /* same-filled, and the word fits its slot */
#define TRACE_BYTES_SAME_OBJECT 8u           /* same-filled, and the word is an object */
#define TRACE_BYTES_RAW         ZR_PAGE_SIZE /* does not compress */

struct trace_codec {
	char name[16];
	int32_t level; /* ZR_CODEC_LEVEL_DEFAULT: none was given */
};

struct trace_op {
	enum { TRACE_WRITE, TRACE_DISCARD, TRACE_READ } kind;
	uint64_t page_no;
	uint64_t n_pages;                   /* 1 but for a discard */
	uint16_t n_bytes[TRACE_CODECS_MAX]; /* of a write, in the order of the trace's codecs */
};

struct trace {
	FILE *file;
	const char *name;   /* for messages */
	unsigned long line; /* the last one read, from 1 */
	unsigned int n_codecs;
	struct trace_codec codecs[TRACE_CODECS_MAX];
	char *text; /* that line */
	size_t n_text_max;
};

/* @path "-" is standard input; it must outlive the trace. Return: 0, or -1 with the error printed,
 * and nothing to close. */
int trace_open(struct trace *trace, const char *path);

/* Return: 1 with the next operation, 0 at the end, -1 with the error printed. */
int trace_next(struct trace *trace, struct trace_op *op);

void trace_close(struct trace *trace);

/* The column of a codec's name, with any level. Return: -1 if the trace has none. */
int trace_column(const struct trace *trace, const char *codec_name);
