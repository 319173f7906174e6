/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Sums over all disks. */
struct totals {
	uint64_t n_disks, orig_bytes, compr_bytes, total_bytes;
};

static void say_count(FILE *text, const char *key, uint64_t value)
{
	fprintf(text, "%s:\t%8" PRIu64 "\n", key, value);
}

static void say_kib(FILE *text, const char *key, uint64_t n_bytes)
{
	fprintf(text, "%s:\t%8" PRIu64 " kB\n", key, (n_bytes + 1023) / 1024);
}

static void say_percent(FILE *text, const char *key, uint64_t part, uint64_t whole)
{
	fprintf(text, "%s:\t%8" PRIu64 " %%\n", key, whole == 0 ? 0 : part * 100 / whole);
}

static void say_counter(FILE *text, const char *key, const _Atomic uint64_t *counter)
{
	say_count(text, key, atomic_load_explicit(counter, memory_order_relaxed));
}

/* compcache's keys, in the order of rzscontrol --stats. */
static void say_compcache(FILE *text, struct zr_disk *disk, const struct zr_disk_figures *figures)
{
	const struct zr_counters *counters = &disk->entry->counters;
	const int64_t *gauge = figures->tally.gauge;
	const uint64_t n_stored = (uint64_t)(gauge[ZR_GAUGE_PAGES] - gauge[ZR_GAUGE_SAME]);

	say_kib(text, "DiskSize", figures->size_bytes);
	if (figures->limit_bytes > 0)
		say_kib(text, "MemLimit", figures->limit_bytes);
	say_counter(text, "NumReads", &counters->num_reads);
	say_counter(text, "NumWrites", &counters->num_writes);
	say_counter(text, "FailedReads", &counters->failed_reads);
	say_counter(text, "FailedWrites", &counters->failed_writes);
	say_counter(text, "InvalidIO", &counters->invalid_io);
	say_counter(text, "NotifyFree", &counters->notify_free);
	say_count(text, "ZeroPages", (uint64_t)gauge[ZR_GAUGE_ZERO]);
	say_percent(text, "GoodCompress", (uint64_t)gauge[ZR_GAUGE_GOOD], n_stored);
	say_percent(text, "NoCompress", (uint64_t)gauge[ZR_GAUGE_HUGE], n_stored);
	say_count(text, "PagesStored", n_stored);
	say_count(text, "PagesUsed", (figures->total_bytes + ZR_PAGE_SIZE - 1) / ZR_PAGE_SIZE);
	say_kib(text, "OrigDataSize", figures->orig_bytes);
	say_kib(text, "ComprDataSize", figures->compr_bytes);
	say_kib(text, "MemUsedTotal", figures->total_bytes);
}

static void say_ratio(FILE *text, uint64_t orig_bytes, uint64_t used_bytes)
{
	if (used_bytes == 0)
		fprintf(text, "Ratio:\t%8s\n", "-");
	else
		fprintf(text, "Ratio:\t%8.2f\n", (double)orig_bytes / (double)used_bytes);
}

static void say_ours(FILE *text, struct zr_disk *disk, const struct zr_disk_figures *figures,
		     const struct zr_attrs *attrs, unsigned int n_open)
{
	const struct zr_counters *counters = &disk->entry->counters;
	const struct zr_codec_params *params = &attrs->codecs[0];

	say_kib(text, "MemUsedMax", figures->max_bytes);
	say_count(text, "SameFilledPages", (uint64_t)figures->tally.gauge[ZR_GAUGE_SAME]);
	say_count(text, "HugePages", (uint64_t)figures->tally.gauge[ZR_GAUGE_HUGE]);
	say_counter(text, "HugePagesSince", &counters->huge_pages_since);
	say_counter(text, "UndecodablePages", &counters->undecodable_pages);
	say_kib(text, "Tables", figures->table_bytes);
	say_ratio(text, figures->orig_bytes, figures->total_bytes);
	fprintf(text, "Algorithm:\t%8s", zr_codec_by_algorithm(params->algorithm)->name);
	if (params->level != ZR_CODEC_LEVEL_DEFAULT)
		fprintf(text, " level=%" PRId32, params->level);
	fprintf(text, "\nInUse:\t%8u\n", n_open);
}

static void say_disk(FILE *text, struct zr_disk *disk, unsigned int n_open, struct totals *totals)
{
	struct zr_disk_figures figures;
	struct zr_attrs attrs;

	zr_disk_figures(disk, &figures);
	zr_disk_attrs(disk, &attrs);

	fprintf(text, "[%s]\n", attrs.name);
	say_compcache(text, disk, &figures);
	say_ours(text, disk, &figures, &attrs, n_open);
	fputc('\n', text);

	++totals->n_disks;
	totals->orig_bytes += figures.orig_bytes;
	totals->compr_bytes += figures.compr_bytes;
	totals->total_bytes += figures.total_bytes;
}

static void say_total(FILE *text, struct zr_store *store, const struct totals *totals)
{
	struct zr_store_usage usage;

	zr_store_usage(store, &usage);
	fprintf(text, "[total]\n");
	say_count(text, "Disks", totals->n_disks);
	say_kib(text, "OrigDataSize", totals->orig_bytes);
	say_kib(text, "ComprDataSize", totals->compr_bytes);
	say_kib(text, "MemUsedTotal", totals->total_bytes);
	say_kib(text, "StoreMemory", usage.memory_bytes);
	say_kib(text, "Reserve", usage.reserve_bytes);
	say_kib(text, "Fragmentation", usage.wasted_bytes);
	say_count(text, "PagesCompacted", usage.pages_compacted);
}

int zr_stats_text(struct zr_store *store,
		  unsigned int (*n_open)(void *context, const struct zr_disk *disk), void *context,
		  char **textp, size_t *n_textp)
{
	struct totals totals = { 0 };
	struct zr_disk *disk, *next;
	size_t n_text = 0;
	char *buffer = NULL;
	FILE *text;

	text = open_memstream(&buffer, &n_text);
	if (!text)
		return -ENOMEM;

	for (disk = zr_store_next(store, 0); disk; disk = next) {
		say_disk(text, disk, n_open ? n_open(context, disk) : 0, &totals);
		next = zr_store_next(store, disk->id);
		zr_disk_unpin(store, disk);
	}
	say_total(text, store, &totals);

	if (fclose(text) != 0) {
		free(buffer);
		return -ENOMEM;
	}
	*textp = buffer;
	*n_textp = n_text;
	return 0;
}
