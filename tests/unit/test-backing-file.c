/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Files and devices that pages are written back to: which are taken and which are refused, by which
 * errno and which line; that nothing is destroyed on the way, that nobody else gets what is taken,
 * that a later generation knows it again, and what is left of it.
 */

#include "backing-rig.h"

#include <blkid/blkid.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/swap.h>
#include <sys/wait.h>

#include "backing-file.h"
#include "backing-mark.h"
#include "seal.h"
#include "swap-header.h"

static char why[BACKING_WHY_MAX];
static struct backing_file file;

/* fixtures */

static int open_wish(const struct backing_file_wish *wish)
{
	memset(why, 0, sizeof(why));
	memset(&file, 0x5a, sizeof(file));
	return backing_file_open(wish, &file, why);
}

static int open_sized(const char *path, uint64_t size_bytes)
{
	return open_wish(&(struct backing_file_wish){ .path = path, .size_bytes = size_bytes });
}

/* Refused, by this errno, and a line that names the path and has these words. */
static void refused(const struct backing_file_wish *wish, int error, const char *words)
{
	const int r = open_wish(wish);

	if (r != -error || strncmp(why, wish->path, strlen(wish->path)) != 0 ||
	    !strstr(why, words) || strchr(why, '\n'))
		fprintf(stderr, "# %d (not %d): %s (not: %s)\n", r, -error, why, words);
	CHECK(r == -error && strncmp(why, wish->path, strlen(wish->path)) == 0);
	CHECK(strstr(why, words) && !strchr(why, '\n'));
	CHECK(*(uint8_t *)&file == 0x5a);
}

static void refused_sized(const char *path, uint64_t size_bytes, int error, const char *words)
{
	refused(&(struct backing_file_wish){ .path = path, .size_bytes = size_bytes }, error,
		words);
}

static bool is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

static bool is_direct(int fd)
{
	return fcntl(fd, F_GETFL) & O_DIRECT;
}

/* A swap area, as mkswap makes it. */
static void swap_make(const char *path, uint64_t size_bytes)
{
	static struct zr_swap_header header;

	CHECK(zr_swap_header_make(&header, size_bytes, (const char[ZR_LABEL_MAX + 1]){ "" },
				  (const uint8_t[16]){ 1 }) == 0);
	file_write(path, header.bytes, header.n_bytes, 0);
}

static bool has_filesystem(const char *device)
{
	char command[256];

	snprintf(command, sizeof(command), "PATH=$PATH:/sbin:/usr/sbin; mkfs.ext4 -q -F %s",
		 device);
	return system(command) == 0;
}

static bool blkid_finds_nothing(int fd)
{
	blkid_probe probe = blkid_new_probe();
	int r;

	CHECK(probe && blkid_probe_set_device(probe, fd, 0, 0) == 0);
	CHECK(blkid_probe_enable_superblocks(probe, 1) == 0);
	CHECK(blkid_probe_enable_partitions(probe, 1) == 0);
	r = blkid_do_probe(probe);
	blkid_free_probe(probe);
	return r == 1;
}

static unsigned int n_interruptions;

int __real_fallocate64(int fd, int mode, off_t offset, off_t n_bytes);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t n_bytes);

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t n_bytes)
{
	if (n_interruptions == 0)
		return __real_fallocate64(fd, mode, offset, n_bytes);
	--n_interruptions;
	errno = EINTR;
	return -1;
}

/* what it is */

static void test_a_file_is_made_and_goes(void)
{
	const char *path = path_of("made");
	char text[256] = "";
	struct stat st;

	CHECK(open_sized(path, MIB(2) + 5000) == 0);
	st = stat_of(path);
	CHECK(st.st_size == (off_t)MIB(2) + 4096 && (st.st_mode & 07777) == 0600);
	CHECK(st.st_blocks <= 16);
	CHECK(file.is_made && !file.was_left && file.is_direct == is_direct(file.fd));
	CHECK(file.record.size_bytes == MIB(2) + 4096 && file.record.device == st.st_dev);
	CHECK(file.record.inode == st.st_ino && file.record.flags == 0);
	CHECK(file.record.seal_bytes == SEAL_PROOF_BYTES);
	CHECK(strcmp(file.record.path, path) == 0);
	CHECK(backing_file_verify(file.fd, &file.record, why) == 0);

	file_read(path, text, sizeof(text) - 1, 0);
	CHECK(strncmp(text, "zramfs backing file, version 1\n", 31) == 0);
	CHECK(strstr(text, "2101248 bytes, in use"));
	backing_file_close(file.fd, &file.record);
	CHECK(!is_there(path));
}

