#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Ops: requests about names and nodes
 *
 * What ls, rm, mv, truncate and open ask for, served as jobs.
 *
 * Ownership: the op is the job's.
 * Locking:   none here; what must not happen to a disk in use claims it first (handles.h).
 * Errors:    0 or -errno for the caller to answer with; 1: answered already.
 * Cost:      small.
 */

#include "fs.h"

#define OP_NAME_BYTES 256u

/* One request, with its arguments copied. */
struct op {
	fuse_req_t req;
	uint64_t node; /* or the parent, where there is a name */
	char name[OP_NAME_BYTES];
	uint64_t new_parent;
	char new_name[OP_NAME_BYTES];
	unsigned int flags;
	mode_t mode;
	int to_set;
	bool has_handle;
	struct stat attr;
	struct fuse_file_info fi;
	size_t n_bytes;
	off_t offset;
};

#define OPS_ANSWERED 1

int ops_lookup(struct fs *fs, struct op *op);
int ops_getattr(struct fs *fs, struct op *op);
int ops_setattr(struct fs *fs, struct op *op);
int ops_mknod(struct fs *fs, struct op *op);
int ops_create(struct fs *fs, struct op *op);
int ops_unlink(struct fs *fs, struct op *op);
int ops_rename(struct fs *fs, struct op *op);
int ops_open(struct fs *fs, struct op *op);
int ops_readdir(struct fs *fs, struct op *op);
int ops_statfs(struct fs *fs, struct op *op);
