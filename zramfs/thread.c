/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "thread.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

/* The engine's deepest frame is a few KiB; stdio and libfuse want some more. */
#define STACK_BYTES (256u << 10)

_Thread_local struct thread thread_self;

struct start {
	struct thread thread;
	const char *name;
	void (*main_)(void *context);
	void *context;
};

static void thread_deinit(struct thread *thread)
{
	thread->ctx = zr_ctx_free(thread->ctx);
	if (thread->reply)
		munmap(thread->reply, THREAD_REPLY_BYTES);
	thread->reply = NULL;
}

static int thread_init(struct thread *thread)
{
	void *reply;
	int r;

	r = zr_ctx_new(&thread->ctx);
	if (r < 0)
		return r;

	reply = mmap(NULL, THREAD_REPLY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	if (reply == MAP_FAILED) {
		thread_deinit(thread);
		return -ENOMEM;
	}
	thread->reply = reply;
	return 0;
}

static void *thread_main(void *argument)
{
	struct start start = *(struct start *)argument;

	free(argument);
	thread_self = start.thread;
	pthread_setname_np(pthread_self(), start.name);
	start.main_(start.context);
	thread_deinit(&thread_self);
	return NULL;
}

static int thread_create(pthread_t *threadp, struct start *start)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
	sigset_t all, before;
	pthread_attr_t attr;
	unsigned int i;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	pthread_attr_setstacksize(&attr, STACK_BYTES);

	/* Faults stay: blocked, they would kill without a word from a sanitizer. */
	sigfillset(&all);
	for (i = 0; i < ZR_ARRAY_SIZE(faults); ++i)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(threadp, &attr, thread_main, start);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -r;
}

int thread_start(pthread_t *threadp, const char *name, void (*main_)(void *context), void *context)
{
	struct start *start;
	int r;

	start = calloc(1, sizeof(*start));
	if (!start)
		return -ENOMEM;
	start->name = name;
	start->main_ = main_;
	start->context = context;

	r = thread_init(&start->thread);
	if (r == 0)
		r = thread_create(threadp, start);
	if (r < 0) {
		thread_deinit(&start->thread);
		free(start);
	}
	return r;
}