static void test_a_file_that_was_there_stays(void)
{
	const char *path = path_of("file");
	struct stat before;

	CHECK(close(file_make(path, 0)) == 0);
	before = stat_of(path);
	CHECK(open_sized(path, MIB(2)) == 0 && !file.is_made);
	CHECK(stat_of(path).st_size == (off_t)MIB(2) && stat_of(path).st_ino == before.st_ino);
	backing_file_close(file.fd, &file.record);
	/* Grown; never made shorter, though less of it is used. */
	CHECK(open_sized(path, MIB(4)) == 0 && file.record.size_bytes == MIB(4) && !file.was_left);
	backing_file_close(file.fd, &file.record);
	CHECK(open_sized(path, MIB(1)) == 0 && file.record.size_bytes == MIB(1));
	backing_file_close(file.fd, &file.record);
	CHECK(open_sized(path, 0) == 0 && file.record.size_bytes == MIB(4));
	backing_file_close(file.fd, &file.record);
	CHECK(unlink(path) == 0);
}

static void test_sizes_are_refused(void)
{
	const char *path = path_of("file");

	refused_sized(path, 0, ENOENT, "with a backing_size it is made");
	refused_sized(path, MIB(1) - 1, EINVAL, "below 1 MiB");
	refused_sized(path, BACKING_BYTES_MAX + 1, EINVAL, "above 64 TiB");
	CHECK(!is_there(path));
	CHECK(close(file_make(path, 0)) == 0);
	refused_sized(path, 0, EINVAL, "is empty; a backing_size is wanted");
	CHECK(truncate(path, MIB(1) - 1) == 0);
	refused_sized(path, 0, EINVAL, "too small");
	CHECK(stat_of(path).st_size == (off_t)MIB(1) - 1);
	CHECK(unlink(path) == 0);
}

static void test_paths_are_refused(void)
{
	char path[ZR_BACKING_PATH_MAX + 3];

	refused_sized("file", MIB(1), EINVAL, "not an absolute path");
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	CHECK(open_sized(path, MIB(1)) == -ENAMETOOLONG && strstr(why, "longer than 255 bytes"));
	refused_sized(path_of("none/file"), MIB(1), ENOENT, "its directory is not there");
	/* As long as can be. */
	snprintf(path, sizeof(path), "%s/", directory);
	memset(path + strlen(path), 'x', ZR_BACKING_PATH_MAX - strlen(path));
	path[ZR_BACKING_PATH_MAX] = 0;
	CHECK(open_sized(path, MIB(1)) == 0 && strcmp(file.record.path, path) == 0);
	backing_file_close(file.fd, &file.record);
	CHECK(!is_there(path));
}

static void test_what_is_no_file_is_refused(void)
{
	CHECK(mkdir(path_of("sub"), 0700) == 0 && mkfifo(path_of("pipe"), 0600) == 0);
	refused_sized(path_of("sub"), MIB(1), ENOTBLK,
		      "is a directory; a block device or a regular file is wanted");
	refused_sized(path_of("pipe"), MIB(1), ENOTBLK, "is a pipe");
	refused_sized("/dev/null", MIB(1), ENOTBLK, "is a character device");
	CHECK(rmdir(path_of("sub")) == 0 && unlink(path_of("pipe")) == 0);
}

static void test_a_link_is_followed(void)
{
	const char *path = path_of("link");

	CHECK(symlink("target", path) == 0);
	CHECK(open_sized(path, MIB(1)) == 0 && is_there(path_of("target")) && file.is_made);
	CHECK(strcmp(file.record.path, path) == 0);
	backing_file_close(file.fd, &file.record);
	CHECK(!is_there(path_of("target")) && unlink(path) == 0);
}

