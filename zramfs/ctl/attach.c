/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl attach: a loop device on a disk
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "loop-change.h"
#include "say.h"
#include "verb.h"

enum {
	OPTION_DEVICE = 256,
	OPTION_READ_ONLY,
};

static const struct option options[] = {
	{ "device", required_argument, NULL, OPTION_DEVICE },
	{ "read-only", no_argument, NULL, OPTION_READ_ONLY },
	{ NULL, 0, NULL, 0 },
};

/* A disk on two devices would have two views of itself, and neither knows of the other. */
static int refuse_attached(const struct name *name, int lock)
{
	struct loop_file file;
	struct loop_user *loops;
	size_t n_loops;
	int r;

	r = loops_read_locked(name, lock, &file, &loops, &n_loops);
	if (r < 0)
		return r;
	if (n_loops > 0) {
		say_error("%s: attached already: %s%s", name->disk, loops[0].device,
			  loops[0].detaching ? ", until its last user closes it" : "");
		r = -EBUSY;
	}
	loops_free(loops, n_loops);
	return r;
}

/* One that nobody is told of would be nobody's to detach. main.c says why. */
static int attach_and_tell(const struct name *name, const struct loop_wish *wish)
{
	char device[LOOP_DEVICE_MAX];
	struct loop_user loop;
	int r;

	r = loop_attach(name, wish, device);
	if (r < 0)
		return r;
	puts(device);
	if (fflush(stdout) == 0)
		return 0;
	if (loop_read(device, &loop) == 0) {
		(void)loop_detach(&loop);
		loop_clear(&loop);
	}
	return -EIO;
}

static int attach(const struct name *name, const struct loop_wish *wish)
{
	int lock, r;

	lock = loop_lock_named(name);
	if (lock < 0)
		return VERB_FAILED;
	r = refuse_attached(name, lock);
	if (r == 0)
		r = attach_and_tell(name, wish);
	close(lock);
	return r < 0 ? VERB_FAILED : VERB_DONE;
}

static int attach_run(int argc, char **argv)
{
	struct loop_wish wish = { 0 };
	struct name name;
	int option, status;

	while ((option = verb_option(&verb_attach, argc, argv)) >= 0) {
		switch (option) {
		case OPTION_DEVICE:
			wish.device = optarg;
			break;
		case OPTION_READ_ONLY:
			wish.read_only = true;
			break;
		default:
			return VERB_MISUSED;
		}
	}
	if (optind + 1 != argc)
		return verb_misused(&verb_attach, "one disk is needed");
	if (wish.device && !loop_device_is(wish.device))
		return verb_misused(&verb_attach,
				    "--device=%s: a loop device is /dev/loop0 and so "
				    "on",
				    wish.device);

	if (name_find(argv[optind], &name) < 0)
		return VERB_FAILED;
	status = attach(&name, &wish);
	name_free(&name);
	return status;
}

const struct verb verb_attach = {
	.name = "attach",
	.arguments = "[--read-only] [--device=/dev/loopN] DISK",
	.help = "make a loop device of a disk, and print which",
	.text = "With direct I/O, sectors of 4096 bytes, discards of 64 MiB at most, and no\n"
		"flushes, which do nothing for a disk in memory.\n"
		"\n"
		"      --device=/dev/loopN  this device; without it one that is free\n"
		"      --read-only          for reading alone\n",
	.short_options = "",
	.options = options,
	.run = attach_run,
};
