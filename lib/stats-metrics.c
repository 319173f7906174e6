/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Statistics for Prometheus: its text format, version 0.0.4. Names follow its rules: base units,
 * "_total" for what is counted; sums over disks are left to it.
 */

#include <inttypes.h>
#include <string.h>

#include "stats-parts.h"
#include "text.h"

/* Bounds of the histograms: powers of 4 from 2^10 ns, which is about 1 us, to 2^34, about 17 s. */
#define SHIFT_MIN 10u
#define SHIFT_MAX 34u

/* The inside of a label's quotes. Bytes that are no characters are told as in JSON. */
static void say_escaped(FILE *text, const char *bytes, bool *all_utf8p)
{
	size_t n;

	*all_utf8p = true;
	for (; *bytes; bytes += n) {
		n = zr_text_character(bytes);
		if (n == 0) {
			/* U+0080 to U+00FF in UTF-8 */
			fputc(0xc0 | (unsigned char)*bytes >> 6, text);
			fputc(0x80 | ((unsigned char)*bytes & 0x3f), text);
			*all_utf8p = false;
			n = 1;
		} else if (*bytes == '\n') {
			fputs("\\n", text);
		} else {
			if (*bytes == '"' || *bytes == '\\')
				fputc('\\', text);
			fwrite(bytes, 1, n, text);
		}
	}
}

/* Two names may be told alike only if one of them is no text; that one's bytes come as well, or a
 * series would be there twice. */
static void say_disk_label(FILE *text, const char *name)
{
	bool all_utf8;

	fputs("disk=\"", text);
	say_escaped(text, name, &all_utf8);
	fputc('"', text);
	if (all_utf8)
		return;
	fputs(",disk_hex=\"", text);
	for (; *name; ++name)
		fprintf(text, "%02x", (unsigned char)*name);
	fputc('"', text);
}

static void say_head(FILE *text, const char *metric, const char *type, const char *help)
{
	fprintf(text, "# HELP %s %s.\n# TYPE %s %s\n", metric, help, metric, type);
}

static void say_figure_head(FILE *text, const struct zr_figure *figure)
{
	say_head(text, figure->metric, figure->kind == ZR_FIGURE_COUNTER ? "counter" : "gauge",
		 figure->help);
}

static void say_figure(FILE *text, const struct zr_figure *figure,
		       const struct zr_snapshot *snapshot, const struct zr_stats_context *context)
{
	size_t i;

	say_figure_head(text, figure);
	for (i = 0; i < snapshot->n_disks; ++i) {
		fprintf(text, "%s{", figure->metric);
		say_disk_label(text, snapshot->disks[i].attrs.name);
		fprintf(text, "} %" PRIu64 "\n", figure->get(&snapshot->disks[i], context));
	}
}

static void say_seconds(FILE *text, uint64_t ns)
{
	fprintf(text, "%" PRIu64 ".%09" PRIu64, ns / UINT64_C(1000000000),
		ns % UINT64_C(1000000000));
}

static void say_bucket(FILE *text, const char *metric, const char *name, uint64_t ns, uint64_t n)
{
	fprintf(text, "%s_bucket{", metric);
	say_disk_label(text, name);
	fputs(",le=\"", text);
	if (ns == 0)
		fputs("+Inf", text);
	else
		say_seconds(text, ns);
	fprintf(text, "\"} %" PRIu64 "\n", n);
}

static void say_histogram(FILE *text, const char *metric, const char *name,
			  const struct zr_latency_figures *figures)
{
	unsigned int shift;

	for (shift = SHIFT_MIN; shift <= SHIFT_MAX; shift += 2) {
		const uint64_t ns = UINT64_C(1) << shift;

		say_bucket(text, metric, name, ns, zr_latency_below(figures, ns));
	}
	say_bucket(text, metric, name, 0, figures->count);

	fprintf(text, "%s_sum{", metric);
	say_disk_label(text, name);
	fputs("} ", text);
	say_seconds(text, figures->sum_ns);
	fprintf(text, "\n%s_count{", metric);
	say_disk_label(text, name);
	fprintf(text, "} %" PRIu64 "\n", figures->count);
}

static void say_latency(FILE *text, const struct zr_figure_latency *latency,
			const struct zr_snapshot *snapshot)
{
	size_t i;

	say_head(text, latency->metric, "histogram", latency->help);
	for (i = 0; i < snapshot->n_disks; ++i)
		say_histogram(text, latency->metric, snapshot->disks[i].attrs.name,
			      latency->get(&snapshot->disks[i]));
}

/* What is no figure stands in labels, and the value is 1. */
static void say_info(FILE *text, const struct zr_snapshot *snapshot,
		     const struct zr_stats_context *context)
{
	bool all_utf8;
	size_t i;

	say_head(text, "zramfs_info", "gauge", "Which zramfs this is");
	fputs("zramfs_info{version=\"", text);
	say_escaped(text, context->version, &all_utf8);
	fputs("\"} 1\n", text);

	say_head(text, "zramfs_disk_info", "gauge", "How a disk is set up");
	for (i = 0; i < snapshot->n_disks; ++i) {
		const struct zr_attrs *attrs = &snapshot->disks[i].attrs;
		const struct zr_codec_params *params = &attrs->codecs[0];

		fputs("zramfs_disk_info{", text);
		say_disk_label(text, attrs->name);
		fprintf(text, ",comp_algorithm=\"%s\",algorithm_params=\"",
			zr_codec_by_algorithm(params->algorithm)->name);
		if (params->level != ZR_CODEC_LEVEL_DEFAULT)
			fprintf(text, "level=%" PRId32, params->level);
		fprintf(text, "\",format=\"%s\",swap_priority=\"%" PRId32 "\"} 1\n",
			attrs->format == ZR_FORMAT_SWAP ? "swap" : "none", attrs->swap_priority);
	}
}

/* A line that does not end was cut. */
static void say_safety(FILE *text, const char *line)
{
	const char *space, *end;

	say_head(text, "zramfs_safety", "gauge",
		 "What swap wants of the system, 1 if it is granted");
	for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		space = memchr(line, ' ', (size_t)(end - line));
		if (space)
			fprintf(text, "zramfs_safety{measure=\"%.*s\"} %d\n", (int)(space - line),
				line, strncmp(space, " ok\n", 4) == 0);
	}
}

static void say_metrics(FILE *text, const struct zr_snapshot *snapshot,
			const struct zr_stats_context *context)
{
	const struct zr_figure *figure;
	unsigned int i;

	say_info(text, snapshot, context);
	if (context->safety)
		say_safety(text, context->safety);
	for (figure = zr_figures_total; figure->key; ++figure) {
		if (!figure->metric)
			continue;
		say_figure_head(text, figure);
		fprintf(text, "%s %" PRIu64 "\n", figure->metric,
			zr_figure_total(figure, snapshot, context));
	}
	for (figure = zr_figures_disk; figure->key; ++figure) {
		if (figure->metric)
			say_figure(text, figure, snapshot, context);
	}
	for (i = 0; i < ZR_N_FIGURE_LATENCIES; ++i)
		say_latency(text, &zr_figures_latency[i], snapshot);
}

int zr_stats_metrics(struct zr_store *store, const struct zr_stats_context *context, char **textp,
		     size_t *n_textp)
{
	return zr_stats_render(store, context, say_metrics, textp, n_textp);
}
