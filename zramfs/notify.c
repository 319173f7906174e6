/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "wire.h"

/* The first descriptor of those that are given. */
#define GIVEN_FIRST (STDERR_FILENO + 1)

static const char *const words[] = { "NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS",
				     "LISTEN_FDNAMES" };

/* A path, or with @ the name of an abstract one. Return: 0, or -EINVAL. */
static int address_parse(struct notify *notify, const char *text)
{
	const size_t n = strlen(text);

	if ((text[0] != '/' && text[0] != '@') || n < 2 || n >= sizeof(notify->address.sun_path))
		return -EINVAL;
	notify->address.sun_family = AF_UNIX;
	memcpy(notify->address.sun_path, text, n + 1);
	notify->n_address = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (text[0] == '@')
		notify->address.sun_path[0] = 0;
	else
		++notify->n_address;
	return 0;
}

void notify_begin(struct notify *notify)
{
	const char *text = getenv("NOTIFY_SOCKET");

	*notify = NOTIFY_NONE;
	if (!text || text[0] == 0)
		return;
	if (address_parse(notify, text) < 0) {
		log_line("NOTIFY_SOCKET=%s: not the path of a socket, nor @ and a name: nobody is "
			 "told anything",
			 text);
		return;
	}
	notify->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notify->socket < 0)
		log_line("NOTIFY_SOCKET=%s: cannot be told anything: %s", text, strerror(errno));
}

void notify_end(struct notify *notify)
{
	if (notify->socket >= 0)
		close(notify->socket);
	*notify = NOTIFY_NONE;
}

/* A whole number, and nothing else. Return: -1 for what is none. */
static long number(const char *text)
{
	char *end;
	long value;

	if (!text || text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	value = strtol(text, &end, 10);
	return errno == 0 && *end == 0 ? value : -1;
}

/* The next of the names between colons; empty where there is none. */
static const char *name_next(const char *names, char name[NOTIFY_NAME_MAX])
{
	const size_t n = strcspn(names, ":");

	snprintf(name, NOTIFY_NAME_MAX, "%.*s", (int)n, names);
	return names[n] == ':' ? names + n + 1 : names + n;
}

size_t notify_given(struct notify_given given[], size_t n_most)
{
	const char *names = getenv("LISTEN_FDNAMES");
	const long n = number(getenv("LISTEN_FDS"));
	char name[NOTIFY_NAME_MAX];
	size_t n_given = 0;
	long i;

	if (number(getenv("LISTEN_PID")) != (long)getpid() || n <= 0)
		return 0;
	for (i = 0; i < n; ++i) {
		const int fd = GIVEN_FIRST + (int)i;

		names = name_next(names ? names : "", name);
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			break; /* there is not so much */
		if (n_given == n_most) {
			close(fd);
			continue;
		}
		given[n_given].fd = fd;
		memcpy(given[n_given++].name, name, sizeof(name));
	}
	return n_given;
}

void notify_forget_environment(void)
{
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); ++i)
		unsetenv(words[i]);
}

int notify_send(const struct notify *notify, const char *text, int fd)
{
	struct iovec iov = { (void *)text, strlen(text) };
	struct msghdr header = { .msg_name = (void *)&notify->address,
				 .msg_namelen = notify->n_address,
				 .msg_iov = &iov,
				 .msg_iovlen = 1 };
	union wire_rights rights;
	ssize_t n;

	if (notify->socket < 0)
		return 0;
	if (fd >= 0)
		wire_attach(&header, &rights, fd);
	do
		n = sendmsg(notify->socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	return errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS ? -EAGAIN : -errno;
}
