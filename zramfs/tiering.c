/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "tiering.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "batch.h"
#include "channel.h"
#include "policy.h"
#include "tier.h"

/* How often who waits for the batch asks whether to go on. */
#define ASK_NS (50 * INT64_C(1000000))

static uint32_t policy_cpu(void *context)
{
	const struct tiering *tiering = context;

	return atomic_load(tiering->policy_cpu);
}

static int pressure(void *context)
{
	struct tiering *tiering = context;

	return pressure_read(&tiering->pressure);
}

int tiering_init(struct tiering *tiering, struct zr_store *store,
		 const _Atomic uint32_t *policy_cpu)
{
	pthread_condattr_t attr;

	*tiering = (struct tiering){ .pressure.fd = -1, .policy_cpu = policy_cpu };
	pthread_mutex_init(&tiering->letting, NULL);
	pthread_mutex_init(&tiering->making, NULL);
	pthread_mutex_init(&tiering->lending, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&tiering->given, &attr);
	pthread_condattr_destroy(&attr);
	return backings_init(&tiering->backings, store);
}

void tiering_deinit(struct tiering *tiering, bool is_over)
{
	bool is_idle;

	tiering->tier = zr_tier_free(tiering->tier);
	pressure_close(&tiering->pressure);
	pthread_mutex_lock(&tiering->lending);
	is_idle = !tiering->is_lent;
	pthread_mutex_unlock(&tiering->lending);
	/* Who still writes must not do so to somebody else's file. */
	if (is_over && is_idle)
		backings_close(&tiering->backings);
	if (!is_idle)
		return;
	tiering->batch = zr_batch_free(tiering->batch);
	backings_deinit(&tiering->backings);
}

static int provide_tier_locked(struct tiering *tiering)
{
	const struct zr_policy_host host = { tiering, pressure, policy_cpu };

	if (tiering->tier)
		return 0;
	if (tiering->pressure.fd < 0)
		pressure_open(&tiering->pressure);
	return zr_tier_new(&tiering->tier, tiering->backings.store, &host);
}

static int provide_locked(struct tiering *tiering, bool has_files)
{
	int r;

	r = provide_tier_locked(tiering);
	pthread_mutex_lock(&tiering->lending);
	if (r == 0 && has_files && !tiering->batch && !tiering->is_lent)
		r = zr_batch_new(&tiering->batch);
	pthread_mutex_unlock(&tiering->lending);
	if (r == 0 && tiering->may_begin)
		zr_tier_begin(tiering->tier);
	return r;
}

/* Takes the lock of records: not with making, which who has that lock may wait for. */
static int let_wait(struct tiering *tiering)
{
	int r;

	pthread_mutex_lock(&tiering->letting);
	r = channel_let_wait(tiering->channel);
	pthread_mutex_unlock(&tiering->letting);
	return r;
}

int tiering_provide(struct tiering *tiering)
{
	const bool has_files = backings_are_there(&tiering->backings);
	int r = 0;

	if (has_files && tiering->channel)
		r = let_wait(tiering);
	pthread_mutex_lock(&tiering->making);
	tiering->follows = tiering->follows || zr_store_has_policies(tiering->backings.store);
	if (r == 0 && (has_files || tiering->follows))
		r = provide_locked(tiering, has_files);
	pthread_mutex_unlock(&tiering->making);
	return r;
}

int tiering_follow_policies(struct tiering *tiering)
{
	int r;

	pthread_mutex_lock(&tiering->making);
	tiering->follows = true;
	r = provide_locked(tiering, false);
	pthread_mutex_unlock(&tiering->making);
	return r;
}

void tiering_comes(struct tiering *tiering)
{
	zr_room_tell(zr_store_room(tiering->backings.store));
}

int tiering_begin(struct tiering *tiering)
{
	int r;

	pthread_mutex_lock(&tiering->making);
	tiering->may_begin = true;
	pthread_mutex_unlock(&tiering->making);
	r = tiering_provide(tiering);
	if (r < 0)
		zr_room_give_up(zr_store_room(tiering->backings.store));
	return r;
}

/* writing back by hand */

struct zr_batch *tiering_take_batch(void *context, struct zr_stop stop)
{
	struct tiering *tiering = context;
	struct zr_batch *batch;
	struct timespec until;
	int64_t until_ns;

	pthread_mutex_lock(&tiering->lending);
	while (tiering->is_lent && !zr_stop_is_wanted(&stop)) {
		until_ns = zr_monotonic_ns() + ASK_NS;
		until = (struct timespec){ until_ns / 1000000000, until_ns % 1000000000 };
		(void)pthread_cond_timedwait(&tiering->given, &tiering->lending, &until);
	}
	batch = tiering->batch;
	tiering->batch = NULL;
	tiering->is_lent = tiering->is_lent || batch;
	pthread_mutex_unlock(&tiering->lending);
	return batch;
}

void tiering_give_batch(void *context, struct zr_batch *batch)
{
	struct tiering *tiering = context;

	pthread_mutex_lock(&tiering->lending);
	tiering->batch = batch;
	tiering->is_lent = false;
	pthread_cond_signal(&tiering->given);
	pthread_mutex_unlock(&tiering->lending);
}

/* files */

int tiering_hold(struct tiering *tiering, struct zr_disk_spec *spec, struct zr_stop stop)
{
	int r;

	r = backings_hold(&tiering->backings, spec, stop);
	if (r == 0 && zr_policy_is_on(&spec->attrs))
		r = tiering_follow_policies(tiering);
	if (r == 0)
		r = tiering_provide(tiering);
	if (r < 0)
		tiering_release(tiering, spec);
	return r;
}

void tiering_release(struct tiering *tiering, const struct zr_disk_spec *spec)
{
	backings_release(&tiering->backings, spec);
}

int tiering_back(void *context, struct zr_disk *disk, const char *path, struct zr_stop stop)
{
	struct tiering *tiering = context;
	struct zr_disk_spec spec = { 0 };
	int r;

	if (zr_disk_size(disk) != 0)
		return -EBUSY;
	if (strlen(path) >= sizeof(spec.backing_dev))
		return -ENAMETOOLONG;
	zr_disk_attrs(disk, &spec.attrs);
	memcpy(spec.backing_dev, path, strlen(path));
	r = tiering_hold(tiering, &spec, stop);
	if (r < 0)
		return r;
	r = zr_store_back(tiering->backings.store, disk, spec.attrs.backing_id);
	tiering_release(tiering, &spec);
	/* The one that it had before. */
	backings_sweep(&tiering->backings);
	return r;
}
