/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "attr.h"
#include "io.h"
#include "ops.h"
#include "vfile.h"

/* Requests on a disk that the kernel may have under way: 12, its default, throttles a loop device.
 */
#define MAX_BACKGROUND 1024u

int fs_init(struct fs *fs, struct zr_store *store, const struct zr_disk_spec *defaults)
{
	int r;

	fs->store = store;
	fs->defaults = *defaults;
	fs->uid = (uint32_t)geteuid();
	fs->gid = (uint32_t)getegid();
	pthread_mutex_init(&fs->changed_lock, NULL);
	clock_gettime(CLOCK_REALTIME, &fs->changed);

	fs->ready = eventfd(0, EFD_CLOEXEC);
	if (fs->ready < 0)
		return -errno;
	r = handles_init(&fs->handles, store);
	if (r < 0)
		return r;
	return jobs_start(&fs->jobs);
}

void fs_deinit(struct fs *fs)
{
	jobs_stop(&fs->jobs);
	handles_deinit(&fs->handles);
	close(fs->ready);
	pthread_mutex_destroy(&fs->changed_lock);
}

/* attributes of nodes */

static struct timespec time_of(const _Atomic int64_t *ns)
{
	const int64_t value = atomic_load_explicit(ns, memory_order_relaxed);
	int64_t seconds = value / 1000000000, rest = value % 1000000000;

	if (rest < 0) {
		--seconds;
		rest += 1000000000;
	}
	return (struct timespec){ .tv_sec = seconds, .tv_nsec = rest };
}

static void disk_stat(struct zr_disk *disk, struct stat *st)
{
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
	st->st_mode = S_IFREG | attrs.mode;
	st->st_nlink = 1;
	st->st_uid = attrs.uid;
	st->st_gid = attrs.gid;
	st->st_size = (off_t)zr_disk_size(disk);
	st->st_blocks = (blkcnt_t)(zr_disk_orig_bytes(disk) / 512);
	st->st_atim = time_of(&disk->entry->atime_ns);
	st->st_mtim = time_of(&disk->entry->mtime_ns);
	st->st_ctim = time_of(&disk->entry->ctime_ns);
}

static void other_stat(struct fs *fs, uint64_t node, struct stat *st)
{
	const unsigned int mode = vfile_mode(node);

	st->st_uid = fs->uid;
	st->st_gid = fs->gid;
	if (mode != 0) { /* a virtual file; its length is known when it is opened: like sysfs */
		st->st_mode = S_IFREG | mode;
		st->st_nlink = 1;
		st->st_size = ZR_PAGE_SIZE;
		st->st_blocks = ZR_PAGE_SIZE / 512;
	} else {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
	}

	pthread_mutex_lock(&fs->changed_lock);
	st->st_atim = st->st_mtim = st->st_ctim = fs->changed;
	pthread_mutex_unlock(&fs->changed_lock);
}

static bool node_is_directory(uint64_t node)
{
	return node == NODE_ROOT || node == NODE_CONTROL ||
	       (node_disk_id(node) != 0 && node_kind(node) == NODE_KIND_DISK_CONTROL);
}

int fs_stat(struct fs *fs, uint64_t node, struct stat *st)
{
	struct zr_disk *disk = NULL;

	*st = (struct stat){ .st_ino = node, .st_blksize = ZR_PAGE_SIZE };
	if (node_disk_id(node) != 0) {
		disk = zr_store_get(fs->store, node_disk_id(node));
		if (!disk)
			return -ENOENT;
	}

	if (node_is_disk(node))
		disk_stat(disk, st);
	else if (node_is_directory(node) || vfile_mode(node) != 0)
		other_stat(fs, node, st);
	zr_disk_unpin(fs->store, disk);
	return st->st_mode == 0 ? -ENOENT : 0;
}

/* requests that become jobs: each is copied whole, then served by its function */

struct request_job {
	struct job job;
	struct op op;
	int (*serve)(struct fs *fs, struct op *op);
};

