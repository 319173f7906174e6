#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Room: who waits for room below a memory limit, and who makes it
 *
 * A write that would pass a limit of a disk that spills waits until colder pages are on the file.
 * One thread takes them there (tier.h), for all: it is told that room is wanted, and tells everybody
 * when there is more, or that there will not be. Before it begins there is who makes room soon, and
 * a write waits for that, too; but if there is no news for as long as one waits, then none does until
 * it has begun, since what it waits for may be a read that is queued behind the writes.
 *
 * Ownership: embedded in the engine.
 * Locking:   its own, which has no rank: who waits holds nothing, and who tells takes nothing under
 *            it.
 * Errors:    none.
 * Cost:      to want is a load where it was wanted already, else a system call.
 */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum zr_room_state {
	ZR_ROOM_NONE, /* nobody makes any */
	ZR_ROOM_SOON, /* who makes it has not begun */
	ZR_ROOM_MADE,
};

struct zr_room {
	_Atomic int xstate; /* enum zr_room_state */
	_Atomic bool xwanted;
	sem_t wake; /* of who makes it */
	pthread_mutex_t lock;
	pthread_cond_t waited_for;
	_Atomic uint64_t xgeneration; /* changed under lock: how often there was news */
};

void zr_room_init(struct zr_room *room);
void zr_room_deinit(struct zr_room *room);

void zr_room_set(struct zr_room *room, enum zr_room_state state);

/* Who was to begin soon has not: nobody waits for that any longer, until it begins. */
void zr_room_give_up(struct zr_room *room);

/* Is there who makes room, or is about to? */
static inline bool zr_room_is_made(struct zr_room *room)
{
	return atomic_load(&room->xstate) != ZR_ROOM_NONE;
}

/* Room will be wanted, or is. */
void zr_room_want(struct zr_room *room);

/* Of who makes it: wait until it is wanted, or @until_ns of CLOCK_MONOTONIC. */
void zr_room_await_want(struct zr_room *room, int64_t until_ns);

/* There is news: who waits is to look again. */
void zr_room_tell(struct zr_room *room);

static inline uint64_t zr_room_generation(struct zr_room *room)
{
	return atomic_load(&room->xgeneration);
}

/* Wait for news since @generation, until @until_ns. Return: false if there is none. */
bool zr_room_wait(struct zr_room *room, uint64_t generation, int64_t until_ns);
