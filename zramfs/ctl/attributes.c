/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "attributes.h"

#include <string.h>

#include "attr.h"

#define LINE_MAX_CHARS 80
#define NAME_CHARS     20
#define TEXT_INDENT    6

/* From column @at on, broken between words, and each further line from @indent on. */
static void text_wrap(FILE *out, const char *text, size_t at, size_t indent)
{
	const char *word = text;
	size_t n;

	while (*word) {
		n = strcspn(word, " ");
		if (word > text && at + 1 + n > LINE_MAX_CHARS) {
			fprintf(out, "\n%*s", (int)indent, "");
			at = indent;
		} else if (word > text) {
			fputc(' ', out);
			++at;
		}
		fprintf(out, "%.*s", (int)n, word);
		at += n;
		word += n + (word[n] != 0);
	}
	fputc('\n', out);
}

/* @head: what the text is. */
static void text_below(FILE *out, const char *head, const char *text)
{
	fprintf(out, "%*s%s", TEXT_INDENT, "", head);
	text_wrap(out, text, TEXT_INDENT + strlen(head), TEXT_INDENT + 2 * (*head != 0));
}

static void explain_one(FILE *out, const struct zr_attr *attr)
{
	fprintf(out, "  %s (%s%s%s)\n", attr->name, attr->type, attr->unit ? ", " : "",
		attr->unit ? attr->unit : "");
	text_below(out, "", attr->help);
	if (!attr->allowed)
		return;
	text_below(out, "allowed: ", attr->allowed);
	if (attr->when != ZR_WHEN_ALWAYS)
		text_below(out, "when: ", zr_attr_when_text(attr->when));
}

static bool is_set(const struct zr_attr *attr)
{
	return attr->apply || attr->flags & ZR_ATTR_CONFIG;
}

static void explain_those(FILE *out, const char *heading, unsigned int daemon_flag, bool set)
{
	const struct zr_attr *attr;
	unsigned int i;

	fprintf(out, "\n%s\n", heading);
	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if ((attr->flags & ZR_ATTR_DAEMON) == daemon_flag && is_set(attr) == set)
			explain_one(out, attr);
	}
}

void attributes_explain_config(FILE *out)
{
	const struct zr_attr *attr;
	unsigned int i;

	fputs("\nAttributes of a disk that is to be made:\n", out);
	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (attr->flags & ZR_ATTR_DAEMON || !(attr->flags & ZR_ATTR_CONFIG))
			continue;
		fprintf(out, "  %-*s  ", NAME_CHARS, attr->name);
		text_wrap(out, attr->help, NAME_CHARS + 4, NAME_CHARS + 4);
	}
	fputs("What is allowed for each: zramfsctl help set\n", out);
}

void attributes_explain(FILE *out)
{
	explain_those(out, "Attributes of a disk that are set:", 0, true);
	explain_those(out, "Attributes of a disk that are read:", 0, false);
	explain_those(out, "Attributes of the daemon that are set:", ZR_ATTR_DAEMON, true);
	explain_those(out, "Attributes of the daemon that are read:", ZR_ATTR_DAEMON, false);
}

void attributes_list(FILE *out)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i)
		fprintf(out, "%s %s%s%s%s\n", attr->flags & ZR_ATTR_DAEMON ? "daemon" : "disk",
			attr->name, attr->flags & ZR_ATTR_CONFIG ? " config" : "",
			attr->show || attr->stream ? " read" : "", attr->apply ? " write" : "");
}
