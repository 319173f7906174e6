/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "attr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "compact.h"
#include "disk.h"
#include "size.h"

#define UNKNOWN_ALGORITHM_MAX 128u /* from here on the kernel says E2BIG */

/* Longer than all parameters there are. */
#define PARAMS_TEXT_MAX 256u

/* numbers in text */

/* Digits of @base and nothing else. Return: 0, -EINVAL or -ERANGE. */
static int number_parse(const char *text, int base, unsigned long max, unsigned long *numberp)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;

	errno = 0;
	*numberp = strtoul(text, &end, base);
	if (*end != 0)
		return -EINVAL;
	return errno == ERANGE || *numberp > max ? -ERANGE : 0;
}

static int level_parse(const char *text, int32_t *levelp)
{
	unsigned long magnitude;
	const bool negative = *text == '-';
	int r;

	r = number_parse(text + negative, 10, INT32_MAX, &magnitude);
	if (r < 0)
		return r;
	*levelp = negative ? -(int32_t)magnitude : (int32_t)magnitude;
	return 0;
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

static int disksize_apply(struct zr_disk *disk, struct zr_ctx *ctx, const struct zr_attrs *defaults,
			  const char *text)
{
	uint64_t size_bytes;

	if (zr_size_parse(text, 0, &size_bytes) < 0)
		return -EINVAL;
	return zr_disk_set_disksize(disk, ctx, size_bytes);
}

static int disksize_show(struct zr_disk *disk, char *text, size_t n_text)
{
	return snprintf(text, n_text, "%" PRIu64 "\n",
			zr_align_up(zr_disk_size(disk), ZR_PAGE_SIZE));
}

static int initstate_show(struct zr_disk *disk, char *text, size_t n_text)
{
	return snprintf(text, n_text, "%d\n", zr_disk_size(disk) != 0);
}

/* comp_algorithm, algorithm_params */

static int comp_algorithm_parse(struct zr_disk_spec *spec, const char *text)
{
	return zr_codec_find(text, &spec->attrs.codecs[0]);
}

static const char *algorithm_name(const struct zr_attrs *attrs)
{
	return zr_codec_by_algorithm(attrs->codecs[0].algorithm)->name;
}

static void comp_algorithm_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%s", algorithm_name(&spec->attrs));
}

static int comp_algorithm_apply(struct zr_disk *disk, struct zr_ctx *ctx,
				const struct zr_attrs *defaults, const char *text)
{
	struct zr_codec_params params;
	int r;

	if (strlen(text) >= UNKNOWN_ALGORITHM_MAX)
		return -E2BIG;
	r = zr_codec_find(text, &params);
	return r < 0 ? r : zr_disk_set_codec(disk, &params);
}

static int comp_algorithm_show(struct zr_disk *disk, char *text, size_t n_text)
{
	const struct zr_codec *codec;
	struct zr_attrs attrs;
	size_t at = 0;
	unsigned int i;

	zr_disk_attrs(disk, &attrs);
	for (i = 0; (codec = zr_codec_listed(i)); ++i) {
		const bool chosen = strcmp(codec->name, algorithm_name(&attrs)) == 0;

		at += (size_t)snprintf(text + at, n_text - at, chosen ? "[%s] " : "%s ",
				       codec->name);
	}
	at += (size_t)snprintf(text + at, n_text - at, "\n");
	return (int)at;
}

/* One word of "algo=zstd priority=0 level=3". The kernel forgets earlier parameters first. */
static int param_parse(const char *word, struct zr_codec_params *params)
{
	unsigned long priority;

	if (strncmp(word, "level=", 6) == 0)
		return level_parse(word + 6, &params->level);
	if (strncmp(word, "algo=", 5) == 0)
		return strcmp(word + 5, zr_codec_by_algorithm(params->algorithm)->name) == 0
			       ? 0
			       : -EINVAL;
	if (strncmp(word, "priority=", 9) == 0)
		return number_parse(word + 9, 10, 0, &priority);
	return -EINVAL;
}

/* Into @params, which names the algorithm already. Return: 0, -EINVAL or -ERANGE. */
static int params_parse(const char *text, struct zr_codec_params *params)
{
	struct zr_codec_params fresh = { params->algorithm, ZR_CODEC_LEVEL_DEFAULT };
	char words[PARAMS_TEXT_MAX], *word, *rest = NULL;
	int r = 0;

	if (strlen(text) >= sizeof(words))
		return -EINVAL;
	memcpy(words, text, strlen(text) + 1);

	for (word = strtok_r(words, " \t", &rest); r == 0 && word;
	     word = strtok_r(NULL, " \t", &rest))
		r = param_parse(word, &fresh);
	if (r < 0)
		return r;
	r = zr_codec_check(&fresh);
	if (r < 0)
		return r;
	*params = fresh;
	return 0;
}

