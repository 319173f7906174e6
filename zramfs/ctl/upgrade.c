/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl upgrade: another program, and the same disks
 */

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"
#include "base.h"
#include "control.h"
#include "say.h"
#include "verb.h"
#include "view.h"

#define DAEMON "zramfs"

/* What the daemon says of an upgrade begins so if it went wrong. */
#define FAILED "failed: "

/* The write returns when the new worker is ready to take over; how long that may take then. */
#define PATIENCE_S 30
#define LOOK_NS    20000000

enum {
	OPTION_ALL = 256,
};

static const struct option options[] = {
	{ "all", no_argument, NULL, OPTION_ALL },
	{ NULL, 0, NULL, 0 },
};

struct generation {
	uint64_t number;
	int worker;
};

static int generation_read(const struct mount *mount, struct generation *generation)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	size_t n_text;
	int r;

	r = ask_file(mount, ".control/zramfs/generation", &text, &n_text);
	if (r < 0)
		return r;
	if (sscanf(text, "%" SCNu64 " %d", &generation->number, &generation->worker) != 2)
		return -EPROTO;
	return 0;
}

/* Why it went wrong, in the daemon's words. Return: NULL if it has none. */
static char *failure_read(const struct mount *mount)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	size_t n_text;

	if (ask_file(mount, ".control/zramfs/upgrade", &text, &n_text) < 0 ||
	    strncmp(text, FAILED, strlen(FAILED)) != 0)
		return NULL;
	text[strcspn(text, "\n")] = 0;
	return say_text("%s", text + strlen(FAILED));
}

/* @error in our words where the daemon has none. */
static void failure_say(const struct mount *mount, int error)
{
	ZR_CLEANUP(zr_freep) char *why = failure_read(mount);

	if (error == EACCES || error == EPERM || !why)
		say_error("%s: not upgraded: %s", mount->path,
			  error == EOPNOTSUPP ? "it has no keeper" : say_reason(error));
	else
		say_error("%s: not upgraded: %s", mount->path, why);
}

/* Until another generation serves than @before. */
static int generation_wait(const struct mount *mount, uint64_t before, struct generation *now)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	struct timespec start, moment;
	int r;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		r = generation_read(mount, now);
		if (r == 0 && now->number != before)
			return 0;
		if (r < 0 && r != -ETIMEDOUT)
			return r;
		nanosleep(&pause, NULL);
		clock_gettime(CLOCK_MONOTONIC, &moment);
	} while (moment.tv_sec - start.tv_sec < PATIENCE_S);
	return -ETIMEDOUT;
}

/* @shown: which mount it is, or NULL if there is no question. */
static int result_print(const struct mount *mount, const struct generation *now, const char *shown)
{
	ZR_CLEANUP(zr_freep) char *why = failure_read(mount);
	ZR_CLEANUP(view_clear) struct view view = { 0 };
	char no_view[VIEW_WHY_MAX];
	const char *version;

	/* Another generation serves, but it need not be of the new program. */
	if (why) {
		say_error("%s: not upgraded: %s", mount->path, why);
		return VERB_FAILED;
	}
	version = view_read(mount, &view, no_view) == 0 && view.version ? view.version : "?";
	printf("%s%sgeneration %" PRIu64 " (pid %d) serves, zramfs %s\n", shown ? shown : "",
	       shown ? ": " : "", now->number, now->worker, version);
	return VERB_DONE;
}

static int mount_upgrade(const struct name *name, const char *path, const char *shown)
{
	const struct mount mount = name_mount(name);
	struct generation before, now;
	int r;

	r = generation_read(&mount, &before);
	if (r == -ENOENT || r == -ENODEV) {
		say_error("%s: its daemon cannot be upgraded: umount, and zramfs again",
			  mount.path);
		return VERB_FAILED;
	}
	if (r == 0)
		r = control_write_line(name, "zramfs/upgrade", path);
	if (r == 0) {
		r = generation_wait(&mount, before.number, &now);
		if (r == -ETIMEDOUT) {
			say_error("%s: no other generation serves after %d s", mount.path,
				  PATIENCE_S);
			return VERB_FAILED;
		}
	}
	if (r < 0) {
		failure_say(&mount, -r);
		return VERB_FAILED;
	}
	return result_print(&mount, &now, shown);
}

