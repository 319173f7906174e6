/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The table of figures
 */

#include <inttypes.h>

#include <string.h>

#include "stats-parts.h"
#include "text.h"

/* of a disk */

#define OF_DISK(name, expression)                                    \
	static uint64_t name(const struct zr_snapshot_disk *disk,    \
			     const struct zr_stats_context *context) \
	{                                                            \
		return (uint64_t)(expression);                       \
	}

OF_DISK(disksize, zr_align_up(disk->figures.size_bytes, ZR_PAGE_SIZE))
OF_DISK(mem_limit, disk->figures.limit_bytes)
OF_DISK(num_reads, disk->counts.num_reads)
OF_DISK(num_writes, disk->counts.num_writes)
OF_DISK(failed_reads, disk->counts.failed_reads)
OF_DISK(failed_writes, disk->counts.failed_writes)
OF_DISK(invalid_io, disk->counts.invalid_io)
OF_DISK(notify_free, disk->counts.notify_free)
OF_DISK(zero_pages, disk->figures.tally.gauge[ZR_GAUGE_ZERO])
OF_DISK(good_pages, disk->figures.tally.gauge[ZR_GAUGE_GOOD])
OF_DISK(huge_pages, disk->figures.tally.gauge[ZR_GAUGE_HUGE])
OF_DISK(same_pages, disk->figures.tally.gauge[ZR_GAUGE_SAME])
OF_DISK(pages_stored, disk->figures.tally.gauge[ZR_GAUGE_PAGES] -
			      disk->figures.tally.gauge[ZR_GAUGE_SAME] -
			      disk->figures.tally.gauge[ZR_GAUGE_WRITTEN_BACK])
OF_DISK(pages_used, (disk->figures.total_bytes + ZR_PAGE_SIZE - 1) / ZR_PAGE_SIZE)
OF_DISK(orig_data_size, disk->figures.orig_bytes)
OF_DISK(compr_data_size, disk->figures.compr_bytes)
OF_DISK(mem_used_total, disk->figures.total_bytes)
OF_DISK(mem_used_max, disk->figures.max_bytes)
OF_DISK(huge_pages_since, disk->counts.huge_pages_since)
OF_DISK(recompressed_pages, disk->figures.tally.gauge[ZR_GAUGE_CODEC + 1] +
				    disk->figures.tally.gauge[ZR_GAUGE_CODEC + 2] +
				    disk->figures.tally.gauge[ZR_GAUGE_CODEC + 3])
OF_DISK(undecodable_pages, disk->counts.undecodable_pages)
OF_DISK(tables, disk->figures.table_bytes)
OF_DISK(in_use, context->n_open ? context->n_open(context->context, disk->entry_no) : 0)
OF_DISK(discard, disk->counts.num_discards)
OF_DISK(policy_recompressed, disk->counts.policy_recompressions)
OF_DISK(policy_written_back, disk->counts.policy_writes)
OF_DISK(fragmentation, disk->figures.total_bytes - disk->figures.used_bytes)
OF_DISK(bd_count, disk->figures.tally.gauge[ZR_GAUGE_WRITTEN_BACK])
OF_DISK(bd_reads, disk->counts.bd_reads)
OF_DISK(bd_writes, disk->counts.bd_writes)
OF_DISK(failed_backing_reads, disk->counts.failed_backing_reads)
OF_DISK(failed_backing_writes, disk->counts.failed_backing_writes)
OF_DISK(backing_used, disk->figures.tally.gauge[ZR_GAUGE_FRAME_BYTES])
OF_DISK(backing_limit, disk->attrs.backing_limit_bytes)
OF_DISK(backing_file_size, disk->is_backed ? disk->backing.size_bytes : 0)
OF_DISK(backing_file_free, disk->is_backed ? disk->backing.free_bytes : 0)
OF_DISK(backing_lost, disk->is_backed && disk->backing.is_lost)

static void say_backing(FILE *text, const struct zr_snapshot_disk *disk)
{
	/* A line of its own is a line, whatever somebody called the file. */
	char path[sizeof(disk->backing.path)];

	memcpy(path, disk->backing.path, sizeof(path));
	zr_text_clean(path, "");
	fprintf(text, "%8s%s", path, disk->backing.is_lost ? " (lost)" : "");
}

