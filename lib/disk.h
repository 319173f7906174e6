#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Disk: a compressed RAM disk, byte by byte
 *
 * Any offset and length over pages that are read, changed and published whole; size, holes and the
 * attributes that are set. What lies past the size in the last page is always zero.
 *
 * A range is atomic per page, not as a whole: a reader may see some pages of a write and not
 * others.
 *
 * Ownership: the store makes and frees disks; who looks one up holds a pin until zr_disk_unpin().
 *            The id, the entry and the engine are constant while it lives.
 * Locking:   every call locks for itself. The shape is held shared by what uses the pages and
 *            exclusive by what changes size, codec or attributes; reading takes neither.
 * Errors:    those of pages.h, but -EAGAIN: changes wait, holding nothing, for memory that is on
 *            its way, 1 s at most for a page and 5 s in all, and then it is -ENOMEM; on a swap disk
 *            20 ms if none comes to anybody, and 200 ms in all, but for the first second that
 *            somebody tends the pool. -EINPROGRESS for who must not wait for a backing file and
 *            would have to: nothing was done then, or what was may be done again. -EFBIG past ZR_DISK_SIZE_MAX, -ESTALE once the disk was
 *            removed, -EBUSY for what is set once. Nothing has changed then, except that a write
 *            may have done its first pages, which it says, and a punch zeroed its first end.
 * Cost:      that of the pages touched; growing is free, discarding 512 pages is one step.
 */

#include "pages.h"
#include "plan.h"

struct zr_disk {
	/* constant */
	uint64_t id;
	struct zr_entry *entry; /* in the store */
	struct zr_engine *engine;
	unsigned int entry_no;

	struct zr_rwlock shape;
	/* protected by shape */
	bool removed;

	struct zr_pages pages;
	struct zr_plan plan;
	/* protected by the store's dir */
	struct zr_disk *next;
	char name[ZR_NAME_MAX + 1]; /* what the attributes say, to look up without the shape */

	_Atomic unsigned int xpins;
};

/* What can be asked of a disk at one moment; figures agree with each other. */
struct zr_disk_figures {
	uint64_t size_bytes;
	struct zr_tally tally;
	uint64_t orig_bytes;  /* orig_data_size: pages that are not holes */
	uint64_t compr_bytes; /* compr_data_size */
	uint64_t used_bytes;  /* cells and tables: what mem_limit is compared with */
	uint64_t total_bytes; /* mem_used_total: with its share of what open spans leave free */
	uint64_t max_bytes;   /* mem_used_max: the most that total_bytes was seen to be */
	uint64_t limit_bytes;
	uint64_t table_bytes;
};

/* Wrap an entry that is in the store, or will be when it is given its @id. For the store alone. */
int zr_disk_new(struct zr_disk **diskp, struct zr_engine *engine, struct zr_entry *entry,
		unsigned int entry_no, uint64_t id);

/* Free it with all its pages (if it was removed) or leave them in the store. For the store alone.
 */
struct zr_disk *zr_disk_free(struct zr_disk *disk);

/* Read at most @n_bytes; fewer, or none, at the end. */
int zr_disk_read(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, void *bytes,
		 size_t n_bytes, size_t *n_readp);

/* Write, growing the disk if need be. *n_writtenp is how much of it is there now, set on errors
 * too. */
int zr_disk_write(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, const void *bytes,
		  size_t n_bytes, size_t *n_writtenp);

/* Whole pages of the range become holes, the ends zeros. The size stays. */
int zr_disk_punch(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t offset, uint64_t n_bytes);

/* Make the disk at least that large. */
int zr_disk_extend(struct zr_disk *disk, uint64_t size_bytes);

/* Make the disk just that large. May be repeated, after a death in the middle of it as well. */
int zr_disk_truncate(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes);

/* Set the size of a disk that has none, rounded up to a page, and format it if its attributes ask
 * for that. The size comes last: after a death the disk either has none, and this may be repeated,
 * or has it, and all is done.
 * Return: also -EBUSY if it has one, -EINVAL for 0 or for less than the format needs. */
int zr_disk_set_disksize(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t size_bytes);

/* The first byte at or above @offset that is (not) in a hole; what lies past the size is one.
 * Return: 0, or -ENXIO where there is none. */
int zr_disk_seek_data(struct zr_disk *disk, uint64_t offset, uint64_t *foundp);
int zr_disk_seek_hole(struct zr_disk *disk, uint64_t offset, uint64_t *foundp);

