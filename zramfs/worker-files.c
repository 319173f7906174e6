/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Backing files: given to this worker, passed on to the keeper, closed
 */

#include "log.h"
#include "wire.h"
#include "worker-parts.h"

/* For who keeps descriptors. */
static void backing_pass(void *context, unsigned int index, int fd)
{
	const struct wire_message message = { .kind = WIRE_BACKING, .value = index };
	struct worker *worker = context;

	pthread_mutex_lock(&worker->wire_lock);
	if (worker->wire >= 0)
		(void)wire_send(worker->wire, &message, fd);
	pthread_mutex_unlock(&worker->wire_lock);
}

/* Not while a file is opened or closed: later then. */
static void tell_rest(struct worker *worker)
{
	if (!worker->is_telling || !backings_pass_all(&worker->tiering.backings))
		return;
	worker->is_telling = false;
	(void)wire_say(worker->wire, WIRE_TOLD);
}

void worker_files_tell(struct worker *worker)
{
	const struct wire_message config = { .kind = WIRE_CONFIG };

	(void)wire_send(worker->wire, &config, worker->config_fd);
	worker->is_telling = true;
	tell_rest(worker);
}

static void sweep_run(struct job *job)
{
	struct sweep *sweep = (struct sweep *)job;

	backings_sweep(&sweep->worker->tiering.backings);
}

int worker_files_make(struct worker *worker)
{
	struct backings *backings = &worker->tiering.backings;
	unsigned int i;
	int r;

	r = tiering_init(&worker->tiering, worker->store, &worker->shelf->policy_cpu);
	if (r < 0)
		return r;
	backings->mount_device = (dev_t)atomic_load(&worker->shelf->mount_device);
	backings->pass = backing_pass;
	backings->context = worker;
	worker->sweep = (struct sweep){ .job = { .run = sweep_run, .is_kept = true },
					.worker = worker };
	for (i = 0; i < ZR_BACKINGS_MAX; ++i)
		backings_take(backings, i, worker->backing_fds[i]);
	return backings_attach(backings, false);
}

void worker_files_look(struct worker *worker)
{
	tell_rest(worker);
	backings_say_errors(&worker->tiering.backings);
	if (backings_are_idle(&worker->tiering.backings))
		jobs_post(&worker->fs.work, &worker->sweep.job);
}

void worker_files_take(struct worker *worker, const struct wire_message *message, int fd)
{
	backings_take(&worker->tiering.backings, (unsigned int)message->value, fd);
	(void)backings_attach(&worker->tiering.backings, false);
	(void)tiering_provide(&worker->tiering);
}
