/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl resize: another size, with what is in the disk
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assignments.h"
#include "below.h"
#include "human.h"
#include "in-use.h"
#include "loop-change.h"
#include "say.h"
#include "size.h"
#include "verb.h"

#define ALLOWED "SIZE, +SIZE or -SIZE: " ZR_SIZE_ALLOWED

static int size_work_out(const struct name *name, const char *text, uint64_t now_bytes,
			 uint64_t *bytesp)
{
	const char sign = *text == '+' || *text == '-' ? *text : 0;
	uint64_t bytes;
	int r;

	r = zr_size_parse(text + (sign != 0), ram_bytes(), &bytes);
	if (r == 0 && sign == '-' && bytes >= now_bytes) {
		say_error("%s: %s would leave nothing; to drop all data: zramfsctl reset",
			  name->disk, text);
		return VERB_MISUSED;
	}
	if (r == 0 && sign == '-')
		bytes = now_bytes - bytes;
	else if (r == 0 && sign == '+' && __builtin_add_overflow(now_bytes, bytes, &bytes))
		r = -ERANGE;
	if (r == 0 && bytes > ZR_DISK_SIZE_MAX)
		r = -ERANGE;
	if (r == 0 && bytes == 0)
		r = -EINVAL;
	if (r < 0) {
		say_error("%s: %s: %s; allowed: %s", name->disk, text,
			  r == -ERANGE ? "too large: up to 256T" : "not a size", ALLOWED);
		return VERB_MISUSED;
	}
	*bytesp = bytes;
	return VERB_DONE;
}

/* Tell the loop device, which looked at the size once. */
static int loop_update(const struct loop_user *loop)
{
	int fd, r;

	fd = loop_hold(loop, O_RDONLY);
	if (fd < 0)
		return fd == -ENODEV ? VERB_DONE : VERB_FAILED;
	r = ioctl(fd, LOOP_SET_CAPACITY) < 0 ? -errno : 0;
	close(fd);
	if (r < 0) {
		say_error("%s: does not know the new size: %s; as root: losetup -c %s",
			  loop->device, say_reason(-r), loop->device);
		return VERB_FAILED;
	}
	printf("%s: knows the new size%s%s\n", loop->device, loop->on_top ? ", but not " : "",
	       loop->on_top ? loop->on_top : "");
	return VERB_DONE;
}

static int loops_update(const struct name *name, const struct loop_file *file)
{
	const struct mount mount = name_mount(name);
	struct loop_user *loops;
	size_t n_loops, i;
	int status = VERB_DONE;

	if (loops_read_on(file, &mount, name->disk, &loops, &n_loops) < 0)
		return VERB_DONE;
	for (i = 0; i < n_loops; ++i) {
		if (loop_update(&loops[i]) != VERB_DONE)
			status = VERB_FAILED;
	}
	loops_free(loops, n_loops);
	return status;
}

/* A descriptor that only says which file is meant: another would be one that has the disk open, and
 * then it does not shrink. */
static int disk_pin(const struct name *name)
{
	const struct mount mount = name_mount(name);
	int fd;

	fd = below_open(&mount, name->disk, O_PATH);
	if (fd < 0)
		say_error("%s: %s", name->path, say_reason(-fd));
	return fd;
}

/* Return: 0 or -errno. */
static int pinned_truncate(int fd, uint64_t bytes)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return truncate(path, (off_t)bytes) < 0 ? -errno : 0;
}

static int pinned_resize(const struct name *name, int fd, const char *text)
{
	ZR_CLEANUP(zr_freep) char *disk = say_text("%s", name->disk);
	ZR_CLEANUP(zr_freep) char *why = NULL;
	char before[HUMAN_MAX], after[HUMAN_MAX];
	uint64_t bytes;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0) {
		say_error("%s: %s", name->path, say_reason(errno));
		return VERB_FAILED;
	}
	r = size_work_out(name, text, (uint64_t)st.st_size, &bytes);
	if (r != VERB_DONE)
		return r;

	r = pinned_truncate(fd, bytes);
	if (r < 0) {
		if (r == -EBUSY)
			why = in_use_text(name);
		say_error("%s: cannot be resized: %s", name->disk, why ? why : say_reason(-r));
		return VERB_FAILED;
	}
	printf("%s: %s, was %s\n", say_for_output(disk), human_size(after, bytes),
	       human_size(before, (uint64_t)st.st_size));
	return loops_update(name, &(struct loop_file){ st.st_dev, st.st_ino });
}

static int disk_resize(const struct name *name, const char *text)
{
	int fd, status;

	fd = disk_pin(name);
	if (fd < 0)
		return VERB_FAILED;
	status = pinned_resize(name, fd, text);
	close(fd);
	return status;
}

/* -SIZE looks like an option, so that getopt_long is not asked. */
static int resize_run(int argc, char **argv)
{
	ZR_CLEANUP(name_free) struct name name = { 0 };

	if (argc > 1 && strcmp(argv[1], "--") == 0) {
		++argv;
		--argc;
	}
	if (argc != 3)
		return verb_misused(&verb_resize, "the name of a disk and a size are needed");
	if (argv[1][0] == '-')
		return verb_misused(&verb_resize, "%s: unknown option", argv[1]);
	if (name_find(argv[1], &name) < 0)
		return VERB_FAILED;
	return disk_resize(&name, argv[2]);
}

const struct verb verb_resize = {
	.name = "resize",
	.arguments = "NAME [+|-]SIZE",
	.help = "change the size of a disk; what is in it stays",
	.text = "SIZE is " ZR_SIZE_ALLOWED ".\n"
		"A disk that is in use can grow, and does not shrink. A loop device on it is\n"
		"told, but not what is on that: a filesystem wants resize2fs or the like; swap\n"
		"must be turned off, made anew and turned on.\n",
	.run = resize_run,
};
