/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "attr.h"
#include "vfile.h"

/* names */

static bool name_is_virtual(const char *name)
{
	return strcmp(name, ".stats") == 0 || strcmp(name, ".control") == 0;
}

static int disk_name_check(const char *name)
{
	const char *why;

	if (strlen(name) > ZR_NAME_MAX)
		return -ENAMETOOLONG;
	return zr_disk_name_check(name, &why);
}

/* The node of @name in directory @parent. Return: 0 if there is none. */
static uint64_t node_find(struct fs *fs, uint64_t parent, const char *name)
{
	struct zr_disk *disk;
	const struct zr_attr *attr;
	uint64_t node = 0;
	unsigned int i;

	if (parent == NODE_ROOT && strcmp(name, ".stats") == 0)
		return NODE_STATS;
	if (parent == NODE_ROOT && strcmp(name, ".control") == 0)
		return NODE_CONTROL;

	if (parent == NODE_ROOT || parent == NODE_CONTROL) {
		disk = zr_store_find(fs->store, name);
		if (disk)
			node = node_of(disk->id, parent == NODE_ROOT ? NODE_KIND_DISK
								     : NODE_KIND_DISK_CONTROL);
		zr_disk_unpin(fs->store, disk);
		return node;
	}

	for (i = 0; (attr = zr_attr_at(i)); ++i) {
		if (attr->flags & ZR_ATTR_CONTROL && strcmp(attr->name, name) == 0)
			return node_of(node_disk_id(parent), NODE_KIND_ATTR + i);
	}
	return 0;
}

/* Disks come and go through jobs, and sizes through control files: nothing is cached. */
static int entry_make(struct fs *fs, uint64_t node, struct fuse_entry_param *entry)
{
	*entry = (struct fuse_entry_param){ .ino = node, .generation = 1 };
	return fs_stat(fs, node, &entry->attr);
}

int ops_lookup(struct fs *fs, struct op *op)
{
	const uint64_t node = node_find(fs, op->node, op->name);
	struct fuse_entry_param entry;
	int r;

	if (node == 0)
		return -ENOENT;
	r = entry_make(fs, node, &entry);
	if (r < 0)
		return r;
	fuse_reply_entry(op->req, &entry);
	return OPS_ANSWERED;
}

