/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The backing file: which one, what goes there and when, and to have it go now
 *
 * Documentation/admin-guide/blockdev/zram.rst has backing_dev, the rows from writeback to
 * compressed_writeback, and bd_stat. What the kernel passes over is refused, as in attr-recomp.c.
 */

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "attr-parts.h"
#include "size.h"
#include "snapshot.h"
#include "writeback.h"

#define NONE "none"

/* Each takes at least that much text. */
#define RANGES_MAX (ZR_ATTR_VALUE_MAX / sizeof("page_index=1"))

/* values */

static int number_parse(const char *text, uint32_t min, uint32_t max, uint32_t *numberp)
{
	uint64_t number;
	int r;

	r = zr_attr_parse_number(text, 10, max, &number);
	if (r == 0 && number < min)
		r = -ERANGE;
	if (r == 0)
		*numberp = (uint32_t)number;
	return r;
}

/* The words of the kernel's kstrtobool(), which looks at their beginnings only. */
static int flag_parse(const char *text, uint32_t *flagp)
{
	static const char *const words[2][6] = { { "0", "n", "no", "f", "false", "off" },
						 { "1", "y", "yes", "t", "true", "on" } };
	uint32_t flag;
	size_t i;

	for (flag = 0; flag <= 1; ++flag) {
		for (i = 0; i < ZR_ARRAY_SIZE(words[flag]); ++i) {
			if (strcasecmp(text, words[flag][i]) != 0)
				continue;
			*flagp = flag;
			return 0;
		}
	}
	return -EINVAL;
}

/* Of a file: whole blocks. */
static int bytes_parse(const char *text, uint64_t ram_bytes, uint64_t *bytesp)
{
	uint64_t n_bytes;
	int r;

	r = zr_size_parse(text, ram_bytes, &n_bytes);
	if (r < 0)
		return r;
	if (n_bytes > ZR_BACKING_BYTES_MAX)
		return -ERANGE;
	*bytesp = zr_align_up(n_bytes, ZR_BLOCK_BYTES);
	return 0;
}

static int change_always(const struct zr_attr_target *target,
			 int (*parse)(struct zr_disk_spec *spec, const char *text),
			 const char *text)
{
	return zr_attr_change(target, false, parse, text);
}

/* What is wrong with the text is told before that it is too late, as the kernel has it. */
static int change_empty(const struct zr_attr_target *target,
			int (*parse)(struct zr_disk_spec *spec, const char *text), const char *text)
{
	struct zr_disk_spec spec = { 0 };

	return parse(&spec, text) < 0 ? -EINVAL : zr_attr_change(target, true, parse, text);
}

ZR_ATTR_NUMBER(backing_size, backing_size_bytes, PRIu64,
	       bytes_parse(text, spec->ram_bytes, &spec->attrs.backing_size_bytes),
	       zr_attr_change_unbacked)
ZR_ATTR_NUMBER(backing_preallocate, backing_preallocate, PRIu32,
	       flag_parse(text, &spec->attrs.backing_preallocate), zr_attr_change_unbacked)
ZR_ATTR_NUMBER(backing_limit, backing_limit_bytes, PRIu64,
	       bytes_parse(text, spec->ram_bytes, &spec->attrs.backing_limit_bytes), change_always)
ZR_ATTR_NUMBER(compressed_writeback, compressed_writeback, PRIu32,
	       flag_parse(text, &spec->attrs.compressed_writeback), change_empty)
ZR_ATTR_NUMBER(writeback_batch_size, writeback_batch_size, PRIu32,
	       number_parse(text, 1, ZR_WRITEBACK_BATCH_SIZE_MAX,
			    &spec->attrs.writeback_batch_size),
	       change_always)
ZR_ATTR_NUMBER(spill_above, spill_above_bytes, PRIu32,
	       number_parse(text, 0, ZR_PAGE_SIZE, &spec->attrs.spill_above_bytes), change_always)
ZR_ATTR_NUMBER(writeback_at, writeback_at, PRIu32,
	       number_parse(text, 1, 100, &spec->attrs.writeback_at), change_always)

/* backing_dev */

static bool is_none(const char *text)
{
	return *text == 0 || strcmp(text, NONE) == 0;
}

/* Texts of attributes are lines. */
static bool is_line(const char *text)
{
	for (; *text; ++text) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

static int backing_dev_parse(struct zr_disk_spec *spec, const char *text)
{
	/* The daemon's own directory is nobody's. */
	if ((!is_none(text) && *text != '/') || !is_line(text))
		return -EINVAL;
	if (strlen(text) > ZR_BACKING_PATH_MAX)
		return -ERANGE;
	memset(spec->backing_dev, 0, sizeof(spec->backing_dev));
	if (!is_none(text))
		memcpy(spec->backing_dev, text, strlen(text));
	return 0;
}

static void backing_dev_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	snprintf(text, n_text, "%s", spec->backing_dev);
}

