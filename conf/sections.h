#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Sections: what a configuration says, before it means anything
 *
 * Each section with its keys and their lines. Names of sections, keys and how often each is given
 * are checked while the text is read; values wait until all are known, since defaults may come last
 * and the parameters of an algorithm before the algorithm.
 *
 * Ownership: sections own all that they point to but path, message and daemon_keys.
 * Locking:   none; one thread.
 * Errors:    those of lines.h.
 * Cost:      a few hundred bytes a section; refused before there are more than disks can be.
 */

#include <stdbool.h>
#include <stddef.h>

#include "lines.h"

/* The two that are no disks. */
#define SECTION_DAEMON   "zramfs"
#define SECTION_DEFAULTS "defaults"

struct record {
	const char *key; /* static */
	char *value;
	unsigned int line_no;
};

struct section {
	char *name;
	unsigned int line_no;
	size_t n_records;
	struct record *records;
};

struct sections {
	struct lines lines;
	const char *const *daemon_keys; /* of SECTION_DAEMON, NULL after the last */
	size_t n_sections;
	struct section *sections; /* in the order of the file */
};

/* @sections: zeroed but for lines and daemon_keys; to be deinitialised after an error, too. */
int sections_read(struct sections *sections);
void sections_deinit(struct sections *sections);

/* NULL if there is none. */
const struct section *sections_find(const struct sections *sections, const char *name);
const struct record *section_find(const struct section *section, const char *key);

bool section_is_disk(const struct section *section);

/* Say what is wrong with a value. Return: -EINVAL. */
int record_refuse(const struct record *record, const struct lines *lines, const char *what,
		  const char *allowed);
