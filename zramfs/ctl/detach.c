/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl detach: a disk from its loop devices
 *
 * What loses nothing is done, and what would is refused: swapping to it is ended, which brings
 * everything back to memory; a filesystem is for whoever mounted it to unmount.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base.h"
#include "loop-change.h"
#include "say.h"
#include "swaps.h"
#include "verb.h"
#include "view.h"

/* How often it is looked whether another has ended swapping; and how many of these looks it may take
 * to let go of the device then. */
#define LOOK_MS       50
#define RELEASE_LOOKS 20u

enum {
	OPTION_FORCE = 256,
	OPTION_SWAP,
};

static const struct option options[] = {
	{ "all", no_argument, NULL, 'a' },
	{ "force", no_argument, NULL, OPTION_FORCE },
	{ "swap", no_argument, NULL, OPTION_SWAP },
	{ NULL, 0, NULL, 0 },
};

/* what may go */

static int refuse_used(const struct loop_user *loop)
{
	switch (loop->top) {
	case LOOP_TOP_MOUNT:
		say_error("%s: mounted on %s; first: umount %s", loop->top_device, loop->on_top,
			  loop->on_top);
		return -EBUSY;
	case LOOP_TOP_HOLDER:
		say_error("%s: used by %s, which must end first", loop->top_device, loop->on_top);
		return -EBUSY;
	default:
		return 0;
	}
}

static bool is_of_these(const struct swap_area *area, const struct loop_user *loops, size_t n_loops)
{
	size_t i;

	for (i = 0; i < n_loops; ++i) {
		if (loops[i].top == LOOP_TOP_SWAP && strcmp(area->path, loops[i].top_device) == 0)
			return true;
	}
	return false;
}

static uint64_t memory_available(void)
{
	uint64_t kib = 0;
	char line[256];
	FILE *file;

	file = fopen("/proc/meminfo", "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib * 1024;
}

/* On disks of zramfs, and zram: what goes there takes memory, too. */
struct in_memory {
	struct loop_user *loops;
	struct mount *mounts;
	size_t n_loops, n_mounts;
};

static void in_memory_read(struct in_memory *in_memory)
{
	*in_memory = (struct in_memory){ 0 };
	if (loops_read(&in_memory->loops, &in_memory->n_loops) < 0)
		in_memory->n_loops = 0;
	if (mounts_read(&in_memory->mounts, &in_memory->n_mounts) < 0)
		in_memory->n_mounts = 0;
}

static void in_memory_clear(struct in_memory *in_memory)
{
	loops_free(in_memory->loops, in_memory->n_loops);
	mounts_free(in_memory->mounts, in_memory->n_mounts);
}

static bool is_in_memory(const struct in_memory *in_memory, const struct swap_area *area)
{
	size_t i;

	for (i = 0; i < in_memory->n_loops; ++i) {
		const struct loop_user *loop = &in_memory->loops[i];

		if (loop->top == LOOP_TOP_SWAP && strcmp(area->path, loop->top_device) == 0 &&
		    loop_mount(loop, in_memory->mounts, in_memory->n_mounts))
			return true;
	}
	return strncmp(area->path, "/dev/zram", strlen("/dev/zram")) == 0;
}

/* What is out there must have room elsewhere, or the kernel kills programs to make it. */
static int refuse_without_room(const struct loop_user *loops, size_t n_loops)
{
	ZR_CLEANUP(in_memory_clear) struct in_memory in_memory = { 0 };
	uint64_t used_bytes = 0, room_bytes = memory_available();
	struct swap_area *areas;
	size_t n_areas, i;

	if (swaps_read(&areas, &n_areas) < 0)
		return 0;
	in_memory_read(&in_memory);
	for (i = 0; i < n_areas; ++i) {
		if (is_of_these(&areas[i], loops, n_loops))
			used_bytes += areas[i].used_bytes;
		else if (!is_in_memory(&in_memory, &areas[i]))
			room_bytes += areas[i].size_bytes - areas[i].used_bytes;
	}
	swaps_free(areas, n_areas);
	if (used_bytes <= room_bytes)
		return 0;

	say_error("%s: %" PRIu64 " MiB are swapped to it, and memory and other swap have room for "
		  "%" PRIu64 " MiB: not switched off; --force does it all the same",
		  loops[0].device, used_bytes >> 20, room_bytes >> 20);
	return -ENOMEM;
}

/* doing it */

static bool is_swapped_to(const char *device)
{
	struct swap_area *areas;
	size_t n_areas, i;
	bool found = false;

	if (swaps_read(&areas, &n_areas) < 0)
		return false;
	for (i = 0; i < n_areas; ++i)
		found = found || strcmp(areas[i].path, device) == 0;
	swaps_free(areas, n_areas);
	return found;
}

/* Whoever ended it lets go of the device a moment after it is no longer listed. */
static void wait_released(const char *device)
{
	unsigned int n_looks;
	int fd = -1;

	for (n_looks = 0; fd < 0 && n_looks < RELEASE_LOOKS; ++n_looks) {
		fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (fd < 0)
			poll(NULL, 0, LOOK_MS);
	}
	if (fd >= 0)
		close(fd);
}

/* Another may be about it, as at shutdown: then the kernel knows no such area that could be ended,
 * but lists it. It is waited for, and if it gives up, our turn comes. */
static int swapoff_or_wait(const char *device)
{
	while (swapoff(device) < 0) {
		if (errno != EINVAL)
			return -errno;
		if (!is_swapped_to(device)) {
			wait_released(device);
			return 0;
		}
		poll(NULL, 0, LOOK_MS);
	}
	return 0;
}

static int swap_end(const char *device)
{
	int r;

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "%s: bringing what is swapped to it back to memory\n", device);
	r = swapoff_or_wait(device);
	if (r == 0)
		return 0;
	if (r == -EPERM)
		say_error("%s: %s; ending swap is for root", device, strerror(-r));
	else if (r == -ENOMEM)
		say_error("%s: not switched off: no memory for what is swapped to it", device);
	else
		say_error("%s: not switched off: %s", device, strerror(-r));
	return r;
}

