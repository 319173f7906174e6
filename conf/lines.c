/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "lines.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base.h"

#define BLANKS " \t"

/* What a line may be, as messages say it. */
#define LINE_ALLOWED "[section], key = value, or a comment after # or ;"

enum {
	LINE_E_KEY = 1, /* inih's to read */
};

struct reader {
	struct lines *lines;
	const struct lines_handler *handler;
	void *user;
	FILE *file;
	bool in_section;
	int r; /* the first error; nothing is read after it */
};

static void file_closep(FILE **filep)
{
	if (*filep)
		fclose(*filep);
}

int lines_refuse(const struct lines *lines, unsigned int line_no, const char *format, ...)
{
	char what[1024], where[16] = "";
	va_list args;
	char *at;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);

	if (line_no > 0)
		snprintf(where, sizeof(where), ":%u", line_no);
	snprintf(lines->message, lines->n_message, "%s%s: %s", lines->path, where, what);

	/* One line, and nothing that a terminal obeys: paths hold anything. */
	for (at = lines->message; lines->n_message > 0 && *at; ++at)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';

	return -EINVAL;
}

int lines_fail(const struct lines *lines, int error)
{
	lines_refuse(lines, 0, "%s", strerror(error));
	return -error;
}

/* Control bytes are what a binary file or a stray carriage return looks like; a NUL would hide the
 * rest of its line. */
static int line_check_bytes(const struct lines *lines, const char *text, size_t n_text)
{
	size_t i;

	for (i = 0; i < n_text; ++i) {
		unsigned char c = (unsigned char)text[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return lines_refuse(lines, lines->line_no,
					    "control character 0x%02x; allowed: text", c);
	}

	return 0;
}

/*
 * Read a line without its end. inih means a buffer of n_text bytes to hold a line, \r, \n and a
 * terminator; what is longer it would take for two lines.
 *
 * Return: 1, 0 at the end of the file, or negative.
 */
static int line_get(struct reader *reader, char *text, size_t n_text)
{
	static const char bom[] = "\xef\xbb\xbf";
	struct lines *lines = reader->lines;
	size_t n_max = n_text - 3, n = 0;
	int c, r;

	++lines->line_no;
	while ((c = getc(reader->file)) != EOF && c != '\n' && n <= n_max)
		text[n++] = (char)c;

	if (ferror(reader->file))
		return lines_fail(lines, errno);
	if (c == EOF && n == 0)
		return 0;

	if (n > 0 && text[n - 1] == '\r' && (c == EOF || c == '\n'))
		--n;
	if (n > n_max || (c != EOF && c != '\n'))
		return lines_refuse(lines, lines->line_no, "line too long; allowed: %zu bytes",
				    n_max);

	r = line_check_bytes(lines, text, n);
	if (r < 0)
		return r;

	text[n] = '\0';
	if (lines->line_no == 1 && strncmp(text, bom, strlen(bom)) == 0)
		memmove(text, text + strlen(bom), n - strlen(bom) + 1);

	return 1;
}

/* @text: starts with a bracket. */
static int header_take(struct reader *reader, char *text)
{
	const struct lines *lines = reader->lines;
	char *name = text + 1, *end = strchr(text, ']');
	const char *rest;
	int r;

	if (!end)
		return lines_refuse(lines, lines->line_no, "%s: no ']'; allowed: [section]", text);

	rest = end + 1 + strspn(end + 1, BLANKS);
	if (*rest != '\0' && *rest != ';')
		return lines_refuse(lines, lines->line_no,
				    "%s: text after ']'; allowed: [section] ; comment", text);

	if (strchr(BLANKS, *name) || strchr(BLANKS, end[-1]))
		return lines_refuse(lines, lines->line_no,
				    "%s: white space around the name; allowed: [section]", text);

	*end = '\0';
	r = reader->handler->section(reader->user, name);
	if (r < 0)
		return r;

	reader->in_section = true;
	return 0;
}

/* Would inih take this for a key and a value, split where a person would? It takes a colon for an
 * equals sign, too. */
static int key_check(const struct reader *reader, const char *text)
{
	const struct lines *lines = reader->lines;
	size_t n_key = strcspn(text, "=:;");

	if (text[n_key] != '=')
		return lines_refuse(lines, lines->line_no, "%s: no '=' after a key; allowed: %s",
				    text, LINE_ALLOWED);
	if (n_key == 0)
		return lines_refuse(lines, lines->line_no, "%s: no key before '='; allowed: %s",
				    text, LINE_ALLOWED);
	if (!reader->in_section)
		return lines_refuse(lines, lines->line_no,
				    "%s: key before any section; allowed: keys after a [section]",
				    text);

	return LINE_E_KEY;
}

/* Return: 0 when the line is done with, LINE_E_KEY when it is inih's, or negative. */
static int line_take(struct reader *reader, char *text)
{
	const struct lines *lines = reader->lines;
	const char *start = text + strspn(text, BLANKS);

	if (*start == '\0' || *start == '#' || *start == ';')
		return 0;

	if (start != text)
		return lines_refuse(
			lines, lines->line_no,
			"%s: line starts with white space, which would continue the one "
			"before; allowed: %s",
			start, LINE_ALLOWED);

	if (*text == '[')
		return header_take(reader, text);

	return key_check(reader, text);
}

/* inih's fgets(): the next line with a key. */
static char *reader_next(char *text, int n_text, void *user)
{
	struct reader *reader = user;
	int r;

	while (reader->r == 0) {
		r = line_get(reader, text, (size_t)n_text);
		if (r == 0)
			return NULL;

		if (r > 0)
			r = line_take(reader, text);
		if (r == LINE_E_KEY)
			return text;

		reader->r = r;
	}

	return NULL;
}

/* inih's handler. The section it names is always the empty one: it saw no header. */
static int reader_key(void *user, const char *section, const char *key, const char *value)
{
	struct reader *reader = user;

	reader->r = reader->handler->key(reader->user, key, value);
	return reader->r == 0;
}

int lines_read(struct lines *lines, const struct lines_handler *handler, void *user)
{
	ZR_CLEANUP(file_closep) FILE *file = NULL;
	struct reader reader = { .lines = lines, .handler = handler, .user = user };
	int r;

	file = fopen(lines->path, "re");
	if (!file)
		return lines_fail(lines, errno);

	reader.file = file;
	lines->line_no = 0;
	r = ini_parse_stream(reader_next, &reader, reader_key, &reader);
	if (reader.r < 0)
		return reader.r;
	if (r < 0)
		return lines_fail(lines, ENOMEM);
	if (r > 0)
		return lines_refuse(lines, 0, "inih refuses its key number %d", r);

	return 0;
}
