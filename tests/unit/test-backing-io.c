/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A backing file as the engine sees it: whole or an error, whatever the kernel does in between; the
 * first error is said once. On files, a full filesystem, one that cannot punch, and loop devices.
 */

#include "backing-rig.h"

#include <pthread.h>
#include <sys/mman.h>

#include "backing-io.h"
#include "seal.h"

#define FILE_BYTES MIB(4)

static _Alignas(ZR_BLOCK_BYTES) uint8_t written[MIB(1)], got[MIB(1)];
static struct zr_backing_record record;
static struct backing_io backing;

/* the kernel */

static _Atomic unsigned int n_calls, n_interruptions;
static size_t at_most; /* bytes of a call; 0: any number */

ssize_t __real_pread64(int fd, void *bytes, size_t n_bytes, off_t offset);
ssize_t __real_pwrite64(int fd, const void *bytes, size_t n_bytes, off_t offset);
ssize_t __wrap_pread64(int fd, void *bytes, size_t n_bytes, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t n_bytes, off_t offset);

static bool is_interrupted(void)
{
	++n_calls;
	if (n_interruptions == 0)
		return false;
	--n_interruptions;
	errno = EINTR;
	return true;
}

ssize_t __wrap_pread64(int fd, void *bytes, size_t n_bytes, off_t offset)
{
	if (is_interrupted())
		return -1;
	return __real_pread64(fd, bytes, at_most ? zr_min(n_bytes, at_most) : n_bytes, offset);
}

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t n_bytes, off_t offset)
{
	if (is_interrupted())
		return -1;
	return __real_pwrite64(fd, bytes, at_most ? zr_min(n_bytes, at_most) : n_bytes, offset);
}

/* fixtures */

static void begin(int fd, uint32_t flags)
{
	record = (struct zr_backing_record){ .size_bytes = FILE_BYTES,
					     .flags = flags,
					     .seal_bytes = seal_bytes(flags) };
	backing_io_init(&backing, fd, &record, -1);
}

static void pattern_fill(uint8_t seed)
{
	size_t i;

	for (i = 0; i < sizeof(written); ++i)
		written[i] = (uint8_t)(seed + i / ZR_BLOCK_BYTES + i * 7);
}

static int do_read(uint64_t offset, size_t n_bytes)
{
	memset(got, 0x5a, sizeof(got));
	return backing.io.read(backing.io.context, offset, got, n_bytes);
}

static int do_write(uint64_t offset, size_t n_bytes)
{
	return backing.io.write(backing.io.context, offset, written, n_bytes);
}

static int do_punch(uint64_t offset, uint64_t n_bytes)
{
	return backing.io.punch(backing.io.context, offset, n_bytes);
}

/* The first error is this one, and there is no second. */
static void error_check(enum backing_io_kind kind, int error, uint64_t offset)
{
	struct backing_io_error e;

	CHECK(backing_io_take_error(&backing, &e));
	CHECK(e.kind == kind && e.error == error && e.offset == offset);
	CHECK(!backing_io_take_error(&backing, &e));
}

static void no_error_check(void)
{
	struct backing_io_error e;

	CHECK(!backing_io_take_error(&backing, &e));
}

static bool is_cached(int fd)
{
	unsigned char pages[FILE_BYTES / ZR_BLOCK_BYTES];
	void *mapped = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	bool is = false;
	size_t i;

	CHECK(mapped != MAP_FAILED && mincore(mapped, FILE_BYTES, pages) == 0);
	for (i = 0; i < FILE_BYTES / (uint64_t)sysconf(_SC_PAGESIZE); ++i)
		is |= pages[i] & 1;
	CHECK(munmap(mapped, FILE_BYTES) == 0);
	return is;
}

/* The same on each kind of descriptor. */
static void transfers(int fd, bool is_direct)
{
	begin(fd, 0);
	CHECK(backing.is_direct == is_direct);
	pattern_fill(1);
	CHECK(do_write(ZR_BLOCK_BYTES, sizeof(written)) == 0);
	CHECK(do_read(ZR_BLOCK_BYTES, sizeof(got)) == 0);
	CHECK(memcmp(got, written, sizeof(got)) == 0);
	CHECK(do_read(FILE_BYTES - ZR_BLOCK_BYTES, ZR_BLOCK_BYTES) == 0);
	no_error_check();
}

