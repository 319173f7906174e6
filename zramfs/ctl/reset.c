/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * zramfsctl reset: a disk as it was when it was made
 */

#include <errno.h>

#include "control.h"
#include "in-use.h"
#include "say.h"
#include "verb.h"

static const struct option options[] = {
	{ NULL, 0, NULL, 0 },
};

static int disk_reset(const struct name *name)
{
	ZR_CLEANUP(zr_freep) char *path = say_text("%s/reset", name->disk);
	ZR_CLEANUP(zr_freep) char *why = NULL;
	int r;

	r = control_write_line(name, path, "1");
	if (r == 0)
		return VERB_DONE;
	if (r == -EBUSY)
		why = in_use_text(name);
	say_error("%s: cannot be reset: %s", name->disk, why ? why : say_reason(-r));
	return VERB_FAILED;
}

static int reset_run(int argc, char **argv)
{
	int status = VERB_DONE;

	if (verb_option(&verb_reset, argc, argv) != -1)
		return VERB_MISUSED;
	if (optind == argc)
		return verb_misused(&verb_reset, "the name of a disk is needed");
	for (; optind < argc; ++optind) {
		ZR_CLEANUP(name_free) struct name name = { 0 };

		if (name_find(argv[optind], &name) < 0 || disk_reset(&name) != VERB_DONE)
			status = VERB_FAILED;
	}
	return status;
}

const struct verb verb_reset = {
	.name = "reset",
	.arguments = "NAME...",
	.help = "drop all data and the size of disks, go back to the defaults",
	.text = "Nothing is asked. A disk that is in use is not reset.\n",
	.short_options = "",
	.options = options,
	.run = reset_run,
};
