/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "arena.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "system.h"

#define ARENA_NAME "zramfs"
#define ARENA_FILE "memfd:" ARENA_NAME

/* Less address space than this is not worth starting with. */
#define ARENA_SIZE_MIN (UINT64_C(64) << 20)

/* Of spans, and so of pages of the system. */
#define ARENA_SIZE_UNIT (UINT64_C(1) << 20)

/* Where what is wanted does not fit an eighth less is tried, and so on; for each 4 bytes of it one is
 * left for the rest of the process. */
#define STEP_SHARE 8
#define REST_SHARE 4

/* Written in one call: 1 MiB. */
#define WRITE_PAGES 256u

static int arena_map(struct zr_arena *arena, int fd, uint64_t size_bytes)
{
	void *base;

	if (size_bytes > SIZE_MAX)
		return -ENOMEM;

	base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED)
		return -ENOMEM;

	/* With huge pages for shared memory on, a touch of 4 KiB would cost 2 MiB. What users keep
	 * here may be what they swapped out: not for core dumps. Either may be unknown to the
	 * kernel, and then there is nothing to switch off. */
	(void)madvise(base, size_bytes, MADV_NOHUGEPAGE);
	(void)madvise(base, size_bytes, MADV_DONTDUMP);

	arena->fd = fd;
	arena->base = base;
	arena->size_bytes = size_bytes;
	arena->grain_bytes = zr_system_page_bytes();
	return 0;
}

