#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Warnings: what is said of a configuration that loads
 *
 * One line for each kind of thing, that names every one of the kind.
 *
 * Ownership: warnings own their lines; a naming borrows nothing.
 * Locking:   none; one thread.
 * Errors:    -ENOMEM.
 * Cost:      a line each.
 */

#include <stdbool.h>
#include <stddef.h>

struct warnings {
	size_t n_lines;
	char **lines; /* without the path and without a newline */
};

void warnings_deinit(struct warnings *warnings);

bool warnings_have(const struct warnings *warnings, const char *line);

/* What one line is to name. */
#define NAMING_MAX      24u
#define NAMING_TEXT_MAX 96u

struct naming {
	size_t n, n_more; /* n_more: beyond those that are named */
	struct {
		unsigned int line_no; /* 0: none */
		char text[NAMING_TEXT_MAX];
	} items[NAMING_MAX];
};

__attribute__((format(printf, 3, 4))) void naming_add(struct naming *naming, unsigned int line_no,
						      const char *format, ...);

/* Make a line of it, in the order of the file, that begins with @intro; none if there is nothing
 * to name. */
int naming_warn(struct naming *naming, struct warnings *warnings, const char *intro);
