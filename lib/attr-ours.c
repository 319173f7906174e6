/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Figures that the kernel's zram has not
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "attr-parts.h"
#include "census.h"

#define BAR_WIDTH 40u

/* histogram: "from to objects bar", a line for each length that objects have, 64 bytes a step */

static void say_bar(struct zr_attr_lines *lines, uint64_t n, uint64_t n_most)
{
	char bar[BAR_WIDTH + 1];
	/* Whatever there is shows. */
	const size_t width = (size_t)((n * BAR_WIDTH + n_most - 1) / n_most);

	memset(bar, '#', width);
	bar[width] = 0;
	zr_attr_say(lines, " %s", bar);
}

static int histogram_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_attr_lines lines = { text, n_text, 0 };
	struct zr_census census;
	uint64_t n_most = 0;
	unsigned int i;
	int r;

	r = zr_census_take(target->disk, &target->stop, &census);
	if (r < 0)
		return r;

	for (i = 0; i < ZR_CENSUS_BUCKETS; ++i)
		n_most = zr_max(n_most, census.objects[i]);
	for (i = 0; i < ZR_CENSUS_BUCKETS; ++i) {
		zr_attr_say(&lines, "%4u %4u %12" PRIu64, i * ZR_CENSUS_BUCKET_BYTES + 1,
			    (i + 1) * ZR_CENSUS_BUCKET_BYTES, census.objects[i]);
		if (census.objects[i] > 0)
			say_bar(&lines, census.objects[i], n_most);
		zr_attr_say(&lines, "\n");
	}
	return (int)lines.at;
}

/* fragmentation */

static int fragmentation_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_attr_lines lines = { text, n_text, 0 };
	struct zr_disk_figures figures;
	struct zr_census census;
	uint64_t cell_bytes, free_bytes;
	int r;

	r = zr_census_take(target->disk, &target->stop, &census);
	if (r < 0)
		return r;
	zr_disk_figures(target->disk, &figures);

	cell_bytes = (uint64_t)census.tally.gauge[ZR_GAUGE_CELL_BYTES];
	free_bytes = figures.total_bytes - figures.used_bytes;
	zr_attr_say(&lines, "object_bytes %" PRIu64 "\n", census.object_bytes);
	zr_attr_say(&lines, "cell_bytes %" PRIu64 "\n", cell_bytes);
	zr_attr_say(&lines, "free_bytes %" PRIu64 "\n", free_bytes);
	zr_attr_say(&lines, "percent %.2f\n",
		    cell_bytes + free_bytes == 0
			    ? 0.0
			    : 100.0 - 100.0 * (double)census.object_bytes /
					      (double)(cell_bytes + free_bytes));
	return (int)lines.at;
}

/* same_filled */

static int same_filled_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	static const char *const names[ZR_N_FILL_KINDS] = { "zero", "8_bits", "16_bits", "32_bits",
							    "64_bits" };
	struct zr_attr_lines lines = { text, n_text, 0 };
	struct zr_census census;
	unsigned int i;
	int r;

	r = zr_census_take(target->disk, &target->stop, &census);
	if (r < 0)
		return r;
	for (i = 0; i < ZR_N_FILL_KINDS; ++i)
		zr_attr_say(&lines, "%s %" PRIu64 "\n", names[i], census.fills[i]);
	return (int)lines.at;
}

/* tables */

static int tables_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_attr_lines lines = { text, n_text, 0 };
	struct zr_disk_figures figures;
	struct zr_census census;
	uint64_t n_inner;
	int r;

	r = zr_census_take(target->disk, &target->stop, &census);
	if (r < 0)
		return r;
	zr_disk_figures(target->disk, &figures);

	/* Leaves may have come and gone since they were counted. */
	n_inner = figures.tally.n_nodes - zr_min(figures.tally.n_nodes, census.n_leaves);
	zr_attr_say(&lines, "table_bytes %" PRIu64 "\n", figures.table_bytes);
	zr_attr_say(&lines, "leaves %" PRIu64 "\n", census.n_leaves);
	zr_attr_say(&lines, "inner_nodes %" PRIu64 "\n", n_inner);
	zr_attr_say(&lines, "age_nodes %" PRIu64 "\n", figures.tally.n_age_nodes);
	return (int)lines.at;
}

/* latency */

static void say_latency(struct zr_attr_lines *lines, const char *what,
			const struct zr_latency *latency)
{
	struct zr_latency_figures figures;

	zr_latency_figures(latency, &figures);
	zr_attr_say(lines, "%s_count %" PRIu64 "\n", what, figures.count);
	zr_attr_say(lines, "%s_p50_ns %" PRIu64 "\n", what, figures.p50_ns);
	zr_attr_say(lines, "%s_p90_ns %" PRIu64 "\n", what, figures.p90_ns);
	zr_attr_say(lines, "%s_p99_ns %" PRIu64 "\n", what, figures.p99_ns);
	zr_attr_say(lines, "%s_max_ns %" PRIu64 "\n", what, figures.max_ns);
}

static int latency_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	const struct zr_entry *entry = target->disk->entry;
	struct zr_attr_lines lines = { text, n_text, 0 };

	say_latency(&lines, "read", &entry->read_latency);
	say_latency(&lines, "write", &entry->write_latency);
	say_latency(&lines, "spill", &entry->spill_latency);
	return (int)lines.at;
}

#define ROW(name_, flags_, type_, unit_, help_)                                     \
	{                                                                           \
		.name = #name_, .flags = ZR_ATTR_CONTROL | (flags_), .mode = 0444,  \
		.when = ZR_WHEN_NEVER, .type = type_, .unit = unit_, .help = help_, \
		.since = "0.1.0", .show = name_##_show                              \
	}

const struct zr_attr zr_attrs_ours[] = {
	ROW(histogram, ZR_ATTR_LONG, "table", "objects",
	    "how many objects are how long, with a bar"),
	ROW(fragmentation, ZR_ATTR_LONG, "figures", "bytes",
	    "what cells waste, and what is free between them"),
	ROW(same_filled, ZR_ATTR_LONG, "figures", "pages",
	    "same-filled pages, by what it is that repeats"),
	ROW(tables, ZR_ATTR_LONG, "figures", NULL, "what the slots take, and ages"),
	ROW(latency, 0, "figures", NULL,
	    "how long requests of reads and writes took, and how long writes waited for room"),
	{ .name = NULL },
};
