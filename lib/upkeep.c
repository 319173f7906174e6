/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "upkeep.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include "compact.h"

#define MS_NS INT64_C(1000000)

/*
 * Whoever waits for memory waits for this thread, so it comes before them: at the lowest real-time
 * priority, or with a better nice value, as far as either is permitted. Where several sessions
 * compete for the cores the second is of no use: they share them session by session. It has that
 * priority always, since whatever it does may want a page: at another the kernel looks for one for
 * ever when there is little left, and does not touch what it keeps for those who must go on. (A
 * guest with 256 MiB whose only swap is a disk of ours hung whenever a pass or a look had to wait
 * at the priority of everybody.) So a pass, which nobody waits for, rests between its steps. Where
 * those who serve are bound to a core each, it would hold one of them up for as long as it works:
 * there it is asked to have the nice value.
 */
#define REAL_TIME_PRIORITY 1
#define NICE_URGENT        (-10)
#define REST_NS            (50 * INT64_C(1000))

/* Where the process locks its memory all of it is populated. */
#define STACK_BYTES (256u << 10)

#define LOOK_BUSY_NS (20 * MS_NS)
#define LOOK_IDLE_NS (1000 * MS_NS)

/* What a class keeps ahead falls to the least when it did not grow for so long. */
#define QUIET_NS (1000 * MS_NS)

/*
 * When is a pass worth it? At once, when a 400th of the memory in spans is free cells: with what
 * cannot be avoided that is well inside of 3 %, and at a steady rate of overwrites the passes cost
 * less than 1 % of what they do. For less, a 2000th, when no pass ended lately: so that what an
 * idle pool keeps is little, and little is spent on it.
 */
#define WASTE_SHARE       400u
#define WASTE_SHARE_LATER 2000u
#define WASTE_MIN_BYTES   UINT64_C(65536)
#define LATER_NS          (1000 * MS_NS)
#define LATER_PASSES      100 /* and after so many times what the last pass took */

struct zr_upkeep {
	struct zr_engine *engine;
	pthread_t thread;
	sem_t may_begin;
	bool has_begun; /* the caller's */
	_Atomic bool xstop;
	/* the thread's own */
	bool passing;
	int64_t pass_ended_ns;
	int64_t pass_began_cpu_ns, pass_took_ns; /* what a pass costs: not while others ran */
	int64_t look_ns;                         /* when to look next */
	struct zr_pool_usage seen;
};

static bool is_worth_a_pass(const struct zr_upkeep *upkeep, const struct zr_pool_usage *usage,
			    int64_t now)
{
	const int64_t rest_ns = (int64_t)zr_max((uint64_t)LATER_NS,
						(uint64_t)(LATER_PASSES * upkeep->pass_took_ns));

	if (usage->wasted_bytes > usage->span_bytes / WASTE_SHARE + WASTE_MIN_BYTES)
		return now - upkeep->pass_ended_ns > 4 * upkeep->pass_took_ns;
	return usage->wasted_bytes > usage->span_bytes / WASTE_SHARE_LATER + WASTE_MIN_BYTES &&
	       now - upkeep->pass_ended_ns > rest_ns;
}

static void refill(struct zr_upkeep *upkeep)
{
	(void)zr_pool_refill(&upkeep->engine->pool); /* asked again with the next look */
}

static int64_t cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

static void look(struct zr_upkeep *upkeep, int64_t now)
{
	struct zr_pool *pool = &upkeep->engine->pool;
	struct zr_pool_usage usage;
	bool changed;

	(void)zr_pool_trim(pool, QUIET_NS);
	/* What was refused before may be there now. */
	refill(upkeep);

	usage = zr_pool_usage(pool);
	changed = usage.live_bytes != upkeep->seen.live_bytes ||
		  usage.wasted_bytes != upkeep->seen.wasted_bytes;
	upkeep->seen = usage;
	upkeep->look_ns = now + (changed ? LOOK_BUSY_NS : LOOK_IDLE_NS);
	/* Somebody may have been told to stop in the middle of one. */
	if (!upkeep->passing &&
	    (zr_compact_is_under_way(upkeep->engine) || is_worth_a_pass(upkeep, &usage, now))) {
		upkeep->passing = true;
		upkeep->pass_began_cpu_ns = cpu_ns();
	}
}

static void pass_on(struct zr_upkeep *upkeep)
{
	const struct timespec rest = { .tv_nsec = REST_NS };

	upkeep->passing = zr_compact_step(upkeep->engine);
	nanosleep(&rest, NULL);
	if (!upkeep->passing) {
		(void)zr_pool_trim(&upkeep->engine->pool, QUIET_NS);
		upkeep->pass_ended_ns = zr_monotonic_ns();
		upkeep->pass_took_ns = cpu_ns() - upkeep->pass_began_cpu_ns;
	}
}

