/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "serving.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sysfile.h"

#define COMM     "zramfs"
#define CGROUP   "/sys/fs/cgroup"
#define ARGS_MAX 8192u

/* whose */

enum answer { YES, NO, UNKNOWN };

/* What the descriptor's line says: the device number of the mount. */
static enum answer descriptor_serves(pid_t pid, const char *fd, dev_t device)
{
	char path[64], target[32], line[128];
	enum answer answer = UNKNOWN;
	unsigned int connection;
	ssize_t n;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/fd/%.16s", (int)pid, fd);
	n = readlink(path, target, sizeof(target));
	if (n != 9 || memcmp(target, "/dev/fuse", 9) != 0)
		return UNKNOWN;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", (int)pid, fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "fuse_connection: %u", &connection) == 1)
			answer = connection == minor(device) && major(device) == 0 ? YES : NO;
	}
	if (file)
		fclose(file);
	return answer;
}

static enum answer descriptors_serve(pid_t pid, dev_t device)
{
	enum answer answer = UNKNOWN;
	struct dirent *entry;
	char path[64];
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	fds = opendir(path);
	while (fds && answer != YES && (entry = readdir(fds)) != NULL) {
		const enum answer one = descriptor_serves(pid, entry->d_name, device);

		answer = one == UNKNOWN ? answer : one;
	}
	if (fds)
		closedir(fds);
	return answer;
}

/* As the end of a path, where it is a relative one. */
static bool argument_is(const char *argument, const char *path)
{
	const size_t n = strlen(argument), n_path = strlen(path);

	if (*argument == '/' || *argument == 0)
		return strcmp(argument, path) == 0;
	return n < n_path && strcmp(path + n_path - n, argument) == 0 &&
	       path[n_path - n - 1] == '/';
}

static bool arguments_name(pid_t pid, const char *path)
{
	char arguments[ARGS_MAX];
	int n, at;

	n = sysfile_read(arguments, sizeof(arguments), "/proc/%d/cmdline", (int)pid);
	/* The first is the program. */
	for (at = n > 0 ? (int)strlen(arguments) + 1 : 0; at < n;
	     at += (int)strlen(arguments + at) + 1) {
		if (argument_is(arguments + at, path))
			return true;
	}
	return false;
}

static enum answer serves(pid_t pid, const struct mount *mount)
{
	char comm[32];

	if (sysfile_read(comm, sizeof(comm), "/proc/%d/comm", (int)pid) <= 0 ||
	    strcmp(comm, COMM) != 0)
		return NO;
	return descriptors_serve(pid, mount->device);
}

/* Where no descriptor tells: by the arguments, which anyone may have, but not as that user. */
static bool may_serve(const struct serving *serving, const struct mount *mount)
{
	return serving->uid == mount->user_id && arguments_name(serving->pid, mount->path);
}

/* figures */

static void status_read(struct serving *serving)
{
	char path[64], line[256];
	unsigned int uid;
	int64_t kib;
	FILE *file;
	int parent;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)serving->pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "VmLck: %" SCNd64, &kib) == 1)
			serving->locked_bytes = kib * 1024;
		else if (sscanf(line, "VmSwap: %" SCNd64, &kib) == 1)
			serving->swapped_bytes = kib * 1024;
		else if (sscanf(line, "Uid: %*u %u", &uid) == 1)
			serving->uid = uid;
		else if (sscanf(line, "PPid: %d", &parent) == 1)
			serving->parent = parent;
	}
	if (file)
		fclose(file);
}

/* Of a store that is locked as it is touched, VmLck counts what may be touched. */
static void locked_read(struct serving *serving)
{
	char path[64], line[256];
	int64_t kib;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)serving->pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Locked: %" SCNd64, &kib) == 1)
			serving->locked_bytes = kib * 1024;
	}
	if (file)
		fclose(file);
}

static void limits_read(struct serving *serving)
{
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/limits", (int)serving->pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "Max locked memory", 17) != 0)
			continue;
		if (sscanf(line + 17, "%" SCNd64, &serving->lock_limit) != 1)
			serving->lock_limit = INT64_MAX; /* "unlimited" */
	}
	if (file)
		fclose(file);
}

