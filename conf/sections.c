/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "sections.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "attr.h"

#define NAME_ALLOWED \
	"1 to 63 bytes, no slash, control character or leading dot, not a file of .control"

/* A word further than this from every key is no slip of the pen. */
#define HINT_DISTANCE_MAX 2u

static bool section_is(const struct section *section, const char *name)
{
	return strcmp(section->name, name) == 0;
}

bool section_is_disk(const struct section *section)
{
	return !section_is(section, SECTION_DAEMON) && !section_is(section, SECTION_DEFAULTS);
}

const struct section *sections_find(const struct sections *sections, const char *name)
{
	size_t i;

	for (i = 0; i < sections->n_sections; ++i)
		if (section_is(&sections->sections[i], name))
			return &sections->sections[i];

	return NULL;
}

const struct record *section_find(const struct section *section, const char *key)
{
	size_t i;

	for (i = 0; i < section->n_records; ++i)
		if (strcmp(section->records[i].key, key) == 0)
			return &section->records[i];

	return NULL;
}

int record_refuse(const struct record *record, const struct lines *lines, const char *what,
		  const char *allowed)
{
	return lines_refuse(lines, record->line_no, "%s = %s: %s; allowed: %s", record->key,
			    record->value, what, allowed);
}

/* The keys that a section may have, one a call, from *indexp = 0. NULL past the end. */
static const char *key_next(const struct sections *sections, const struct section *section,
			    unsigned int *indexp)
{
	const struct zr_attr *attr;

	if (section_is(section, SECTION_DAEMON))
		return sections->daemon_keys[(*indexp)++];

	while ((attr = zr_attr_at((*indexp)++)))
		if (attr->flags & ZR_ATTR_CONFIG)
			return attr->name;

	return NULL;
}

/* The key itself, which outlives the text. */
static const char *key_find(const struct sections *sections, const struct section *section,
			    const char *text)
{
	unsigned int index = 0;
	const char *key;

	while ((key = key_next(sections, section, &index)))
		if (strcmp(key, text) == 0)
			return key;

	return NULL;
}

/* How many letters to change, add or leave out to come from one word to the other, whatever the
 * case (Levenshtein). Long words are infinitely far. */
static unsigned int word_distance(const char *a, const char *b)
{
	unsigned int row[32];
	size_t n_a = strlen(a), n_b = strlen(b), i, k;

	if (n_a >= ZR_ARRAY_SIZE(row) || n_b >= ZR_ARRAY_SIZE(row))
		return UINT32_MAX;

	for (k = 0; k <= n_b; ++k)
		row[k] = (unsigned int)k;

	for (i = 1; i <= n_a; ++i) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (k = 1; k <= n_b; ++k) {
			bool same = strncasecmp(&a[i - 1], &b[k - 1], 1) == 0;
			unsigned int changed = diagonal + !same;

			diagonal = row[k];
			row[k] = (unsigned int)zr_min(changed, zr_min(row[k], row[k - 1]) + 1);
		}
	}

	return row[n_b];
}

static int key_refuse_unknown(const struct sections *sections, const struct section *section,
			      const char *text, const char *value)
{
	unsigned int index = 0, best = HINT_DISTANCE_MAX + 1;
	const char *key, *nearest = NULL;
	char allowed[512] = "", hint[64] = "";
	size_t n = 0;

	while ((key = key_next(sections, section, &index))) {
		unsigned int distance = word_distance(text, key);

		if (distance < best) {
			best = distance;
			nearest = key;
		}
		if (n < sizeof(allowed))
			n += (size_t)snprintf(allowed + n, sizeof(allowed) - n, "%s%s",
					      n > 0 ? ", " : "", key);
	}

	if (nearest)
		snprintf(hint, sizeof(hint), " (did you mean %s?)", nearest);

	return lines_refuse(&sections->lines, sections->lines.line_no,
			    "%s = %s: unknown key in [%s]%s; allowed: %s", text, value,
			    section->name, hint, allowed);
}

