/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "trace.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define HEADER_WORD "zramfs-trace"

static void __attribute__((format(printf, 2, 3)))
complain(struct trace *trace, const char *format, ...)
{
	char what[256];
	va_list list;

	va_start(list, format);
	vsnprintf(what, sizeof(what), format, list);
	va_end(list);
	tool_error("%s:%lu: %s", trace->name, trace->line, what);
}

/* What isspace() is in any locale; a trace may come by mail, with the ends of lines of elsewhere.
 */
static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *space_skip(const char *at)
{
	while (is_space(*at))
		++at;
	return at;
}

static const char *word_skip(const char *at)
{
	while (*at && !is_space(*at))
		++at;
	return at;
}

/* Digits, and nothing else in the word; strtoull() would take signs, and a quarter of the time.
 * Return: false if it is no number up to @max. */
static bool number_take(const char **atp, uint64_t max, uint64_t *numberp)
{
	const char *at = space_skip(*atp);
	uint64_t number = 0;

	if (*at < '0' || *at > '9')
		return false;
	for (; *at >= '0' && *at <= '9'; ++at) {
		number = number * 10 + (uint64_t)(*at - '0');
		if (number > max)
			return false;
	}
	if (*at && !is_space(*at))
		return false;

	*atp = at;
	*numberp = number;
	return true;
}

/* Return: 1 with a line that is neither empty nor a comment, 0 at the end, -1. */
static int line_read(struct trace *trace, const char **atp)
{
	const char *at;

	for (;;) {
		ssize_t n = getline(&trace->text, &trace->n_text_max, trace->file);

		if (n < 0) {
			if (!ferror(trace->file))
				return 0;
			tool_error("%s: cannot read: %s", trace->name, strerror(errno));
			return -1;
		}
		++trace->line;
		at = space_skip(trace->text);
		if (*at && *at != '#') {
			*atp = at;
			return 1;
		}
	}
}

/* NAME or NAME:LEVEL, of any name: a trace outlives the codecs of one version. */
static int codec_parse(struct trace *trace, const char *at, size_t n_at)
{
	struct trace_codec *codec = &trace->codecs[trace->n_codecs];
	const char *colon = memchr(at, ':', n_at);
	size_t n_name = colon ? (size_t)(colon - at) : n_at;
	char *end;
	long level;

	if (trace->n_codecs == TRACE_CODECS_MAX) {
		complain(trace, "more than %u codecs", TRACE_CODECS_MAX);
		return -1;
	}
	if (n_name == 0 || n_name >= sizeof(codec->name)) {
		complain(trace, "'%.*s': a codec is NAME or NAME:LEVEL, a name 1 to %zu bytes",
			 (int)n_at, at, sizeof(codec->name) - 1);
		return -1;
	}

	*codec = (struct trace_codec){ .level = ZR_CODEC_LEVEL_DEFAULT };
	memcpy(codec->name, at, n_name);
	if (colon) {
		errno = 0;
		level = strtol(colon + 1, &end, 10);
		if (errno || end == colon + 1 || end != at + n_at || level <= INT32_MIN ||
		    level > INT32_MAX) {
			complain(trace, "'%.*s': a level is a whole number", (int)n_at, at);
			return -1;
		}
		codec->level = (int32_t)level;
	}
	++trace->n_codecs;
	return 0;
}

static int header_read(struct trace *trace)
{
	const char *at, *end;
	uint64_t version;
	int r;

	r = line_read(trace, &at);
	if (r < 0)
		return -1;
	end = r ? word_skip(at) : NULL;
	if (!r || (size_t)(end - at) != strlen(HEADER_WORD) ||
	    memcmp(at, HEADER_WORD, strlen(HEADER_WORD)) != 0) {
		complain(trace, "not a trace: the first line is '%s %u CODEC...'", HEADER_WORD,
			 TRACE_VERSION);
		return -1;
	}
	if (!number_take(&end, UINT32_MAX, &version) || version != TRACE_VERSION) {
		complain(trace, "a version that is not known: %u is", TRACE_VERSION);
		return -1;
	}
	for (at = space_skip(end); *at; at = space_skip(end)) {
		end = word_skip(at);
		if (codec_parse(trace, at, (size_t)(end - at)) < 0)
			return -1;
	}
	if (trace->n_codecs == 0) {
		complain(trace, "no codec: '%s %u CODEC...'", HEADER_WORD, TRACE_VERSION);
		return -1;
	}
	return 0;
}

