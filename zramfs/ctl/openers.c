/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "openers.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"
#include "sysfile.h"

/* A message is one line. */
#define NAMED_MAX 4u

static bool is_device(int directory, const char *name, dev_t device)
{
	char target[64];
	struct stat st;
	ssize_t n;

	/* By its link first: asking a file for its state may ask a daemon that hangs. */
	n = readlinkat(directory, name, target, sizeof(target));
	return n > 5 && memcmp(target, "/dev/", 5) == 0 && fstatat(directory, name, &st, 0) == 0 &&
	       S_ISBLK(st.st_mode) && st.st_rdev == device;
}

static bool has_open(const char *pid, dev_t device)
{
	struct dirent *entry;
	bool found = false;
	char path[64];
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	fds = opendir(path);
	if (!fds)
		return false;
	while (!found && (entry = readdir(fds)) != NULL)
		found = is_device(dirfd(fds), entry->d_name, device);
	closedir(fds);
	return found;
}

static void opener_add(char **textp, const char *pid)
{
	char *longer, name[32];

	if (sysfile_read(name, sizeof(name), "/proc/%.20s/comm", pid) <= 0)
		snprintf(name, sizeof(name), "a process");
	longer = say_text("%s%s%s (pid %s)", *textp ? *textp : "", *textp ? ", " : "", name, pid);
	free(*textp);
	*textp = longer;
}

char *openers_text(dev_t device)
{
	unsigned int n_named = 0;
	struct dirent *entry;
	char *text = NULL;
	DIR *proc;

	proc = opendir("/proc");
	while (proc && n_named < NAMED_MAX && (entry = readdir(proc)) != NULL) {
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    atoi(entry->d_name) != (int)getpid() && has_open(entry->d_name, device)) {
			opener_add(&text, entry->d_name);
			++n_named;
		}
	}
	if (proc)
		closedir(proc);
	return text ? text : say_text("nobody that can be seen from here");
}
