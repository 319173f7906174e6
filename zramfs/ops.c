/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "snapshot.h"
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

static int disk_resize(struct fs *fs, struct zr_disk *disk, uint64_t size_bytes, unsigned int n_own)
{
	int r;

	/* Not truncate: if the disk grows meanwhile, that would shrink it. */
	if (size_bytes >= zr_disk_size(disk))
		return zr_disk_extend(disk, size_bytes);

	r = handles_claim(&fs->handles, disk, n_own);
	if (r < 0)
		return r;
	r = zr_disk_truncate(disk, thread_self.ctx, size_bytes);
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

static int disk_setattr(struct fs *fs, struct zr_disk *disk, const struct op *op)
{
	const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME |
			  FUSE_SET_ATTR_MTIME_NOW;
	int r = 0;

	if (op->to_set & FUSE_SET_ATTR_SIZE)
		r = disk_resize(fs, disk, (uint64_t)op->attr.st_size, op->has_handle);
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

/* A new disk of size 0 with the configured defaults, pinned. */
static int disk_create(struct fs *fs, const struct op *op, struct zr_disk **diskp)
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

	r = zr_store_add(fs->store, thread_self.ctx, &spec, diskp);
	if (r == 0)
		fs_directory_changed(fs);
	return r;
}

int ops_mknod(struct fs *fs, struct op *op)
{
	struct fuse_entry_param entry;
	struct zr_disk *disk = NULL;
	int r;

	if (!S_ISREG(op->mode))
		return -EPERM;
	r = disk_create(fs, op, &disk);
	if (r < 0)
		return r;

	r = entry_make(fs, node_of(disk->id, NODE_KIND_DISK), &entry);
	zr_disk_unpin(fs->store, disk);
	if (r < 0)
		return r;
	fuse_reply_entry(op->req, &entry);
	return REQUEST_ANSWERED;
}

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

/* Takes over the pin of @disk, whatever comes of it. */
static int disk_open(struct fs *fs, struct zr_disk *disk, struct fuse_file_info *fi)
{
	const bool claimed = open_truncates(disk, fi);
	int r = 0, truncated = 0;
	uint64_t fh = 0;

	/* Truncation arrives inside OPEN, and no SETATTR follows. */
	if (claimed)
		r = handles_claim(&fs->handles, disk, 0);
	if (r < 0) {
		zr_disk_unpin(fs->store, disk);
		return r;
	}

	/* The handle first: data that was truncated for an open that then fails would be lost. */
	r = handles_open_disk(&fs->handles, disk, claimed ? HANDLES_CLAIMED : HANDLES_WAIT, &fh);
	if (r == 0 && claimed)
		truncated = zr_disk_truncate(disk, thread_self.ctx, 0);
	if (claimed)
		handles_unclaim(&fs->handles, disk);
	if (r < 0) {
		zr_disk_unpin(fs->store, disk);
		return r;
	}

	/* It may have gone while its claim was waited for: ESTALE makes the kernel look again. */
	r = zr_disk_is_removed(disk) ? -ESTALE : truncated;
	if (r < 0)
		handles_close(&fs->handles, fh);
	else
		file_is_open(fi, fh);
	return r;
}

int ops_create(struct fs *fs, struct op *op)
{
	struct fuse_entry_param entry;
	struct zr_disk *disk = NULL;
	uint64_t node;
	int r;

	r = disk_create(fs, op, &disk);
	if (r == -EEXIST && !(op->fi.flags & O_EXCL)) {
		disk = zr_store_find(fs->store, op->name);
		r = disk ? 0 : -ESTALE; /* it came and went: the kernel looks again */
	}
	if (r < 0)
		return r;

	node = node_of(disk->id, NODE_KIND_DISK);
	r = disk_open(fs, disk, &op->fi);
	if (r < 0)
		return r;
	r = entry_make(fs, node, &entry);
	if (r < 0 || fuse_reply_create(op->req, &entry, &op->fi) < 0)
		handles_close(&fs->handles, op->fi.fh);
	return r < 0 ? r : REQUEST_ANSWERED;
}

/* Answer with an open file. */
static int open_answer(struct fs *fs, struct op *op)
{
	/* An open that was interrupted is never released. */
	if (fuse_reply_open(op->req, &op->fi) < 0)
		handles_close(&fs->handles, op->fi.fh);
	return REQUEST_ANSWERED;
}

static int open_waiting(struct fs *fs, struct op *op)
{
	struct zr_disk *disk = zr_store_get(fs->store, node_disk_id(op->node));
	int r;

	r = disk ? disk_open(fs, disk, &op->fi) : -ESTALE;
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
	if (!open_truncates(disk, &op->fi))
		r = handles_open_disk(&fs->handles, disk, HANDLES_AT_ONCE, &fh);
	if (r < 0)
		zr_disk_unpin(fs->store, disk);

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
	int r;

	if (node_is_disk(op->node))
		return open_at_once(fs, op);

	r = vfile_open(fs, op, &fh);
	if (r < 0)
		return r;
	file_is_open(&op->fi, fh);
	return open_answer(fs, op);
}

int ops_remove_disk(struct fs *fs, struct zr_disk *disk)
{
	int r;

	/* A swap device must not vanish. */
	r = handles_claim(&fs->handles, disk, 0);
	if (r < 0)
		return r;
	if (zr_disk_is_removed(disk))
		r = -ENOENT;
	else
		zr_store_remove(fs->store, disk);
	handles_unclaim(&fs->handles, disk);
	if (r == 0)
		fs_directory_changed(fs);
	return r;
}

int ops_unlink(struct fs *fs, struct op *op)
{
	const uint64_t node = tree_find(fs->store, op->node, op->name);
	struct zr_disk *disk;
	int r;

	if (node == NODE_STATS) {
		zr_store_reset_counters(fs->store);
		return 0;
	}
	if (op->node != NODE_ROOT || (node != 0 && !node_is_disk(node)))
		return -EPERM;

	disk = zr_store_get(fs->store, node_disk_id(node));
	if (!disk)
		return -ENOENT;
	r = ops_remove_disk(fs, disk);
	zr_disk_unpin(fs->store, disk);
	return r;
}

/* @replaced may be NULL. */
static int disk_rename(struct fs *fs, struct zr_disk *disk, struct zr_disk *replaced,
		       const char *name, bool no_replace)
{
	int r;

	if (replaced == disk)
		return 0;
	if (replaced && no_replace)
		return -EEXIST;

	r = replaced ? handles_claim(&fs->handles, replaced, 0) : 0;
	if (r < 0)
		return r;
	r = zr_store_rename(fs->store, disk, name, replaced);
	if (replaced)
		handles_unclaim(&fs->handles, replaced);
	if (r == 0)
		fs_directory_changed(fs);
	return r;
}

/* Somebody who takes a name between two tries this often means it. */
#define RENAME_TRIES 16u

int ops_rename(struct fs *fs, struct op *op)
{
	const uint64_t node = tree_find(fs->store, op->node, op->name);
	struct zr_disk *disk, *replaced;
	unsigned int n_tries = 0;
	int r;

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
	/* Another may come to have the name while the one that had it is claimed. */
	do {
		replaced = zr_store_find(fs->store, op->new_name);
		r = disk_rename(fs, disk, replaced, op->new_name, op->flags & RENAME_NOREPLACE);
		zr_disk_unpin(fs->store, replaced);
	} while (r == -EEXIST && !(op->flags & RENAME_NOREPLACE) && ++n_tries < RENAME_TRIES);
	zr_disk_unpin(fs->store, disk);
	return r;
}

/* listing */

int ops_readdir(struct fs *fs, struct op *op)
{
	const size_t room = zr_min(op->n_bytes, THREAD_REPLY_BYTES);
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