/* all of them */

/* Its file was replaced or removed since it was started; or that cannot be seen. */
static bool is_outdated(const struct mount *mount)
{
	static const char deleted[] = " (deleted)";
	struct generation served;
	char link[64], program[PATH_MAX];
	ssize_t n;

	if (generation_read(mount, &served) < 0)
		return true;
	snprintf(link, sizeof(link), "/proc/%d/exe", served.worker);
	n = readlink(link, program, sizeof(program) - 1);
	if (n < 0)
		return true;
	program[n] = 0;
	return (size_t)n >= strlen(deleted) && strcmp(program + n - strlen(deleted), deleted) == 0;
}

/* @path: of the program; "" for the one that is where each daemon's was, if it is another. */
static int all_upgrade(const char *path)
{
	struct mount *mounts;
	size_t n_mounts, n, i;
	int status = VERB_DONE;

	if (mounts_read_own(&mounts, &n_mounts, &n) < 0)
		return VERB_FAILED;
	for (i = 0; i < n; ++i) {
		ZR_CLEANUP(zr_freep) char *shown = say_text("%s", mounts[i].path);
		struct name name = { .mount = mounts[i].path,
				     .path = mounts[i].path,
				     .device = mounts[i].device };

		if (!*path && !is_outdated(&mounts[i]))
			continue;
		if (mount_upgrade(&name, path, say_for_output(shown)) != VERB_DONE)
			status = VERB_FAILED;
	}
	mounts_free(mounts, n_mounts);
	return status;
}

/* arguments */

/* A word that names a mount, and no program. */
static bool is_mount(const char *word)
{
	struct stat st;

	return strcmp(word, DAEMON) == 0 || (stat(word, &st) == 0 && S_ISDIR(st.st_mode));
}

/* From / on: the daemon's directory is another. Return: NULL after saying what is wrong. */
static char *program_find(const char *word)
{
	struct stat st;
	char *path;

	path = realpath(word, NULL);
	if (!path)
		say_error("%s: %s", word, strerror(errno));
	if (path && (stat(path, &st) < 0 || !S_ISREG(st.st_mode))) {
		say_error("%s: not a program", word);
		free(path);
		return NULL;
	}
	return path;
}

static int upgrade_run(int argc, char **argv)
{
	const char *program = NULL, *mount = DAEMON;
	ZR_CLEANUP(name_free) struct name name = { 0 };
	ZR_CLEANUP(zr_freep) char *path = NULL;
	bool is_all = false;
	int option;

	while ((option = verb_option(&verb_upgrade, argc, argv)) != -1) {
		if (option != OPTION_ALL)
			return VERB_MISUSED;
		is_all = true;
	}
	if (is_all && (argc - optind > 1 || (optind < argc && is_mount(argv[optind]))))
		return verb_misused(&verb_upgrade, "--all is of all mounts: name none");
	if (argc - optind > 2)
		return verb_misused(&verb_upgrade, "a program and a mount are all that is needed");
	if (optind < argc && (argc - optind == 2 || !is_mount(argv[optind])))
		program = argv[optind++];
	if (optind < argc)
		mount = argv[optind];

	path = program ? program_find(program) : say_text("%s", "");
	if (!path)
		return VERB_FAILED;
	if (is_all)
		return all_upgrade(path);
	if (name_find_any(mount, &name) < 0)
		return VERB_FAILED;
	if (name.disk)
		return verb_misused(&verb_upgrade, "%s: a disk; the mount is needed", mount);
	return mount_upgrade(&name, path, NULL);
}

const struct verb verb_upgrade = {
	.name = "upgrade",
	.arguments = "[--all] [PROGRAM] [MOUNT]",
	.help = "have another version of zramfs take over, while the disks are in use",
	.text = "PROGRAM is the new zramfs; without it the one at the path of the daemon's own.\n"
		"MOUNT is a directory, and may be left out if there is only one mount. If the new\n"
		"one is not fit to take over, the old one goes on.\n\n"
		"  --all  all mounts of yours; without PROGRAM, those whose program was replaced\n"
		"         since they were started, as a new package does\n",
	.short_options = "",
	.options = options,
	.run = upgrade_run,
};
