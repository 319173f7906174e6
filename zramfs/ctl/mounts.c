/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "mounts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base.h"
#include "say.h"
#include "sysfile.h"

#define MOUNTINFO "/proc/self/mountinfo"

/* A line of mountinfo. */
struct line {
	unsigned int id, parent;
	dev_t device;
	char *root, *point;
	bool is_ours;
	uid_t user_id;
};

struct lines {
	struct line *line;
	size_t n;
};

static void lines_clear(struct lines *lines)
{
	size_t i;

	for (i = 0; i < lines->n; ++i) {
		free(lines->line[i].root);
		free(lines->line[i].point);
	}
	free(lines->line);
}

/* Who mounted it; (uid_t)-1: not said. They may have said anything as its type and source, but
 * user_id, behind these, is the kernel's to say. Blanks alone are between them: other white space
 * may be in a source. */
static uid_t user_of(const char *type)
{
	const char *option = strchr(type, ' ');
	uid_t user_id;

	option = option ? strchr(option + 1, ' ') : NULL;
	option = option ? strstr(option, ",user_id=") : NULL;
	return option && sscanf(option, ",user_id=%u", &user_id) == 1 ? user_id : (uid_t)-1;
}

/* 36 35 98:0 /root /point options optional... - type source options */
static bool line_parse(const char *text, struct line *line)
{
	unsigned int major_number, minor_number;
	const char *type;

	*line = (struct line){ 0 };
	type = strstr(text, " - ");
	if (!type || sscanf(text, "%u %u %u:%u %m[^ ] %m[^ ]", &line->id, &line->parent,
			    &major_number, &minor_number, &line->root, &line->point) != 6) {
		free(line->root);
		free(line->point);
		return false;
	}

	line->device = makedev(major_number, minor_number);
	line->is_ours = strncmp(type + 3, "fuse.zramfs ", 12) == 0;
	line->user_id = user_of(type + 3);
	sysfile_unescape(line->root);
	sysfile_unescape(line->point);
	return true;
}

static int lines_read(struct lines *lines)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	struct line line;
	size_t n_text = 0;
	FILE *file;

	*lines = (struct lines){ 0 };
	file = fopen(MOUNTINFO, "re");
	if (!file)
		return -errno;
	while (getline(&text, &n_text, file) >= 0) {
		if (!line_parse(text, &line))
			continue;
		lines->line = reallocarray(lines->line, lines->n + 1, sizeof(line));
		if (!lines->line)
			say_no_memory();
		lines->line[lines->n++] = line;
	}
	fclose(file);
	return 0;
}

static bool is_below(const char *point, const char *above)
{
	const size_t n = strcmp(above, "/") == 0 ? 0 : strlen(above);

	return strncmp(point, above, n) == 0 && point[n] == '/' && point[n + 1] != 0;
}

/* Does a mount hide another? One that is mounted on its root does, and so does one that came to
 * lie above it: had it been there before, the other would be mounted in it. */
static bool hides(const struct line *line, const struct line *other)
{
	/* The root of a system that runs from its initramfs: its own parent, above nothing. */
	if (line->id == line->parent)
		return false;
	if (line->parent == other->id && line != other)
		return strcmp(line->point, other->point) == 0;
	return line->parent == other->parent && line != other &&
	       is_below(other->point, line->point);
}

static const struct line *parent_of(const struct lines *lines, const struct line *line)
{
	size_t i;

	for (i = 0; i < lines->n; ++i) {
		if (lines->line[i].id == line->parent && &lines->line[i] != line)
			return &lines->line[i];
	}
	return NULL;
}

static bool is_hidden(const struct lines *lines, const struct line *line)
{
	size_t n_levels, i;

	/* A mount is as visible as what it is mounted in. */
	for (n_levels = 0; line && n_levels < lines->n; ++n_levels) {
		for (i = 0; i < lines->n; ++i) {
			if (hides(&lines->line[i], line))
				return true;
		}
		line = parent_of(lines, line);
	}
	return false;
}

static bool is_known(const struct mount *mounts, size_t n_mounts, dev_t device)
{
	size_t i;

	for (i = 0; i < n_mounts; ++i) {
		if (mounts[i].device == device)
			return true;
	}
	return false;
}

/* Those that are foreign, or those that are not. */
static void mounts_add(const struct lines *lines, bool is_foreign, struct mount *mounts,
		       size_t *n_mountsp)
{
	size_t i;

	for (i = 0; i < lines->n; ++i) {
		const struct line *line = &lines->line[i];

		if (!line->is_ours || (geteuid() == 0 && line->user_id != 0) != is_foreign ||
		    strcmp(line->root, "/") != 0 || is_hidden(lines, line) ||
		    is_known(mounts, *n_mountsp, line->device))
			continue;
		mounts[*n_mountsp].path = say_text("%s", line->point);
		mounts[*n_mountsp].user_id = line->user_id;
		mounts[*n_mountsp].is_foreign = is_foreign;
		mounts[(*n_mountsp)++].device = line->device;
	}
}

int mounts_read(struct mount **mountsp, size_t *n_mountsp)
{
	ZR_CLEANUP(lines_clear) struct lines lines = { 0 };
	struct mount *mounts;
	size_t n_mounts = 0;
	int r;

	r = lines_read(&lines);
	if (r < 0)
		return r;
	mounts = calloc(lines.n + 1, sizeof(*mounts));
	if (!mounts)
		say_no_memory();

	mounts_add(&lines, false, mounts, &n_mounts);
	mounts_add(&lines, true, mounts, &n_mounts);
	*mountsp = mounts;
	*n_mountsp = n_mounts;
	return 0;
}

size_t mounts_n_own(const struct mount *mounts, size_t n_mounts)
{
	size_t n = 0;

	while (n < n_mounts && !mounts[n].is_foreign)
		++n;
	return n;
}

int mounts_read_own(struct mount **mountsp, size_t *n_mountsp, size_t *n_ownp)
{
	const int r = mounts_read(mountsp, n_mountsp);

	if (r < 0)
		say_error("mounts: %s", say_reason(-r));
	else
		*n_ownp = mounts_n_own(*mountsp, *n_mountsp);
	return r;
}

void mounts_free(struct mount *mounts, size_t n_mounts)
{
	size_t i;

	for (i = 0; i < n_mounts; ++i)
		free(mounts[i].path);
	free(mounts);
}
