/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "thread.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "shelf.h"

/* The engine's deepest frame is a few KiB; stdio and libfuse want some more. */
#if defined(__SANITIZE_THREAD__)
#define STACK_BYTES (1u << 20) /* most of it is the sanitizer's */
#else
#define STACK_BYTES (256u << 10)
#endif

_Thread_local struct thread thread_self;

struct start {
	struct thread thread;
	void (*main_)(void *context);
	void *context;
};

static void room_free(struct thread_room *room)
{
	buffer_free(&room->reply);
	buffer_free(&room->stack);
}

static int room_make(struct thread_room *room, size_t n_reply)
{
	int r;

	*room = (struct thread_room){ 0 };
	r = buffer_make(&room->reply, n_reply);
	if (r == 0)
		r = buffer_make(&room->stack, STACK_BYTES);
	/* The C library looks at all stacks in a child of fork(). */
	if (r == 0 && madvise(room->stack.bytes, room->stack.n_bytes, MADV_DOFORK) < 0)
		r = -errno;
	if (r < 0)
		room_free(room);
	return r;
}

static void *thread_main(void *argument)
{
	struct start start = *(struct start *)argument;

	free(argument);
	thread_self = start.thread;
	start.main_(start.context);
	thread_self.ctx = zr_ctx_free(thread_self.ctx);
	return NULL;
}

static int thread_create(pthread_t *threadp, struct thread_room *room, const char *name,
			 struct start *start)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
	sigset_t all, before;
	pthread_attr_t attr;
	unsigned int i;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	r = pthread_attr_setstack(&attr, room->stack.bytes, room->stack.n_bytes);
	/* Whoever starts it may be in a hurry (worker.c); it need not be. */
	if (r == 0)
		r = pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);

	/* Faults stay: blocked, they would kill without a word from a sanitizer. */
	sigfillset(&all);
	for (i = 0; i < ZR_ARRAY_SIZE(faults); ++i)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (r == 0)
		r = pthread_create(threadp, &attr, thread_main, start);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	/* By whoever starts it: who looks for a thread by its name finds it from the first moment. */
	if (r == 0)
		pthread_setname_np(*threadp, name);
	return -r;
}

int thread_start(pthread_t *threadp, struct thread_room *room, const char *name, size_t n_reply,
		 void (*main_)(void *context), void *context)
{
	struct start *start;
	int r;

	start = calloc(1, sizeof(*start));
	if (!start)
		return -ENOMEM;
	start->main_ = main_;
	start->context = context;

	r = room_make(room, n_reply);
	if (r == 0)
		r = zr_ctx_new(&start->thread.ctx);
	if (r == 0) {
		start->thread.reply = room->reply.bytes;
		start->thread.n_reply = n_reply;
		r = thread_create(threadp, room, name, start);
	}
	if (r < 0) {
		zr_ctx_free(start->thread.ctx);
		room_free(room);
		free(start);
	}
	return r;
}

void thread_join(pthread_t thread, struct thread_room *room)
{
	pthread_join(thread, NULL);
	room_free(room);
}

void thread_take_seat(uint64_t unique, uint64_t node, uint32_t opcode)
{
	struct seat *seat = thread_self.seat;

	if (!seat)
		return;
	atomic_store_explicit(&seat->node, node, memory_order_relaxed);
	atomic_store_explicit(&seat->opcode, opcode, memory_order_relaxed);
	atomic_store_explicit(&seat->is_long, thread_self.takes_long, memory_order_relaxed);
	/* Whoever sees the number, the keeper or the next worker, sees what it is about. */
	atomic_store_explicit(&seat->unique, unique, memory_order_release);
}

void thread_leave_seat(void)
{
	struct seat *seat = thread_self.seat;

	if (!seat)
		return;
	atomic_fetch_add_explicit(&seat->n_done, 1, memory_order_relaxed);
	atomic_store_explicit(&seat->unique, 0, memory_order_release);
}
