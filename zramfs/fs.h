#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Fs: the filesystem, as FUSE asks for it
 *
 * Disks at the top of the mount, .stats beside them, .control below. fs.c answers for names and
 * nodes, io.c for the bytes of disks, vfile.c for the text of virtual files.
 *
 *   in the thread that reads requests   read, write, fallocate, lseek, fsync, release
 *   as a job (jobs.h)                   all else: it may wait, or allocate
 *
 * Ownership: the worker's; the store is borrowed.
 * Locking:   those of the parts; a request is one thread's.
 * Errors:    each handler answers its request once, with 0 or an errno.
 * Cost:      nodes need no memory: numbers are derived from ids (node.h).
 */

#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include "handles.h"
#include "jobs.h"
#include "node.h"
#include "store.h"

struct fs {
	struct zr_store *store;
	struct zr_disk_spec defaults; /* of disks that are created, and what reset goes back to */
	uint32_t uid, gid;            /* who mounted */
	int ready;                    /* eventfd, readable once the kernel has been answered */
	struct handles handles;
	struct jobs jobs;
	struct timespec changed; /* when the list of disks did; protected by changed_lock */
	pthread_mutex_t changed_lock;
};

extern const struct fuse_lowlevel_ops fs_ops;

int fs_init(struct fs *fs, struct zr_store *store, const struct zr_disk_spec *defaults);

/* No request is under way any more. */
void fs_deinit(struct fs *fs);

/* Attributes of a node. Return: 0 or -ENOENT. */
int fs_stat(struct fs *fs, uint64_t node, struct stat *st);