static int algorithm_params_parse(struct zr_disk_spec *spec, const char *text)
{
	return params_parse(text, &spec->attrs.codecs[0]);
}

static void algorithm_params_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	*text = 0;
	if (spec->attrs.codecs[0].level != ZR_CODEC_LEVEL_DEFAULT)
		snprintf(text, n_text, "level=%" PRId32, spec->attrs.codecs[0].level);
}

static int algorithm_params_apply(struct zr_disk *disk, struct zr_ctx *ctx,
				  const struct zr_attrs *defaults, const char *text)
{
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
	if (params_parse(text, &attrs.codecs[0]) < 0)
		return -EINVAL;
	return zr_disk_set_codec(disk, &attrs.codecs[0]);
}

/* mem_limit */

static int mem_limit_parse(struct zr_disk_spec *spec, const char *text)
{
	uint64_t limit_bytes;
	int r;

	r = zr_size_parse(text, spec->ram_bytes, &limit_bytes);
	if (r < 0)
		return r;
	if (limit_bytes > ZR_DISK_SIZE_MAX)
		return -ERANGE;
	spec->attrs.mem_limit_bytes = zr_align_up(limit_bytes, ZR_PAGE_SIZE);
	return 0;
}

static void mem_limit_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%" PRIu64, spec->attrs.mem_limit_bytes);
}

static int mem_limit_apply(struct zr_disk *disk, struct zr_ctx *ctx,
			   const struct zr_attrs *defaults, const char *text)
{
	struct zr_disk_spec spec = { 0 };

	if (mem_limit_parse(&spec, text) < 0)
		return -EINVAL;
	return zr_disk_set_mem_limit(disk, spec.attrs.mem_limit_bytes);
}

static int mem_limit_show(struct zr_disk *disk, char *text, size_t n_text)
{
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
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

/* mode */

static int mode_parse(struct zr_disk_spec *spec, const char *text)
{
	unsigned long mode;
	int r;

	r = number_parse(text, 8, 0777, &mode);
	if (r < 0)
		return r;
	spec->attrs.mode = (uint32_t)mode;
	return 0;
}

static void mode_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "0%03o", spec->attrs.mode);
}

/* reset and statistics: Documentation/admin-guide/blockdev/zram.rst */

static int reset_apply(struct zr_disk *disk, struct zr_ctx *ctx, const struct zr_attrs *defaults,
		       const char *text)
{
	unsigned long wanted;

	if (number_parse(text, 10, UINT16_MAX, &wanted) < 0 || wanted == 0)
		return -EINVAL;
	return zr_disk_reset(disk, defaults);
}

/* What is written does not matter, as with zram. */
static int compact_apply(struct zr_disk *disk, struct zr_ctx *ctx, const struct zr_attrs *defaults,
			 const char *text)
{
	if (zr_disk_size(disk) == 0)
		return -EINVAL;
	(void)zr_compact(disk->engine);
	return 0;
}

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static int mm_stat_show(struct zr_disk *disk, char *text, size_t n_text)
{
	struct zr_disk_figures figures;

	zr_disk_figures(disk, &figures);
	return snprintf(text, n_text,
			"%8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRId64
			" %8" PRIu64 " %8" PRId64 " %8" PRIu64 "\n",
			figures.orig_bytes, figures.compr_bytes, figures.total_bytes,
			figures.limit_bytes, figures.max_bytes, figures.tally.gauge[ZR_GAUGE_SAME],
			get(&disk->engine->pool.superblock->pages_compacted),
			figures.tally.gauge[ZR_GAUGE_HUGE],
			get(&disk->entry->counters.huge_pages_since));
}

static int io_stat_show(struct zr_disk *disk, char *text, size_t n_text)
{
	const struct zr_counters *counters = &disk->entry->counters;

	return snprintf(text, n_text, "%8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 "\n",
			get(&counters->failed_reads), get(&counters->failed_writes),
			get(&counters->invalid_io), get(&counters->notify_free));
}

#define WHEN_EMPTY  "while the disk has no size"
#define WHEN_ALWAYS "at any time"
#define WHEN_MADE   "when the disk is made"
#define WHEN_NEVER  "read only"

