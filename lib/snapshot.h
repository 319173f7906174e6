#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Snapshot: all figures of all disks at one moment
 *
 * Pages of all disks stand still while it is taken, once: so the figures of a disk agree with each
 * other and with its slots, and those of different disks with their sums. Counters go on (they are
 * changed outside the stripes); each is read once.
 *
 * Ownership: the caller's to free.
 * Locking:   the store's list shared, each shape shared in turn, then all stripes for some
 *            microseconds. Callers hold no engine lock.
 * Errors:    -ENOMEM.
 * Cost:      everything waits for 15 us and 0.2 us a disk; about 4 KiB a disk.
 */

#include "latency.h"
#include "store.h"

/* struct zr_counters, as plain numbers. */
struct zr_counts {
	uint64_t num_reads, num_writes, failed_reads, failed_writes, invalid_io, notify_free;
	uint64_t num_discards, huge_pages_since, undecodable_pages;
	uint64_t bd_reads, bd_writes, failed_backing_reads, failed_backing_writes;
	uint64_t policy_recompressions, policy_writes;
};

struct zr_snapshot_disk {
	uint64_t id;
	unsigned int entry_no; /* names the disk to whoever counts handles; see handles.h */
	struct zr_attrs attrs;
	struct zr_disk_figures figures;
	struct zr_counts counts;
	struct zr_latency_figures read_latency, write_latency, spill_latency;
	bool is_backed;
	struct zr_disk_backing backing; /* the file of all disks that have it; a moment before */
};

struct zr_snapshot {
	struct zr_store_usage usage;
	uint64_t mem_limit_bytes; /* of all disks together; 0: none */
	uint64_t time_ns;         /* of the epoch */
	size_t n_disks;
	struct zr_snapshot_disk *disks; /* by rising id */
};

int zr_snapshot_take(struct zr_store *store, struct zr_snapshot **snapshotp);
struct zr_snapshot *zr_snapshot_free(struct zr_snapshot *snapshot);

static inline void zr_snapshot_freep(struct zr_snapshot **snapshotp)
{
	*snapshotp = zr_snapshot_free(*snapshotp);
}

/* Counters of one disk, and zero those of all: reads, writes, failures, latencies and so on; not
 * what is derived from slots, nor peaks. */
void zr_disk_counts(const struct zr_disk *disk, struct zr_counts *counts);
void zr_store_reset_counters(struct zr_store *store);
