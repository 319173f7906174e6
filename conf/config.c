/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "doubts.h"
#include "expression.h"
#include "loading.h"
#include "size.h"
#include "swap-header.h"
#include "system.h"

/* The one attribute whose value has rules here: a disk that is configured has a size. */
/* Those that go together. */
#define KEY_COMP_ALGORITHM   "comp_algorithm"
#define KEY_ALGORITHM_PARAMS "algorithm_params"
#define KEY_RECOMP_ALGORITHM "recomp_algorithm"
#define KEY_ALGORITHMS       "compression-algorithm" /* zram-generator's, for all of them */

#define KEY_DISKSIZE    "disksize"
#define KEY_ON_LIMIT    "on_limit"
#define KEY_BACKING_DEV "backing_dev"

/* Longest text of a value: a line that loads is shorter. */
#define VALUE_MAX 256u

static void file_closep(FILE **filep)
{
	if (*filep)
		fclose(*filep);
}

/* values */

static const char *error_what(int r)
{
	return r == -ERANGE ? "out of range" : "not a value for it";
}

/* Is it a size that must be computed? What is one as it stands is not. */
static bool is_expression(const struct zr_attr *attr, const char *text, uint64_t ram_bytes)
{
	uint64_t bytes;

	return strcmp(attr->type, "size") == 0 && (strstr(text, "ram") || strchr(text, '(')) &&
	       zr_size_parse(text, ram_bytes, &bytes) == -EINVAL;
}

/* The text that the attribute is to read: the value, or what it comes to. */
static int value_resolve(const struct lines *lines, const struct record *record, uint64_t ram_bytes,
			 char text[VALUE_MAX])
{
	struct expression_error error;
	uint64_t bytes;
	int r;

	if (!is_expression(record->attr, record->value, ram_bytes)) {
		snprintf(text, VALUE_MAX, "%s", record->value);
		return 0;
	}

	r = expression_parse(record->value, EXPRESSION_BYTES, ram_bytes, &bytes, &error);
	if (r < 0)
		return record_refuse(record, lines, r == -ERANGE ? "out of range" : error.what,
				     record->attr->allowed);
	snprintf(text, VALUE_MAX, "%" PRIu64, bytes);
	return 0;
}

/* Whoever says an algorithm says its parameters, too, if only that they are the default ones. */
static const struct record *section_says(const struct section *section, const struct zr_attr *attr)
{
	const struct record *record = section_find(section, attr->name);

	if (!record && strcmp(attr->name, KEY_ALGORITHM_PARAMS) == 0)
		record = section_find(section, KEY_COMP_ALGORITHM);
	if (!record && strcmp(attr->name, KEY_RECOMP_ALGORITHM) == 0)
		record = section_find_key(section, KEY_ALGORITHMS);
	return record;
}

/* What a section says besides what is said already. @section may be NULL. */
static void said_add(config_said *said, const struct section *section, unsigned int daemon_flag)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; section && (attr = zr_attr_next(&i)); ++i) {
		if ((attr->flags & ZR_ATTR_DAEMON) == daemon_flag && section_says(section, attr))
			said->bits[i / 64] |= UINT64_C(1) << i % 64;
	}
}

static int daemon_apply(struct loading *loading)
{
	const struct section *section = sections_find(&loading->sections, SECTION_DAEMON);
	const struct lines *lines = &loading->sections.lines;
	struct zr_daemon_spec *daemon = &loading->config->daemon;
	size_t i;
	int r;

	said_add(&loading->config->daemon_said, section, ZR_ATTR_DAEMON);
	for (i = 0; section && i < section->n_records; ++i) {
		const struct record *record = &section->records[i];
		char text[VALUE_MAX];

		if (!record->attr)
			continue;

		r = value_resolve(lines, record, daemon->ram_bytes, text);
		if (r < 0)
			return r;
		r = record->attr->parse_daemon(daemon, text);
		if (r < 0)
			return record_refuse(record, lines, error_what(r), record->attr->allowed);
	}

	return 0;
}

