/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "columns.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base.h"
#include "control.h"
#include "human.h"
#include "say.h"

/* texts */

static char *name_text(const struct row *row)
{
	return say_text("%s", row->is_path ? row->disk->path : row->disk->name);
}

static char *path_text(const struct row *row)
{
	return say_text("%s", row->disk->path);
}

static char *algorithm_text(const struct row *row)
{
	return row->disk->comp_algorithm ? say_text("%s", row->disk->comp_algorithm) : NULL;
}

static char *format_text(const struct row *row)
{
	return row->disk->format ? say_text("%s", row->disk->format) : NULL;
}

static char *backing_text(const struct row *row)
{
	const char *path = row->disk->backing_dev;

	return path && strcmp(path, "none") != 0 ? say_text("%s", path) : NULL;
}

/* Of all loop devices on the disk. */
static char *loops_text(const struct row *row, const char *(*what)(const struct loop_user *loop))
{
	char *text = NULL;
	size_t i;

	for (i = 0; i < row->n_loops; ++i) {
		const struct loop_user *loop = &row->loops[i];
		char *more;

		if (!loop_is_on(loop, row->mount, row->disk->name) || !what(loop))
			continue;
		more = say_text("%s%s%s", text ? text : "", text ? "," : "", what(loop));
		free(text);
		text = more;
	}
	return text;
}

static const char *device_of(const struct loop_user *loop)
{
	return loop->device;
}

static const char *top_of(const struct loop_user *loop)
{
	return loop->on_top;
}

static char *device_text(const struct row *row)
{
	return loops_text(row, device_of);
}

static char *mountpoint_text(const struct row *row)
{
	return loops_text(row, top_of);
}

/* numbers */

static uint64_t limit_number(const struct row *row)
{
	return row->disk->mem_limit == 0 ? VIEW_UNKNOWN : row->disk->mem_limit;
}

static uint64_t streams_number(const struct row *row)
{
	struct name name = { row->mount->path, row->disk->name, row->disk->path,
			     row->mount->device };
	ZR_CLEANUP(zr_freep) char *text = NULL;

	if (control_read(&name, zr_attr_find("max_comp_streams"), &text) < 0)
		return VIEW_UNKNOWN;
	return strtoull(text, NULL, 10);
}

static uint64_t migrated_number(const struct row *row)
{
	return row->view->total.pages_compacted;
}

static uint64_t read_p99_number(const struct row *row)
{
	return row->disk->read_latency.count == 0 ? VIEW_UNKNOWN : row->disk->read_latency.p99_ns;
}

static uint64_t write_p99_number(const struct row *row)
{
	return row->disk->write_latency.count == 0 ? VIEW_UNKNOWN : row->disk->write_latency.p99_ns;
}

static uint64_t failed_number(const struct row *row)
{
	const struct view_disk *disk = row->disk;

	if (disk->failed_reads == VIEW_UNKNOWN || disk->failed_writes == VIEW_UNKNOWN)
		return VIEW_UNKNOWN;
	return disk->failed_reads + disk->failed_writes;
}

static double ratio_number(const struct row *row)
{
	const struct view_disk *disk = row->disk;

	if (disk->mem_used_total == 0 || disk->mem_used_total == VIEW_UNKNOWN ||
	    disk->orig_data_size == 0 || disk->orig_data_size == VIEW_UNKNOWN)
		return -1;
	return (double)disk->orig_data_size / (double)disk->mem_used_total;
}

#define MEMBER(member) .offset = offsetof(struct view_disk, member)

