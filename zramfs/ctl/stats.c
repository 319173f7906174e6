/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl stats: .stats, or the parts of it about some disks
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "base.h"
#include "control.h"
#include "mounts.h"
#include "name.h"
#include "say.h"
#include "verb.h"

static const struct option options[] = {
	{ "reset", no_argument, NULL, 'r' },
	{ NULL, 0, NULL, 0 },
};

/* The end of a section: an empty line, or the end. A name has no newline, so that no heading can
 * stand in one. */
static size_t section_length(const char *section)
{
	const char *end = strstr(section, "\n\n");

	return end ? (size_t)(end - section) + 1 : strlen(section);
}

static char *section_find(char *text, const char *disk)
{
	ZR_CLEANUP(zr_freep) char *heading = say_text("[%s]\n", disk);
	char *at;

	for (at = text; at; at = strstr(at, "\n\n")) {
		at += strspn(at, "\n");
		if (strncmp(at, heading, strlen(heading)) == 0)
			return at;
	}
	return NULL;
}

/* @disk: NULL for all. */
static int stats_print(const struct mount *mount, const char *disk)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	char *section;
	size_t n_text;
	int r;

	r = ask_file(mount, ".stats", &text, &n_text);
	if (r < 0) {
		say_error("%s: %s", mount->path, say_reason(-r));
		return VERB_FAILED;
	}
	section = disk ? section_find(text, disk) : text;
	if (!section) {
		say_error("%s: no such disk", disk);
		return VERB_FAILED;
	}
	if (disk)
		section[section_length(section)] = 0;
	fputs(say_for_output(section), stdout);
	return VERB_DONE;
}

static int counters_reset(const struct mount *mount, const char *disk)
{
	int r;

	r = control_reset_counters(mount);
	if (r < 0)
		say_error("%s: counters cannot be reset: %s", mount->path, say_reason(-r));
	return r < 0 ? VERB_FAILED : VERB_DONE;
}

static int named_do(int (*one)(const struct mount *mount, const char *disk), char **words,
		    size_t n_words)
{
	int status = VERB_DONE;
	size_t i;

	for (i = 0; i < n_words; ++i) {
		ZR_CLEANUP(name_free) struct name name = { 0 };
		struct mount mount;

		if (i > 0 && one == stats_print)
			putchar('\n');
		if (name_find_any(words[i], &name) < 0) {
			status = VERB_FAILED;
			continue;
		}
		mount = name_mount(&name);
		if (one(&mount, name.disk) != VERB_DONE)
			status = VERB_FAILED;
	}
	return status;
}

static void heading_print(size_t i, const char *path)
{
	ZR_CLEANUP(zr_freep) char *text = say_text("%s", path);

	printf("%s==> %s <==\n", i > 0 ? "\n" : "", say_for_output(text));
}

static int all_do(int (*one)(const struct mount *mount, const char *disk))
{
	struct mount *mounts;
	size_t n_mounts, n, i;
	int status = VERB_DONE;

	if (mounts_read_own(&mounts, &n_mounts, &n) < 0)
		return VERB_FAILED;
	for (i = 0; i < n; ++i) {
		if (n > 1 && one == stats_print)
			heading_print(i, mounts[i].path);
		if (one(&mounts[i], NULL) != VERB_DONE)
			status = VERB_FAILED;
	}
	mounts_free(mounts, n_mounts);
	return status;
}

/* The counters of one disk cannot be reset alone. */
static int reset_check(char **words, size_t n_words)
{
	size_t i;

	for (i = 0; i < n_words; ++i) {
		ZR_CLEANUP(name_free) struct name name = { 0 };

		if (name_find_any(words[i], &name) < 0)
			return VERB_FAILED;
		if (name.disk)
			return verb_misused(&verb_stats,
					    "%s: --reset is for all disks of a mount; allowed: %s",
					    words[i], name.mount);
	}
	return VERB_DONE;
}

static int stats_run(int argc, char **argv)
{
	int (*one)(const struct mount *mount, const char *disk) = stats_print;
	int option, r;

	while ((option = verb_option(&verb_stats, argc, argv)) != -1) {
		if (option != 'r')
			return VERB_MISUSED;
		one = counters_reset;
	}
	if (optind == argc)
		return all_do(one);
	if (one == counters_reset) {
		r = reset_check(argv + optind, (size_t)(argc - optind));
		if (r != VERB_DONE)
			return r;
	}
	return named_do(one, argv + optind, (size_t)(argc - optind));
}

const struct verb verb_stats = {
	.name = "stats",
	.arguments = "[NAME...]",
	.help = "print all figures, in the words of rzscontrol and ours",
	.text = "  -r, --reset  set the counters of all disks of a mount to 0 instead; NAME is\n"
		"                 then a mount, and without one all mounts are meant\n",
	.short_options = "r",
	.options = options,
	.run = stats_run,
};
