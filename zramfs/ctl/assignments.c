/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "assignments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "control.h"
#include "nearest.h"
#include "say.h"

#define ATTR_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789_"

#define ALGORITHM_PARAMS "algorithm_params"

/* What is being taken, and of what. */
struct taking {
	const struct verb *verb;
	const struct name *name;
	bool is_new;
	const char *label; /* of the disk or the daemon, in messages */
};

uint64_t ram_bytes(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (uint64_t)info.totalram * info.mem_unit;
}

bool assignment_is_one(const char *word)
{
	const size_t n = strspn(word, ATTR_CHARACTERS);

	return n > 0 && word[n] == '=';
}

static bool is_settable(const struct zr_attr *attr, const struct taking *taking)
{
	return taking->is_new ? (attr->flags & ZR_ATTR_CONFIG) != 0 : attr->apply != NULL;
}

/* words to rows */

static int unknown_say(const struct taking *taking, const char *attribute)
{
	const unsigned int daemon_flag = taking->name->disk ? 0 : ZR_ATTR_DAEMON;
	ZR_CLEANUP(zr_freep) char *hint = NULL;
	const struct zr_attr *attr;
	struct nearest nearest;
	unsigned int i;

	nearest_init(&nearest, attribute);
	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if ((attr->flags & ZR_ATTR_DAEMON) == daemon_flag && is_settable(attr, taking))
			nearest_offer(&nearest, attr->name);
	}
	hint = nearest_hint(&nearest);
	return verb_misused(taking->verb, "%s: no attribute %s%s", taking->label, attribute, hint);
}

static int unsettable_say(const struct taking *taking, const struct zr_attr *attr)
{
	if (attr->when == ZR_WHEN_START)
		say_error("%s: %s: it is set in the configuration; allowed: %s", taking->label,
			  attr->name, zr_attr_when_text(attr->when));
	else if (attr->apply)
		say_error("%s: %s: it cannot be said of a disk that is to be made", taking->label,
			  attr->name);
	else
		say_error("%s: %s: it is read, not set", taking->label, attr->name);
	return VERB_MISUSED;
}

static int word_take(struct assignments *assignments, const struct taking *taking, const char *word)
{
	ZR_CLEANUP(zr_freep) char *attribute = NULL;
	const struct zr_attr *attr;
	const char *equals;
	size_t i;

	equals = strchr(word, '=');
	if (!equals)
		return verb_misused(taking->verb, "%s: allowed: ATTR=VALUE", word);
	attribute = say_text("%.*s", (int)(equals - word), word);

	attr = taking->name->disk ? zr_attr_find(attribute) : zr_attr_find_daemon(attribute);
	if (!attr)
		return unknown_say(taking, attribute);
	if (!is_settable(attr, taking))
		return unsettable_say(taking, attr);
	for (i = 0; i < assignments->n; ++i) {
		if (assignments->at[i].attr == attr)
			return verb_misused(taking->verb, "%s: given twice", attribute);
	}
	assignments_add(assignments, attr, equals + 1);
	return 0;
}

void assignments_add(struct assignments *assignments, const struct zr_attr *attr, const char *value)
{
	assignments->at[assignments->n++] = (struct assignment){ attr, say_text("%s", value) };
}

static struct assignment *find(const struct assignments *assignments, const struct zr_attr *attr)
{
	size_t i;

	for (i = 0; i < assignments->n; ++i) {
		if (assignments->at[i].attr == attr)
			return (struct assignment *)&assignments->at[i];
	}
	return NULL;
}

/* values */

/* Parameters are of an algorithm that the disk has: what @attr says of these is read. A line each:
 * "lz4 [zstd]", "#1: lz4 [zstd]". */
static int algorithms_read(const struct taking *taking, const char *name, struct zr_disk_spec *spec)
{
	const struct zr_attr *attr = zr_attr_find(name);
	ZR_CLEANUP(zr_freep) char *text = NULL;
	char *line, *chosen, *rest = NULL;

	if (control_read(taking->name, attr, &text) < 0)
		return VERB_FAILED;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const unsigned int number = line[0] == '#' ? (unsigned int)(line[1] - '0') : 0;

		chosen = strchr(line, '[');
		if (!chosen || number > ZR_RECOMP_MAX)
			continue;
		++chosen;
		chosen[strcspn(chosen, "]")] = 0;
		if (zr_codec_find(chosen, &spec->attrs.codecs[number]) == 0 && number > 0)
			spec->attrs.recomp_priorities |= 1u << number;
	}
	return VERB_DONE;
}

