#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Report: findings, a line each, below headings
 *
 * What there is to do about a finding stands below it, on a line of its own, and only where there
 * is something to do. Text is wrapped to the terminal; colours are for terminals alone.
 *
 * Ownership: headings are copied.
 * Locking:   one thread.
 * Errors:    none; standard output is looked at by say_end().
 * Cost:      none worth a word.
 */

#include <stdbool.h>

enum report_state {
	REPORT_OK,
	REPORT_WARN, /* slower, or riskier, than it need be */
	REPORT_BAD,  /* fails, or loses data */
};

struct report {
	bool is_coloured;
	int width; /* of the terminal */
	unsigned int n_warnings, n_bad;
	bool has_heading;
};

void report_init(struct report *report);

__attribute__((format(printf, 2, 3))) void report_heading(struct report *report, const char *format,
							  ...);

/* @remedy: what to do; NULL or empty: nothing. */
__attribute__((format(printf, 5, 6))) void report_finding(struct report *report,
							  enum report_state state, const char *what,
							  const char *remedy, const char *format,
							  ...);

/* How many there were. Return: true if nothing is bad. */
bool report_end(struct report *report);
