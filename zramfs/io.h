#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Io: the bytes of disks
 *
 * Requests that a mounted filesystem or a swap device waits for. They are read and answered as the
 * kernel lays them out: libfuse would allocate for each, and take a lock that is held by who does
 * other things. What drops more than PUNCH_MIN_BYTES has a thread of its own, so that others go on;
 * one is enough, since a disk's next such request waits in the kernel for the one before. What has
 * to wait for a backing file is handed over as well: reads and writes to waiters (waiters.h), what
 * drops to the same thread.
 *
 * A request that is handed over is done from its beginning, though some of its pages may have been
 * done: as after a death, each may be read or written twice before it is answered, and nothing is
 * promised of another request on the same pages that is not.
 *
 * Ownership: buffers are the serving thread's.
 * Locking:   none here.
 * Errors:    see disk.h, but -EINPROGRESS; each request is answered once. EBADF for a handle that is
 *            not open, ESTALE for one whose disk is gone: it says that opening it anew may help, as
 *            EIO would not.
 * Cost:      a read is decompressed straight into the reply, a write compressed straight from the
 *            request. Measuring how long each took is 70 ns of it.
 */

#include <fuse_lowlevel.h>

#include "jobs.h"
#include "layout.h"
#include "waiters.h"

struct fs;

/* Dropping as much takes 0.1 ms. */
#define PUNCH_MIN_BYTES (UINT64_C(1) << 20)

/* The last ones of the shelf: of waiters, and of the thread that drops. */
#define IO_SEATS (WAITERS + 1)

struct io;

/* @fd: where replies go that no ring wants. */
int io_new(struct io **iop, struct fs *fs, int fd);

/* No request is under way. */
struct io *io_free(struct io *io);

/* Lock the memory of its threads. */
void io_lock(struct io *io);

/* Requests may have to wait for a backing file from now on: have those there that do. May be called
 * again; not by a thread that serves disks. Return: 0, -ENOMEM, -EAGAIN. */
int io_let_wait(struct io *io);

/* Its threads are in no hurry any more. */
void io_calm(struct io *io);

/* Have its thread run a job that is kept. */
void io_post(struct io *io, struct job *job);

/* Is nothing under way but in threads that called io_serve()? */
bool io_is_idle(struct io *io);

/* Is the request with that number handed over, and in nobody's hands yet? Without SHELF_RESENT. */
bool io_has(struct io *io, uint64_t unique);

/* Serve a request of the bytes of a disk. Return: false if it is not one. */
bool io_serve(struct io *io, const uint8_t *request, size_t n_request);

/* Is that the opcode of one, if @node is a disk? Such requests cannot be interrupted. */
bool io_is_served(uint64_t node, uint32_t opcode);

/* Is it a request of few pages, which takes no longer than a waking? */
bool io_is_short(const uint8_t *request, size_t n_request);

/* Answer the request with that number with an errno, or with 0. Return: 0 or -errno. */
int io_answer(struct io *io, uint64_t unique, int error, const void *bytes, size_t n_bytes);

/* For libfuse: the same of virtual files. */
void io_read(fuse_req_t req, fuse_ino_t ino, size_t n_bytes, off_t offset,
	     struct fuse_file_info *fi);
void io_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t n_bytes, off_t offset,
	      struct fuse_file_info *fi);
void io_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t n_bytes,
		  struct fuse_file_info *fi);
void io_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void io_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void io_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