/* whose it is */

static void test_what_is_in_a_file_is_not_destroyed(void)
{
	const char *path = path_of("file");
	char text[64] = "";

	CHECK(close(file_make(path, MIB(2))) == 0);
	file_write(path, "dear diary", 10, KIB(128) - 10);
	refused_sized(path, MIB(4), EEXIST, "has data in it; if nobody needs that: rm ");
	file_read(path, text, 10, KIB(128) - 10);
	CHECK(strcmp(text, "dear diary") == 0 && stat_of(path).st_size == (off_t)MIB(2));
	/* Behind that nobody looks. */
	CHECK(truncate(path, 0) == 0 && truncate(path, MIB(2)) == 0);
	file_write(path, "dear diary", 10, KIB(128));
	CHECK(open_sized(path, 0) == 0);
	backing_file_close(file.fd, &file.record);

	CHECK(truncate(path, 0) == 0 && truncate(path, MIB(8)) == 0);
	if (has_filesystem(path)) {
		refused_sized(path, 0, EEXIST, "has a filesystem (ext4) in it");
		CHECK(truncate(path, 0) == 0 && truncate(path, MIB(8)) == 0);
	}
	/* A filesystem that leaves our mark where it was. */
	CHECK(open_sized(path, 0) == 0);
	backing_file_close(file.fd, &file.record);
	file_read(path, text, sizeof(text) - 1, 0);
	if (has_filesystem(path)) {
		file_write(path, text, sizeof(text) - 1, 0);
		refused_sized(path, 0, EEXIST, "has a filesystem (ext4) in it");
		CHECK(truncate(path, 0) == 0 && truncate(path, MIB(8)) == 0);
	}
	/* What mkswap prepared may be used. */
	swap_make(path, MIB(8));
	CHECK(open_sized(path, 0) == 0 && !file.is_made);
	backing_file_close(file.fd, &file.record);
	CHECK(unlink(path) == 0);
}

static void test_a_file_has_one_owner(void)
{
	const char *path = path_of("file");
	struct backing_file first;
	int copy, status;
	pid_t child;

	CHECK(open_sized(path, MIB(1)) == 0);
	first = file;
	refused_sized(path, MIB(1), EBUSY, "in use by another zramfs");
	/* Who shares the descriptor keeps it, whoever else closes theirs. */
	copy = dup(first.fd);
	CHECK(copy >= 0 && close(first.fd) == 0);
	refused_sized(path, MIB(1), EBUSY, "in use by another zramfs");
	CHECK(backing_file_verify(copy, &first.record, why) == 0);
	backing_file_close(copy, &first.record);
	CHECK(!is_there(path));

	/* A death gives it back; a file that zramfs made still goes in the end. */
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(open_sized(path, MIB(1)) == 0 ? 0 : 1);
	CHECK(waitpid(child, &status, 0) == child && status == 0 && is_there(path));
	CHECK(open_sized(path, 0) == 0 && file.was_left && file.is_made);
	CHECK(memcmp(file.record.nonce, first.record.nonce, 16) != 0);
	backing_file_close(file.fd, &file.record);
	CHECK(!is_there(path));
}

/* A copy has the mark, but nobody made it, and its holes were never written. */
static void test_a_copy_is_somebody_elses(void)
{
	const char *path = path_of("file"), *copy = path_of("copy");
	struct backing_file_wish wish = { .path = copy, .is_swap = true };
	struct backing_file first;
	uint8_t mark[BACKING_MARK_BYTES];

	CHECK(open_wish(&(struct backing_file_wish){
		      .path = path, .size_bytes = MIB(1), .is_swap = true }) == 0);
	first = file;
	file_read(path, mark, sizeof(mark), 0);
	CHECK(close(file_make(copy, MIB(1))) == 0);
	file_write(copy, mark, sizeof(mark), 0);
	CHECK(open_wish(&wish) == 0 && !file.is_made);
	CHECK(stat_of(copy).st_blocks * 512 >= (off_t)MIB(1));
	backing_file_close(file.fd, &file.record);
	CHECK(is_there(copy) && unlink(copy) == 0);
	backing_file_close(first.fd, &first.record);
}

