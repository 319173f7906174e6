/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "below.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base.h"

/* The mount point. Its device alone is asked for, which the kernel knows by itself. */
static int root_open(const struct mount *mount)
{
	struct statx st;
	int fd, r = 0;

	fd = open(mount->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) < 0)
		r = -errno;
	else if (makedev(st.stx_dev_major, st.stx_dev_minor) != mount->device)
		r = -ESTALE;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* Where the kernel has no openat2(2), a name at a time. What lies on another mount is found by its
 * device, in the end. */
static int walk_open(int root, const char *path, int flags)
{
	char name[NAME_MAX + 1];
	int at = root, next, error;
	size_t n;

	for (;;) {
		n = strcspn(path, "/");
		if (n == 0 || n >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, path, n);
		name[n] = 0;
		next = openat(at, name,
			      O_NOFOLLOW | O_CLOEXEC | (path[n] ? O_PATH | O_DIRECTORY : flags));
		error = errno;
		if (at != root)
			close(at);
		if (next < 0)
			return -error;
		if (!path[n])
			return next;
		at = next;
		path += n + 1;
	}
}

static int file_open(int root, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)flags | O_NOFOLLOW | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
					   RESOLVE_NO_XDEV };
	int fd;

	fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	/* Older containers forbid what they do not know. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return walk_open(root, path, flags);
	return fd < 0 ? -errno : fd;
}

/* A regular file of this mount, and then reading from it waits as it does from any. */
static int file_check(int fd, dev_t device, int flags)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_dev != device)
		return -EXDEV;
	if (!(flags & O_PATH) && fcntl(fd, F_SETFL, flags & ~(O_ACCMODE | O_NONBLOCK)) < 0)
		return -errno;
	return 0;
}

int below_open(const struct mount *mount, const char *path, int flags)
{
	int root, fd, r;

	root = root_open(mount);
	if (root < 0)
		return root;
	/* Whatever it is, opening it neither waits nor takes a terminal. */
	fd = file_open(root, path, flags & O_PATH ? flags : flags | O_NONBLOCK | O_NOCTTY);
	close(root);
	if (fd < 0)
		return fd;
	r = file_check(fd, mount->device, flags);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}
