/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "backing-file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "backing-mark.h"
#include "backing-probe.h"
#include "backing.h"
#include "base.h"
#include "below.h"
#include "blocks.h"
#include "seal.h"

/* Of a write, and of what a device has at its start that could be taken for something. */
#define CHUNK_BYTES (UINT64_C(1) << 20)

/* A file while it is being opened. What it leaves when that fails is what was there before. */
struct opening {
	const struct backing_file_wish *wish;
	char *why;
	struct below_file found;
	int fd;
	bool is_device;
	bool is_new;              /* it was not there */
	bool is_taken;            /* from here on it is changed */
	bool is_ours, is_same;    /* it has a mark, of this inode */
	uint64_t size_before;     /* of what was there */
	uint64_t size_bytes;      /* that it is used up to */
	uint64_t written_bytes;   /* all below was written */
	struct backing_mark mark; /* that was there, then ours */
	struct backing_file file; /* that it becomes */
};

static void opening_end(struct opening *opening)
{
	if (opening->fd >= 0 && opening->is_new)
		(void)unlinkat(opening->found.parent, opening->found.name, 0);
	else if (opening->fd >= 0 && opening->is_taken && !opening->is_device &&
		 opening->size_bytes > opening->size_before)
		(void)!ftruncate(opening->fd, (off_t)opening->size_before);
	if (opening->fd >= 0)
		close(opening->fd);
	below_file_close(&opening->found);
}

__attribute__((format(printf, 4, 5))) static int refuse(char *why, const char *path, int error,
							const char *format, ...)
{
	va_list arguments;
	int n;

	n = snprintf(why, BACKING_WHY_MAX, "%.*s: ", (int)ZR_BACKING_PATH_MAX, path);
	va_start(arguments, format);
	vsnprintf(why + n, BACKING_WHY_MAX - (size_t)n, format, arguments);
	va_end(arguments);
	return error;
}

#define REFUSE(opening, ...) refuse((opening)->why, (opening)->wish->path, __VA_ARGS__)

static int refuse_errno(const struct opening *opening, int r)
{
	return REFUSE(opening, r, "%s", strerror(-r));
}

/* what there is */

static const char *kind_of(mode_t mode)
{
	if (S_ISDIR(mode))
		return "a directory";
	if (S_ISCHR(mode))
		return "a character device";
	return S_ISFIFO(mode) ? "a pipe" : "a socket";
}

static int wish_check(const struct opening *opening)
{
	const struct backing_file_wish *wish = opening->wish;

	if (wish->path[0] != '/')
		return REFUSE(opening, -EINVAL, "not an absolute path");
	if (strlen(wish->path) > ZR_BACKING_PATH_MAX)
		return REFUSE(opening, -ENAMETOOLONG, "longer than %u bytes", ZR_BACKING_PATH_MAX);
	if (wish->size_bytes && wish->size_bytes < BACKING_BYTES_MIN)
		return REFUSE(opening, -EINVAL, "backing_size %" PRIu64 " is below 1 MiB",
			      wish->size_bytes);
	if (wish->size_bytes > BACKING_BYTES_MAX)
		return REFUSE(opening, -EINVAL, "backing_size %" PRIu64 " is above 64 TiB",
			      wish->size_bytes);
	return 0;
}

/* What our mount will cover nobody would find again, to close it. */
static bool is_to_be_covered(const struct opening *opening)
{
	const char *mountpoint = opening->wish->mountpoint;
	struct stat st;

	return mountpoint && stat(mountpoint, &st) == 0 && below_is_under(&opening->found, &st);
}

