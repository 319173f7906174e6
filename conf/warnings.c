/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "warnings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "text.h"

/* A line of the log is 512 bytes, and begins with a path. */
#define LINE_BYTES_MAX 360u

void warnings_deinit(struct warnings *warnings)
{
	size_t i;

	for (i = 0; i < warnings->n_lines; ++i)
		free(warnings->lines[i]);
	free(warnings->lines);
	*warnings = (struct warnings){ 0 };
}

bool warnings_have(const struct warnings *warnings, const char *line)
{
	size_t i;

	for (i = 0; i < warnings->n_lines; ++i)
		if (strcmp(warnings->lines[i], line) == 0)
			return true;

	return false;
}

static int warnings_add(struct warnings *warnings, const char *line)
{
	char **lines;

	lines = reallocarray(warnings->lines, warnings->n_lines + 1, sizeof(*lines));
	if (!lines)
		return -ENOMEM;
	warnings->lines = lines;

	lines[warnings->n_lines] = strdup(line);
	if (!lines[warnings->n_lines])
		return -ENOMEM;
	zr_text_clean(lines[warnings->n_lines], ""); /* names hold what a terminal would obey */
	++warnings->n_lines;
	return 0;
}

void naming_add(struct naming *naming, unsigned int line_no, const char *format, ...)
{
	va_list args;

	if (naming->n == NAMING_MAX) {
		++naming->n_more;
		return;
	}

	va_start(args, format);
	vsnprintf(naming->items[naming->n].text, NAMING_TEXT_MAX, format, args);
	va_end(args);
	naming->items[naming->n++].line_no = line_no;
}

/* A handful at most, and nearly in order: by insertion. */
static void naming_sort(struct naming *naming)
{
	size_t i, k;

	for (i = 1; i < naming->n; ++i) {
		for (k = i; k > 0 && naming->items[k - 1].line_no > naming->items[k].line_no; --k) {
			__auto_type moved = naming->items[k];

			naming->items[k] = naming->items[k - 1];
			naming->items[k - 1] = moved;
		}
	}
}

int naming_warn(struct naming *naming, struct warnings *warnings, const char *intro)
{
	char line[LINE_BYTES_MAX + 32], item[NAMING_TEXT_MAX + 32];
	size_t n, i;

	if (naming->n == 0)
		return 0;

	naming_sort(naming);
	n = (size_t)snprintf(line, sizeof(line), "%s: ", intro);
	for (i = 0; i < naming->n; ++i) {
		const unsigned int line_no = naming->items[i].line_no;

		if (line_no > 0)
			snprintf(item, sizeof(item), "line %u %s", line_no, naming->items[i].text);
		else
			snprintf(item, sizeof(item), "%s", naming->items[i].text);
		if (i > 0 && n + strlen(item) + 2 > LINE_BYTES_MAX)
			break;
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%s", i > 0 ? ", " : "", item);
	}
	if (naming->n - i + naming->n_more > 0)
		snprintf(line + n, sizeof(line) - n, ", and %zu more",
			 naming->n - i + naming->n_more);

	return warnings_add(warnings, line);
}
