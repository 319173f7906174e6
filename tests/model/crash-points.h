#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The named instants of the engine (crash.h), looked up in its source: a point that is in no table is
 * one that nobody dies at.
 */

#include <dirent.h>

#include "test.h"

static inline bool point_is_known(const char *const *points, unsigned int n_points,
				  const char *name, size_t n_bytes)
{
	unsigned int i;

	for (i = 0; i < n_points; ++i) {
		if (strlen(points[i]) == n_bytes && memcmp(points[i], name, n_bytes) == 0)
			return true;
	}
	return false;
}

static inline unsigned int points_check_file(const char *const *points, unsigned int n_points,
					     FILE *file)
{
	static const char call[] = "ZR_CRASH(\"";
	unsigned int n_found = 0;
	char line[512];

	while (fgets(line, sizeof(line), file)) {
		const char *at = strstr(line, call);

		if (!at)
			continue;
		at += strlen(call);
		CHECK(strchr(at, '"'));
		CHECK(point_is_known(points, n_points, at, (size_t)(strchr(at, '"') - at)));
		++n_found;
	}
	return n_found;
}

/* Of the engine's source at @path, all are in the table. */
static inline void points_check(const char *const *points, unsigned int n_points, const char *path)
{
	unsigned int n_found = 0;
	struct dirent *entry;
	char name[4096];
	FILE *file;
	DIR *dir;

	dir = opendir(path);
	CHECK(dir);
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".c"))
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		file = fopen(name, "re");
		CHECK(file);
		n_found += points_check_file(points, n_points, file);
		fclose(file);
	}
	closedir(dir);
	CHECK(n_found >= n_points);
}