/* comp_algorithm stands before algorithm_params: a configuration is applied in this order. */
static const struct zr_attr attrs_table[] = {
	{ .name = "disksize",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .unit = "bytes",
	  .when = WHEN_EMPTY,
	  .allowed = "more than 0 and up to 256T: " ZR_SIZE_ALLOWED,
	  .help = "size of the disk, rounded up to a page",
	  .parse = disksize_parse,
	  .print = disksize_print,
	  .apply = disksize_apply,
	  .show = disksize_show },
	{ .name = "initstate",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = WHEN_NEVER,
	  .help = "1 once the disk has a size, 0 before",
	  .show = initstate_show },
	{ .name = "reset",
	  .flags = ZR_ATTR_CONTROL | ZR_ATTR_UNUSED,
	  .mode = 0200,
	  .when = "while the disk is not in use",
	  .allowed = "1",
	  .help = "drop all data and the size, go back to the defaults",
	  .apply = reset_apply },
	{ .name = "comp_algorithm",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = WHEN_EMPTY,
	  .allowed = "lz4, lz4hc, lzo, lzo-rle or zstd",
	  .help = "codec that pages are compressed with",
	  .parse = comp_algorithm_parse,
	  .print = comp_algorithm_print,
	  .apply = comp_algorithm_apply,
	  .show = comp_algorithm_show },
	{ .name = "algorithm_params",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0200,
	  .when = WHEN_EMPTY,
	  .allowed = "level=N: 1 to 65537 for lz4, 1 to 9 for lz4hc, -131072 to 22 for zstd",
	  .help = "parameters of the codec",
	  .parse = algorithm_params_parse,
	  .print = algorithm_params_print,
	  .apply = algorithm_params_apply },
	{ .name = "mem_limit",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .unit = "bytes",
	  .when = WHEN_ALWAYS,
	  .allowed = "0 for none, or up to 256T: " ZR_SIZE_ALLOWED,
	  .help = "most memory that the disk may take, compressed",
	  .parse = mem_limit_parse,
	  .print = mem_limit_print,
	  .apply = mem_limit_apply,
	  .show = mem_limit_show },
	{ .name = "format",
	  .flags = ZR_ATTR_CONFIG,
	  .when = WHEN_MADE,
	  .allowed = "none or swap",
	  .help = "what is written when disksize is set; swap: a swap header",
	  .parse = format_parse,
	  .print = format_print },
	{ .name = "label",
	  .flags = ZR_ATTR_CONFIG,
	  .when = WHEN_MADE,
	  .allowed = "up to 16 bytes",
	  .help = "label of the swap header",
	  .parse = label_parse,
	  .print = label_print },
	{ .name = "uuid",
	  .flags = ZR_ATTR_CONFIG,
	  .when = WHEN_MADE,
	  .allowed = "8-4-4-4-12 hexadecimal digits",
	  .help = "UUID of the swap header; a random one if it is not given",
	  .parse = uuid_parse,
	  .print = uuid_print },
	{ .name = "mode",
	  .flags = ZR_ATTR_CONFIG,
	  .when = "at any time, with chmod",
	  .allowed = "an octal number up to 0777",
	  .help = "permissions of the disk's file",
	  .parse = mode_parse,
	  .print = mode_print },
	{ .name = "compact",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0200,
	  .when = WHEN_ALWAYS,
	  .allowed = "anything, once the disk has a size",
	  .help = "give back now the memory that free cells hold, of all disks",
	  .apply = compact_apply },
	{ .name = "mm_stat",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = WHEN_NEVER,
	  .help = "memory figures, in the kernel's columns",
	  .show = mm_stat_show },
	{ .name = "io_stat",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = WHEN_NEVER,
	  .help = "I/O figures, in the kernel's columns",
	  .show = io_stat_show },
};

const struct zr_attr *zr_attr_at(unsigned int index)
{
	return index < ZR_ARRAY_SIZE(attrs_table) ? &attrs_table[index] : NULL;
}

const struct zr_attr *zr_attr_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(attrs_table); ++i) {
		if (strcmp(attrs_table[i].name, name) == 0)
			return &attrs_table[i];
	}
	return NULL;
}

void zr_disk_spec_init(struct zr_disk_spec *spec, uint64_t ram_bytes)
{
	unsigned int i;

	*spec = (struct zr_disk_spec){ .ram_bytes = ram_bytes, .attrs.mode = 0600 };
	for (i = 0; i < ZR_CODEC_NUMBERS; ++i)
		spec->attrs.codecs[i] = (struct zr_codec_params){ ZR_ALGORITHM_LZ4,
								  ZR_CODEC_LEVEL_DEFAULT };
}

int zr_disk_name_check(const char *name, const char **whyp)
{
	const unsigned char *at;

	*whyp = NULL;
	if (*name == 0)
		*whyp = "a name must not be empty";
	else if (*name == '.')
		*whyp = "a name must not begin with a dot";
	else if (strlen(name) > ZR_NAME_MAX)
		*whyp = "a name has at most 63 bytes";
	else if (strcmp(name, "hot_add") == 0 || strcmp(name, "hot_remove") == 0)
		*whyp = "this name is a file of .control";

	for (at = (const unsigned char *)name; *at && !*whyp; ++at) {
		if (*at == '/')
			*whyp = "a name has no slash";
		else if (*at < ' ' || *at == 0x7f)
			*whyp = "a name has no control characters";
	}
	return *whyp ? -EINVAL : 0;
}
