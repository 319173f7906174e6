/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "text.h"

#define BLANKS " \t"

/* A mark of the byte order, in UTF-8. */
#define BOM "\xef\xbb\xbf"

/* What a line may be, as messages say it. */
#define LINE_ALLOWED "[section], key = value, or a comment after # or ;"

/* A thousand disks with a comment for each key are a tenth of it. */
#define FILE_BYTES_MAX (1u << 20)

enum {
	LINE_E_KEY = 1, /* inih's to read */
};

struct reader {
	struct lines *lines;
	const struct lines_handler *handler;
	void *user;
	FILE *file;
	size_t n_bytes; /* that were read */
	int r;          /* the first error; nothing is read after it */
};

int lines_refuse(const struct lines *lines, unsigned int line_no, const char *format, ...)
{
	char what[1024], where[16] = "";
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);

	if (line_no > 0)
		snprintf(where, sizeof(where), ":%u", line_no);
	snprintf(lines->message, lines->n_message, "%s%s: %s", lines->path, where, what);

	/* One line, and nothing that a terminal obeys: paths hold anything. */
	if (lines->n_message > 0)
		zr_text_clean(lines->message, "");

	return -EINVAL;
}

int lines_fail(const struct lines *lines, int error)
{
	lines_refuse(lines, 0, "%s", strerror(error));
	return -error;
}

/* Control bytes are what a binary file or a stray carriage return looks like; a NUL would hide the
 * rest of its line. */
static int byte_check(const struct lines *lines, int byte)
{
	if ((byte >= 0x20 && byte != 0x7f) || byte == '\t')
		return 0;

	return lines_refuse(lines, lines->line_no, "control character 0x%02x; allowed: text",
			    (unsigned int)byte);
}

static bool is_comment(const char *text)
{
	const char *start = text + strspn(text, BLANKS);

	return *start == '#' || *start == ';';
}

/* The next byte, or EOF; -EINVAL for too many, and then the message is written. */
static int byte_get(struct reader *reader)
{
	const int c = getc(reader->file);

	if (c == EOF || reader->n_bytes++ < FILE_BYTES_MAX)
		return c;

	return lines_refuse(reader->lines, reader->lines->line_no,
			    "the file goes on; allowed: %u bytes", FILE_BYTES_MAX);
}

_Static_assert(EOF != -EINVAL, "the two are told apart");

/* The rest of a line that is longer than it may be, @c being its first byte. Return: 0, or
 * negative for what is no comment. */
static int line_skip(struct reader *reader, const char *text, size_t n_max, int c)
{
	const struct lines *lines = reader->lines;
	int next, r = 0;

	if (!is_comment(text))
		return lines_refuse(lines, lines->line_no, "line too long; allowed: %zu bytes",
				    n_max);

	for (; r == 0 && c != EOF && c != '\n'; c = next) {
		next = byte_get(reader);
		if (next == -EINVAL)
			return next;
		if (c != '\r' || (next != EOF && next != '\n'))
			r = byte_check(lines, c);
	}
	if (r == 0 && ferror(reader->file))
		return lines_fail(lines, errno);
	return r;
}

/*
 * Read a line without its end. inih means a buffer of n_text bytes to hold a line, \r, \n and a
 * terminator; what is longer it would take for two lines.
 *
 * Return: 1, 0 at the end of the file, or negative.
 */
static int line_get(struct reader *reader, char *text, size_t n_text)
{
	struct lines *lines = reader->lines;
	size_t n_max = n_text - 3, n = 0, i;
	int c, r = 0;

	++lines->line_no;
	while ((c = byte_get(reader)) >= 0 && c != '\n' && n <= n_max)
		text[n++] = (char)c;

	if (c == -EINVAL)
		return c;
	if (ferror(reader->file))
		return lines_fail(lines, errno);
	if (c == EOF && n == 0)
		return 0;

	if (n > 0 && text[n - 1] == '\r' && (c == EOF || c == '\n'))
		--n;
	text[n] = '\0';
	for (i = 0; r == 0 && i < n; ++i)
		r = byte_check(lines, (unsigned char)text[i]);
	if (r == 0 && (n > n_max || (c != EOF && c != '\n')))
		r = line_skip(reader, text, n_max, c);
	return r < 0 ? r : 1;
}

/* @text: what follows a mark of the byte order, and white space where that means nothing. */
static void line_trim(const struct lines *lines, char *text)
{
	size_t n = 0;

	if (lines->line_no == 1 && strncmp(text, BOM, strlen(BOM)) == 0)
		n = strlen(BOM);
	if (lines->indented)
		n += strspn(text + n, BLANKS);
	if (n > 0)
		memmove(text, text + n, strlen(text + n) + 1);
}

/* @text: starts with a bracket. */
static int header_take(struct reader *reader, char *text)
{
	const struct lines *lines = reader->lines;
	char *name = text + 1, *end = strchr(text, ']');
	const char *rest;

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
	return reader->handler->section(reader->user, name);
}

/* Would inih take this for a key and a value, split where a person would? It takes a colon for an
 * equals sign, too. */
static int key_check(const struct reader *reader, const char *text)
{
	const struct lines *lines = reader->lines;
	size_t n_key = strcspn(text, "=:;");

	/* inih passes over it on the first line that it sees, whichever that is. */
	if (strncmp(text, BOM, strlen(BOM)) == 0)
		return lines_refuse(lines, lines->line_no,
				    "%s: a mark of the byte order (EF BB BF) before it; allowed: "
				    "one, at the start of the file",
				    text + strlen(BOM));
	if (text[n_key] != '=')
		return lines_refuse(lines, lines->line_no, "%s: no '=' after a key; allowed: %s",
				    text, LINE_ALLOWED);
	if (n_key == 0)
		return lines_refuse(lines, lines->line_no, "%s: no key before '='; allowed: %s",
				    text, LINE_ALLOWED);

	return LINE_E_KEY;
}

/* Return: 0 when the line is done with, LINE_E_KEY when it is inih's, or negative. */
static int line_take(struct reader *reader, char *text)
{
	const struct lines *lines = reader->lines;
	const char *start = text + strspn(text, BLANKS);

	if (*start == '\0' || is_comment(text))
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

		if (r > 0) {
			line_trim(reader->lines, text);
			r = line_take(reader, text);
		}
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

int lines_open(const struct lines *lines, FILE **filep)
{
	struct stat st;
	FILE *file;
	int fd;

	/* Opening a pipe would wait for who writes to it. */
	fd = open(lines->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return lines_fail(lines, errno);
	if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) {
		close(fd);
		return lines_refuse(lines, 0, "a pipe or a socket; allowed: a file");
	}

	file = fdopen(fd, "r");
	if (!file) {
		close(fd);
		return lines_fail(lines, ENOMEM);
	}
	*filep = file;
	return 0;
}

int lines_read(struct lines *lines, FILE *file, const struct lines_handler *handler, void *user)
{
	struct reader reader = { .lines = lines, .handler = handler, .user = user, .file = file };
	int r;

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
