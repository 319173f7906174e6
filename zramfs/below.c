/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "below.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base.h"

#define MOUNTINFO   "/proc/self/mountinfo"
#define SYS_DEVICES "/sys/dev/block"
#define SYS_BTRFS   "/sys/fs/btrfs"

/* As many as the kernel follows. */
#define LINKS_MAX 40u

/* Nobody builds storage as high as this. */
#define DEPTH_MAX 16u

/* /sys/dev/block/4294967295:4294967295/slaves/NAME/dev */
#define SYS_PATH_MAX (NAME_MAX + 128u)

static void file_closep(FILE **filep)
{
	if (*filep)
		fclose(*filep);
}

static void directory_closep(DIR **directoryp)
{
	if (*directoryp)
		closedir(*directoryp);
}

/* mountinfo: what is mounted, without asking it */

struct mounted {
	bool is_zramfs, is_btrfs;
	/* What it is made of, if that is a path. The upper layer, of an overlay. */
	char source[PATH_MAX];
};

/* "\040" for a blank, as the kernel writes it. */
static void unescape(char *text)
{
	char *to = text;
	unsigned int code;

	for (; *text; ++to)
		if (sscanf(text, "\\%3o", &code) == 1) {
			*to = (char)code;
			text += 4;
		} else {
			*to = *text++;
		}
	*to = 0;
}

/* "36 35 98:0 / /point rw,noatime master:1 - type source options" */
static bool mounted_parse(const char *line, const struct below_place *place,
			  struct mounted *mounted)
{
	unsigned int id, device_major, device_minor;
	const char *right = strstr(line, " - "), *upper;
	char type[64];

	if (!right || sscanf(line, "%u %*u %u:%u", &id, &device_major, &device_minor) != 3 ||
	    sscanf(right, " - %63s %4095s", type, mounted->source) != 2)
		return false;

	/* Files of btrfs and overlay have numbers that no mount has. */
	if (place->mount_id ? id != place->mount_id
			    : makedev(device_major, device_minor) != place->device)
		return false;

	mounted->is_zramfs = strcmp(type, "fuse.zramfs") == 0;
	mounted->is_btrfs = strcmp(type, "btrfs") == 0;
	upper = strcmp(type, "overlay") == 0 ? strstr(right, ",upperdir=") : NULL;
	if (upper)
		(void)sscanf(upper, ",upperdir=%4095[^,\n]", mounted->source);
	unescape(mounted->source);
	if (mounted->source[0] != '/')
		mounted->source[0] = 0;
	return true;
}

static bool mounted_find(const struct below_place *place, struct mounted *mounted)
{
	ZR_CLEANUP(file_closep) FILE *text = fopen(MOUNTINFO, "re");
	ZR_CLEANUP(zr_freep) char *line = NULL;
	size_t n_line = 0;

	while (text && getline(&line, &n_line, text) > 0)
		if (mounted_parse(line, place, mounted))
			return true;
	return false;
}

/* What lies on a device of its own is no FUSE filesystem. */
static bool is_zramfs(const struct below_place *place, dev_t mount_device)
{
	struct mounted mounted;

	if (major(place->device) != 0)
		return false;
	return (mount_device && place->device == mount_device) ||
	       (mounted_find(place, &mounted) && mounted.is_zramfs);
}

/* the walk */

struct walk {
	int at;                   /* a directory, O_PATH */
	struct below_place place; /* of it, or of the end */
	dev_t mount_device;
	unsigned int n_links;
	char rest[PATH_MAX];
};

/* @fd is the next directory, or the end. Its device and type alone are asked for, which the kernel
 * knows by itself. */
static int walk_look(struct walk *walk, int fd, mode_t *modep)
{
	struct below_place place;
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MNT_ID, &st) < 0)
		return -errno;
	place.device = makedev(st.stx_dev_major, st.stx_dev_minor);
	place.mount_id = st.stx_mask & STATX_MNT_ID ? st.stx_mnt_id : 0; /* Linux 5.8 */
	if ((place.device != walk->place.device || place.mount_id != walk->place.mount_id) &&
	    is_zramfs(&place, walk->mount_device))
		return -ELOOP;
	walk->place = place;
	*modep = st.stx_mode;
	return 0;
}

static void walk_enter(struct walk *walk, int fd)
{
	if (walk->at >= 0)
		close(walk->at);
	walk->at = fd;
}

static int walk_root(struct walk *walk)
{
	const int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	mode_t mode;

	if (fd < 0)
		return -errno;
	walk_enter(walk, fd);
	return walk_look(walk, fd, &mode);
}

