/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "verb.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base.h"
#include "nearest.h"
#include "say.h"

/* A long option as it was typed may carry its argument. */
static char *option_hint(const struct verb *verb, const char *typed)
{
	ZR_CLEANUP(zr_freep) char *word = say_text("%.*s", (int)strcspn(typed, "="), typed);
	struct nearest nearest;
	const struct option *option;
	ZR_CLEANUP(zr_freep) char *dashed = NULL;

	nearest_init(&nearest, word + 2);
	for (option = verb->options; option->name; ++option)
		nearest_offer(&nearest, option->name);
	if (!nearest.best)
		return say_text("%s", "");
	dashed = say_text("--%s", nearest.best);
	nearest.best = dashed;
	return nearest_hint(&nearest);
}

/* The long option of this table that was typed with an argument that it does not take. */
static bool takes_none(const struct verb *verb, const char *typed)
{
	const struct option *option;

	if (strncmp(typed, "--", 2) != 0 || !strchr(typed, '='))
		return false;
	for (option = verb->options; option->name; ++option) {
		if (option->val == optopt && option->has_arg == no_argument)
			return true;
	}
	return false;
}

static bool is_ambiguous(const struct verb *verb, const char *typed)
{
	const size_t n = strcspn(typed, "=");
	const struct option *option;
	unsigned int n_found = 0;

	for (option = verb->options; option->name; ++option)
		n_found += strncmp(option->name, typed + 2, n - 2) == 0;
	return n_found > 1;
}

static void unknown_say(const struct verb *verb, const char *typed)
{
	ZR_CLEANUP(zr_freep) char *hint = option_hint(verb, typed);

	if (is_ambiguous(verb, typed))
		verb_misused(verb, "%s: short for several options", typed);
	else
		verb_misused(verb, "%s: unknown option%s", typed, hint);
}

int verb_option(const struct verb *verb, int argc, char **argv)
{
	ZR_CLEANUP(zr_freep) char *short_options = say_text(":%s", verb->short_options);
	const char *typed;
	int option;

	option = getopt_long(argc, argv, short_options, verb->options, NULL);
	if (option != ':' && option != '?')
		return option;

	/* Name the option as it was typed: a short one may be one of several in its word. */
	typed = argv[optind - 1];
	if (option == ':' && strncmp(typed, "--", 2) == 0)
		verb_misused(verb, "%s: needs an argument", typed);
	else if (option == ':')
		verb_misused(verb, "-%c: needs an argument", optopt);
	else if (optopt == 0)
		unknown_say(verb, typed);
	else if (takes_none(verb, typed))
		verb_misused(verb, "%s: takes no argument", typed);
	else
		verb_misused(verb, "-%c: unknown option", optopt);
	return '?';
}

int verb_misused(const struct verb *verb, const char *format, ...)
{
	ZR_CLEANUP(zr_freep) char *line = NULL;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&line, format, args);
	va_end(args);
	if (r < 0) {
		line = NULL;
		say_no_memory();
	}
	say_error("%s; see zramfsctl help %s", line, verb->name);
	return VERB_MISUSED;
}
