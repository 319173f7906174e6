#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Notify: the words that a service manager understands
 *
 * The protocol of sd_notify(3) and sd_listen_fds(3), which is documented to stay as it is so that
 * programs may speak it themselves. The library would bring more pages than the keeper has, and all
 * of them are locked.
 *
 * Ownership: descriptors that are sent stay the caller's.
 * Locking:   none; one thread.
 * Errors:    -errno. It never waits: -EAGAIN where the manager has not read what it was told before.
 * Cost:      a system call. It allocates nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NOTIFY_NAME_MAX  48u
#define NOTIFY_GIVEN_MAX 64u

struct notify {
	int socket; /* -1: nobody is to be told anything */
	struct sockaddr_un address;
	socklen_t n_address;
};

/* A descriptor that was there when the process was started, and what it is called. */
struct notify_given {
	int fd;
	char name[NOTIFY_NAME_MAX];
};

/* Nobody is to be told. */
#define NOTIFY_NONE           \
	((struct notify){     \
		.socket = -1, \
	})

/* Who is named in NOTIFY_SOCKET; nobody, if that is not set. Says what is wrong with it. */
void notify_begin(struct notify *notify);
void notify_end(struct notify *notify);

/* What LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say, if they are meant for this process: closed on
 * execution from now on. What is beyond @n_most is closed. Return: how many. */
size_t notify_given(struct notify_given given[], size_t n_most);

/* Nobody who is launched is to take any of it for their own. */
void notify_forget_environment(void);

/* @text: lines. @fd: goes with it; -1: none. Return: 0, -EAGAIN, -errno; 0 as well where nobody is to
 * be told. */
int notify_send(const struct notify *notify, const char *text, int fd);