/* Partitions may be swapped to as well, each by itself. */
static int swaps_end(const char *device)
{
	struct loop_user loop;
	bool is_swap = true;
	int r = 0;

	while (r == 0 && is_swap) {
		if (loop_read(device, &loop) < 0)
			return 0; /* detached meanwhile */
		is_swap = loop.top == LOOP_TOP_SWAP;
		r = is_swap ? swap_end(loop.top_device) : refuse_used(&loop);
		loop_clear(&loop);
	}
	return r;
}

static int detach_one(const struct loop_user *loop)
{
	int fd, r;

	/* So that it is on this file as long as it is swapped off. */
	fd = loop_hold(loop, O_RDONLY);
	if (fd < 0)
		return fd == -ENODEV ? 0 : fd;
	r = swaps_end(loop->device);
	close(fd);
	return r < 0 ? r : loop_detach(loop);
}

static int detach_all(const struct loop_user *loops, size_t n_loops, bool force)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < n_loops; ++i)
		r = refuse_used(&loops[i]);
	if (r == 0 && !force)
		r = refuse_without_room(loops, n_loops);
	for (i = 0; r == 0 && i < n_loops; ++i)
		r = detach_one(&loops[i]);
	return r;
}

/* what is meant */

/* The disk's lock is held, and only now is it known what is to go. */
static int detach_locked(const struct name *name, int lock, bool force)
{
	struct loop_user *loops;
	struct loop_file file;
	size_t n_loops;
	int r;

	r = loops_read_locked(name, lock, &file, &loops, &n_loops);
	if (r < 0)
		return r;
	if (n_loops == 0) {
		say_error("%s: not attached", name->disk);
		r = -ENXIO;
	} else {
		r = detach_all(loops, n_loops, force);
	}
	loops_free(loops, n_loops);
	return r;
}

