/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Manual pages from their templates: the lists of attributes and of figures are made from the one
 * table of each
 *
 * Run when zramfs is built, not installed. In a template a line of its own, @ATTRIBUTES_DISK@,
 * @ATTRIBUTES_DAEMON@, @FIGURES_DISK@, @FIGURES_LATENCY@ or @FIGURES_TOTAL@, stands for the items of
 * a list (mdoc).
 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "stats-parts.h"

#define COLUMNS 78u

/* Which rows a page lists. */
enum listed {
	LISTED_CONFIG,  /* keys of the configuration */
	LISTED_SET,     /* what can be set */
	LISTED_CONTROL, /* files under .control/ */
};

static bool is_listed(const struct zr_attr *attr, enum listed listed)
{
	switch (listed) {
	case LISTED_CONFIG:
		return attr->flags & ZR_ATTR_CONFIG;
	case LISTED_SET:
		return attr->apply || attr->flags & ZR_ATTR_CONFIG;
	case LISTED_CONTROL:
	default:
		return attr->flags & ZR_ATTR_CONTROL;
	}
}

/* A line of text being filled. */
struct filler {
	FILE *page;
	size_t column;
};

static void put_word(struct filler *filler, const char *word, size_t n_word)
{
	size_t i;

	if (filler->column > 0 && filler->column + 1 + n_word > COLUMNS) {
		fputc('\n', filler->page);
		filler->column = 0;
	}
	if (filler->column > 0) {
		fputc(' ', filler->page);
		++filler->column;
	} else if (*word == '.' || *word == '\'') {
		fputs("\\&", filler->page);
	}
	for (i = 0; i < n_word; ++i) {
		if (word[i] == '-' || word[i] == '\\')
			fputs(word[i] == '-' ? "\\-" : "\\e", filler->page);
		else
			fputc(word[i], filler->page);
	}
	filler->column += n_word;
}

/* One sentence, on lines of its own, with a capital at its head and a full stop at its end. */
static void put_sentence(FILE *page, const char *head, const char *text)
{
	struct filler filler = { page, 0 };
	char sentence[512];
	const char *at;
	size_t n;

	snprintf(sentence, sizeof(sentence), "%s%s.", head, text);
	sentence[0] = (char)toupper((unsigned char)sentence[0]);
	for (at = sentence; *at; at += n + strspn(at + n, " ")) {
		n = strcspn(at, " ");
		put_word(&filler, at, n);
	}
	fputc('\n', page);
}

/* What the attribute is if nothing is said of it. Return: false where there is nothing to say. */
static bool default_text(const struct zr_attr *attr, char *text, size_t n_text)
{
	struct zr_disk_spec disk;
	struct zr_daemon_spec daemon;

	*text = 0;
	zr_disk_spec_init(&disk, 0);
	zr_daemon_spec_init(&daemon, 0);
	if (attr->print)
		attr->print(&disk, text, n_text);
	if (attr->print_daemon)
		attr->print_daemon(&daemon, text, n_text);
	return *text != 0;
}

static void put_attr(FILE *page, const struct zr_attr *attr)
{
	char text[256];

	fprintf(page, ".It Cm %s\n", attr->name);
	put_sentence(page, "", attr->help);
	if (attr->allowed)
		put_sentence(page, "allowed: ", attr->allowed);
	else if (attr->unit)
		put_sentence(page, "unit: ", attr->unit);
	if (default_text(attr, text, sizeof(text)))
		put_sentence(page, "default: ", text);
	if (attr->when != ZR_WHEN_NEVER)
		put_sentence(page, "may be set ", zr_attr_when_text(attr->when));
}

static void put_attrs(FILE *page, unsigned int daemon_flag, enum listed listed)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if ((attr->flags & ZR_ATTR_DAEMON) == daemon_flag && is_listed(attr, listed))
			put_attr(page, attr);
	}
}

/* figures */

static const char *unit_text(enum zr_figure_unit unit)
{
	switch (unit) {
	case ZR_UNIT_BYTES:
		return "bytes";
	case ZR_UNIT_PAGES:
		return "pages";
	case ZR_UNIT_REQUESTS:
		return "requests";
	case ZR_UNIT_HANDLES:
		return "handles";
	case ZR_UNIT_DISKS:
		return "disks";
	case ZR_UNIT_WORKERS:
		return "workers";
	case ZR_UNIT_FILES:
		return "files";
	}
	abort();
}