static int backing_dev_apply(const struct zr_attr_target *target, const char *text)
{
	const struct zr_attr_daemon *daemon = target->daemon;
	struct zr_disk_spec spec = { 0 };
	int r;

	if (zr_disk_size(target->disk) != 0)
		return -EBUSY;
	r = backing_dev_parse(&spec, text);
	if (r < 0)
		return r == -ERANGE ? -ENAMETOOLONG : r;
	if (!daemon || !daemon->back)
		return -ENODEV;
	return daemon->back(daemon->context, target->disk, spec.backing_dev, target->stop);
}

static int backing_dev_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_disk_backing backing;

	if (!zr_disk_backing(target->disk, &backing))
		return snprintf(text, n_text, NONE "\n");
	return snprintf(text, n_text, "%s\n", backing.path);
}

/* backing_key */

static int backing_key_parse(struct zr_disk_spec *spec, const char *text)
{
	if (*text == 0)
		spec->attrs.backing_key = ZR_BACKING_KEY_DEFAULT;
	else if (strcmp(text, NONE) == 0)
		spec->attrs.backing_key = ZR_BACKING_KEY_NONE;
	else if (strcmp(text, "random") == 0)
		spec->attrs.backing_key = ZR_BACKING_KEY_RANDOM;
	else
		return -EINVAL;
	return 0;
}

static void backing_key_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	static const char *const words[] = { [ZR_BACKING_KEY_DEFAULT] = "",
					     [ZR_BACKING_KEY_NONE] = NONE,
					     [ZR_BACKING_KEY_RANDOM] = "random" };

	snprintf(text, n_text, "%s", words[spec->attrs.backing_key]);
}

static int backing_key_apply(const struct zr_attr_target *target, const char *text)
{
	return zr_attr_change_unbacked(target, backing_key_parse, text);
}

/* What is so of the file that is there, or would be of one. */
static int backing_key_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_disk_backing backing;
	struct zr_attrs attrs;
	bool is_random;

	zr_disk_attrs(target->disk, &attrs);
	is_random = attrs.backing_key == ZR_BACKING_KEY_RANDOM ||
		    (attrs.backing_key == ZR_BACKING_KEY_DEFAULT && attrs.format == ZR_FORMAT_SWAP);
	if (zr_disk_backing(target->disk, &backing))
		is_random = backing.flags & ZR_BACKING_SEALED;
	return snprintf(text, n_text, "%s\n", is_random ? "random" : NONE);
}

/* on_limit */

static int on_limit_parse(struct zr_disk_spec *spec, const char *text)
{
	if (*text == 0)
		spec->attrs.on_limit = ZR_ON_LIMIT_DEFAULT;
	else if (strcmp(text, "spill") == 0)
		spec->attrs.on_limit = ZR_ON_LIMIT_SPILL;
	else if (strcmp(text, "enospc") == 0)
		spec->attrs.on_limit = ZR_ON_LIMIT_ENOSPC;
	else
		return -EINVAL;
	return 0;
}

static void on_limit_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	static const char *const words[] = { [ZR_ON_LIMIT_DEFAULT] = "",
					     [ZR_ON_LIMIT_SPILL] = "spill",
					     [ZR_ON_LIMIT_ENOSPC] = "enospc" };

	snprintf(text, n_text, "%s", words[spec->attrs.on_limit]);
}

/* To spill there must be where to. */
static int on_limit_apply(const struct zr_attr_target *target, const char *text)
{
	struct zr_disk_backing backing;

	if (strcmp(text, "spill") == 0 && !zr_disk_backing(target->disk, &backing))
		return -ENODEV;
	return zr_attr_change(target, false, on_limit_parse, text);
}

static int on_limit_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_disk_backing backing;
	struct zr_attrs attrs;

	zr_disk_attrs(target->disk, &attrs);
	return snprintf(text, n_text, "%s\n",
			attrs.on_limit != ZR_ON_LIMIT_ENOSPC &&
					zr_disk_backing(target->disk, &backing)
				? "spill"
				: "enospc");
}

/* writeback_limit: what is left of a budget, so it is no setting and no key */

static int word_set(const struct zr_attr_target *target, _Atomic uint64_t *word, const char *text,
		    bool as_bool)
{
	uint64_t value;

	if (zr_attr_parse_kernel_number(text, UINT64_MAX, &value) < 0)
		return -EINVAL;
	if (zr_disk_is_removed(target->disk))
		return -ESTALE;
	atomic_store(word, as_bool ? value != 0 : value);
	return 0;
}

