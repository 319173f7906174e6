/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "sections.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "attr.h"
#include "base.h"

#define NAME_ALLOWED \
	"1 to 63 bytes, no slash, control character or leading dot, not a file of .control"

/* A word further than this from every key is no slip of the pen. */
#define HINT_DISTANCE_MAX 2u

/* Disks, the two that are none, and a few that are given again or passed over. */
#define SECTIONS_MAX (ZR_DISKS_MAX + 64u)

/* Every key there is, some twice. */
#define RECORDS_MAX 64u

/* Before any section; then the rest of the key is a variable, and the value a command. */
#define SET_PREFIX "set!"

static bool section_is(const struct section *section, const char *name)
{
	return strcmp(section->name, name) == 0;
}

static bool section_is_top(const struct section *section)
{
	return section->name[0] == '\0';
}

bool section_is_disk(const struct section *section)
{
	return !section->ignored && !section_is_top(section) &&
	       !section_is(section, SECTION_DAEMON) && !section_is(section, SECTION_DEFAULTS);
}

const struct section *sections_find(const struct sections *sections, const char *name)
{
	size_t i;

	for (i = 0; i < sections->n_sections; ++i)
		if (section_is(&sections->sections[i], name))
			return &sections->sections[i];

	return NULL;
}

const struct record *section_find(const struct section *section, const char *means)
{
	size_t i;

	for (i = 0; i < section->n_records; ++i)
		if (section->records[i].means && strcmp(section->records[i].means, means) == 0)
			return &section->records[i];

	return NULL;
}

const struct record *section_find_key(const struct section *section, const char *key)
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

/* keys */

static unsigned int section_place(const struct section *section)
{
	if (section_is_top(section))
		return ALIAS_TOP;
	if (section_is(section, SECTION_DAEMON))
		return ALIAS_DAEMON;
	return section_is(section, SECTION_DEFAULTS) ? ALIAS_DEFAULTS : ALIAS_DISK;
}

static bool is_key(const struct zr_attr *attr, unsigned int place)
{
	if (place == ALIAS_TOP)
		return false;
	return place == ALIAS_DAEMON ? attr->parse_daemon != NULL : attr->parse != NULL;
}

/* The row of a key of ours that may stand there, and its index. NULL if there is none. */
static const struct zr_attr *attr_find(unsigned int place, const char *key, unsigned int *indexp)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (is_key(attr, place) && strcmp(attr->name, key) == 0) {
			*indexp = i;
			return attr;
		}
	}

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

/* The key that was perhaps meant. */
struct hint {
	unsigned int distance;
	const char *key; /* NULL: none */
};

static void hint_try(struct hint *hint, const char *text, const char *key)
{
	const unsigned int distance = word_distance(text, key);

	if (distance < hint->distance)
		*hint = (struct hint){ distance, key };
}

static int key_refuse_unknown(const struct sections *sections, const struct section *section,
			      const struct record *record)
{
	const unsigned int place = section_place(section);
	struct hint hint = { HINT_DISTANCE_MAX + 1, NULL };
	const struct zr_attr *attr;
	const struct alias *alias;
	char allowed[512] = "", meant[64] = "";
	unsigned int i;
	size_t n = 0;

	if (section_is_top(section))
		return lines_refuse(
			&sections->lines, record->line_no,
			"%s = %s: key before any section; allowed: keys after a [section]",
			record->key, record->value);

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (!is_key(attr, place))
			continue;
		hint_try(&hint, record->key, attr->name);
		n += (size_t)snprintf(allowed + n, sizeof(allowed) - n, "%s%s", n > 0 ? ", " : "",
				      attr->name);
		n = zr_min(n, sizeof(allowed) - 1);
	}
	for (i = 0; (alias = alias_next(place, &i));)
		hint_try(&hint, record->key, alias->key);
	if (hint.key)
		snprintf(meant, sizeof(meant), " (did you mean %s?)", hint.key);

	return lines_refuse(&sections->lines, record->line_no,
			    "%s = %s: unknown key in [%s]%s; allowed: %s", record->key,
			    record->value, section->name, meant, allowed);
}

static bool is_set(const struct section *section, const struct record *record)
{
	return section_is_top(section) && strncmp(record->key, SET_PREFIX, strlen(SET_PREFIX)) == 0;
}

/* Find what a key means. */
static int record_check(const struct sections *sections, const struct section *section,
			struct record *record)
{
	const unsigned int place = section_place(section);

	record->attr = attr_find(place, record->key, &record->index);
	if (record->attr) {
		record->means = record->attr->name;
		return 0;
	}
	record->index = ZR_ATTR_INDEX_MAX;

	record->alias = alias_find(place, record->key);
	if (record->alias) {
		record->means = record->alias->means;
		return 0;
	}

	if (is_set(section, record))
		return 0;
	if (sections->generator_file && (section_is_top(section) || section->generator))
		return 0;
	return key_refuse_unknown(sections, section, record);
}