static void test_all_is_read_and_written(void)
{
	const int fd = file_make(path_of("file"), FILE_BYTES);

	transfers(fd, false);
	if (fcntl(fd, F_SETFL, O_DIRECT) < 0)
		printf("# skipped: no O_DIRECT here\n");
	else
		transfers(fd, true);
	CHECK(unlink(path_of("file")) == 0 && close(fd) == 0);
}

static void test_without_o_direct_nothing_stays_cached(void)
{
	const int fd = file_make(path_of("file"), FILE_BYTES);

	begin(fd, 0);
	pattern_fill(2);
	CHECK(pwrite(fd, written, ZR_BLOCK_BYTES, 0) == ZR_BLOCK_BYTES && is_cached(fd));
	CHECK(do_write(0, sizeof(written)) == 0 && !is_cached(fd));
	CHECK(do_read(0, sizeof(got)) == 0 && memcmp(got, written, sizeof(got)) == 0);
	CHECK(unlink(path_of("file")) == 0 && close(fd) == 0);
}

static void test_short_and_interrupted_calls_are_gone_on_with(void)
{
	static const size_t most[] = { ZR_BLOCK_BYTES, ZR_BLOCK_BYTES + 512,
				       3 * ZR_BLOCK_BYTES - 1 };
	const int fd = file_make(path_of("file"), FILE_BYTES);
	size_t i;

	(void)fcntl(fd, F_SETFL, O_DIRECT);
	begin(fd, 0);
	for (i = 0; i < ZR_ARRAY_SIZE(most); ++i) {
		pattern_fill((uint8_t)(3 + i));
		n_calls = 0;
		n_interruptions = 3;
		at_most = most[i] & ~(size_t)511;
		CHECK(do_write(MIB(1), KIB(64)) == 0);
		CHECK(do_read(MIB(1), KIB(64)) == 0 && memcmp(got, written, KIB(64)) == 0);
		CHECK(n_calls > 6 && n_interruptions == 0);
		at_most = 0;
	}
	no_error_check();
	CHECK(unlink(path_of("file")) == 0 && close(fd) == 0);
}

static void test_a_file_cut_short_is_an_error(void)
{
	const int fd = file_make(path_of("file"), FILE_BYTES);
	int direct;

	for (direct = 0; direct < 2; ++direct) {
		if (direct && fcntl(fd, F_SETFL, O_DIRECT) < 0)
			break;
		begin(fd, 0);
		CHECK(ftruncate(fd, MIB(2)) == 0);
		CHECK(do_read(MIB(2) - ZR_BLOCK_BYTES, ZR_BLOCK_BYTES) == 0);
		CHECK(do_read(MIB(2) - ZR_BLOCK_BYTES, 2 * ZR_BLOCK_BYTES) == -EIO);
		CHECK(do_read(MIB(3), ZR_BLOCK_BYTES) == -EIO);
		error_check(BACKING_IO_READ, EIO, MIB(2) - ZR_BLOCK_BYTES);
		/* In the middle of a block, too. */
		CHECK(ftruncate(fd, MIB(2) - 1000) == 0);
		CHECK(do_read(MIB(2) - 2 * ZR_BLOCK_BYTES, 2 * ZR_BLOCK_BYTES) == -EIO);
		no_error_check();
	}
	CHECK(unlink(path_of("file")) == 0 && close(fd) == 0);
}

static void test_a_full_filesystem_is_said(void)
{
	int fd;

	if (!filesystem_mount("full", "tmpfs", "none", "size=1m"))
		SKIP("no filesystem can be mounted");
	fd = file_make(path_of("full/file"), FILE_BYTES);
	begin(fd, 0);
	CHECK(do_write(0, KIB(512)) == 0);
	CHECK(do_write(MIB(1), MIB(1)) == -ENOSPC);
	CHECK(do_write(MIB(2), MIB(1)) == -ENOSPC);
	error_check(BACKING_IO_WRITE, ENOSPC, MIB(1));
	CHECK(do_read(0, KIB(512)) == 0 && memcmp(got, written, KIB(512)) == 0);
	CHECK(close(fd) == 0);
	filesystem_unmount("full");
}

/* punching */

