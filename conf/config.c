/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "sections.h"
#include "swap-header.h"

/* The one attribute whose value has rules here: a disk that is configured has a size. */
#define KEY_DISKSIZE "disksize"

/* Longest text of a value: a line that loads is shorter. */
#define VALUE_MAX 256u

/* A key of [zramfs]. */
struct setting {
	const char *allowed;
	int (*parse)(struct config *config, const char *text);
	void (*print)(const struct config *config, char *text, size_t n_text);
};

static int threads_parse(struct config *config, const char *text)
{
	unsigned int n_threads = 0;

	if (*text == '\0')
		return -EINVAL;

	for (; *text; ++text) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		n_threads = n_threads * 10 + (unsigned int)(*text - '0');
		if (n_threads > CONFIG_THREADS_MAX)
			return -ERANGE;
	}

	config->n_threads = n_threads;
	return 0;
}

static void threads_print(const struct config *config, char *text, size_t n_text)
{
	snprintf(text, n_text, "%u", config->n_threads);
}

/* One row each: names apart, as the reader of sections wants a list of them. */
static const char *const setting_names[] = { "threads", NULL };
static const struct setting settings[] = {
	{ "0 (one for each core) to 64", threads_parse, threads_print },
};

_Static_assert(ZR_ARRAY_SIZE(setting_names) == ZR_ARRAY_SIZE(settings) + 1, "a name a row");
_Static_assert(CONFIG_THREADS_MAX == 64, "the message of threads says 64");

static const char *error_what(int r)
{
	return r == -ERANGE ? "too large" : "not a value for it";
}

static int daemon_apply(struct config *config, const struct sections *sections)
{
	const struct section *section = sections_find(sections, SECTION_DAEMON);
	size_t i;
	int r;

	for (i = 0; section && i < ZR_ARRAY_SIZE(settings); ++i) {
		const struct record *record = section_find(section, setting_names[i]);

		if (!record)
			continue;

		r = settings[i].parse(config, record->value);
		if (r < 0)
			return record_refuse(record, &sections->lines, error_what(r),
					     settings[i].allowed);
	}

	return 0;
}

static int disksize_check(struct zr_disk_spec *spec, const struct record *record,
			  const struct lines *lines)
{
	char allowed[64];

	snprintf(allowed, sizeof(allowed), "1 byte to %" PRIu64 "T", ZR_DISK_SIZE_MAX >> 40);

	if (spec->disksize_bytes == 0)
		return record_refuse(record, lines, "too small", allowed);
	if (spec->disksize_bytes > ZR_DISK_SIZE_MAX)
		return record_refuse(record, lines, "too large", allowed);

	spec->disksize_bytes = zr_align_up(spec->disksize_bytes, ZR_PAGE_SIZE);
	return 0;
}

/* In the order of the attribute table, where an algorithm stands before its parameters. */
static int spec_apply(struct zr_disk_spec *spec, const struct section *section,
		      const struct lines *lines)
{
	const struct zr_attr *attr;
	const struct record *record;
	unsigned int i;
	int r;

	for (i = 0; (attr = zr_attr_at(i)); ++i) {
		record = section_find(section, attr->name);
		if (!record)
			continue;

		r = attr->parse(spec, record->value);
		if (r < 0)
			return record_refuse(record, lines, error_what(r), attr->allowed);
	}

	record = section_find(section, KEY_DISKSIZE);
	return record ? disksize_check(spec, record, lines) : 0;
}

static int swap_check(const struct zr_disk_spec *spec, const struct section *section,
		      const struct lines *lines)
{
	uint64_t bytes_min = ZR_SWAP_PAGES_MIN * (uint64_t)sysconf(_SC_PAGESIZE);
	const struct record *record = section_find(section, KEY_DISKSIZE);
	char allowed[64];

	if (spec->attrs.format != ZR_FORMAT_SWAP || spec->disksize_bytes >= bytes_min)
		return 0;

	snprintf(allowed, sizeof(allowed), "%" PRIu64 " bytes or more", bytes_min);
	if (record)
		return record_refuse(record, lines, "too small for format = swap", allowed);

	return lines_refuse(lines, section->line_no,
			    "[%s]: disksize = %" PRIu64 ": too small for format = swap; "
			    "allowed: %s",
			    section->name, spec->disksize_bytes, allowed);
}

/* compcache's size for a disk that has none. */
static uint64_t disksize_default(uint64_t ram_bytes)
{
	return zr_min(zr_align_up(ram_bytes / 4, ZR_PAGE_SIZE), ZR_DISK_SIZE_MAX);
}

