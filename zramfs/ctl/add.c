/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl add, remove: disks come and go
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assignments.h"
#include "attributes.h"
#include "control.h"
#include "in-use.h"
#include "say.h"
#include "verb.h"

static const struct option add_options[] = {
	{ "mount", required_argument, NULL, 'm' },
	{ NULL, 0, NULL, 0 },
};

static const struct option no_options[] = {
	{ NULL, 0, NULL, 0 },
};

/* The words of a line of hot_add behind the name. */
static char *words_make(const struct assignments *assignments)
{
	char *words = say_text("%s", ""), *more;
	size_t i;

	for (i = 0; i < assignments->n; ++i) {
		more = say_text("%s \"%s=%s\"", words, assignments->at[i].attr->name,
				assignments->at[i].value);
		free(words);
		words = more;
	}
	return words;
}

/* Return: NULL after saying why there is no such line. */
static char *line_make(const char *disk, const struct assignments *assignments)
{
	ZR_CLEANUP(zr_freep) char *words = words_make(assignments);
	ZR_CLEANUP(zr_freep) char *line = say_text("\"%s\"%s", disk, words);
	char why[ZR_ATTR_WHY_MAX];
	struct zr_disk_spec spec;
	size_t i;
	bool quoted = strchr(disk, '"') != NULL;

	for (i = 0; i < assignments->n; ++i)
		quoted |= strchr(assignments->at[i].value, '"') != NULL;
	if (quoted) {
		say_error("%s: a name or a value with a quote in it cannot be given here; make the "
			  "disk with touch, and use zramfsctl set",
			  disk);
		return NULL;
	}

	zr_disk_spec_init(&spec, 0);
	if (zr_attr_parse_line(&spec, line, why) < 0) {
		say_error("%s", why);
		return NULL;
	}
	return ZR_STEAL(line);
}

/* EEXIST may be said of its backing file as well. */
static bool is_there(const struct name *name, const char *disk)
{
	const struct mount mount = name_mount(name);

	return name_mount_has(&mount, disk);
}

/* Return: was it the backing file, and has it been said? */
static bool backing_refusal_say(const struct name *name, const char *disk,
				const struct assignments *assignments, int error)
{
	const char *text;
	size_t i;

	for (i = 0; i < assignments->n; ++i) {
		const struct assignment *one = &assignments->at[i];

		if (strcmp(one->attr->name, "backing_dev") != 0)
			continue;
		text = control_backing_text(one->attr, error);
		if (!text || (error == EEXIST && is_there(name, disk)))
			return false;
		say_error("%s: %s=%s: %s", disk, one->attr->name, one->value, text);
		return true;
	}
	return false;
}

static void refusal_say(const struct name *name, const char *disk, int error)
{
	switch (error) {
	case EEXIST:
		say_error("%s: there is a disk of that name already", disk);
		break;
	case ENOENT:
		say_error("%s: its daemon has no hot_add", name->mount);
		break;
	case EACCES:
	case EPERM:
		say_error("%s: permission denied to add a disk to it", name->mount);
		break;
	case EINVAL:
	case ERANGE:
		say_error("%s: the daemon refused it; its log says why", disk);
		break;
	default:
		say_error("%s: %s", disk, say_reason(error));
		break;
	}
}

/* Without a name it is the first zram<N> that is free. */
static int disk_make(const struct name *name, const struct assignments *assignments)
{
	ZR_CLEANUP(zr_freep) char *path = NULL;
	char disk[ZR_NAME_MAX + 1];
	unsigned int i = 0;
	int r;

	do {
		ZR_CLEANUP(zr_freep) char *line = NULL;

		if (name->disk)
			snprintf(disk, sizeof(disk), "%s", name->disk);
		else
			snprintf(disk, sizeof(disk), "zram%u", i);
		line = line_make(disk, assignments);
		if (!line)
			return VERB_MISUSED;
		r = control_write_line(name, "hot_add", line);
	} while (r == -EEXIST && !name->disk && is_there(name, disk) && ++i < ZR_DISKS_MAX);

	if (r < 0) {
		if (!backing_refusal_say(name, disk, assignments, -r))
			refusal_say(name, disk, -r);
		return VERB_FAILED;
	}
	path = say_text("%s%s%s", name->mount, strcmp(name->mount, "/") == 0 ? "" : "/", disk);
	puts(say_for_output(path));
	return VERB_DONE;
}

static int add_run(int argc, char **argv)
{
	ZR_CLEANUP(assignments_clear) struct assignments assignments = { .n = 0 };
	ZR_CLEANUP(name_free) struct name name = { 0 }, made = { 0 };
	const char *mount = NULL, *text = NULL;
	int option, r;

	while ((option = verb_option(&verb_add, argc, argv)) != -1) {
		if (option != 'm')
			return VERB_MISUSED;
		mount = optarg;
	}
	if (optind < argc && !assignment_is_one(argv[optind]))
		text = argv[optind++];

	if (name_new(text, mount, &name) < 0)
		return VERB_FAILED;
	/* It has no name yet, but what is said is said of a disk. */
	made.mount = say_text("%s", name.mount);
	made.device = name.device;
	made.disk = say_text("%s", name.disk ? name.disk : "the new disk");
	r = assignments_take(&assignments, &verb_add, &made, true, argv + optind,
			     (size_t)(argc - optind));
	return r == VERB_DONE ? disk_make(&name, &assignments) : r;
}

/* remove */

static int disk_remove(const struct name *name)
{
	ZR_CLEANUP(zr_freep) char *why = NULL;
	int r;

	r = control_write_line(name, "hot_remove", name->disk);
	if (r == 0)
		return VERB_DONE;
	if (r == -EBUSY)
		why = in_use_text(name);
	say_error("%s: cannot be removed: %s", name->disk,
		  r == -EBUSY    ? why
		  : r == -ENOENT ? "its daemon has no hot_remove"
				 : say_reason(-r));
	return VERB_FAILED;
}

static int remove_run(int argc, char **argv)
{
	int status = VERB_DONE;

	if (verb_option(&verb_remove, argc, argv) != -1)
		return VERB_MISUSED;
	if (optind == argc)
		return verb_misused(&verb_remove, "the name of a disk is needed");
	for (; optind < argc; ++optind) {
		ZR_CLEANUP(name_free) struct name name = { 0 };

		if (name_find(argv[optind], &name) < 0 || disk_remove(&name) != VERB_DONE)
			status = VERB_FAILED;
	}
	return status;
}

const struct verb verb_add = {
	.name = "add",
	.arguments = "[NAME] [ATTR=VALUE...]",
	.help = "make a disk, and print the path of its file",
	.text = "  -m, --mount=DIR  the mount to make it in, if there are several\n"
		"\n"
		"NAME may be a path, MOUNT/NAME. Without it the disk is called zram0, zram1, and\n"
		"so on. Without disksize=SIZE the disk has no size yet; see init.\n",
	.explain = attributes_explain_config,
	.short_options = "m:",
	.options = add_options,
	.run = add_run,
};

const struct verb verb_remove = {
	.name = "remove",
	.arguments = "NAME...",
	.help = "remove disks, and all that is in them",
	.text = "A disk that is in use is not removed.\n",
	.short_options = "",
	.options = no_options,
	.run = remove_run,
};
