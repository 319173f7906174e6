/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is set of a disk, and its figures
 */

#include "disk.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "crash.h"
#include "disk-parts.h"

/* attributes: two copies and a word that says which is valid */

const struct zr_attrs *zr_disk_attrs_valid(const struct zr_disk *disk)
{
	return &disk->entry->attrs[atomic_load(&disk->entry->valid) & 1];
}

/* Write the other copy, flip the word. The caller holds the shape exclusive. */
static void attrs_publish_locked(struct zr_disk *disk, const struct zr_attrs *attrs)
{
	const uint64_t valid = atomic_load(&disk->entry->valid);

	zr_assert_held(ZR_RANK_DISK);

	disk->entry->attrs[~valid & 1] = *attrs;
	ZR_CRASH("flip-before");
	atomic_store(&disk->entry->valid, valid + 1);
	ZR_CRASH("flip-after");
	zr_disk_limits_apply(disk);
	zr_disk_ages_apply_locked(disk);
}

bool zr_disk_spills(const struct zr_disk *disk)
{
	return disk->pages.backing && zr_disk_attrs_valid(disk)->on_limit != ZR_ON_LIMIT_ENOSPC;
}

void zr_disk_limits_apply(struct zr_disk *disk)
{
	const struct zr_attrs *attrs = zr_disk_attrs_valid(disk);
	const bool spills = zr_disk_spills(disk);
	struct zr_pages *pages = &disk->pages;

	atomic_store(&pages->xlimit_bytes, attrs->mem_limit_bytes);
	atomic_store(&pages->xspill_bytes,
		     spills ? attrs->mem_limit_bytes / 100 * attrs->writeback_at : 0);
	/* First only to mark what is there; see tier.c. */
	atomic_store(&pages->xspill_wake_bytes, atomic_load(&pages->xspill_bytes) / 4 * 3);
	atomic_store(&pages->xspill_above_bytes, pages->backing ? attrs->spill_above_bytes : 0);
	/* What is there already may be larger. */
	atomic_store(&pages->xhas_larger, atomic_load(&pages->xspill_above_bytes) != 0);
	/* What could not be may be possible now. */
	atomic_store(&pages->xspill_error, 0);
	atomic_store(&pages->xspill_again_ns, 0);
	/* Who looks after the disk is to look. */
	if (pages->backing || zr_attrs_keep_ages(attrs) || attrs->compact_at != 0)
		zr_room_want(&disk->engine->room);
}

static void forget_ages(struct zr_disk *disk)
{
	atomic_store(&disk->entry->ages_begun_ns, 0);
	atomic_store(&disk->entry->ages_seen_ns, 0);
	atomic_store(&disk->entry->ages_leaf_no, 0);
}

void zr_disk_ages_apply_locked(struct zr_disk *disk)
{
	zr_assert_held(ZR_RANK_DISK);

	if (zr_attrs_keep_ages(zr_disk_attrs_valid(disk)))
		return;
	zr_ages_drop(&disk->pages);
	forget_ages(disk);
}

void zr_disk_take_codecs(struct zr_disk *disk)
{
	const struct zr_attrs *attrs = zr_disk_attrs_valid(disk);

	memcpy(disk->pages.codecs, attrs->codecs, sizeof(attrs->codecs));
	disk->pages.recomp_priorities = attrs->recomp_priorities;
}

/* The same with other codecs, on an empty disk: readers look at them without the shape, but only
 * for a slot that is no hole. */
static void codecs_publish_locked(struct zr_disk *disk, const struct zr_attrs *attrs)
{
	attrs_publish_locked(disk, attrs);
	zr_disk_take_codecs(disk);
}

/* attributes */

void zr_disk_attrs(struct zr_disk *disk, struct zr_attrs *attrs)
{
	ZR_GUARD_SHARED(&disk->shape);
	*attrs = *zr_disk_attrs_valid(disk);
}

int zr_disk_change_attrs(struct zr_disk *disk, bool only_empty,
			 int (*change)(struct zr_attrs *attrs, void *context), void *context)
{
	struct zr_attrs attrs;
	int r;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	/* What a codec number means must not change while a slot uses it. */
	if (only_empty && zr_disk_size(disk) != 0)
		return -EBUSY;
	attrs = *zr_disk_attrs_valid(disk);
	r = change(&attrs, context);
	if (r < 0)
		return r;

	if (only_empty)
		codecs_publish_locked(disk, &attrs);
	else
		attrs_publish_locked(disk, &attrs);
	atomic_store(&disk->entry->ctime_ns, zr_disk_now_ns());
	return 0;
}