static int writeback_limit_apply(const struct zr_attr_target *target, const char *text)
{
	return word_set(target, &target->disk->entry->writeback_limit, text, false);
}

static int writeback_limit_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return snprintf(text, n_text, "%" PRIu64 "\n",
			atomic_load(&target->disk->entry->writeback_limit));
}

static int writeback_limit_enable_apply(const struct zr_attr_target *target, const char *text)
{
	return word_set(target, &target->disk->entry->writeback_limit_enable, text, true);
}

static int writeback_limit_enable_show(const struct zr_attr_target *target, char *text,
				       size_t n_text)
{
	return snprintf(text, n_text, "%d\n",
			atomic_load(&target->disk->entry->writeback_limit_enable) != 0);
}

/* writeback */

struct asked {
	struct zr_writeback_request request;
	struct zr_writeback_range ranges[RANGES_MAX];
};

static int type_parse(const char *type, unsigned int *typesp)
{
	if (strcmp(type, "idle") == 0)
		*typesp = ZR_SWEEP_IDLE;
	else if (strcmp(type, "huge") == 0)
		*typesp = ZR_SWEEP_HUGE;
	else if (strcmp(type, "huge_idle") == 0)
		*typesp = ZR_SWEEP_HUGE | ZR_SWEEP_IDLE;
	else if (strcmp(type, "incompressible") == 0)
		*typesp = ZR_SWEEP_INCOMPRESSIBLE;
	else
		return -EINVAL;
	return 0;
}

static int page_no_parse(const char *text, uint64_t *page_nop)
{
	uint64_t page_no;
	int r;

	r = zr_attr_parse_kernel_number(text, UINT64_MAX, &page_no);
	if (r == 0)
		*page_nop = page_no;
	return r;
}

/* @value: LO-HI, which is cut in two, or a number alone. */
static int range_parse(struct asked *asked, char *value, bool has_two)
{
	struct zr_writeback_range *range = &asked->ranges[asked->request.n_ranges];
	char *end = has_two ? strchr(value, '-') : value;
	int r;

	if (!end)
		return -EINVAL;
	if (has_two)
		*end++ = 0;
	r = page_no_parse(value, &range->first);
	if (r == 0)
		r = page_no_parse(end, &range->last);
	if (r == 0)
		++asked->request.n_ranges;
	return r;
}

/* @word is cut in two. A type stands last: the kernel reads no further. */
static int word_parse(struct asked *asked, char *word)
{
	char *value = strchr(word, '=');

	if (asked->request.types != 0)
		return -EINVAL;
	if (!value)
		return type_parse(word, &asked->request.types);
	*value++ = 0;
	if (strcmp(word, "type") == 0)
		return type_parse(value, &asked->request.types);
	if (strcmp(word, "page_index") == 0)
		return range_parse(asked, value, false);
	return strcmp(word, "page_indexes") == 0 ? range_parse(asked, value, true) : -EINVAL;
}

static int asked_parse(struct asked *asked, const char *text)
{
	char words[ZR_ATTR_VALUE_MAX + 1], *word, *rest = NULL;
	int r = 0;

	asked->request = (struct zr_writeback_request){ .ranges = asked->ranges };
	if (strlen(text) >= sizeof(words))
		return -EINVAL;
	memcpy(words, text, strlen(text) + 1);
	for (word = strtok_r(words, " \t\n", &rest); r == 0 && word;
	     word = strtok_r(NULL, " \t\n", &rest))
		r = word_parse(asked, word);
	if (r == 0 && asked->request.types == 0 && asked->request.n_ranges == 0)
		r = -EINVAL;
	return r;
}

static int writeback_apply(const struct zr_attr_target *target, const char *text)
{
	const struct zr_attr_daemon *daemon = target->daemon;
	struct zr_disk_backing backing;
	struct zr_batch *batch;
	struct asked asked;
	int r;

	if (zr_disk_size(target->disk) == 0)
		return -EINVAL;
	if (!zr_disk_backing(target->disk, &backing) || !daemon || !daemon->take_batch)
		return -ENODEV;
	r = asked_parse(&asked, text);
	if (r < 0)
		return r;

	batch = daemon->take_batch(daemon->context, target->stop);
	if (!batch)
		return -EINTR;
	r = zr_writeback_run(target->disk, batch, &target->stop, &asked.request);
	daemon->give_batch(daemon->context, batch);
	return r;
}

/* bd_stat */

static int bd_stat_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_disk_figures figures;
	struct zr_counts counts;

	zr_disk_figures(target->disk, &figures);
	zr_disk_counts(target->disk, &counts);
	return snprintf(text, n_text, "%8" PRId64 " %8" PRIu64 " %8" PRIu64 "\n",
			figures.tally.gauge[ZR_GAUGE_WRITTEN_BACK], counts.bd_reads,
			counts.bd_writes);
}

