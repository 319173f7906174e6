/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl compact: memory back, now
 */

#include <stdio.h>
#include <string.h>

#include "control.h"
#include "human.h"
#include "mounts.h"
#include "say.h"
#include "verb.h"
#include "view.h"

static const struct option options[] = {
	{ NULL, 0, NULL, 0 },
};

/* Any disk that has a size: the memory is that of all. */
static const struct view_disk *disk_choose(const struct view *view, const char *wanted)
{
	size_t i;

	for (i = 0; i < view->n_disks; ++i) {
		if (wanted ? strcmp(view->disks[i].name, wanted) == 0 : view->disks[i].disksize > 0)
			return &view->disks[i];
	}
	return NULL;
}

static void result_print(const char *mount, uint64_t before, uint64_t after)
{
	ZR_CLEANUP(zr_freep) char *path = say_text("%s", mount);
	char back[HUMAN_MAX], then[HUMAN_MAX], now[HUMAN_MAX];

	if (before == VIEW_UNKNOWN || after == VIEW_UNKNOWN)
		return;
	printf("%s: %s came back: %s, was %s\n", say_for_output(path),
	       human_size(back, before > after ? before - after : 0), human_size(now, after),
	       human_size(then, before));
}

static int mount_view(const struct mount *mount, struct view *view)
{
	char why[VIEW_WHY_MAX];

	if (view_read(mount, view, why) == 0)
		return VERB_DONE;
	say_error("%s: %s", mount->path, why);
	return VERB_FAILED;
}

static int view_compact(const struct mount *mount, const struct view *view, const char *wanted)
{
	ZR_CLEANUP(view_clear) struct view after = { 0 };
	const struct view_disk *disk;
	struct name name;

	disk = disk_choose(view, wanted);
	if (!disk) {
		/* There is nothing in it. */
		result_print(mount->path, view->total.store_memory, view->total.store_memory);
		return VERB_DONE;
	}
	name = (struct name){ mount->path, disk->name, disk->path, mount->device };
	if (control_write(&name, zr_attr_find("compact"), "1") < 0 ||
	    mount_view(mount, &after) != VERB_DONE)
		return VERB_FAILED;
	result_print(mount->path, view->total.store_memory, after.total.store_memory);
	return VERB_DONE;
}

static int mount_compact(const struct mount *mount, const char *wanted)
{
	ZR_CLEANUP(view_clear) struct view view = { 0 };

	if (mount_view(mount, &view) != VERB_DONE)
		return VERB_FAILED;
	return view_compact(mount, &view, wanted);
}

static int all_compact(void)
{
	struct mount *mounts;
	size_t n_mounts, n, i;
	int status = VERB_DONE;

	if (mounts_read_own(&mounts, &n_mounts, &n) < 0)
		return VERB_FAILED;
	for (i = 0; i < n; ++i) {
		if (mount_compact(&mounts[i], NULL) != VERB_DONE)
			status = VERB_FAILED;
	}
	mounts_free(mounts, n_mounts);
	return status;
}

static int compact_run(int argc, char **argv)
{
	ZR_CLEANUP(name_free) struct name name = { 0 };
	struct mount mount;

	if (verb_option(&verb_compact, argc, argv) != -1)
		return VERB_MISUSED;
	if (optind == argc)
		return all_compact();
	if (optind + 1 < argc)
		return verb_misused(&verb_compact, "one name at most is needed");
	if (name_find_any(argv[optind], &name) < 0)
		return VERB_FAILED;
	mount = name_mount(&name);
	return mount_compact(&mount, name.disk);
}

const struct verb verb_compact = {
	.name = "compact",
	.arguments = "[NAME]",
	.help = "give back now what free cells hold, and print how much that was",
	.text = "The disks of a mount share their memory: NAME says which mount. Without it all\n"
		"are compacted. This happens by itself, too, a little later.\n",
	.short_options = "",
	.options = options,
	.run = compact_run,
};
