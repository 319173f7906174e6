/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "blocks.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "backing.h"
#include "check.h"

bool blocks_are_direct(int fd)
{
	const int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && flags & O_DIRECT;
}

/* How far a call came, in whole blocks: O_DIRECT goes on from nothing else. What is less than a
 * block is an end, as of a file that was cut in the middle of one. */
static ssize_t whole(ssize_t n)
{
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n < (ssize_t)ZR_BLOCK_BYTES ? -EIO
					   : (ssize_t)zr_align_down((uint64_t)n, ZR_BLOCK_BYTES);
}

int blocks_read(int fd, bool is_direct, uint64_t offset, void *bytes, size_t n_bytes)
{
	size_t n_done = 0;
	ssize_t n;

	ZR_ASSERT(offset % ZR_BLOCK_BYTES == 0 && n_bytes % ZR_BLOCK_BYTES == 0);
	while (n_done < n_bytes) {
		n = whole(pread(fd, (uint8_t *)bytes + n_done, n_bytes - n_done,
				(off_t)(offset + n_done)));
		if (n < 0)
			return (int)n;
		n_done += (size_t)n;
	}
	if (!is_direct)
		(void)posix_fadvise(fd, (off_t)offset, (off_t)n_bytes, POSIX_FADV_DONTNEED);
	return 0;
}

/* The kernel only drops what is on the file, and what went wrong on the way is said here alone. */
static int cache_drop(int fd, uint64_t offset, size_t n_bytes)
{
	if (sync_file_range(fd, (off_t)offset, (off_t)n_bytes,
			    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				    SYNC_FILE_RANGE_WAIT_AFTER) < 0)
		return -errno;
	(void)posix_fadvise(fd, (off_t)offset, (off_t)n_bytes, POSIX_FADV_DONTNEED);
	return 0;
}

int blocks_write(int fd, bool is_direct, uint64_t offset, const void *bytes, size_t n_bytes)
{
	size_t n_done = 0;
	ssize_t n;

	ZR_ASSERT(offset % ZR_BLOCK_BYTES == 0 && n_bytes % ZR_BLOCK_BYTES == 0);
	while (n_done < n_bytes) {
		n = whole(pwrite(fd, (const uint8_t *)bytes + n_done, n_bytes - n_done,
				 (off_t)(offset + n_done)));
		if (n < 0)
			return (int)n;
		n_done += (size_t)n;
	}
	return is_direct ? 0 : cache_drop(fd, offset, n_bytes);
}
