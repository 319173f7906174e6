#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Ops: requests about names and nodes
 *
 * What ls, rm, mv, truncate and open ask for, served as jobs. A request that the kernel sends again
 * comes with its record, if a former generation left one, and finds its handle by its number.
 *
 * Ownership: the op is the job's.
 * Locking:   none here; see change.h.
 * Errors:    0 or -errno for the caller to answer with, or REQUEST_ANSWERED.
 * Cost:      small.
 */

#include "request.h"

int ops_lookup(struct fs *fs, struct op *op);
int ops_getattr(struct fs *fs, struct op *op);
int ops_setattr(struct fs *fs, struct op *op);
int ops_mknod(struct fs *fs, struct op *op);
int ops_create(struct fs *fs, struct op *op);
int ops_unlink(struct fs *fs, struct op *op);
int ops_rename(struct fs *fs, struct op *op);
int ops_open(struct fs *fs, struct op *op);
int ops_release(struct fs *fs, struct op *op);
int ops_readdir(struct fs *fs, struct op *op);
int ops_statfs(struct fs *fs, struct op *op);

/* A new disk as specified, pinned, once its backing file is open. Return: also what change_make()
 * says. */
int ops_make_disk(struct fs *fs, struct op *op, const struct zr_disk_spec *spec,
		  struct zr_disk **diskp);

/* Remove @disk, unless it is in use. Return: 0, -EBUSY, or -ENOENT if it went meanwhile. */
int ops_remove_disk(struct fs *fs, struct op *op, struct zr_disk *disk, const char *name);
