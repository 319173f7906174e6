#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Sections: what a configuration says, before it means anything
 *
 * Each section with its keys and their lines. What is wrong with a line is found while the text is
 * read; then names of sections, keys and how often each is given, as whose dialect it is may be
 * seen late; values last, since defaults may come last and the parameters of an algorithm before
 * the algorithm.
 *
 * A file is zram-generator's if its name says so, or if its top or a section zram<N> has a key of
 * that program. Then its sections zram<N> follow that program's rules: what is given again
 * overrides. If its name says so, keys and sections that the program would pass over are, too.
 *
 * Ownership: sections own all that they point to but path and message.
 * Locking:   none; one thread.
 * Errors:    those of lines.h.
 * Cost:      a few hundred bytes a section; refused before there are many more than disks can be.
 */

#include <stdbool.h>
#include <stddef.h>

#include "aliases.h"
#include "attr.h"
#include "lines.h"

/* The two that are no disks. */
#define SECTION_DAEMON   "zramfs"
#define SECTION_DEFAULTS "defaults"

struct record {
	char *key;
	char *value;
	unsigned int line_no;
	const struct zr_attr *attr; /* NULL: no key of ours */
	unsigned int index;         /* of it in the attribute table */
	const struct alias *alias;  /* NULL: none of another program's that is known */
	const char *means;          /* the key of ours; NULL: it is passed over */
};

struct section {
	char *name; /* empty: the top of the file */
	unsigned int line_no;
	size_t n_records;
	struct record *records; /* in the order of the attribute table, others last */
	bool ignored;           /* it is passed over */
	bool generator;         /* a disk that follows the rules of zram-generator */
};

struct sections {
	struct lines lines;
	bool generator_file; /* by its name */
	bool generator;      /* by what it says, too */
	struct section top;  /* before any section */
	size_t n_sections;
	struct section *sections; /* in the order of the file */
};

/* @sections: zeroed but for lines; to be deinitialised after an error, too. */
int sections_read(struct sections *sections, FILE *file);
void sections_deinit(struct sections *sections);

/* NULL if there is none. */
const struct section *sections_find(const struct sections *sections, const char *name);

/* The record of a key of ours, or of an alias of it; the first of them. NULL if there is none. */
const struct record *section_find(const struct section *section, const char *means);

/* The record with just this key. */
const struct record *section_find_key(const struct section *section, const char *key);

bool section_is_disk(const struct section *section);

/* Two sections that say one thing between them, as the top of the file and [defaults]: is nothing
 * said in both? @b may be NULL. */
int sections_check_twice(const struct sections *sections, const struct section *a,
			 const struct section *b);

/* Say what is wrong with a value. Return: -EINVAL. */
int record_refuse(const struct record *record, const struct lines *lines, const char *what,
		  const char *allowed);
