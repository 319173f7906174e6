/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "load.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* A worker that hangs is killed after 10 s. What takes longer than this was lost. */
#define LOST_AFTER_S 40

#define LOOK_MS 250

struct asked {
	const char *_Atomic what; /* NULL: nothing */
	_Atomic uint64_t where;
	_Atomic int64_t since_s;
};

struct thread {
	void (*run)(unsigned int no);
	unsigned int no;
};

static struct asked asked[LOAD_THREADS_MAX];
static atomic_bool stopped;
static _Atomic unsigned int n_running;
static sigset_t stopping;

static int64_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

void load_init(void)
{
	sigset_t ignored;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&stopping);
	sigaddset(&stopping, SIGTERM);
	sigaddset(&stopping, SIGINT);
	pthread_sigmask(SIG_BLOCK, &stopping, NULL);
	/* Last, and never waited for: who sees it blocked knows that SIGTERM will be heard. */
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &ignored, NULL);
}

bool load_goes_on(void)
{
	return !atomic_load_explicit(&stopped, memory_order_relaxed);
}

void load_fail(const char *format, ...)
{
	char line[512];
	va_list list;
	int n;

	/* One write, since several threads may fail at once; and no exit handler, since one of them
	 * may wait for an answer for ever. */
	va_start(list, format);
	n = vsnprintf(line, sizeof(line) - 1, format, list);
	va_end(list);
	n = n < (int)sizeof(line) - 1 ? n : (int)sizeof(line) - 2;
	line[n] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)n + 1);
	_exit(EXIT_FAILURE);
}

void load_asks(unsigned int no, const char *what, uint64_t where)
{
	atomic_store(&asked[no].where, where);
	atomic_store(&asked[no].since_s, now_s());
	atomic_store(&asked[no].what, what);
}

void load_has(unsigned int no)
{
	atomic_store(&asked[no].what, NULL);
}

static void look_for_lost(void)
{
	const int64_t now = now_s();
	unsigned int i;

	for (i = 0; i < LOAD_THREADS_MAX; ++i) {
		const char *what = atomic_load(&asked[i].what);

		if (what && now - atomic_load(&asked[i].since_s) > LOST_AFTER_S)
			load_fail("%s at %llu: not answered for %d s", what,
				  (unsigned long long)atomic_load(&asked[i].where), LOST_AFTER_S);
	}
}

static void *thread_run(void *context)
{
	struct thread *thread = context;

	thread->run(thread->no);
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

void load_run(unsigned int n_threads, void (*run)(unsigned int no))
{
	const struct timespec look = { .tv_nsec = LOOK_MS * 1000000L };
	static struct thread threads[LOAD_THREADS_MAX];
	pthread_t ids[LOAD_THREADS_MAX];
	unsigned int i;
	int r;

	atomic_store(&n_running, n_threads);
	for (i = 0; i < n_threads; ++i) {
		threads[i] = (struct thread){ .run = run, .no = i };
		r = pthread_create(&ids[i], NULL, thread_run, &threads[i]);
		if (r)
			load_fail("cannot start a thread: %s", strerror(r));
	}

	while (atomic_load(&n_running) > 0) {
		if (sigtimedwait(&stopping, NULL, &look) > 0)
			atomic_store(&stopped, true);
		look_for_lost();
	}
	for (i = 0; i < n_threads; ++i)
		pthread_join(ids[i], NULL);
}

unsigned int load_number(const char *text, unsigned int max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || value < 1 || value > max)
		load_fail("'%s' is no number from 1 to %u", text, max);
	return (unsigned int)value;
}

void *load_buffer(size_t n_bytes)
{
	void *bytes = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (bytes == MAP_FAILED)
		load_fail("no memory: %s", strerror(errno));
	return bytes;
}