static void request_run(struct job *job)
{
	struct request_job *wanted = (struct request_job *)job;
	struct fs *fs = fuse_req_userdata(wanted->op.req);
	int r;

	r = wanted->serve(fs, &wanted->op);
	if (r <= 0)
		fuse_reply_err(wanted->op.req, -r);
}

static void defer(const struct op *op, int (*serve)(struct fs *fs, struct op *op))
{
	struct fs *fs = fuse_req_userdata(op->req);
	struct request_job *wanted = malloc(sizeof(*wanted));

	if (!wanted) {
		fuse_reply_err(op->req, ENOMEM);
		return;
	}
	wanted->job.run = request_run;
	wanted->op = *op;
	wanted->serve = serve;
	jobs_post(&fs->jobs, &wanted->job);
}

/* Too long a name stays too long: it is cut past what any disk can have. */
static void name_copy(char name[OP_NAME_BYTES], const char *from)
{
	snprintf(name, OP_NAME_BYTES, "%s", from);
}

static struct op op_of(fuse_req_t req, fuse_ino_t node, const char *name)
{
	struct op op = { .req = req, .node = node };

	if (name)
		name_copy(op.name, name);
	return op;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	const uint64_t one = 1;

	/* Every byte is touched, so splicing pages gains nothing. Nobody else takes suid bits away
	 * on a write, so the kernel must go on doing it. */
	conn->want &= ~(unsigned int)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				      FUSE_CAP_SPLICE_MOVE | FUSE_CAP_HANDLE_KILLPRIV);
	conn->max_write = THREAD_REPLY_BYTES;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	conn->time_gran = 1;

	if (write(fs->ready, &one, sizeof(one)) < 0)
		abort(); /* an eventfd takes a 1 */
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct op op = op_of(req, parent, name);

	defer(&op, ops_lookup);
}

static void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	const struct op op = op_of(req, node, NULL);

	defer(&op, ops_getattr);
}

static void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct op op = op_of(req, node, NULL);

	op.attr = *attr;
	op.to_set = to_set;
	op.has_handle = fi != NULL;
	defer(&op, ops_setattr);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	struct op op = op_of(req, parent, name);

	op.mode = mode;
	defer(&op, ops_mknod);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct op op = op_of(req, parent, name);

	op.mode = mode;
	op.fi = *fi;
	defer(&op, ops_create);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct op op = op_of(req, parent, name);

	defer(&op, ops_unlink);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned int flags)
{
	struct op op = op_of(req, parent, name);

	op.new_parent = new_parent;
	name_copy(op.new_name, new_name);
	op.flags = flags;
	defer(&op, ops_rename);
}

static void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct op op = op_of(req, node, NULL);

	op.fi = *fi;
	defer(&op, ops_open);
}

static void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);

	handles_close(&fs->handles, fi->fh);
	fuse_reply_err(req, 0);
}

static void op_readdir(fuse_req_t req, fuse_ino_t node, size_t n_bytes, off_t offset,
		       struct fuse_file_info *fi)
{
	struct op op = op_of(req, node, NULL);

	op.n_bytes = n_bytes;
	op.offset = offset;
	defer(&op, ops_readdir);
}

static void op_statfs(fuse_req_t req, fuse_ino_t node)
{
	const struct op op = op_of(req, node, NULL);

	defer(&op, ops_statfs);
}

/* Disks have one name, and nothing here but disks can be made. */

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	fuse_reply_err(req, EPERM);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EPERM);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EPERM);
}

static void op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t new_parent, const char *new_name)
{
	fuse_reply_err(req, EPERM);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.create = op_create,
	.unlink = op_unlink,
	.rename = op_rename,
	.open = op_open,
	.release = op_release,
	.readdir = op_readdir,
	.statfs = op_statfs,
	.mkdir = op_mkdir,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.link = op_link,
	.read = io_read,
	.write = io_write,
	.fallocate = io_fallocate,
	.lseek = io_lseek,
	.fsync = io_fsync,
	.flush = io_flush,
};
