/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "change.h"
#include "crash.h"
#include "request.h"
#include "snapshot.h"
#include "tiering.h"
#include "tree.h"
#include "vfile.h"

/* names */

static int disk_name_check(const char *name)
{
	const char *why;

	if (strlen(name) > ZR_NAME_MAX)
		return -ENAMETOOLONG;
	return zr_disk_name_check(name, &why);
}

/* Disks come and go through jobs, and sizes through control files: nothing is cached. */
static int entry_make(struct fs *fs, uint64_t node, struct fuse_entry_param *entry)
{
	*entry = (struct fuse_entry_param){ .ino = node, .generation = 1 };
	return fs_stat(fs, node, &entry->attr);
}

int ops_lookup(struct fs *fs, struct op *op)
{
	const uint64_t node = tree_find(fs->store, op->node, op->name);
	struct fuse_entry_param entry;
	int r;

	if (node == 0)
		return -ENOENT;
	r = entry_make(fs, node, &entry);
	if (r < 0)
		return r;
	fuse_reply_entry(op->req, &entry);
	return REQUEST_ANSWERED;
}

int ops_getattr(struct fs *fs, struct op *op)
{
	struct stat st;
	int r;

	r = fs_stat(fs, op->node, &st);
	if (r < 0)
		return r;
	fuse_reply_attr(op->req, &st, 0);
	return REQUEST_ANSWERED;
}

/* changing attributes */

static int disk_resize(struct fs *fs, struct zr_disk *disk, struct op *op)
{
	const uint64_t size_bytes = (uint64_t)op->attr.st_size;
	const unsigned int n_own = op->has_handle;
	int r;

	if (request_is_done(op))
		return -op->record->error;
	/* Not truncate: if the disk grows meanwhile, that would shrink it. */
	if (size_bytes >= zr_disk_size(disk))
		return zr_disk_extend(disk, size_bytes);

	r = handles_claim(&fs->handles, disk, n_own);
	if (r < 0)
		return r;
	r = change_truncate(fs, op, disk, size_bytes, n_own, 0);
	handles_unclaim(&fs->handles, disk);
	return r;
}

static int disk_set_owner(struct zr_disk *disk, const struct op *op)
{
	struct zr_attrs attrs;

	zr_disk_attrs(disk, &attrs);
	return zr_disk_set_owner(disk,
				 op->to_set & FUSE_SET_ATTR_MODE ? op->attr.st_mode & 07777
								 : attrs.mode,
				 op->to_set & FUSE_SET_ATTR_UID ? op->attr.st_uid : attrs.uid,
				 op->to_set & FUSE_SET_ATTR_GID ? op->attr.st_gid : attrs.gid);
}

/* 64 bits of nanoseconds are the years 1678 to 2261; what lies outside becomes the nearest. */
static int64_t ns_of(const struct timespec *time)
{
	const int64_t limit = INT64_MAX / 1000000000 - 1;

	if (time->tv_sec > limit)
		return limit * 1000000000;
	if (time->tv_sec < -limit)
		return -limit * 1000000000;
	return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static void disk_set_times(struct zr_disk *disk, const struct op *op)
{
	const int set = op->to_set;
	struct timespec now;
	int64_t atime, mtime;

	clock_gettime(CLOCK_REALTIME, &now);
	atime = ns_of(set & FUSE_SET_ATTR_ATIME_NOW ? &now : &op->attr.st_atim);
	mtime = ns_of(set & FUSE_SET_ATTR_MTIME_NOW ? &now : &op->attr.st_mtim);
	zr_disk_set_times(disk,
			  set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW) ? &atime : NULL,
			  set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW) ? &mtime : NULL);
}

