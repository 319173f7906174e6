#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Store: everything that must outlive a worker
 *
 * Makes the one memfd or attaches to another process's, and knows which disks there are. Attaching
 * derives all else from the slots (layout.h, slots.h) and finishes what was half done. What is on
 * the shelf is the caller's, and the engine never looks at it.
 *
 * Ownership: owns the memfd, the engine and the disks. A disk that is looked up is pinned for the
 *            caller until zr_disk_unpin(); a removed one lives on, refusing changes, until its last
 *            pin goes, and only then are its pages freed.
 * Locking:   every call locks for itself, at rank DIR. Callers hold no engine lock.
 * Errors:    -ENOMEM; attaching: -EINVAL for what is not a store, -EPROTONOSUPPORT for another
 *            layout, -EUCLEAN for a damaged one, and the descriptor is then still the caller's.
 * Cost:      4 KiB and 4 KiB a disk; look-ups walk the list of disks. Loading 15 ms a GiB.
 */

#include "disk.h"
#include "spec.h"
#include "stop.h"

struct zr_store;

/* A new, empty store with up to @size_bytes of offsets: fewer where the address space is smaller. */
int zr_store_new(struct zr_store **storep, uint64_t size_bytes);

/*
 * The store that @fd is; the descriptor is the store's from now on if this succeeds. In two steps,
 * so that a successor can be made while another process still has the store loaded:
 *
 *   zr_store_map(), zr_store_shelf(), zr_store_lock(), zr_store_populate()    overlap with that
 *   zr_store_load()                                                           nobody else has it
 *
 * A store that is mapped and not loaded takes no other call but zr_store_free() and
 * zr_store_fd(). One that could not be loaded is of no use but to be freed.
 */
int zr_store_attach(struct zr_store **storep, int fd);
int zr_store_map(struct zr_store **storep, int fd);
int zr_store_load(struct zr_store *store);

/* Unmap and close. What the memfd holds stays, for whoever else holds it. */
struct zr_store *zr_store_free(struct zr_store *store);

static inline void zr_store_freep(struct zr_store **storep)
{
	*storep = zr_store_free(*storep);
}

int zr_store_fd(const struct zr_store *store);

/* From now on a thread of the store's own populates memory ahead of need, and gives back what is
 * free, until it is told to end or the store is freed. Without it whoever writes does the one, and
 * nobody the other. Return: 0, -EAGAIN or -ENOMEM. */
int zr_store_tend(struct zr_store *store);

/* Make that thread, which waits to be told: zr_store_tend() wants no memory then, and cannot fail.
 * The store need only be mapped. @in_real_time: see upkeep.h; so it is by default. */
int zr_store_tend_later(struct zr_store *store, bool in_real_time);
void zr_store_untend(struct zr_store *store);

/* Give back all that can be, now. Return: bytes. */
uint64_t zr_store_compact(struct zr_store *store);

/* Memory for the caller in the store, zero at first, that stays where it is and outlives the
 * process: at least @n_bytes, from the start of the shelf. It never goes back. Before the store is
 * loaded there is what others made of it, and no more.
 * Return: its address, or NULL for want of memory or offsets; what was there stays. */
void *zr_store_shelf(struct zr_store *store, uint64_t n_bytes);
uint64_t zr_store_shelf_bytes(const struct zr_store *store);

/* Lock what this process has mapped of the store, and whatever it touches from now on; memory that
 * comes later is locked as it comes. What others populated is not mapped here, and so not locked:
 * zr_store_populate() does that. Locks end with the process.
 * Return: 0; -ENOMEM, -EPERM or -EAGAIN: the limit does not allow it, which counts all offsets. */
int zr_store_lock(struct zr_store *store);

/* What the disks can hold in memory until the offsets are used up, if these are fewer than were
 * wanted, and writes are refused for want of them; else UINT64_MAX. */
uint64_t zr_store_reach(const struct zr_store *store);

/* May the kernel swap memory of the store that nobody has locked? That of a store that a process
 * with CAP_SYS_ADMIN made on Linux 6.4 or later it may not. */
bool zr_store_is_swappable(const struct zr_store *store);

/*
 * Map all memory that the store has, in pieces of 2 MiB at most, while others serve: none of it is
 * allocated, and nothing that is given back meanwhile returns. Only where another process has the
 * store loaded still may a range that this one gives back at the same instant return, as memory
 * that nobody accounts for: it goes when the store is loaded here. So whoever succeeds another
 * populates before loading, when nobody waits for it, and once more after it.
 *
 * Cost: 250 to 300 ms a GiB that is not mapped, 50 ms a GiB that is.
 * Return: 0; -EINTR: @stop; -ENOMEM or another -errno: the kernel refused. *n_bytesp, if not NULL:
 * what is mapped.
 */
int zr_store_populate(struct zr_store *store, const struct zr_stop *stop, uint64_t *n_bytesp);

/* Have page tables for all memory that the store has, while another process has it loaded: to
 * populate it all later takes no memory then. Of each 2 MiB one page is mapped.
 * Cost: 1.4 ms a GiB, 0.4 ms when it is done again. */
void zr_store_follow(struct zr_store *store);

/* The id that the next disk will get, if nobody else makes one meanwhile: the caller sees to that.
 */
uint64_t zr_store_next_id(const struct zr_store *store);

