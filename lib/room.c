/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "room.h"

#include "sync.h"

void zr_room_init(struct zr_room *room)
{
	pthread_condattr_t attr;

	zr_must(sem_init(&room->wake, 0, 0));
	zr_must(pthread_mutex_init(&room->lock, NULL));
	zr_must(pthread_condattr_init(&attr));
	zr_must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	zr_must(pthread_cond_init(&room->waited_for, &attr));
	zr_must(pthread_condattr_destroy(&attr));
}

void zr_room_deinit(struct zr_room *room)
{
	zr_must(pthread_cond_destroy(&room->waited_for));
	zr_must(pthread_mutex_destroy(&room->lock));
	zr_must(sem_destroy(&room->wake));
}

void zr_room_set(struct zr_room *room, enum zr_room_state state)
{
	atomic_store(&room->xstate, state);
	zr_room_tell(room);
}

void zr_room_give_up(struct zr_room *room)
{
	int soon = ZR_ROOM_SOON;

	if (atomic_compare_exchange_strong(&room->xstate, &soon, ZR_ROOM_NONE))
		zr_room_tell(room);
}

void zr_room_want(struct zr_room *room)
{
	/* Not relaxed: what is wanted must be seen by who has just said that nothing is. */
	if (!atomic_load(&room->xwanted) && !atomic_exchange(&room->xwanted, true))
		zr_must(sem_post(&room->wake));
}

void zr_room_await_want(struct zr_room *room, int64_t until_ns)
{
	const struct timespec until = { until_ns / 1000000000, until_ns % 1000000000 };

	(void)sem_clockwait(&room->wake, CLOCK_MONOTONIC, &until);
	/* Before anything is looked at: what is wanted from here on is told again. */
	atomic_store(&room->xwanted, false);
}

void zr_room_tell(struct zr_room *room)
{
	zr_must(pthread_mutex_lock(&room->lock));
	atomic_fetch_add(&room->xgeneration, 1);
	zr_must(pthread_cond_broadcast(&room->waited_for));
	zr_must(pthread_mutex_unlock(&room->lock));
}

bool zr_room_wait(struct zr_room *room, uint64_t generation, int64_t until_ns)
{
	const struct timespec until = { until_ns / 1000000000, until_ns % 1000000000 };
	bool came;

	zr_assert_none_held();

	zr_must(pthread_mutex_lock(&room->lock));
	while (zr_room_generation(room) == generation &&
	       pthread_cond_timedwait(&room->waited_for, &room->lock, &until) == 0)
		;
	came = zr_room_generation(room) != generation;
	zr_must(pthread_mutex_unlock(&room->lock));
	return came;
}