static int opening_find(struct opening *opening)
{
	const struct backing_file_wish *wish = opening->wish;
	char what[BELOW_WHAT_MAX], loop[BACKING_PROBE_WHAT_MAX];
	int r;

	r = below_find(wish->path, wish->mount_device, &opening->found);
	if (r == -ELOOP)
		return REFUSE(opening, r, "lies on a mount of zramfs; a file elsewhere is wanted");
	if (r == -ENOENT)
		return REFUSE(opening, r, "its directory is not there; make that first");
	if (r < 0)
		return refuse_errno(opening, r);
	if (is_to_be_covered(opening))
		return REFUSE(opening, -ELOOP,
			      "lies where zramfs is to be mounted; a file elsewhere is wanted");
	opening->is_new = !opening->found.exists;
	opening->is_device = opening->found.exists && S_ISBLK(opening->found.st.st_mode);
	if (opening->is_new && wish->size_bytes == 0)
		return REFUSE(opening, -ENOENT, "not there; with a backing_size it is made");
	if (!opening->is_new && !opening->is_device && !S_ISREG(opening->found.st.st_mode))
		return REFUSE(opening, -ENOTBLK,
			      "is %s; a block device or a regular file is wanted",
			      kind_of(opening->found.st.st_mode));

	r = below_check(&opening->found, wish->mount_device, what);
	if (r == -ELOOP)
		return REFUSE(opening, r, "lies on %s; a file elsewhere is wanted", what);
	if (r < 0)
		return refuse_errno(opening, r);
	if (!opening->is_new && !opening->is_device &&
	    backing_probe_loop(&opening->found.st, wish->mount_device, loop))
		return REFUSE(opening, -EBUSY, "in use: /dev/%s is over it; losetup -d /dev/%s",
			      loop, loop);
	return 0;
}

/* Nobody else's */

/* What is being opened may have been replaced since it was found: O_NONBLOCK, and it is compared.
 * */
