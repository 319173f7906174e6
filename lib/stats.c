/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "stats-parts.h"

int zr_stats_render(struct zr_store *store, const struct zr_stats_context *context,
		    void (*say)(FILE *text, const struct zr_snapshot *snapshot,
				const struct zr_stats_context *context),
		    char **textp, size_t *n_textp)
{
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *snapshot = NULL;
	size_t n_text = 0;
	char *buffer = NULL;
	bool failed;
	FILE *text;
	int r;

	r = zr_snapshot_take(store, &snapshot);
	if (r < 0)
		return r;

	text = open_memstream(&buffer, &n_text);
	if (!text)
		return -ENOMEM;
	say(text, snapshot, context);
	failed = ferror(text) != 0;
	if (fclose(text) != 0 || failed) {
		free(buffer);
		return -ENOMEM;
	}
	*textp = buffer;
	*n_textp = n_text;
	return 0;
}

/* for people */

static void say_percent(FILE *text, const char *key, uint64_t part, uint64_t whole)
{
	fprintf(text, "%s:\t%8" PRIu64 " %%\n", key, whole == 0 ? 0 : part * 100 / whole);
}

static void say_value(FILE *text, const struct zr_figure *figure, uint64_t value)
{
	if ((figure->flags & ZR_FIGURE_IF_SET) && value == 0)
		return;
	if (figure->unit == ZR_UNIT_BYTES)
		fprintf(text, "%s:\t%8" PRIu64 " kB\n", figure->key, (value + 1023) / 1024);
	else
		fprintf(text, "%s:\t%8" PRIu64 "\n", figure->key, value);
}

static uint64_t pages_stored(const struct zr_snapshot_disk *disk)
{
	const int64_t *gauge = disk->figures.tally.gauge;

	return (uint64_t)(gauge[ZR_GAUGE_PAGES] - gauge[ZR_GAUGE_SAME] -
			  gauge[ZR_GAUGE_WRITTEN_BACK]);
}

static void say_figure(FILE *text, const struct zr_figure *figure,
		       const struct zr_snapshot_disk *disk, const struct zr_stats_context *context)
{
	if ((figure->flags & ZR_FIGURE_IF_BACKED) && !disk->is_backed)
		return;
	if (figure->say) {
		fprintf(text, "%s:\t", figure->key);
		figure->say(text, disk);
		fputc('\n', text);
	} else if (figure->flags & ZR_FIGURE_PERCENT) {
		say_percent(text, figure->key, figure->get(disk, context), pages_stored(disk));
	} else {
		say_value(text, figure, figure->get(disk, context));
	}
}

static void say_microseconds(FILE *text, const char *key, const char *point, uint64_t ns)
{
	fprintf(text, "%s%s:\t%8" PRIu64 " us\n", key, point, (ns + 999) / 1000);
}

static void say_latency(FILE *text, const struct zr_figure_latency *latency,
			const struct zr_snapshot_disk *disk)
{
	const struct zr_latency_figures *figures = latency->get(disk);

	if ((latency->flags & ZR_FIGURE_IF_BACKED) && !disk->is_backed)
		return;
	say_microseconds(text, latency->key, "P50", figures->p50_ns);
	say_microseconds(text, latency->key, "P99", figures->p99_ns);
	say_microseconds(text, latency->key, "Max", figures->max_ns);
}

static void say_disk(FILE *text, const struct zr_snapshot_disk *disk,
		     const struct zr_stats_context *context)
{
	const struct zr_figure *figure;
	unsigned int i;

	fprintf(text, "[%s]\n", disk->attrs.name);
	for (figure = zr_figures_disk; figure->key; ++figure)
		say_figure(text, figure, disk, context);
	for (i = 0; i < ZR_N_FIGURE_LATENCIES; ++i)
		say_latency(text, &zr_figures_latency[i], disk);
	fputc('\n', text);
}

static void say_text(FILE *text, const struct zr_snapshot *snapshot,
		     const struct zr_stats_context *context)
{
	const struct zr_figure *figure;
	size_t i;

	for (i = 0; i < snapshot->n_disks; ++i)
		say_disk(text, &snapshot->disks[i], context);
	fprintf(text, "[total]\n");
	for (figure = zr_figures_total; figure->key; ++figure)
		say_value(text, figure, zr_figure_total(figure, snapshot, context));
}

int zr_stats_text(struct zr_store *store, const struct zr_stats_context *context, char **textp,
		  size_t *n_textp)
{
	return zr_stats_render(store, context, say_text, textp, n_textp);
}
