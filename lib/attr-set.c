/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Attributes that are set, in the configuration or below .control/
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "attr-parts.h"
#include "size.h"

#define UNKNOWN_ALGORITHM_MAX 128u /* from here on the kernel says E2BIG */

#define SWAP_PRIORITY_MIN (-1)
#define SWAP_PRIORITY_MAX 32767

/* numbers in text */

int zr_attr_parse_number(const char *text, int base, uint64_t max, uint64_t *numberp)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;

	errno = 0;
	*numberp = strtoull(text, &end, base);
	if (*end != 0)
		return -EINVAL;
	return errno == ERANGE || *numberp > max ? -ERANGE : 0;
}

int zr_attr_parse_kernel_number(const char *text, uint64_t max, uint64_t *numberp)
{
	return zr_attr_parse_number(*text == '+' ? text + 1 : text, 10, max, numberp);
}

int zr_attr_parse_level(const char *text, int32_t *levelp)
{
	uint64_t magnitude;
	const bool negative = *text == '-';
	int r;

	r = zr_attr_parse_number(text + negative, 10, INT32_MAX, &magnitude);
	if (r < 0)
		return r;
	*levelp = negative ? -(int32_t)magnitude : (int32_t)magnitude;
	return 0;
}

/* changing what is set */

struct change {
	int (*parse)(struct zr_disk_spec *spec, const char *text);
	const char *text;
	bool unbacked; /* only while there is no backing file */
};

static int change_parsed(struct zr_attrs *attrs, void *context)
{
	const struct change *change = context;
	struct zr_disk_spec spec = { .attrs = *attrs };
	int r;

	if (change->unbacked && attrs->backing_id != 0)
		return -EBUSY;
	r = change->parse(&spec, change->text);
	*attrs = spec.attrs;
	return r < 0 ? -EINVAL : 0;
}

int zr_attr_change(const struct zr_attr_target *target, bool only_empty,
		   int (*parse)(struct zr_disk_spec *spec, const char *text), const char *text)
{
	struct change change = { parse, text, false };

	return zr_disk_change_attrs(target->disk, only_empty, change_parsed, &change);
}

int zr_attr_change_unbacked(const struct zr_attr_target *target,
			    int (*parse)(struct zr_disk_spec *spec, const char *text),
			    const char *text)
{
	struct change change = { parse, text, true };

	return zr_disk_change_attrs(target->disk, true, change_parsed, &change);
}

/* What the configuration would say of the disk, as a line. */
static int set_show(const struct zr_attr_target *target,
		    void (*print)(const struct zr_disk_spec *spec, char *text, size_t n_text),
		    char *text, size_t n_text)
{
	struct zr_disk_spec spec;
	size_t at;

	zr_attr_spec_of(target->disk, &spec);
	print(&spec, text, n_text - 1);
	at = strlen(text);
	text[at] = '\n';
	text[at + 1] = 0;
	return (int)at + 1;
}

/* disksize */

static int disksize_parse(struct zr_disk_spec *spec, const char *text)
{
	uint64_t size_bytes;
	int r;

	r = zr_size_parse(text, spec->ram_bytes, &size_bytes);
	if (r < 0)
		return r;
	if (size_bytes == 0)
		return -EINVAL;
	if (size_bytes > ZR_DISK_SIZE_MAX)
		return -ERANGE;
	spec->disksize_bytes = zr_align_up(size_bytes, ZR_PAGE_SIZE);
	return 0;
}

static void disksize_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	*text = 0;
	if (spec->disksize_bytes > 0)
		snprintf(text, n_text, "%" PRIu64, spec->disksize_bytes);
}

static int disksize_apply(const struct zr_attr_target *target, const char *text)
{
	uint64_t size_bytes;

	if (zr_size_parse(text, 0, &size_bytes) < 0 || size_bytes == 0)
		return -EINVAL;
	/* Before it can be too large, as with the kernel's. */
	if (zr_disk_size(target->disk) != 0)
		return -EBUSY;
	return zr_disk_set_disksize(target->disk, target->ctx, size_bytes);
}

static int disksize_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return snprintf(text, n_text, "%" PRIu64 "\n",
			zr_align_up(zr_disk_size(target->disk), ZR_PAGE_SIZE));
}

/* comp_algorithm */

static int comp_algorithm_parse(struct zr_disk_spec *spec, const char *text)
{
	return zr_codec_find(text, &spec->attrs.codecs[0]);
}

static void comp_algorithm_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%s", zr_codec_by_algorithm(spec->attrs.codecs[0].algorithm)->name);
}

static int comp_algorithm_apply(const struct zr_attr_target *target, const char *text)
{
	struct zr_codec_params params;
	int r;

	if (strlen(text) >= UNKNOWN_ALGORITHM_MAX)
		return -E2BIG;
	r = zr_codec_find(text, &params);
	return r < 0 ? r : zr_disk_set_codec(target->disk, &params);
}

static int comp_algorithm_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_attrs attrs;

	zr_disk_attrs(target->disk, &attrs);
	return zr_attr_print_algorithms(text, n_text, &attrs.codecs[0]);
}

