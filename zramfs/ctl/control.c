/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "below.h"
#include "say.h"

static char *control_path(const struct name *name, const char *attribute)
{
	return say_text(".control/%s/%s", name->disk ? name->disk : "zramfs", attribute);
}

static const char *label_of(const struct name *name)
{
	return name->disk ? name->disk : name->mount;
}

/* Return: 0 or -errno. */
static int descriptor_read(int fd, char **textp)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	size_t n_text = 0, n_room = 0;
	ssize_t n;

	do {
		if (n_room - n_text < 2) {
			if (n_room >= ASK_BYTES_MAX)
				return -EFBIG;
			n_room = n_room == 0 ? ZR_ATTR_TEXT_MAX : n_room * 2;
			text = realloc(text, n_room);
			if (!text)
				say_no_memory();
		}
		n = read(fd, text + n_text, n_room - n_text - 1);
		if (n < 0)
			return -errno;
		n_text += (size_t)n;
	} while (n > 0);

	if (n_text > 0 && text[n_text - 1] == '\n')
		--n_text;
	text[n_text] = 0;
	*textp = ZR_STEAL(text);
	return 0;
}

/* Nothing is said. */
static int path_read(const struct mount *mount, const char *path, char **textp)
{
	int fd, r;

	fd = below_open(mount, path, O_RDONLY);
	if (fd < 0)
		return fd;
	r = descriptor_read(fd, textp);
	close(fd);
	return r;
}

static int path_write(const struct mount *mount, const char *path, const char *text)
{
	ssize_t n;
	int fd, r;

	fd = below_open(mount, path, O_WRONLY);
	if (fd < 0)
		return fd;
	/* One write is one request, whose error is the answer; nothing at all would be none. */
	n = *text ? write(fd, text, strlen(text)) : write(fd, "\n", 1);
	r = n < 0 ? -errno : 0;
	close(fd);
	return r;
}

static void reading_say(const struct name *name, const struct zr_attr *attr, int r)
{
	if (r == -EACCES && !attr->show && !attr->stream)
		say_error("%s: %s: it is written, not read", label_of(name), attr->name);
	else if (r == -ENOENT)
		say_error("%s: %s: its daemon has no such attribute", label_of(name), attr->name);
	else if (r < 0)
		say_error("%s: %s: %s", label_of(name), attr->name, say_reason(-r));
}

int control_read(const struct name *name, const struct zr_attr *attr, char **textp)
{
	ZR_CLEANUP(zr_freep) char *path = control_path(name, attr->name);
	const struct mount mount = name_mount(name);
	int r;

	r = path_read(&mount, path, textp);
	reading_say(name, attr, r);
	return r;
}

/* Lines, and parts of lines. */
static int lines_copy(int fd, const char *before)
{
	char text[65536], *line, *rest;
	bool is_begun = false;
	ssize_t n;

	while ((n = read(fd, text, sizeof(text) - 1)) > 0) {
		text[n] = 0;
		rest = say_for_output(text);
		while (rest && *rest) {
			line = strsep(&rest, "\n");
			printf("%s%s%s", is_begun ? "" : before, line, rest ? "\n" : "");
			is_begun = !rest;
		}
	}
	if (is_begun)
		putchar('\n');
	return n < 0 ? -errno : 0;
}

int control_copy(const struct name *name, const struct zr_attr *attr)
{
	ZR_CLEANUP(zr_freep) char *path = control_path(name, attr->name);
	ZR_CLEANUP(zr_freep) char *before = say_text("%s=", attr->name);
	const struct mount mount = name_mount(name);
	int fd, r;

	fd = below_open(&mount, path, O_RDONLY);
	r = fd < 0 ? fd : lines_copy(fd, before);
	if (fd >= 0)
		close(fd);
	reading_say(name, attr, r);
	return r;
}

static const char *busy_text(const struct zr_attr *attr)
{
	switch (attr->when) {
	case ZR_WHEN_EMPTY:
		return "the disk has a size already; allowed";
	case ZR_WHEN_UNUSED:
		return "the disk is in use; allowed";
	default:
		return "the disk is busy; allowed";
	}
}

const char *control_backing_text(const struct zr_attr *attr, int error)
{
	if (strcmp(attr->name, "backing_dev") == 0) {
		switch (error) {
		case ENOENT:
			return "there is no such file, and no backing_size to make one of";
		case EEXIST:
			return "there is something on it; the daemon's log says what";
		case ELOOP:
			return "it is on a mount of zramfs";
		case EBUSY:
			return "the disk has a size already, or what is to be its file is in use; "
			       "the daemon's log says which";
		}
	}
	if (strncmp(attr->name, "backing_", strlen("backing_")) == 0 && error == EBUSY)
		return "the disk has a size already, or a backing_dev; allowed: while it has "
		       "neither";
	if (strcmp(attr->name, "writeback") == 0) {
		switch (error) {
		case EIO:
			return "writeback_limit is used up, or the file cannot be written";
		case ENOSPC:
			return "the backing file is full, or the disk's backing_limit is";
		}
	}
	return NULL;
}

static void refusal_say(const struct name *name, const struct zr_attr *attr, const char *value,
			int error)
{
	ZR_CLEANUP(zr_freep) char *what = say_text("%s: %s=%s", label_of(name), attr->name, value);
	const char *of_backing = control_backing_text(attr, error);

	if (of_backing) {
		say_error("%s: %s", what, of_backing);
		return;
	}
	switch (error) {
	case EINVAL:
	case ERANGE:
	case E2BIG:
	case ENOTBLK:
		say_error("%s: %s; allowed: %s", what,
			  error == ERANGE ? "out of range" : "not a value for it",
			  attr->allowed ? attr->allowed : "nothing");
		break;
	case EBUSY:
		say_error("%s: %s: %s", what, busy_text(attr), zr_attr_when_text(attr->when));
		break;
	case EINTR:
		say_error("%s: interrupted, and done in part", what);
		break;
	case ENOENT:
		say_error("%s: its daemon has no such attribute", what);
		break;
	case ENODEV:
		say_error("%s: refused; allowed: %s", what,
			  attr->allowed ? attr->allowed : "nothing");
		break;
	default:
		say_error("%s: %s", what, say_reason(error));
		break;
	}
}

int control_write(const struct name *name, const struct zr_attr *attr, const char *text)
{
	ZR_CLEANUP(zr_freep) char *path = control_path(name, attr->name);
	const struct mount mount = name_mount(name);
	int r;

	r = path_write(&mount, path, text);
	if (r < 0)
		refusal_say(name, attr, text, -r);
	return r;
}

int control_write_line(const struct name *name, const char *file, const char *line)
{
	ZR_CLEANUP(zr_freep) char *path = say_text(".control/%s", file);
	const struct mount mount = name_mount(name);

	return path_write(&mount, path, line);
}

int control_reset_counters(const struct mount *mount)
{
	return path_write(mount, ".stats", "0");
}

int control_has_size(const struct name *name)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	int r;

	r = control_read(name, zr_attr_find("initstate"), &text);
	return r < 0 ? r : strcmp(text, "1") == 0;
}
