/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <fuse_log.h>

#include "text.h"

#define LINE_BYTES 512u

_Static_assert(LINE_BYTES + 32 <= PIPE_BUF, "a pipe takes a line whole, or not at all");

/* constant once threads run */
static bool fuse_debug;
static bool to_pipe;

static _Atomic bool detached, never_block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* protected by lock */
static int syslog_socket = -1;

static pthread_mutex_t fuse_lock = PTHREAD_MUTEX_INITIALIZER;
/* protected by fuse_lock */
static char fuse_reason[LOG_REASON_BYTES];

/* syslog(3) waits until there is room; whoever reads there may wait for memory, and so for us. */

static void socket_open_locked(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = LOG_SOCKET };

	syslog_socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (syslog_socket < 0)
		return;
	if (connect(syslog_socket, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(syslog_socket);
		syslog_socket = -1;
	}
}

static bool socket_send_locked(const char *datagram, size_t n_datagram)
{
	return syslog_socket >= 0 &&
	       send(syslog_socket, datagram, n_datagram, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void say_to_syslog(const char *line)
{
	char datagram[LINE_BYTES + 64];
	int n;

	n = snprintf(datagram, sizeof(datagram), "<%d>zramfs[%d]: %s", LOG_DAEMON | LOG_WARNING,
		     (int)getpid(), line);
	if ((size_t)n >= sizeof(datagram))
		n = sizeof(datagram) - 1;

	pthread_mutex_lock(&lock);
	if (!socket_send_locked(datagram, (size_t)n) && (syslog_socket < 0 || errno != EAGAIN)) {
		/* Who reads there was started anew. */
		if (syslog_socket >= 0)
			close(syslog_socket);
		socket_open_locked();
		(void)socket_send_locked(datagram, (size_t)n);
	}
	pthread_mutex_unlock(&lock);
}

/* standard error */

static void write_if_room_locked(const char *text, size_t n_text)
{
	const struct iovec part = { .iov_base = (void *)text, .iov_len = n_text };
	struct pollfd wanted = { .fd = STDERR_FILENO, .events = POLLOUT };

	/* Others may write into the same pipe, between our asking and our writing. Linux 6.4 */
	if (to_pipe && (pwritev2(STDERR_FILENO, &part, 1, -1, RWF_NOWAIT) >= 0 || errno == EAGAIN))
		return;
	if (poll(&wanted, 1, 0) == 1 && wanted.revents & POLLOUT &&
	    write(STDERR_FILENO, text, n_text) < 0)
		return; /* nobody to tell */
}

static void say_to_stderr(const char *line)
{
	char text[LINE_BYTES + 32];

	snprintf(text, sizeof(text), "zramfs: %s\n", line);
	if (!never_block) {
		fputs(text, stderr);
		return;
	}
	pthread_mutex_lock(&lock);
	write_if_room_locked(text, strlen(text));
	pthread_mutex_unlock(&lock);
}

/* what all use */

void log_line(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	zr_text_clean(line, ""); /* one line is one line, and moves no terminal */

	if (detached)
		say_to_syslog(line);
	else
		say_to_stderr(line);
}

void log_to_syslog(void)
{
	pthread_mutex_lock(&lock);
	if (syslog_socket < 0)
		socket_open_locked();
	pthread_mutex_unlock(&lock);
	detached = true;
}

void log_never_block(void)
{
	struct stat st;

	to_pipe = fstat(STDERR_FILENO, &st) == 0 && S_ISFIFO(st.st_mode);
	never_block = true;
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
		say_to_syslog(piece);
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
