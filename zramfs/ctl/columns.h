#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Columns: what a list of disks can show
 *
 * A column is a row of a table: zramctl's names with zramctl's meaning, and ours.
 *
 * Ownership: columns are static; text of cells is the caller's to free.
 * Locking:   one thread.
 * Errors:    a cell of which nothing is known is NULL.
 * Cost:      STREAMS reads a control file for each disk.
 */

#include <stdbool.h>
#include <stdio.h>

#include "loops.h"
#include "view.h"

enum column_kind {
	COLUMN_TEXT,
	COLUMN_SIZE,        /* bytes */
	COLUMN_COUNT,       /* a number as it is */
	COLUMN_TIME,        /* nanoseconds */
	COLUMN_RATIO,       /* two decimals */
	COLUMN_RATIO_EXACT, /* four */
};

/* What a row of the list is about. */
struct row {
	const struct mount *mount;
	const struct view *view;
	const struct view_disk *disk;
	const struct loop_user *loops;
	size_t n_loops;
	bool is_path; /* NAME is a path, since there are several mounts */
};

struct column {
	const char *name;
	const char *help; /* one line */
	enum column_kind kind;
	size_t offset; /* of the number in struct view_disk, where there is no function */

	char *(*text)(const struct row *row);      /* of COLUMN_TEXT */
	uint64_t (*number)(const struct row *row); /* VIEW_UNKNOWN: not known */
	double (*ratio)(const struct row *row);    /* below 0: not known */
};

/* NULL past the last. */
const struct column *column_at(size_t index);

/* Upper or lower case. NULL: there is none of that name. */
const struct column *column_find(const char *name, size_t n_name);

/* @exact: sizes in bytes, times in nanoseconds. */
char *column_text(const struct column *column, const struct row *row, bool exact);

/* A line for each. */
void columns_explain(FILE *out);
