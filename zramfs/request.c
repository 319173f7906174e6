/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct request {
	struct job job;
	struct jobs *jobs;
	request_serve serve;
	bool is_long;
	struct op op;
	char text[];
};

struct op request_op(fuse_req_t req, uint64_t node)
{
	const struct op op = {
		.req = req,
		.unique = thread_self.unique,
		.opcode = thread_self.seat ? atomic_load(&thread_self.seat->opcode) : 0,
		.is_resent = thread_self.is_resent,
		.record = thread_self.record,
		.node = node,
	};

	thread_self.record = NULL;
	return op;
}

bool request_is_done(const struct op *op)
{
	return op->record && atomic_load(&op->record->state) == RECORD_ANSWERED;
}

static void op_serve(struct fs *fs, struct op *op, request_serve serve)
{
	int r;

	r = serve(fs, op);
	if (r <= 0)
		fuse_reply_err(op->req, -r);
	records_end(&fs->records, op->record);
}

static void request_run(struct job *job)
{
	struct request *request = (struct request *)job;
	struct fs *fs = fuse_req_userdata(request->op.req);

	if (request->is_long)
		fuse_req_interrupt_func(request->op.req, NULL, NULL);

	thread_take_seat(request->op.unique, request->op.node, request->op.opcode);
	op_serve(fs, &request->op, request->serve);
	thread_leave_seat();
}

/* Called by libfuse, which keeps @req until this returns, though it is answered here. */
static void request_interrupted(fuse_req_t req, void *data)
{
	struct request *request = data;

	if (!jobs_cancel(request->jobs, &request->job))
		return;
	fuse_reply_err(req, EINTR);
	free(request);
}

static struct request *request_new(struct jobs *jobs, const struct op *op, request_serve serve)
{
	const size_t n_text = op->text ? strlen(op->text) + 1 : 0;
	struct request *request;

	request = calloc(1, sizeof(*request) + n_text);
	if (!request)
		return NULL;
	request->job.run = request_run;
	request->jobs = jobs;
	request->serve = serve;
	request->op = *op;
	if (n_text > 0)
		request->op.text = memcpy(request->text, op->text, n_text);
	return request;
}

/* In the thread that read it. */
static void serve_at_once(const struct op *op, request_serve serve)
{
	struct op own = *op;

	op_serve(fuse_req_userdata(op->req), &own, serve);
}

void request_defer(struct jobs *jobs, const struct op *op, request_serve serve)
{
	struct request *request;

	if (op->record) {
		serve_at_once(op, serve);
		return;
	}

	request = request_new(jobs, op, serve);
	if (request)
		jobs_post(jobs, &request->job);
	else
		fuse_reply_err(op->req, ENOMEM);
}

void request_defer_sure(struct jobs *jobs, const struct op *op, request_serve serve)
{
	struct request *request = request_new(jobs, op, serve);

	if (request)
		jobs_post(jobs, &request->job);
	else
		serve_at_once(op, serve);
}

void request_defer_long(struct jobs *jobs, const struct op *op, request_serve serve)
{
	struct request *request;

	if (op->record) {
		serve_at_once(op, serve);
		return;
	}

	request = request_new(jobs, op, serve);
	if (!request) {
		fuse_reply_err(op->req, ENOMEM);
		return;
	}

	/* Called from in here, for a request that is interrupted already, the function must not
	 * answer: nobody would keep the request. So it is set first, when there is nothing to take
	 * out of the queue. */
	request->is_long = true;
	fuse_req_interrupt_func(op->req, request_interrupted, request);
	if (jobs_post(jobs, &request->job))
		return;

	fuse_req_interrupt_func(op->req, NULL, NULL);
	free(request);
	fuse_reply_err(op->req, EINTR);
}

static bool is_unwanted(void *context)
{
	const struct op *op = context;
	const struct fs *fs = fuse_req_userdata(op->req);

	return fuse_req_interrupted(op->req) ||
	       atomic_load_explicit(&fs->xending, memory_order_relaxed);
}

struct zr_stop request_stop(struct op *op)
{
	return (struct zr_stop){ .is_wanted = is_unwanted, .context = op };
}
