#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Lines: an INI file, with line numbers
 *
 * Feeds a file to inih and calls back for each section header and each key. inih splits long lines,
 * joins indented ones to the line before, drops empty sections, cuts section names at 49 bytes and
 * tells nobody where it is. So it sees lines with a key alone, and only such as it reads as
 * written; everything else is read, counted or refused here. Comments may be of any length.
 *
 * Ownership: path and message belong to the caller; callbacks get text that lives for the call.
 * Locking:   none; one thread.
 * Errors:    -EINVAL for a line that is refused, the errno of a file that cannot be read, -ENOMEM,
 *            or what a callback returned. The first one ends the reading. One line of text is in
 *            message on each.
 * Cost:      one pass; memory of one line. What has no end is refused at its 1048577th byte.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct lines {
	const char *path;
	char *message; /* room for one line */
	size_t n_message;
	bool indented;        /* white space before a key or a section means nothing */
	unsigned int line_no; /* the line being read, from 1 */
};

/* Return: 0, or negative with the message written. */
struct lines_handler {
	int (*section)(void *user, const char *name);
	int (*key)(void *user, const char *key, const char *value);
};

/* @file: to be read to its end; the caller's. */
int lines_read(struct lines *lines, FILE *file, const struct lines_handler *handler, void *user);

/* Open lines->path; a pipe or a socket is refused, as its other end could make us wait. Return: 0,
 * or negative with the message written. */
int lines_open(const struct lines *lines, FILE **filep);

/* Write "path:line: " and what follows; line 0 is left out. Return: -EINVAL. */
__attribute__((format(printf, 3, 4))) int
lines_refuse(const struct lines *lines, unsigned int line_no, const char *format, ...);

/* Write "path: " and the error in words. Return: -error. */
int lines_fail(const struct lines *lines, int error);
