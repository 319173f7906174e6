#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Assignments: ATTR=VALUE words of a command
 *
 * All of them are checked before any is written. Values become what control files take:
 * percentages of RAM are worked out here.
 *
 * Ownership: the caller's, until assignments_clear(); attributes are rows of the table.
 * Locking:   one thread.
 * Errors:    the exit status, after one line that says what is wrong.
 * Cost:      a control file, where a value depends on what the disk is already.
 */

#include <stddef.h>

#include "attr.h"
#include "name.h"
#include "verb.h"

struct assignment {
	const struct zr_attr *attr; /* NULL: none of that attribute */
	char *value;
};

/* By the index of their rows. */
struct assignments {
	struct assignment at[ZR_ATTR_INDEX_MAX];
	size_t n;
};

/* What the words say about the disk, or the daemon. With @is_new it is a disk that is to be made,
 * of which they may say what hot_add takes. */
int assignments_take(struct assignments *assignments, const struct verb *verb,
		     const struct name *name, bool is_new, char **words, size_t n_words);

/* One more, which is right. */
void assignments_add(struct assignments *assignments, const struct zr_attr *attr,
		     const char *value);

/* Writes them in the table's order, but the size last, since it ends what can be set before.
 * Stops at the first that is refused. */
int assignments_write(const struct assignments *assignments, const struct name *name);

void assignments_clear(struct assignments *assignments);

/* Has the word the form ATTR=...? */
bool assignment_is_one(const char *word);

/* Bytes of RAM, of which a percentage is taken; 0 if nobody knows. */
uint64_t ram_bytes(void);
