#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Request: what was asked, copied out of its buffer to be served as a job
 *
 * Long work can be interrupted: who waits for it and gets a signal wants an answer now. While the
 * request is queued, it is taken out and answered with EINTR where the interruption arrives; once
 * it runs, request_stop() tells.
 *
 *   posting         an interruption marks the job, and posting it fails
 *   queued          whoever takes the job out of the queue answers: a thread, or the interruption
 *   running         the thread takes its function back first, which waits for one that is called
 *
 * A request of which a former generation left a record is no job: the thread that read it serves it,
 * since all changes wait for that (records.h).
 *
 * Ownership: the copy is the job's, with its text, and the record that it has or comes to have.
 * Locking:   libfuse holds the request's own lock while it calls about an interruption; the queue's
 *            is taken below it.
 * Errors:    each request is answered once; -ENOMEM, -EINTR.
 * Cost:      1 KiB and the text for each.
 */

#include "fs.h"

#define REQUEST_NAME_BYTES 256u

/* One request, with its arguments copied. */
struct op {
	fuse_req_t req;
	uint64_t unique; /* number of the request, without SHELF_RESENT */
	uint32_t opcode;
	bool is_resent;
	struct record *record; /* that was begun for it, or found; NULL: none */
	uint64_t node;         /* or the parent, where there is a name */
	char name[REQUEST_NAME_BYTES];
	uint64_t new_parent;
	char new_name[REQUEST_NAME_BYTES];
	unsigned int flags;
	mode_t mode;
	int to_set;
	bool has_handle;
	struct stat attr;
	struct fuse_file_info fi;
	size_t n_bytes;
	off_t offset;
	const char *text; /* of a control write, terminated; NULL: none */
};

/* What a function that serves a request returns when it has answered it. Else: 0 or -errno, to be
 * answered with. */
#define REQUEST_ANSWERED 1

typedef int (*request_serve)(struct fs *fs, struct op *op);

/* The op of the request that the calling thread has read. Its record is the op's from now on. */
struct op request_op(fuse_req_t req, uint64_t node);

/* Has a former generation done it, and is only the answer left? */
bool request_is_done(const struct op *op);

/* Have @serve called by a thread of @jobs with a copy of @op. */
void request_defer(struct jobs *jobs, const struct op *op, request_serve serve);

/* The same for what must not be refused: without memory for the copy it is served at once. */
void request_defer_sure(struct jobs *jobs, const struct op *op, request_serve serve);

/* The same for what may be interrupted. */
void request_defer_long(struct jobs *jobs, const struct op *op, request_serve serve);

/* To be asked by what serves @op: was it interrupted, or is the daemon about to end? */
struct zr_stop request_stop(struct op *op);
