#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Thread: what every thread of the worker has to itself
 *
 * A context of the engine and room for one reply, made before the thread serves its first request.
 *
 * Ownership: a thread's own; freed when it ends.
 * Locking:   none.
 * Errors:    -ENOMEM, -EAGAIN.
 * Cost:      1 MiB for replies, about 1 MiB of which little is touched for codecs.
 */

#include <pthread.h>

#include "pages.h"

#define THREAD_REPLY_BYTES (1u << 20)

struct thread {
	struct zr_ctx *ctx;
	uint8_t *reply; /* THREAD_REPLY_BYTES */
};

/* Of the calling thread, which thread_start() made. */
extern _Thread_local struct thread thread_self;

/* Start a thread that runs @main_. @name: what ps -L shows, 15 bytes at most. Signals are blocked
 * in it: the main thread takes them. */
int thread_start(pthread_t *threadp, const char *name, void (*main_)(void *context), void *context);
