/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Sections of zram-generator.conf(5)
 *
 * Sizes are expressions in MiB. What that program passes over with a warning is passed over here,
 * and named.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "expression.h"
#include "loading.h"
#include "size.h"

#define BLANKS " \t"

#define MIB (UINT64_C(1) << 20)

#define SIZE_MAX_MIB  4096u
#define SWAP_PRIORITY 100

#define EXPRESSION_ALLOWED "an expression in MB, up to 256T of them, as min(ram / 2, 4096)"
#define LIMIT_ALLOWED      "none, or a number of MB"
#define FRACTION_ALLOWED   "a number, as 0.5"

/* Longest name of an algorithm, and its parameters. */
#define ALGORITHM_TEXT_MAX 128u

void generator_defaults(const struct loading *loading, struct zr_disk_spec *spec)
{
	const struct section *defaults = sections_find(&loading->sections, SECTION_DEFAULTS);

	/* min(ram / 2, 4096), where that program rounds down to half a megabyte. */
	if (spec->disksize_bytes == 0 && spec->ram_bytes > 0)
		spec->disksize_bytes = zr_min(spec->ram_bytes / MIB * (MIB / 2),
					      SIZE_MAX_MIB * MIB);
	if (!defaults || !section_find(defaults, "format"))
		spec->attrs.format = ZR_FORMAT_SWAP;
	if (!defaults || !section_find(defaults, "swap_priority"))
		spec->attrs.swap_priority = SWAP_PRIORITY;
}

/* values */

/* A variable of set! is what a command would have printed. */
static int expression_refuse(const struct loading *loading, const struct record *record,
			     const struct expression_error *error, int r, const char *allowed)
{
	char key[sizeof(error->name) + 8], what[sizeof(error->what) + 80];
	const struct record *set;

	snprintf(key, sizeof(key), "set!%s", error->name);
	set = error->name[0] ? section_find_key(&loading->sections.top, key) : NULL;
	if (set)
		snprintf(what, sizeof(what), "%s, which a command on line %u sets; it is not run",
			 error->name, set->line_no);
	else
		snprintf(what, sizeof(what), "%s", r == -ERANGE ? "out of range" : error->what);
	return record_refuse(record, &loading->sections.lines, what, allowed);
}

/* Bytes that an expression in MiB comes to, whole pages. */
static int mb_parse(const struct loading *loading, const struct record *record, uint64_t ram_bytes,
		    const char *allowed, uint64_t *bytesp)
{
	struct expression_error error;
	uint64_t bytes;
	int r;

	r = expression_parse(record->value, EXPRESSION_MB, ram_bytes, &bytes, &error);
	if (r == 0 && bytes > ZR_DISK_SIZE_MAX)
		r = -ERANGE;
	if (r < 0)
		return expression_refuse(loading, record, &error, r, allowed);
	*bytesp = zr_align_up(bytes, ZR_PAGE_SIZE);
	return 0;
}

/* The same, or none: then *bytesp is the most there is. */
static int limit_parse(const struct loading *loading, const struct record *record,
		       uint64_t ram_bytes, uint64_t *bytesp)
{
	*bytesp = UINT64_MAX;
	return strcmp(record->value, "none") == 0
		       ? 0
		       : mb_parse(loading, record, ram_bytes, LIMIT_ALLOWED, bytesp);
}

static int fraction_parse(const struct loading *loading, const struct record *record,
			  double *fractionp)
{
	struct expression_error error;
	int r;

	r = expression_number(record->value, fractionp, &error);
	if (r == 0 && !(*fractionp >= 0 && *fractionp < 1e6)) {
		snprintf(error.what, sizeof(error.what), "it comes to less than 0 or too much");
		r = -EINVAL;
	}
	return r < 0 ? expression_refuse(loading, record, &error, r, FRACTION_ALLOWED) : 0;
}

/* sizes */

