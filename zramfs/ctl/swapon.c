/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl swapon: swap to a disk
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

#include "base.h"
#include "control.h"
#include "loop-change.h"
#include "say.h"
#include "system.h"
#include "verb.h"
#include "view.h"

#define PRIORITY_MAX SWAP_FLAG_PRIO_MASK

/* The kernel's, which the C library's header lacks. */
#define FLAG_DISCARD_PAGES 0x40000

#define SIGNATURE       "SWAPSPACE2"
#define SIGNATURE_BYTES 10

enum {
	OPTION_PRIORITY = 256,
};

static const struct option options[] = {
	{ "all", no_argument, NULL, 'a' },
	{ "priority", required_argument, NULL, OPTION_PRIORITY },
	{ NULL, 0, NULL, 0 },
};

/* -1: the kernel chooses. */
static int priority_parse(const char *text, int *priorityp)
{
	char *end;
	long priority;

	errno = 0;
	priority = strtol(text, &end, 10);
	if (errno || end == text || *end || priority < -1 || priority > PRIORITY_MAX)
		return -EINVAL;
	*priorityp = (int)priority;
	return 0;
}

/* What the disk says. */
static int priority_read(const struct name *name, int *priorityp)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	int r;

	r = control_read(name, zr_attr_find("swap_priority"), &text);
	if (r < 0)
		return r;
	r = priority_parse(text, priorityp);
	if (r < 0)
		say_error("%s: swap_priority is \"%s\"; -1 to %d is a priority", name->disk, text,
			  PRIORITY_MAX);
	return r;
}

/* At the end of the first page, for the system's size of page. @fd: of the disk, or of a device on
 * it. */
static int header_check(const struct name *name, int fd)
{
	char signature[SIGNATURE_BYTES];
	ssize_t n;

	n = pread(fd, signature, sizeof(signature), zr_system_page_bytes() - SIGNATURE_BYTES);
	if (n == SIGNATURE_BYTES && memcmp(signature, SIGNATURE, SIGNATURE_BYTES) == 0)
		return 0;
	say_error("%s: no swap area: it is one when made with format=swap, or after mkswap %s",
		  name->disk, name->path);
	return -EINVAL;
}

static bool is_usable(const struct loop_user *loop)
{
	return loop->top == LOOP_TOP_NONE && !loop->read_only && !loop->is_cut && !loop->detaching;
}

static const char *why_unusable(const struct loop_user *loop)
{
	switch (loop->top) {
	case LOOP_TOP_MOUNT:
		return "mounted on ";
	case LOOP_TOP_HOLDER:
		return "used by ";
	case LOOP_TOP_PARTITION:
		return "partitioned: ";
	default:
		return loop->read_only   ? "attached for reading alone"
		       : loop->detaching ? "to be detached when its last user closes it"
					 : "attached to a part of it";
	}
}

/* The first of the devices that will do; NULL if it is attached to none. Return: 0 or -errno. */
static int device_choose(const struct name *name, const struct loop_user *loops, size_t n_loops,
			 const struct loop_user **loopp)
{
	size_t i;

	for (i = 0; i < n_loops; ++i) {
		if (loops[i].top == LOOP_TOP_SWAP) {
			say_error("%s: already on, by %s", name->disk, loops[i].top_device);
			return -EBUSY;
		}
	}
	for (i = 0; i < n_loops; ++i) {
		if (!is_usable(&loops[i]))
			continue;
		if (!loops[i].direct_io)
			say_error("%s: attached without direct I/O, every page is kept twice; "
				  "losetup --direct-io=on %s",
				  loops[i].device, loops[i].device);
		*loopp = &loops[i];
		return 0;
	}
	*loopp = NULL;
	if (n_loops == 0)
		return 0;
	say_error("%s: %s is %s%s", name->disk, loops[0].device, why_unusable(&loops[0]),
		  loops[0].on_top ? loops[0].on_top : "");
	return -EBUSY;
}

static int swap_begin(const char *device, int priority)
{
	int flags = SWAP_FLAG_DISCARD | FLAG_DISCARD_PAGES, r;

	if (priority >= 0)
		flags |= SWAP_FLAG_PREFER | priority;
	if (swapon(device, flags) == 0)
		return 0;

	r = -errno;
	if (r == -EPERM)
		say_error("%s: %s; swapping on is for root", device, strerror(-r));
	else if (r == -EINVAL)
		say_error("%s: the kernel refuses its header: made for another size of disk or of "
			  "pages? mkswap %s makes a new one",
			  device, device);
	else
		say_error("%s: cannot swap to it: %s", device, strerror(-r));
	return r;
}

/* The device is on this disk, or nothing is done: others may take it for another file. */
static int swap_to_device(const struct name *name, const struct loop_user *loop, int priority)
{
	int fd, r;

	fd = loop_hold(loop, O_RDONLY);
	if (fd == -ENODEV)
		say_error("%s: detached meanwhile", loop->device);
	if (fd < 0)
		return fd;
	r = header_check(name, fd);
	if (r == 0)
		r = swap_begin(loop->device, priority);
	close(fd);
	if (r == 0)
		puts(loop->device);
	return r;
}

