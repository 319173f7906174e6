/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The system: what zramfs stands on
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base.h"
#include "check.h"
#include "say.h"
#include "sysfile.h"

#define FUSE_DEVICE  "/dev/fuse"
#define FUSE_CONF    "/etc/fuse.conf"
#define LOOP_CONTROL "/dev/loop-control"

static void check_kernel(struct report *report)
{
	unsigned int version = 0, patch = 0;
	struct utsname name;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &version, &patch) != 2)
		return;
	if (version > 6 || (version == 6 && patch >= 9))
		report_finding(report, REPORT_OK, "kernel", NULL, "Linux %u.%u", version, patch);
	else
		report_finding(report, REPORT_WARN, "kernel", "Linux 6.9 or later",
			       "Linux %u.%u does not send requests again that a daemon was killed "
			       "over",
			       version, patch);
}

static void check_fuse_device(struct report *report)
{
	struct stat st;

	if (stat(FUSE_DEVICE, &st) < 0) {
		report_finding(report, REPORT_BAD, FUSE_DEVICE,
			       "modprobe fuse, as root; in a container, pass the device in",
			       "%s: nobody can mount", strerror(errno));
	} else if (access(FUSE_DEVICE, R_OK | W_OK) < 0) {
		report_finding(report, REPORT_BAD, FUSE_DEVICE, "chmod 0666 /dev/fuse, as root",
			       "%s: you cannot mount", strerror(errno));
	} else {
		report_finding(report, REPORT_OK, FUSE_DEVICE, NULL, "can be used%s",
			       st.st_mode & S_IWOTH ? "" : ", though not by everyone");
	}
}

/* Where a shell would find it. Return: its path, or NULL. */
static char *program_find(const char *program)
{
	const char *path = getenv("PATH");
	char *candidate;
	size_t n;

	for (path = path ? path : "/usr/bin:/bin"; *path; path += n + (path[n] == ':')) {
		n = strcspn(path, ":");
		candidate = say_text("%.*s/%s", (int)n, path, program);
		if (n > 0 && access(candidate, X_OK) == 0)
			return candidate;
		free(candidate);
	}
	return NULL;
}

static void check_fusermount(struct report *report)
{
	ZR_CLEANUP(zr_freep) char *path = program_find("fusermount3");
	ZR_CLEANUP(zr_freep) char *remedy = NULL;
	struct stat st;

	if (!path) {
		report_finding(report, REPORT_BAD, "fusermount3",
			       "install the package fuse3, as root",
			       "not there: only root can mount");
	} else if (stat(path, &st) == 0 && (st.st_uid != 0 || !(st.st_mode & S_ISUID))) {
		remedy = say_text("chmod u+s %s, as root", path);
		report_finding(report, REPORT_BAD, "fusermount3", remedy,
			       "not setuid root: only root can mount");
	} else {
		report_finding(report, REPORT_OK, "fusermount3", NULL, "setuid root");
	}
}

/* A line of its own: blanks around it, and nothing else. */
static bool others_are_allowed(void)
{
	char line[256], word[64], more[2];
	bool allowed = false;
	FILE *file;

	file = fopen(FUSE_CONF, "re");
	while (file && !allowed && fgets(line, sizeof(line), file))
		allowed = sscanf(line, " %63s %1s", word, more) == 1 &&
			  strcmp(word, "user_allow_other") == 0;
	if (file)
		fclose(file);
	return allowed;
}

static void check_allow_other(struct report *report)
{
	if (others_are_allowed())
		report_finding(report, REPORT_OK, "user_allow_other", NULL,
			       "root can be let in: zramfs -o allow_other");
	else
		report_finding(report, REPORT_WARN, "user_allow_other",
			       "a line \"user_allow_other\" in " FUSE_CONF
			       ", and zramfs -o allow_other",
			       "not set: your disks are yours alone, and root cannot attach them");
}

static void check_loop_control(struct report *report)
{
	struct stat st;

	if (stat(LOOP_CONTROL, &st) < 0)
		report_finding(report, REPORT_WARN, "loop devices",
			       "modprobe loop, as root; in a container, pass " LOOP_CONTROL " in",
			       "none: disks are files, and cannot be attached");
	else if (access(LOOP_CONTROL, R_OK | W_OK) < 0)
		report_finding(report, REPORT_OK, "loop devices", NULL,
			       "attaching is for root; disks can be used as files");
	else
		report_finding(report, REPORT_OK, "loop devices", NULL, "can be attached");
}

void check_system(struct check *check)
{
	struct report *report = &check->report;

	report_heading(report, "system");
	check_kernel(report);
	check_fuse_device(report);
	if (geteuid() != 0) {
		check_fusermount(report);
		check_allow_other(report);
	}
	check_loop_control(report);
}
