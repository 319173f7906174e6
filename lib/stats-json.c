/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Statistics for programs: JSON, with integers in base units. A new member may come with any
 * version; the schema's number rises when one goes or changes its meaning.
 */

#include <inttypes.h>

#include "stats-parts.h"
#include "text.h"

#define SCHEMA 1

/* A name is bytes and JSON is characters: a byte that is none is told by the character of its
 * number. */
static void say_string(FILE *text, const char *bytes)
{
	size_t n;

	fputc('"', text);
	for (; *bytes; bytes += n) {
		n = zr_text_character(bytes);
		if (n == 0 || (unsigned char)*bytes < ' ' || *bytes == 0x7f) {
			fprintf(text, "\\u%04x", (unsigned char)*bytes);
			n = 1;
			continue;
		}
		if (*bytes == '"' || *bytes == '\\')
			fputc('\\', text);
		fwrite(bytes, 1, n, text);
	}
	fputc('"', text);
}

/* Members come in lines of an object that has some already. */
static void say_number(FILE *text, const char *indent, const char *name, uint64_t value)
{
	fprintf(text, ",\n%s\"%s\": %" PRIu64, indent, name, value);
}

static void say_settings(FILE *text, const struct zr_snapshot_disk *disk)
{
	const struct zr_attrs *attrs = &disk->attrs;
	const struct zr_codec_params *params = &attrs->codecs[0];

	fputs("      \"name\": ", text);
	say_string(text, attrs->name);
	fprintf(text, ",\n      \"comp_algorithm\": \"%s\"",
		zr_codec_by_algorithm(params->algorithm)->name);
	fputs(",\n      \"algorithm_params\": \"", text);
	if (params->level != ZR_CODEC_LEVEL_DEFAULT)
		fprintf(text, "level=%" PRId32, params->level);
	fprintf(text, "\",\n      \"format\": \"%s\"",
		attrs->format == ZR_FORMAT_SWAP ? "swap" : "none");
	fprintf(text, ",\n      \"swap_priority\": %" PRId32, attrs->swap_priority);
	fputs(",\n      \"backing_dev\": ", text);
	say_string(text, disk->is_backed ? disk->backing.path : "none");
}

static void say_latency(FILE *text, const char *name, const struct zr_latency_figures *figures)
{
	fprintf(text,
		",\n      \"%s\": {\"count\": %" PRIu64 ", \"sum_ns\": %" PRIu64
		", \"p50_ns\": %" PRIu64 ", \"p90_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64
		", \"max_ns\": %" PRIu64 "}",
		name, figures->count, figures->sum_ns, figures->p50_ns, figures->p90_ns,
		figures->p99_ns, figures->max_ns);
}

static void say_disk(FILE *text, const struct zr_snapshot_disk *disk,
		     const struct zr_stats_context *context)
{
	const struct zr_figure *figure;
	unsigned int i;

	fputs("    {\n", text);
	say_settings(text, disk);
	for (figure = zr_figures_disk; figure->key; ++figure) {
		if (figure->name)
			say_number(text, "      ", figure->name, figure->get(disk, context));
	}
	for (i = 0; i < ZR_N_FIGURE_LATENCIES; ++i)
		say_latency(text, zr_figures_latency[i].name, zr_figures_latency[i].get(disk));
	fputs("\n    }", text);
}

static void say_total(FILE *text, const struct zr_snapshot *snapshot,
		      const struct zr_stats_context *context)
{
	const struct zr_figure *figure = zr_figures_total;

	fprintf(text, "  \"total\": {\n    \"%s\": %" PRIu64, figure->name,
		zr_figure_total(figure, snapshot, context));
	for (++figure; figure->key; ++figure)
		say_number(text, "    ", figure->name, zr_figure_total(figure, snapshot, context));
	fputs("\n  }\n", text);
}

static void say_json(FILE *text, const struct zr_snapshot *snapshot,
		     const struct zr_stats_context *context)
{
	size_t i;

	fprintf(text, "{\n  \"schema\": %d,\n  \"version\": ", SCHEMA);
	say_string(text, context->version);
	fprintf(text, ",\n  \"time_ns\": %" PRIu64 ",\n  \"disks\": [", snapshot->time_ns);
	for (i = 0; i < snapshot->n_disks; ++i) {
		fputs(i == 0 ? "\n" : ",\n", text);
		say_disk(text, &snapshot->disks[i], context);
	}
	fputs(snapshot->n_disks == 0 ? "],\n" : "\n  ],\n", text);
	say_total(text, snapshot, context);
	fputs("}\n", text);
}

int zr_stats_json(struct zr_store *store, const struct zr_stats_context *context, char **textp,
		  size_t *n_textp)
{
	return zr_stats_render(store, context, say_json, textp, n_textp);
}
