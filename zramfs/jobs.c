/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "jobs.h"

#include <stdlib.h>

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

int jobs_start(struct jobs *jobs)
{
	int r;

	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->posted, NULL);
	jobs->last = &jobs->first;

	for (jobs->n_threads = 0; jobs->n_threads < JOBS_THREADS; ++jobs->n_threads) {
		r = thread_start(&jobs->threads[jobs->n_threads], jobs_main, jobs);
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

void jobs_post(struct jobs *jobs, struct job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&jobs->lock);
	*jobs->last = job;
	jobs->last = &job->next;
	pthread_cond_signal(&jobs->posted);
	pthread_mutex_unlock(&jobs->lock);
}