#define ROW_KEY(name_, when_, type_, unit_, allowed_, help_)                                     \
	{                                                                                        \
		.name = #name_, .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL, .mode = 0644,         \
		.when = when_, .type = type_, .unit = unit_, .allowed = allowed_, .help = help_, \
		.since = "0.1.0", .parse = name_##_parse, .print = name_##_print,                \
		.apply = name_##_apply, .show = name_##_show                                     \
	}

#define FLAG_ALLOWED  "1, y, yes, on or true; 0, n, no, off or false"
#define BYTES_ALLOWED "up to 64T: " ZR_SIZE_ALLOWED

/* What a file is opened with stands before backing_dev: a configuration is applied in this order. */
const struct zr_attr zr_attrs_back[] = {
	ROW_KEY(backing_size, ZR_WHEN_EMPTY, "size", "bytes",
		"0: as large as it is; or " BYTES_ALLOWED,
		"size that the file of backing_dev is given when it is opened"),
	ROW_KEY(backing_preallocate, ZR_WHEN_EMPTY, "flag", NULL, FLAG_ALLOWED,
		"whether all of the file is allocated when it is opened, and stays so"),
	ROW_KEY(backing_key, ZR_WHEN_EMPTY, "word", NULL, "none or random",
		"key that pages on the file are encrypted with; random where format is swap"),
	{ .name = "backing_dev",
	  .flags = ZR_ATTR_CONFIG | ZR_ATTR_CONTROL | ZR_ATTR_LONG,
	  .mode = 0644,
	  .when = ZR_WHEN_EMPTY,
	  .type = "text",
	  .allowed = "none, or the path of a file or block device, from / on, of up to 255 bytes",
	  .help = "where pages are written back to; several disks may have the same",
	  .since = "0.1.0",
	  .parse = backing_dev_parse,
	  .print = backing_dev_print,
	  .apply = backing_dev_apply,
	  .show = backing_dev_show },
	ROW_KEY(backing_limit, ZR_WHEN_ALWAYS, "size", "bytes",
		"0 for all of it, or " BYTES_ALLOWED, "most of the file that the disk may take"),
	ROW_KEY(on_limit, ZR_WHEN_ALWAYS, "word", NULL,
		"enospc, or spill where there is a backing_dev",
		"a write that passes a mem_limit waits while pages go to the file, or is refused"),
	ROW_KEY(spill_above, ZR_WHEN_ALWAYS, "number", "bytes", "0 for none, or up to 4096",
		"pages that compress to more than that go to the file at once"),
	ROW_KEY(writeback_at, ZR_WHEN_ALWAYS, "number", "percent", "1 to 100",
		"percent of mem_limit from which on the coldest pages go to the file"),
	ROW_KEY(writeback_batch_size, ZR_WHEN_ALWAYS, "number", "pages", "1 to 1024",
		"pages that go to the file in one request, at most"),
	ROW_KEY(compressed_writeback, ZR_WHEN_EMPTY, "flag", NULL, FLAG_ALLOWED,
		"whether pages lie compressed on the file"),
	{ .name = "writeback",
	  .flags = ZR_ATTR_CONTROL | ZR_ATTR_LONG,
	  .mode = 0200,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "words",
	  .allowed = "page_index=N, page_indexes=LO-HI, type=idle, huge, huge_idle or "
		     "incompressible; with a backing_dev",
	  .help = "write pages to the backing file, largest first",
	  .since = "0.1.0",
	  .apply = writeback_apply },
	{ .name = "writeback_limit",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "number",
	  .unit = "pages",
	  .allowed = "a number",
	  .help = "pages that may still be written back, while writeback_limit_enable is 1",
	  .since = "0.1.0",
	  .apply = writeback_limit_apply,
	  .show = writeback_limit_show },
	{ .name = "writeback_limit_enable",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "number",
	  .allowed = "0, or another number for 1",
	  .help = "whether writeback_limit holds",
	  .since = "0.1.0",
	  .apply = writeback_limit_enable_apply,
	  .show = writeback_limit_enable_show },
	{ .name = "bd_stat",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figures",
	  .help = "pages on the backing file, read from there and written there, in the kernel's "
		  "columns",
	  .since = "0.1.0",
	  .show = bd_stat_show },
	{ .name = NULL },
};

_Static_assert(ZR_BACKING_PATH_MAX == 255, "the message of backing_dev says 255");
_Static_assert(ZR_BACKING_BYTES_MAX == UINT64_C(64) << 40, "the message of sizes says 64T");
_Static_assert(ZR_WRITEBACK_BATCH_SIZE_MAX == 1024,
	       "the message of writeback_batch_size says 1024");
