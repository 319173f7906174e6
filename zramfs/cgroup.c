/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "cgroup.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base.h"

#define ROOT "/sys/fs/cgroup"

/* What version 1 says for no limit is nearly 2^63. */
#define LIMIT_MAX (UINT64_C(1) << 62)

static uint64_t limit_of(const char *root, const char *group, const char *file)
{
	uint64_t limit = CGROUP_NO_LIMIT, said;
	char path[PATH_MAX + 64];
	FILE *text;

	snprintf(path, sizeof(path), "%s%s/%s", root, group, file);
	text = fopen(path, "re");
	/* Version 2 says "max" for no limit. */
	if (text && fscanf(text, "%" SCNu64, &said) == 1 && said < LIMIT_MAX)
		limit = said;
	if (text)
		fclose(text);
	return limit;
}

/* The least on the way up. @group is cut short meanwhile. */
static uint64_t limit_up_from(char *group, int version)
{
	const char *root = version == 1 ? ROOT "/memory" : ROOT;
	const char *file = version == 1 ? "memory.limit_in_bytes" : "memory.max";
	uint64_t limit = limit_of(root, group, file);
	char *slash;

	while ((slash = strrchr(group, '/')) != NULL) {
		*slash = 0;
		limit = zr_min(limit, limit_of(root, group, file));
	}
	return limit;
}

uint64_t cgroup_memory_limit(void)
{
	uint64_t limit = CGROUP_NO_LIMIT;
	char line[PATH_MAX];
	char *group;
	FILE *text;

	text = fopen("/proc/self/cgroup", "re");
	while (text && fgets(line, sizeof(line), text)) {
		line[strcspn(line, "\n")] = 0;
		group = strchr(line, '/');
		if (!group)
			continue;
		if (strncmp(line, "0::", 3) == 0)
			limit = zr_min(limit, limit_up_from(group, 2));
		else if (strstr(line, ":memory:"))
			limit = zr_min(limit, limit_up_from(group, 1));
	}
	if (text)
		fclose(text);
	return limit;
}
