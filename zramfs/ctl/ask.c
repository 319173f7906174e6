/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "ask.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "below.h"
#include "say.h"

/* More than a daemon takes on a machine that is short of memory. */
#define PATIENCE_MS 5000

/* Of ask_bytes(). */
#define FEW_BYTES_MAX 64u

/* What a child is to do. What it returns goes first, as an int. */
struct work {
	int (*run)(const void *what, int to);
	const void *what;
};

struct file {
	const struct mount *mount;
	const char *path;
	int flags;
};

static bool all_written(int to, const char *bytes, size_t n_bytes)
{
	while (n_bytes > 0) {
		const ssize_t n = write(to, bytes, n_bytes);

		if (n < 0)
			return false;
		bytes += n;
		n_bytes -= (size_t)n;
	}
	return true;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Everything the child says. Return: 0, -ETIMEDOUT, -EFBIG or -errno. */
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
			if (n_room >= ASK_BYTES_MAX)
				return -EFBIG;
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

/* Those that were given up earlier, and nobody else's: zramfsctl waits for its others. */
static void children_reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* As fork(). What was not written yet must not be the child's to write, too: _exit() does not, but
 * a sanitizer's may. */
static pid_t child_start(void)
{
	children_reap();
	fflush(stdout);
	return fork();
}

/* What the work returned, and all that it wrote. */
static int work_ask(const struct work *work, char **bytesp, size_t *n_bytesp)
{
	ZR_CLEANUP(zr_freep) char *bytes = NULL;
	size_t n_bytes = 0;
	int ends[2], error, r;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	child = child_start();
	if (child == 0) {
		signal(SIGPIPE, SIG_DFL);
		_exit(work->run(work->what, ends[1]) < 0);
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
		return error;
	*n_bytesp = n_bytes - sizeof(error);
	memmove(bytes, bytes + sizeof(error), *n_bytesp + 1);
	*bytesp = ZR_STEAL(bytes);
	return 0;
}

/* a file's bytes */

/* The child: how opening went, then the text. */
static int file_tell(const void *what, int to)
{
	const struct file *file = what;
	char buffer[65536];
	ssize_t n = 0;
	int fd, r;

	fd = below_open(file->mount, file->path, file->flags);
	r = fd < 0 ? fd : 0;
	if (!all_written(to, (const char *)&r, sizeof(r)))
		return -EPIPE;
	while (fd >= 0 && (n = read(fd, buffer, sizeof(buffer))) > 0) {
		if (!all_written(to, buffer, (size_t)n))
			return -EPIPE;
	}
	return n < 0 ? -errno : 0;
}

int ask_file(const struct mount *mount, const char *path, char **textp, size_t *n_textp)
{
	const struct file file = { mount, path, O_RDONLY };
	const struct work work = { file_tell, &file };

	return work_ask(&work, textp, n_textp);
}

/* names */

static int names_tell(const void *what, int to)
{
	const struct mount *mount = what;
	struct dirent *entry;
	DIR *directory;
	int r;

	directory = opendir(mount->path);
	r = directory ? 0 : -errno;
	if (!all_written(to, (const char *)&r, sizeof(r)))
		return -EPIPE;
	while (directory && (entry = readdir(directory)) != NULL) {
		if (!all_written(to, entry->d_name, strlen(entry->d_name) + 1))
			return -EPIPE;
	}
	if (directory)
		closedir(directory);
	return 0;
}

int ask_names(const struct mount *mount, char **namesp, size_t *n_namesp)
{
	const struct work work = { names_tell, mount };

	return work_ask(&work, namesp, n_namesp);
}

/* a few bytes */

struct few {
	int (*run)(const void *what, void *bytes);
	const void *what;
	size_t n_bytes;
};

static int few_tell(const void *what, int to)
{
	const struct few *few = what;
	_Alignas(max_align_t) char bytes[FEW_BYTES_MAX];
	int r;

	r = few->run(few->what, bytes);
	if (!all_written(to, (const char *)&r, sizeof(r)) ||
	    (r == 0 && !all_written(to, bytes, few->n_bytes)))
		return -EPIPE;
	return 0;
}

int ask_bytes(int (*run)(const void *what, void *bytes), const void *what, void *bytes,
	      size_t n_bytes)
{
	const struct few few = { run, what, zr_min(n_bytes, FEW_BYTES_MAX) };
	const struct work work = { few_tell, &few };
	ZR_CLEANUP(zr_freep) char *told = NULL;
	size_t n_told;
	int r;

	r = work_ask(&work, &told, &n_told);
	if (r < 0)
		return r;
	if (n_told != n_bytes)
		return -EIO;
	memcpy(bytes, told, n_bytes);
	return 0;
}

/* a descriptor */

/* What opening returned, and the descriptor. */
struct parcel {
	struct msghdr header;
	struct iovec text;
	int error;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
};

static void parcel_init(struct parcel *parcel)
{
	*parcel = (struct parcel){ .error = 0 };
	parcel->text = (struct iovec){ &parcel->error, sizeof(parcel->error) };
	parcel->header = (struct msghdr){ .msg_iov = &parcel->text,
					  .msg_iovlen = 1,
					  .msg_control = &parcel->control,
					  .msg_controllen = sizeof(parcel->control) };
}

static int parcel_send(int to, int fd)
{
	struct parcel parcel;
	struct cmsghdr *head;

	parcel_init(&parcel);
	if (fd < 0) {
		parcel.error = fd;
		parcel.header.msg_control = NULL;
		parcel.header.msg_controllen = 0;
	} else {
		head = CMSG_FIRSTHDR(&parcel.header);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	}
	return sendmsg(to, &parcel.header, 0) < 0 ? -errno : 0;
}

/* Return: the descriptor, or -errno. */
static int parcel_receive(int from)
{
	struct pollfd ready = { .fd = from, .events = POLLIN };
	struct parcel parcel;
	struct cmsghdr *head;
	int fd, r;

	do
		r = poll(&ready, 1, PATIENCE_MS);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;

	parcel_init(&parcel);
	if (recvmsg(from, &parcel.header, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(parcel.error))
		return -EIO;
	if (parcel.error < 0)
		return parcel.error;
	head = CMSG_FIRSTHDR(&parcel.header);
	if (!head || head->cmsg_type != SCM_RIGHTS)
		return -EIO;
	memcpy(&fd, CMSG_DATA(head), sizeof(fd));
	return fd;
}

int ask_open(const struct mount *mount, const char *path, int flags)
{
	int ends[2], fd, r;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	child = child_start();
	if (child == 0)
		_exit(parcel_send(ends[1], below_open(mount, path, flags)) < 0);
	r = child < 0 ? -errno : 0;
	close(ends[1]);
	fd = r < 0 ? r : parcel_receive(ends[0]);
	close(ends[0]);
	if (child > 0)
		(void)child_end(child, fd < 0 ? fd : 0);
	return fd;
}