int trace_open(struct trace *trace, const char *path)
{
	const bool is_stdin = strcmp(path, "-") == 0;

	*trace = (struct trace){ .name = is_stdin ? "standard input" : path };
	trace->file = is_stdin ? stdin : fopen(path, "re");
	if (!trace->file) {
		tool_error("%s: cannot open: %s", path, strerror(errno));
		return -1;
	}
	if (header_read(trace) < 0) {
		trace_close(trace);
		return -1;
	}
	return 0;
}

void trace_close(struct trace *trace)
{
	if (trace->file && trace->file != stdin)
		fclose(trace->file);
	free(trace->text);
	trace->file = NULL;
	trace->text = NULL;
}

/* The lengths of a written page. */
static int lengths_parse(struct trace *trace, const char **atp, struct trace_op *op)
{
	unsigned int i, n_same = 0;
	uint64_t n_bytes;

	for (i = 0; i < trace->n_codecs; ++i) {
		if (!number_take(atp, ZR_PAGE_SIZE, &n_bytes)) {
			complain(trace, "'w PAGE' needs %u lengths of 0 to %u bytes",
				 trace->n_codecs, ZR_PAGE_SIZE);
			return -1;
		}
		op->n_bytes[i] = (uint16_t)n_bytes;
		n_same += n_bytes == TRACE_BYTES_SAME || n_bytes == TRACE_BYTES_SAME_OBJECT;
		if (n_same > 0 && n_bytes != op->n_bytes[0])
			n_same = trace->n_codecs + 1;
	}
	/* What is same-filled no codec gets to see. */
	if (n_same > 0 && n_same != trace->n_codecs) {
		complain(trace, "lengths %u and %u are for same-filled pages: all alike or none",
			 TRACE_BYTES_SAME, TRACE_BYTES_SAME_OBJECT);
		return -1;
	}
	return 0;
}

static int page_no_parse(struct trace *trace, const char **atp, struct trace_op *op)
{
	if (number_take(atp, ZR_DISK_PAGES_MAX - 1, &op->page_no))
		return 0;

	complain(trace, "a page is a number from 0 to %llu",
		 (unsigned long long)ZR_DISK_PAGES_MAX - 1);
	return -1;
}

static int count_parse(struct trace *trace, const char **atp, struct trace_op *op)
{
	const uint64_t n_pages_max = ZR_DISK_PAGES_MAX - op->page_no;

	if (number_take(atp, n_pages_max, &op->n_pages) && op->n_pages > 0)
		return 0;

	complain(trace, "'d PAGE COUNT' needs a count from 1 to %llu",
		 (unsigned long long)n_pages_max);
	return -1;
}

int trace_next(struct trace *trace, struct trace_op *op)
{
	const char *at, *word;
	int r;

	r = line_read(trace, &word);
	if (r <= 0)
		return r;

	at = word + 1;
	if (!is_space(*at) || !strchr("wdr", *word)) {
		complain(trace, "'%.*s': a line is 'w PAGE LENGTH...', 'd PAGE COUNT' or 'r PAGE'",
			 (int)zr_min((uint64_t)(word_skip(word) - word), 40), word);
		return -1;
	}

	*op = (struct trace_op){ .n_pages = 1 };
	op->kind = *word == 'w' ? TRACE_WRITE : *word == 'd' ? TRACE_DISCARD : TRACE_READ;
	if (page_no_parse(trace, &at, op) < 0)
		return -1;
	if (op->kind == TRACE_WRITE && lengths_parse(trace, &at, op) < 0)
		return -1;
	if (op->kind == TRACE_DISCARD && count_parse(trace, &at, op) < 0)
		return -1;
	if (*space_skip(at)) {
		complain(trace, "'%c': more numbers than it takes", *word);
		return -1;
	}
	return 1;
}

int trace_column(const struct trace *trace, const char *codec_name)
{
	unsigned int i;

	for (i = 0; i < trace->n_codecs; ++i) {
		if (strcmp(trace->codecs[i].name, codec_name) == 0)
			return (int)i;
	}
	return -1;
}
