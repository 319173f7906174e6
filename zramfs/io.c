/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"
#include "vfile.h"

static struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The disk behind a request, or NULL for a virtual file. */
static struct zr_disk *disk_of(fuse_req_t req, const struct fuse_file_info *fi)
{
	return handles_get(&fs_of(req)->handles, fi->fh)->disk;
}

struct bad_page_job {
	struct job job;
	struct fs *fs;
	uint64_t disk_id;
};

static void bad_page_run(struct job *job)
{
	const struct bad_page_job *bad = (const struct bad_page_job *)job;
	struct zr_disk *disk = zr_store_get(bad->fs->store, bad->disk_id);
	struct zr_attrs attrs;

	if (!disk)
		return;
	zr_disk_attrs(disk, &attrs);
	log_line("disk %s: a page does not decode, who asked for it got an I/O error; see "
		 "UndecodablePages in .stats",
		 attrs.name);
	zr_disk_unpin(bad->fs->store, disk);
}

static int64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Said by a job, since saying may block, and once a second at most. */
static void bad_page_say(struct fs *fs, const struct zr_disk *disk)
{
	static _Atomic int64_t next_ns;
	const int64_t now = now_ns(CLOCK_MONOTONIC_COARSE);
	int64_t next = atomic_load(&next_ns);
	struct bad_page_job *job;

	if (now < next || !atomic_compare_exchange_strong(&next_ns, &next, now + 1000000000))
		return;

	job = calloc(1, sizeof(*job));
	if (!job)
		return;
	job->job.run = bad_page_run;
	job->fs = fs;
	job->disk_id = disk->id;
	jobs_post(&fs->changes, &job->job);
}

/* A request on a disk was served, since @begin_ns, and is about to be answered: once it is, the
 * disk may go. */
static void served(struct zr_latency *latency, int64_t begin_ns)
{
	zr_latency_add(latency, (uint64_t)(now_ns(CLOCK_MONOTONIC) - begin_ns));
}

/* Answer with an error: the last use of @req. */
static void disk_failed(fuse_req_t req, const struct zr_disk *disk, int r)
{
	if (r == -EIO)
		bad_page_say(fs_of(req), disk);
	fuse_reply_err(req, -r);
}

void io_read(fuse_req_t req, fuse_ino_t ino, size_t n_bytes, off_t offset,
	     struct fuse_file_info *fi)
{
	const int64_t begin_ns = now_ns(CLOCK_MONOTONIC);
	struct zr_disk *disk = disk_of(req, fi);
	size_t n_read = 0;
	int r;

	if (!disk) {
		vfile_read(req, ino, n_bytes, offset, fi);
		return;
	}
	if (n_bytes > THREAD_REPLY_BYTES) { /* more than was agreed at INIT */
		fuse_reply_err(req, EIO);
		return;
	}

	r = zr_disk_read(disk, thread_self.ctx, (uint64_t)offset, thread_self.reply, n_bytes,
			 &n_read);
	served(&disk->entry->read_latency, begin_ns);
	if (r < 0) {
		disk_failed(req, disk, r);
		return;
	}
	fuse_reply_buf(req, (const char *)thread_self.reply, n_read);
}

void io_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t n_bytes, off_t offset,
	      struct fuse_file_info *fi)
{
	const int64_t begin_ns = now_ns(CLOCK_MONOTONIC);
	struct zr_disk *disk = disk_of(req, fi);
	size_t n_written;
	uint64_t size;
	int r;

	if (!disk) {
		vfile_write(req, ino, bytes, n_bytes, offset, fi);
		return;
	}

	/* A file that grew may have grown by less. But a buffered loop device takes a short write
	 * for a whole one, and a direct one gets EIO for it: what lies within the disk is written
	 * whole or refused with its own errno, whatever pages were done. */
	size = zr_disk_size(disk);
	r = zr_disk_write(disk, thread_self.ctx, (uint64_t)offset, bytes, n_bytes, &n_written);
	served(&disk->entry->write_latency, begin_ns);
	if (r < 0 && (n_written == 0 || (uint64_t)offset + n_bytes <= size))
		disk_failed(req, disk, r);
	else
		fuse_reply_write(req, n_written);
}

/* Only what is really done is accepted: 0 for a mode that is ignored would be silent corruption. */
static int disk_fallocate(struct zr_disk *disk, int mode, uint64_t offset, uint64_t n_bytes)
{
	int r = 0;

	switch (mode) {
	case 0: /* promises nothing but the size */
		return zr_disk_extend(disk, offset + n_bytes);
	case FALLOC_FL_KEEP_SIZE:
		return 0;
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		return zr_disk_punch(disk, thread_self.ctx, offset, n_bytes);
	case FALLOC_FL_ZERO_RANGE:
		r = zr_disk_extend(disk, offset + n_bytes);
		return r < 0 ? r : zr_disk_punch(disk, thread_self.ctx, offset, n_bytes);
	default:
		return -EOPNOTSUPP;
	}
}

void io_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t n_bytes,
		  struct fuse_file_info *fi)
{
	struct zr_disk *disk = disk_of(req, fi);
	int r;

	if (!disk)
		r = -EINVAL;
	else if (offset < 0 || n_bytes <= 0)
		r = -EINVAL;
	else
		r = disk_fallocate(disk, mode, (uint64_t)offset, (uint64_t)n_bytes);
	fuse_reply_err(req, -r);
}

void io_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct zr_disk *disk = disk_of(req, fi);
	uint64_t found = 0;
	int r;

	if (!disk || offset < 0)
		r = -EINVAL;
	else if (whence == SEEK_DATA)
		r = zr_disk_seek_data(disk, (uint64_t)offset, &found);
	else if (whence == SEEK_HOLE)
		r = zr_disk_seek_hole(disk, (uint64_t)offset, &found);
	else
		r = -EINVAL;

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_lseek(req, (off_t)found);
}

/* Nothing here is persistent. Not ENOSYS: the kernel would never ask again, not even a version that
 * has something to write. */
void io_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

void io_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}
