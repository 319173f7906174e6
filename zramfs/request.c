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

static void request_run(struct job *job)
{
	struct request *request = (struct request *)job;
	struct fs *fs = fuse_req_userdata(request->op.req);
	int r;

	if (request->is_long)
		fuse_req_interrupt_func(request->op.req, NULL, NULL);

	r = request->serve(fs, &request->op);
	if (r <= 0)
		fuse_reply_err(request->op.req, -r);
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

void request_defer(struct jobs *jobs, const struct op *op, request_serve serve)
{
	struct request *request = request_new(jobs, op, serve);

	if (request)
		jobs_post(jobs, &request->job);
	else
		fuse_reply_err(op->req, ENOMEM);
}

void request_defer_long(struct jobs *jobs, const struct op *op, request_serve serve)
{
	struct request *request = request_new(jobs, op, serve);

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
