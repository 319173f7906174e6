/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Safety: what the daemon says of itself, and what became of its workers
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "base.h"
#include "check.h"
#include "say.h"

/* A daemon has so many lines to say, and no more are heard. */
#define LINES_MAX 32u

/* In words; what a newer daemon has is told by its name alone. */
static const struct {
	const char *name, *granted;
} measures[] = {
	{ "memory", "what is there is locked" },
	{ "store", "the contents of the disks are locked" },
	{ "buffers", "what requests pass through is locked" },
	{ "future", "what comes is locked" },
	{ "noswap", "nor is it swapped out while one worker follows another" },
	{ "realtime", "memory ahead of need, and taking over, come before others" },
	{ "io_flusher", "the kernel does not wait for it while it gives it memory" },
	{ "dumps", "none, and others cannot look into it" },
	{ "offsets", "the address space has room for what the disks may hold" },
	{ "resend", "requests that a worker dies over are sent again" },
};

static const char *granted_text(const char *name)
{
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(measures); ++i) {
		if (strcmp(measures[i].name, name) == 0)
			return measures[i].granted;
	}
	return "ok";
}

/* "what is missing: the remedy" */
static void say_refused(struct report *report, const char *name, char *text)
{
	char *remedy = strstr(text, ": ");

	if (remedy) {
		*remedy = 0;
		remedy += 2;
	}
	report_finding(report, REPORT_WARN, name, remedy, "%s", text);
}

/* "NAME ok", "NAME refused TEXT" */
static void say_measure(struct report *report, char *line)
{
	char *text = line, *name, *word;

	name = strsep(&text, " ");
	word = strsep(&text, " ");
	if (!word)
		return;
	/* What is so now is seen elsewhere. */
	if (strcmp(name, "oom_score_adj") == 0 || strcmp(name, "cgroup") == 0)
		return;
	if (strcmp(word, "ok") != 0)
		say_refused(report, name, text ? text : word);
	else
		report_finding(report, REPORT_OK, name, NULL, "%s", granted_text(name));
}

/* Nothing is said of a daemon that is older. */
void check_safety(struct report *report, const struct mount *mount)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	char *rest, *line;
	unsigned int i;
	size_t n_text;

	if (ask_file(mount, ".control/zramfs/safety", &text, &n_text) < 0)
		return;
	rest = text;
	for (i = 0; i < LINES_MAX && (line = strsep(&rest, "\n")) != NULL; ++i)
		say_measure(report, line);
}

void check_watchdog(struct report *report, const struct mount *mount)
{
	ZR_CLEANUP(zr_freep) char *text = NULL, *remedy = NULL;
	unsigned long seconds;
	size_t n_text;

	if (ask_file(mount, ".control/zramfs/watchdog", &text, &n_text) < 0)
		return;
	seconds = strtoul(text, NULL, 10);
	if (seconds > 0) {
		report_finding(report, REPORT_OK, "watchdog", NULL, "%lu s", seconds);
		return;
	}
	remedy = say_text("zramfsctl set %s watchdog=10", mount->path);
	report_finding(report, REPORT_WARN, "watchdog", remedy,
		       "off: a worker that hangs stays, and so does whoever waits for it");
}

void check_poison(struct report *report, const struct view *view)
{
	const uint64_t n_poisoned = view->total.poisoned_requests;

	if (n_poisoned > 0 && n_poisoned != VIEW_UNKNOWN)
		report_finding(report, REPORT_WARN, "poisoned_requests",
			       "report it, with what the log says of these deaths",
			       "%" PRIu64 ": answered with an error, because workers died of them",
			       n_poisoned);
}
