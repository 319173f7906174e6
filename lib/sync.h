#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Sync: locks with ranks
 *
 * Lock order: take downwards, never upwards, never two of one rank (stripes excepted: whoever
 * wants several takes them in rising order, through zr_stripes_*() alone).
 *
 *   rank     lock               protects                               held across
 *   -------  -----------------  -------------------------------------  --------------------
 *   DIR      store->dir         which disks there are                  waiting for a DISK
 *   CHANGE   pages->change      pages of a disk, against another       codec, memcpy, a write to
 *                               change in the background               the backing file
 *   DISK     disk->shape        size, attributes, inner nodes:         page operations
 *                               shared to use, exclusive to change
 *   COMPACT  compaction->lock   the pass: where it is                  one step: a leaf, a span
 *   LIST     compaction->list   whose pages there are                  all stripes, for a sum
 *   STRIPE   engine->stripes    slots of the pages that hash to it;    codec, memcpy; fstat(2)
 *                               shared also keeps their cells alive
 *   TREE     slots->tree        links from node to node                allocation of a node
 *   GROW     pool->grow         which spans there are, what memory     madvise(2), fallocate(2),
 *                               they have; not taken by who serves     pwritev(2)
 *   CLASS    pool class->lock   the cells of one class                 finding a bit
 *   BACKING  backing->lock      room on a backing file                 finding a run of blocks
 *
 * No lock: counters (relaxed atomics), workspaces (owned by a thread). pool->wait_lock has no rank:
 * who waits for memory holds nothing, and who brings it takes nothing else under it.
 * No lock is held across a reply to the kernel or a log line.
 *
 * Ownership: locks are embedded in what they protect, in private memory; they die with the worker.
 * Locking:   this is it. Ranks are checked at debug_level 1 and above.
 * Errors:    none; a failing pthread call is a bug and aborts.
 * Cost:      an uncontended pair is 20 to 40 ns.
 */

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "check.h"

enum zr_rank {
	ZR_RANK_DIR,
	ZR_RANK_CHANGE,
	ZR_RANK_DISK,
	ZR_RANK_COMPACT,
	ZR_RANK_LIST,
	ZR_RANK_STRIPE,
	ZR_RANK_TREE,
	ZR_RANK_GROW,
	ZR_RANK_CLASS,
	ZR_RANK_BACKING,
};

struct zr_mutex {
	pthread_mutex_t impl;
	enum zr_rank rank;
};

struct zr_rwlock {
	pthread_rwlock_t impl;
	enum zr_rank rank;
};

#if ZR_DEBUG_LEVEL >= 1
extern _Thread_local unsigned int zr_ranks_held;

static inline void zr_rank_enter(enum zr_rank rank)
{
	ZR_ASSERT(zr_ranks_held >> rank == 0);
	zr_ranks_held |= 1u << rank;
}

static inline void zr_rank_leave(enum zr_rank rank)
{
	ZR_ASSERT(zr_ranks_held & (1u << rank));
	zr_ranks_held &= ~(1u << rank);
}

static inline void zr_assert_held(enum zr_rank rank)
{
	ZR_ASSERT(zr_ranks_held & (1u << rank));
}

static inline void zr_assert_none_held(void)
{
	ZR_ASSERT(zr_ranks_held == 0);
}
#else
static inline void zr_rank_enter(enum zr_rank rank)
{
	(void)rank;
}

static inline void zr_rank_leave(enum zr_rank rank)
{
	(void)rank;
}

static inline void zr_assert_held(enum zr_rank rank)
{
	(void)rank;
}

static inline void zr_assert_none_held(void)
{
}
#endif

/* Nanoseconds of CLOCK_MONOTONIC, which deadlines are given by. */
static inline int64_t zr_monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void zr_must(int error)
{
	if (error)
		abort();
}

static inline void zr_mutex_init(struct zr_mutex *mutex, enum zr_rank rank)
{
	zr_must(pthread_mutex_init(&mutex->impl, NULL));
	mutex->rank = rank;
}

static inline void zr_mutex_deinit(struct zr_mutex *mutex)
{
	zr_must(pthread_mutex_destroy(&mutex->impl));
}

static inline struct zr_mutex *zr_lock(struct zr_mutex *mutex)
{
	zr_rank_enter(mutex->rank);
	zr_must(pthread_mutex_lock(&mutex->impl));
	return mutex;
}

static inline void zr_unlock(struct zr_mutex *mutex)
{
	zr_must(pthread_mutex_unlock(&mutex->impl));
	zr_rank_leave(mutex->rank);
}

static inline void zr_unlockp(struct zr_mutex **mutexp)
{
	zr_unlock(*mutexp);
}

static inline void zr_rwlock_init(struct zr_rwlock *lock, enum zr_rank rank)
{
	pthread_rwlockattr_t attr;

	/* By default readers that keep coming starve a writer. Ranks forbid the recursion that this
	 * kind cannot have. */
	zr_must(pthread_rwlockattr_init(&attr));
	zr_must(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
	zr_must(pthread_rwlock_init(&lock->impl, &attr));
	zr_must(pthread_rwlockattr_destroy(&attr));
	lock->rank = rank;
}

static inline void zr_rwlock_deinit(struct zr_rwlock *lock)
{
	zr_must(pthread_rwlock_destroy(&lock->impl));
}

static inline struct zr_rwlock *zr_lock_shared(struct zr_rwlock *lock)
{
	zr_rank_enter(lock->rank);
	zr_must(pthread_rwlock_rdlock(&lock->impl));
	return lock;
}

static inline struct zr_rwlock *zr_lock_exclusive(struct zr_rwlock *lock)
{
	zr_rank_enter(lock->rank);
	zr_must(pthread_rwlock_wrlock(&lock->impl));
	return lock;
}

static inline void zr_rwunlock(struct zr_rwlock *lock)
{
	zr_must(pthread_rwlock_unlock(&lock->impl));
	zr_rank_leave(lock->rank);
}

static inline void zr_rwunlockp(struct zr_rwlock **lockp)
{
	zr_rwunlock(*lockp);
}

#define ZR_CAT_(a, b) a##b
#define ZR_CAT(a, b)  ZR_CAT_(a, b)

/* Hold a lock until the scope ends. */
#define ZR_GUARD(mutex)                                                                  \
	__attribute__((cleanup(zr_unlockp), unused)) struct zr_mutex *ZR_CAT(zr_guard_,  \
									     __LINE__) = \
		zr_lock(mutex)
#define ZR_GUARD_SHARED(lock)                                                               \
	__attribute__((cleanup(zr_rwunlockp), unused)) struct zr_rwlock *ZR_CAT(zr_guard_,  \
										__LINE__) = \
		zr_lock_shared(lock)
#define ZR_GUARD_EXCLUSIVE(lock)                                                            \
	__attribute__((cleanup(zr_rwunlockp), unused)) struct zr_rwlock *ZR_CAT(zr_guard_,  \
										__LINE__) = \
		zr_lock_exclusive(lock)
