/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "loop-file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ask.h"

int loop_file_of(int fd, struct loop_file *filep)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*filep = (struct loop_file){ st.st_dev, st.st_ino };
	return 0;
}

/* As struct stat has it; the device says it in the kernel's own form. */
static dev_t kernel_device(uint64_t device)
{
	return makedev((device & 0xfff00) >> 8, (device & 0xff) | ((device >> 12) & 0xfff00));
}

int loop_file_ask(int fd, struct loop_file *filep)
{
	struct loop_info64 info;

	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return -errno;
	*filep = (struct loop_file){ kernel_device(info.lo_device), info.lo_inode };
	return 0;
}

/* The child's. */
static int device_ask(const void *what, void *bytes)
{
	int fd, r;

	fd = open(what, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = loop_file_ask(fd, bytes);
	close(fd);
	return r;
}

struct loop_file loop_file_find(const char *device)
{
	struct loop_file file;

	if (access(device, R_OK) < 0 || ask_bytes(device_ask, device, &file, sizeof(file)) < 0)
		return (struct loop_file){ 0 };
	return file;
}

bool loop_file_same(const struct loop_file *one, const struct loop_file *other)
{
	return one->device != 0 && one->device == other->device && one->inode == other->inode;
}