static void test_what_is_punched_is_given_back(void)
{
	const int fd = file_make(path_of("file"), FILE_BYTES);
	struct stat before;
	size_t i;

	begin(fd, 0);
	CHECK(do_write(0, MIB(1)) == 0);
	before = stat_of(path_of("file"));
	CHECK(do_punch(KIB(64), KIB(512)) == 0);
	CHECK(stat_of(path_of("file")).st_blocks <= before.st_blocks - 1024);
	CHECK(stat_of(path_of("file")).st_size == (off_t)FILE_BYTES);
	CHECK(do_read(KIB(64), KIB(512)) == 0);
	for (i = 0; i < KIB(512); ++i)
		CHECK(got[i] == 0);
	CHECK(do_read(0, KIB(64)) == 0 && memcmp(got, written, KIB(64)) == 0);
	no_error_check();
	begin(fd, ZR_BACKING_FIXED);
	CHECK(!backing.io.punch);
	CHECK(unlink(path_of("file")) == 0 && close(fd) == 0);
}

static void test_who_cannot_punch_is_asked_once(void)
{
	const int fd = file_make(path_of("file"), FILE_BYTES);
	int other;

	if (!filesystem_mount("simple", "ramfs", "none", NULL)) {
		CHECK(unlink(path_of("file")) == 0 && close(fd) == 0);
		SKIP("no filesystem can be mounted");
	}
	other = file_make(path_of("simple/file"), FILE_BYTES);
	begin(other, 0);
	CHECK(do_punch(0, MIB(1)) == -EOPNOTSUPP);
	/* This one could. */
	backing.fd = fd;
	CHECK(do_punch(0, MIB(1)) == -EOPNOTSUPP);
	no_error_check();
	CHECK(close(other) == 0);
	filesystem_unmount("simple");
	CHECK(unlink(path_of("file")) == 0 && close(fd) == 0);
}

static void test_a_device_discards(void)
{
	char path[RIG_PATH_MAX];
	struct stat before;
	int loop;

	CHECK(close(file_make(path_of("file"), FILE_BYTES)) == 0);
	loop = loop_make(path_of("file"), path);
	if (loop >= 0) {
		CHECK(fcntl(loop, F_SETFL, O_DIRECT) == 0);
		begin(loop, ZR_BACKING_DEVICE);
		CHECK(do_write(0, MIB(1)) == 0 && fsync(loop) == 0);
		before = stat_of(path_of("file"));
		CHECK(do_punch(KIB(64), KIB(512)) == 0);
		CHECK(stat_of(path_of("file")).st_blocks <= before.st_blocks - 1024);
		CHECK(do_read(0, KIB(64)) == 0 && memcmp(got, written, KIB(64)) == 0);
		no_error_check();
		CHECK(close(loop) == 0);
	}
	CHECK(unlink(path_of("file")) == 0);
	if (loop < 0)
		SKIP("no loop device is to be had");
}

/* A device that fails: what it is made of is full. To the last byte, since of a write that has room
 * in part loop (Linux 6.18) says that it was done; then the seal has to find out. */
static void test_a_failing_device_is_said(void)
{
	char path[RIG_PATH_MAX];
	int loop, rest;

	if (!filesystem_mount("full", "tmpfs", "none", "size=1m"))
		SKIP("no filesystem can be mounted");
	CHECK(close(file_make(path_of("full/file"), FILE_BYTES)) == 0);
	loop = loop_make(path_of("full/file"), path);
	if (loop >= 0) {
		CHECK(fcntl(loop, F_SETFL, O_DIRECT) == 0);
		begin(loop, ZR_BACKING_DEVICE);
		CHECK(do_write(0, KIB(256)) == 0);
		rest = file_make(path_of("full/rest"), 0);
		while (write(rest, got, ZR_BLOCK_BYTES) == (ssize_t)ZR_BLOCK_BYTES)
			;
		CHECK(errno == ENOSPC && close(rest) == 0);
		CHECK(do_write(MIB(2), MIB(1)) < 0);
		{
			struct backing_io_error e;

			CHECK(backing_io_take_error(&backing, &e));
			CHECK(e.kind == BACKING_IO_WRITE && e.offset == MIB(2));
			CHECK(e.error == EIO || e.error == ENOSPC);
		}
		CHECK(do_read(0, KIB(256)) == 0 && memcmp(got, written, KIB(256)) == 0);
		CHECK(close(loop) == 0);
	}
	filesystem_unmount("full");
	if (loop < 0)
		SKIP("no loop device is to be had");
}

