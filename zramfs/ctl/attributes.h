#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Attributes: what a person is told about the table
 *
 * Ownership: none.
 * Locking:   one thread.
 * Errors:    none.
 * Cost:      none worth a word.
 */

#include <stdio.h>

/* What hot_add takes. */
void attributes_explain_config(FILE *out);

/* What can be set of a disk and of the daemon, and what can be read. */
void attributes_explain(FILE *out);

/* For programs, a line each: disk or daemon, the name, and those of config, read and write that it
 * can; with single blanks between. */
void attributes_list(FILE *out);