/* given twice */

static bool is_generators(const struct record *record)
{
	return record->alias && record->alias->dialect == ALIAS_GENERATOR;
}

static int pair_check(const struct lines *lines, const struct record *record,
		      const struct record *before)
{
	/* Both are passed over. */
	if (!record->alias && !record->means)
		return 0;

	if (strcmp(record->key, before->key) == 0)
		return lines_refuse(lines, record->line_no,
				    "%s = %s: already given on line %u; allowed: once a section",
				    record->key, record->value, before->line_no);

	/* zram-generator has some keys that take precedence over others of its own. */
	if (!record->means || !before->means || strcmp(record->means, before->means) != 0 ||
	    (is_generators(record) && is_generators(before)))
		return 0;

	return lines_refuse(lines, record->line_no,
			    "%s = %s: %s on line %u says the same; allowed: one of them",
			    record->key, record->value, before->key, before->line_no);
}

static void record_drop(struct section *section, size_t i)
{
	free(section->records[i].key);
	free(section->records[i].value);
	memmove(&section->records[i], &section->records[i + 1],
		(section->n_records - i - 1) * sizeof(section->records[i]));
	--section->n_records;
}

/* In a section of zram-generator's the last one counts. */
static void section_override(struct section *section)
{
	size_t i, k;

	for (i = section->n_records; i-- > 1;) {
		for (k = i; k-- > 0;) {
			if (strcmp(section->records[k].key, section->records[i].key) != 0)
				continue;
			record_drop(section, k);
			--i;
		}
	}
}

int sections_check_twice(const struct sections *sections, const struct section *a,
			 const struct section *b)
{
	size_t i, k;
	int r = 0;

	for (i = 0; b && r == 0 && i < b->n_records; ++i)
		for (k = 0; r == 0 && k < a->n_records; ++k)
			r = pair_check(&sections->lines, &b->records[i], &a->records[k]);
	return r;
}

/* An algorithm stands before its parameters then. */
static void section_sort(struct section *section)
{
	size_t i, k;

	for (i = 1; i < section->n_records; ++i) {
		const struct record record = section->records[i];

		for (k = i; k > 0 && section->records[k - 1].index > record.index; --k)
			section->records[k] = section->records[k - 1];
		section->records[k] = record;
	}
}

static int section_check_records(const struct sections *sections, struct section *section)
{
	size_t i, k;
	int r = 0;

	if (section->generator)
		section_override(section);
	for (i = 0; r == 0 && i < section->n_records; ++i) {
		r = record_check(sections, section, &section->records[i]);
		for (k = 0; r == 0 && k < i; ++k)
			r = pair_check(&sections->lines, &section->records[i],
				       &section->records[k]);
	}
	if (r == 0)
		section_sort(section);
	return r;
}

/* names */

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

/* May there be a disk of this name? */
static int name_check(const struct lines *lines, const struct section *section)
{
	const char *name = section->name, *why = NULL, *meant = name_meant(name);

	if (zr_disk_name_check(name, &why) < 0)
		return lines_refuse(lines, section->line_no,
				    "[%s]: not a name for a disk: %s; allowed: %s", name, why,
				    NAME_ALLOWED);

	if (meant)
		return lines_refuse(lines, section->line_no,
				    "[%s]: not a name for a disk (did you mean [%s]?); allowed: %s",
				    name, meant, NAME_ALLOWED);
	return 0;
}

/* A section zram<N> that is given again goes on. */
static int section_merge(const struct lines *lines, struct section *section, struct section *again)
{
	struct record *records;

	if (section->n_records + again->n_records > RECORDS_MAX)
		return lines_refuse(lines, again->line_no,
				    "[%s]: too many keys with line %u; allowed: %u", again->name,
				    section->line_no, RECORDS_MAX);

	records = reallocarray(section->records, RECORDS_MAX, sizeof(*records));
	if (!records)
		return lines_fail(lines, ENOMEM);
	section->records = records;

	if (again->n_records > 0)
		memcpy(&records[section->n_records], again->records,
		       again->n_records * sizeof(*records));
	section->n_records += again->n_records;
	again->n_records = 0;
	again->ignored = true;
	return 0;
}

static bool is_ours(const struct section *section)
{
	return section_is(section, SECTION_DAEMON) || section_is(section, SECTION_DEFAULTS);
}

/* Is the name of a section one, and the only one? Keys wait for what may be merged. */
static int section_check_name(struct sections *sections, struct section *section)
{
	const struct lines *lines = &sections->lines;
	struct section *before = (struct section *)sections_find(sections, section->name);

	section->generator = sections->generator && alias_is_generator_section(section->name);
	if (before != section && section->generator)
		return section_merge(lines, before, section);

	section->ignored = sections->generator_file && !section->generator && !is_ours(section);
	if (section->ignored)
		return 0;
	if (before != section)
		return lines_refuse(lines, section->line_no,
				    "[%s]: already given on line %u; allowed: once", section->name,
				    before->line_no);
	return is_ours(section) ? 0 : name_check(lines, section);
}

