/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "swaps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sysfile.h"

/* "/dev/loop0 partition 262140 1024 100": path, type, KiB, KiB in use, priority. */
static int area_parse(struct swap_area *area, const char *line)
{
	uint64_t size_kib, used_kib;
	struct stat st;
	char *path = NULL;

	if (sscanf(line, "%ms %*s %" SCNu64 " %" SCNu64 " %d", &path, &size_kib, &used_kib,
		   &area->priority) != 4) {
		free(path);
		return -EINVAL;
	}

	sysfile_unescape(path);
	area->path = path;
	area->size_bytes = size_kib * 1024;
	area->used_bytes = used_kib * 1024;
	area->device = stat(path, &st) == 0 && S_ISBLK(st.st_mode) ? st.st_rdev : 0;
	return 0;
}

/* Return: 0, or -ENOMEM, and then nothing has changed. */
static int area_add(struct swap_area **areasp, size_t *n_areasp, const char *line)
{
	struct swap_area area = { 0 }, *more;

	if (area_parse(&area, line) < 0)
		return 0; /* the heading */
	more = realloc(*areasp, (*n_areasp + 1) * sizeof(*more));
	if (!more) {
		free(area.path);
		return -ENOMEM;
	}
	more[(*n_areasp)++] = area;
	*areasp = more;
	return 0;
}

int swaps_read(struct swap_area **areasp, size_t *n_areasp)
{
	struct swap_area *areas = NULL;
	size_t n_areas = 0, n_line = 0;
	char *line = NULL;
	FILE *file;
	int r = 0;

	file = fopen("/proc/swaps", "re");
	if (!file && errno != ENOENT)
		return -errno;
	while (file && r == 0 && getline(&line, &n_line, file) > 0)
		r = area_add(&areas, &n_areas, line);
	if (file)
		fclose(file);
	free(line);
	if (r < 0) {
		swaps_free(areas, n_areas);
		return r;
	}
	*areasp = areas;
	*n_areasp = n_areas;
	return 0;
}

void swaps_free(struct swap_area *areas, size_t n_areas)
{
	size_t i;

	for (i = 0; i < n_areas; ++i)
		free(areas[i].path);
	free(areas);
}

const struct swap_area *swaps_find(const struct swap_area *areas, size_t n_areas, dev_t device)
{
	size_t i;

	for (i = 0; device != 0 && i < n_areas; ++i) {
		if (areas[i].device == device)
			return &areas[i];
	}
	return NULL;
}
