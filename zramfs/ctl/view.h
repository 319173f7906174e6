#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * View: what a mount's .stats.json says
 *
 * Members that are not there are VIEW_UNKNOWN or NULL, those that are new are passed over: daemon
 * and zramfsctl need not be of one version. Only a schema with another number is refused.
 *
 * Ownership: the caller's, until view_clear().
 * Locking:   one thread.
 * Errors:    -errno, and one line that says why, without the mount's path.
 * Cost:      ask_file(), and parsing a kilobyte a disk; ask_names() where a name is no ASCII.
 */

#include <stddef.h>
#include <stdint.h>

#include "mounts.h"

#define VIEW_UNKNOWN UINT64_MAX
#define VIEW_WHY_MAX 256u

struct view_latency {
	uint64_t count, sum_ns, p50_ns, p90_ns, p99_ns, max_ns;
};

struct view_disk {
	char *name; /* the bytes of the file's name */
	char *path; /* of its file */
	char *comp_algorithm, *algorithm_params, *format, *backing_dev;
	uint64_t disksize, mem_limit;
	uint64_t orig_data_size, compr_data_size, mem_used_total, mem_used_max;
	uint64_t same_pages, zero_pages, huge_pages;
	uint64_t tables, fragmentation;
	uint64_t num_reads, num_writes, failed_reads, failed_writes;
	uint64_t bd_count, backing_used;
	struct view_latency read_latency, write_latency;
};

struct view_total {
	uint64_t mem_limit, orig_data_size, compr_data_size, mem_used_total;
	uint64_t store_memory, reserve, pages_compacted;
	uint64_t poisoned_requests;
};

struct view {
	char *version; /* of the daemon */
	uint64_t time_ns;
	struct view_disk *disks;
	size_t n_disks;
	struct view_total total;
};

int view_read(const struct mount *mount, struct view *viewp, char why[VIEW_WHY_MAX]);

void view_clear(struct view *view);

/* One of them, which then is not the view's any more. */
void view_disk_clear(struct view_disk *disk);