/* zramctl's first, in its order. */
static const struct column columns[] = {
	{ "NAME", "name of the disk; its path if there are several mounts", COLUMN_TEXT,
	  .text = name_text },
	{ "DISKSIZE", "size of the disk", COLUMN_SIZE, MEMBER(disksize) },
	{ "DATA", "pages that are not holes, uncompressed", COLUMN_SIZE, MEMBER(orig_data_size) },
	{ "COMPR", "the same, compressed", COLUMN_SIZE, MEMBER(compr_data_size) },
	{ "ALGORITHM", "codec that pages are compressed with", COLUMN_TEXT,
	  .text = algorithm_text },
	{ "STREAMS", "threads that compress", COLUMN_COUNT, .number = streams_number },
	{ "ZERO-PAGES", "pages of zeros, which take no memory", COLUMN_COUNT, MEMBER(zero_pages) },
	{ "TOTAL", "memory that the disk takes, with all that belongs to it", COLUMN_SIZE,
	  MEMBER(mem_used_total) },
	{ "MEM-LIMIT", "most memory that the disk may take; 0: no limit", COLUMN_SIZE,
	  MEMBER(mem_limit) },
	{ "MEM-USED", "most memory that the disk ever took", COLUMN_SIZE, MEMBER(mem_used_max) },
	{ "MIGRATED", "pages of memory that came back by moving objects, of all disks",
	  COLUMN_COUNT, .number = migrated_number },
	{ "COMP-RATIO", "DATA divided by TOTAL, with four decimals", COLUMN_RATIO_EXACT,
	  .ratio = ratio_number },
	{ "MOUNTPOINT", "what its loop device is used for: a directory or [SWAP]", COLUMN_TEXT,
	  .text = mountpoint_text },
	{ "LIMIT", "MEM-LIMIT if there is one", COLUMN_SIZE, .number = limit_number },
	{ "RATIO", "DATA divided by TOTAL", COLUMN_RATIO, .ratio = ratio_number },
	{ "SAME-PAGES", "pages of one repeated word, which take no memory", COLUMN_COUNT,
	  MEMBER(same_pages) },
	{ "HUGE-PAGES", "pages that compress too little and are stored as they are", COLUMN_COUNT,
	  MEMBER(huge_pages) },
	{ "TABLES", "memory that knows where the pages are", COLUMN_SIZE, MEMBER(tables) },
	{ "FRAG", "free memory between objects that may come back", COLUMN_SIZE,
	  MEMBER(fragmentation) },
	{ "DEVICE", "loop device on the disk", COLUMN_TEXT, .text = device_text },
	{ "PATH", "path of the disk's file", COLUMN_TEXT, .text = path_text },
	{ "FORMAT", "what is written when the disk gets a size: none or swap", COLUMN_TEXT,
	  .text = format_text },
	{ "BACKING", "file that pages are written back to", COLUMN_TEXT, .text = backing_text },
	{ "WRITTEN-BACK", "pages that are there", COLUMN_COUNT, MEMBER(bd_count) },
	{ "BACKING-USED", "what they take of it", COLUMN_SIZE, MEMBER(backing_used) },
	{ "FAILED", "reads and writes that failed", COLUMN_COUNT, .number = failed_number },
	{ "READ-P99", "time within which 99 of 100 reads are done", COLUMN_TIME,
	  .number = read_p99_number },
	{ "WRITE-P99", "time within which 99 of 100 writes are done", COLUMN_TIME,
	  .number = write_p99_number },
};

const struct column *column_at(size_t index)
{
	return index < ZR_ARRAY_SIZE(columns) ? &columns[index] : NULL;
}

const struct column *column_find(const char *name, size_t n_name)
{
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(columns); ++i) {
		if (strlen(columns[i].name) == n_name &&
		    strncasecmp(columns[i].name, name, n_name) == 0)
			return &columns[i];
	}
	return NULL;
}

static char *ratio_print(const struct column *column, const struct row *row)
{
	const double ratio = column->ratio(row);

	if (ratio < 0)
		return NULL;
	return say_text("%.*f", column->kind == COLUMN_RATIO ? 2 : 4, ratio);
}

static uint64_t number_of(const struct column *column, const struct row *row)
{
	if (column->number)
		return column->number(row);
	return *(const uint64_t *)((const char *)row->disk + column->offset);
}

char *column_text(const struct column *column, const struct row *row, bool exact)
{
	char text[HUMAN_MAX];
	uint64_t number;

	if (column->kind == COLUMN_TEXT)
		return column->text(row);
	if (column->ratio)
		return ratio_print(column, row);

	number = number_of(column, row);
	if (number == VIEW_UNKNOWN)
		return NULL;
	if (column->kind == COLUMN_SIZE && !exact)
		return say_text("%s", human_size(text, number));
	if (column->kind == COLUMN_TIME && !exact)
		return say_text("%s", human_time(text, number));
	return say_text("%" PRIu64, number);
}

void columns_explain(FILE *out)
{
	size_t i;

	fputs("\nAvailable output columns:\n", out);
	for (i = 0; i < ZR_ARRAY_SIZE(columns); ++i)
		fprintf(out, "  %-12s  %s\n", columns[i].name, columns[i].help);
}