static int sections_key(void *user, const char *text, const char *value)
{
	struct sections *sections = user;
	const struct lines *lines = &sections->lines;
	struct section *section = &sections->sections[sections->n_sections - 1];
	struct record record = { .line_no = lines->line_no };
	const struct record *before;
	struct record *records;

	record.key = key_find(sections, section, text);
	if (!record.key)
		return key_refuse_unknown(sections, section, text, value);

	before = section_find(section, text);
	if (before)
		return lines_refuse(lines, lines->line_no,
				    "%s = %s: already given on line %u; allowed: once a section",
				    text, value, before->line_no);

	records = reallocarray(section->records, section->n_records + 1, sizeof(*records));
	if (!records)
		return lines_fail(lines, ENOMEM);
	section->records = records;

	record.value = strdup(value);
	if (!record.value)
		return lines_fail(lines, ENOMEM);

	records[section->n_records++] = record;
	return 0;
}

/* A slip of the pen in the two names that are no disks would make a disk, and leave unread what
 * the section was to say. */
static const char *name_meant(const char *name)
{
	if (strcasecmp(name, SECTION_DAEMON) == 0)
		return SECTION_DAEMON;
	if (strcasecmp(name, SECTION_DEFAULTS) == 0 || strcasecmp(name, "default") == 0)
		return SECTION_DEFAULTS;

	return NULL;
}

/* May there be a disk of this name, and one more? */
static int name_check(const struct sections *sections, const char *name)
{
	const struct lines *lines = &sections->lines;
	const char *why = NULL, *meant = name_meant(name);
	size_t i, n_disks = 0;

	if (zr_disk_name_check(name, &why) < 0)
		return lines_refuse(lines, lines->line_no,
				    "[%s]: not a name for a disk: %s; allowed: %s", name, why,
				    NAME_ALLOWED);

	if (meant)
		return lines_refuse(lines, lines->line_no,
				    "[%s]: not a name for a disk (did you mean [%s]?); allowed: %s",
				    name, meant, NAME_ALLOWED);

	for (i = 0; i < sections->n_sections; ++i)
		n_disks += section_is_disk(&sections->sections[i]);
	if (n_disks >= ZR_DISKS_MAX)
		return lines_refuse(lines, lines->line_no, "[%s]: too many disks; allowed: %u",
				    name, ZR_DISKS_MAX);

	return 0;
}

static int sections_section(void *user, const char *name)
{
	struct sections *sections = user;
	const struct lines *lines = &sections->lines;
	const struct section *before = sections_find(sections, name);
	struct section section = { .line_no = lines->line_no };
	struct section *grown;
	int r;

	if (before)
		return lines_refuse(lines, lines->line_no,
				    "[%s]: already given on line %u; allowed: once", name,
				    before->line_no);

	if (strcmp(name, SECTION_DAEMON) != 0 && strcmp(name, SECTION_DEFAULTS) != 0) {
		r = name_check(sections, name);
		if (r < 0)
			return r;
	}

	grown = reallocarray(sections->sections, sections->n_sections + 1, sizeof(*grown));
	if (!grown)
		return lines_fail(lines, ENOMEM);
	sections->sections = grown;

	section.name = strdup(name);
	if (!section.name)
		return lines_fail(lines, ENOMEM);

	grown[sections->n_sections++] = section;
	return 0;
}

int sections_read(struct sections *sections)
{
	static const struct lines_handler handler = { .section = sections_section,
						      .key = sections_key };

	return lines_read(&sections->lines, &handler, sections);
}

void sections_deinit(struct sections *sections)
{
	size_t i, k;

	for (i = 0; i < sections->n_sections; ++i) {
		struct section *section = &sections->sections[i];

		for (k = 0; k < section->n_records; ++k)
			free(section->records[k].value);
		free(section->records);
		free(section->name);
	}

	free(sections->sections);
}