static int change_mem_limit(struct zr_attrs *attrs, void *context)
{
	attrs->mem_limit_bytes = *(const uint64_t *)context;
	return 0;
}

int zr_disk_set_mem_limit(struct zr_disk *disk, uint64_t limit_bytes)
{
	return zr_disk_change_attrs(disk, false, change_mem_limit, &limit_bytes);
}

struct codec_change {
	unsigned int number;
	struct zr_codec_params params;
};

static int change_codec(struct zr_attrs *attrs, void *context)
{
	const struct codec_change *change = context;

	attrs->codecs[change->number] = change->params;
	if (change->number > 0)
		attrs->recomp_priorities |= 1u << change->number;
	return 0;
}

static int set_codec(struct zr_disk *disk, unsigned int number,
		     const struct zr_codec_params *params)
{
	struct codec_change change = { number, *params };
	int r;

	r = zr_codec_check(params);
	return r < 0 ? r : zr_disk_change_attrs(disk, true, change_codec, &change);
}

int zr_disk_set_codec(struct zr_disk *disk, const struct zr_codec_params *params)
{
	return set_codec(disk, 0, params);
}

int zr_disk_set_recomp(struct zr_disk *disk, unsigned int priority,
		       const struct zr_codec_params *params)
{
	if (priority == 0 || priority > ZR_RECOMP_MAX)
		return -EINVAL;
	return set_codec(disk, priority, params);
}

int zr_disk_set_backing(struct zr_disk *disk, uint64_t id, struct zr_backing *backing)
{
	struct zr_attrs attrs;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	if (zr_disk_size(disk) != 0)
		return -EBUSY;
	attrs = *zr_disk_attrs_valid(disk);
	attrs.backing_id = id;
	attrs_publish_locked(disk, &attrs);
	zr_pages_set_backing(&disk->pages, backing);
	zr_disk_limits_apply(disk);
	return 0;
}

bool zr_disk_backing(struct zr_disk *disk, struct zr_disk_backing *seen)
{
	const struct zr_backing *backing;

	ZR_GUARD_SHARED(&disk->shape);

	/* It is there as long as the disk has it. */
	backing = disk->pages.backing;
	if (!backing)
		return false;
	*seen = (struct zr_disk_backing){
		.size_bytes = backing->record->size_bytes,
		.free_bytes = atomic_load(&backing->xn_free) << ZR_BLOCK_SHIFT,
		.flags = backing->record->flags,
		.is_lost = !backing->io,
	};
	memcpy(seen->path, backing->record->path, sizeof(seen->path) - 1);
	return true;
}

struct owner {
	uint32_t mode, uid, gid;
};

static int change_owner(struct zr_attrs *attrs, void *context)
{
	const struct owner *owner = context;

	attrs->mode = owner->mode;
	attrs->uid = owner->uid;
	attrs->gid = owner->gid;
	return 0;
}

int zr_disk_set_owner(struct zr_disk *disk, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct owner owner = { mode, uid, gid };

	return zr_disk_change_attrs(disk, false, change_owner, &owner);
}

int zr_disk_set_name(struct zr_disk *disk, const char *name, uint64_t replaces_id)
{
	struct zr_attrs attrs;

	ZR_GUARD_EXCLUSIVE(&disk->shape);

	if (disk->removed)
		return -ESTALE;
	attrs = *zr_disk_attrs_valid(disk);
	memset(attrs.name, 0, sizeof(attrs.name));
	memcpy(attrs.name, name, strlen(name));
	attrs.replaces_id = replaces_id;
	attrs_publish_locked(disk, &attrs);
	memcpy(disk->name, attrs.name, sizeof(disk->name));
	atomic_store(&disk->entry->ctime_ns, zr_disk_now_ns());
	return 0;
}

void zr_disk_reset_counters(struct zr_disk *disk)
{
	struct zr_counters *counters = &disk->entry->counters;

	atomic_store(&counters->num_reads, 0);
	atomic_store(&counters->num_writes, 0);
	atomic_store(&counters->failed_reads, 0);
	atomic_store(&counters->failed_writes, 0);
	atomic_store(&counters->invalid_io, 0);
	atomic_store(&counters->notify_free, 0);
	atomic_store(&counters->num_discards, 0);
	atomic_store(&counters->huge_pages_since, 0);
	atomic_store(&counters->undecodable_pages, 0);
	atomic_store(&counters->bd_reads, 0);
	atomic_store(&counters->bd_writes, 0);
	atomic_store(&counters->failed_backing_reads, 0);
	atomic_store(&counters->failed_backing_writes, 0);
	atomic_store(&counters->policy_recompressions, 0);
	atomic_store(&counters->policy_writes, 0);
	zr_latency_clear(&disk->entry->read_latency);
	zr_latency_clear(&disk->entry->write_latency);
	zr_latency_clear(&disk->entry->spill_latency);
}

