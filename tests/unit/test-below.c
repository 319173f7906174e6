/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What a file lies on is found through everything that can be between: here a tmpfs is the mount
 * that nothing may lie on, and below a mount of zramfs that nobody serves whoever asked would wait
 * for ever.
 */

#include "backing-rig.h"

#include <dirent.h>
#include <linux/blkpg.h>

#include "below.h"

/* The tmpfs that is taken for our mount. */
static dev_t ours;

static bool ours_mount(void)
{
	if (!filesystem_mount("ours", "tmpfs", "none", "size=200m"))
		return false;
	ours = stat_of(path_of("ours")).st_dev;
	return true;
}

static int find(const char *path, struct below_file *file)
{
	return below_find(path, ours, file);
}

/* What becomes of a path that can be found; @what as well. */
static int check(const char *path, char what[BELOW_WHAT_MAX])
{
	struct below_file file;
	int r;

	what[0] = 0;
	r = find(path, &file);
	if (r < 0)
		return r;
	r = below_check(&file, ours, what);
	below_file_close(&file);
	return r;
}

static bool lies_on_ours(const char *path, const char *through)
{
	char what[BELOW_WHAT_MAX], expected[BELOW_WHAT_MAX];

	snprintf(expected, sizeof(expected), "%s, which lies on a mount of zramfs", through);
	return check(path, what) == -ELOOP && strcmp(what, expected) == 0;
}

static bool lies_elsewhere(const char *path)
{
	char what[BELOW_WHAT_MAX];

	return check(path, what) == 0 && what[0] == 0;
}

static void test_files_are_found(void)
{
	struct below_file file;
	char path[512];

	CHECK(close(file_make(path_of("file"), 5)) == 0);
	CHECK(find(path_of("file"), &file) == 0 && file.exists && file.parent >= 0);
	CHECK(strcmp(file.name, "file") == 0);
	CHECK(file.st.st_ino == stat_of(path_of("file")).st_ino && file.st.st_size == 5);
	CHECK(file.place.device == stat_of(directory).st_dev);
	below_file_close(&file);
	CHECK(file.parent == -1);
	below_file_close(&file);

	/* Not there, but its directory is. */
	CHECK(find(path_of("none"), &file) == 0 && !file.exists);
	CHECK(faccessat(file.parent, "file", F_OK, 0) == 0);
	below_file_close(&file);
	CHECK(find(path_of("none/none"), &file) == -ENOENT);
	CHECK(find(path_of("file/none"), &file) == -ENOTDIR);
	CHECK(find("relative", &file) == -EINVAL);

	snprintf(path, sizeof(path), "%s/.././/..%s//./file", directory, directory + 4);
	CHECK(find(path, &file) == 0 && file.exists && strcmp(file.name, "file") == 0);
	below_file_close(&file);
	CHECK(find("/", &file) == 0 && file.exists && S_ISDIR(file.st.st_mode));
	below_file_close(&file);
	CHECK(unlink(path_of("file")) == 0);
}

static void test_long_names_are_refused(void)
{
	static char path[2 * PATH_MAX];
	struct below_file file;

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	CHECK(find(path, &file) == -ENAMETOOLONG);
	path[NAME_MAX + 2] = 0;
	CHECK(find(path, &file) == -ENAMETOOLONG);
	path[NAME_MAX + 1] = 0;
	CHECK(find(path, &file) == 0 && !file.exists && strlen(file.name) == NAME_MAX);
	below_file_close(&file);
}

static void test_links_are_followed(void)
{
	struct below_file file;

	CHECK(mkdir(path_of("sub"), 0700) == 0);
	CHECK(close(file_make(path_of("sub/file"), 0)) == 0);
	CHECK(symlink("sub/../sub", path_of("relative")) == 0);
	CHECK(symlink(path_of("relative/file"), path_of("absolute")) == 0);
	CHECK(symlink("nowhere", path_of("dangling")) == 0);
	CHECK(symlink("circle", path_of("circle")) == 0);
	CHECK(find(path_of("absolute"), &file) == 0 && file.exists);
	CHECK(file.st.st_ino == stat_of(path_of("sub/file")).st_ino);
	below_file_close(&file);
	/* Where it would be made. */
	CHECK(find(path_of("dangling"), &file) == 0 && !file.exists);
	CHECK(strcmp(file.name, "nowhere") == 0);
	below_file_close(&file);
	CHECK(find(path_of("circle"), &file) == -EMLINK);
	CHECK(unlink(path_of("circle")) == 0 && unlink(path_of("dangling")) == 0);
	CHECK(unlink(path_of("absolute")) == 0 && unlink(path_of("relative")) == 0);
	CHECK(unlink(path_of("sub/file")) == 0 && rmdir(path_of("sub")) == 0);
}

