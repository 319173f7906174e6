/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "say.h"

static char *control_path(const struct name *name, const char *attribute)
{
	return say_text("%s/.control/%s/%s", name->mount, name->disk ? name->disk : "zramfs",
			attribute);
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
static int path_read(const char *path, char **textp)
{
	int fd, r;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = descriptor_read(fd, textp);
	close(fd);
	return r;
}

static int path_write(const char *path, const char *text)
{
	ssize_t n;
	int fd, r;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* One write is one request, whose error is the answer; nothing at all would be none. */
	n = *text ? write(fd, text, strlen(text)) : write(fd, "\n", 1);
	r = n < 0 ? -errno : 0;
	close(fd);
	return r;
}

int control_read(const struct name *name, const struct zr_attr *attr, char **textp)
{
	ZR_CLEANUP(zr_freep) char *path = control_path(name, attr->name);
	int r;

	r = path_read(path, textp);
	if (r == -EACCES && !attr->show && !attr->stream)
		say_error("%s: %s: it is written, not read", label_of(name), attr->name);
	else if (r == -ENOENT)
		say_error("%s: %s: its daemon has no such attribute", label_of(name), attr->name);
	else if (r < 0)
		say_error("%s: %s: %s", label_of(name), attr->name, say_reason(-r));
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

static void refusal_say(const struct name *name, const struct zr_attr *attr, const char *value,
			int error)
{
	ZR_CLEANUP(zr_freep) char *what = say_text("%s: %s=%s", label_of(name), attr->name, value);

	switch (error) {
	case EINVAL:
	case ERANGE:
	case E2BIG:
	case ENOTBLK:
		say_error("%s: %s; allowed: %s", what,
			  error == ERANGE ? "too large" : "not a value for it",
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
	int r;

	r = path_write(path, text);
	if (r < 0)
		refusal_say(name, attr, text, -r);
	return r;
}

int control_write_line(const char *mount, const char *file, const char *line)
{
	ZR_CLEANUP(zr_freep) char *path = say_text("%s/.control/%s", mount, file);

	return path_write(path, line);
}

int control_has_size(const struct name *name)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	int r;

	r = control_read(name, zr_attr_find("initstate"), &text);
	return r < 0 ? r : strcmp(text, "1") == 0;
}