/* @version 1 or 2. Without a limit the first says nearly 2^63, the second "max". */
static void cgroup_look(struct serving *serving, int version, char *group)
{
	const char *root = version == 1 ? CGROUP "/memory" : CGROUP;
	const char *file = version == 1 ? "memory.limit_in_bytes" : "memory.max";
	int64_t limit;
	char *slash;

	for (slash = group + strlen(group); slash; slash = strrchr(group, '/')) {
		*slash = 0;
		if (sysfile_number(&limit, "%s%s/%s", root, group, file) == 0 &&
		    limit < INT64_MAX / 2 && limit < serving->cgroup_limit)
			serving->cgroup_limit = limit;
	}
}

static void cgroups_read(struct serving *serving)
{
	char path[64], line[PATH_MAX];
	char *group;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)serving->pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		group = strchr(line, '/');
		if (!group)
			continue;
		if (strncmp(line, "0::", 3) == 0)
			cgroup_look(serving, 2, group);
		else if (strstr(line, ":memory:"))
			cgroup_look(serving, 1, group);
	}
	if (file)
		fclose(file);
}

static void serving_read(struct serving *serving, pid_t pid)
{
	*serving = (struct serving){ .pid = pid,
				     .uid = (uid_t)-1,
				     .locked_bytes = -1,
				     .swapped_bytes = -1,
				     .lock_limit = -1,
				     .oom_score_adj = INT64_MIN,
				     .cgroup_limit = INT64_MAX };
	status_read(serving);
	locked_read(serving);
	limits_read(serving);
	cgroups_read(serving);
	(void)sysfile_number(&serving->oom_score_adj, "/proc/%d/oom_score_adj", (int)pid);
}

/* Those that serve it, as far as we may look, and else those that may. */
static size_t answers_find(const struct mount *mount, struct serving found[SERVING_MAX])
{
	struct dirent *entry;
	size_t n = 0;
	DIR *proc;

	proc = opendir("/proc");
	while (proc && n < SERVING_MAX && (entry = readdir(proc)) != NULL) {
		const pid_t pid = atoi(entry->d_name);
		enum answer answer;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		answer = serves(pid, mount);
		if (answer == NO)
			continue;
		serving_read(&found[n], pid);
		n += answer == YES || may_serve(&found[n], mount);
	}
	if (proc)
		closedir(proc);
	return n;
}

/* roles */

static bool is_parent(const struct serving *parent, const struct serving found[], size_t n_found)
{
	size_t i;

	for (i = 0; i < n_found; ++i) {
		if (found[i].parent == parent->pid)
			return true;
	}
	return false;
}

static bool has_parent(const struct serving *child, const struct serving found[], size_t n_found)
{
	size_t i;

	for (i = 0; i < n_found; ++i) {
		if (found[i].pid == child->parent)
			return true;
	}
	return false;
}

static int compare_roles(const void *a, const void *b)
{
	const struct serving *left = a, *right = b;

	if (left->role != right->role)
		return left->role < right->role ? -1 : 1;
	return (left->pid > right->pid) - (left->pid < right->pid);
}

static void roles_assign(struct serving found[], size_t n_found, pid_t worker)
{
	size_t i;

	for (i = 0; i < n_found; ++i) {
		struct serving *one = &found[i];

		if (one->pid != worker && is_parent(one, found, n_found))
			one->role = SERVING_KEEPER;
		else if (!has_parent(one, found, n_found))
			one->role = SERVING_ALONE;
		else
			one->role = worker == 0 || one->pid == worker ? SERVING_WORKER
								      : SERVING_SPARE;
	}
	qsort(found, n_found, sizeof(*found), compare_roles);
}

size_t serving_find(const struct mount *mount, pid_t worker, struct serving found[SERVING_MAX])
{
	const size_t n = answers_find(mount, found);

	roles_assign(found, n, worker);
	return n;
}
