/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl detach: a disk from its loop devices
 *
 * What loses nothing is done, and what would is refused: swapping to it is ended, which brings
 * everything back to memory; a filesystem is for whoever mounted it to unmount.
 */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

#include "base.h"
#include "loop-change.h"
#include "say.h"
#include "swaps.h"
#include "verb.h"

enum {
	OPTION_FORCE = 256,
};

static const struct option options[] = {
	{ "force", no_argument, NULL, OPTION_FORCE },
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

/* What is out there must have room elsewhere, or the kernel kills programs to make it. */
static int refuse_without_room(const struct loop_user *loops, size_t n_loops)
{
	uint64_t used_bytes = 0, room_bytes = memory_available();
	struct swap_area *areas;
	size_t n_areas, i;

	if (swaps_read(&areas, &n_areas) < 0)
		return 0;
	for (i = 0; i < n_areas; ++i) {
		if (is_of_these(&areas[i], loops, n_loops))
			used_bytes += areas[i].used_bytes;
		else
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

static int swap_end(const char *device)
{
	int r;

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "%s: bringing what is swapped to it back to memory\n", device);
	if (swapoff(device) == 0)
		return 0;

	r = -errno;
	if (r == -EPERM)
		say_error("%s: %s; ending swap is for root", device, strerror(-r));
	else if (r == -ENOMEM)
		say_error("%s: not switched off: no memory for what is swapped to it", device);
	else
		say_error("%s: not switched off: %s", device, strerror(-r));
	return r;
}

/* Partitions may be swapped to as well, each by itself. */
static int detach_one(const char *device)
{
	struct loop_user loop;
	bool is_swap = true;
	int r = 0;

	while (r == 0 && is_swap) {
		if (loop_read(device, &loop) < 0)
			return 0; /* detached meanwhile */
		is_swap = loop.top == LOOP_TOP_SWAP;
		if (is_swap)
			r = swap_end(loop.top_device);
		else
			r = refuse_used(&loop);
		if (r == 0 && !is_swap)
			r = loop_detach(&loop);
		loop_clear(&loop);
	}
	return r;
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
		r = detach_one(loops[i].device);
	return r;
}

/* A disk whose daemon is dead cannot be locked, and nobody can attach it either. */
static int detach_locked(const char *path, const struct loop_user *loops, size_t n_loops,
			 bool force)
{
	const int lock = loop_lock(path);
	int r;

	r = detach_all(loops, n_loops, force);
	if (lock >= 0)
		close(lock);
	return r;
}

/* what is meant */

static int detach_name(const char *text, bool force)
{
	struct loop_user *loops;
	struct name name;
	size_t n_loops;
	int r;

	r = name_find(text, &name);
	if (r < 0)
		return r;
	r = loops_read_on(name.path, &loops, &n_loops);
	if (r < 0) {
		say_error("cannot read which loop devices there are: %s", strerror(-r));
	} else {
		if (n_loops == 0) {
			say_error("%s: not attached", name.disk);
			r = -ENXIO;
		} else {
			r = detach_locked(name.path, loops, n_loops, force);
		}
		loops_free(loops, n_loops);
	}
	name_free(&name);
	return r;
}

/* By its device, which works when its mount answers no more. */
static int detach_device(const char *device, bool force)
{
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

	if (loop_mount(&loop, mounts, n_mounts)) {
		r = detach_locked(loop.backing, &loop, 1, force);
	} else {
		say_error("%s: it is on %s, which is no disk of zramfs; losetup --detach %s",
			  device, loop.backing, device);
		r = -EINVAL;
	}
	mounts_free(mounts, n_mounts);
	loop_clear(&loop);
	return r;
}

static int detach_run(int argc, char **argv)
{
	bool force = false;
	int option, r;

	while ((option = verb_option(&verb_detach, argc, argv)) >= 0) {
		if (option != OPTION_FORCE)
			return VERB_MISUSED;
		force = true;
	}
	if (optind + 1 != argc)
		return verb_misused(&verb_detach, "one disk or loop device is needed");

	r = loop_device_is(argv[optind]) ? detach_device(argv[optind], force)
					 : detach_name(argv[optind], force);
	return r < 0 ? VERB_FAILED : VERB_DONE;
}

const struct verb verb_detach = {
	.name = "detach",
	.arguments = "[--force] DISK|DEVICE",
	.help = "take a disk off its loop devices, or one of them off its disk",
	.text = "Swapping to it is ended first. A filesystem must be unmounted before.\n"
		"\n"
		"      --force  though memory and other swap may not hold what is swapped to it\n",
	.short_options = "",
	.options = options,
	.run = detach_run,
};
