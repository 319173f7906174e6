#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Jobs: work that must not occupy a thread that serves disks
 *
 * What may wait or allocate is copied out of its request and done by threads of their own. Each
 * queue has its threads, so that what is slow is waited for only by what is in the same queue.
 *
 * A thread that serves disks must not allocate, so what it posts of its own is kept: made
 * beforehand, and posted again and again.
 *
 * Ownership: a job posted is the queue's; it is freed when it has run, unless it is kept. One that
 *            was cancelled while it was queued is the caller's again.
 * Locking:   one mutex of its own, held to link and unlink, and never while memory is asked for.
 * Errors:    -ENOMEM, -EAGAIN from starting threads.
 * Cost:      one wake-up, tens of microseconds; cancelling walks the queue.
 */

#include <pthread.h>
#include <stdbool.h>

#include "thread.h"

struct job {
	struct job *next;
	void (*run)(struct job *job);
	bool is_kept; /* constant: it is not freed, and may be posted again once it runs */
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
	unsigned int n_running;
	bool is_held;
	bool stopping;
	/* constant after start */
	bool takes_long;
	struct seat *seats;
	_Atomic unsigned int n_seated;
	unsigned int n_threads;
	pthread_t threads[JOBS_THREADS_MAX];
	struct thread_room rooms[JOBS_THREADS_MAX];
};

/* A queue that takes jobs, and begins none. @seats: for its threads, one each; NULL: none.
 * @takes_long: what they do may take as long as it takes. */
void jobs_init(struct jobs *jobs, struct seat *seats, bool takes_long);

/* Begin, with at most JOBS_THREADS_MAX threads of that name. @moves_pages: each has a context. */
int jobs_start(struct jobs *jobs, const char *name, unsigned int n_threads, bool moves_pages);

/* Lock the memory of the threads. */
void jobs_lock(struct jobs *jobs);

/* The threads are in no hurry any more. */
void jobs_calm(struct jobs *jobs);

/* Begin no job until jobs_allow(). */
void jobs_hold(struct jobs *jobs);
void jobs_allow(struct jobs *jobs);

/* Is nothing queued, and does nothing run? */
bool jobs_are_idle(struct jobs *jobs);

/* Do what is queued, held or not, then end the threads. */
void jobs_stop(struct jobs *jobs);

/* @job was calloc()ed, or is kept. Return: false if it was cancelled already, and is still the
 * caller's; or if it is kept, and queued already. */
bool jobs_post(struct jobs *jobs, struct job *job);

/* Nobody wants @job any more, which was not posted yet, is queued, or runs. Return: true if it was
 * queued; it is the caller's now. */
bool jobs_cancel(struct jobs *jobs, struct job *job);