/* What follows the size is done again if it must be: the same twice is the same. */
static int disk_setattr(struct fs *fs, struct zr_disk *disk, struct op *op)
{
	const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME |
			  FUSE_SET_ATTR_MTIME_NOW;
	int r = 0;

	if (op->to_set & FUSE_SET_ATTR_SIZE)
		r = disk_resize(fs, disk, op);
	if (r == 0 && op->to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		r = disk_set_owner(disk, op);
	if (r == 0 && op->to_set & times)
		disk_set_times(disk, op);
	return r;
}

int ops_setattr(struct fs *fs, struct op *op)
{
	struct zr_disk *disk;
	int r;

	if (!node_is_disk(op->node)) {
		/* "echo 1 > reset" truncates first: nothing to do, and nothing else may be set. */
		if (tree_mode(op->node) == 0 ||
		    op->to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
			return -EPERM;
		return ops_getattr(fs, op);
	}

	disk = zr_store_get(fs->store, node_disk_id(op->node));
	if (!disk)
		return -ENOENT;
	r = disk_setattr(fs, disk, op);
	zr_disk_unpin(fs->store, disk);
	return r < 0 ? r : ops_getattr(fs, op);
}

/* making, removing, renaming */

int ops_make_disk(struct fs *fs, struct op *op, const struct zr_disk_spec *spec,
		  struct zr_disk **diskp)
{
	struct zr_disk_spec held = *spec;
	int r;

	/* A file may take long to open: before the lock that all changes want. */
	r = tiering_hold(fs->tiering, &held, request_stop(op));
	if (r < 0)
		return r;
	r = change_make(fs, op, &held, diskp);
	tiering_release(fs->tiering, &held);
	return r;
}

/* A new disk of size 0 with the configured defaults, pinned. */
static int disk_create(struct fs *fs, struct op *op, struct zr_disk **diskp)
{
	const struct fuse_ctx *caller = fuse_req_ctx(op->req);
	struct zr_disk_spec spec;
	int r;

	if (op->node != NODE_ROOT)
		return -EACCES;
	r = disk_name_check(op->name);
	if (r < 0)
		return r;

	fs_defaults(fs, &spec);
	memset(spec.attrs.name, 0, sizeof(spec.attrs.name));
	memcpy(spec.attrs.name, op->name, strlen(op->name));
	spec.disksize_bytes = 0;
	spec.attrs.mode = op->mode & 07777;
	spec.attrs.uid = caller->uid;
	spec.attrs.gid = caller->gid;

	r = ops_make_disk(fs, op, &spec, diskp);
	if (r == 0)
		fs_directory_changed(fs);
	return r;
}

/* Answer with the file of a disk that was made. */
static int made_answer(struct fs *fs, struct op *op, uint64_t disk_id)
{
	struct fuse_entry_param entry;
	int r;

	r = entry_make(fs, node_of(disk_id, NODE_KIND_DISK), &entry);
	if (r < 0)
		return r;
	fuse_reply_entry(op->req, &entry);
	return REQUEST_ANSWERED;
}

int ops_mknod(struct fs *fs, struct op *op)
{
	struct zr_disk *disk = NULL;
	uint64_t disk_id;
	int r;

	if (request_is_done(op))
		return op->record->error ? -op->record->error
					 : made_answer(fs, op, op->record->disk_id);
	if (!S_ISREG(op->mode))
		return -EPERM;
	r = disk_create(fs, op, &disk);
	if (r < 0)
		return r;

	disk_id = disk->id;
	zr_disk_unpin(fs->store, disk);
	return made_answer(fs, op, disk_id);
}

/* opening */

/* What the kernel is told of an open file. Direct, so that sizes and errors are ours to say. */
static void file_is_open(struct fuse_file_info *fi, uint64_t fh)
{
	fi->fh = fh;
	fi->direct_io = 1;
	fi->noflush = 1;
}

static bool open_truncates(const struct zr_disk *disk, const struct fuse_file_info *fi)
{
	return fi->flags & O_TRUNC && zr_disk_size(disk) > 0;
}

/* The handle of @op: what a former generation opened for it, and did not live to say. */
static bool handle_find(struct fs *fs, const struct op *op, uint64_t *fhp)
{
	return op->is_resent && handles_find(&fs->handles, op->unique, fhp);
}

/* A handle for @op. Takes over the pin of @disk, whatever comes of it. */
static int handle_open(struct fs *fs, struct zr_disk *disk, const struct op *op,
		       enum handles_claimed how, uint64_t *fhp)
{
	int r = 0;

	if (handle_find(fs, op, fhp)) {
		zr_disk_unpin(fs->store, disk);
		return 0;
	}
	r = handles_open_disk(&fs->handles, disk, how, op->unique,
			      (uint32_t)fuse_req_ctx(op->req)->uid, fhp);
	if (r < 0)
		zr_disk_unpin(fs->store, disk);
	return r;
}

/* Truncation arrives inside OPEN, and no SETATTR follows. The handle comes first: data that was
 * truncated for an open that then fails would be lost. */
static int open_truncating(struct fs *fs, struct zr_disk *disk, struct op *op, uint64_t *fhp)
{
	uint64_t fh = 0;
	int r;

	r = handles_claim(&fs->handles, disk, handle_find(fs, op, &fh));
	if (r < 0) {
		handles_close(&fs->handles, fh);
		zr_disk_unpin(fs->store, disk);
		return r;
	}

	r = handle_open(fs, disk, op, HANDLES_CLAIMED, &fh);
	if (r == 0)
		r = change_truncate(fs, op, disk, 0, 1, fh);
	handles_unclaim(&fs->handles, disk);
	if (r < 0)
		handles_close(&fs->handles, fh);
	else
		*fhp = fh;
	return r;
}

/* Takes over the pin of @disk, whatever comes of it. */
static int disk_open(struct fs *fs, struct zr_disk *disk, struct op *op)
{
	uint64_t fh = 0;
	int r;

	/* What this very request has made is empty, whatever somebody has done to it since. */
	if (!op->record && open_truncates(disk, &op->fi))
		r = open_truncating(fs, disk, op, &fh);
	else
		r = handle_open(fs, disk, op, HANDLES_WAIT, &fh);
	if (r < 0)
		return r;

	/* It may have gone while its claim was waited for: ESTALE makes the kernel look again. */
	if (zr_disk_is_removed(disk)) {
		handles_close(&fs->handles, fh);
		return -ESTALE;
	}
	file_is_open(&op->fi, fh);
	return 0;
}

/* Answer with an open file. */
static int open_answer(struct fs *fs, struct op *op)
{
	ZR_CRASH("opened");
	/* An open that was interrupted is never released. */
	if (fuse_reply_open(op->req, &op->fi) < 0)
		handles_close(&fs->handles, op->fi.fh);
	return REQUEST_ANSWERED;
}

static int create_answer(struct fs *fs, struct op *op, uint64_t disk_id)
{
	struct fuse_entry_param entry;
	int r;

	ZR_CRASH("opened");
	r = entry_make(fs, node_of(disk_id, NODE_KIND_DISK), &entry);
	if (r < 0 || fuse_reply_create(op->req, &entry, &op->fi) < 0)
		handles_close(&fs->handles, op->fi.fh);
	return r < 0 ? r : REQUEST_ANSWERED;
}

/* What a former generation made or truncated, open. Nobody who claimed it can have begun yet, so no
 * claim is waited for. */
static int done_open(struct fs *fs, struct op *op)
{
	const struct record *record = op->record;
	struct zr_disk *disk;
	uint64_t fh = 0;
	int r;

	if (record->error) {
		handles_close(&fs->handles, record->fh);
		return -record->error;
	}

	disk = zr_store_get(fs->store, record->disk_id);
	if (!disk)
		return -ESTALE;
	r = handle_open(fs, disk, op, HANDLES_CLAIMED, &fh);
	if (r == 0)
		file_is_open(&op->fi, fh);
	return r;
}

/* The disk that is to be created: a new one, the one that was opened by a former generation, or the
 * one that is there. Pinned. */
static int create_disk(struct fs *fs, struct op *op, struct zr_disk **diskp)
{
	uint64_t fh;
	int r;

	if (handle_find(fs, op, &fh)) {
		*diskp = zr_store_get(fs->store, node_disk_id(handles_get(&fs->handles, fh)->node));
		if (!*diskp)
			handles_close(&fs->handles, fh);
		return *diskp ? 0 : -ESTALE;
	}

	r = disk_create(fs, op, diskp);
	if (r == -EEXIST && !(op->fi.flags & O_EXCL)) {
		*diskp = zr_store_find(fs->store, op->name);
		r = *diskp ? 0 : -ESTALE; /* it came and went: the kernel looks again */
	}
	return r;
}

int ops_create(struct fs *fs, struct op *op)
{
	struct zr_disk *disk = NULL;
	uint64_t disk_id;
	int r;

	if (request_is_done(op)) {
		r = done_open(fs, op);
		return r < 0 ? r : create_answer(fs, op, op->record->disk_id);
	}

	r = create_disk(fs, op, &disk);
	if (r < 0)
		return r;
	disk_id = disk->id;
	r = disk_open(fs, disk, op);
	return r < 0 ? r : create_answer(fs, op, disk_id);
}

static int open_waiting(struct fs *fs, struct op *op)
{
	struct zr_disk *disk = zr_store_get(fs->store, node_disk_id(op->node));
	int r;

	r = disk ? disk_open(fs, disk, op) : -ESTALE;
	return r < 0 ? r : open_answer(fs, op);
}

/* An open that would wait, or drop data, is none of the names' business. */
static int open_at_once(struct fs *fs, struct op *op)
{
	struct zr_disk *disk = zr_store_get(fs->store, node_disk_id(op->node));
	uint64_t fh = 0;
	int r = -EAGAIN;

	if (!disk)
		return -ESTALE;
	if (open_truncates(disk, &op->fi))
		zr_disk_unpin(fs->store, disk);
	else
		r = handle_open(fs, disk, op, HANDLES_AT_ONCE, &fh);

	if (r == -EAGAIN) {
		request_defer(&fs->changes, op, open_waiting);
		return REQUEST_ANSWERED;
	}
	if (r < 0)
		return r;
	/* It may have been claimed, removed and let go since it was found. */
	if (zr_disk_is_removed(disk)) {
		handles_close(&fs->handles, fh);
		return -ESTALE;
	}
	file_is_open(&op->fi, fh);
	return open_answer(fs, op);
}

int ops_open(struct fs *fs, struct op *op)
{
	uint64_t fh = 0;
	int r = 0;

	if (request_is_done(op)) {
		r = done_open(fs, op);
		return r < 0 ? r : open_answer(fs, op);
	}
	if (node_is_disk(op->node))
		return open_at_once(fs, op);

	/* What it is to show is rendered when it is read. */
	if (!handle_find(fs, op, &fh))
		r = vfile_open(fs, op, &fh);
	if (r < 0)
		return r;
	file_is_open(&op->fi, fh);
	return open_answer(fs, op);
}

int ops_release(struct fs *fs, struct op *op)
{
	handles_close(&fs->handles, op->fi.fh);
	ZR_CRASH("released");
	return 0;
}

/* removing, renaming */

int ops_remove_disk(struct fs *fs, struct op *op, struct zr_disk *disk, const char *name)
{
	int r;

	r = change_remove(fs, op, disk, name);
	if (r == 0)
		fs_directory_changed(fs);
	return r;
}

int ops_unlink(struct fs *fs, struct op *op)
{
	const uint64_t node = tree_find(fs->store, op->node, op->name);
	struct zr_disk *disk;
	int r;

	if (request_is_done(op))
		return -op->record->error;
	if (node == NODE_STATS) {
		zr_store_reset_counters(fs->store);
		return 0;
	}
	if (op->node != NODE_ROOT || (node != 0 && !node_is_disk(node)))
		return -EPERM;

	disk = zr_store_get(fs->store, node_disk_id(node));
	if (!disk)
		return -ENOENT;
	r = ops_remove_disk(fs, op, disk, op->name);
	zr_disk_unpin(fs->store, disk);
	return r;
}

int ops_rename(struct fs *fs, struct op *op)
{
	const uint64_t node = tree_find(fs->store, op->node, op->name);
	struct zr_disk *disk;
	int r;

	if (request_is_done(op))
		return -op->record->error;
	if (op->flags & ~(unsigned int)RENAME_NOREPLACE)
		return -EINVAL;
	if (op->node != NODE_ROOT || op->new_parent != NODE_ROOT ||
	    (node != 0 && !node_is_disk(node)))
		return -EPERM;
	r = disk_name_check(op->new_name);
	if (r < 0)
		return r;

	disk = zr_store_get(fs->store, node_disk_id(node));
	if (!disk)
		return -ENOENT;
	r = change_rename(fs, op, disk, op->new_name, op->flags & RENAME_NOREPLACE);
	zr_disk_unpin(fs->store, disk);
	if (r == 0)
		fs_directory_changed(fs);
	return r;
}

/* listing */

int ops_readdir(struct fs *fs, struct op *op)
{
	const size_t room = zr_min(op->n_bytes, thread_self.n_reply);
	char *at = (char *)thread_self.reply;
	struct tree_entry entry;
	int64_t offset = op->offset;
	size_t used = 0, n;

	while (tree_next(fs->store, op->node, offset, &entry)) {
		/* Only the type is looked at. */
		struct stat st = { .st_ino = entry.node,
				   .st_mode = tree_is_directory(entry.node) ? S_IFDIR : S_IFREG };

		n = fuse_add_direntry(op->req, at + used, room - used, entry.name, &st, entry.next);
		if (n > room - used)
			break;
		used += n;
		offset = entry.next;
	}
	fuse_reply_buf(op->req, at, used);
	return REQUEST_ANSWERED;
}

/* statfs */

/* Bytes that the system could still give without swapping; 0 if it does not say. */
static uint64_t memory_available(void)
{
	char line[128];
	uint64_t kib = 0;
	FILE *file;

	file = fopen("/proc/meminfo", "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	}
	fclose(file);
	return kib * 1024;
}

/* Used is what the disks hold; free is what could be held even if it did not compress. */
int ops_statfs(struct fs *fs, struct op *op)
{
	struct statvfs st = { .f_bsize = ZR_PAGE_SIZE,
			      .f_frsize = ZR_PAGE_SIZE,
			      .f_namemax = ZR_NAME_MAX,
			      .f_files = ZR_DISKS_MAX };
	struct zr_disk *disk, *next;
	uint64_t n_used = 0, n_disks = 0;

	for (disk = zr_store_next(fs->store, 0); disk; disk = next) {
		n_used += zr_disk_orig_bytes(disk) / ZR_PAGE_SIZE;
		++n_disks;
		next = zr_store_next(fs->store, disk->id);
		zr_disk_unpin(fs->store, disk);
	}
	st.f_bfree = st.f_bavail = memory_available() / ZR_PAGE_SIZE;
	st.f_blocks = n_used + st.f_bfree;
	st.f_ffree = st.f_favail = ZR_DISKS_MAX - n_disks;
	fuse_reply_statfs(op->req, &st);
	return REQUEST_ANSWERED;
}