/* Is there address space for all else, too: threads, buffers, libraries? */
static bool has_room_beside(uint64_t size_bytes)
{
	const size_t n_bytes = (size_t)(size_bytes / REST_SHARE);
	void *rest;

	rest = mmap(NULL, n_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (rest == MAP_FAILED)
		return false;
	munmap(rest, n_bytes);
	return true;
}

static int arena_map_largest(struct zr_arena *arena, int fd, uint64_t size_bytes)
{
	for (; size_bytes >= ARENA_SIZE_MIN; size_bytes -= size_bytes / STEP_SHARE) {
		size_bytes = zr_align_down(size_bytes, ARENA_SIZE_UNIT);
		if (ftruncate(fd, (off_t)size_bytes) < 0 || arena_map(arena, fd, size_bytes) < 0)
			continue;
		if (has_room_beside(size_bytes))
			return 0;
		munmap(arena->base, size_bytes);
		arena->base = NULL;
		arena->fd = -1;
	}
	return -ENOMEM;
}

/* Where no file may be swapped, one that is deleted already; called as a memfd would be, so that
 * it looks the same in /proc. Return: -1 without privilege or before Linux 6.4. */
static int noswap_file(void)
{
	int context = -1, mount = -1, fd = -1;

#ifdef FSOPEN_CLOEXEC
	context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (context < 0)
		return -1;
	/* Size 0: without a limit of its own. */
	if (fsconfig(context, FSCONFIG_SET_FLAG, "noswap", NULL, 0) == 0 &&
	    fsconfig(context, FSCONFIG_SET_STRING, "size", "0", 0) == 0 &&
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		mount = fsmount(context, FSMOUNT_CLOEXEC,
				MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	close(context);
	if (mount < 0)
		return -1;
	fd = openat(mount, ARENA_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)unlinkat(mount, ARENA_FILE, 0);
	close(mount); /* it is nowhere mounted, and lasts as long as the file */
#endif
	return fd;
}

int zr_arena_create(struct zr_arena *arena, uint64_t size_bytes)
{
	int fd, r;

	fd = noswap_file();
	arena->noswap = fd >= 0;
	if (fd < 0)
		fd = memfd_create(ARENA_NAME, MFD_CLOEXEC);
	if (fd < 0)
		return -errno;

	r = arena_map_largest(arena, fd, zr_max(size_bytes, ARENA_SIZE_MIN));
	if (r < 0)
		close(fd);
	return r;
}

int zr_arena_attach(struct zr_arena *arena, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)ARENA_SIZE_MIN || st.st_size % (off_t)ARENA_SIZE_UNIT != 0)
		return -EINVAL;
	return arena_map(arena, fd, (uint64_t)st.st_size);
}

void zr_arena_deinit(struct zr_arena *arena)
{
	if (arena->base)
		munmap(arena->base, arena->size_bytes);
	if (arena->fd >= 0)
		close(arena->fd);
	*arena = (struct zr_arena)ZR_ARENA_NULL;
}

/* Whole pages of the system, or what lies beside the range would come and go with it. */
static bool is_whole(const struct zr_arena *arena, uint64_t offset, uint64_t n_bytes)
{
	return (offset | n_bytes) % arena->grain_bytes == 0 &&
	       offset + n_bytes <= arena->size_bytes;
}

/*
 * Before Linux 5.14. With fallocate(2) in its place (13 us for 20 KiB, touching included; 14 with this)
 * a page that was not touched yet has memory and is a hole to SEEK_DATA: who dies then leaves what
 * nobody finds.
 */
static int range_write(const struct zr_arena *arena, uint64_t offset, uint64_t n_bytes)
{
	static const uint8_t zeros[ZR_PAGE_SIZE];
	struct iovec pages[WRITE_PAGES];
	uint64_t n_pages;
	ssize_t n;
	unsigned int i;

	for (i = 0; i < WRITE_PAGES; ++i)
		pages[i] = (struct iovec){ .iov_base = (void *)zeros, .iov_len = ZR_PAGE_SIZE };

	while (n_bytes > 0) {
		n_pages = zr_min(WRITE_PAGES, n_bytes / ZR_PAGE_SIZE);
		n = pwritev(arena->fd, pages, (int)n_pages, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -ENOMEM;
		offset += (uint64_t)n;
		n_bytes -= (uint64_t)n;
	}
	return 0;
}

int zr_arena_populate(struct zr_arena *arena, uint64_t offset, uint64_t n_bytes)
{
	int r;

	ZR_ASSERT(is_whole(arena, offset, n_bytes));

	r = zr_system_populate(arena->base + offset, n_bytes);
	if (r == 0)
		return 0;

	if (r == -EINVAL && range_write(arena, offset, n_bytes) == 0) {
		zr_system_touch(arena->base + offset, n_bytes);
		return 0;
	}

	/* Half a range may be there: nobody will own it. */
	zr_arena_punch(arena, offset, n_bytes);
	return -ENOMEM;
}

int zr_arena_lock(struct zr_arena *arena)
{
	return mlock2(arena->base, arena->size_bytes, MLOCK_ONFAULT) < 0 ? -errno : 0;
}

int zr_arena_fault_in(struct zr_arena *arena, uint64_t offset, uint64_t n_bytes)
{
	const volatile uint8_t *at = arena->base + offset;
	uint64_t i;
	int r;

	ZR_ASSERT(offset + n_bytes <= arena->size_bytes);

	r = zr_system_populate(arena->base + offset, n_bytes);
	if (r != -EINVAL)
		return r;

	/* Before Linux 5.14. A read maps shared memory as well. */
	for (i = 0; i < n_bytes; i += ZR_PAGE_SIZE)
		(void)at[i];
	return 0;
}

void zr_arena_punch(struct zr_arena *arena, uint64_t offset, uint64_t n_bytes)
{
	ZR_ASSERT(is_whole(arena, offset, n_bytes));

	while (fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			 (off_t)n_bytes) < 0 &&
	       errno == EINTR)
		;
}

uint64_t zr_arena_memory(const struct zr_arena *arena)
{
	struct stat st;

	if (fstat(arena->fd, &st) < 0)
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

bool zr_arena_next_data(const struct zr_arena *arena, uint64_t offset, uint64_t *startp,
			uint64_t *endp)
{
	off_t start, end;

	start = lseek(arena->fd, (off_t)offset, SEEK_DATA);
	if (start < 0)
		return false;

	end = endp ? lseek(arena->fd, start, SEEK_HOLE) : 0;
	if (end < 0)
		return false;

	*startp = (uint64_t)start;
	if (endp)
		*endp = (uint64_t)end;
	return true;
}

void zr_arena_settle(struct zr_arena *arena)
{
	const uint32_t grain = arena->grain_bytes;
	uint64_t start, end, at = 0;

	if (grain == zr_system_page_bytes_real())
		return;
	while (at < arena->size_bytes && zr_arena_next_data(arena, at, &start, &end)) {
		at = zr_align_up(end, grain);
		if (start % grain != 0) {
			at = zr_align_up(start, grain);
			zr_arena_punch(arena, at - grain, grain);
		} else if (end != at) {
			zr_arena_punch(arena, at - grain, grain);
		}
	}
}