static int detach_name(const char *text, bool force)
{
	struct name name;
	int lock, r;

	r = name_find(text, &name);
	if (r < 0)
		return r;
	lock = loop_lock_named(&name);
	r = lock;
	if (lock >= 0) {
		r = detach_locked(&name, lock, force);
		close(lock);
	}
	name_free(&name);
	return r;
}

/* It is what it was before the lock was waited for, or it is left alone: loop_hold(). */
static int detach_device_of(const struct mount *mount, const struct loop_user *loop, bool force)
{
	struct loop_user now;
	int lock, r;

	/* A disk whose daemon is dead cannot be locked, and nobody can attach it either. */
	lock = loop_lock(mount, loop_disk(loop));
	if (lock < 0 && lock != -ENOTCONN && lock != -ECONNABORTED && lock != -ENOENT) {
		say_error("%s: %s: %s", loop->device, loop->backing, say_reason(-lock));
		return lock;
	}
	r = loop_read(loop->device, &now);
	if (r == 0) {
		now.file = loop->file;
		free(now.backing);
		now.backing = say_text("%s", loop->backing);
		r = detach_all(&now, 1, force);
		loop_clear(&now);
	} else {
		r = r == -ENODEV ? 0 : r; /* detached meanwhile */
	}
	if (lock >= 0)
		close(lock);
	return r;
}

/* Nothing of it can be seen but what attach set, and that it is on a FUSE mount that is there: such
 * mounts have a directory that is called by the minor number of their device. */
static bool is_of_hidden_mount(const struct loop_user *loop)
{
	char connection[64];

	snprintf(connection, sizeof(connection), "/sys/fs/fuse/connections/%u",
		 minor(loop->file.device));
	return loop->file.device != 0 && major(loop->file.device) == 0 &&
	       access(connection, F_OK) == 0 && loop->queue.write_back == 0 &&
	       loop->queue.sector_bytes == LOOP_SECTOR_BYTES;
}

/* On no disk that can be seen. To take it off by losetup alone may leave it without flushes. */
static int detach_stranger(const struct loop_user *loop, bool force)
{
	if (is_of_hidden_mount(loop)) {
		if (force)
			return detach_all(loop, 1, true);
		say_error("%s: it is on %s of a mount that was unmounted or is hidden, whose disks "
			  "go with their last user; --force detaches it all the same",
			  loop->device, loop->backing);
	} else if (loop->queue.write_back == 0 && !loop->read_only) {
		say_error("%s: it is on %s, which is no disk of zramfs; losetup --detach %s; and "
			  "since it goes without flushes, before another use: echo \"write "
			  "back\" >/sys/block/%s/queue/write_cache",
			  loop->device, loop->backing, loop->device,
			  strrchr(loop->device, '/') + 1);
	} else {
		say_error("%s: it is on %s, which is no disk of zramfs; losetup --detach %s",
			  loop->device, loop->backing, loop->device);
	}
	return -EINVAL;
}

/* By its device, which works when its daemon is dead. */
static int detach_device(const char *device, bool force)
{
	const struct mount *mount;
	struct loop_user loop;
	struct mount *mounts;
	size_t n_mounts;
	int r;

	r = loop_read(device, &loop);
	if (r < 0) {
		say_error("%s: %s", device, r == -ENODEV ? "not attached" : strerror(-r));
		return r;
	}
	r = mounts_read(&mounts, &n_mounts);
	if (r < 0) {
		say_error("cannot read what is mounted: %s", strerror(-r));
		loop_clear(&loop);
		return r;
	}

	mount = loop_mount(&loop, mounts, n_mounts);
	r = mount ? detach_device_of(mount, &loop, force) : detach_stranger(&loop, force);
	mounts_free(mounts, n_mounts);
	loop_clear(&loop);
	return r;
}

/* all */

