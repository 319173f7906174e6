/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "sysfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static int open_formatted(int flags, const char *format, va_list args)
{
	char path[PATH_MAX];
	int fd;

	if (vsnprintf(path, sizeof(path), format, args) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int read_and_close(int fd, char *text, size_t n_text)
{
	size_t at = 0;
	ssize_t n;

	do {
		n = read(fd, text + at, n_text - 1 - at);
		if (n > 0)
			at += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0) {
		const int error = errno;

		close(fd);
		return -error;
	}
	close(fd);

	if (at > 0 && text[at - 1] == '\n')
		--at;
	text[at] = 0;
	return (int)at;
}

int sysfile_read(char *text, size_t n_text, const char *format, ...)
{
	va_list args;
	int fd;

	va_start(args, format);
	fd = open_formatted(O_RDONLY, format, args);
	va_end(args);
	return fd < 0 ? fd : read_and_close(fd, text, n_text);
}

int sysfile_number(int64_t *numberp, const char *format, ...)
{
	char text[64];
	int64_t number;
	va_list args;
	int fd, r;

	va_start(args, format);
	fd = open_formatted(O_RDONLY, format, args);
	va_end(args);
	r = fd < 0 ? fd : read_and_close(fd, text, sizeof(text));
	if (r < 0)
		return r;

	if (sscanf(text, "%" SCNd64, &number) != 1)
		return -EINVAL;
	*numberp = number;
	return 0;
}

int sysfile_write(const char *text, const char *format, ...)
{
	va_list args;
	int fd, r;

	va_start(args, format);
	fd = open_formatted(O_WRONLY, format, args);
	va_end(args);
	if (fd < 0)
		return fd;

	r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

void sysfile_unescape(char *text)
{
	const char *from = text;
	char *to = text;

	while (*from) {
		if (from[0] == '\\' && is_octal(from[1]) && is_octal(from[2]) &&
		    is_octal(from[3])) {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
				       (from[3] - '0'));
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = 0;
}