/* *stalep is what the caller retires once the shape is released, so that nobody waits for that. */
static int reset_locked(struct zr_disk *disk, const struct zr_attrs *defaults,
			struct zr_stale *stalep)
{
	struct zr_attrs attrs = *defaults;

	zr_assert_held(ZR_RANK_DISK);

	if (disk->removed)
		return -ESTALE;

	memcpy(attrs.name, zr_disk_attrs_valid(disk)->name, sizeof(attrs.name));
	attrs.mode = zr_disk_attrs_valid(disk)->mode;
	attrs.uid = zr_disk_attrs_valid(disk)->uid;
	attrs.gid = zr_disk_attrs_valid(disk)->gid;
	attrs.replaces_id = 0;

	atomic_store(&disk->entry->size_bytes, 0);
	ZR_CRASH("reset");
	*stalep = zr_pages_unhook(&disk->pages);
	forget_ages(disk);
	attrs.backing_id = 0;
	zr_pages_set_backing(&disk->pages, NULL);
	codecs_publish_locked(disk, &attrs);
	zr_disk_reset_counters(disk);
	atomic_store(&disk->entry->counters.mem_used_max_bytes, 0);
	zr_disk_touch(disk);
	return 0;
}

int zr_disk_reset(struct zr_disk *disk, const struct zr_attrs *defaults)
{
	struct zr_stale stale = { 0 };
	int r;

	{
		ZR_GUARD_EXCLUSIVE(&disk->shape);
		r = reset_locked(disk, defaults, &stale);
	}
	zr_pages_retire(&disk->pages, stale);
	return r;
}

/* The disk's part of the free cells beyond the reserve, which all disks share. What is on its way
 * back to the kernel is nobody's. */
static uint64_t open_bytes(const struct zr_pool_usage *pool, uint64_t used_bytes)
{
	if (pool->live_bytes == 0)
		return 0;
	return (uint64_t)((double)pool->wasted_bytes *
			  ((double)zr_min(used_bytes, pool->live_bytes) /
			   (double)pool->live_bytes));
}

void zr_disk_figures_frozen(struct zr_disk *disk, const struct zr_pool_usage *pool,
			    struct zr_disk_figures *figures)
{
	struct zr_tally *tally = &figures->tally;

	zr_assert_held(ZR_RANK_STRIPE);

	zr_pages_tally_frozen(&disk->pages, tally);
	figures->size_bytes = zr_disk_size(disk);
	figures->orig_bytes = (uint64_t)tally->gauge[ZR_GAUGE_PAGES] << ZR_PAGE_SHIFT;
	figures->compr_bytes = (uint64_t)tally->gauge[ZR_GAUGE_COMPR_BYTES];
	figures->table_bytes = (tally->n_nodes + tally->n_age_nodes) << ZR_PAGE_SHIFT;
	figures->used_bytes = (uint64_t)tally->gauge[ZR_GAUGE_CELL_BYTES] + figures->table_bytes;
	figures->total_bytes = figures->used_bytes + open_bytes(pool, figures->used_bytes);
	figures->max_bytes = zr_pages_peak(&disk->pages, figures->total_bytes);
	figures->limit_bytes = atomic_load(&disk->pages.xlimit_bytes);
}

void zr_disk_figures(struct zr_disk *disk, struct zr_disk_figures *figures)
{
	struct zr_stripes *stripes = &disk->engine->stripes;
	struct zr_pool_usage pool;

	ZR_GUARD_SHARED(&disk->shape);

	zr_stripes_lock_all(stripes);
	pool = zr_pool_usage(&disk->engine->pool);
	zr_disk_figures_frozen(disk, &pool, figures);
	zr_stripes_unlock_all(stripes);
}

int zr_disk_reset_peak(struct zr_disk *disk)
{
	struct zr_disk_figures figures;

	if (zr_disk_is_removed(disk))
		return -ESTALE;

	/* What is used more meanwhile is noticed at the latest by who looks next. */
	atomic_store(&disk->entry->counters.mem_used_max_bytes, 0);
	zr_disk_figures(disk, &figures);
	return 0;
}