/* Until somebody wants memory, or it is time to look; not at all while there is a pass to do. */
static void wait_a_while(struct zr_upkeep *upkeep)
{
	struct zr_pool *pool = &upkeep->engine->pool;
	const struct timespec until = { upkeep->look_ns / 1000000000,
					upkeep->look_ns % 1000000000 };

	if (upkeep->passing)
		(void)sem_trywait(&pool->wake);
	else
		(void)sem_clockwait(&pool->wake, CLOCK_MONOTONIC, &until);
}

static void *run(void *context)
{
	struct zr_upkeep *upkeep = context;
	struct zr_pool *pool = &upkeep->engine->pool;

	while (sem_wait(&upkeep->may_begin) < 0)
		;
	while (!atomic_load(&upkeep->xstop)) {
		wait_a_while(upkeep);
		if (atomic_load(&pool->xwoken)) {
			refill(upkeep);
			/* Something happens: what is wasted is worth a look soon. */
			upkeep->look_ns =
				(int64_t)zr_min((uint64_t)upkeep->look_ns,
						(uint64_t)(zr_monotonic_ns() + LOOK_BUSY_NS));
		}
		if (zr_monotonic_ns() >= upkeep->look_ns)
			look(upkeep, zr_monotonic_ns());
		if (upkeep->passing)
			pass_on(upkeep);
	}
	return NULL;
}

static void *run_as_others(void *context)
{
	(void)setpriority(PRIO_PROCESS, 0, NICE_URGENT); /* this thread; it need not be permitted */
	return run(context);
}

/* On a busy machine a thread may wait long for its first turn: it is to have its priority then. */
static int thread_create(struct zr_upkeep *upkeep, bool in_real_time)
{
	const struct sched_param param = { .sched_priority = REAL_TIME_PRIORITY };
	pthread_attr_t attr;
	int error = EPERM;

	zr_must(pthread_attr_init(&attr));
	zr_must(pthread_attr_setstacksize(&attr, STACK_BYTES));
	zr_must(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED));
	zr_must(pthread_attr_setschedpolicy(&attr, SCHED_FIFO));
	zr_must(pthread_attr_setschedparam(&attr, &param));
	if (in_real_time)
		error = pthread_create(&upkeep->thread, &attr, run, upkeep);
	if (error == EPERM) {
		zr_must(pthread_attr_setinheritsched(&attr, PTHREAD_INHERIT_SCHED));
		error = pthread_create(&upkeep->thread, &attr, run_as_others, upkeep);
	}
	zr_must(pthread_attr_destroy(&attr));
	return -error;
}

/* Signals are for whoever made the process. */
static int thread_start(struct zr_upkeep *upkeep, bool in_real_time)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	zr_must(pthread_sigmask(SIG_SETMASK, &all, &before));
	r = thread_create(upkeep, in_real_time);
	zr_must(pthread_sigmask(SIG_SETMASK, &before, NULL));
	return r;
}

int zr_upkeep_new(struct zr_upkeep **upkeepp, struct zr_engine *engine, bool in_real_time)
{
	struct zr_upkeep *upkeep;
	int r;

	upkeep = calloc(1, sizeof(*upkeep));
	if (!upkeep)
		return -ENOMEM;

	upkeep->engine = engine;
	zr_must(sem_init(&upkeep->may_begin, 0, 0));
	r = thread_start(upkeep, in_real_time);
	if (r < 0) {
		zr_must(sem_destroy(&upkeep->may_begin));
		free(upkeep);
		return r;
	}

	*upkeepp = upkeep;
	return 0;
}

void zr_upkeep_begin(struct zr_upkeep *upkeep)
{
	if (upkeep->has_begun)
		return;
	upkeep->has_begun = true;
	/* Whoever was here before left it. */
	upkeep->passing = zr_compact_is_under_way(upkeep->engine);
	zr_pool_tend(&upkeep->engine->pool, true);
	zr_must(sem_post(&upkeep->may_begin));
}

struct zr_upkeep *zr_upkeep_free(struct zr_upkeep *upkeep)
{
	if (!upkeep)
		return NULL;

	atomic_store(&upkeep->xstop, true);
	if (upkeep->has_begun)
		zr_must(sem_post(&upkeep->engine->pool.wake));
	else
		zr_must(sem_post(&upkeep->may_begin));
	zr_must(pthread_join(upkeep->thread, NULL));
	if (upkeep->has_begun)
		zr_pool_tend(&upkeep->engine->pool, false);
	zr_must(sem_destroy(&upkeep->may_begin));
	free(upkeep);
	return NULL;
}