static int spec_apply(struct loading *loading, struct zr_disk_spec *spec,
		      const struct section *section)
{
	const struct lines *lines = &loading->sections.lines;
	size_t i;
	int r;

	for (i = 0; i < section->n_records; ++i) {
		const struct record *record = &section->records[i];
		char text[VALUE_MAX];

		if (!record->attr)
			continue;

		r = value_resolve(lines, record, spec->ram_bytes, text);
		if (r < 0)
			return r;
		r = record->attr->parse(spec, text);
		if (r < 0)
			return record_refuse(record, lines, error_what(r), record->attr->allowed);
	}

	ignored_take(loading, section);
	return compcache_apply(loading, spec, section);
}

/* disks */

/* @record: what says the size, or NULL. */
static int swap_check(const struct lines *lines, const struct zr_disk_spec *spec,
		      unsigned int line_no, const struct record *record)
{
	uint64_t bytes_min = (uint64_t)ZR_SWAP_PAGES_MIN * zr_system_page_bytes();
	char allowed[64];

	if (spec->attrs.format != ZR_FORMAT_SWAP || spec->disksize_bytes >= bytes_min)
		return 0;

	snprintf(allowed, sizeof(allowed), "%" PRIu64 " bytes or more", bytes_min);
	if (record)
		return record_refuse(record, lines, "too small for format = swap", allowed);

	return lines_refuse(lines, line_no,
			    "[%s]: disksize = %" PRIu64 ": too small for format = swap; "
			    "allowed: %s",
			    spec->attrs.name, spec->disksize_bytes, allowed);
}

/* What a disk waits for must be able to come. */
static int on_limit_check(const struct lines *lines, const struct zr_disk_spec *spec,
			  unsigned int line_no, const struct section *section)
{
	const struct record *record = section ? section_find(section, KEY_ON_LIMIT) : NULL;
	static const char allowed[] = "enospc, or a " KEY_BACKING_DEV;

	if (spec->attrs.on_limit != ZR_ON_LIMIT_SPILL || spec->backing_dev[0] != '\0')
		return 0;
	if (record)
		return record_refuse(record, lines, "the disk has no " KEY_BACKING_DEV, allowed);
	return lines_refuse(lines, line_no,
			    "[%s]: " KEY_ON_LIMIT " = spill: the disk has no " KEY_BACKING_DEV
			    "; allowed: %s",
			    spec->attrs.name, allowed);
}

/* compcache's size for a disk that has none. */
static uint64_t disksize_default(uint64_t ram_bytes)
{
	return zr_min(zr_align_up(ram_bytes / 4, ZR_PAGE_SIZE), ZR_DISK_SIZE_MAX);
}

/* What is still open once all is said. @section: what says it, or NULL. */
static int disk_complete(struct loading *loading, struct zr_disk_spec *spec, unsigned int line_no,
			 const struct section *section)
{
	const struct record *record = section ? section_find(section, KEY_DISKSIZE) : NULL;
	const struct lines *lines = &loading->sections.lines;
	int r;

	if (spec->disksize_bytes == 0)
		spec->disksize_bytes = disksize_default(spec->ram_bytes);
	if (spec->disksize_bytes == 0)
		return lines_refuse(lines, line_no,
				    "[%s]: no disksize, and the size of RAM is unknown; "
				    "allowed: disksize = bytes",
				    spec->attrs.name);

	r = on_limit_check(lines, spec, line_no, section);
	return r < 0 ? r : swap_check(lines, spec, line_no, record);
}

static int disk_apply(struct loading *loading, const struct section *section)
{
	struct config *config = loading->config;
	struct config_disk *disk = &config->disks[config->n_disks];
	int r;

	*disk = (struct config_disk){ .spec = config->defaults, .said = config->defaults_said };
	said_add(&disk->said, section, 0);
	snprintf(disk->spec.attrs.name, sizeof(disk->spec.attrs.name), "%s", section->name);
	if (section->generator)
		generator_defaults(loading, &disk->spec);

	r = spec_apply(loading, &disk->spec, section);
	if (r == 0)
		r = generator_apply(loading, &disk->spec, section);
	if (r == GENERATOR_E_NOT_MADE)
		return 0;
	if (r == 0)
		r = disk_complete(loading, &disk->spec, section->line_no, section);
	if (r == 0)
		++config->n_disks;
	return r;
}

