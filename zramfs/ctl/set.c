/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl set, get, init: attributes of a disk, or of the daemon
 */

#include <stdio.h>
#include <string.h>

#include "assignments.h"
#include "attributes.h"
#include "control.h"
#include "human.h"
#include "say.h"
#include "verb.h"

#define INIT_PERCENT "25%"

static const struct option no_options[] = {
	{ NULL, 0, NULL, 0 },
};

static int set_run(int argc, char **argv)
{
	ZR_CLEANUP(assignments_clear) struct assignments assignments = { .n = 0 };
	ZR_CLEANUP(name_free) struct name name = { 0 };
	int r;

	if (verb_option(&verb_set, argc, argv) != -1)
		return VERB_MISUSED;
	if (argc - optind < 2)
		return verb_misused(&verb_set, "a name and ATTR=VALUE are needed");
	if (name_find_any(argv[optind], &name) < 0)
		return VERB_FAILED;
	r = assignments_take(&assignments, &verb_set, &name, false, argv + optind + 1,
			     (size_t)(argc - optind - 1));
	return r == VERB_DONE ? assignments_write(&assignments, &name) : r;
}

/* get */

/* A text of several lines stands a line at a time, each behind the attribute. */
static int attribute_print(const struct name *name, const struct zr_attr *attr)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	char *line, *rest;

	if (attr->stream)
		return control_copy(name, attr) < 0 ? VERB_FAILED : VERB_DONE;
	if (control_read(name, attr, &text) < 0)
		return VERB_FAILED;
	rest = say_for_output(text);
	while ((line = strsep(&rest, "\n")) != NULL)
		printf("%s=%s\n", attr->name, line);
	return VERB_DONE;
}

/* What is one value, and costs nothing to look at. */
static bool is_plain(const struct zr_attr *attr)
{
	const bool is_quick = !(attr->flags & ZR_ATTR_LONG) || attr->flags & ZR_ATTR_CONFIG;

	return attr->show && is_quick && strcmp(attr->type, "figures") != 0 &&
	       strcmp(attr->type, "table") != 0;
}

static int plain_print(const struct name *name)
{
	const unsigned int daemon_flag = name->disk ? 0 : ZR_ATTR_DAEMON;
	const struct zr_attr *attr;
	unsigned int i;
	int status = VERB_DONE;

	for (i = 0; status == VERB_DONE && (attr = zr_attr_next(&i)); ++i) {
		if ((attr->flags & ZR_ATTR_DAEMON) == daemon_flag &&
		    attr->flags & ZR_ATTR_CONTROL && is_plain(attr))
			status = attribute_print(name, attr);
	}
	return status;
}

static int named_print(const struct name *name, const char *attribute)
{
	const struct zr_attr *attr = name->disk ? zr_attr_find(attribute)
						: zr_attr_find_daemon(attribute);

	if (!attr)
		return verb_misused(&verb_get, "%s: no attribute %s",
				    name->disk ? name->disk : name->mount, attribute);
	return attribute_print(name, attr);
}

static int get_run(int argc, char **argv)
{
	ZR_CLEANUP(name_free) struct name name = { 0 };
	int status = VERB_DONE;

	if (verb_option(&verb_get, argc, argv) != -1)
		return VERB_MISUSED;
	if (optind == argc)
		return verb_misused(&verb_get, "a name is needed");
	if (name_find_any(argv[optind++], &name) < 0)
		return VERB_FAILED;
	if (optind == argc)
		return plain_print(&name);
	for (; status == VERB_DONE && optind < argc; ++optind)
		status = named_print(&name, argv[optind]);
	return status;
}

/* init */

static bool says_size(const struct assignments *assignments)
{
	const struct zr_attr *disksize = zr_attr_find("disksize");
	size_t i;

	for (i = 0; i < assignments->n; ++i) {
		if (assignments->at[i].attr == disksize)
			return true;
	}
	return false;
}

static int size_check(const struct name *name)
{
	int has_size;

	has_size = control_has_size(name);
	if (has_size > 0)
		say_error("%s: it has a size already; allowed: zramfsctl resize, or reset first",
			  name->disk);
	return has_size == 0 ? VERB_DONE : VERB_FAILED;
}

static int disk_init(const struct name *name, char **words, size_t n_words)
{
	ZR_CLEANUP(assignments_clear) struct assignments assignments = { .n = 0 };
	char *usual[] = { (char *)"disksize=" INIT_PERCENT };
	struct assignments size = { .n = 0 };
	int r;

	r = size_check(name);
	if (r == VERB_DONE)
		r = assignments_take(&assignments, &verb_init, name, false, words, n_words);
	if (r == VERB_DONE && !says_size(&assignments)) {
		r = assignments_take(&size, &verb_init, name, false, usual, 1);
		if (r == VERB_DONE)
			assignments_add(&assignments, size.at[0].attr, size.at[0].value);
		assignments_clear(&size);
	}
	return r == VERB_DONE ? assignments_write(&assignments, name) : r;
}

static int init_run(int argc, char **argv)
{
	ZR_CLEANUP(name_free) struct name name = { 0 };

	if (verb_option(&verb_init, argc, argv) != -1)
		return VERB_MISUSED;
	if (optind == argc)
		return verb_misused(&verb_init, "the name of a disk is needed");
	if (name_find(argv[optind], &name) < 0)
		return VERB_FAILED;
	return disk_init(&name, argv + optind + 1, (size_t)(argc - optind - 1));
}

const struct verb verb_set = {
	.name = "set",
	.arguments = "NAME ATTR=VALUE...",
	.help = "set attributes of a disk; NAME zramfs, or a mount, is the daemon",
	.text = "All of them are checked before any is set.\n",
	.explain = attributes_explain,
	.short_options = "",
	.options = no_options,
	.run = set_run,
};

const struct verb verb_get = {
	.name = "get",
	.arguments = "NAME [ATTR...]",
	.help = "print attributes as ATTR=VALUE; NAME as with set",
	.text = "Without ATTR: all attributes that are one value. A text of several lines is\n"
		"printed line by line, each behind ATTR=. What there is to read is listed by\n"
		"zramfsctl help set\n",
	.short_options = "",
	.options = no_options,
	.run = get_run,
};

const struct verb verb_init = {
	.name = "init",
	.arguments = "NAME [ATTR=VALUE...]",
	.help = "give a disk without a size its attributes, and a size",
	.text = "Without disksize=SIZE it is " INIT_PERCENT " of RAM.\n",
	.explain = attributes_explain_config,
	.short_options = "",
	.options = no_options,
	.run = init_run,
};