/* What a link says comes before what is left. */
static int walk_link(struct walk *walk, int fd, const char *left)
{
	char text[PATH_MAX];
	ssize_t n;
	int r;

	n = readlinkat(fd, "", text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	r = snprintf(text + n, sizeof(text) - (size_t)n, "/%s", left);
	if ((size_t)n + (size_t)r >= sizeof(text))
		return -ENAMETOOLONG;
	if (++walk->n_links > LINKS_MAX)
		return -EMLINK;
	memcpy(walk->rest, text, sizeof(text));
	return text[0] == '/' ? walk_root(walk) : 0;
}

/* One name. Return: 1: it was the last, and *file is found; 0; -errno. */
static int walk_step(struct walk *walk, struct below_file *file)
{
	const char *name = walk->rest + strspn(walk->rest, "/");
	const size_t n_name = strcspn(name, "/");
	const char *left = name + n_name + strspn(name + n_name, "/");
	mode_t mode;
	int fd, r;

	if (n_name > NAME_MAX)
		return -ENAMETOOLONG;
	snprintf(file->name, sizeof(file->name), "%.*s", n_name ? (int)n_name : 1,
		 n_name ? name : ".");
	fd = openat(walk->at, file->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT && !*left ? 1 : -errno;

	r = walk_look(walk, fd, &mode);
	if (r == 0 && S_ISLNK(mode)) {
		r = walk_link(walk, fd, left);
	} else if (r == 0 && !*left) {
		file->exists = fstat(fd, &file->st) == 0;
		r = file->exists ? 1 : -errno;
	} else if (r == 0) {
		memmove(walk->rest, left, strlen(left) + 1);
		walk_enter(walk, fd);
		return 0;
	}
	close(fd);
	return r;
}

int below_find(const char *path, dev_t mount_device, struct below_file *file)
{
	struct walk walk = { .at = -1, .mount_device = mount_device };
	int r;

	*file = (struct below_file){ .parent = -1 };
	if (path[0] != '/')
		return -EINVAL;
	if (strlen(path) >= sizeof(walk.rest))
		return -ENAMETOOLONG;
	memcpy(walk.rest, path, strlen(path) + 1);
	r = walk_root(&walk);
	while (r == 0)
		r = walk_step(&walk, file);
	if (r < 0) {
		walk_enter(&walk, -1);
		return r;
	}
	file->parent = walk.at;
	file->place = walk.place;
	return 0;
}

void below_file_close(struct below_file *file)
{
	if (file->parent >= 0)
		close(file->parent);
	file->parent = -1;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The walk went up and down this way, and no mount of zramfs is on it. */
bool below_is_under(const struct below_file *file, const struct stat *directory)
{
	int at = openat(file->parent, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), above;
	struct stat st, last = { 0 };
	bool is = false;

	while (at >= 0 && !is && fstat(at, &st) == 0 && !is_same(&st, &last)) {
		is = is_same(&st, directory);
		above = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = above;
		last = st;
	}
	if (at >= 0)
		close(at);
	return is;
}

/* what things are made of */

struct descent {
	dev_t mount_device;
	unsigned int depth;
	char through[NAME_MAX + 1]; /* the first device on the way; empty: none */
};

static int descend_device(struct descent *descent, dev_t device);
static int descend_filesystem(struct descent *descent, const struct below_place *place);

static int descend_file(struct descent *descent, const struct below_file *file)
{
	if (file->exists && S_ISBLK(file->st.st_mode))
		return descend_device(descent, file->st.st_rdev);
	return descend_filesystem(descent, &file->place);
}

static int descend_found(struct descent *descent, struct below_file *file)
{
	const int r = descend_file(descent, file);

	below_file_close(file);
	return r;
}

/* The text of a small file, without its newline. */
static bool sys_read(const char *path, char *text, size_t n_text)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, n_text - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	if (text[n - 1] == '\n')
		text[n - 1] = 0;
	return true;
}

/* @path is a file that says "MAJOR:MINOR". */
static int descend_number(struct descent *descent, const char *path)
{
	unsigned int device_major, device_minor;
	char text[64];

	if (!sys_read(path, text, sizeof(text)) ||
	    sscanf(text, "%u:%u", &device_major, &device_minor) != 2)
		return 0;
	return descend_device(descent, makedev(device_major, device_minor));
}

/* Each of the devices that a directory of sysfs names. */
static int descend_members(struct descent *descent, const char *path)
{
	ZR_CLEANUP(directory_closep) DIR *directory = opendir(path);
	char member[SYS_PATH_MAX + NAME_MAX + 8];
	struct dirent *entry;
	int r = 0;

	while (r == 0 && directory && (entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(member, sizeof(member), "%s/%s/dev", path, entry->d_name);
		r = descend_number(descent, member);
	}
	return r;
}

/* What follows is not inlined, for its paths are longer than all else on the way: threads of ours
 * have small stacks. */

/* The kernel's name of a device, as "loop3". */
__attribute__((noinline)) static void device_name(const char *sys_path, char name[NAME_MAX + 1])
{
	char target[PATH_MAX];
	const char *slash;
	ssize_t n;

	n = readlink(sys_path, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = 0;
	slash = strrchr(target, '/');
	snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, slash ? slash + 1 : target);
}

/* A path that the kernel names. Return: 1: found; 0: not, as from another mount namespace; -ELOOP.
 * */
__attribute__((noinline)) static int find_named(const struct descent *descent, const char *path,
						struct below_file *file)
{
	const int r = below_find(path, descent->mount_device, file);

	return r == 0 ? 1 : r == -ELOOP ? r : 0;
}

/* The file of a loop device. The kernel says where it was opened, and " (deleted)" if it has no
 * name any more: the walk ends at the mount before it comes to that. */
__attribute__((noinline)) static int find_loop_file(const struct descent *descent,
						    const char *sys_path, struct below_file *file)
{
	char text[PATH_MAX];

	return sys_read(sys_path, text, sizeof(text)) ? find_named(descent, text, file) : 0;
}

/* What the filesystem of a place is made of. */
__attribute__((noinline)) static int find_source(const struct descent *descent,
						 const struct below_place *place,
						 struct below_file *file, bool *is_btrfsp)
{
	struct mounted mounted;

	if (!mounted_find(place, &mounted) || !mounted.source[0])
		return 0;
	*is_btrfsp = mounted.is_btrfs;
	return find_named(descent, mounted.source, file);
}

static int descend_device(struct descent *descent, dev_t device)
{
	char path[64], below[SYS_PATH_MAX];
	struct below_file file;
	int r;

	if (++descent->depth > DEPTH_MAX)
		return -ELOOP;
	snprintf(path, sizeof(path), SYS_DEVICES "/%u:%u", major(device), minor(device));
	if (!descent->through[0])
		device_name(path, descent->through);

	snprintf(below, sizeof(below), "%s/partition", path);
	if (access(below, F_OK) == 0) {
		snprintf(below, sizeof(below), "%s/../dev", path);
		r = descend_number(descent, below);
	} else {
		snprintf(below, sizeof(below), "%s/loop/backing_file", path);
		r = find_loop_file(descent, below, &file);
		if (r == 1)
			r = descend_found(descent, &file);
		snprintf(below, sizeof(below), "%s/slaves", path);
		if (r == 0)
			r = descend_members(descent, below);
	}
	--descent->depth;
	return r;
}

/* Of a filesystem on several devices mountinfo names one. */
static int descend_btrfs(struct descent *descent, const struct below_file *source)
{
	char path[64], name[NAME_MAX + 1], pattern[SYS_PATH_MAX];
	glob_t found = { 0 };
	int r = 0;

	snprintf(path, sizeof(path), SYS_DEVICES "/%u:%u", major(source->st.st_rdev),
		 minor(source->st.st_rdev));
	device_name(path, name);
	snprintf(pattern, sizeof(pattern), SYS_BTRFS "/*/devices/%s", name);
	if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
		*strrchr(found.gl_pathv[0], '/') = 0;
		r = descend_members(descent, found.gl_pathv[0]);
	}
	globfree(&found);
	return r;
}

static int descend_anonymous(struct descent *descent, const struct below_place *place)
{
	struct below_file source;
	bool is_btrfs;
	int r;

	r = find_source(descent, place, &source, &is_btrfs);
	if (r != 1)
		return r;
	if (!is_btrfs)
		return descend_found(descent, &source);
	r = source.exists && S_ISBLK(source.st.st_mode) ? descend_btrfs(descent, &source) : 0;
	below_file_close(&source);
	return r;
}

static int descend_filesystem(struct descent *descent, const struct below_place *place)
{
	int r;

	if (is_zramfs(place, descent->mount_device))
		return -ELOOP;
	if (major(place->device) != 0)
		return descend_device(descent, place->device);
	if (++descent->depth > DEPTH_MAX)
		return -ELOOP;
	r = descend_anonymous(descent, place);
	--descent->depth;
	return r;
}

int below_check(const struct below_file *file, dev_t mount_device, char what[BELOW_WHAT_MAX])
{
	struct descent descent = { .mount_device = mount_device };
	int r;

	r = descend_file(&descent, file);
	if (r == -ELOOP && descent.through[0])
		snprintf(what, BELOW_WHAT_MAX, "%.128s, which lies on a mount of zramfs",
			 descent.through);
	else if (r == -ELOOP)
		snprintf(what, BELOW_WHAT_MAX, "a mount of zramfs");
	return r;
}