/* Disks that num_devices asks for beyond those that have a section. */
static int more_disks_apply(struct loading *loading, unsigned int n_disks, unsigned int line_no)
{
	struct config *config = loading->config;
	unsigned int i;
	int r = 0;

	for (i = 0; r == 0 && i < n_disks; ++i) {
		struct config_disk *disk = &config->disks[config->n_disks];
		char name[ZR_NAME_MAX + 1];

		snprintf(name, sizeof(name), "zram%u", i);
		if (sections_find(&loading->sections, name))
			continue;
		if (config->n_disks == ZR_DISKS_MAX)
			return lines_refuse(&loading->sections.lines, line_no,
					    "num_devices = %u: too many disks with those that have "
					    "a section; allowed: %u",
					    n_disks, ZR_DISKS_MAX);

		*disk = (struct config_disk){ .spec = config->defaults,
					      .said = config->defaults_said };
		memcpy(disk->spec.attrs.name, name, sizeof(name));
		r = disk_complete(loading, &disk->spec, line_no, NULL);
		if (r == 0)
			++config->n_disks;
	}
	return r;
}

static int disks_apply(struct loading *loading)
{
	struct sections *sections = &loading->sections;
	struct config *config = loading->config;
	const struct record *record;
	unsigned int n_more;
	size_t i;
	int r;

	r = compcache_disks(loading, &n_more, &record);
	if (r < 0)
		return r;

	/* One more than there can be, so that none are an allocation, too. */
	config->disks = calloc(sections->n_sections + n_more + 1, sizeof(*config->disks));
	if (!config->disks)
		return lines_fail(&sections->lines, ENOMEM);

	for (i = 0; r == 0 && i < sections->n_sections; ++i) {
		const struct section *section = &sections->sections[i];

		if (section_is_disk(section))
			r = disk_apply(loading, section);
		else if (section->ignored && sections_find(sections, section->name) == section)
			naming_add(&loading->ignored, section->line_no, "[%s]", section->name);
	}
	return r < 0 || n_more == 0 ? r : more_disks_apply(loading, n_more, record->line_no);
}

/* the whole */

static int defaults_apply(struct loading *loading)
{
	struct zr_disk_spec *spec = &loading->config->defaults;
	const struct sections *sections = &loading->sections;
	const struct section *defaults = sections_find(sections, SECTION_DEFAULTS);
	int r;

	r = sections_check_twice(sections, &sections->top, defaults);
	if (r == 0)
		r = sections_check_twice(sections, &sections->top,
					 sections_find(sections, SECTION_DAEMON));
	if (r == 0)
		r = spec_apply(loading, spec, &sections->top);
	if (r == 0 && defaults)
		r = spec_apply(loading, spec, defaults);
	said_add(&loading->config->defaults_said, &sections->top, 0);
	said_add(&loading->config->defaults_said, defaults, 0);
	return r;
}

static int warn(struct loading *loading)
{
	struct warnings *warnings = &loading->config->warnings;
	int r;

	r = naming_warn(&loading->ignored, warnings, "ignored, as they mean nothing here");
	if (r == 0)
		r = naming_warn(&loading->not_made, warnings, "disks that are not made");
	if (r == 0)
		r = doubts_warn(loading->config);
	return r < 0 ? lines_fail(&loading->sections.lines, -r) : 0;
}

static int config_apply(struct loading *loading)
{
	int r;

	r = daemon_apply(loading);
	if (r == 0)
		r = defaults_apply(loading);
	if (r == 0)
		r = disks_apply(loading);
	return r < 0 ? r : warn(loading);
}

static struct config *config_new(uint64_t ram_bytes, uint32_t uid, uint32_t gid)
{
	struct config *config = calloc(1, sizeof(*config));

	if (!config)
		return NULL;