/* @spec: the defaults. */
static int disk_apply(struct zr_disk_spec *spec, const struct section *section,
		      const struct lines *lines)
{
	int r;

	snprintf(spec->attrs.name, sizeof(spec->attrs.name), "%s", section->name);

	r = spec_apply(spec, section, lines);
	if (r < 0)
		return r;

	if (spec->disksize_bytes == 0)
		spec->disksize_bytes = disksize_default(spec->ram_bytes);
	if (spec->disksize_bytes == 0)
		return lines_refuse(lines, section->line_no,
				    "[%s]: no disksize, and the size of RAM is unknown; "
				    "allowed: disksize = bytes",
				    section->name);

	return swap_check(spec, section, lines);
}

static int config_apply(struct config *config, const struct sections *sections)
{
	const struct section *section;
	size_t i;
	int r;

	r = daemon_apply(config, sections);
	if (r < 0)
		return r;

	section = sections_find(sections, SECTION_DEFAULTS);
	if (section) {
		r = spec_apply(&config->defaults, section, &sections->lines);
		if (r < 0)
			return r;
	}

	/* One more than sections, so that none are an allocation, too. */
	config->disks = calloc(sections->n_sections + 1, sizeof(*config->disks));
	if (!config->disks)
		return lines_fail(&sections->lines, ENOMEM);

	for (i = 0; i < sections->n_sections; ++i) {
		struct zr_disk_spec *spec = &config->disks[config->n_disks];

		section = &sections->sections[i];
		if (!section_is_disk(section))
			continue;

		*spec = config->defaults;
		r = disk_apply(spec, section, &sections->lines);
		if (r < 0)
			return r;
		++config->n_disks;
	}

	return 0;
}

static struct config *config_new(uint64_t ram_bytes, uint32_t uid, uint32_t gid)
{
	struct config *config = calloc(1, sizeof(*config));

	if (!config)
		return NULL;

	zr_disk_spec_init(&config->defaults, ram_bytes);
	config->defaults.attrs.uid = uid;
	config->defaults.attrs.gid = gid;
	return config;
}

int config_load(struct config **configp, const char *path, uint64_t ram_bytes, uint32_t uid,
		uint32_t gid, char *message, size_t n_message)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	ZR_CLEANUP(sections_deinit)
	struct sections sections = {
		.lines = { .path = path, .message = message, .n_message = n_message },
		.daemon_keys = setting_names,
	};
	int r;

	config = config_new(ram_bytes, uid, gid);
	if (!config)
		return lines_fail(&sections.lines, ENOMEM);

	r = sections_read(&sections);
	if (r < 0)
		return r;

	r = config_apply(config, &sections);
	if (r < 0)
		return r;

	*configp = ZR_STEAL(config);
	return 0;
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
	config->disks[0] = config->defaults;
	config->disks[0].disksize_bytes = disksize_default(ram_bytes);
	strcpy(config->disks[0].attrs.name, "zram0");

	*configp = ZR_STEAL(config);
	return 0;
}

/* A size of 0 is no size, and text could not say it. */
static void value_text(const struct zr_attr *attr, const struct zr_disk_spec *spec, char *text,
		       size_t n_text)
{
	text[0] = '\0';
	if (spec->disksize_bytes > 0 || strcmp(attr->name, KEY_DISKSIZE) != 0)
		attr->print(spec, text, n_text);
}

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

	for (i = 0; (attr = zr_attr_at(i)); ++i) {
		if (!(attr->flags & ZR_ATTR_CONFIG))
			continue;

		value_text(attr, spec, text, sizeof(text));
		value_text(attr, defaults, inherited, sizeof(inherited));
		if (text[0] != '\0' || inherited[0] != '\0')
			key_print(attr->name, text, file);
	}
}

void config_print(const struct config *config, FILE *file)
{
	char text[VALUE_MAX];
	size_t i;

	fprintf(file, "[%s]\n", SECTION_DAEMON);
	for (i = 0; i < ZR_ARRAY_SIZE(settings); ++i) {
		settings[i].print(config, text, sizeof(text));
		key_print(setting_names[i], text, file);
	}

	fprintf(file, "\n[%s]\n", SECTION_DEFAULTS);
	spec_print(&config->defaults, &config->defaults, file);

	for (i = 0; i < config->n_disks; ++i) {
		fprintf(file, "\n[%s]\n", config->disks[i].attrs.name);
		spec_print(&config->disks[i], &config->defaults, file);
	}
}

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;

	free(config->disks);
	free(config);
	return NULL;
}