/* What came before zram-size, and overrides it. */
static int fraction_apply(struct loading *loading, struct zr_disk_spec *spec,
			  const struct record *fraction, const struct record *most)
{
	uint64_t most_bytes = SIZE_MAX_MIB * MIB;
	double share = 0.5, mib;
	int r = 0;

	if (fraction)
		r = fraction_parse(loading, fraction, &share);
	if (r == 0 && most)
		r = limit_parse(loading, most, spec->ram_bytes, &most_bytes);
	if (r < 0)
		return r;

	/* Whole megabytes, as there. */
	mib = share * (double)(spec->ram_bytes / MIB);
	if (mib > (double)(ZR_DISK_SIZE_MAX / MIB))
		mib = (double)(ZR_DISK_SIZE_MAX / MIB);
	spec->disksize_bytes = zr_min((uint64_t)mib * MIB, most_bytes);
	return 0;
}

static int size_apply(struct loading *loading, struct zr_disk_spec *spec,
		      const struct section *section)
{
	const struct record *size = section_find_key(section, "zram-size");
	const struct record *limit = section_find_key(section, "zram-resident-limit");
	const struct record *fraction = section_find_key(section, "zram-fraction");
	const struct record *most = section_find_key(section, "max-zram-size");
	int r = 0;

	if (size)
		r = mb_parse(loading, size, spec->ram_bytes, EXPRESSION_ALLOWED,
			     &spec->disksize_bytes);
	if (r == 0 && limit)
		r = mb_parse(loading, limit, spec->ram_bytes, EXPRESSION_ALLOWED,
			     &spec->attrs.mem_limit_bytes);
	if (r < 0 || (!fraction && !most))
		return r;

	if (spec->ram_bytes == 0)
		return record_refuse(fraction ? fraction : most, &loading->sections.lines,
				     "the size of RAM is unknown", "zram-size = a number of MB");
	return fraction_apply(loading, spec, fraction, most);
}

/* Is there more memory than the disk is meant for? The later of the two names counts. */
static int host_limit_check(struct loading *loading, const struct zr_disk_spec *spec,
			    const struct section *section)
{
	const struct record *record = section_find_key(section, "host-memory-limit");
	const struct record *old = section_find_key(section, "memory-limit");
	uint64_t limit_bytes;
	int r;

	if (!record || (old && old->line_no > record->line_no))
		record = old;
	if (!record)
		return 0;

	r = limit_parse(loading, record, spec->ram_bytes, &limit_bytes);
	if (r < 0 || spec->ram_bytes / MIB * MIB <= limit_bytes)
		return r;
	naming_add(&loading->not_made, record->line_no, "%s (%s = %.16s, RAM has %" PRIu64 " MB)",
		   section->name, record->key, record->value, spec->ram_bytes / MIB);
	return GENERATOR_E_NOT_MADE;
}

/* algorithms */

/* @words: "level=3,dictionary=x", which becomes what algorithm_params takes of that priority. Each
 * that is not taken is named. */
static void params_apply(struct loading *loading, struct zr_disk_spec *spec,
			 const struct record *record, unsigned int priority, char *words)
{
	const struct zr_attr *attr = zr_attr_find("algorithm_params");
	char text[ALGORITHM_TEXT_MAX + 32], *word, *rest = NULL;

	for (word = strtok_r(words, ",()", &rest); word; word = strtok_r(NULL, ",()", &rest)) {
		snprintf(text, sizeof(text), "priority=%u %s", priority, word);
		if (attr->parse(spec, text) < 0)
			naming_add(&loading->ignored, record->line_no, "%s %s", record->key, word);
	}
}

/* The first algorithm is the disk's, with its parameters; what follows compresses again, with the
 * priorities from 1 on, as that program counts them. */
static void algorithm_apply(struct loading *loading, struct zr_disk_spec *spec,
			    const struct record *record, unsigned int priority, char *words)
{
	char *parenthesis = strchr(words, '(');
	struct zr_codec_params params;

	if (parenthesis)
		*parenthesis = '\0';
	if (priority > ZR_RECOMP_MAX || zr_codec_find(words, &params) < 0) {
		if (parenthesis)
			*parenthesis = '(';
		naming_add(&loading->ignored, record->line_no, "%s %s", record->key, words);
		return;
	}
	spec->attrs.codecs[priority] = params;
	if (priority > 0)
		spec->attrs.recomp_priorities |= 1u << priority;
	if (parenthesis)
		params_apply(loading, spec, record, priority, parenthesis + 1);
}

