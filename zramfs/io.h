#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Io: the bytes of disks
 *
 * Handlers of the requests that a mounted filesystem or a swap device waits for.
 *
 * Ownership: buffers are the serving thread's.
 * Locking:   none here.
 * Errors:    see disk.h; each handler answers once.
 * Cost:      a read is decompressed straight into the reply, a write compressed straight from the
 *            request. Measuring how long each took is 70 ns of it.
 */

#include <fuse_lowlevel.h>

void io_read(fuse_req_t req, fuse_ino_t ino, size_t n_bytes, off_t offset,
	     struct fuse_file_info *fi);
void io_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t n_bytes, off_t offset,
	      struct fuse_file_info *fi);
void io_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t n_bytes,
		  struct fuse_file_info *fi);
void io_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void io_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void io_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