static void say_ratio(FILE *text, const struct zr_snapshot_disk *disk)
{
	const struct zr_disk_figures *figures = &disk->figures;

	if (figures->total_bytes == 0)
		fprintf(text, "%8s", "-");
	else
		fprintf(text, "%8.2f", (double)figures->orig_bytes / (double)figures->total_bytes);
}

static void say_algorithm(FILE *text, const struct zr_snapshot_disk *disk)
{
	const struct zr_codec_params *params = &disk->attrs.codecs[0];

	fprintf(text, "%8s", zr_codec_by_algorithm(params->algorithm)->name);
	if (params->level != ZR_CODEC_LEVEL_DEFAULT)
		fprintf(text, " level=%" PRId32, params->level);
}

#define BYTES    ZR_UNIT_BYTES
#define PAGES    ZR_UNIT_PAGES
#define REQUESTS ZR_UNIT_REQUESTS
#define GAUGE    ZR_FIGURE_GAUGE
#define COUNTER  ZR_FIGURE_COUNTER
#define BACKED   ZR_FIGURE_IF_BACKED

#define ROW(name_, key_, metric_, unit_, kind_, flags_, help_)                           \
	{                                                                                \
		.name = #name_, .key = key_, .metric = "zramfs_" metric_, .unit = unit_, \
		.kind = kind_, .flags = flags_, .help = help_, .get = name_              \
	}