static void test_our_mount_is_never_entered(void)
{
	struct below_file file;

	if (!ours_mount())
		SKIP("no filesystem can be mounted");
	CHECK(close(file_make(path_of("ours/file"), 0)) == 0);
	CHECK(symlink("ours/file", path_of("link")) == 0);
	CHECK(find(path_of("ours"), &file) == -ELOOP);
	CHECK(find(path_of("ours/file"), &file) == -ELOOP);
	CHECK(find(path_of("ours/none"), &file) == -ELOOP);
	CHECK(find(path_of("ours/../none"), &file) == -ELOOP);
	CHECK(find(path_of("link"), &file) == -ELOOP);
	CHECK(lies_elsewhere(directory));
	CHECK(unlink(path_of("link")) == 0);
	filesystem_unmount("ours");
}

/* Of another mount of zramfs, too. Nobody serves it: looking up a name in it would never end. */
static void test_a_mount_that_nobody_serves_is_not_asked(void)
{
	char options[128];
	struct below_file file;
	int fuse;

	ours = 0;
	fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	if (fuse < 0 || !filesystem_mount("other", "fuse.zramfs", "zramfs", options)) {
		if (fuse >= 0)
			CHECK(close(fuse) == 0);
		SKIP("no FUSE filesystem can be mounted");
	}
	alarm(20);
	CHECK(find(path_of("other"), &file) == -ELOOP);
	CHECK(find(path_of("other/disk0"), &file) == -ELOOP);
	alarm(0);
	CHECK(close(fuse) == 0);
	CHECK(umount2(path_of("other"), MNT_DETACH) == 0 && rmdir(path_of("other")) == 0);
}

/* devices */

static void test_loop_devices_are_followed(void)
{
	char lower[RIG_PATH_MAX], upper[RIG_PATH_MAX];
	int loop, second;

	if (!ours_mount())
		SKIP("no filesystem can be mounted");
	CHECK(close(file_make(path_of("ours/file"), MIB(4))) == 0);
	CHECK(close(file_make(path_of("file"), MIB(4))) == 0);
	loop = loop_make(path_of("file"), lower);
	if (loop >= 0) {
		CHECK(lies_elsewhere(lower));
		CHECK(close(loop) == 0);
		loop = loop_make(path_of("ours/file"), lower);
		CHECK(loop >= 0 && lies_on_ours(lower, lower + 5));
		second = loop_make(lower, upper);
		CHECK(second >= 0 && lies_on_ours(upper, upper + 5));
		CHECK(unlink(path_of("ours/file")) == 0);
		/* Without a name, too. */
		CHECK(lies_on_ours(lower, lower + 5) && lies_on_ours(upper, upper + 5));
		CHECK(close(second) == 0 && close(loop) == 0);
	}
	CHECK(unlink(path_of("file")) == 0);
	filesystem_unmount("ours");
	if (loop < 0)
		SKIP("no loop device is to be had");
}

static void test_partitions_are_followed(void)
{
	struct blkpg_partition partition = { .start = (long long)MIB(1),
					     .length = (long long)MIB(2),
					     .pno = 1 };
	struct blkpg_ioctl_arg add = { .op = BLKPG_ADD_PARTITION,
				       .datalen = sizeof(partition),
				       .data = &partition };
	char path[RIG_PATH_MAX], name[RIG_PATH_MAX + 4];
	struct loop_info64 info;
	bool has_partitions = false;
	int loop;

	if (!ours_mount())
		SKIP("no filesystem can be mounted");
	CHECK(close(file_make(path_of("ours/file"), MIB(4))) == 0);
	loop = loop_make(path_of("ours/file"), path);
	if (loop >= 0) {
		CHECK(ioctl(loop, LOOP_GET_STATUS64, &info) == 0);
		info.lo_flags |= LO_FLAGS_PARTSCAN;
		CHECK(ioctl(loop, LOOP_SET_STATUS64, &info) == 0);
		snprintf(name, sizeof(name), "%sp1", path);
		has_partitions = ioctl(loop, BLKPG, &add) == 0 && access(name, F_OK) == 0;
		CHECK(!has_partitions || lies_on_ours(name, name + 5));
		add.op = BLKPG_DEL_PARTITION;
		CHECK(!has_partitions || ioctl(loop, BLKPG, &add) == 0);
		CHECK(close(loop) == 0);
	}
	filesystem_unmount("ours");
	if (!has_partitions)
		SKIP("no partition of a loop device is to be had");
}

/* filesystems */

static bool make_filesystem(const char *program, const char *device, const char *more)
{
	char command[512];

	snprintf(command, sizeof(command), "PATH=$PATH:/sbin:/usr/sbin; %s %s %s >/dev/null 2>&1",
		 program, device, more);
	return system(command) == 0;
}

