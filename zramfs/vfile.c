/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "vfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "hot.h"
#include "snapshot.h"
#include "stats.h"
#include "tree.h"

/* what an attribute is asked of */

struct subject {
	struct zr_attr_target target;
	struct zr_disk_spec defaults;
};

/* Return: 0, or -ENOENT for a disk that is gone. */
static int subject_init(struct subject *subject, struct fs *fs, struct op *op)
{
	struct zr_disk *disk = NULL;

	if (node_disk_id(op->node) != 0) {
		disk = zr_store_get(fs->store, node_disk_id(op->node));
		if (!disk)
			return -ENOENT;
	}
	fs_defaults(fs, &subject->defaults);
	subject->target = (struct zr_attr_target){ .store = fs->store,
						   .disk = disk,
						   .ctx = fs->ctx,
						   .defaults = &subject->defaults.attrs,
						   .n_threads = fs->n_threads,
						   .stop = request_stop(op),
						   .daemon = fs->daemon };
	return 0;
}

static void subject_deinit(struct subject *subject)
{
	zr_disk_unpin(subject->target.store, subject->target.disk);
}

/* opening */

static bool is_long(uint64_t node)
{
	const struct zr_attr *attr = tree_attr(node);

	return attr && attr->flags & ZR_ATTR_LONG;
}

bool vfile_opens_long(uint64_t node, int open_flags)
{
	return is_long(node) && (open_flags & O_ACCMODE) != O_WRONLY;
}

static int permit(uint64_t node, int open_flags)
{
	const unsigned int mode = tree_mode(node);
	const int access = open_flags & O_ACCMODE;

	if (mode == 0)
		return -ENOENT;
	/* As sysfs does, for root too: nobody reads what cannot be read. */
	if ((access != O_WRONLY && !(mode & 0444)) || (access != O_RDONLY && !(mode & 0222)))
		return -EACCES;
	return 0;
}

static unsigned int count_open(void *context, unsigned int entry_no)
{
	struct fs *fs = context;

	return handles_count_entry(&fs->handles, entry_no);
}

static int attr_render(struct fs *fs, struct op *op, struct handle *wanted)
{
	const struct zr_attr *attr = tree_attr(op->node);
	char *text = (char *)thread_self.reply;
	struct subject subject;
	int r;

	if (attr->stream)
		return stream_new(&wanted->stream, attr);

	r = subject_init(&subject, fs, op);
	if (r < 0)
		return r;
	r = attr->show ? attr->show(&subject.target, text, ZR_ATTR_TEXT_MAX) : 0;
	subject_deinit(&subject);
	if (r < 0)
		return r;

	/* It is kept until the file is closed: no more of it than there is. */
	wanted->n_text = (size_t)r;
	wanted->text = malloc(wanted->n_text + 1);
	if (!wanted->text)
		return -ENOMEM;
	memcpy(wanted->text, text, wanted->n_text);
	return 0;
}

_Static_assert(ZR_ATTR_TEXT_MAX <= THREAD_JOB_REPLY_BYTES, "what is shown fits a reply");

/* Return: text that lasts until this thread answers, or NULL. */
static const char *safety_render(const struct fs *fs)
{
	char *text = (char *)thread_self.reply;
	int n;

	if (!fs->daemon)
		return NULL;
	n = fs->daemon->print_safety(fs->daemon->context, text, ZR_ATTR_TEXT_MAX - 1);
	if (n < 0)
		return NULL;
	text[n] = 0;
	return text;
}

static int render(struct fs *fs, struct op *op, struct handle *wanted)
{
	const struct zr_stats_context context = {
		.safety = op->node == NODE_METRICS ? safety_render(fs) : NULL,
		.version = ZRAMFS_VERSION,
		.generation = atomic_load(&fs->shelf->generation),
		.poisoned_requests = atomic_load(&fs->shelf->poisoned_requests),
		.n_open = count_open,
		.context = fs,
	};

	switch (op->node) {
	case NODE_STATS:
		return zr_stats_text(fs->store, &context, &wanted->text, &wanted->n_text);
	case NODE_STATS_JSON:
		return zr_stats_json(fs->store, &context, &wanted->text, &wanted->n_text);
	case NODE_METRICS:
		return zr_stats_metrics(fs->store, &context, &wanted->text, &wanted->n_text);
	default:
		return attr_render(fs, op, wanted);
	}
}

static bool is_trusted(const struct fs *fs, uint32_t uid)
{
	return uid == 0 || uid == fs->uid;
}

static void rendered_free(struct handle *rendered)
{
	free(rendered->text);
	stream_free(rendered->stream);
}

int vfile_open(struct fs *fs, struct op *op, uint64_t *fhp)
{
	const uint32_t uid = (uint32_t)fuse_req_ctx(op->req)->uid;
	struct handle wanted = { .node = op->node, .opened_by = op->unique, .uid = uid };
	int r;

	r = permit(op->node, op->fi.flags);
	if (r == 0 && (op->fi.flags & O_ACCMODE) != O_WRONLY)
		r = render(fs, op, &wanted);
	if (r == 0)
		r = handles_open_virtual(&fs->handles, &wanted, is_trusted(fs, uid), fhp);
	if (r < 0)
		rendered_free(&wanted);
	return r;
}

/* reading */