const struct zr_figure zr_figures_disk[] = {
	/* rzscontrol --stats */
	{ .key = "BackingSwap",
	  .flags = BACKED,
	  .say = say_backing,
	  .help = "Path of the backing file, and (lost) where it is not there any more" },
	ROW(disksize, "DiskSize", "disksize_bytes", BYTES, GAUGE, 0,
	    "Size of the disk, rounded up to a page"),
	ROW(mem_limit, "MemLimit", "mem_limit_bytes", BYTES, GAUGE, ZR_FIGURE_IF_SET,
	    "Most memory that the disk may use, 0 for no limit"),
	ROW(num_reads, "NumReads", "read_pages_total", PAGES, COUNTER, 0, "Pages read"),
	ROW(num_writes, "NumWrites", "written_pages_total", PAGES, COUNTER, 0, "Pages written"),
	ROW(failed_reads, "FailedReads", "failed_reads_total", PAGES, COUNTER, 0,
	    "Reads of pages that failed"),
	ROW(failed_writes, "FailedWrites", "failed_writes_total", PAGES, COUNTER, 0,
	    "Writes of pages that failed"),
	ROW(invalid_io, "InvalidIO", "invalid_io_total", REQUESTS, COUNTER, 0,
	    "Requests past what a disk can be"),
	ROW(notify_free, "NotifyFree", "notify_free_pages_total", PAGES, COUNTER, 0,
	    "Pages discarded, holes among them"),
	ROW(zero_pages, "ZeroPages", "zero_pages", PAGES, GAUGE, 0, "Same-filled pages of zeros"),
	ROW(good_pages, "GoodCompress", "good_pages", PAGES, GAUGE, ZR_FIGURE_PERCENT,
	    "Pages compressed to half a page or less"),
	{ .key = "NoCompress",
	  .unit = PAGES,
	  .flags = ZR_FIGURE_PERCENT,
	  .get = huge_pages,
	  .help = "Pages stored raw" },
	ROW(pages_stored, "PagesStored", "pages_stored", PAGES, GAUGE, 0,
	    "Pages that have an object in memory"),
	{ .key = "PagesUsed",
	  .unit = PAGES,
	  .get = pages_used,
	  .help = "Memory that the disk takes, in pages" },
	ROW(orig_data_size, "OrigDataSize", "orig_data_size_bytes", BYTES, GAUGE, 0,
	    "Pages that are not holes, uncompressed"),
	ROW(compr_data_size, "ComprDataSize", "compr_data_size_bytes", BYTES, GAUGE, 0,
	    "Bytes of objects: pages compressed, or raw if huge; same-filled ones are none"),
	ROW(mem_used_total, "MemUsedTotal", "mem_used_total_bytes", BYTES, GAUGE, 0,
	    "Memory that the disk takes"),
	ROW(bd_reads, "BDevNumReads", "backing_read_pages_total", PAGES, COUNTER, BACKED,
	    "Pages read from the backing file"),
	ROW(bd_writes, "BDevNumWrites", "backing_written_pages_total", PAGES, COUNTER, BACKED,
	    "Pages written to the backing file"),
	/* ours */
	ROW(mem_used_max, "MemUsedMax", "mem_used_max_bytes", BYTES, GAUGE, 0,
	    "Most memory that the disk was seen to take"),
	ROW(same_pages, "SameFilledPages", "same_pages", PAGES, GAUGE, 0,
	    "Pages filled with one word"),
	ROW(huge_pages, "HugePages", "huge_pages", PAGES, GAUGE, 0,
	    "Pages stored raw, since they hardly compress"),
	ROW(huge_pages_since, "HugePagesSince", "huge_pages_since_total", PAGES, COUNTER, 0,
	    "Pages that were stored raw, ever"),
	ROW(undecodable_pages, "UndecodablePages", "undecodable_pages_total", PAGES, COUNTER, 0,
	    "Reads that found a page that does not decompress"),
	ROW(recompressed_pages, "RecompressedPages", "recompressed_pages", PAGES, GAUGE, 0,
	    "Pages compressed with a recomp_algorithm"),
	ROW(tables, "Tables", "tables_bytes", BYTES, GAUGE, 0, "Memory of the slots"),
	{ .key = "Ratio", .say = say_ratio, .help = "OrigDataSize divided by MemUsedTotal" },
	{ .key = "Algorithm",
	  .say = say_algorithm,
	  .help = "Codec that pages are compressed with, and its level if one was set" },
	ROW(in_use, "InUse", "in_use", ZR_UNIT_HANDLES, GAUGE, 0, "Handles open on the disk"),
	ROW(discard, "Discard", "discard_total", REQUESTS, COUNTER, 0, "Requests to discard"),
	ROW(fragmentation, "Fragmentation", "fragmentation_bytes", BYTES, GAUGE, 0,
	    "The disk's share of free cells that are not kept ahead"),
	ROW(policy_recompressed, "PolicyRecompressed", "policy_recompressed_pages_total", PAGES,
	    COUNTER, 0, "Pages that recompress_age made smaller"),
	ROW(policy_written_back, "PolicyWrittenBack", "policy_written_back_pages_total", PAGES,
	    COUNTER, 0, "Pages that writeback_age took to the backing file"),
	ROW(bd_count, "WrittenBack", "written_back_pages", PAGES, GAUGE, BACKED,
	    "Pages that are on the backing file"),
	ROW(backing_used, "BackingUsed", "backing_used_bytes", BYTES, GAUGE, BACKED,
	    "What the disk's pages take of the backing file"),
	ROW(backing_limit, "BackingLimit", "backing_limit_bytes", BYTES, GAUGE,
	    BACKED | ZR_FIGURE_IF_SET,
	    "Most of the backing file that the disk may take, 0 for all of it"),
	ROW(backing_file_size, "BackingFileSize", "backing_file_size_bytes", BYTES, GAUGE, BACKED,
	    "Size of the backing file, which other disks may use as well"),
	ROW(backing_file_free, "BackingFileFree", "backing_file_free_bytes", BYTES, GAUGE, BACKED,
	    "Whole blocks of the backing file that nothing is in"),
	ROW(failed_backing_reads, "FailedBackingReads", "failed_backing_reads_total", PAGES,
	    COUNTER, BACKED, "Pages that could not be read from the backing file"),
	ROW(failed_backing_writes, "FailedBackingWrites", "failed_backing_writes_total", PAGES,
	    COUNTER, BACKED,
	    "Pages that could not be written to the backing file, and stayed in memory"),
	ROW(backing_lost, "BackingLost", "backing_lost", ZR_UNIT_FILES, GAUGE, BACKED,
	    "1 if the backing file is gone, and with it the pages that were on it"),
	{ .key = NULL },
};

static const struct zr_latency_figures *read_latency(const struct zr_snapshot_disk *disk)
{
	return &disk->read_latency;
}

static const struct zr_latency_figures *write_latency(const struct zr_snapshot_disk *disk)
{
	return &disk->write_latency;
}

static const struct zr_latency_figures *spill_latency(const struct zr_snapshot_disk *disk)
{
	return &disk->spill_latency;
}

const struct zr_figure_latency zr_figures_latency[ZR_N_FIGURE_LATENCIES] = {
	{ "read_latency", "Read", "zramfs_read_latency_seconds", "How long reads took", 0,
	  read_latency },
	{ "write_latency", "Write", "zramfs_write_latency_seconds", "How long writes took", 0,
	  write_latency },
	{ "spill_latency", "Spill", "zramfs_spill_latency_seconds",
	  "How long writes waited for room below a limit", BACKED, spill_latency },
};

