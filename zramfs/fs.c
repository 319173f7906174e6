/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "io.h"
#include "ops.h"
#include "rings.h"
#include "tree.h"
#include "vfile.h"

#define MMAP_THRESHOLD (64 << 10)

/* Threads of each kind of job. A change may wait 200 ms for a RELEASE, or for another's claim. */
#define THREADS_NAMES   4u
#define THREADS_CHANGES 4u
#define THREADS_WORK    2u

/* One record for each thread that changes disks, and one for who reads the configuration again; all
 * others of former generations are gone by then. */
_Static_assert(THREADS_CHANGES + 1 <= SHELF_RECORDS, "a record is free");
_Static_assert(ZR_THREADS_MAX + THREADS_NAMES + THREADS_CHANGES + THREADS_WORK <
		       SHELF_SEATS - IO_SEATS,
	       "every thread has a seat, and the last ones are taken");

static void queues_init(struct fs *fs)
{
	struct seat *seats = fs->shelf->seats + fs->n_threads;

	jobs_init(&fs->names, seats, false);
	/* Dropping all of a large disk is no hang. */
	jobs_init(&fs->changes, seats + THREADS_NAMES, true);
	jobs_init(&fs->work, seats + THREADS_NAMES + THREADS_CHANGES, true);
}

int fs_start(struct fs *fs)
{
	int r;

	r = zr_ctx_new(&fs->ctx);
	if (r == 0)
		r = jobs_start(&fs->names, "zramfs-names", THREADS_NAMES, false);
	if (r == 0)
		r = jobs_start(&fs->changes, "zramfs-changes", THREADS_CHANGES, false);
	if (r == 0)
		r = jobs_start(&fs->work, "zramfs-work", THREADS_WORK, false);
	if (r < 0)
		return r;
	jobs_lock(&fs->names);
	jobs_lock(&fs->changes);
	jobs_lock(&fs->work);
	return 0;
}

int fs_let_wait(struct fs *fs)
{
	int r;

	/* What a former generation left undone is done later, once changes are allowed. */
	records_lock_now(&fs->records);
	r = zr_ctx_let_wait(fs->ctx);
	records_unlock(&fs->records);
	return r;
}

void fs_calm(struct fs *fs)
{
	jobs_calm(&fs->names);
	jobs_calm(&fs->changes);
	jobs_calm(&fs->work);
}

int fs_init(struct fs *fs, struct zr_store *store, struct shelf *shelf,
	    const struct zr_disk_spec *defaults, unsigned int n_threads)
{
	/* What statistics of many disks take goes back to the system when it is closed. Left to
	 * itself the threshold rises with what was freed. */
	mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);

	fs->store = store;
	fs->shelf = shelf;
	fs->uid = (uint32_t)geteuid();
	fs->gid = (uint32_t)getegid();
	fs->n_threads = n_threads;
	pthread_mutex_init(&fs->lock, NULL);
	fs_set_defaults(fs, defaults);
	clock_gettime(CLOCK_REALTIME, &fs->changed);

	queues_init(fs);
	fs->ready = eventfd(0, EFD_CLOEXEC);
	return fs->ready < 0 ? -errno : 0;
}

int fs_load(struct fs *fs)
{
	int r;

	r = handles_init(&fs->handles, fs->store, fs->shelf);
	if (r < 0)
		return r;
	records_init(&fs->records, fs->shelf);
	records_recover(&fs->records, fs->store, fs->ctx, &fs->defaults.attrs);
	fs_directory_changed(fs);
	return 0;
}

bool fs_is_idle(struct fs *fs)
{
	return jobs_are_idle(&fs->names) && jobs_are_idle(&fs->changes);
}

void fs_drain(struct fs *fs)
{
	atomic_store(&fs->xending, true);
	/* A job of names may post one of changes. */
	jobs_stop(&fs->names);
	jobs_stop(&fs->changes);
	jobs_stop(&fs->work);
}

void fs_deinit(struct fs *fs)
{
	fs_drain(fs);
	fs->ctx = zr_ctx_free(fs->ctx);
	records_deinit(&fs->records);
	handles_deinit(&fs->handles, false);
	close(fs->ready);
	pthread_mutex_destroy(&fs->lock);
}

void fs_defaults(struct fs *fs, struct zr_disk_spec *spec)
{
	pthread_mutex_lock(&fs->lock);
	*spec = fs->defaults;
	pthread_mutex_unlock(&fs->lock);
}

void fs_set_defaults(struct fs *fs, const struct zr_disk_spec *spec)
{
	pthread_mutex_lock(&fs->lock);
	fs->defaults = *spec;
	pthread_mutex_unlock(&fs->lock);
}

