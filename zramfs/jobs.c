/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "jobs.h"

#include <stdlib.h>

#include "check.h"

/* Return: the next job, or NULL when there will be none. */
static struct job *job_wait(struct jobs *jobs)
{
	struct job *job;

	pthread_mutex_lock(&jobs->lock);
	while (!jobs->first && !jobs->stopping)
		pthread_cond_wait(&jobs->posted, &jobs->lock);
	job = jobs->first;
	if (job) {
		jobs->first = job->next;
		if (!jobs->first)
			jobs->last = &jobs->first;
		job->is_queued = false;
	}
	pthread_mutex_unlock(&jobs->lock);
	return job;
}

static void jobs_main(void *context)
{
	struct jobs *jobs = context;
	struct job *job;

	while ((job = job_wait(jobs))) {
		job->run(job);
		free(job);
	}
}

int jobs_start(struct jobs *jobs, const char *name, unsigned int n_threads)
{
	int r;

	ZR_ASSERT(n_threads > 0 && n_threads <= JOBS_THREADS_MAX);

	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->posted, NULL);
	jobs->last = &jobs->first;

	for (jobs->n_threads = 0; jobs->n_threads < n_threads; ++jobs->n_threads) {
		r = thread_start(&jobs->threads[jobs->n_threads], name, jobs_main, jobs);
		if (r < 0) {
			jobs_stop(jobs);
			return r;
		}
	}
	return 0;
}

void jobs_stop(struct jobs *jobs)
{
	unsigned int i;

	pthread_mutex_lock(&jobs->lock);
	jobs->stopping = true;
	pthread_cond_broadcast(&jobs->posted);
	pthread_mutex_unlock(&jobs->lock);

	for (i = 0; i < jobs->n_threads; ++i)
		pthread_join(jobs->threads[i], NULL);
	jobs->n_threads = 0;
	pthread_cond_destroy(&jobs->posted);
	pthread_mutex_destroy(&jobs->lock);
}

bool jobs_post(struct jobs *jobs, struct job *job)
{
	bool is_queued;

	pthread_mutex_lock(&jobs->lock);
	is_queued = job->is_queued = !job->is_unwanted;
	if (is_queued) {
		job->next = NULL;
		*jobs->last = job;
		jobs->last = &job->next;
		pthread_cond_signal(&jobs->posted);
	}
	pthread_mutex_unlock(&jobs->lock);
	return is_queued;
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
