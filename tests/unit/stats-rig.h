#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of statistics share: the texts, read as their readers read them. .stats as a person's
 * script does, the section by its name in brackets, the value after the key's colon; JSON by a parser
 * that takes nothing but JSON; metrics line by line.
 */

#include "rig.h"
#include "stats-parts.h"
#include "text.h"

static struct rig rig;
static char *text, *json, *metrics;

static inline unsigned int three_open(void *context, unsigned int entry_no)
{
	CHECK(context == &rig && entry_no < ZR_DISKS_MAX);
	return 3;
}

/* The last line was cut. */
#define SAFETY "memory ok\nstore refused ok: it is not\nodd\nbuffers okay\nnoswap ok"

static const struct zr_stats_context three = { "1.2-test", three_open, &rig, 41, 5, SAFETY };

static inline void render_one(char **bufferp, int (*make)(struct zr_store *store,
							  const struct zr_stats_context *context,
							  char **textp, size_t *n_textp))
{
	size_t n_text = 0;

	free(*bufferp);
	*bufferp = NULL;
	CHECK(make(rig.store, &three, bufferp, &n_text) == 0);
	CHECK(strlen(*bufferp) == n_text);
	CHECK(n_text > 0 && (*bufferp)[n_text - 1] == '\n');
}

/* Nothing happens between them: all three say the same. */
static inline void render(void)
{
	render_one(&text, zr_stats_text);
	render_one(&json, zr_stats_json);
	render_one(&metrics, zr_stats_metrics);
}

/* .stats */

static inline const char *section(const char *name)
{
	char head[80];
	const char *at;

	snprintf(head, sizeof(head), "[%s]\n", name);
	at = strstr(text, head);
	CHECK(at && (at == text || at[-1] == '\n'));
	return at + strlen(head);
}

/* The line of a key, within its section; NULL if there is none. */
static inline const char *line(const char *name, const char *key)
{
	const char *at = section(name), *end = strstr(at, "\n[");
	char head[80];

	snprintf(head, sizeof(head), "%s:\t", key);
	for (; at && *at && (!end || at < end); at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
		if (strncmp(at, head, strlen(head)) == 0)
			return at + strlen(head);
	}
	return NULL;
}

static inline uint64_t value(const char *name, const char *key)
{
	const char *at = line(name, key);

	CHECK(at);
	return strtoull(at, NULL, 10);
}

static inline uint64_t kib(uint64_t n_bytes)
{
	return (n_bytes + 1023) / 1024;
}

/* JSON */

static inline const char *json_blank(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

static inline const char *json_string_end(const char *at)
{
	CHECK(*at++ == '"');
	while (*at != '"') {
		CHECK((unsigned char)*at >= ' ');
		if (*at != '\\') {
			CHECK(zr_text_character(at) > 0); /* test-text tests that */
			at += zr_text_character(at);
		} else if (at[1] == 'u') {
			CHECK(strspn(at + 2, "0123456789abcdefABCDEF") >= 4);
			at += 6;
		} else {
			CHECK(at[1] && strchr("\"\\/bfnrt", at[1]));
			at += 2;
		}
	}
	return at + 1;
}

static inline const char *json_number_end(const char *at)
{
	at += *at == '-';
	CHECK(strspn(at, "0123456789") > 0 && (*at != '0' || strspn(at, "0123456789") == 1));
	return at + strspn(at, "0123456789"); /* integers alone */
}

/* Past the value, which is checked. */
static inline const char *json_end(const char *at)
{
	const char close = *at == '{' ? '}' : ']';
	const bool object = *at == '{';

	if (*at == '"')
		return json_string_end(at);
	if (*at != '{' && *at != '[')
		return json_number_end(at);

	at = json_blank(at + 1);
	if (*at == close)
		return at + 1;
	for (;; at = json_blank(at + 1)) {
		if (object) {
			at = json_blank(json_string_end(at));
			CHECK(*at == ':');
			at = json_blank(at + 1);
		}
		at = json_blank(json_end(at));
		if (*at == close)
			return at + 1;
		CHECK(*at == ',');
	}
}

/* The value of a member, the only one of its name, or NULL. */
static inline const char *json_member(const char *object, const char *name)
{
	const char *at = object, *found = NULL, *end;
	const size_t n = strlen(name);

	CHECK(*at == '{');
	for (at = json_blank(at + 1); *at != '}'; at = json_blank(at + (*at == ','))) {
		end = json_string_end(at);
		if ((size_t)(end - at) == n + 2 && memcmp(at + 1, name, n) == 0) {
			CHECK(!found);
			found = json_blank(json_blank(end) + 1);
		}
		at = json_blank(json_end(json_blank(json_blank(end) + 1)));
	}
	return found;
}

static inline unsigned int json_count(const char *container)
{
	const bool object = *container == '{';
	const char *at = json_blank(container + 1);
	unsigned int n = 0;

	for (; *at != ']' && *at != '}'; at = json_blank(at + (*at == ','))) {
		if (object)
			at = json_blank(json_blank(json_string_end(at)) + 1);
		at = json_blank(json_end(at));
		++n;
	}
	return n;
}

static inline const char *json_disk(unsigned int index)
{
	const char *at = json_blank(json_member(json, "disks") + 1);

	for (; index > 0; --index) {
		at = json_blank(json_end(at));
		CHECK(*at == ',');
		at = json_blank(at + 1);
	}
	CHECK(*at == '{');
	return at;
}

static inline uint64_t json_value(const char *object, const char *name)
{
	const char *at = json_member(object, name);

	CHECK(at && *at >= '0' && *at <= '9');
	return strtoull(at, NULL, 10);
}

/* Is the value this text, to the byte? */
static inline bool json_is(const char *value, const char *want)
{
	return (size_t)(json_end(value) - value) == strlen(want) &&
	       memcmp(value, want, strlen(want)) == 0;
}

/* metrics */

/* The line of a series, "name{labels}", the only one; its value. */
static inline const char *series(const char *name_and_labels)
{
	const char *at, *found = NULL;
	const size_t n = strlen(name_and_labels);

	for (at = metrics; *at; at = strchr(at, '\n') + 1) {
		if (strncmp(at, name_and_labels, n) == 0 && at[n] == ' ') {
			CHECK(!found);
			found = at + n + 1;
		}
	}
	return found;
}

static inline uint64_t metric(const char *name, const char *labels)
{
	char wanted[512];
	const char *at;

	snprintf(wanted, sizeof(wanted), *labels ? "%s{%s}" : "%s%s", name, labels);
	at = series(wanted);
	CHECK(at);
	return strtoull(at, NULL, 10);
}