	zr_daemon_spec_init(&config->daemon, ram_bytes);
	zr_disk_spec_init(&config->defaults, ram_bytes);
	config->defaults.attrs.uid = uid;
	config->defaults.attrs.gid = gid;
	return config;
}

int config_load_stream(struct config **configp, FILE *file, const char *path, uint64_t ram_bytes,
		       uint32_t uid, uint32_t gid, char *message, size_t n_message)
{
	struct loading loading = {
		.sections.lines = { .path = path, .message = message, .n_message = n_message },
	};
	int r = 0;

	loading.config = config_new(ram_bytes, uid, gid);
	if (!loading.config)
		r = lines_fail(&loading.sections.lines, ENOMEM);
	if (r == 0)
		r = sections_read(&loading.sections, file);
	if (r == 0)
		r = config_apply(&loading);
	if (r == 0)
		*configp = ZR_STEAL(loading.config);

	sections_deinit(&loading.sections);
	config_free(loading.config);
	return r;
}

int config_load(struct config **configp, const char *path, uint64_t ram_bytes, uint32_t uid,
		uint32_t gid, char *message, size_t n_message)
{
	const struct lines lines = { .path = path, .message = message, .n_message = n_message };
	ZR_CLEANUP(file_closep) FILE *file = NULL;
	int r;

	r = lines_open(&lines, &file);
	if (r < 0)
		return r;
	return config_load_stream(configp, file, path, ram_bytes, uid, gid, message, n_message);
}

int config_default(struct config **configp, uint64_t ram_bytes, uint32_t uid, uint32_t gid)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;

	if (disksize_default(ram_bytes) == 0)
		return -EINVAL;

	config = config_new(ram_bytes, uid, gid);
	if (!config)
		return -ENOMEM;

	config->disks = calloc(1, sizeof(*config->disks));
	if (!config->disks)
		return -ENOMEM;

	config->n_disks = 1;
	config->disks[0].spec = config->defaults;
	config->disks[0].spec.disksize_bytes = disksize_default(ram_bytes);
	strcpy(config->disks[0].spec.attrs.name, "zram0");

	*configp = ZR_STEAL(config);
	return 0;
}

const struct config_disk *config_find(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->n_disks; ++i)
		if (strcmp(config->disks[i].spec.attrs.name, name) == 0)
			return &config->disks[i];

	return NULL;
}

/* printing */

/* A semicolon after white space would start a comment. */
static void key_print(const char *key, const char *text, FILE *file)
{
	bool close = text[0] == '\0' || text[0] == ';';

	fprintf(file, "%s =%s%s\n", key, close ? "" : " ", text);
}

/* @defaults: what loading starts from; what that has and the spec has not must be said, too. */
static void spec_print(const struct zr_disk_spec *spec, const struct zr_disk_spec *defaults,
		       FILE *file)
{
	char text[VALUE_MAX], inherited[VALUE_MAX];
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (!attr->print)
			continue;

		attr->print(spec, text, sizeof(text));
		attr->print(defaults, inherited, sizeof(inherited));
		if (text[0] != '\0' || inherited[0] != '\0')
			key_print(attr->name, text, file);
	}
}

void config_print(const struct config *config, FILE *file)
{
	const struct zr_attr *attr;
	char text[VALUE_MAX];
	unsigned int index;
	size_t i;

	fprintf(file, "[%s]\n", SECTION_DAEMON);
	for (index = 0; (attr = zr_attr_next(&index)); ++index) {
		if (!attr->print_daemon)
			continue;
		attr->print_daemon(&config->daemon, text, sizeof(text));
		key_print(attr->name, text, file);
	}

	fprintf(file, "\n[%s]\n", SECTION_DEFAULTS);
	spec_print(&config->defaults, &config->defaults, file);

	for (i = 0; i < config->n_disks; ++i) {
		fprintf(file, "\n[%s]\n", config->disks[i].spec.attrs.name);
		spec_print(&config->disks[i].spec, &config->defaults, file);
	}
}

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;

	warnings_deinit(&config->warnings);
	free(config->disks);
	free(config);
	return NULL;
}
