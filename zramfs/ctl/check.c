/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl check: what this system permits and lacks, for speed and for swap
 */

#include "check.h"

#include <stdio.h>
#include <string.h>

#include "base.h"
#include "name.h"
#include "say.h"
#include "verb.h"

static const struct option options[] = {
	{ NULL, 0, NULL, 0 },
};

static void check_clear(struct check *check)
{
	mounts_free(check->mounts, check->n_mounts);
	loops_free(check->loops, check->n_loops);
	swaps_free(check->areas, check->n_areas);
}

static int check_read(struct check *check)
{
	int r;

	*check = (struct check){ 0 };
	report_init(&check->report);
	r = mounts_read(&check->mounts, &check->n_mounts);
	if (r == 0)
		r = loops_read(&check->loops, &check->n_loops);
	if (r == 0)
		r = swaps_read(&check->areas, &check->n_areas);
	if (r < 0) {
		say_error("cannot read what is mounted and attached: %s", strerror(-r));
		check_clear(check);
	}
	return r;
}

static void check_everything(struct check *check)
{
	size_t i;

	check_system(check);
	check_memory(check);
	for (i = 0; i < check->n_mounts; ++i)
		check_daemon(check, &check->mounts[i]);
	for (i = 0; i < check->n_loops; ++i) {
		if (loop_mount(&check->loops[i], check->mounts, check->n_mounts))
			check_loop(check, &check->loops[i]);
		else
			check_other_loop(check, &check->loops[i]);
	}
}

/* A disk's loop devices; all of a mount's, and its daemon. */
static void check_named(struct check *check, const struct name *name)
{
	const struct mount *mount = NULL;
	struct mount named;
	bool is_attached = false;
	size_t i;

	for (i = 0; i < check->n_mounts; ++i) {
		if (strcmp(check->mounts[i].path, name->mount) == 0)
			mount = &check->mounts[i];
	}
	if (!name->disk && mount) {
		named = *mount;
		named.is_foreign = false;
		check_daemon(check, &named);
	}
	for (i = 0; i < check->n_loops; ++i) {
		const struct loop_user *loop = &check->loops[i];

		if (name->disk ? mount && loop_is_on(loop, mount, name->disk)
			       : mount && loop_mount(loop, mount, 1) != NULL) {
			check_loop(check, loop);
			is_attached = true;
		}
	}
	if (name->disk && !is_attached) {
		report_heading(&check->report, "%s", name->path);
		report_finding(&check->report, REPORT_OK, "loop devices", NULL, "not attached");
	}
}

static int check_device(struct check *check, const char *device)
{
	size_t i;

	for (i = 0; i < check->n_loops; ++i) {
		if (strcmp(check->loops[i].device, device) != 0)
			continue;
		if (loop_mount(&check->loops[i], check->mounts, check->n_mounts)) {
			check_loop(check, &check->loops[i]);
			return 0;
		}
		say_error("%s: it is on %s, which is no disk of zramfs", device,
			  check->loops[i].backing);
		return -1;
	}
	say_error("%s: not attached", device);
	return -1;
}

static int check_one(struct check *check, const char *text)
{
	struct name name;
	int r;

	if (loop_device_is(text))
		return check_device(check, text);
	r = name_find_any(text, &name);
	if (r < 0)
		return r;
	check_named(check, &name);
	name_free(&name);
	return 0;
}

static int check_run(int argc, char **argv)
{
	struct check check;
	bool found = true;
	int i;

	if (verb_option(&verb_check, argc, argv) >= 0)
		return VERB_MISUSED;
	if (check_read(&check) < 0)
		return VERB_FAILED;

	if (optind == argc)
		check_everything(&check);
	for (i = optind; i < argc; ++i)
		found = check_one(&check, argv[i]) == 0 && found;
	if (check.report.has_heading)
		found = report_end(&check.report) && found;
	check_clear(&check);
	return found ? VERB_DONE : VERB_FAILED;
}

const struct verb verb_check = {
	.name = "check",
	.arguments = "[MOUNT|DISK|DEVICE]...",
	.help = "what this system permits and lacks, for speed and for swap",
	.text = "Each finding is ok, warn or bad, and below it stands what to do about it.\n"
		"Without arguments the system, all mounts and all loop devices on their disks are\n"
		"looked at, however they were attached. The exit status is 1 if anything is bad.\n",
	.short_options = "",
	.options = options,
	.run = check_run,
};
