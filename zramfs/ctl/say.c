/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "text.h"
#include "verb.h"

static bool is_coloured(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

void say_error(const char *format, ...)
{
	ZR_CLEANUP(zr_freep) char *line = NULL;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&line, format, args);
	va_end(args);
	if (r < 0) {
		line = NULL;
		say_no_memory();
	}

	zr_text_clean(line, "");
	fflush(stdout);
	fprintf(stderr, is_coloured() ? "\033[1;31mzramfsctl:\033[0m %s\n" : "zramfsctl: %s\n",
		line);
}

char *say_for_output(char *text)
{
	return isatty(STDOUT_FILENO) ? zr_text_clean(text, "\n\t") : text;
}

void say_no_memory(void)
{
	fputs("zramfsctl: cannot allocate memory\n", stderr);
	exit(VERB_FAILED);
}

const char *say_reason(int error)
{
	switch (error) {
	case ENOTCONN:
	case ECONNABORTED:
		return "its daemon is gone: unmount it, with umount -l or fusermount3 -uz";
	case ETIMEDOUT:
		return "its daemon does not answer";
	case ELOOP:
	case EXDEV:
		return "not a file of zramfs: it leads elsewhere, or is no file";
	case ESTALE:
		return "another mount has taken its place";
	case EFBIG:
		return "its daemon says more than zramfsctl takes";
	case EACCES:
	case EPERM:
		return "permission denied";
	case ENOMEM:
	case ENOSPC:
		return "there is not enough memory";
	default:
		return strerror(error);
	}
}

char *say_text(const char *format, ...)
{
	va_list args;
	char *text;
	int r;

	va_start(args, format);
	r = vasprintf(&text, format, args);
	va_end(args);
	if (r < 0)
		say_no_memory();
	return text;
}

int say_end(int status)
{
	if (ferror(stdout))
		say_error("standard output: it cannot be written");
	else if (fflush(stdout) != 0)
		say_error("standard output: %s", strerror(errno));
	else
		return status;
	return status == VERB_DONE ? VERB_FAILED : status;
}