/* mem_limit */

int zr_attr_parse_limit(const char *text, uint64_t ram_bytes, uint64_t *limit_bytesp)
{
	uint64_t limit_bytes;
	int r;

	r = zr_size_parse(text, ram_bytes, &limit_bytes);
	if (r < 0)
		return r;
	if (limit_bytes > ZR_DISK_SIZE_MAX)
		return -ERANGE;
	*limit_bytesp = zr_align_up(limit_bytes, ZR_PAGE_SIZE);
	return 0;
}

static int mem_limit_parse(struct zr_disk_spec *spec, const char *text)
{
	return zr_attr_parse_limit(text, spec->ram_bytes, &spec->attrs.mem_limit_bytes);
}

static void mem_limit_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%" PRIu64, spec->attrs.mem_limit_bytes);
}

static int mem_limit_apply(const struct zr_attr_target *target, const char *text)
{
	struct zr_disk_spec spec = { 0 };

	if (mem_limit_parse(&spec, text) < 0)
		return -EINVAL;
	return zr_disk_set_mem_limit(target->disk, spec.attrs.mem_limit_bytes);
}

static int mem_limit_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_attrs attrs;

	zr_disk_attrs(target->disk, &attrs);
	return snprintf(text, n_text, "%" PRIu64 "\n", attrs.mem_limit_bytes);
}

/* format, label, uuid: what is written when the size is set */

static int format_parse(struct zr_disk_spec *spec, const char *text)
{
	if (strcmp(text, "none") == 0)
		spec->attrs.format = ZR_FORMAT_NONE;
	else if (strcmp(text, "swap") == 0)
		spec->attrs.format = ZR_FORMAT_SWAP;
	else
		return -EINVAL;
	return 0;
}

static void format_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%s", spec->attrs.format == ZR_FORMAT_SWAP ? "swap" : "none");
}

static int format_apply(const struct zr_attr_target *target, const char *text)
{
	/* A file for swap is opened in another way. */
	return zr_attr_change_unbacked(target, format_parse, text);
}

static int format_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return set_show(target, format_print, text, n_text);
}

static int label_parse(struct zr_disk_spec *spec, const char *text)
{
	if (strlen(text) > ZR_LABEL_MAX)
		return -ERANGE;
	memset(spec->attrs.label, 0, sizeof(spec->attrs.label));
	memcpy(spec->attrs.label, text, strlen(text));
	return 0;
}

static void label_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%s", spec->attrs.label);
}

static int label_apply(const struct zr_attr_target *target, const char *text)
{
	return zr_attr_change(target, true, label_parse, text);
}

static int label_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return set_show(target, label_print, text, n_text);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* 8-4-4-4-12 hexadecimal digits; empty for a random one. */
static int uuid_parse(struct zr_disk_spec *spec, const char *text)
{
	uint8_t uuid[16] = { 0 };
	unsigned int n_digits = 0, i;

	if (*text == 0) {
		memset(spec->attrs.uuid, 0, sizeof(spec->attrs.uuid));
		return 0;
	}
	if (strlen(text) != 36)
		return -EINVAL;

	for (i = 0; i < 36; ++i) {
		const int digit = hex_digit(text[i]);

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return -EINVAL;
			continue;
		}
		if (digit < 0)
			return -EINVAL;
		uuid[n_digits / 2] |= (uint8_t)(digit << (n_digits % 2 == 0 ? 4 : 0));
		++n_digits;
	}

	memcpy(spec->attrs.uuid, uuid, sizeof(uuid));
	return 0;
}

static void uuid_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	static const uint8_t none[16];
	size_t at = 0;
	unsigned int i;

	*text = 0;
	if (memcmp(spec->attrs.uuid, none, sizeof(none)) == 0)
		return;
	for (i = 0; i < sizeof(none); ++i)
		at += (size_t)snprintf(text + at, n_text - at,
				       i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
				       spec->attrs.uuid[i]);
}

static int uuid_apply(const struct zr_attr_target *target, const char *text)
{
	return zr_attr_change(target, true, uuid_parse, text);
}

static int uuid_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return set_show(target, uuid_print, text, n_text);
}

/* mode */

static int mode_parse(struct zr_disk_spec *spec, const char *text)
{
	uint64_t mode;
	int r;

	r = zr_attr_parse_number(text, 8, 0777, &mode);
	if (r < 0)
		return r;
	spec->attrs.mode = (uint32_t)mode;
	return 0;
}

static void mode_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "0%03o", spec->attrs.mode);
}

static int mode_apply(const struct zr_attr_target *target, const char *text)
{
	return zr_attr_change(target, false, mode_parse, text);
}

static int mode_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return set_show(target, mode_print, text, n_text);
}

/* swap_priority: for who turns swap on */

static int swap_priority_parse(struct zr_disk_spec *spec, const char *text)
{
	int32_t priority = 0;
	int r;

	r = zr_attr_parse_level(text, &priority);
	if (r < 0)
		return r;
	if (priority < SWAP_PRIORITY_MIN || priority > SWAP_PRIORITY_MAX)
		return -ERANGE;
	spec->attrs.swap_priority = priority;
	return 0;
}

