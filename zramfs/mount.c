/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define FUSE_DEVICE "/dev/fuse"

/* There is always one. */
#define HELD_FILE "/.stats"

extern char **environ;

static int device_check(char *message, size_t n_message)
{
	if (access(FUSE_DEVICE, R_OK | W_OK) == 0)
		return 0;

	if (errno == ENOENT || errno == ENODEV)
		snprintf(message, n_message,
			 "%s: not there; load the module: modprobe fuse (in a container, pass the "
			 "device in)",
			 FUSE_DEVICE);
	else
		snprintf(message, n_message, "%s: %s; it is usually 0666: chmod 0666 %s, as root",
			 FUSE_DEVICE, strerror(errno), FUSE_DEVICE);
	return -errno;
}

/* Kernels before 5.8 do not say; there another device than the parent's has to do. */
static bool is_mount_point(const char *resolved, const struct stat *st)
{
	char parent[PATH_MAX + 4];
	struct stat above;
	struct statx stx;

	if (statx(AT_FDCWD, resolved, 0, STATX_TYPE, &stx) == 0 &&
	    stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)
		return stx.stx_attributes & STATX_ATTR_MOUNT_ROOT;

	snprintf(parent, sizeof(parent), "%s/..", resolved);
	return stat(parent, &above) == 0 && above.st_dev != st->st_dev;
}

static int directory_check(const char *path, char resolved[PATH_MAX], char *message,
			   size_t n_message)
{
	struct stat st;

	if (!realpath(path, resolved) || stat(resolved, &st) < 0) {
		const int error = errno;

		snprintf(message, n_message, "%s: %s%s", path, strerror(error),
			 error == ENOTCONN ? "; a mount whose daemon died: fusermount3 -u it" : "");
		return -error;
	}
	if (!S_ISDIR(st.st_mode)) {
		snprintf(message, n_message, "%s: Not a directory", path);
		return -ENOTDIR;
	}
	if (is_mount_point(resolved, &st)) {
		snprintf(message, n_message, "%s: in use: something is mounted there already",
			 path);
		return -EBUSY;
	}
	if (geteuid() != 0 && access(resolved, W_OK) < 0) {
		snprintf(message, n_message,
			 "%s: %s; a user can mount only on a directory that they can write to",
			 path, strerror(errno));
		return -EACCES;
	}
	return 0;
}

int mount_check(const char *path, char resolved[PATH_MAX], char *message, size_t n_message)
{
	int r;

	r = directory_check(path, resolved, message, n_message);
	return r < 0 ? r : device_check(message, n_message);
}

int mount_where(const char *path, char resolved[PATH_MAX], char *message, size_t n_message)
{
	const int fd = open(path, O_PATH | O_CLOEXEC);
	char link[64];
	ssize_t n = -1;

	if (fd >= 0) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, resolved, PATH_MAX - 1);
	}
	if (n < 0) {
		n = -errno;
		snprintf(message, n_message, "%s: %s", path, strerror(errno));
	} else {
		resolved[n] = 0;
	}
	if (fd >= 0)
		close(fd);
	return n < 0 ? (int)n : 0;
}

/* fusermount3 has its own opinion and its own line: catch both and keep the words. */
static int attach_quietly(struct fuse_session *session, const char *resolved, char *said,
			  size_t n_said)
{
	int ends[2], saved, r;
	ssize_t n;

	said[0] = 0;
	saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (saved < 0)
		return -errno;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		close(saved);
		return -errno;
	}
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);

	r = fuse_session_mount(session, resolved);

	dup2(saved, STDERR_FILENO);
	close(saved);
	n = read(ends[0], said, n_said - 1);
	close(ends[0]);
	said[n > 0 ? n : 0] = 0;
	said[strcspn(said, "\n")] = 0;
	return r;
}

int mount_attach(struct fuse_session *session, const char *resolved, char *message,
		 size_t n_message)
{
	char reason[LOG_REASON_BYTES], said[LOG_REASON_BYTES];

	if (attach_quietly(session, resolved, said, sizeof(said)) == 0)
		return 0;

	log_fuse_reason(reason, "the kernel refused");
	snprintf(message, n_message, "%s: cannot mount: %s", resolved, said[0] ? said : reason);
	return -EIO;
}

/* What the kernel knows without asking who serves the mount. */
dev_t mount_identity(const char *resolved)
{
	struct statx stx;

	if (statx(AT_FDCWD, resolved, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &stx) < 0)
		return 0;
	return makedev(stx.stx_dev_major, stx.stx_dev_minor);
}

static _Noreturn void ask(const char *resolved)
{
	struct stat st;

	(void)syscall(SYS_close_range, 0, ~0U, 0);
	/* Gone; refused at INIT; cut while this was asked. */
	_exit(stat(resolved, &st) < 0 &&
	      (errno == ENOTCONN || errno == ECONNREFUSED || errno == ECONNABORTED));
}

bool mount_is_dead(const char *resolved)
{
	const pid_t child = fork();
	int status;

	if (child == 0)
		ask(resolved);
	if (child < 0)
		return false;
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return false;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) != 0;
}

int mount_hold(const char *resolved, dev_t identity)
{
	char path[PATH_MAX + sizeof(HELD_FILE)];
	struct statx stx;
	int fd;

	snprintf(path, sizeof(path), "%s%s", resolved, HELD_FILE);
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &stx) == 0 &&
	    makedev(stx.stx_dev_major, stx.stx_dev_minor) == identity)
		return fd;
	close(fd);
	return -ESTALE;
}

/* Whose mount it is may do this, too. */
static void connection_abort(dev_t identity)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor(identity));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "1", 1);
	close(fd);
}

void mount_abort(const char *resolved, dev_t identity)
{
	/* One that is not to be seen may be gone, and its number another's. */
	if (identity == 0 || mount_identity(resolved) != identity)
		return;
	if (umount2(resolved, MNT_FORCE | UMOUNT_NOFOLLOW) < 0)
		connection_abort(identity);
}

static int detach_as_root(const char *resolved, bool force)
{
	return umount2(resolved, UMOUNT_NOFOLLOW | (force ? MNT_DETACH : 0)) == 0 ? 0 : -errno;
}

static int detach_as_user(const char *resolved, bool force)
{
	const char *argv[] = {
		"fusermount3",           "-u", "-q", force ? "-z" : "--", force ? "--" : resolved,
		force ? resolved : NULL, NULL
	};
	pid_t child;
	int status;

	if (posix_spawnp(&child, argv[0], NULL, NULL, (char **)argv, environ) != 0)
		return -ENOENT;
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return status == 0 ? 0 : -EBUSY;
}

int mount_detach(const char *resolved, dev_t identity, bool force)
{
	const dev_t there = identity != 0 ? mount_identity(resolved) : 0;
	int r;

	if (there != 0 && there != identity)
		return -ESTALE;

	r = detach_as_root(resolved, force);
	return r == -EPERM || r == -EACCES ? detach_as_user(resolved, force) : r;
}
