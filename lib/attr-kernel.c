/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The other files of /sys/block/zram<N>: Documentation/admin-guide/blockdev/zram.rst; and those of
 * 2013, one figure each: Documentation/blockdev/zram.txt of that time
 */

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "attr-parts.h"
#include "census.h"
#include "compact.h"
#include "snapshot.h"

/* state */

static int initstate_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return snprintf(text, n_text, "%d\n", zr_disk_size(target->disk) != 0);
}

static int reset_check(const char *text)
{
	uint64_t wanted;
	int r;

	r = zr_attr_parse_kernel_number(text, UINT16_MAX, &wanted);
	return r == 0 && wanted == 0 ? -EINVAL : r;
}

static int reset_apply(const struct zr_attr_target *target, const char *text)
{
	int r;

	r = reset_check(text);
	return r < 0 ? r : zr_disk_reset(target->disk, target->defaults);
}

/* work */

/* What is written does not matter, as with zram. */
static int compact_apply(const struct zr_attr_target *target, const char *text)
{
	if (zr_disk_size(target->disk) == 0)
		return -EINVAL;
	return zr_compact(target->disk->engine, &target->stop, NULL);
}

/* Without ages a number of seconds is refused, as by a kernel that keeps none. */
static int idle_apply(const struct zr_attr_target *target, const char *text)
{
	uint64_t seconds;

	if (strcmp(text, "all") == 0)
		return zr_census_mark_idle(target->disk, &target->stop);
	if (zr_attr_parse_kernel_number(text, UINT32_MAX, &seconds) < 0)
		return -EINVAL;
	return zr_census_mark_older(target->disk, (uint32_t)seconds, &target->stop);
}

static int mem_used_max_apply(const struct zr_attr_target *target, const char *text)
{
	uint64_t value;

	if (zr_attr_parse_kernel_number(text, 0, &value) < 0)
		return -EINVAL;
	return zr_disk_reset_peak(target->disk);
}

static int block_state_stream(const struct zr_attr_target *target, uint64_t *cursorp, char *text,
			      size_t n_text)
{
	return zr_census_block_state(target->disk, cursorp, text, n_text);
}

/* As many as threads that serve. Setting it has had no effect since Linux 4.7, and has none. */
static int max_comp_streams_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return snprintf(text, n_text, "%u\n", target->n_threads);
}

static int max_comp_streams_apply(const struct zr_attr_target *target, const char *text)
{
	uint64_t value;

	if (zr_attr_parse_number(text, 10, INT32_MAX, &value) < 0 || value == 0)
		return -EINVAL;
	return 0;
}

/* statistics, in the kernel's columns */

static int mm_stat_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_disk *disk = target->disk;
	struct zr_disk_figures figures;
	struct zr_counts counts;

	zr_disk_figures(disk, &figures);
	zr_disk_counts(disk, &counts);
	return snprintf(text, n_text,
			"%8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRId64
			" %8" PRIu64 " %8" PRId64 " %8" PRIu64 "\n",
			figures.orig_bytes, figures.compr_bytes, figures.total_bytes,
			figures.limit_bytes, figures.max_bytes, figures.tally.gauge[ZR_GAUGE_SAME],
			atomic_load(&disk->engine->pool.superblock->pages_compacted),
			figures.tally.gauge[ZR_GAUGE_HUGE], counts.huge_pages_since);
}

/* The third column without padding: there the kernel, which no longer counts, has a plain 0. */
static int io_stat_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_counts counts;

	zr_disk_counts(target->disk, &counts);
	return snprintf(text, n_text, "%8" PRIu64 " %8" PRIu64 " %" PRIu64 " %8" PRIu64 "\n",
			counts.failed_reads, counts.failed_writes, counts.invalid_io,
			counts.notify_free);
}

/* The kernel counts frees that came at a bad moment. Here they wait. */
static int debug_stat_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	return snprintf(text, n_text, "version: 1\n%u %8u\n", 0u, 0u);
}

/* one value each, as in 2013 */

static int value_show(uint64_t value, char *text, size_t n_text)
{
	return snprintf(text, n_text, "%" PRIu64 "\n", value);
}

#define SHOW_COUNT(name, member)                                                               \
	static int name##_show(const struct zr_attr_target *target, char *text, size_t n_text) \
	{                                                                                      \
		struct zr_counts counts;                                                       \
                                                                                               \
		zr_disk_counts(target->disk, &counts);                                         \
		return value_show(counts.member, text, n_text);                                \
	}

#define SHOW_FIGURE(name, expression)                                                          \
	static int name##_show(const struct zr_attr_target *target, char *text, size_t n_text) \
	{                                                                                      \
		struct zr_disk_figures figures;                                                \
                                                                                               \
		zr_disk_figures(target->disk, &figures);                                       \
		return value_show((uint64_t)(figures.expression), text, n_text);               \
	}

SHOW_COUNT(num_reads, num_reads)
SHOW_COUNT(num_writes, num_writes)
SHOW_COUNT(failed_reads, failed_reads)
SHOW_COUNT(failed_writes, failed_writes)
SHOW_COUNT(invalid_io, invalid_io)
SHOW_COUNT(notify_free, notify_free)
SHOW_COUNT(discard, num_discards)
SHOW_FIGURE(zero_pages, tally.gauge[ZR_GAUGE_ZERO])
SHOW_FIGURE(orig_data_size, orig_bytes)
SHOW_FIGURE(compr_data_size, compr_bytes)
SHOW_FIGURE(mem_used_total, total_bytes)

