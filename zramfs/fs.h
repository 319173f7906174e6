#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Fs: the filesystem, as FUSE asks for it
 *
 * Disks at the top of the mount, statistics beside them, .control below. fs.c says which request is
 * served where; ops.c answers for names and nodes, vfile.c for the text of virtual files. The bytes
 * of disks do not come this far: io.c has them from the channel.
 *
 *   in the thread that reads requests   read and write of virtual files; whatever a former
 *                                       generation has done already, or half
 *   as a job (jobs.h)                   all else: it may wait, or allocate
 *     names                             milliseconds: look up, stat, open, list, release
 *     changes                           may wait for a disk that is in use, and drop all of it:
 *                                       make, remove, rename, truncate, control writes; and what
 *                                       is read in pieces
 *     work                              whatever takes as long as it takes: compact, idle, and
 *                                       what looks at every slot; can be interrupted
 *
 * So nobody who looks around waits for somebody's change, and no change waits for long work.
 *
 * Ownership: the worker's; the store is borrowed.
 * Locking:   those of the parts; a request is one thread's. The defaults have a lock of their own.
 * Errors:    each handler answers its request once, with 0 or an errno.
 * Cost:      nodes need no memory: numbers are derived from ids (node.h).
 */

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "handles.h"
#include "jobs.h"
#include "node.h"
#include "records.h"
#include "shelf.h"
#include "store.h"

struct rings;
struct zr_attr_daemon;

/* Requests on a disk that the kernel may have under way: 12, its default, throttles a loop device.
 * What programs wait for themselves is not counted. */
#define FS_MAX_BACKGROUND 1024u

struct fs {
	struct zr_store *store;
	struct shelf *shelf;
	uint32_t uid, gid;      /* who mounted */
	unsigned int n_threads; /* that serve disks */
	int ready;              /* eventfd, readable once the kernel has been answered */
	struct handles handles;
	struct records records;
	/* of whoever changes disks: under the lock of records, or with a record begun */
	struct zr_ctx *ctx;
	struct jobs names, changes, work;
	_Atomic bool xending; /* long work is to stop */
	struct rings *rings; /* NULL: requests come from /dev/fuse. Set before anything is served */
	/* set by the worker before anything is served; NULL: there is none */
	const struct zr_attr_daemon *daemon;
	pthread_mutex_t lock;
	/* protected by lock */
	struct zr_disk_spec defaults; /* of disks that are created, and what reset goes back to */
	struct timespec changed;      /* when the list of disks did */
};

extern const struct fuse_lowlevel_ops fs_ops;

/* In three steps, so that all that takes memory is there before the store is this process's.
 * @n_threads: how many will serve disks. */
int fs_init(struct fs *fs, struct zr_store *store, struct shelf *shelf,
	    const struct zr_disk_spec *defaults, unsigned int n_threads);

/* The threads for jobs, once those that serve disks are there: nothing is asked for yet. */
int fs_start(struct fs *fs);

/* Jobs that change disks wait for a backing file where they must, from now on. After fs_start(), by
 * who may use the context. Return: 0 or -ENOMEM. */
int fs_let_wait(struct fs *fs);

/* The threads are in no hurry any more (hurry.h). */
void fs_calm(struct fs *fs);

/* What a former generation had open is open, and what it had begun is completed. The store is
 * loaded. */
int fs_load(struct fs *fs);

/* Is there no job but what takes long? */
bool fs_is_idle(struct fs *fs);

/* No request is read any more: finish what is queued; what takes long is told to stop. */
void fs_drain(struct fs *fs);

/* The same, and nobody succeeds: nothing is open any more. */
void fs_deinit(struct fs *fs);

/* Attributes of a node. Return: 0 or -ENOENT. */
int fs_stat(struct fs *fs, uint64_t node, struct stat *st);

/* A copy of what disks are that do not say; and another in its place, for disks to come. */
void fs_defaults(struct fs *fs, struct zr_disk_spec *spec);
void fs_set_defaults(struct fs *fs, const struct zr_disk_spec *spec);

/* Disks came, went or were renamed: the directories have a new time. */
void fs_directory_changed(struct fs *fs);
