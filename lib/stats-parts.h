#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Statistics parts: what the files of statistics share
 *
 *   stats.c           for people
 *   stats-figures.c   the table of figures
 *   stats-json.c      for programs
 *   stats-metrics.c   for Prometheus
 *
 * The manual lists the table as well: zramfs/manual.c.
 *
 * Ownership: rows are static.
 * Locking:   none.
 * Errors:    none: what cannot be written is noticed when the text is closed.
 * Cost:      as stats.h.
 */

#include <stdio.h>

#include "snapshot.h"
#include "stats.h"

enum zr_figure_unit {
	ZR_UNIT_BYTES, /* kB in .stats */
	ZR_UNIT_PAGES,
	ZR_UNIT_REQUESTS,
	ZR_UNIT_HANDLES,
	ZR_UNIT_DISKS,
	ZR_UNIT_WORKERS,
	ZR_UNIT_FILES,
};

enum zr_figure_kind {
	ZR_FIGURE_GAUGE,   /* how it is now */
	ZR_FIGURE_COUNTER, /* how often something happened since the counters were reset, or ever */
};

enum zr_figure_flags {
	ZR_FIGURE_PERCENT = 1,   /* .stats says how much of pages_stored it is */
	ZR_FIGURE_IF_SET = 2,    /* .stats leaves it out while it is 0 */
	ZR_FIGURE_IF_BACKED = 4, /* or while the disk has no backing file */
};

/*
 * A figure of a disk, or of all of them. One without a name is in .stats alone, where it says in
 * other words what other rows say.
 */
struct zr_figure {
	const char *name;   /* in JSON: the attribute's, where there is one */
	const char *key;    /* in .stats: compcache's, where it has one */
	const char *metric; /* of Prometheus, whole; NULL for sums, which it makes itself */
	enum zr_figure_unit unit;
	enum zr_figure_kind kind;
	unsigned int flags; /* enum zr_figure_flags */
	const char *help;   /* a sentence without its full stop */
	/* Of a disk. A row of the total that has it is the sum over the disks. */
	uint64_t (*get)(const struct zr_snapshot_disk *disk, const struct zr_stats_context *who);
	/* Of the store, and of the daemon. */
	uint64_t (*get_total)(const struct zr_snapshot *snapshot,
			      const struct zr_stats_context *context);
	/* What .stats says after the key, where it is no number. */
	void (*say)(FILE *text, const struct zr_snapshot_disk *disk);
};

/* In the order of .stats, each ends with a row without a key. */
extern const struct zr_figure zr_figures_disk[];
extern const struct zr_figure zr_figures_total[];

/* How long requests took. */
struct zr_figure_latency {
	const char *name;
	const char *key; /* P50, P99 and Max are added to it */
	const char *metric;
	const char *help;
	unsigned int flags; /* ZR_FIGURE_IF_BACKED */
	const struct zr_latency_figures *(*get)(const struct zr_snapshot_disk *disk);
};

#define ZR_N_FIGURE_LATENCIES 3u

extern const struct zr_figure_latency zr_figures_latency[ZR_N_FIGURE_LATENCIES];

/* The value of a row of the total. */
uint64_t zr_figure_total(const struct zr_figure *figure, const struct zr_snapshot *snapshot,
			 const struct zr_stats_context *context);

/* Take a snapshot and make a text of it. Return: 0 or -ENOMEM. */
int zr_stats_render(struct zr_store *store, const struct zr_stats_context *context,
		    void (*say)(FILE *text, const struct zr_snapshot *snapshot,
				const struct zr_stats_context *context),
		    char **textp, size_t *n_textp);