static bool section_speaks_generator(const struct section *section)
{
	size_t i;

	for (i = 0; i < section->n_records; ++i) {
		const struct alias *alias = alias_find(ALIAS_DISK, section->records[i].key);

		if (is_set(section, &section->records[i]) ||
		    (alias && alias->dialect == ALIAS_GENERATOR))
			return true;
	}
	return false;
}

static bool sections_speak_generator(const struct sections *sections)
{
	size_t i;

	if (sections->generator_file || section_speaks_generator(&sections->top))
		return true;
	for (i = 0; i < sections->n_sections; ++i)
		if (alias_is_generator_section(sections->sections[i].name) &&
		    section_speaks_generator(&sections->sections[i]))
			return true;

	return false;
}

static int sections_check(struct sections *sections)
{
	unsigned int n_disks = 0;
	size_t i;
	int r;

	sections->generator = sections_speak_generator(sections);
	r = section_check_records(sections, &sections->top);
	for (i = 0; r == 0 && i < sections->n_sections; ++i) {
		struct section *section = &sections->sections[i];

		r = section_check_name(sections, section);
		n_disks += section_is_disk(section);
		if (r == 0 && n_disks > ZR_DISKS_MAX)
			r = lines_refuse(&sections->lines, section->line_no,
					 "[%s]: too many disks; allowed: %u", section->name,
					 ZR_DISKS_MAX);
	}
	for (i = 0; r == 0 && i < sections->n_sections; ++i)
		if (!sections->sections[i].ignored)
			r = section_check_records(sections, &sections->sections[i]);
	return r;
}

/* reading */

static int sections_key(void *user, const char *key, const char *value)
{
	struct sections *sections = user;
	const struct lines *lines = &sections->lines;
	struct section *section = sections->n_sections > 0
					  ? &sections->sections[sections->n_sections - 1]
					  : &sections->top;
	struct record record = { .line_no = lines->line_no };
	struct record *records;

	if (section->n_records == RECORDS_MAX)
		return lines_refuse(lines, lines->line_no,
				    "%s = %s: too many keys; allowed: %u a section", key, value,
				    RECORDS_MAX);

	records = reallocarray(section->records, section->n_records + 1, sizeof(*records));
	if (!records)
		return lines_fail(lines, ENOMEM);
	section->records = records;

	record.key = strdup(key);
	record.value = strdup(value);
	if (!record.key || !record.value) {
		free(record.key);
		free(record.value);
		return lines_fail(lines, ENOMEM);
	}

	records[section->n_records++] = record;
	return 0;
}

static int sections_section(void *user, const char *name)
{
	struct sections *sections = user;
	const struct lines *lines = &sections->lines;
	struct section section = { .line_no = lines->line_no };
	struct section *grown;

	if (*name == '\0')
		return lines_refuse(lines, lines->line_no,
				    "[]: not a name for a disk: it is empty; allowed: %s",
				    NAME_ALLOWED);
	if (sections->n_sections == SECTIONS_MAX)
		return lines_refuse(lines, lines->line_no,
				    "[%s]: too many sections; allowed: %u disks", name,
				    ZR_DISKS_MAX);

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

/* Of a file whose name is this: is it zram-generator's, or one of its drop-ins? */
static bool path_is_generators(const char *path)
{
	static const char name[] = "zram-generator.conf", drop_ins[] = "zram-generator.conf.d";
	const char *base = strrchr(path, '/'), *above;

	if (strcmp(base ? base + 1 : path, name) == 0)
		return true;
	for (above = base; above && above > path && above[-1] != '/'; --above)
		;
	return base && (size_t)(base - above) == strlen(drop_ins) &&
	       strncmp(above, drop_ins, strlen(drop_ins)) == 0;
}

int sections_read(struct sections *sections, FILE *file)
{
	static const struct lines_handler handler = { .section = sections_section,
						      .key = sections_key };
	int r;

	sections->generator_file = path_is_generators(sections->lines.path);
	sections->lines.indented = sections->generator_file;
	sections->top.name = strdup("");
	if (!sections->top.name)
		return lines_fail(&sections->lines, ENOMEM);

	r = lines_read(&sections->lines, file, &handler, sections);
	return r < 0 ? r : sections_check(sections);
}

static void section_deinit(struct section *section)
{
	size_t i;

	for (i = 0; i < section->n_records; ++i) {
		free(section->records[i].key);
		free(section->records[i].value);
	}
	free(section->records);
	free(section->name);
}

void sections_deinit(struct sections *sections)
{
	size_t i;

	section_deinit(&sections->top);
	for (i = 0; i < sections->n_sections; ++i)
		section_deinit(&sections->sections[i]);
	free(sections->sections);
}