static void test_a_file_below_a_loop_device_is_refused(void)
{
	const char *path = path_of("file");
	char loop_path[RIG_PATH_MAX], words[2 * RIG_PATH_MAX + 32];
	int loop;

	CHECK(close(file_make(path, MIB(1))) == 0);
	loop = loop_make(path, loop_path);
	if (loop >= 0) {
		snprintf(words, sizeof(words), "in use: %s is over it; losetup -d %s", loop_path,
			 loop_path);
		refused_sized(path, 0, EBUSY, words);
		CHECK(close(loop) == 0);
	}
	CHECK(unlink(path) == 0);
	if (loop < 0)
		SKIP("no loop device is to be had");
}

static void test_an_active_swap_file_is_refused(void)
{
	const char *path = path_of("file");
	static uint8_t zeros[MIB(1)];

	CHECK(close(file_make(path, MIB(1))) == 0);
	file_write(path, zeros, sizeof(zeros), 0);
	swap_make(path, MIB(1));
	if (swapon(path, SWAP_FLAG_PREFER | 0) < 0) {
		CHECK(unlink(path) == 0);
		SKIP("nothing can be swapped to");
	}
	refused_sized(path, 0, EBUSY, "in use: an active swap file; swapoff ");
	refused_sized(path, MIB(2), EBUSY, "in use: an active swap file; swapoff ");
	CHECK(swapoff(path) == 0);
	CHECK(stat_of(path).st_size == (off_t)MIB(1));
	CHECK(open_sized(path, 0) == 0);
	backing_file_close(file.fd, &file.record);
	CHECK(unlink(path) == 0);
}

static void test_what_lies_on_zramfs_is_refused(void)
{
	struct backing_file_wish wish = { .size_bytes = MIB(1) };
	char loop_path[RIG_PATH_MAX];
	int loop;

	if (!filesystem_mount("ours", "tmpfs", "none", "size=8m"))
		SKIP("no filesystem can be mounted");
	wish.mount_device = stat_of(path_of("ours")).st_dev;
	wish.path = path_of("ours/file");
	refused(&wish, ELOOP, "lies on a mount of zramfs; a file elsewhere is wanted");
	CHECK(!is_there(path_of("ours/file")));
	CHECK(close(file_make(path_of("ours/file"), MIB(4))) == 0);
	loop = loop_make(path_of("ours/file"), loop_path);
	if (loop >= 0) {
		wish.path = loop_path;
		refused(&wish, ELOOP, ", which lies on a mount of zramfs; a file elsewhere");
		CHECK(close(loop) == 0);
	}
	filesystem_unmount("ours");
}

/* keys */

static void test_keys_are_those_that_were_wished_for(void)
{
	static const uint8_t none[32];
	struct backing_file_wish wish = { .path = path_of("file"), .size_bytes = MIB(1) };
	unsigned int key, swap;
	bool is_sealed;

	for (swap = 0; swap < 2; ++swap)
		for (key = ZR_BACKING_KEY_DEFAULT; key <= ZR_BACKING_KEY_RANDOM; ++key) {
			wish.key = (enum zr_backing_key)key;
			wish.is_swap = swap;
			CHECK(open_wish(&wish) == 0);
			is_sealed = key == ZR_BACKING_KEY_RANDOM ||
				    (key == ZR_BACKING_KEY_DEFAULT && swap);
			CHECK(!!(file.record.flags & ZR_BACKING_SEALED) == is_sealed);
			CHECK(!!(file.record.flags & ZR_BACKING_FIXED) == swap);
			CHECK((memcmp(file.record.key, none, 32) != 0) == is_sealed);
			CHECK(memcmp(file.record.nonce, none, 16) != 0);
			CHECK(file.record.seal_bytes ==
			      (is_sealed ? SEAL_KEYED_BYTES : SEAL_PROOF_BYTES));
			backing_file_close(file.fd, &file.record);
		}
}

/* room */

