/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "log.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include <fuse_log.h>

#include "text.h"

static _Atomic bool detached;
static bool fuse_debug; /* constant once threads run */
static pthread_mutex_t fuse_lock = PTHREAD_MUTEX_INITIALIZER;
/* protected by fuse_lock */
static char fuse_reason[LOG_REASON_BYTES];

void log_line(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	zr_text_clean(line, ""); /* one line is one line, and moves no terminal */

	if (detached)
		syslog(LOG_WARNING, "%s", line);
	else
		fprintf(stderr, "zramfs: %s\n", line);
}

void log_to_syslog(void)
{
	openlog("zramfs", LOG_PID, LOG_DAEMON);
	detached = true;
}

/* libfuse says some lines in pieces, and while it serves from any thread. */
static void on_fuse_log(enum fuse_log_level level, const char *format, va_list args)
{
	static bool unfinished; /* protected by fuse_lock */
	char piece[sizeof(fuse_reason)];
	size_t at;

	vsnprintf(piece, sizeof(piece), format, args);
	if (fuse_debug)
		fputs(piece, stderr);
	if (level > FUSE_LOG_WARNING)
		return;

	pthread_mutex_lock(&fuse_lock);
	at = unfinished ? strlen(fuse_reason) : 0;
	unfinished = strchr(piece, '\n') == NULL;
	piece[strcspn(piece, "\n")] = 0;
	snprintf(fuse_reason + at, sizeof(fuse_reason) - at, "%s", piece);
	if (detached)
		syslog(LOG_WARNING, "%s", piece);
	pthread_mutex_unlock(&fuse_lock);
}

void log_catch_fuse(int debug)
{
	fuse_debug = debug;
	fuse_set_log_func(on_fuse_log);
}

void log_fuse_reason(char reason[LOG_REASON_BYTES], const char *otherwise)
{
	static const char prefix[] = "fuse: ";
	const char *from = fuse_reason;

	pthread_mutex_lock(&fuse_lock);
	if (*from == 0)
		from = otherwise;
	else if (strncmp(from, prefix, strlen(prefix)) == 0)
		from += strlen(prefix);
	snprintf(reason, LOG_REASON_BYTES, "%s", from);
	pthread_mutex_unlock(&fuse_lock);
}
