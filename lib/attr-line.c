/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A line of hot_add: name attribute=value ...
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attr-parts.h"

#define BLANKS " \t"

/* The next word of the line, with its quotes taken away. A word is attribute=value or a name.
 * Return: false at the end; *wordp is NULL for quotes that do not close. */
static bool word_take(char **restp, char **wordp)
{
	char *from = *restp + strspn(*restp, BLANKS), *to = from;
	bool quoted = false;

	if (*from == 0)
		return false;

	*wordp = to;
	for (; *from && (quoted || !strchr(BLANKS, *from)); ++from) {
		if (*from == '"')
			quoted = !quoted;
		else
			*to++ = *from;
	}
	*restp = *from ? from + 1 : from;
	*to = 0;
	if (quoted)
		*wordp = NULL;
	return true;
}

static int value_apply(struct zr_disk_spec *spec, const struct zr_attr *attr, const char *value,
		       char why[ZR_ATTR_WHY_MAX])
{
	int r;

	r = attr->parse(spec, value);
	if (r < 0)
		snprintf(why, ZR_ATTR_WHY_MAX, "%s=%s: %s; allowed: %s", attr->name, value,
			 r == -ERANGE ? "out of range" : "not a value for it", attr->allowed);
	return r;
}

/* Words that were taken from a line. */
struct words {
	size_t n;
	char *word[ZR_ATTR_INDEX_MAX];
};

static int words_take(struct words *words, char *line, char why[ZR_ATTR_WHY_MAX])
{
	char *word;

	words->n = 0;
	while (word_take(&line, &word)) {
		if (!word || words->n == ZR_ARRAY_SIZE(words->word)) {
			snprintf(why, ZR_ATTR_WHY_MAX, "%s",
				 word ? "too many words" : "a quote is not closed");
			return -EINVAL;
		}
		words->word[words->n++] = word;
	}
	return 0;
}

/* The value that is said of an attribute. Return: NULL if none is. */
static const char *words_find(const struct words *words, const char *name)
{
	const size_t n_name = strlen(name);
	size_t i;

	for (i = 1; i < words->n; ++i) {
		if (strncmp(words->word[i], name, n_name) == 0 && words->word[i][n_name] == '=')
			return words->word[i] + n_name + 1;
	}
	return NULL;
}

/* Is each word one of an attribute that can be set, and the only one? */
static int words_check(const struct words *words, char why[ZR_ATTR_WHY_MAX])
{
	const struct zr_attr *attr;
	char name[64];
	size_t i;

	for (i = 1; i < words->n; ++i) {
		const char *equals = strchr(words->word[i], '=');

		snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - words->word[i]) : 0,
			 words->word[i]);
		attr = zr_attr_find(name);
		if (!attr || !(attr->flags & ZR_ATTR_CONFIG)) {
			snprintf(why, ZR_ATTR_WHY_MAX, "%s: %s; allowed: attribute=value",
				 words->word[i],
				 equals ? "no attribute that can be set" : "no value");
			return -EINVAL;
		}
		if (words_find(words, name) != equals + 1) {
			snprintf(why, ZR_ATTR_WHY_MAX, "%s: given twice; allowed: once", name);
			return -EINVAL;
		}
	}
	return 0;
}

static int words_apply(struct zr_disk_spec *spec, const struct words *words,
		       char why[ZR_ATTR_WHY_MAX])
{
	const struct zr_attr *attr;
	const char *value;
	unsigned int i;
	int r = 0;

	/* In the table's order, where an algorithm stands before its parameters. */
	for (i = 0; r == 0 && (attr = zr_attr_next(&i)); ++i) {
		if (!attr->parse)
			continue;
		value = words_find(words, attr->name);
		if (value)
			r = value_apply(spec, attr, value, why);
	}
	return r;
}

/* What a disk waits for must be able to come. */
static int on_limit_check(const struct zr_disk_spec *spec, char why[ZR_ATTR_WHY_MAX])
{
	if (spec->attrs.on_limit != ZR_ON_LIMIT_SPILL || spec->backing_dev[0])
		return 0;
	snprintf(why, ZR_ATTR_WHY_MAX,
		 "on_limit=spill: the disk has no backing_dev; allowed: enospc, or a backing_dev");
	return -EINVAL;
}

int zr_attr_parse_line(struct zr_disk_spec *spec, const char *line, char why[ZR_ATTR_WHY_MAX])
{
	char copy[ZR_ATTR_VALUE_MAX + 1];
	struct zr_disk_spec wanted = *spec;
	struct words words;
	const char *what;
	int r;

	if (strlen(line) >= sizeof(copy)) {
		snprintf(why, ZR_ATTR_WHY_MAX, "too long; allowed: %u bytes", ZR_ATTR_VALUE_MAX);
		return -EINVAL;
	}
	memcpy(copy, line, strlen(line) + 1);

	r = words_take(&words, copy, why);
	if (r < 0)
		return r;
	if (zr_disk_name_check(words.n > 0 ? words.word[0] : "", &what) < 0) {
		snprintf(why, ZR_ATTR_WHY_MAX, "%s: %s", words.n > 0 ? words.word[0] : "", what);
		return -EINVAL;
	}

	wanted.disksize_bytes = 0;
	memset(wanted.attrs.name, 0, sizeof(wanted.attrs.name));
	memcpy(wanted.attrs.name, words.word[0], strlen(words.word[0]));
	r = words_check(&words, why);
	if (r == 0)
		r = words_apply(&wanted, &words, why);
	if (r == 0)
		r = on_limit_check(&wanted, why);
	if (r == 0)
		*spec = wanted;
	return r;
}
