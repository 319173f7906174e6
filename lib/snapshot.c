/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "snapshot.h"

#include <errno.h>
#include <time.h>

#include "store-parts.h"

/* counters */

static uint64_t word_get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

void zr_disk_counts(const struct zr_disk *disk, struct zr_counts *counts)
{
	const struct zr_counters *counters = &disk->entry->counters;

	counts->num_reads = word_get(&counters->num_reads);
	counts->num_writes = word_get(&counters->num_writes);
	counts->failed_reads = word_get(&counters->failed_reads);
	counts->failed_writes = word_get(&counters->failed_writes);
	counts->invalid_io = word_get(&counters->invalid_io);
	counts->notify_free = word_get(&counters->notify_free);
	counts->num_discards = word_get(&counters->num_discards);
	counts->huge_pages_since = word_get(&counters->huge_pages_since);
	counts->undecodable_pages = word_get(&counters->undecodable_pages);
	counts->bd_reads = word_get(&counters->bd_reads);
	counts->bd_writes = word_get(&counters->bd_writes);
	counts->failed_backing_reads = word_get(&counters->failed_backing_reads);
	counts->failed_backing_writes = word_get(&counters->failed_backing_writes);
	counts->policy_recompressions = word_get(&counters->policy_recompressions);
	counts->policy_writes = word_get(&counters->policy_writes);
}

void zr_store_reset_counters(struct zr_store *store)
{
	struct zr_disk *disk;

	ZR_GUARD_SHARED(&store->dir);

	for (disk = store->disks; disk; disk = disk->next)
		zr_disk_reset_counters(disk);
	atomic_store(&store->superblock->pages_compacted, 0);
}

/* the moment */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What is not derived from slots. The list is held: the disk stays. */
static void disk_describe(struct zr_disk *disk, struct zr_snapshot_disk *seen)
{
	seen->id = disk->id;
	seen->entry_no = disk->entry_no;
	zr_disk_attrs(disk, &seen->attrs);
	zr_disk_counts(disk, &seen->counts);
	zr_latency_figures(&disk->entry->read_latency, &seen->read_latency);
	zr_latency_figures(&disk->entry->write_latency, &seen->write_latency);
	zr_latency_figures(&disk->entry->spill_latency, &seen->spill_latency);
	seen->is_backed = zr_disk_backing(disk, &seen->backing);
}

/* Pages stand still. The pool may go on, but what a slot refers to is in use in it before and
 * after: it has at least what the disks have. */
static void freeze(struct zr_store *store, struct zr_snapshot *snapshot)
{
	struct zr_stripes *stripes = &store->engine.stripes;
	struct zr_snapshot_disk *seen = snapshot->disks;
	struct zr_pool_usage pool;
	struct zr_disk *disk;

	zr_stripes_lock_all(stripes);
	snapshot->time_ns = now_ns();
	snapshot->mem_limit_bytes = atomic_load(&store->engine.xlimit_bytes);
	pool = zr_pool_usage(&store->engine.pool);
	zr_store_usage_locked(store, &pool, &snapshot->usage);
	for (disk = store->disks; disk; disk = disk->next, ++seen) {
		zr_disk_figures_frozen(disk, &pool, &seen->figures);
		/* Set between the two: what held at the moment. */
		seen->attrs.mem_limit_bytes = seen->figures.limit_bytes;
	}
	zr_stripes_unlock_all(stripes);
}

int zr_snapshot_take(struct zr_store *store, struct zr_snapshot **snapshotp)
{
	ZR_CLEANUP(zr_snapshot_freep) struct zr_snapshot *snapshot = NULL;
	struct zr_disk *disk;
	size_t i = 0;

	snapshot = calloc(1, sizeof(*snapshot));
	if (!snapshot)
		return -ENOMEM;

	/* No disk comes or goes meanwhile. */
	ZR_GUARD_SHARED(&store->dir);

	for (disk = store->disks; disk; disk = disk->next)
		++snapshot->n_disks;
	snapshot->disks = calloc(zr_max(snapshot->n_disks, 1), sizeof(*snapshot->disks));
	if (!snapshot->disks)
		return -ENOMEM;

	for (disk = store->disks; disk; disk = disk->next)
		disk_describe(disk, &snapshot->disks[i++]);
	freeze(store, snapshot);

	*snapshotp = ZR_STEAL(snapshot);
	return 0;
}

struct zr_snapshot *zr_snapshot_free(struct zr_snapshot *snapshot)
{
	if (!snapshot)
		return NULL;

	free(snapshot->disks);
	free(snapshot);
	return NULL;
}