/* Is any of it a promise still, or a hole? */
static bool is_written(int fd, uint64_t n_bytes)
{
	struct fiemap *map = calloc(1, sizeof(*map) + 64 * sizeof(map->fm_extents[0]));
	bool is_all = true;
	uint64_t at = 0;
	unsigned int i;

	CHECK(map);
	map->fm_length = n_bytes;
	map->fm_extent_count = 64;
	CHECK(ioctl(fd, FS_IOC_FIEMAP, map) == 0);
	for (i = 0; i < map->fm_mapped_extents; ++i) {
		is_all = is_all && map->fm_extents[i].fe_logical == at &&
			 !(map->fm_extents[i].fe_flags & FIEMAP_EXTENT_UNWRITTEN);
		at += map->fm_extents[i].fe_length;
	}
	free(map);
	return is_all && at >= n_bytes;
}

/* Written, so that nothing of it is a hole or only promised; once. */
static void test_for_swap_all_is_written(void)
{
	const char *path = path_of("file");
	struct backing_file_wish wish = { .path = path,
					  .size_bytes = MIB(3) + 4096,
					  .is_swap = true };
	struct stat before;

	CHECK(close(file_make(path, 0)) == 0);
	CHECK(open_wish(&wish) == 0 && file.record.flags & ZR_BACKING_FIXED);
	CHECK(stat_of(path).st_blocks * 512 >= (off_t)MIB(3) + 4096);
	CHECK(fsync(file.fd) == 0 && is_written(file.fd, MIB(3) + 4096));
	backing_file_close(file.fd, &file.record);
	/* What is on it is nobody's, but was written: seen by a byte that stays. */
	file_write(path, "x", 1, MIB(2));
	CHECK(open_wish(&wish) == 0);
	{
		char byte;

		file_read(path, &byte, 1, MIB(2));
		CHECK(byte == 'x');
	}
	backing_file_close(file.fd, &file.record);
	/* Not any more, once it may have been punched. */
	wish.is_swap = false;
	CHECK(open_wish(&wish) == 0 && !(file.record.flags & ZR_BACKING_FIXED));
	backing_file_close(file.fd, &file.record);
	wish.is_swap = true;
	CHECK(open_wish(&wish) == 0);
	{
		char byte;

		file_read(path, &byte, 1, MIB(2));
		CHECK(byte == 0);
	}
	backing_file_close(file.fd, &file.record);

	CHECK(truncate(path, 0) == 0);
	wish.is_swap = false;
	wish.is_preallocated = true;
	before = stat_of(path);
	CHECK(open_wish(&wish) == 0 && file.record.flags & ZR_BACKING_FIXED);
	CHECK(stat_of(path).st_blocks >= before.st_blocks + (blkcnt_t)(MIB(3) / 512));
	CHECK(!is_written(file.fd, MIB(3) + 4096));
	backing_file_close(file.fd, &file.record);
	CHECK(unlink(path) == 0);
}

static unsigned int n_asked;

static bool stop_later(void *after)
{
	return ++n_asked > *(unsigned int *)after;
}

static void test_writing_it_is_interrupted(void)
{
	const char *path = path_of("file");
	unsigned int after = 3;
	const struct zr_stop stop = { .is_wanted = stop_later, .context = &after };
	const struct backing_file_wish wish = {
		.path = path, .size_bytes = MIB(16), .is_swap = true, .stop = &stop
	};

	n_asked = 0;
	refused(&wish, EINTR, "interrupted while it was allocated");
	CHECK(n_asked == 4 && !is_there(path));
	CHECK(close(file_make(path, MIB(1))) == 0);
	n_asked = 0;
	refused(&wish, EINTR, "interrupted while it was allocated");
	CHECK(stat_of(path).st_size == (off_t)MIB(1) && unlink(path) == 0);
}

static bool die_later(void *after)
{
	if (stop_later(after))
		_exit(0);
	return false;
}