const struct zr_attr zr_attrs_kernel[] = {
	{ .name = "initstate",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .help = "1 once the disk has a size, 0 before",
	  .since = "0.1.0",
	  .show = initstate_show },
	{ .name = "reset",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0200,
	  .when = ZR_WHEN_UNUSED,
	  .type = "word",
	  .allowed = "1 to 65535",
	  .help = "drop all data and the size, go back to the defaults",
	  .since = "0.1.0",
	  .check = reset_check,
	  .apply = reset_apply },
	{ .name = "mem_used_max",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0200,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "word",
	  .allowed = "0",
	  .help = "forget how much memory the disk took at most",
	  .since = "0.1.0",
	  .apply = mem_used_max_apply },
	{ .name = "compact",
	  .flags = ZR_ATTR_CONTROL | ZR_ATTR_LONG,
	  .mode = 0200,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "word",
	  .allowed = "anything, once the disk has a size",
	  .help = "give back now the memory that free cells hold, of all disks",
	  .since = "0.1.0",
	  .apply = compact_apply },
	{ .name = "idle",
	  .flags = ZR_ATTR_CONTROL | ZR_ATTR_LONG,
	  .mode = 0200,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "word",
	  .allowed = "all, or seconds where an age is configured, once the disk has a size",
	  .help = "mark all objects idle, or those that were not used for so long and no others",
	  .since = "0.1.0",
	  .apply = idle_apply },
	{ .name = "mm_stat",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figures",
	  .help = "memory figures, in the kernel's columns",
	  .since = "0.1.0",
	  .show = mm_stat_show },
	{ .name = "io_stat",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figures",
	  .help = "I/O figures, in the kernel's columns",
	  .since = "0.1.0",
	  .show = io_stat_show },
	{ .name = "debug_stat",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figures",
	  .help = "what the kernel's developers count: all 0",
	  .since = "0.1.0",
	  .show = debug_stat_show },
	{ .name = "block_state",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0400,
	  .when = ZR_WHEN_NEVER,
	  .type = "table",
	  .help = "a line for each page that is not a hole: number, last use, flags",
	  .since = "0.1.0",
	  .stream = block_state_stream },
	{ .name = "max_comp_streams",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0644,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "number",
	  .allowed = "a number above 0",
	  .help = "threads that compress; writing it changes nothing, as since Linux 4.7",
	  .since = "0.1.0",
	  .apply = max_comp_streams_apply,
	  .show = max_comp_streams_show },
	{ .name = "num_reads",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .unit = "pages",
	  .help = "pages read",
	  .since = "0.1.0",
	  .show = num_reads_show },
	{ .name = "num_writes",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .unit = "pages",
	  .help = "pages written",
	  .since = "0.1.0",
	  .show = num_writes_show },
	{ .name = "failed_reads",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .help = "reads that failed",
	  .since = "0.1.0",
	  .show = failed_reads_show },
	{ .name = "failed_writes",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .help = "writes that failed",
	  .since = "0.1.0",
	  .show = failed_writes_show },
	{ .name = "invalid_io",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .help = "requests past what a disk can be",
	  .since = "0.1.0",
	  .show = invalid_io_show },
	{ .name = "notify_free",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .unit = "pages",
	  .help = "pages discarded, holes among them",
	  .since = "0.1.0",
	  .show = notify_free_show },
	{ .name = "discard",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .help = "requests to discard",
	  .since = "0.1.0",
	  .show = discard_show },
	{ .name = "zero_pages",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .unit = "pages",
	  .help = "same-filled pages of zeros",
	  .since = "0.1.0",
	  .show = zero_pages_show },
	{ .name = "orig_data_size",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .unit = "bytes",
	  .help = "pages that are not holes, uncompressed",
	  .since = "0.1.0",
	  .show = orig_data_size_show },
	{ .name = "compr_data_size",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .unit = "bytes",
	  .help = "the same, compressed; same-filled ones are nothing",
	  .since = "0.1.0",
	  .show = compr_data_size_show },
	{ .name = "mem_used_total",
	  .flags = ZR_ATTR_CONTROL,
	  .mode = 0444,
	  .when = ZR_WHEN_NEVER,
	  .type = "figure",
	  .unit = "bytes",
	  .help = "memory that the disk takes",
	  .since = "0.1.0",
	  .show = mem_used_total_show },
	{ .name = "recompress",
	  .flags = ZR_ATTR_CONTROL | ZR_ATTR_LONG,
	  .mode = 0200,
	  .when = ZR_WHEN_ALWAYS,
	  .type = "words",
	  .allowed = "type=idle, huge or huge_idle, threshold=0 to 3840, max_pages=N, algo=NAME, "
		     "priority=1 to 3",
	  .help = "compress pages anew, largest first, with each recomp_algorithm until one helps",
	  .since = "0.1.0",
	  .apply = zr_attr_recompress_apply },
	{ .name = NULL },
};