/* A device that fails at every second MiB, where there is a device mapper. */
static void test_a_bad_device_is_said(void)
{
	char table[512], path[RIG_PATH_MAX], name[32], command[1024];
	int loop, fd;

	if (geteuid() != 0 || system("dmsetup version >/dev/null 2>&1") != 0)
		SKIP("no device mapper, or no dmsetup");
	CHECK(close(file_make(path_of("file"), FILE_BYTES)) == 0);
	loop = loop_make(path_of("file"), path);
	CHECK(loop >= 0);
	snprintf(name, sizeof(name), "zramfs-test-%d", getpid());
	snprintf(table, sizeof(table),
		 "0 2048 linear %s 0\\n2048 2048 error\\n4096 4096 linear %s 4096", path, path);
	snprintf(command, sizeof(command), "printf '%s' | dmsetup create %s", table, name);
	CHECK(system(command) == 0);
	snprintf(path, sizeof(path), "/dev/mapper/%s", name);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	CHECK(fd >= 0);
	begin(fd, ZR_BACKING_DEVICE);
	CHECK(do_write(0, MIB(1)) == 0 && do_write(MIB(2), MIB(1)) == 0);
	CHECK(do_write(MIB(1) - ZR_BLOCK_BYTES, KIB(64)) == -EIO);
	CHECK(do_read(MIB(1), ZR_BLOCK_BYTES) == -EIO);
	error_check(BACKING_IO_WRITE, EIO, MIB(1) - ZR_BLOCK_BYTES);
	CHECK(close(fd) == 0);
	snprintf(command, sizeof(command), "dmsetup remove %s", name);
	CHECK(system(command) == 0 && close(loop) == 0 && unlink(path_of("file")) == 0);
}

/* seals */

static void test_what_was_not_sealed_is_named(void)
{
	const struct zr_frame_owner owner = { .disk_id = 2, .page_no = 7 };
	const struct zr_frame_owner other = { .disk_id = 2, .page_no = 8 };
	const int fd = file_make(path_of("file"), FILE_BYTES);
	struct backing_io_error e;

	begin(fd, ZR_BACKING_SEALED);
	pattern_fill(9);
	memset(got, 0, sizeof(got));
	backing.io.seal(backing.io.context, &owner, 1, written, 100, got);
	CHECK(backing.io.open(backing.io.context, &owner, got, 100, got + KIB(8)) == 0);
	CHECK(memcmp(got + KIB(8), written, 100) == 0);
	no_error_check();
	CHECK(backing.io.open(backing.io.context, &other, got, 100, got + KIB(8)) == -EIO);
	CHECK(backing_io_take_error(&backing, &e));
	CHECK(e.kind == BACKING_IO_OPEN && e.error == EIO);
	CHECK(e.owner.disk_id == 2 && e.owner.page_no == 8);
	CHECK(unlink(path_of("file")) == 0 && close(fd) == 0);
}

static void *fail(void *offset)
{
	static _Alignas(ZR_BLOCK_BYTES) uint8_t bytes[ZR_BLOCK_BYTES];
	unsigned int i;

	for (i = 0; i < 200; ++i)
		CHECK(backing.io.write(backing.io.context, *(uint64_t *)offset, bytes,
				       sizeof(bytes)) == -EBADF);
	return NULL;
}

static void test_one_of_many_errors_is_said(void)
{
	uint64_t offsets[4] = { 0, KIB(4), KIB(8), KIB(12) };
	struct backing_io_error e;
	pthread_t threads[4];
	unsigned int i, n_taken = 0;

	begin(-1, 0);
	for (i = 0; i < 4; ++i)
		CHECK(pthread_create(&threads[i], NULL, fail, &offsets[i]) == 0);
	for (i = 0; i < 1000; ++i)
		n_taken += backing_io_take_error(&backing, &e);
	for (i = 0; i < 4; ++i)
		CHECK(pthread_join(threads[i], NULL) == 0);
	n_taken += backing_io_take_error(&backing, &e);
	CHECK(n_taken == 1 && e.kind == BACKING_IO_WRITE && e.error == EBADF);
}

int main(void)
{
	CHECK(seal_init() == 0);
	directory_make();
	RUN(test_all_is_read_and_written);
	RUN(test_without_o_direct_nothing_stays_cached);
	RUN(test_short_and_interrupted_calls_are_gone_on_with);
	RUN(test_a_file_cut_short_is_an_error);
	RUN(test_a_full_filesystem_is_said);
	RUN(test_what_is_punched_is_given_back);
	RUN(test_who_cannot_punch_is_asked_once);
	RUN(test_a_device_discards);
	RUN(test_a_failing_device_is_said);
	RUN(test_a_bad_device_is_said);
	RUN(test_what_was_not_sealed_is_named);
	RUN(test_one_of_many_errors_is_said);
	directory_remove();
	return 0;
}
