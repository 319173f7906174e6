/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "jobs.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "check.h"
#include "heap.h"
#include "hurry.h"
#include "shelf.h"

static bool may_begin_locked(const struct jobs *jobs)
{
	return jobs->stopping || (jobs->first && !jobs->is_held);
}

/* Return: the next job, or NULL when there will be none. */
static struct job *job_wait(struct jobs *jobs)
{
	struct job *job;

	pthread_mutex_lock(&jobs->lock);
	while (!may_begin_locked(jobs))
		pthread_cond_wait(&jobs->posted, &jobs->lock);
	job = jobs->first;
	if (job) {
		jobs->first = job->next;
		if (!jobs->first)
			jobs->last = &jobs->first;
		job->is_queued = false;
		++jobs->n_running;
	}
	pthread_mutex_unlock(&jobs->lock);
	return job;
}

static void job_run(struct jobs *jobs, struct job *job)
{
	job->run(job);
	if (!job->is_kept)
		free(job);

	pthread_mutex_lock(&jobs->lock);
	--jobs->n_running;
	pthread_mutex_unlock(&jobs->lock);
}

static void jobs_main(void *context)
{
	struct jobs *jobs = context;
	struct job *job;

	if (jobs->seats)
		thread_self.seat = jobs->seats + atomic_fetch_add(&jobs->n_seated, 1);
	thread_self.takes_long = jobs->takes_long;
	while ((job = job_wait(jobs)))
		job_run(jobs, job);
}

void jobs_init(struct jobs *jobs, struct seat *seats, bool takes_long)
{
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->posted, NULL);
	jobs->last = &jobs->first;
	jobs->seats = seats;
	jobs->takes_long = takes_long;
}

int jobs_start(struct jobs *jobs, const char *name, unsigned int n_threads, bool moves_pages)
{
	const struct thread_kind kind = { .name = name,
					  .n_reply = THREAD_JOB_REPLY_BYTES,
					  .n_heap = HEAP_JOB_BYTES,
					  .moves_pages = moves_pages };
	int r;

	ZR_ASSERT(n_threads > 0 && n_threads <= JOBS_THREADS_MAX);

	for (jobs->n_threads = 0; jobs->n_threads < n_threads; ++jobs->n_threads) {
		r = thread_start(&jobs->threads[jobs->n_threads], &jobs->rooms[jobs->n_threads],
				 &kind, jobs_main, jobs);
		if (r < 0) {
			jobs_stop(jobs);
			return r;
		}
	}
	return 0;
}

void jobs_lock(struct jobs *jobs)
{
	unsigned int i;

	for (i = 0; i < jobs->n_threads; ++i)
		buffer_lock(&jobs->rooms[i].reply);
	for (i = 0; i < jobs->n_threads; ++i)
		buffer_lock(&jobs->rooms[i].stack);
}

void jobs_calm(struct jobs *jobs)
{
	unsigned int i;

	for (i = 0; i < jobs->n_threads; ++i)
		hurry_end(jobs->threads[i]);
}

void jobs_hold(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	jobs->is_held = true;
	pthread_mutex_unlock(&jobs->lock);
}

void jobs_allow(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	jobs->is_held = false;
	pthread_cond_broadcast(&jobs->posted);
	pthread_mutex_unlock(&jobs->lock);
}

bool jobs_are_idle(struct jobs *jobs)
{
	bool is_idle;

	pthread_mutex_lock(&jobs->lock);
	is_idle = !jobs->first && jobs->n_running == 0;
	pthread_mutex_unlock(&jobs->lock);
	return is_idle;
}

void jobs_stop(struct jobs *jobs)
{
	unsigned int i;

	pthread_mutex_lock(&jobs->lock);
	jobs->stopping = true;
	pthread_cond_broadcast(&jobs->posted);
	pthread_mutex_unlock(&jobs->lock);

	for (i = 0; i < jobs->n_threads; ++i)
		thread_join(jobs->threads[i], &jobs->rooms[i]);
	jobs->n_threads = 0;
	pthread_cond_destroy(&jobs->posted);
	pthread_mutex_destroy(&jobs->lock);
}

bool jobs_post(struct jobs *jobs, struct job *job)
{
	bool is_wanted;

	pthread_mutex_lock(&jobs->lock);
	is_wanted = !job->is_unwanted && !job->is_queued;
	if (is_wanted) {
		job->is_queued = true;
		job->next = NULL;
		*jobs->last = job;
		jobs->last = &job->next;
		pthread_cond_signal(&jobs->posted);
	}
	pthread_mutex_unlock(&jobs->lock);
	return is_wanted;
}

static void unlink_locked(struct jobs *jobs, struct job *job)
{
	struct job **link = &jobs->first;

	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	if (!job->next)
		jobs->last = link;
}

bool jobs_cancel(struct jobs *jobs, struct job *job)
{
	bool was_queued;

	pthread_mutex_lock(&jobs->lock);
	was_queued = job->is_queued;
	job->is_queued = false;
	job->is_unwanted = true;
	if (was_queued)
		unlink_locked(jobs, job);
	pthread_mutex_unlock(&jobs->lock);
	return was_queued;
}