/* Made for swap, as the daemon says; without its answer none is. */
static bool is_for_swap(const struct view *view, const char *name)
{
	size_t i;

	for (i = 0; i < view->n_disks; ++i) {
		if (strcmp(view->disks[i].name, name) == 0)
			return view->disks[i].format && strcmp(view->disks[i].format, "swap") == 0;
	}
	return false;
}

static bool is_wanted(const struct loop_user *loop, const struct view *view, bool swap_alone)
{
	return !swap_alone || loop->top == LOOP_TOP_SWAP ||
	       (loop->top == LOOP_TOP_NONE && is_for_swap(view, loop_disk(loop)));
}

/* One that stays keeps none of the others. */
static int detach_of_mount(const struct mount *mount, const struct loop_user *loops, size_t n_loops,
			   bool swap_alone, bool force)
{
	ZR_CLEANUP(view_clear) struct view view = { 0 };
	char why[VIEW_WHY_MAX];
	int status = VERB_DONE;
	size_t i;

	/* Its devices are what matters, and they can go when the daemon is dead. */
	if (swap_alone)
		(void)view_read(mount, &view, why);
	for (i = 0; i < n_loops; ++i) {
		if (loop_mount(&loops[i], mount, 1) && is_wanted(&loops[i], &view, swap_alone) &&
		    detach_device_of(mount, &loops[i], force) < 0)
			status = VERB_FAILED;
	}
	return status;
}

/* @where: a mount, or NULL for all. */
static int detach_everything(const char *where, bool swap_alone, bool force)
{
	size_t n_mounts, n_loops, i;
	int status = VERB_DONE, r;
	struct loop_user *loops;
	struct mount *mounts;

	if (name_mounts(where, &mounts, &n_mounts) < 0)
		return VERB_FAILED;
	r = loops_read(&loops, &n_loops);
	if (r < 0) {
		say_error("cannot read which loop devices there are: %s", strerror(-r));
		mounts_free(mounts, n_mounts);
		return VERB_FAILED;
	}
	for (i = 0; i < n_mounts; ++i) {
		if (detach_of_mount(&mounts[i], loops, n_loops, swap_alone, force) != VERB_DONE)
			status = VERB_FAILED;
	}
	loops_free(loops, n_loops);
	mounts_free(mounts, n_mounts);
	return status;
}

static int detach_run(int argc, char **argv)
{
	bool all = false, force = false, swap_alone = false;
	int option, r;

	while ((option = verb_option(&verb_detach, argc, argv)) >= 0) {
		switch (option) {
		case 'a':
			all = true;
			break;
		case OPTION_FORCE:
			force = true;
			break;
		case OPTION_SWAP:
			swap_alone = true;
			break;
		default:
			return VERB_MISUSED;
		}
	}
	if (swap_alone && !all)
		return verb_misused(&verb_detach, "--swap: is for --all alone");
	if (all && optind + 1 < argc)
		return verb_misused(&verb_detach, "one mount at most is needed");
	if (all)
		return detach_everything(argv[optind], swap_alone, force);
	if (optind + 1 != argc)
		return verb_misused(&verb_detach, "one disk or loop device is needed");

	r = loop_device_is(argv[optind]) ? detach_device(argv[optind], force)
					 : detach_name(argv[optind], force);
	return r < 0 ? VERB_FAILED : VERB_DONE;
}

const struct verb verb_detach = {
	.name = "detach",
	.arguments = "[--force] DISK|DEVICE|--all [--swap] [MOUNT]",
	.help = "take a disk off its loop devices, or one of them off its disk",
	.text = "Swapping to it is ended first. A filesystem must be unmounted before.\n"
		"\n"
		"  -a, --all    all disks, of MOUNT or of all mounts, that are attached\n"
		"      --swap   of these, those with format = swap or that are swapped to\n"
		"      --force  even if memory and other swap may not have room for what is\n"
		"               swapped to it; or if its mount is gone: the disk then goes with\n"
		"               its last device\n",
	.short_options = "a",
	.options = options,
	.run = detach_run,
};