/* What is left is known as what zramfs made, and the next run goes on with it. */
static void test_a_death_while_it_is_written(void)
{
	const char *path = path_of("file");
	unsigned int after = 3;
	const struct zr_stop stop = { .is_wanted = die_later, .context = &after };
	struct backing_file_wish wish = {
		.path = path, .size_bytes = MIB(8), .is_swap = true, .stop = &stop
	};
	int status;
	pid_t child;

	n_asked = 0;
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(open_wish(&wish) == 0 ? 1 : 2);
	CHECK(waitpid(child, &status, 0) == child && status == 0 && is_there(path));
	wish.stop = NULL;
	CHECK(open_wish(&wish) == 0 && file.is_made && file.was_left);
	CHECK(fsync(file.fd) == 0 && is_written(file.fd, MIB(8)));
	backing_file_close(file.fd, &file.record);
	CHECK(!is_there(path));
}

/* A signal that nobody means to stop it with. */
static void test_an_interrupted_allocation_is_gone_on_with(void)
{
	n_interruptions = 3;
	CHECK(open_wish(&(struct backing_file_wish){ .path = path_of("file"),
						     .size_bytes = MIB(2),
						     .is_preallocated = true }) == 0);
	CHECK(n_interruptions == 0);
	CHECK(stat_of(path_of("file")).st_blocks * 512 >= (off_t)MIB(2));
	backing_file_close(file.fd, &file.record);
}

/* On @type, which has 4 MiB. */
static void full_filesystem(const char *type, const char *source, const char *options)
{
	struct backing_file_wish wish = { .path = path_of("full/file"),
					  .size_bytes = MIB(16),
					  .is_swap = true };
	unsigned int swap;

	if (!filesystem_mount("full", type, source, options)) {
		printf("# skipped: %s cannot be mounted\n", type);
		return;
	}
	for (swap = 0; swap < 2; ++swap) {
		wish.is_swap = swap;
		wish.is_preallocated = !swap;
		refused(&wish, ENOSPC, "there is no room for its 16 MiB");
		CHECK(!is_there(wish.path));
		CHECK(close(file_make(wish.path, MIB(1))) == 0);
		refused(&wish, ENOSPC, "there is no room for its 16 MiB");
		CHECK(stat_of(wish.path).st_size == (off_t)MIB(1) && unlink(wish.path) == 0);
	}
	filesystem_unmount("full");
}

static void test_a_full_filesystem_is_said(void)
{
	char path[RIG_PATH_MAX];
	int loop;

	full_filesystem("tmpfs", "none", "size=4m");
	CHECK(close(file_make(path_of("image"), MIB(4))) == 0);
	loop = loop_make(path_of("image"), path);
	if (loop >= 0 && has_filesystem(path))
		full_filesystem("ext4", path, NULL);
	else
		printf("# skipped: no ext4 on a loop device\n");
	if (loop >= 0)
		CHECK(close(loop) == 0);
	CHECK(unlink(path_of("image")) == 0);
}

/* Without fallocate(2), and without O_DIRECT. */
static void test_a_simple_filesystem_will_do(void)
{
	struct backing_file_wish wish = { .path = path_of("simple/file"),
					  .size_bytes = MIB(2),
					  .is_preallocated = true };

	if (!filesystem_mount("simple", "ramfs", "none", NULL))
		SKIP("no filesystem can be mounted");
	CHECK(open_wish(&wish) == 0 && file.is_direct == is_direct(file.fd));
	printf("# O_DIRECT on ramfs: %s\n", file.is_direct ? "yes" : "no");
	CHECK(stat_of(wish.path).st_size == (off_t)MIB(2));
	CHECK(stat_of(wish.path).st_blocks * 512 >= (off_t)MIB(2));
	CHECK(backing_file_verify(file.fd, &file.record, why) == 0);
	backing_file_close(file.fd, &file.record);
	CHECK(!is_there(wish.path));
	filesystem_unmount("simple");
}

/* devices */

