/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "vfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "stats.h"

static const struct zr_attr *attr_of(uint64_t node)
{
	const struct zr_attr *attr;

	if (node_disk_id(node) == 0 || node_kind(node) < NODE_KIND_ATTR)
		return NULL;
	attr = zr_attr_at(node_kind(node) - NODE_KIND_ATTR);
	return attr && attr->flags & ZR_ATTR_CONTROL ? attr : NULL;
}

unsigned int vfile_mode(uint64_t node)
{
	const struct zr_attr *attr = attr_of(node);

	if (node == NODE_STATS)
		return 0444;
	return attr ? attr->mode : 0;
}

int vfile_permit(struct fs *fs, uint64_t node, int open_flags)
{
	const unsigned int mode = vfile_mode(node);
	const int access = open_flags & O_ACCMODE;

	if (mode == 0)
		return -ENOENT;
	/* As sysfs does, for root too: nobody reads what cannot be read. */
	if ((access != O_WRONLY && !(mode & 0444)) || (access != O_RDONLY && !(mode & 0222)))
		return -EACCES;
	return 0;
}

static unsigned int count_open(void *context, const struct zr_disk *disk)
{
	struct fs *fs = context;

	return handles_count(&fs->handles, disk);
}

static int attr_render(struct fs *fs, uint64_t node, char **textp, size_t *n_textp)
{
	const struct zr_attr *attr = attr_of(node);
	ZR_CLEANUP(zr_freep) char *text = NULL;
	struct zr_disk *disk;
	int n_text = 0;

	disk = zr_store_get(fs->store, node_disk_id(node));
	if (!disk)
		return -ENOENT;

	text = malloc(ZR_ATTR_TEXT_MAX);
	if (!text)
		n_text = -ENOMEM;
	else if (attr->show)
		n_text = attr->show(disk, text, ZR_ATTR_TEXT_MAX);
	zr_disk_unpin(fs->store, disk);
	if (n_text < 0)
		return n_text;

	*textp = ZR_STEAL(text);
	*n_textp = (size_t)n_text;
	return 0;
}

int vfile_render(struct fs *fs, uint64_t node, char **textp, size_t *n_textp)
{
	if (node == NODE_STATS)
		return zr_stats_text(fs->store, count_open, fs, textp, n_textp);
	return attr_render(fs, node, textp, n_textp);
}

void vfile_read(fuse_req_t req, const struct handle *handle, size_t n_bytes, off_t offset)
{
	if (offset < 0 || (uint64_t)offset >= handle->n_text) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}

	/* Once it is answered the client may close the handle, and its text is gone. */
	n_bytes = zr_min(zr_min(n_bytes, THREAD_REPLY_BYTES), handle->n_text - (size_t)offset);
	memcpy(thread_self.reply, handle->text + offset, n_bytes);
	fuse_reply_buf(req, (const char *)thread_self.reply, n_bytes);
}

/* control writes */

struct write_job {
	struct job job;
	fuse_req_t req;
	uint64_t node;
	size_t n_bytes; /* as written, newline included */
	char text[ZR_ATTR_TEXT_MAX];
};

static int attr_apply(struct fs *fs, const struct zr_attr *attr, struct zr_disk *disk,
		      const char *text)
{
	int r = 0;

	if (attr->flags & ZR_ATTR_UNUSED)
		r = handles_claim(&fs->handles, disk, 0);
	if (r < 0)
		return r;

	r = attr->apply(disk, thread_self.ctx, &fs->defaults.attrs, text);
	if (attr->flags & ZR_ATTR_UNUSED)
		handles_unclaim(&fs->handles, disk);
	return r;
}

static void write_run(struct job *job)
{
	struct write_job *wanted = (struct write_job *)job;
	struct fs *fs = fuse_req_userdata(wanted->req);
	const struct zr_attr *attr = attr_of(wanted->node);
	struct zr_disk *disk = NULL;
	int r = -EACCES;

	if (attr && attr->apply) {
		disk = zr_store_get(fs->store, node_disk_id(wanted->node));
		r = disk ? attr_apply(fs, attr, disk, wanted->text) : -ENODEV;
		zr_disk_unpin(fs->store, disk);
	}

	if (r < 0)
		fuse_reply_err(wanted->req, -r);
	else
		fuse_reply_write(wanted->req, wanted->n_bytes);
}

void vfile_write(fuse_req_t req, uint64_t node, const char *bytes, size_t n_bytes, off_t offset,
		 int open_flags)
{
	struct fs *fs = fuse_req_userdata(req);
	size_t n_text = n_bytes;
	struct write_job *job;

	if (n_text > 0 && bytes[n_text - 1] == '\n')
		--n_text;
	if (open_flags & O_APPEND)
		offset = 0;
	if (offset != 0 || n_text >= ZR_ATTR_TEXT_MAX || memchr(bytes, 0, n_text)) {
		fuse_reply_err(req, EINVAL);
		return;
	}

	job = malloc(sizeof(*job));
	if (!job) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	job->job.run = write_run;
	job->req = req;
	job->node = node;
	job->n_bytes = n_bytes;
	memcpy(job->text, bytes, n_text);
	job->text[n_text] = 0;
	jobs_post(&fs->jobs, &job->job);
}