void fs_directory_changed(struct fs *fs)
{
	struct zr_store_usage usage;

	zr_store_usage(fs->store, &usage);
	atomic_store(&fs->shelf->n_disks, (uint32_t)usage.n_disks);
	pthread_mutex_lock(&fs->lock);
	clock_gettime(CLOCK_REALTIME, &fs->changed);
	pthread_mutex_unlock(&fs->lock);
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

/* As in sysfs, a page; and 0, as in /proc, for what may be longer: tail(1) would look for the end
 * of the text at the end of the file. */
static off_t virtual_size(uint64_t node)
{
	const struct zr_attr *attr = tree_attr(node);

	if (node == NODE_STATS || node == NODE_STATS_JSON || node == NODE_METRICS)
		return 0;
	return attr && attr->stream ? 0 : ZR_PAGE_SIZE;
}

static void other_stat(struct fs *fs, uint64_t node, struct stat *st)
{
	const unsigned int mode = tree_mode(node);

	st->st_uid = fs->uid;
	st->st_gid = fs->gid;
	if (mode != 0) { /* a virtual file; its length is known when it is opened */
		st->st_mode = S_IFREG | mode;
		st->st_nlink = 1;
		st->st_size = virtual_size(node);
		st->st_blocks = st->st_size / 512;
	} else {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
	}

	pthread_mutex_lock(&fs->lock);
	st->st_atim = st->st_mtim = st->st_ctim = fs->changed;
	pthread_mutex_unlock(&fs->lock);
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
	else if (tree_is_directory(node) || tree_mode(node) != 0)
		other_stat(fs, node, st);
	zr_disk_unpin(fs->store, disk);
	return st->st_mode == 0 ? -ENOENT : 0;
}

/* requests that become jobs */

static struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* Too long a name stays too long: it is cut past what any disk can have. */
static void name_copy(char name[REQUEST_NAME_BYTES], const char *from)
{
	snprintf(name, REQUEST_NAME_BYTES, "%s", from);
}

static struct op op_of(fuse_req_t req, fuse_ino_t node, const char *name)
{
	struct op op = request_op(req, node);

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
	conn->max_write = fs->rings ? rings_entries(fs->rings)->n_payload : THREAD_REPLY_BYTES;
	conn->max_background = FS_MAX_BACKGROUND;
	conn->congestion_threshold = FS_MAX_BACKGROUND * 3 / 4;
	conn->time_gran = 1;

	if (write(fs->ready, &one, sizeof(one)) < 0)
		abort(); /* an eventfd takes a 1 */
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct op op = op_of(req, parent, name);

	request_defer(&fs_of(req)->names, &op, ops_lookup);
}

static void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	const struct op op = op_of(req, node, NULL);

	request_defer(&fs_of(req)->names, &op, ops_getattr);
}

static void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct op op = op_of(req, node, NULL);

	op.attr = *attr;
	op.to_set = to_set;
	op.has_handle = fi != NULL;
	/* Shrinking may have much to drop. */
	request_defer(to_set & FUSE_SET_ATTR_SIZE ? &fs_of(req)->changes : &fs_of(req)->names, &op,
		      ops_setattr);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	struct op op = op_of(req, parent, name);

	op.mode = mode;
	request_defer(&fs_of(req)->changes, &op, ops_mknod);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct op op = op_of(req, parent, name);

	op.mode = mode;
	op.fi = *fi;
	request_defer(&fs_of(req)->changes, &op, ops_create);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct op op = op_of(req, parent, name);

	request_defer(&fs_of(req)->changes, &op, ops_unlink);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned int flags)
{
	struct op op = op_of(req, parent, name);

	op.new_parent = new_parent;
	name_copy(op.new_name, new_name);
	op.flags = flags;
	request_defer(&fs_of(req)->changes, &op, ops_rename);
}

static void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct op op = op_of(req, node, NULL);

	op.fi = *fi;
	if (vfile_opens_long(node, fi->flags))
		request_defer_long(&fs_of(req)->work, &op, ops_open);
	else
		request_defer(&fs_of(req)->names, &op, ops_open);
}

/* Never refused: nobody would release it again. */
static void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct op op = op_of(req, node, NULL);

	op.fi = *fi;
	request_defer_sure(&fs_of(req)->names, &op, ops_release);
}

static void op_readdir(fuse_req_t req, fuse_ino_t node, size_t n_bytes, off_t offset,
		       struct fuse_file_info *fi)
{
	struct op op = op_of(req, node, NULL);

	op.n_bytes = n_bytes;
	op.offset = offset;
	request_defer(&fs_of(req)->names, &op, ops_readdir);
}

static void op_statfs(fuse_req_t req, fuse_ino_t node)
{
	const struct op op = op_of(req, node, NULL);

	request_defer(&fs_of(req)->names, &op, ops_statfs);
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
