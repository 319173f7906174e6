/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "say.h"

/* More than a daemon takes on a machine that is short of memory. */
#define PATIENCE_MS 5000

/* The child: errno first, then the text. */
_Noreturn static void child_run(const char *path, int to)
{
	char buffer[65536];
	ssize_t n = 0;
	int fd, error;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	error = fd < 0 ? errno : 0;
	if (write(to, &error, sizeof(error)) != sizeof(error))
		_exit(1);
	while (fd >= 0 && (n = read(fd, buffer, sizeof(buffer))) > 0) {
		const char *at = buffer;

		while (n > 0) {
			const ssize_t n_written = write(to, at, (size_t)n);

			if (n_written < 0)
				_exit(1);
			at += n_written;
			n -= n_written;
		}
	}
	_exit(n < 0 ? 1 : 0);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Everything the child says. Return: 0, -ETIMEDOUT or -errno. */
static int child_hear(int from, char **bytesp, size_t *n_bytesp)
{
	const int64_t deadline_ms = now_ms() + PATIENCE_MS;
	ZR_CLEANUP(zr_freep) char *bytes = NULL;
	size_t n_bytes = 0, n_room = 0;
	ssize_t n = 1;

	while (n > 0) {
		struct pollfd ready = { .fd = from, .events = POLLIN };
		const int64_t left_ms = deadline_ms - now_ms();
		int r;

		r = left_ms <= 0 ? 0 : poll(&ready, 1, (int)left_ms);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -ETIMEDOUT;

		if (n_room - n_bytes < 2) {
			n_room = n_room == 0 ? 65536 : n_room * 2;
			bytes = realloc(bytes, n_room);
			if (!bytes)
				say_no_memory();
		}
		n = read(from, bytes + n_bytes, n_room - n_bytes - 1);
		if (n < 0)
			return -errno;
		n_bytes += (size_t)n;
	}

	bytes[n_bytes] = 0;
	*bytesp = ZR_STEAL(bytes);
	*n_bytesp = n_bytes;
	return 0;
}

/* Return: 0, or -EIO if it could not read to the end. */
static int child_end(pid_t child, int r)
{
	int status = 0;

	/* Who still waits for the daemon may go on doing so. */
	if (r < 0)
		kill(child, SIGKILL);
	if (waitpid(child, &status, r < 0 ? WNOHANG : 0) == child && r == 0)
		return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
	return r;
}

int ask_file(const char *path, char **textp, size_t *n_textp)
{
	ZR_CLEANUP(zr_freep) char *bytes = NULL;
	size_t n_bytes = 0;
	int ends[2], error, r;
	pid_t child;

	/* Those that were given up earlier, and nobody else's: zramfsctl waits for its others. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child == 0) {
		signal(SIGPIPE, SIG_DFL);
		child_run(path, ends[1]);
	}
	r = child < 0 ? -errno : 0;
	close(ends[1]);
	if (r == 0) {
		r = child_hear(ends[0], &bytes, &n_bytes);
		r = child_end(child, r);
	}
	close(ends[0]);
	if (r < 0)
		return r;
	if (n_bytes < sizeof(error))
		return -EIO;

	memcpy(&error, bytes, sizeof(error));
	if (error != 0)
		return -error;
	*n_textp = n_bytes - sizeof(error);
	memmove(bytes, bytes + sizeof(error), *n_textp + 1);
	*textp = ZR_STEAL(bytes);
	return 0;
}