static int algorithms_apply(struct loading *loading, struct zr_disk_spec *spec,
			    const struct section *section)
{
	const struct record *record = section_find_key(section, "compression-algorithm");
	unsigned int priority = 0;
	const char *at;
	size_t n;

	if (!record)
		return 0;

	for (at = record->value + strspn(record->value, BLANKS); *at;
	     at += n, at += strspn(at, BLANKS)) {
		char words[ALGORITHM_TEXT_MAX];

		n = strcspn(at, BLANKS);
		if (n >= sizeof(words))
			return record_refuse(record, &loading->sections.lines, "too long",
					     "algorithms of up to 127 bytes");
		memcpy(words, at, n);
		words[n] = '\0';

		/* What that program writes to recompress, once, when the disk is empty. */
		if (words[0] == '(') {
			naming_add(&loading->ignored, record->line_no, "%s %s", record->key, words);
			continue;
		}
		if (priority == 1 && section_find(section, "recomp_algorithm"))
			return record_refuse(record, &loading->sections.lines,
					     "recomp_algorithm says the same of what follows the "
					     "first",
					     "one of them");
		algorithm_apply(loading, spec, record, priority++, words);
	}
	return 0;
}

/* the rest */

static void format_apply(struct loading *loading, struct zr_disk_spec *spec,
			 const struct section *section)
{
	const struct record *fs_type = section_find_key(section, "fs-type");
	const bool mounted = section_find_key(section, "mount-point") != NULL;

	if (mounted && !section_find_key(section, "format"))
		spec->attrs.format = ZR_FORMAT_NONE;
	if (!fs_type)
		return;

	if (strcmp(fs_type->value, "swap") == 0 && !mounted) {
		spec->attrs.format = ZR_FORMAT_SWAP;
	} else {
		spec->attrs.format = ZR_FORMAT_NONE;
		naming_add(&loading->ignored, fs_type->line_no, "fs-type %s", fs_type->value);
	}
}

static int priority_apply(struct loading *loading, struct zr_disk_spec *spec,
			  const struct section *section)
{
	const struct zr_attr *attr = zr_attr_find("swap_priority");
	const struct record *record = section_find_key(section, "swap-priority");
	int r;

	r = record ? attr->parse(spec, record->value) : 0;
	return r < 0 ? record_refuse(record, &loading->sections.lines, "not a value for it",
				     attr->allowed)
		     : 0;
}

static int device_apply(struct loading *loading, struct zr_disk_spec *spec,
			const struct section *section)
{
	const struct zr_attr *attr = zr_attr_find("backing_dev");
	const struct record *record = section_find_key(section, "writeback-device");
	int r;

	r = record ? attr->parse(spec, record->value) : 0;
	return r < 0 ? record_refuse(record, &loading->sections.lines, "not a value for it",
				     attr->allowed)
		     : 0;
}

int generator_apply(struct loading *loading, struct zr_disk_spec *spec,
		    const struct section *section)
{
	const struct record *size;
	int r;

	/* First: that program works out no size of a disk that is not to be. */
	r = host_limit_check(loading, spec, section);
	if (r != 0)
		return r;

	format_apply(loading, spec, section);
	r = algorithms_apply(loading, spec, section);
	if (r == 0)
		r = priority_apply(loading, spec, section);
	if (r == 0)
		r = device_apply(loading, spec, section);
	if (r == 0)
		r = size_apply(loading, spec, section);
	if (r < 0)
		return r;

	size = section_find(section, "disksize");
	if (!size || spec->disksize_bytes > 0)
		return 0;
	naming_add(&loading->not_made, size->line_no, "%s (its size is 0)", section->name);
	return GENERATOR_E_NOT_MADE;
}

void ignored_take(struct loading *loading, const struct section *section)
{
	size_t i;

	for (i = 0; i < section->n_records; ++i)
		if (!section->records[i].means)
			naming_add(&loading->ignored, section->records[i].line_no, "%s",
				   section->records[i].key);
}