static int parse(struct assignment *assignment, struct zr_disk_spec *spec,
		 struct zr_daemon_spec *daemon, char *text, size_t n_text)
{
	const struct zr_attr *attr = assignment->attr;
	int r = 0;

	snprintf(text, n_text, "%s", assignment->value);
	if (attr->parse)
		r = attr->parse(spec, assignment->value);
	else if (attr->parse_daemon)
		r = attr->parse_daemon(daemon, assignment->value);
	if (r < 0)
		return r;
	/* What it prints are those of comp_algorithm alone. */
	if (attr->print && strcmp(attr->name, ALGORITHM_PARAMS) != 0)
		attr->print(spec, text, n_text);
	else if (attr->print_daemon)
		attr->print_daemon(daemon, text, n_text);
	return 0;
}

static int value_take(const struct taking *taking, struct assignment *assignment,
		      struct zr_disk_spec *spec, struct zr_daemon_spec *daemon)
{
	const struct zr_attr *attr = assignment->attr;
	char text[ZR_ATTR_VALUE_MAX + 1];
	int r = -ERANGE;

	if (strlen(assignment->value) < sizeof(text))
		r = parse(assignment, spec, daemon, text, sizeof(text));
	if (r < 0) {
		say_error("%s: %s=%s: %s; allowed: %s", taking->label, attr->name,
			  assignment->value, r == -ERANGE ? "out of range" : "not a value for it",
			  attr->allowed);
		return VERB_MISUSED;
	}
	free(assignment->value);
	assignment->value = say_text("%s", text);
	return 0;
}

/* In the table's order, where an algorithm stands before its parameters. */
static int values_take(struct assignments *assignments, const struct taking *taking)
{
	const uint64_t ram = ram_bytes();
	struct zr_daemon_spec daemon;
	const struct zr_attr *attr;
	struct zr_disk_spec spec;
	unsigned int i;
	int r = 0;

	zr_disk_spec_init(&spec, ram);
	zr_daemon_spec_init(&daemon, ram);
	if (!taking->is_new && find(assignments, zr_attr_find(ALGORITHM_PARAMS))) {
		r = algorithms_read(taking, "comp_algorithm", &spec);
		if (r == 0)
			r = algorithms_read(taking, "recomp_algorithm", &spec);
	}
	for (i = 0; r == 0 && (attr = zr_attr_next(&i)); ++i) {
		struct assignment *assignment = find(assignments, attr);

		if (assignment)
			r = value_take(taking, assignment, &spec, &daemon);
	}
	return r;
}

/* What wants a disk without a size is refused before anything is written. */
static int times_check(const struct assignments *assignments, const struct taking *taking)
{
	const struct zr_attr *attr = NULL;
	size_t i;
	int has_size;

	for (i = 0; i < assignments->n && !attr; ++i) {
		if (assignments->at[i].attr->when == ZR_WHEN_EMPTY)
			attr = assignments->at[i].attr;
	}
	if (!attr || taking->is_new)
		return VERB_DONE;

	has_size = control_has_size(taking->name);
	if (has_size > 0)
		say_error("%s: %s: the disk has a size already; allowed: %s", taking->label,
			  attr->name, zr_attr_when_text(attr->when));
	return has_size == 0 ? VERB_DONE : VERB_FAILED;
}

int assignments_take(struct assignments *assignments, const struct verb *verb,
		     const struct name *name, bool is_new, char **words, size_t n_words)
{
	const struct taking taking = { verb, name, is_new, name->disk ? name->disk : name->mount };
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < n_words; ++i)
		r = word_take(assignments, &taking, words[i]);
	if (r == 0)
		r = values_take(assignments, &taking);
	if (r == 0)
		r = times_check(assignments, &taking);
	return r;
}

/* writing */

int assignments_write(const struct assignments *assignments, const struct name *name)
{
	const struct zr_attr *disksize = zr_attr_find("disksize"), *attr;
	const struct assignment *assignment;
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		assignment = find(assignments, attr);
		if (assignment && attr != disksize &&
		    control_write(name, attr, assignment->value) < 0)
			return VERB_FAILED;
	}
	assignment = find(assignments, disksize);
	if (assignment && control_write(name, disksize, assignment->value) < 0)
		return VERB_FAILED;
	return VERB_DONE;
}

void assignments_clear(struct assignments *assignments)
{
	size_t i;

	for (i = 0; i < assignments->n; ++i)
		free(assignments->at[i].value);
	assignments->n = 0;
}