/* Drop everything: pages, size, counters, latencies, and the attributes for @defaults; name, owner
 * and permissions stay. May be repeated, after a death in the middle of it as well. */
int zr_disk_reset(struct zr_disk *disk, const struct zr_attrs *defaults);

uint64_t zr_disk_size(const struct zr_disk *disk);

/* orig_data_size alone, without stopping anybody. */
uint64_t zr_disk_orig_bytes(const struct zr_disk *disk);
void zr_disk_attrs(struct zr_disk *disk, struct zr_attrs *attrs);
void zr_disk_figures(struct zr_disk *disk, struct zr_disk_figures *figures);

/* The same for who has all stripes, and asked the pool under them. */
void zr_disk_figures_frozen(struct zr_disk *disk, const struct zr_pool_usage *pool,
			    struct zr_disk_figures *figures);

int zr_disk_set_mem_limit(struct zr_disk *disk, uint64_t limit_bytes);

/* Change what is set, as one step: @change gets a copy of it, and may refuse. @only_empty: -EBUSY
 * once the disk has a size; the codecs may be changed only so. */
int zr_disk_change_attrs(struct zr_disk *disk, bool only_empty,
			 int (*change)(struct zr_attrs *attrs, void *context), void *context);

/* mem_used_max is what the disk takes now. */
int zr_disk_reset_peak(struct zr_disk *disk);

/* Reads, writes, failures, latencies and so on are 0 again; mem_used_max is no counter. */
void zr_disk_reset_counters(struct zr_disk *disk);

/* Return: also -EBUSY once the disk has a size, -EINVAL for what no codec has. */
int zr_disk_set_codec(struct zr_disk *disk, const struct zr_codec_params *params);

/* The recomp_algorithm of a priority from 1 to ZR_RECOMP_MAX: the codec of that number. Return: as
 * zr_disk_set_codec(), and -EINVAL for another priority. */
int zr_disk_set_recomp(struct zr_disk *disk, unsigned int priority,
		       const struct zr_codec_params *params);

/* Compress one page anew with the recomp_algorithm of that priority: zr_page_recompress().
 * Return: 0, ZR_PAGE_E_AS_IT_WAS, -EIO, or -EINVAL for a priority that has none. */
int zr_disk_recompress(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t page_no,
		       unsigned int priority, uint32_t threshold);

/* The same without a threshold and without waiting for memory. Return: also -EAGAIN or -ENOMEM. */
int zr_disk_try_recompress(struct zr_disk *disk, struct zr_ctx *ctx, uint64_t page_no,
			   unsigned int priority);

/* Who owns it, and what they may do. */
int zr_disk_set_owner(struct zr_disk *disk, uint32_t mode, uint32_t uid, uint32_t gid);

/* Write pages back to @backing, which has that id, from now on; NULL and 0: to none. For the store
 * alone. Return: 0, -EBUSY once the disk has a size, -ESTALE. */
int zr_disk_set_backing(struct zr_disk *disk, uint64_t id, struct zr_backing *backing);

/* What is to be said of that file. */
struct zr_disk_backing {
	char path[ZR_BACKING_PATH_MAX + 1];
	uint64_t size_bytes;
	uint64_t free_bytes;
	uint32_t flags; /* enum zr_backing_flags */
	bool is_lost;   /* it was not there any more when this process took over */
};

/* Return: false if there is none. */
bool zr_disk_backing(struct zr_disk *disk, struct zr_disk_backing *seen);

/* Under another name, and in the same step instead of the disk @replaces_id, if that is not 0. For
 * the store alone. */
int zr_disk_set_name(struct zr_disk *disk, const char *name, uint64_t replaces_id);

/* No more use of it: what would change it is -ESTALE from now on. For the store alone. */
void zr_disk_remove(struct zr_disk *disk);
bool zr_disk_is_removed(struct zr_disk *disk);

/* When it was last read, written and changed, as utimensat(2) wants it. Nanoseconds of the epoch;
 * NULL: stays. */
void zr_disk_set_times(struct zr_disk *disk, const int64_t *atime_ns, const int64_t *mtime_ns);

/* What a worker that died may have left half done, done again: what lies past the size goes. */
int zr_disk_settle(struct zr_disk *disk, struct zr_ctx *ctx);

/* Nanoseconds of the epoch, cheap and coarse. */
int64_t zr_disk_now_ns(void);
