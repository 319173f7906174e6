/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "wish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mount.h"
#include "thread.h"

void wish_init(struct wish *wish)
{
	pthread_mutex_init(&wish->lock, NULL);
	pthread_cond_init(&wish->told, NULL);
}

static int wait_locked(struct wish *wish, struct zr_stop stop)
{
	struct timespec until;

	while (!wish->is_told) {
		if (zr_stop_is_wanted(&stop))
			return -EINTR;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 1;
		(void)pthread_cond_timedwait(&wish->told, &wish->lock, &until);
	}
	return -wish->error;
}

void wish_tell(struct wish *wish, int error, const char *text)
{
	pthread_mutex_lock(&wish->lock);
	wish->is_told = true;
	wish->error = error;
	if (text)
		snprintf(wish->said, sizeof(wish->said), "%s", text);
	pthread_cond_broadcast(&wish->told);
	pthread_mutex_unlock(&wish->lock);
}

/* Ask the keeper, and wait for what becomes of it. */
static int ask(struct wish *wish, int wire, const char *path, int fd, struct zr_stop stop)
{
	struct wire_message message = { .kind = WIRE_UPGRADE };
	int r;

	snprintf(message.text, sizeof(message.text), "%s", path);
	pthread_mutex_lock(&wish->lock);
	r = wish->is_waiting ? -EBUSY : wire_send(wire, &message, fd);
	if (r == 0) {
		wish->is_waiting = true;
		wish->is_told = false;
		wish->seat = thread_self.seat;
		r = wait_locked(wish, stop);
		wish->is_waiting = false;
	}
	pthread_mutex_unlock(&wish->lock);
	return r;
}

/* Not to read it: that may take as long as it takes, and what is on our own mount would be read
 * through us. */
static int program_open(const char *path, dev_t own_mount)
{
	struct stat st;
	int fd;

	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (mount_identity(path) == own_mount || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static int refused(struct wish *wish, const char *path, int error)
{
	char said[WIRE_TEXT_MAX];

	if (error == -EOPNOTSUPP)
		snprintf(said, sizeof(said), "failed: there is no keeper");
	else
		snprintf(said, sizeof(said), "failed: %.160s: %s", path,
			 error == -EINVAL ? "not a file, or on this very mount" : strerror(-error));
	wish_tell(wish, -error, said);
	return error;
}

int wish_run(struct wish *wish, int wire, dev_t own_mount, const char *path, struct zr_stop stop)
{
	int fd = -1, r = 0;

	if (wire < 0)
		return refused(wish, path, -EOPNOTSUPP);
	if (path[0])
		r = fd = program_open(path, own_mount);
	if (r < 0)
		return refused(wish, path, r);

	r = ask(wish, wire, path, fd, stop);
	if (fd >= 0)
		close(fd);
	return r;
}

const struct seat *wish_seat(struct wish *wish)
{
	const struct seat *seat;

	pthread_mutex_lock(&wish->lock);
	seat = wish->is_waiting ? wish->seat : NULL;
	pthread_mutex_unlock(&wish->lock);
	return seat;
}

int wish_print(struct wish *wish, char *text, size_t n_text)
{
	int n;

	pthread_mutex_lock(&wish->lock);
	n = snprintf(text, n_text, "%s\n", wish->said[0] ? wish->said : "none was asked for");
	pthread_mutex_unlock(&wish->lock);
	return n;
}
