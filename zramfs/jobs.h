#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Jobs: work that must not occupy a thread that serves disks
 *
 * What may wait or allocate is copied out of its request and done by threads of their own. Each
 * queue has its threads, so that what is slow is waited for only by what is in the same queue.
 *
 * Ownership: a job posted is the queue's; it is freed when it has run. One that was cancelled while
 *            it was queued is the caller's again.
 * Locking:   one mutex of its own, held to link and unlink.
 * Errors:    -ENOMEM, -EAGAIN from starting threads.
 * Cost:      one wake-up, tens of microseconds; cancelling walks the queue.
 */

#include <pthread.h>
#include <stdbool.h>

#include "thread.h"

struct job {
	struct job *next;
	void (*run)(struct job *job);
	/* protected by the lock of its queue */
	bool is_queued;
	bool is_unwanted;
};

#define JOBS_THREADS_MAX 8u

struct jobs {
	pthread_mutex_t lock;
	pthread_cond_t posted;
	/* protected by lock */
	struct job *first, **last;
	bool stopping;
	/* constant after start */
	unsigned int n_threads;
	pthread_t threads[JOBS_THREADS_MAX];
};

/* With at most JOBS_THREADS_MAX threads of that name. */
int jobs_start(struct jobs *jobs, const char *name, unsigned int n_threads);

/* Do what is queued, then end the threads. */
void jobs_stop(struct jobs *jobs);

/* @job was calloc()ed. Return: false if it was cancelled already, and is still the caller's. */
bool jobs_post(struct jobs *jobs, struct job *job);

/* Nobody wants @job any more, which was not posted yet, is queued, or runs. Return: true if it was
 * queued; it is the caller's now. */
bool jobs_cancel(struct jobs *jobs, struct job *job);
