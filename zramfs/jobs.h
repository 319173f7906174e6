#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Jobs: work that must not occupy a thread that serves disks
 *
 * What may wait or allocate (opening, removing, control writes, statistics) is copied out of its
 * request and done by a few threads of its own. Reads and writes of disks never come here.
 *
 * Ownership: a job posted is the queue's; it is freed when it has run.
 * Locking:   one mutex of its own, held to link and unlink.
 * Errors:    -ENOMEM, -EAGAIN from starting threads.
 * Cost:      one wake-up, tens of microseconds.
 */

#include <pthread.h>
#include <stdbool.h>

#include "thread.h"

struct job {
	struct job *next;
	void (*run)(struct job *job);
};

#define JOBS_THREADS 4u /* each may wait 200 ms for a RELEASE, or for another that has a claim */

struct jobs {
	pthread_mutex_t lock;
	pthread_cond_t posted;
	/* protected by lock */
	struct job *first, **last;
	bool stopping;
	/* constant after start */
	unsigned int n_threads;
	pthread_t threads[JOBS_THREADS];
};

int jobs_start(struct jobs *jobs);

/* Do what is queued, then end the threads. */
void jobs_stop(struct jobs *jobs);

/* @job was malloc()ed. */
void jobs_post(struct jobs *jobs, struct job *job);