static int opening_open(struct opening *opening)
{
	const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC |
			  (opening->is_new ? O_CREAT | O_EXCL : 0) |
			  (opening->is_device ? O_EXCL : 0);
	struct stat st;

	opening->fd = openat(opening->found.parent, opening->found.name, flags, 0600);
	if (opening->fd < 0 && errno == EBUSY)
		return REFUSE(opening, -EBUSY,
			      "in use: mounted, swapped on, or part of another device");
	if (opening->fd < 0)
		return refuse_errno(opening, -errno);
	if (fstat(opening->fd, &st) < 0)
		return refuse_errno(opening, -errno);
	if (opening->is_new) {
		opening->found.st = st;
	} else if (st.st_dev != opening->found.st.st_dev || st.st_ino != opening->found.st.st_ino) {
		return REFUSE(opening, -EBUSY, "in use: somebody is replacing it");
	}
	if (opening->is_device)
		return 0;

	if (flock(opening->fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? REFUSE(opening, -EBUSY, "in use by another zramfs")
					    : refuse_errno(opening, -errno);
	/* Who had it may have removed it before they let it go. */
	if (fstat(opening->fd, &st) < 0 || st.st_nlink == 0)
		return REFUSE(opening, -EBUSY, "in use by another zramfs");
	return 0;
}

/* The kernel keeps everybody from writing to a file that it swaps to: a byte of it is asked for,
 * which changes nothing, since it is to be written anyway. */
static int swap_check(struct opening *opening)
{
	if (!opening->is_new && !opening->is_device &&
	    fallocate(opening->fd, FALLOC_FL_KEEP_SIZE, 0, 1) < 0 && errno == ETXTBSY)
		return REFUSE(opening, -EBUSY, "in use: an active swap file; swapoff %s",
			      opening->wish->path);
	return 0;
}

static int device_size(int fd, const struct stat *st, uint64_t *n_bytesp)
{
	if (!S_ISBLK(st->st_mode)) {
		*n_bytesp = (uint64_t)st->st_size;
		return 0;
	}
	return ioctl(fd, BLKGETSIZE64, n_bytesp) < 0 ? -errno : 0;
}

static int opening_size(struct opening *opening)
{
	const uint64_t wanted = opening->wish->size_bytes;
	uint64_t size;
	int r;

	r = device_size(opening->fd, &opening->found.st, &opening->size_before);
	if (r < 0)
		return refuse_errno(opening, r);
	size = opening->size_before;
	if (size == 0 && wanted == 0)
		return REFUSE(opening, -EINVAL, "is empty; a backing_size is wanted");
	if (opening->is_device && wanted > size)
		return REFUSE(opening, -EINVAL,
			      "backing_size is %" PRIu64 ", but the device has %" PRIu64 " bytes",
			      wanted, size);
	size = zr_align_down(zr_min(wanted ? wanted : size, BACKING_BYTES_MAX), ZR_BLOCK_BYTES);
	if (size < BACKING_BYTES_MIN)
		return REFUSE(opening, -EINVAL, "%" PRIu64 " bytes are too small; 1 MiB at least",
			      opening->size_before);
	opening->size_bytes = size;
	return 0;
}

/* Nobody's: what a typing error must not destroy */

static int mark_look(struct opening *opening)
{
	int r = 0;

	if (opening->size_before >= sizeof(opening->mark))
		r = backing_mark_read(opening->fd, &opening->mark);
	if (r < 0)
		return refuse_errno(opening, r);
	opening->is_ours = backing_mark_is_ours(&opening->mark);
	opening->is_same = opening->is_ours && !opening->is_device &&
			   opening->mark.inode == opening->found.st.st_ino;
	return 0;
}

static int contents_check(struct opening *opening)
{
	char what[BACKING_PROBE_WHAT_MAX] = "data";
	bool is_swap;
	int r;

	if (opening->size_before == 0)
		return 0;
	r = mark_look(opening);
	if (r < 0)
		return r;
	/* A mark may be older than what is there: mkfs leaves the start to those who boot from it.
	 * */
	r = backing_probe_signatures(opening->fd, opening->size_before, &is_swap, what);
	if (r == 0 && !opening->is_device && !is_swap && !opening->is_ours) {
		r = backing_probe_is_empty(opening->fd);
		r = r < 0 ? r : !r;
	}
	if (r < 0)
		return refuse_errno(opening, r);
	if (r == 0)
		return 0;
	if (opening->is_device)
		return REFUSE(opening, -EEXIST, "has %s on it; if nobody needs that: wipefs -a %s",
			      what, opening->wish->path);
	return REFUSE(opening, -EEXIST, "has %s in it; if nobody needs that: rm %s", what,
		      opening->wish->path);
}

/* ours */

static bool is_fixed(const struct opening *opening)
{
	return opening->wish->is_swap || opening->wish->is_preallocated;
}

static void record_identify(struct zr_backing_record *record, const struct stat *st)
{
	const bool is_device = S_ISBLK(st->st_mode);

	record->device = is_device ? st->st_rdev : st->st_dev;
	record->inode = is_device ? 0 : st->st_ino;
}

static int record_make(const struct opening *opening, struct zr_backing_record *record)
{
	const struct backing_file_wish *wish = opening->wish;
	const bool is_sealed = wish->key == ZR_BACKING_KEY_DEFAULT
				       ? wish->is_swap
				       : wish->key == ZR_BACKING_KEY_RANDOM;

	*record = (struct zr_backing_record){
		.size_bytes = opening->size_bytes,
		.flags = (is_sealed ? ZR_BACKING_SEALED : 0u) |
			 (is_fixed(opening) ? ZR_BACKING_FIXED : 0u) |
			 (opening->is_device ? ZR_BACKING_DEVICE : 0u) |
			 (wish->is_swap && !opening->is_device ? ZR_BACKING_WRITTEN : 0u),
	};
	record->seal_bytes = seal_bytes(record->flags);
	record_identify(record, &opening->found.st);
	snprintf(record->path, sizeof(record->path), "%s", wish->path);
	/* Neither is ever short once the system has started, and before that they wait. */
	if (getrandom(record->nonce, sizeof(record->nonce), 0) != sizeof(record->nonce) ||
	    (is_sealed && getrandom(record->key, sizeof(record->key), 0) != sizeof(record->key)))
		return refuse_errno(opening, -EIO);
	return 0;
}

static int opening_prepare(struct opening *opening)
{
	const uint32_t flags = opening->mark.flags;

	opening->file.fd = opening->fd;
	opening->file.was_left = opening->is_ours && flags & BACKING_MARK_IN_USE;
	opening->file.is_made = opening->is_new || (opening->is_same && flags & BACKING_MARK_MADE);
	if (opening->is_same && is_fixed(opening))
		opening->written_bytes =
			zr_align_down(zr_min(opening->mark.written_bytes, opening->size_before),
				      ZR_BLOCK_BYTES);
	return record_make(opening, &opening->file.record);
}

/* Where the filesystem takes O_DIRECT but not blocks of 4 KiB, it is of no use. */
static bool direct_begin(int fd)
{
	_Alignas(ZR_BLOCK_BYTES) uint8_t block[ZR_BLOCK_BYTES];
	const int flags = fcntl(fd, F_GETFL) & ~O_NONBLOCK;

	if (fcntl(fd, F_SETFL, flags | O_DIRECT) == 0 && pread(fd, block, sizeof(block), 0) >= 0)
		return true;
	(void)fcntl(fd, F_SETFL, flags & ~O_DIRECT);
	return false;
}

static int refuse_room(const struct opening *opening, int r)
{
	if (r == -EINTR)
		return REFUSE(opening, r, "interrupted while it was allocated");
	if (r == -ENOSPC || r == -EDQUOT)
		return REFUSE(opening, -ENOSPC, "there is no room for its %" PRIu64 " MiB",
			      opening->size_bytes >> 20);
	return refuse_errno(opening, r);
}

static int write_zeros(const struct opening *opening, uint64_t from, uint64_t to)
{
	ZR_CLEANUP(zr_freep) void *zeros = NULL;
	uint64_t n;
	int r = 0;

	if (posix_memalign(&zeros, ZR_BLOCK_BYTES, CHUNK_BYTES) != 0)
		return -ENOMEM;
	memset(zeros, 0, CHUNK_BYTES);
	for (; r == 0 && from < to; from += n) {
		if (zr_stop_is_wanted(opening->wish->stop))
			return -EINTR;
		n = zr_min(to - from, CHUNK_BYTES);
		r = blocks_write(opening->fd, opening->file.is_direct, from, zeros, n);
	}
	return r;
}

/* Allocated is not enough for swap: the first write of such a block allocates for the filesystem's
 * own books, in the middle of reclaim. */
static int opening_allocate(struct opening *opening)
{
	bool is_written = opening->wish->is_swap;
	int r;

	do
		r = fallocate(opening->fd, 0, 0, (off_t)opening->size_bytes) < 0 ? -errno : 0;
	while (r == -EINTR && !zr_stop_is_wanted(opening->wish->stop));
	if (r == -EOPNOTSUPP) {
		is_written = true;
		r = 0;
	}
	/* The mark's block is written with the mark. */
	if (r == 0 && is_written) {
		r = write_zeros(opening, zr_max(opening->written_bytes, BACKING_MARK_BYTES),
				opening->size_bytes);
		opening->written_bytes = zr_max(opening->written_bytes, opening->size_bytes);
	}
	return r < 0 ? refuse_room(opening, r) : 0;
}

static int mark_put(struct opening *opening)
{
	const struct backing_file *file = &opening->file;
	int r;

	backing_mark_make(&opening->mark, &file->record,
			  BACKING_MARK_IN_USE | (file->is_made ? BACKING_MARK_MADE : 0u),
			  opening->written_bytes);
	r = backing_mark_write(opening->fd, &opening->mark);
	return r < 0 ? refuse_room(opening, r) : 0;
}

static int device_take(struct opening *opening)
{
	const int r = write_zeros(opening, 0, zr_min(opening->size_bytes, CHUNK_BYTES));

	return r < 0 ? refuse_errno(opening, r) : mark_put(opening);
}

static int file_take(struct opening *opening)
{
	int r = 0, flags;

	/* A filesystem that never writes in place allocates at every write, and frees. */
	if (opening->is_new && ioctl(opening->fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= FS_NOCOW_FL;
		(void)ioctl(opening->fd, FS_IOC_SETFLAGS, &flags);
	}
	/* Writing it takes a while: what is left of it by a kill is still known as ours. */
	if (opening->is_new)
		r = mark_put(opening);
	if (r == 0 && is_fixed(opening))
		r = opening_allocate(opening);
	if (r == 0 && opening->size_bytes > opening->size_before &&
	    ftruncate(opening->fd, (off_t)opening->size_bytes) < 0)
		r = refuse_room(opening, -errno);
	return r < 0 ? r : mark_put(opening);
}

static int opening_take(struct opening *opening)
{
	opening->is_taken = true;
	opening->file.is_direct = direct_begin(opening->fd);
	return opening->is_device ? device_take(opening) : file_take(opening);
}

int backing_file_open(const struct backing_file_wish *wish, struct backing_file *file,
		      char why[BACKING_WHY_MAX])
{
	static int (*const steps[])(struct opening *) = {
		opening_find, opening_open,    opening_size, contents_check,
		swap_check,   opening_prepare, opening_take,
	};
	ZR_CLEANUP(opening_end)
	struct opening opening = { .wish = wish, .why = why, .fd = -1, .found.parent = -1 };
	size_t i;
	int r;

	r = wish_check(&opening);
	for (i = 0; r == 0 && i < ZR_ARRAY_SIZE(steps); ++i)
		r = steps[i](&opening);
	if (r < 0)
		return r;
	opening.fd = -1;
	*file = opening.file;
	return 0;
}

/* afterwards */

/* Is it the file, and does it have the mark of the run? Return: 0, -ESTALE, -errno. */
static int mark_check(int fd, const struct zr_backing_record *record, struct backing_mark *mark,
		      char why[BACKING_WHY_MAX])
{
	struct zr_backing_record now = { 0 };
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return refuse(why, record->path, -errno, "%s", strerror(errno));
	record_identify(&now, &st);
	if (now.device != record->device || now.inode != record->inode)
		return refuse(why, record->path, -ESTALE,
			      "is another file than pages were written back to");
	r = backing_mark_read(fd, mark);
	if (r < 0)
		return refuse(why, record->path, r, "%s", strerror(-r));
	if (!backing_mark_is_ours(mark) || !(mark->flags & BACKING_MARK_IN_USE) ||
	    memcmp(mark->nonce, record->nonce, sizeof(mark->nonce)) != 0)
		return refuse(why, record->path, -ESTALE, "somebody has written over it");
	return 0;
}

int backing_file_verify(int fd, const struct zr_backing_record *record, char why[BACKING_WHY_MAX])
{
	struct backing_mark mark;
	uint64_t n_bytes = 0;
	struct stat st;
	int r;

	r = fstat(fd, &st) < 0 ? -errno : device_size(fd, &st, &n_bytes);
	if (r < 0)
		return refuse(why, record->path, r, "%s", strerror(-r));
	if (n_bytes < record->size_bytes)
		return refuse(why, record->path, -ESTALE,
			      "was cut from %" PRIu64 " to %" PRIu64 " bytes", record->size_bytes,
			      n_bytes);
	/* What cannot be read now may be later, and each page proves what it is. */
	r = mark_check(fd, record, &mark, why);
	return r == -ESTALE ? r : 0;
}

/* Return: is it still where it was made, and gone now? */
static bool file_remove(const struct zr_backing_record *record)
{
	struct below_file found;
	bool is_removed;

	if (below_find(record->path, 0, &found) < 0)
		return false;
	is_removed = found.exists && found.st.st_dev == record->device &&
		     found.st.st_ino == record->inode && unlinkat(found.parent, found.name, 0) == 0;
	below_file_close(&found);
	return is_removed;
}

void backing_file_close(int fd, const struct zr_backing_record *record)
{
	char why[BACKING_WHY_MAX];
	struct backing_mark mark;
	uint32_t flags;

	if (mark_check(fd, record, &mark, why) == 0) {
		flags = mark.flags & ~(uint32_t)BACKING_MARK_IN_USE;
		/* Somebody who gave it another name wants to keep it. */
		if (!(flags & BACKING_MARK_MADE) || !file_remove(record)) {
			backing_mark_make(&mark, record, flags & ~(uint32_t)BACKING_MARK_MADE,
					  mark.written_bytes);
			(void)backing_mark_write(fd, &mark);
		}
	}
	/* Others may have a copy of the descriptor for a moment more. */
	(void)flock(fd, LOCK_UN);
	close(fd);
}
