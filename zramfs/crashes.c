/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "crashes.h"

#if ZR_DEBUG_LEVEL >= 1

#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* constant once there are threads */
static char point[64];
static char token[256];
static unsigned int nth;
static int signal_sent;

static _Atomic unsigned int n_passed;

/* Is there one for this time? */
static bool token_take(void)
{
	const struct dirent *entry;
	bool is_taken;
	DIR *directory;

	if (unlink(token) == 0)
		return true;
	directory = opendir(token);
	if (!directory)
		return false;
	do
		entry = readdir(directory);
	while (entry && unlinkat(dirfd(directory), entry->d_name, 0) < 0);
	is_taken = entry != NULL;
	closedir(directory);
	return is_taken;
}

static void on_point(const char *name)
{
	if (strcmp(name, point) != 0 || atomic_fetch_add(&n_passed, 1) + 1 < nth)
		return;
	/* Later passes too: the token may be made again. */
	if (!token_take())
		return;
	if (signal_sent == SIGSEGV)
		signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it */
	kill(getpid(), signal_sent);
	for (;;)
		pause();
}

/* "NAME", "NAME!", each with "*N" or without. Return: false for anything else. */
static bool point_parse(const char *text, size_t n_text)
{
	const char *star = memchr(text, '*', n_text);
	const size_t n_name = star ? (size_t)(star - text) : n_text;

	if (n_name == 0 || n_name >= sizeof(point))
		return false;
	memcpy(point, text, n_name);
	point[n_name] = 0;
	nth = star ? (unsigned int)strtoul(star + 1, NULL, 10) : 1;
	signal_sent = SIGKILL;
	if (point[n_name - 1] == '!') {
		point[n_name - 1] = 0;
		signal_sent = SIGSEGV;
	}
	return true;
}

void crashes_begin(void)
{
	const char *text = getenv("ZRAMFS_CRASH");
	const char *colon = text ? strchr(text, ':') : NULL;

	if (!colon || strlen(colon + 1) >= sizeof(token))
		return;
	snprintf(token, sizeof(token), "%s", colon + 1);
	if (point_parse(text, (size_t)(colon - text)))
		zr_crash_hook = on_point;
}

#endif
