/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base.h"
#include "say.h"
#include "text.h"

#define WIDTH_DEFAULT 80
#define WIDTH_LEAST   60

/* "  warn  " and the subject's column. */
#define WHAT_COLUMN    8
#define WHAT_WIDTH     18
#define MESSAGE_COLUMN (WHAT_COLUMN + WHAT_WIDTH + 1)

static const struct {
	const char *word, *colour;
} states[] = {
	[REPORT_OK] = { "ok", "\033[32m" },
	[REPORT_WARN] = { "warn", "\033[33m" },
	[REPORT_BAD] = { "bad", "\033[1;31m" },
};

static int terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	int width = 0;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		width = size.ws_col;
	if (width == 0 && columns)
		width = atoi(columns);
	return width == 0 ? WIDTH_DEFAULT : width < WIDTH_LEAST ? WIDTH_LEAST : width;
}

void report_init(struct report *report)
{
	const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");

	*report = (struct report){
		.is_coloured = isatty(STDOUT_FILENO) && !(no_colour && *no_colour) && term &&
			       strcmp(term, "dumb") != 0,
		.width = terminal_width(),
	};
}

static char *text_of(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		say_no_memory();
	return zr_text_clean(text, "");
}

/* From column @at on, whose line has begun, the words of @text; later lines begin at @indent. */
static void print_wrapped(const struct report *report, const char *text, int at, int indent)
{
	int n;

	while (*text) {
		n = (int)strcspn(text, " ");
		if (at > indent && at + 1 + n > report->width) {
			printf("\n%*s", indent, "");
			at = indent;
		}
		if (at > indent) {
			putchar(' ');
			++at;
		}
		printf("%.*s", n, text);
		at += n;
		text += n + (text[n] == ' ');
	}
	putchar('\n');
}

void report_heading(struct report *report, const char *format, ...)
{
	ZR_CLEANUP(zr_freep) char *heading = NULL;
	va_list args;

	va_start(args, format);
	heading = text_of(format, args);
	va_end(args);

	if (report->has_heading)
		putchar('\n');
	report->has_heading = true;
	printf(report->is_coloured ? "\033[1m%s\033[0m\n" : "%s\n", heading);
}

void report_finding(struct report *report, enum report_state state, const char *what,
		    const char *remedy, const char *format, ...)
{
	ZR_CLEANUP(zr_freep) char *message = NULL;
	int at;
	va_list args;

	va_start(args, format);
	message = text_of(format, args);
	va_end(args);
	report->n_warnings += state == REPORT_WARN;
	report->n_bad += state == REPORT_BAD;

	if (report->is_coloured)
		printf("  %s%-4s\033[0m  ", states[state].colour, states[state].word);
	else
		printf("  %-4s  ", states[state].word);
	at = WHAT_COLUMN + printf("%-*s ", WHAT_WIDTH, what);
	/* Words begin where the column does, though what stands before may reach into it. */
	print_wrapped(report, message, at > MESSAGE_COLUMN ? at - 1 : at, MESSAGE_COLUMN);
	if (remedy && *remedy) {
		printf("%*s", WHAT_COLUMN, "");
		print_wrapped(report, remedy, WHAT_COLUMN, WHAT_COLUMN);
	}
}

bool report_end(struct report *report)
{
	if (report->n_bad + report->n_warnings > 0)
		printf("\nbad: %u, warnings: %u\n", report->n_bad, report->n_warnings);
	else
		printf("\nnothing to do\n");
	return report->n_bad == 0;
}