static void test_filesystems_on_loop_devices_are_followed(void)
{
	char path[RIG_PATH_MAX];
	int loop;

	if (!ours_mount())
		SKIP("no filesystem can be mounted");
	CHECK(close(file_make(path_of("ours/file"), MIB(16))) == 0);
	loop = loop_make(path_of("ours/file"), path);
	if (loop >= 0 && make_filesystem("mkfs.ext4 -q", path, "") &&
	    filesystem_mount("ext4", "ext4", path, NULL)) {
		CHECK(lies_on_ours(path_of("ext4/none"), path + 5));
		CHECK(close(file_make(path_of("ext4/file"), MIB(1))) == 0);
		CHECK(lies_on_ours(path_of("ext4/file"), path + 5));
		filesystem_unmount("ext4");
	} else {
		printf("# skipped: no loop device, or no ext4\n");
	}
	if (loop >= 0)
		CHECK(close(loop) == 0);
	filesystem_unmount("ours");
}

/* Its files have numbers that no mount has, and it may lie on several devices. */
static void test_btrfs_is_followed_to_each_device(void)
{
	char first[RIG_PATH_MAX], second[RIG_PATH_MAX], both[2 * RIG_PATH_MAX];
	int loops[2];

	if (!ours_mount())
		SKIP("no filesystem can be mounted");
	CHECK(close(file_make(path_of("file"), MIB(128))) == 0);
	CHECK(close(file_make(path_of("ours/file"), MIB(128))) == 0);
	loops[0] = loop_make(path_of("file"), first);
	loops[1] = loop_make(path_of("ours/file"), second);
	if (loops[1] >= 0) {
		if (make_filesystem("mkfs.btrfs -q", first, "") &&
		    filesystem_mount("btrfs", "btrfs", first, NULL)) {
			CHECK(lies_elsewhere(path_of("btrfs/file")));
			filesystem_unmount("btrfs");
		}
		snprintf(both, sizeof(both), "%s %s", first, second);
		if (make_filesystem("mkfs.btrfs -q -f", both, "") &&
		    filesystem_mount("btrfs", "btrfs", first, NULL)) {
			CHECK(close(file_make(path_of("btrfs/file"), 0)) == 0);
			CHECK(stat_of(path_of("btrfs/file")).st_dev != 0);
			CHECK(lies_on_ours(path_of("btrfs/file"), first + 5) ||
			      lies_on_ours(path_of("btrfs/file"), second + 5));
			filesystem_unmount("btrfs");
		} else {
			printf("# skipped: no btrfs\n");
		}
		CHECK(close(loops[1]) == 0);
	} else {
		printf("# skipped: no loop device\n");
	}
	if (loops[0] >= 0)
		CHECK(close(loops[0]) == 0);
	CHECK(unlink(path_of("file")) == 0);
	filesystem_unmount("ours");
}

/* Writes go to its upper layer. */
static void test_an_overlay_is_followed(void)
{
	char options[512], what[BELOW_WHAT_MAX];

	if (!ours_mount())
		SKIP("no filesystem can be mounted");
	CHECK(mkdir(path_of("ours/upper"), 0700) == 0 && mkdir(path_of("ours/work"), 0700) == 0);
	CHECK(mkdir(path_of("lower"), 0700) == 0);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", path_of("lower"),
		 path_of("ours/upper"), path_of("ours/work"));
	if (filesystem_mount("overlay", "overlay", "overlay", options)) {
		CHECK(check(path_of("overlay/file"), what) == -ELOOP);
		CHECK(strcmp(what, "a mount of zramfs") == 0);
		filesystem_unmount("overlay");
	} else {
		printf("# skipped: no overlay\n");
	}
	CHECK(rmdir(path_of("lower")) == 0);
	filesystem_unmount("ours");
}

static unsigned int n_open(void)
{
	DIR *fds = opendir("/proc/self/fd");
	unsigned int n = 0;

	CHECK(fds);
	while (readdir(fds))
		++n;
	CHECK(closedir(fds) == 0);
	return n;
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
	const unsigned int n = n_open();

	if (!mounts_have_ids()) {
		printf("skipped: statx(2) does not tell on which mount a file is\n");
		return 77;
	}
	directory_make();
	RUN(test_files_are_found);
	RUN(test_long_names_are_refused);
	RUN(test_links_are_followed);
	RUN(test_our_mount_is_never_entered);
	RUN(test_a_mount_that_nobody_serves_is_not_asked);
	RUN(test_loop_devices_are_followed);
	RUN(test_partitions_are_followed);
	RUN(test_filesystems_on_loop_devices_are_followed);
	RUN(test_btrfs_is_followed_to_each_device);
	RUN(test_an_overlay_is_followed);
	CHECK(n_open() == n);
	directory_remove();
	return 0;
}
