#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Verb: one thing that zramfsctl does
 *
 * A verb is a row of main.c's table. Its options are a table of getopt_long's; main.c reads them
 * too, since options may stand before the verb, so an option that several verbs have takes an
 * argument with all of them or with none. --help is main.c's.
 *
 * Ownership: rows are static.
 * Locking:   one thread.
 * Errors:    what goes wrong is said by who finds it (say.h); what is returned is the exit status.
 * Cost:      none worth a word.
 */

#include <getopt.h>
#include <stdio.h>

enum verb_status {
	VERB_DONE = 0,
	VERB_FAILED = 1,
	VERB_MISUSED = 2, /* wrong usage */
};

struct verb {
	const char *name;
	const char *arguments;      /* as a usage line shows them */
	const char *help;           /* one line, without a full stop */
	const char *text;           /* the rest of its help, whole lines; NULL: none */
	void (*explain)(FILE *out); /* what of its help is made from tables; NULL: nothing */

	/* NULL: it has no options, and reads its arguments as they are. */
	const char *short_options;
	const struct option *options;

	/* argv[0] is the verb. Return: enum verb_status. */
	int (*run)(int argc, char **argv);
};

/* The next option of the verb: its character or number, -1 at the end, when argv[optind] is the
 * first argument, or '?' once it was said what is wrong: VERB_MISUSED is to be returned then. */
int verb_option(const struct verb *verb, int argc, char **argv);

/* Says what is wrong with the arguments and where help is. Return: VERB_MISUSED. */
__attribute__((format(printf, 2, 3))) int verb_misused(const struct verb *verb, const char *format,
						       ...);

extern const struct verb verb_add, verb_attach, verb_check, verb_compact, verb_detach, verb_get,
	verb_init, verb_list, verb_remove, verb_reset, verb_resize, verb_set, verb_stats,
	verb_swapon, verb_top, verb_upgrade;
