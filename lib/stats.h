#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Statistics: a snapshot as text
 *
 * For people the keys of rzscontrol(1), in its order, then ours; for programs JSON, and what
 * Prometheus collects. All three are made from one table, so that a figure means the same in each.
 * All figures of one text are of one moment.
 *
 * Ownership: the text is the caller's to free().
 * Locking:   takes a snapshot. Callers hold no engine lock.
 * Errors:    -ENOMEM.
 * Cost:      what the snapshot costs, and 4 us a disk, for metrics 18, while nobody waits.
 */

#include "store.h"

/* What the engine does not know. */
struct zr_stats_context {
	const char *version;
	/* How many handles are open on the disk with that entry; NULL: nobody knows, 0 is said. */
	unsigned int (*n_open)(void *context, unsigned int entry_no);
	void *context;
	uint64_t generation;        /* that serves; 0: there are none */
	uint64_t poisoned_requests; /* answered with EIO because workers died of them */
	/* What was asked of the system for swap, a line each: "NAME ok", or "NAME refused TEXT". NULL:
	 * nothing. For metrics alone. */
	const char *safety;
};

int zr_stats_text(struct zr_store *store, const struct zr_stats_context *context, char **textp,
		  size_t *n_textp);
int zr_stats_json(struct zr_store *store, const struct zr_stats_context *context, char **textp,
		  size_t *n_textp);
int zr_stats_metrics(struct zr_store *store, const struct zr_stats_context *context, char **textp,
		     size_t *n_textp);