static int attach_and_swap(const struct name *name, const struct loop_file *file, int lock,
			   int priority)
{
	const struct loop_wish wish = { 0 };
	char device[LOOP_DEVICE_MAX];
	struct loop_user loop;
	int r;

	r = header_check(name, lock);
	if (r == 0)
		r = loop_attach(name, &wish, device);
	if (r < 0)
		return r;
	r = loop_read(device, &loop);
	if (r < 0) {
		say_error("%s: %s", device, strerror(-r));
		return r;
	}
	loop.file = *file;
	r = swap_to_device(name, &loop, priority);
	if (r < 0 && r != -ESTALE)
		(void)loop_detach(&loop);
	loop_clear(&loop);
	return r;
}

static bool is_on(const struct loop_user *loops, size_t n_loops)
{
	size_t i;

	for (i = 0; i < n_loops; ++i) {
		if (loops[i].top == LOOP_TOP_SWAP)
			return true;
	}
	return false;
}

/* The disk's lock is held. @again: nothing is wrong with one that is on already. */
static int swap_to(const struct name *name, int lock, int priority, bool again)
{
	struct loop_user *loops = NULL;
	const struct loop_user *loop;
	struct loop_file file;
	size_t n_loops = 0;
	int r;

	r = loops_read_locked(name, lock, &file, &loops, &n_loops);
	if (r < 0)
		return r;
	if (again && is_on(loops, n_loops))
		goto out;
	r = device_choose(name, loops, n_loops, &loop);
	if (r == 0)
		r = loop ? swap_to_device(name, loop, priority)
			 : attach_and_swap(name, &file, lock, priority);
out:
	loops_free(loops, n_loops);
	return r;
}

/* @text: the priority as it was typed, or NULL. */
static int swapon_name(const struct name *name, const char *text, bool again)
{
	int lock, priority = -1, r;

	r = text ? priority_parse(text, &priority) : priority_read(name, &priority);
	if (r < 0)
		return VERB_FAILED;
	lock = loop_lock_named(name);
	if (lock < 0)
		return VERB_FAILED;
	r = swap_to(name, lock, priority, again);
	close(lock);
	return r < 0 ? VERB_FAILED : VERB_DONE;
}

/* Every disk that is made for it. One that fails keeps none of the others. */
static int swapon_mount(const struct mount *mount, const char *text, size_t *n_foundp)
{
	ZR_CLEANUP(view_clear) struct view view = { 0 };
	char why[VIEW_WHY_MAX];
	int status = VERB_DONE;
	size_t i;

	if (view_read(mount, &view, why) < 0) {
		say_error("%s: %s", mount->path, why);
		return VERB_FAILED;
	}
	for (i = 0; i < view.n_disks; ++i) {
		const struct view_disk *disk = &view.disks[i];
		const struct name name = { mount->path, disk->name, disk->path, mount->device };

		if (!disk->format || strcmp(disk->format, "swap") != 0)
			continue;
		++*n_foundp;
		if (swapon_name(&name, text, true) != VERB_DONE)
			status = VERB_FAILED;
	}
	return status;
}

/* @where: a mount, or NULL for all. */
static int swapon_all(const char *where, const char *text)
{
	size_t n_mounts, n_found = 0, i;
	int status = VERB_DONE;
	struct mount *mounts;

	if (name_mounts(where, &mounts, &n_mounts) < 0)
		return VERB_FAILED;
	for (i = 0; i < n_mounts; ++i) {
		if (swapon_mount(&mounts[i], text, &n_found) != VERB_DONE)
			status = VERB_FAILED;
	}
	/* Whoever types this wants swap. */
	if (status == VERB_DONE && n_found == 0) {
		if (n_mounts == 1)
			say_error("%s: none of its disks has format = swap", mounts[0].path);
		else
			say_error("none of the disks of %zu mounts has format = swap", n_mounts);
		status = VERB_FAILED;
	}
	mounts_free(mounts, n_mounts);
	return status;
}

static int swapon_one(const char *called, const char *text)
{
	struct name name;
	int status;

	if (name_find(called, &name) < 0)
		return VERB_FAILED;
	status = swapon_name(&name, text, false);
	name_free(&name);
	return status;
}

static int swapon_run(int argc, char **argv)
{
	const char *text = NULL;
	bool all = false;
	int option, priority;

	while ((option = verb_option(&verb_swapon, argc, argv)) >= 0) {
		switch (option) {
		case 'a':
			all = true;
			break;
		case OPTION_PRIORITY:
			text = optarg;
			break;
		default:
			return VERB_MISUSED;
		}
	}
	if (all ? optind + 1 < argc : optind + 1 != argc)
		return verb_misused(&verb_swapon,
				    all ? "one mount at most is needed" : "one disk is needed");
	if (text && priority_parse(text, &priority) < 0)
		return verb_misused(&verb_swapon,
				    "--priority=%s: -1 (the kernel chooses) to %d is a priority",
				    text, PRIORITY_MAX);
	return all ? swapon_all(argv[optind], text) : swapon_one(argv[optind], text);
}

const struct verb verb_swapon = {
	.name = "swapon",
	.arguments = "[--priority=N] DISK|--all [MOUNT]",
	.help = "swap to a disk, attached first if it is not, and print its device",
	.text = "Pages that are freed are discarded, so that their memory comes back.\n"
		"\n"
		"  -a, --all         every disk with format = swap, of MOUNT or of all mounts,\n"
		"                      that is not on yet\n"
		"      --priority=N  -1 (the kernel chooses) to 32767; without it the disk's\n"
		"                      swap_priority\n",
	.short_options = "a",
	.options = options,
	.run = swapon_run,
};
