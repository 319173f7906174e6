/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl: the table of verbs
 */

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "attributes.h"
#include "base.h"
#include "columns.h"
#include "nearest.h"
#include "say.h"
#include "verb.h"

#define OPTIONS_MAX 64u

static const struct verb *const verbs[] = {
	&verb_list,   &verb_add,   &verb_remove, &verb_set,     &verb_get,    &verb_init,
	&verb_reset,  &verb_stats, &verb_resize, &verb_compact, &verb_attach, &verb_swapon,
	&verb_detach, &verb_check, &verb_top,    &verb_upgrade,
};

static const struct verb *verb_find(const char *name)
{
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(verbs); ++i) {
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	}
	return NULL;
}

/* help */

static void usage_print(void)
{
	size_t i;

	fputs("Usage: zramfsctl [VERB] [OPTION]... [ARGUMENT]...\n"
	      "Show and change the disks of zramfs mounts.\n"
	      "\n",
	      stdout);
	for (i = 0; i < ZR_ARRAY_SIZE(verbs); ++i)
		printf("  %-8s  %s\n", verbs[i]->name, verbs[i]->help);
	fputs("  help      this, or more of a verb: zramfsctl help VERB\n"
	      "\n"
	      "  -V, --version  print the version\n"
	      "  -h, --help     print this help, or that of the verb\n"
	      "\n"
	      "Without a verb the disks are listed; options are those of list:\n"
	      "\n",
	      stdout);
	fputs(verb_list.text, stdout);
	columns_explain(stdout);
	fputs("\nA disk is called by its name, the path of its file, or a loop device on it.\n"
	      "For more see zramfsctl(8).\n",
	      stdout);
}

static void verb_explain(const struct verb *verb)
{
	char *help = say_text("%s", verb->help);

	if (*help >= 'a' && *help <= 'z')
		*help = (char)(*help - 'a' + 'A');
	printf("Usage: zramfsctl %s %s\n%s.\n", verb->name, verb->arguments, help);
	free(help);
	if (verb->text)
		printf("\n%s", verb->text);
	if (verb->explain)
		verb->explain(stdout);
}

/* Lists for programs: completion reads them. */
static bool list_print(const char *what)
{
	size_t i;

	if (strcmp(what, "--list-verbs") == 0) {
		for (i = 0; i < ZR_ARRAY_SIZE(verbs); ++i)
			puts(verbs[i]->name);
		puts("help");
	} else if (strcmp(what, "--list-columns") == 0) {
		for (i = 0; column_at(i); ++i)
			puts(column_at(i)->name);
	} else if (strcmp(what, "--list-attributes") == 0) {
		attributes_list(stdout);
	} else {
		return false;
	}
	return true;
}

static int verb_unknown(const char *name)
{
	ZR_CLEANUP(zr_freep) char *hint = NULL;
	struct nearest nearest;
	size_t i;

	nearest_init(&nearest, name);
	for (i = 0; i < ZR_ARRAY_SIZE(verbs); ++i)
		nearest_offer(&nearest, verbs[i]->name);
	nearest_offer(&nearest, "help");
	hint = nearest_hint(&nearest);
	say_error("%s: no such verb%s; see zramfsctl --help", name, hint);
	return VERB_MISUSED;
}

static int help_run(int argc, char **argv)
{
	const struct verb *verb;

	if (argc > 2) {
		say_error("help: one verb at most is needed; see zramfsctl --help");
		return VERB_MISUSED;
	}
	if (argc < 2 || strcmp(argv[1], "help") == 0) {
		usage_print();
		return VERB_DONE;
	}
	if (list_print(argv[1]))
		return VERB_DONE;
	verb = verb_find(argv[1]);
	if (!verb)
		return verb_unknown(argv[1]);
	verb_explain(verb);
	return VERB_DONE;
}

/* where the verb is */

/* Options of all verbs: which of them take an argument decides where the verb is. */
struct all_options {
	char letters[2 * OPTIONS_MAX];
	struct option options[OPTIONS_MAX];
	size_t n;
};

static void options_merge(struct all_options *all, const struct verb *verb)
{
	const struct option *option;
	size_t i;

	for (option = verb->options; option && option->name; ++option) {
		for (i = 0; i < all->n; ++i) {
			if (strcmp(all->options[i].name, option->name) == 0)
				break;
		}
		if (i == all->n && all->n < OPTIONS_MAX - 1)
			all->options[all->n++] = *option;
	}
	if (verb->short_options &&
	    strlen(all->letters) + strlen(verb->short_options) < sizeof(all->letters))
		strcat(all->letters, verb->short_options);
}

/* Return: argc if there is none. */
static int verb_position(int argc, char **argv)
{
	struct all_options all = { .letters = "+:" };
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(verbs); ++i)
		options_merge(&all, verbs[i]);
	/* What is wrong with an option is for the verb to say. */
	opterr = 0;
	while (getopt_long(argc, argv, all.letters, all.options, NULL) != -1)
		;
	return optind;
}

static bool is_asked(int argc, char **argv, const char *letter, const char *word)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; ++i) {
		if (strcmp(argv[i], letter) == 0 || strcmp(argv[i], word) == 0)
			return true;
	}
	return false;
}

/* The verb first, then what stood before it and after it. */
static void verb_to_front(int position, char **argv)
{
	char *verb = argv[position];

	memmove(argv + 1, argv, (size_t)position * sizeof(*argv));
	argv[1] = verb;
}

static int run(int argc, char **argv)
{
	const int position = verb_position(argc, argv);
	const struct verb *verb = &verb_list;

	if (position == argc || strchr(argv[position], '/')) {
		if (is_asked(argc, argv, "-h", "--help"))
			return help_run(1, argv);
		if (is_asked(position, argv, "-V", "--version")) {
			puts("zramfsctl " ZRAMFS_VERSION);
			return VERB_DONE;
		}
	} else {
		if (is_asked(position, argv, "-h", "--help"))
			return help_run(1, argv);
		verb_to_front(position, argv);
		++argv;
		--argc;
		if (strcmp(argv[0], "help") == 0)
			return help_run(is_asked(argc, argv, "-h", "--help") ? 1 : argc, argv);
		verb = verb_find(argv[0]);
		if (!verb)
			return verb_unknown(argv[0]);
		if (is_asked(argc, argv, "-h", "--help")) {
			verb_explain(verb);
			return VERB_DONE;
		}
	}
	optind = 0;
	return verb->run(argc, argv);
}

int main(int argc, char **argv)
{
	/* Names are shown as the terminal writes; numbers look the same everywhere. */
	setlocale(LC_CTYPE, "");
	return say_end(run(argc, argv));
}
