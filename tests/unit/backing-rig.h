#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of backing files share: a directory, files, filesystems and loop devices in it. They
 * have mounts of their own, and loop devices that go with their last descriptor: nothing of either
 * is left behind, however a test ends.
 */

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)

#define SKIP(reason)                                             \
	do {                                                     \
		printf("# skipped: %s: %s\n", __func__, reason); \
		return;                                          \
	} while (0)

/* What a test would pass: /dev/loop0, or a path below the directory. */
#define RIG_PATH_MAX 128u

static char directory[64];
static bool has_mounts; /* of its own */

static inline void directory_make(void)
{
	/* Not /tmp, which may be memory. */
	snprintf(directory, sizeof(directory), "/var/tmp/zramfs-test-XXXXXX");
	CHECK(mkdtemp(directory));
	has_mounts = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
		     mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static inline void directory_remove(void)
{
	CHECK(rmdir(directory) == 0);
}

/* Of several at a time. */
static inline const char *path_of(const char *name)
{
	static char paths[64][RIG_PATH_MAX];
	static unsigned int n;
	char *path = paths[n++ % ZR_ARRAY_SIZE(paths)];

	snprintf(path, RIG_PATH_MAX, "%s/%s", directory, name);
	return path;
}

static inline int file_make(const char *path, uint64_t size_bytes)
{
	const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && ftruncate(fd, (off_t)size_bytes) == 0);
	return fd;
}

static inline void file_write(const char *path, const void *bytes, size_t n_bytes, uint64_t offset)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0 && pwrite(fd, bytes, n_bytes, (off_t)offset) == (ssize_t)n_bytes);
	CHECK(close(fd) == 0);
}

static inline void file_read(const char *path, void *bytes, size_t n_bytes, uint64_t offset)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0 && pread(fd, bytes, n_bytes, (off_t)offset) == (ssize_t)n_bytes);
	CHECK(close(fd) == 0);
}

static inline struct stat stat_of(const char *path)
{
	struct stat st;

	CHECK(stat(path, &st) == 0);
	return st;
}

/* A filesystem at a new directory of @name. False: not to be had. */
static inline bool filesystem_mount(const char *name, const char *type, const char *source,
				    const char *options)
{
	if (!has_mounts)
		return false;
	CHECK(mkdir(path_of(name), 0700) == 0);
	if (mount(source, path_of(name), type, 0, options) == 0)
		return true;
	CHECK(rmdir(path_of(name)) == 0);
	return false;
}

static inline void filesystem_unmount(const char *name)
{
	CHECK(umount(path_of(name)) == 0 && rmdir(path_of(name)) == 0);
}

/* A loop device over a file, as long as the descriptor is open. Return: it, and its path; -1: none
 * is to be had. */
static inline int loop_make(const char *file, char path[RIG_PATH_MAX])
{
	struct loop_config config = { .info = { .lo_flags = LO_FLAGS_AUTOCLEAR } };
	int control, number, fd = -1, tries;

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return -1;
	config.fd = (uint32_t)open(file, O_RDWR | O_CLOEXEC);
	CHECK((int)config.fd >= 0);
	/* Others look for free ones, too. */
	for (tries = 0; tries < 20 && fd < 0; ++tries) {
		number = ioctl(control, LOOP_CTL_GET_FREE);
		if (number < 0)
			break;
		snprintf(path, RIG_PATH_MAX, "/dev/loop%d", number);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
			CHECK(close(fd) == 0);
			fd = -1;
		}
	}
	CHECK(close((int)config.fd) == 0 && close(control) == 0);
	return fd;
}