/* When .stats has it, if that is not always. */
static const char *stats_when_text(unsigned int flags)
{
	if (flags & ZR_FIGURE_IF_SET)
		return flags & ZR_FIGURE_IF_BACKED ? "where the disk has a backing file, unless 0"
						   : "unless 0";
	return flags & ZR_FIGURE_IF_BACKED ? "where the disk has a backing file" : NULL;
}

/* The name in .stats and that in JSON; and in parentheses the unit and the name of Prometheus. */
static void put_figure(FILE *page, const struct zr_figure *figure)
{
	const char *when = stats_when_text(figure->flags);

	fprintf(page, ".It Cm %s%s%s\n", figure->key, figure->name ? " , " : "",
		figure->name ? figure->name : "");
	put_sentence(page, "", figure->help);
	if (figure->flags & ZR_FIGURE_PERCENT)
		put_sentence(page, "", "in .stats percent of PagesStored");
	if (when)
		put_sentence(page, "in .stats ", when);
	if (!figure->name)
		return;
	fprintf(page, ".Pq %s%s%s%s\n", unit_text(figure->unit),
		figure->kind == ZR_FIGURE_COUNTER ? ", counted" : "",
		figure->metric ? " ; Cm " : "", figure->metric ? figure->metric : "");
}

static void put_figures(FILE *page, const struct zr_figure *figures)
{
	for (; figures->key; ++figures)
		put_figure(page, figures);
}

static void put_latencies(FILE *page)
{
	const struct zr_figure_latency *latency;
	unsigned int i;

	for (i = 0; i < ZR_N_FIGURE_LATENCIES; ++i) {
		latency = &zr_figures_latency[i];
		fprintf(page, ".It Cm %sP50 , %sP99 , %sMax , %s\n", latency->key, latency->key,
			latency->key, latency->name);
		put_sentence(page, "", latency->help);
		if (stats_when_text(latency->flags))
			put_sentence(page, "in .stats ", stats_when_text(latency->flags));
		fprintf(page, ".Pq Cm %s\n", latency->metric);
	}
}

static void put_page(FILE *template, FILE *page, enum listed listed)
{
	char line[1024];

	while (fgets(line, sizeof(line), template)) {
		if (strcmp(line, "@ATTRIBUTES_DISK@\n") == 0)
			put_attrs(page, 0, listed);
		else if (strcmp(line, "@ATTRIBUTES_DAEMON@\n") == 0)
			put_attrs(page, ZR_ATTR_DAEMON, listed);
		else if (strcmp(line, "@FIGURES_DISK@\n") == 0)
			put_figures(page, zr_figures_disk);
		else if (strcmp(line, "@FIGURES_LATENCY@\n") == 0)
			put_latencies(page);
		else if (strcmp(line, "@FIGURES_TOTAL@\n") == 0)
			put_figures(page, zr_figures_total);
		else
			fputs(line, page);
	}
}

/* Return: -1 for what is no word for it. */
static int listed_of(const char *word)
{
	static const char *const words[] = { "config", "set", "control" };
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(words); ++i) {
		if (strcmp(word, words[i]) == 0)
			return (int)i;
	}
	return -1;
}

int main(int argc, char **argv)
{
	const int listed = argc == 4 ? listed_of(argv[1]) : -1;
	FILE *template, *page;

	if (listed < 0) {
		fputs("usage: manual config|set|control TEMPLATE PAGE\n", stderr);
		return EXIT_FAILURE;
	}
	template = fopen(argv[2], "r");
	page = fopen(argv[3], "w");
	if (!template || !page) {
		perror(template ? argv[3] : argv[2]);
		return EXIT_FAILURE;
	}

	put_page(template, page, (enum listed)listed);
	if (ferror(template) || fclose(page) != 0) {
		perror(argv[3]);
		return EXIT_FAILURE;
	}
	fclose(template);
	return EXIT_SUCCESS;
}