int ops_getattr(struct fs *fs, struct op *op)
{
	struct stat st;
	int r;

	r = fs_stat(fs, op->node, &st);
	if (r < 0)
		return r;
	fuse_reply_attr(op->req, &st, 0);
	return OPS_ANSWERED;
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
		if (vfile_mode(op->node) == 0 ||
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

static void directory_changed(struct fs *fs)
{
	pthread_mutex_lock(&fs->changed_lock);
	clock_gettime(CLOCK_REALTIME, &fs->changed);
	pthread_mutex_unlock(&fs->changed_lock);
}

/* A new disk of size 0 with the configured defaults, pinned. */
static int disk_create(struct fs *fs, const struct op *op, struct zr_disk **diskp)
{
	const struct fuse_ctx *caller = fuse_req_ctx(op->req);
	struct zr_disk_spec spec = fs->defaults;
	int r;

	if (op->node != NODE_ROOT)
		return -EPERM;
	r = disk_name_check(op->name);
	if (r < 0)
		return r;

	memset(spec.attrs.name, 0, sizeof(spec.attrs.name));
	memcpy(spec.attrs.name, op->name, strlen(op->name));
	spec.disksize_bytes = 0;
	spec.attrs.mode = op->mode & 07777;
	spec.attrs.uid = caller->uid;
	spec.attrs.gid = caller->gid;

	r = zr_store_add(fs->store, thread_self.ctx, &spec, diskp);
	if (r == 0)
		directory_changed(fs);
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
	return OPS_ANSWERED;
}

/* What the kernel is told of an open file. Direct, so that sizes and errors are ours to say. */
static void file_is_open(struct fuse_file_info *fi, uint64_t fh)
{
	fi->fh = fh;
	fi->direct_io = 1;
	fi->noflush = 1;
}

/* Takes over the pin of @disk, whatever comes of it. */
static int disk_open(struct fs *fs, struct zr_disk *disk, struct fuse_file_info *fi)
{
	const bool claimed = fi->flags & O_TRUNC && zr_disk_size(disk) > 0;
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
	r = handles_open_disk(&fs->handles, disk, claimed, &fh);
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
	return r < 0 ? r : OPS_ANSWERED;
}

static int vfile_open(struct fs *fs, const struct op *op, struct fuse_file_info *fi)
{
	char *text = NULL;
	size_t n_text = 0;
	uint64_t fh = 0;
	int r;

	r = vfile_permit(fs, op->node, fi->flags);
	if (r == 0 && (fi->flags & O_ACCMODE) != O_WRONLY)
		r = vfile_render(fs, op->node, &text, &n_text);
	if (r == 0)
		r = handles_open_text(&fs->handles, op->node, text, n_text, &fh);
	if (r < 0) {
		free(text);
		return r;
	}
	file_is_open(fi, fh);
	return 0;
}

int ops_open(struct fs *fs, struct op *op)
{
	struct zr_disk *disk;
	int r;

	if (node_is_disk(op->node)) {
		disk = zr_store_get(fs->store, node_disk_id(op->node));
		r = disk ? disk_open(fs, disk, &op->fi) : -ESTALE;
	} else {
		r = vfile_open(fs, op, &op->fi);
	}
	if (r < 0)
		return r;

	/* An open that was interrupted is never released. */
	if (fuse_reply_open(op->req, &op->fi) < 0)
		handles_close(&fs->handles, op->fi.fh);
	return OPS_ANSWERED;
}

int ops_unlink(struct fs *fs, struct op *op)
{
	struct zr_disk *disk;
	int r;

	if (op->node != NODE_ROOT || name_is_virtual(op->name))
		return -EPERM;
	disk = zr_store_find(fs->store, op->name);
	if (!disk)
		return -ENOENT;

	/* A swap device must not vanish. */
	r = handles_claim(&fs->handles, disk, 0);
	if (r == 0) {
		zr_store_remove(fs->store, disk);
		handles_unclaim(&fs->handles, disk);
		directory_changed(fs);
	}
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
		directory_changed(fs);
	return r;
}

int ops_rename(struct fs *fs, struct op *op)
{
	struct zr_disk *disk, *replaced;
	int r;

	if (op->flags & ~(unsigned int)RENAME_NOREPLACE)
		return -EINVAL;
	if (op->node != NODE_ROOT || op->new_parent != NODE_ROOT || name_is_virtual(op->name))
		return -EPERM;
	r = disk_name_check(op->new_name);
	if (r < 0)
		return r;

	disk = zr_store_find(fs->store, op->name);
	if (!disk)
		return -ENOENT;
	replaced = zr_store_find(fs->store, op->new_name);
	r = disk_rename(fs, disk, replaced, op->new_name, op->flags & RENAME_NOREPLACE);
	zr_disk_unpin(fs->store, replaced);
	zr_disk_unpin(fs->store, disk);
	return r;
}

/* listing */

struct dir_entry {
	char name[OP_NAME_BYTES];
	uint64_t node;
	off_t next; /* where to go on */
};

static bool entry_set(struct dir_entry *entry, const char *name, uint64_t node, off_t next)
{
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	entry->node = node;
	entry->next = next;
	return true;
}

/* Disks in the order of their ids: offset @base + id is after that disk, whatever came or went. */
static bool dir_next_disk(struct fs *fs, off_t offset, off_t base, unsigned int kind,
			  struct dir_entry *entry)
{
	struct zr_disk *disk = zr_store_next(fs->store, (uint64_t)(offset - base));
	struct zr_attrs attrs;

	if (!disk)
		return false;
	zr_disk_attrs(disk, &attrs);
	entry_set(entry, attrs.name, node_of(disk->id, kind), base + (off_t)disk->id);
	zr_disk_unpin(fs->store, disk);
	return true;
}

static bool dir_next_attr(uint64_t dir, off_t offset, off_t base, struct dir_entry *entry)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = (unsigned int)(offset - base); (attr = zr_attr_at(i)); ++i) {
		if (attr->flags & ZR_ATTR_CONTROL)
			return entry_set(entry, attr->name,
					 node_of(node_disk_id(dir), NODE_KIND_ATTR + i),
					 base + i + 1);
	}
	return false;
}

/* The entry of @dir at @offset. Return: false at the end. */
static bool dir_next(struct fs *fs, uint64_t dir, off_t offset, struct dir_entry *entry)
{
	if (offset == 0)
		return entry_set(entry, ".", dir, 1);
	if (offset == 1)
		return entry_set(entry, "..", node_disk_id(dir) ? NODE_CONTROL : NODE_ROOT, 2);

	if (dir == NODE_ROOT && offset == 2)
		return entry_set(entry, ".stats", NODE_STATS, 3);
	if (dir == NODE_ROOT && offset == 3)
		return entry_set(entry, ".control", NODE_CONTROL, 4);

	if (dir == NODE_ROOT)
		return dir_next_disk(fs, offset, 4, NODE_KIND_DISK, entry);
	if (dir == NODE_CONTROL)
		return dir_next_disk(fs, offset, 2, NODE_KIND_DISK_CONTROL, entry);
	return dir_next_attr(dir, offset, 2, entry);
}

int ops_readdir(struct fs *fs, struct op *op)
{
	const size_t room = zr_min(op->n_bytes, THREAD_REPLY_BYTES);
	char *at = (char *)thread_self.reply;
	struct dir_entry entry;
	off_t offset = op->offset;
	size_t used = 0, n;

	while (dir_next(fs, op->node, offset, &entry)) {
		/* Only the type is looked at. */
		struct stat st = { .st_ino = entry.node,
				   .st_mode = node_is_disk(entry.node) || vfile_mode(entry.node)
						      ? S_IFREG
						      : S_IFDIR };

		n = fuse_add_direntry(op->req, at + used, room - used, entry.name, &st, entry.next);
		if (n > room - used)
			break;
		used += n;
		offset = entry.next;
	}
	fuse_reply_buf(op->req, at, used);
	return OPS_ANSWERED;
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
	return OPS_ANSWERED;
}