static void test_a_device_is_taken_whole(void)
{
	const char *path = path_of("image");
	char device[RIG_PATH_MAX];
	struct backing_file first;
	uint64_t n_bytes;
	int loop;

	CHECK(close(file_make(path, MIB(8) + 512)) == 0);
	swap_make(path, MIB(8));
	loop = loop_make(path, device);
	if (loop < 0) {
		CHECK(unlink(path) == 0);
		SKIP("no loop device is to be had");
	}
	CHECK(!blkid_finds_nothing(loop) && ioctl(loop, BLKGETSIZE64, &n_bytes) == 0);
	refused_sized(device, MIB(16), EINVAL, "but the device has");
	CHECK(open_sized(device, 0) == 0 && file.record.size_bytes == MIB(8));
	CHECK(file.record.flags == ZR_BACKING_DEVICE && file.record.inode == 0 && !file.is_made);
	CHECK(file.record.device == stat_of(device).st_rdev && file.is_direct);
	first = file;
	refused_sized(device, 0, EBUSY, "in use: mounted, swapped on, or part of another device");
	/* Nothing is left of the swap header, and nothing is found in ours. */
	CHECK(ioctl(loop, BLKFLSBUF) == 0 && blkid_finds_nothing(loop));
	CHECK(backing_file_verify(first.fd, &first.record, why) == 0);
	backing_file_close(first.fd, &first.record);
	CHECK(is_there(device));
	/* Part of it, and silently: nobody's. */
	CHECK(open_sized(device, MIB(2)) == 0 && file.record.size_bytes == MIB(2));
	CHECK(!file.was_left);
	CHECK(backing_file_verify(first.fd, &first.record, why) < 0);
	backing_file_close(file.fd, &file.record);
	/* For swap it is never discarded from. */
	CHECK(open_wish(&(struct backing_file_wish){ .path = device, .is_swap = true }) == 0);
	CHECK(file.record.flags == (ZR_BACKING_DEVICE | ZR_BACKING_FIXED | ZR_BACKING_SEALED));
	backing_file_close(file.fd, &file.record);
	CHECK(close(loop) == 0 && unlink(path) == 0);
}

static void test_what_is_on_a_device_is_not_destroyed(void)
{
	static const uint8_t table[512] = {
		[450] = 0x83, [455] = 8, [459] = 16, [510] = 0x55, [511] = 0xaa
	};
	const char *path = path_of("image");
	char device[RIG_PATH_MAX], words[RIG_PATH_MAX + 64];
	uint8_t before[512], after[512];
	int loop;

	CHECK(close(file_make(path, MIB(8))) == 0);
	loop = loop_make(path, device);
	if (loop < 0) {
		CHECK(unlink(path) == 0);
		SKIP("no loop device is to be had");
	}
	if (has_filesystem(device)) {
		file_read(device, before, sizeof(before), 1024);
		snprintf(words, sizeof(words),
			 "has a filesystem (ext4) on it; if nobody needs that: wipefs -a %s",
			 device);
		refused_sized(device, 0, EEXIST, words);
		file_read(device, after, sizeof(after), 1024);
		CHECK(memcmp(before, after, sizeof(before)) == 0);
		if (filesystem_mount("mounted", "ext4", device, NULL)) {
			refused_sized(device, 0, EBUSY, "in use: mounted");
			filesystem_unmount("mounted");
		}
		memset(before, 0, sizeof(before));
		file_write(device, before, sizeof(before), 1024);
	}
	file_write(device, table, sizeof(table), 0);
	refused_sized(device, 0, EEXIST, "has a partition table (dos) on it");
	CHECK(close(loop) == 0 && unlink(path) == 0);
}

/* later generations */

static void stale(int fd, const struct zr_backing_record *record, const char *words)
{
	CHECK(backing_file_verify(fd, record, why) == -ESTALE);
	CHECK(strncmp(why, record->path, strlen(record->path)) == 0 && strstr(why, words));
}

