/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Attributes of the daemon: what the worker does that the engine cannot
 */

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "safety.h"
#include "worker-parts.h"

static int upgrade_run(void *context, const char *path, struct zr_stop stop)
{
	struct worker *worker = context;

	return wish_run(&worker->wish, worker->wire,
			(dev_t)atomic_load(&worker->shelf->mount_device), path, stop);
}

static int upgrade_print(void *context, char *text, size_t n_text)
{
	struct worker *worker = context;

	return wish_print(&worker->wish, text, n_text);
}

/* Whoever asks may be served before the main thread has looked. */
static int safety_show(void *context, char *text, size_t n_text)
{
	struct worker *worker = context;

	safety_resend(channel_can_resend(worker->channel));
	return safety_print(text, n_text);
}

static int generation_print(void *context, char *text, size_t n_text)
{
	struct worker *worker = context;

	return snprintf(text, n_text, "%" PRIu64 " %d\n", worker->generation, (int)getpid());
}

static uint32_t watchdog(void *context)
{
	struct worker *worker = context;

	return atomic_load(&worker->shelf->watchdog_s);
}

static void watchdog_set(void *context, uint32_t seconds)
{
	struct worker *worker = context;

	atomic_store(&worker->shelf->watchdog_s, seconds);
}

static uint32_t poll_us(void *context)
{
	struct worker *worker = context;

	return atomic_load(&worker->shelf->poll_us);
}

static void poll_us_set(void *context, uint32_t us)
{
	struct worker *worker = context;

	atomic_store(&worker->shelf->poll_us, us);
}

static uint32_t policy_cpu(void *context)
{
	struct worker *worker = context;

	return atomic_load(&worker->shelf->policy_cpu);
}

static void policy_cpu_set(void *context, uint32_t percent)
{
	struct worker *worker = context;

	atomic_store(&worker->shelf->policy_cpu, percent);
	/* Who follows policies may be waiting for it. */
	zr_room_want(zr_store_room(worker->store));
}

static int policies_follow(void *context)
{
	struct worker *worker = context;

	return tiering_follow_policies(&worker->tiering);
}

static int back(void *context, struct zr_disk *disk, const char *path, struct zr_stop stop)
{
	struct worker *worker = context;

	return tiering_back(&worker->tiering, disk, path, stop);
}

static struct zr_batch *batch_take(void *context, struct zr_stop stop)
{
	struct worker *worker = context;

	return tiering_take_batch(&worker->tiering, stop);
}

static void batch_give(void *context, struct zr_batch *batch)
{
	struct worker *worker = context;

	tiering_give_batch(&worker->tiering, batch);
}

void worker_daemon_init(struct worker *worker)
{
	wish_init(&worker->wish);
	worker->daemon = (struct zr_attr_daemon){ .context = worker,
						  .upgrade = upgrade_run,
						  .print_upgrade = upgrade_print,
						  .print_safety = safety_show,
						  .print_generation = generation_print,
						  .watchdog = watchdog,
						  .set_watchdog = watchdog_set,
						  .poll_us = poll_us,
						  .set_poll_us = poll_us_set,
						  .policy_cpu = policy_cpu,
						  .set_policy_cpu = policy_cpu_set,
						  .follow_policies = policies_follow,
						  .back = back,
						  .take_batch = batch_take,
						  .give_batch = batch_give };
}
