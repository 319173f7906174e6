/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Manual pages from their templates: the lists of attributes are made from the one table
 *
 * Run when zramfs is built, not installed. In a template a line of its own, @ATTRIBUTES_DISK@ or
 * @ATTRIBUTES_DAEMON@, stands for the items of a list (mdoc).
 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"

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

static void put_page(FILE *template, FILE *page, enum listed listed)
{
	char line[1024];

	while (fgets(line, sizeof(line), template)) {
		if (strcmp(line, "@ATTRIBUTES_DISK@\n") == 0)
			put_attrs(page, 0, listed);
		else if (strcmp(line, "@ATTRIBUTES_DAEMON@\n") == 0)
			put_attrs(page, ZR_ATTR_DAEMON, listed);
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