static void test_a_file_is_known_again(void)
{
	static const uint8_t zeros[BACKING_MARK_BYTES];
	struct backing_file first, second;
	struct zr_backing_record other;
	uint8_t mark[BACKING_MARK_BYTES];
	const char *path = path_of("file");

	CHECK(open_sized(path, MIB(2)) == 0);
	first = file;
	CHECK(open_sized(path_of("other"), MIB(2)) == 0);
	second = file;
	stale(second.fd, &first.record, "is another file");
	other = first.record;
	other.nonce[3] ^= 1;
	stale(first.fd, &other, "somebody has written over it");

	CHECK(truncate(path, MIB(1)) == 0);
	stale(first.fd, &first.record, "was cut from 2097152 to 1048576 bytes");
	CHECK(truncate(path, MIB(2)) == 0);
	CHECK(backing_file_verify(first.fd, &first.record, why) == 0);
	CHECK(truncate(path, 100) == 0);
	stale(first.fd, &first.record, "was cut from 2097152 to 100 bytes");
	CHECK(truncate(path, MIB(2)) == 0);
	stale(first.fd, &first.record, "somebody has written over it");

	/* What is not ours any more is neither marked nor removed. */
	backing_file_close(first.fd, &first.record);
	CHECK(is_there(path));
	file_read(path, mark, 1, 4096);
	CHECK(mark[0] == 0 && unlink(path) == 0);

	/* Under another name it stays. */
	CHECK(rename(path_of("other"), path_of("kept")) == 0);
	backing_file_close(second.fd, &second.record);
	CHECK(is_there(path_of("kept")));
	CHECK(open_sized(path_of("kept"), 0) == 0 && !file.was_left && !file.is_made);
	file_write(path_of("kept"), zeros, sizeof(zeros), 0);
	stale(file.fd, &file.record, "somebody has written over it");
	CHECK(close(file.fd) == 0 && unlink(path_of("kept")) == 0);
}

/* Somebody else's file of that name is not removed instead. */
static void test_a_replaced_file_stays(void)
{
	const char *path = path_of("file");

	CHECK(open_sized(path, MIB(1)) == 0 && rename(path, path_of("moved")) == 0);
	CHECK(close(file_make(path, 1)) == 0);
	backing_file_close(file.fd, &file.record);
	CHECK(is_there(path) && is_there(path_of("moved")));
	CHECK(unlink(path) == 0 && unlink(path_of("moved")) == 0);
}

/* Not a test of speed: how long it takes until swap can be turned on. */
static void print_cost(void)
{
	const struct backing_file_wish wish = { .path = path_of("file"),
						.size_bytes = MIB(256),
						.is_swap = true };
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	CHECK(open_wish(&wish) == 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	backing_file_close(file.fd, &file.record);
	printf("# 256 MiB for swap in %.2f s\n",
	       (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
}

/* qemu-user says it tells, and tells nothing. */
static bool mounts_have_ids(void)
{
	struct statx st = { 0 };

	return statx(AT_FDCWD, "/", 0, STATX_MNT_ID, &st) == 0 && (st.stx_mask & STATX_MNT_ID) &&
	       st.stx_mnt_id != 0;
}

int main(void)
{
	if (!mounts_have_ids()) {
		printf("skipped: statx(2) does not tell on which mount a file is\n");
		return 77;
	}
	CHECK(seal_init() == 0);
	umask(022);
	directory_make();
	RUN(test_a_file_is_made_and_goes);
	RUN(test_a_file_that_was_there_stays);
	RUN(test_sizes_are_refused);
	RUN(test_paths_are_refused);
	RUN(test_what_is_no_file_is_refused);
	RUN(test_a_link_is_followed);
	RUN(test_what_is_in_a_file_is_not_destroyed);
	RUN(test_a_file_has_one_owner);
	RUN(test_a_copy_is_somebody_elses);
	RUN(test_a_file_below_a_loop_device_is_refused);
	RUN(test_an_active_swap_file_is_refused);
	RUN(test_what_lies_on_zramfs_is_refused);
	RUN(test_keys_are_those_that_were_wished_for);
	RUN(test_for_swap_all_is_written);
	RUN(test_writing_it_is_interrupted);
	RUN(test_a_death_while_it_is_written);
	RUN(test_an_interrupted_allocation_is_gone_on_with);
	RUN(test_a_full_filesystem_is_said);
	RUN(test_a_simple_filesystem_will_do);
	RUN(test_a_device_is_taken_whole);
	RUN(test_what_is_on_a_device_is_not_destroyed);
	RUN(test_a_file_is_known_again);
	RUN(test_a_replaced_file_stays);
	print_cost();
	directory_remove();
	return 0;
}
