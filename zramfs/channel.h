#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Channel: the /dev/fuse descriptor and the threads that serve it
 *
 * Ownership: the session stays the caller's.
 * Locking:   none; the kernel hands each request to one thread.
 * Errors:    -ENOMEM, -EAGAIN from starting.
 * Cost:      a thread holds a request and a reply, 1 MiB each.
 */

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#include "thread.h"

#define CHANNEL_THREADS_MAX 64u

struct channel {
	struct fuse_session *session;
	int ended; /* eventfd, readable when the mount is gone */
	_Atomic unsigned int n_serving;
	unsigned int n_threads;
	pthread_t threads[CHANNEL_THREADS_MAX];
};

/* Serve @session with @n_threads threads. */
int channel_start(struct channel *channel, struct fuse_session *session, unsigned int n_threads);

/* Wait for the threads, which end once the mount is gone. */
void channel_join(struct channel *channel);