/* of all disks */

#define OF_STORE(name, expression)                                           \
	static uint64_t store_##name(const struct zr_snapshot *snapshot,     \
				     const struct zr_stats_context *context) \
	{                                                                    \
		return expression;                                           \
	}

OF_STORE(disks, snapshot->n_disks)
OF_STORE(mem_limit, snapshot->mem_limit_bytes)
OF_STORE(memory, snapshot->usage.memory_bytes)
OF_STORE(reserve, snapshot->usage.reserve_bytes)
OF_STORE(fragmentation, snapshot->usage.wasted_bytes)
OF_STORE(pages_compacted, snapshot->usage.pages_compacted)
OF_STORE(generation, context->generation)
OF_STORE(poisoned_requests, context->poisoned_requests)

#define SUM(name_, key_, unit_, flags_)                                                     \
	{                                                                                   \
		.name = #name_, .key = key_, .unit = unit_, .kind = GAUGE, .flags = flags_, \
		.get = name_, .help = "Sum over the disks"                                  \
	}

#define ROW_STORE(name_, key_, metric_, unit_, kind_, flags_, help_, get_)              \
	{                                                                               \
		.name = name_, .key = key_, .metric = "zramfs_" metric_, .unit = unit_, \
		.kind = kind_, .flags = flags_, .help = help_, .get_total = get_        \
	}

/* Where a disk has a figure of that name too, the metric is "store_" more. */
const struct zr_figure zr_figures_total[] = {
	ROW_STORE("disks", "Disks", "disks", ZR_UNIT_DISKS, GAUGE, 0, "Disks there are",
		  store_disks),
	ROW_STORE("mem_limit", "MemLimit", "store_mem_limit_bytes", BYTES, GAUGE, ZR_FIGURE_IF_SET,
		  "Most memory that all disks together may use, 0 for no limit", store_mem_limit),
	SUM(orig_data_size, "OrigDataSize", BYTES, 0),
	SUM(compr_data_size, "ComprDataSize", BYTES, 0),
	SUM(mem_used_total, "MemUsedTotal", BYTES, 0),
	SUM(pages_stored, "PagesStored", PAGES, 0),
	SUM(same_pages, "SameFilledPages", PAGES, 0),
	SUM(huge_pages, "HugePages", PAGES, 0),
	SUM(bd_count, "WrittenBack", PAGES, ZR_FIGURE_IF_SET),
	SUM(backing_used, "BackingUsed", BYTES, ZR_FIGURE_IF_SET),
	SUM(tables, "Tables", BYTES, 0),
	ROW_STORE("store_memory", "StoreMemory", "store_memory_bytes", BYTES, GAUGE, 0,
		  "All memory that the store holds", store_memory),
	ROW_STORE("reserve", "Reserve", "reserve_bytes", BYTES, GAUGE, 0,
		  "Free memory of the store that is kept ahead of need", store_reserve),
	ROW_STORE("fragmentation", "Fragmentation", "store_fragmentation_bytes", BYTES, GAUGE, 0,
		  "Free cells of the store that are not kept ahead", store_fragmentation),
	ROW_STORE("pages_compacted", "PagesCompacted", "pages_compacted_total", PAGES, COUNTER, 0,
		  "Pages of memory given back by moving objects", store_pages_compacted),
	ROW_STORE("generation", "Generation", "generation", ZR_UNIT_WORKERS, GAUGE, 0,
		  "Workers that this mount has had, the one that serves among them",
		  store_generation),
	ROW_STORE("poisoned_requests", "PoisonedRequests", "poisoned_requests_total", REQUESTS,
		  COUNTER, 0, "Requests answered with an error because workers died of them",
		  store_poisoned_requests),
	{ .key = NULL },
};

uint64_t zr_figure_total(const struct zr_figure *figure, const struct zr_snapshot *snapshot,
			 const struct zr_stats_context *context)
{
	uint64_t sum = 0;
	size_t i;

	if (figure->get_total)
		return figure->get_total(snapshot, context);
	for (i = 0; i < snapshot->n_disks; ++i)
		sum += figure->get(&snapshot->disks[i], context);
	return sum;
}