/* A new disk as specified, pinned in *diskp. Nobody sees it before it is whole, and a death before
 * that leaves nothing of it; so who has noted zr_store_next_id() finds a disk of that id or makes
 * it again.
 * Return: also -EINVAL for attributes that cannot be, -EEXIST for a name that is taken, -ENOSPC
 * when there are ZR_DISKS_MAX, what zr_disk_set_disksize() says. */
int zr_store_add(struct zr_store *store, struct zr_ctx *ctx, const struct zr_disk_spec *spec,
		 struct zr_disk **diskp);

/* Pinned, or NULL. */
struct zr_disk *zr_store_find(struct zr_store *store, const char *name);
struct zr_disk *zr_store_get(struct zr_store *store, uint64_t id);

/* The disk with the lowest id above @id, pinned, or NULL: for (d = next(s, 0); d; d = next(s, id))
 */
struct zr_disk *zr_store_next(struct zr_store *store, uint64_t id);

/* The caller keeps its pin. May be repeated; after a death its id is not found any more. */
void zr_store_remove(struct zr_store *store, struct zr_disk *disk);

/* Give @disk another name. @replaced, if not NULL and still of that name, is removed in the same
 * step; any other disk that has it is in the way: -EEXIST. -EINVAL for what is no name. May be
 * repeated, after a death as well: a disk that has the name keeps it, and @replaced, whose id is
 * not found then, is NULL. */
int zr_store_rename(struct zr_store *store, struct zr_disk *disk, const char *name,
		    struct zr_disk *replaced);

struct zr_disk *zr_disk_unpin(struct zr_store *store, struct zr_disk *disk);

/*
 * Files that pages are written back to. @wanted is what becomes the record of that index, but for its
 * id and sequence, of a file that nobody else has; @io outlives the store. The file is the caller's
 * to open and to keep, and to close once zr_store_backing_remove() succeeded.
 * Return: 0, -EEXIST where the index is taken, -EINVAL, -ENOMEM.
 */
int zr_store_backing_add(struct zr_store *store, unsigned int index,
			 const struct zr_backing_record *wanted, const struct zr_backing_io *io,
			 uint64_t *idp);

/* Return: 0, -ENOENT, or -EBUSY while a disk has it, or its last pages are on their way out. */
int zr_store_backing_remove(struct zr_store *store, uint64_t id);

/* NULL where the record is free. Before the store is loaded it may change at any time. */
const struct zr_backing_record *zr_store_backing_at(const struct zr_store *store,
						    unsigned int index);

/* The record of that index that was removed, all of it but its key: who removed it may have died before
 * the file was closed. NULL: there is one. */
const struct zr_backing_record *zr_store_backing_removed(const struct zr_store *store,
							 unsigned int index);

/* The file of that index, which stays until zr_store_backing_unuse(); NULL: there is none. */
struct zr_backing *zr_store_backing_use(struct zr_store *store, unsigned int index);
void zr_store_backing_unuse(struct zr_backing *backing);

/* Would zr_store_backing_remove() succeed? */
bool zr_store_backing_is_idle(struct zr_store *store, uint64_t id);

/* Blocks of 4 KiB that nothing is in. */
uint64_t zr_store_backing_free_blocks(struct zr_store *store, uint64_t id);

/* Before the store is loaded, and again if the records have changed: what is needed of that one. A
 * file that is not there by then (@io NULL, or this was not called) is lost: reads of pages on it
 * are -EIO. Return: 0, -ENOMEM, -EUCLEAN. */
int zr_store_backing_attach(struct zr_store *store, unsigned int index,
			    const struct zr_backing_io *io);

/* Have the disk, which has no size, write pages back to that file; 0: to none.
 * Return: 0, -ENOENT, -EBUSY, -ESTALE. */
int zr_store_back(struct zr_store *store, struct zr_disk *disk, uint64_t id);

/* Give back what is free on the files, in runs of @n_least blocks at least. Return: is there a file
 * of which it can be? */
bool zr_store_punch(struct zr_store *store, uint32_t n_least);

/* Does any disk want something done by itself, as policy.h has it? May be asked before the store is
 * loaded, and may change at any time then. */
bool zr_store_has_policies(struct zr_store *store);

/* Where room below a limit is waited for. */
struct zr_room *zr_store_room(struct zr_store *store);

/* Memory, in bytes. memory = superblock and directory + shelf + span table + spans */
struct zr_store_usage {
	uint64_t memory_bytes; /* all that the memfd holds */
	uint64_t shelf_bytes;
	uint64_t span_table_bytes;
	uint64_t span_bytes;
	uint64_t reserve_bytes;   /* of the spans: free, and populated ahead of need */
	uint64_t wasted_bytes;    /* of the spans: free beyond that */
	uint64_t pages_compacted; /* given back by moving objects, ever */
	uint64_t n_disks;
};

/* Most that all disks together may use, compared with the sum of what each mem_limit is compared
 * with; 0: no limit. */
void zr_store_set_mem_limit(struct zr_store *store, uint64_t limit_bytes);
uint64_t zr_store_mem_limit(const struct zr_store *store);

void zr_store_usage(struct zr_store *store, struct zr_store_usage *usage);

/* Check all that can be checked. Nobody else may be using the store or have a removed disk pinned.
 */
void zr_store_validate(struct zr_store *store);