static int stream_serve(struct fs *fs, struct op *op)
{
	const size_t n_bytes = zr_min(op->n_bytes, thread_self.n_reply - STREAM_ROOM);
	struct stream *stream = handles_get(&fs->handles, op->fi.fh)->stream;
	struct subject subject;
	ssize_t r;

	r = subject_init(&subject, fs, op);
	if (r < 0)
		return -ENODEV;
	r = stream_read(stream, &subject.target, (uint64_t)op->offset, (char *)thread_self.reply,
			n_bytes);
	subject_deinit(&subject);
	if (r < 0)
		return (int)r;
	fuse_reply_buf(op->req, (const char *)thread_self.reply, (size_t)r);
	return REQUEST_ANSWERED;
}

/* From what was rendered. */
static void text_answer(const struct op *op, const struct handle *handle)
{
	const uint64_t offset = (uint64_t)op->offset;
	size_t n_bytes;

	if (op->offset < 0 || offset >= handle->n_text) {
		fuse_reply_buf(op->req, NULL, 0);
		return;
	}

	/* Once it is answered the client may close the handle, and its text is gone. */
	n_bytes = zr_min(zr_min(op->n_bytes, thread_self.n_reply), handle->n_text - offset);
	memcpy(thread_self.reply, handle->text + offset, n_bytes);
	fuse_reply_buf(op->req, (const char *)thread_self.reply, n_bytes);
}

/* Text of a former generation is gone: another, as if the file was opened now. */
static int lost_serve(struct fs *fs, struct op *op)
{
	const struct handle *handle = handles_get(&fs->handles, op->fi.fh);
	struct handle rendered = { 0 };
	int r;

	r = render(fs, op, &rendered);
	if (r == 0)
		r = handles_restore(&fs->handles, op->fi.fh, &rendered,
				    is_trusted(fs, handle->uid));
	if (r < 0) {
		rendered_free(&rendered);
		return r;
	}
	if (handle->stream)
		return stream_serve(fs, op);
	text_answer(op, handle);
	return REQUEST_ANSWERED;
}

static void lost_read(struct fs *fs, const struct op *op, const struct handle *handle)
{
	/* Who has read it all asks whether there is more. */
	if ((uint64_t)op->offset >= handle->n_text && handle->n_text != HANDLES_TEXT_UNKNOWN &&
	    op->offset > 0)
		fuse_reply_buf(op->req, NULL, 0);
	else if (op->offset != 0)
		fuse_reply_err(op->req, ESTALE);
	else if (is_long(op->node))
		request_defer_long(&fs->work, op, lost_serve);
	else
		request_defer(&fs->names, op, lost_serve);
}

void vfile_read(fuse_req_t req, uint64_t node, size_t n_bytes, off_t offset,
		const struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	const struct handle *handle = handles_get(&fs->handles, fi->fh);
	struct op op = request_op(req, node);

	op.fi = *fi;
	op.n_bytes = n_bytes;
	op.offset = offset;
	if (!handle)
		fuse_reply_err(req, ESTALE);
	else if (handle->is_lost)
		lost_read(fs, &op, handle);
	else if (handle->stream)
		request_defer_long(&fs->changes, &op, stream_serve);
	else
		text_answer(&op, handle);
}

/* control writes */

static int attr_apply(struct fs *fs, struct op *op)
{
	const struct zr_attr *attr = tree_attr(op->node);
	struct subject subject;
	int r = 0;

	if (!attr || !attr->apply)
		return -EACCES;
	if (subject_init(&subject, fs, op) < 0)
		return -ENODEV;

	if (attr->check)
		r = attr->check(op->text);
	if (r == 0)
		r = change_attr(fs, op, attr, &subject.target);
	subject_deinit(&subject);
	return r;
}

static int stats_apply(struct fs *fs, const char *text)
{
	if (strcmp(text, "0") != 0)
		return -EINVAL;
	zr_store_reset_counters(fs->store);
	return 0;
}

static int write_apply(struct fs *fs, struct op *op)
{
	const struct fuse_ctx *caller = fuse_req_ctx(op->req);

	switch (op->node) {
	case NODE_STATS:
		return stats_apply(fs, op->text);
	case NODE_HOT_ADD:
		return hot_add(fs, op, caller->uid, caller->gid);
	case NODE_HOT_REMOVE:
		return hot_remove(fs, op);
	default:
		return attr_apply(fs, op);
	}
}

static int write_serve(struct fs *fs, struct op *op)
{
	int r;

	r = request_is_done(op) ? -op->record->error : write_apply(fs, op);
	if (r < 0)
		return r;
	fuse_reply_write(op->req, op->n_bytes);
	return REQUEST_ANSWERED;
}

void vfile_write(fuse_req_t req, uint64_t node, const char *bytes, size_t n_bytes, off_t offset,
		 const struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	char text[ZR_ATTR_VALUE_MAX + 1];
	size_t n_text = n_bytes;
	struct op op;

	if (n_text > 0 && bytes[n_text - 1] == '\n')
		--n_text;
	if (fi->flags & O_APPEND)
		offset = 0;
	if (offset != 0 || n_bytes > ZR_ATTR_VALUE_MAX || memchr(bytes, 0, n_text)) {
		fuse_reply_err(req, EINVAL);
		return;
	}

	memcpy(text, bytes, n_text);
	text[n_text] = 0;
	op = request_op(req, node);
	op.n_bytes = n_bytes;
	op.text = text;
	request_defer_long(is_long(node) ? &fs->work : &fs->changes, &op, write_serve);
}