static void swap_priority_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%" PRId32, spec->attrs.swap_priority);
}

static int swap_priority_apply(const struct zr_attr_target *target, const char *text)
{
	return zr_attr_change(target, false, swap_priority_parse, text);
}

static int swap_priority_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return set_show(target, swap_priority_print, text, n_text);
}

void zr_attr_spec_of(struct zr_disk *disk, struct zr_disk_spec *spec)
{
	struct zr_disk_backing backing;

	*spec = (struct zr_disk_spec){ .disksize_bytes = zr_align_up(zr_disk_size(disk),
								     ZR_PAGE_SIZE) };
	zr_disk_attrs(disk, &spec->attrs);
	if (zr_disk_backing(disk, &backing))
		memcpy(spec->backing_dev, backing.path, sizeof(spec->backing_dev));
}

/* comp_algorithm stands before algorithm_params: a configuration is applied in this order. */
const struct zr_attr zr_attrs_set[] = {
	{ .name = "disksize",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_EMPTY,
	  .type = "size",
	  .unit = "bytes",
	  .allowed = "more than 0 and up to 256T: " ZR_SIZE_ALLOWED,
	  .help = "size of the disk, rounded up to a page",
	  .since = "0.1.0",
	  .parse = disksize_parse,
	  .print = disksize_print,
	  .apply = disksize_apply,
	  .show = disksize_show },
	{ .name = "comp_algorithm",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_EMPTY,
	  .type = "word",
	  .allowed = "lz4, lz4hc, lzo, lzo-rle or zstd",
	  .help = "codec that pages are compressed with",
	  .since = "0.1.0",
	  .parse = comp_algorithm_parse,
	  .print = comp_algorithm_print,
	  .apply = comp_algorithm_apply,
	  .show = comp_algorithm_show },
	{ .name = "algorithm_params",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0200,
	  .when = ZR_WHEN_EMPTY,
	  .type = "words",
	  .allowed = "level=N: 1 to 65537 for lz4, 1 to 9 for lz4hc, -131072 to 22 for zstd; "
		     "priority= or algo=",
	  .help = "parameters of the codec, or of the recomp_algorithm of that priority or name",
	  .since = "0.1.0",
	  .parse = zr_attr_algorithm_params_parse,
	  .print = zr_attr_algorithm_params_print,
	  .apply = zr_attr_algorithm_params_apply },
	{ .name = "mem_limit",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "size",
	  .unit = "bytes",
	  .allowed = "0 for none, or up to 256T: " ZR_SIZE_ALLOWED,
	  .help = "most memory that the disk may take, compressed",
	  .since = "0.1.0",
	  .parse = mem_limit_parse,
	  .print = mem_limit_print,
	  .apply = mem_limit_apply,
	  .show = mem_limit_show },
	{ .name = "format",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_EMPTY,
	  .type = "word",
	  .allowed = "none or swap",
	  .help = "what is written when disksize is set; swap: a swap header",
	  .since = "0.1.0",
	  .parse = format_parse,
	  .print = format_print,
	  .apply = format_apply,
	  .show = format_show },
	{ .name = "label",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_EMPTY,
	  .type = "text",
	  .allowed = "up to 16 bytes",
	  .help = "label of the swap header",
	  .since = "0.1.0",
	  .parse = label_parse,
	  .print = label_print,
	  .apply = label_apply,
	  .show = label_show },
	{ .name = "uuid",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_EMPTY,
	  .type = "text",
	  .allowed = "8-4-4-4-12 hexadecimal digits, or nothing for a random one",
	  .help = "UUID of the swap header",
	  .since = "0.1.0",
	  .parse = uuid_parse,
	  .print = uuid_print,
	  .apply = uuid_apply,
	  .show = uuid_show },
	{ .name = "mode",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "octal",
	  .allowed = "an octal number up to 0777",
	  .help = "permissions of the disk's file",
	  .since = "0.1.0",
	  .parse = mode_parse,
	  .print = mode_print,
	  .apply = mode_apply,
	  .show = mode_show },
	{ .name = "swap_priority",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "number",
	  .allowed = "-1 to 32767; -1: the kernel chooses",
	  .help = "priority that zramfsctl swapon asks for",
	  .since = "0.1.0",
	  .parse = swap_priority_parse,
	  .print = swap_priority_print,
	  .apply = swap_priority_apply,
	  .show = swap_priority_show },
	{ .name = "recomp_algorithm",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL | ZR_ATTR_ADDS,
	  .mode = 0644,
	  .when = ZR_WHEN_EMPTY,
	  .type = "words",
	  .allowed = "algo=NAME priority=1 to 3 (1 if not said) level=N; several between commas",
	  .help = "codecs that recompress tries, from priority 1 on",
	  .since = "0.1.0",
	  .parse = zr_attr_recomp_parse,
	  .print = zr_attr_recomp_print,
	  .check = zr_attr_recomp_check,
	  .apply = zr_attr_recomp_apply,
	  .show = zr_attr_recomp_show },
	{ .name = NULL },
};
