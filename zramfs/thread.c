/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "thread.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap.h"
#include "hurry.h"
#include "shelf.h"

/* The deepest frames are 8 KiB (a text about a memory cgroup) and 6 KiB (a line of attributes), the
 * codecs' and libfuse's some more; beyond the end nobody can write. Sanitizers take the rest. */
#if defined(__SANITIZE_THREAD__)
#define STACK_BYTES (1u << 20)
#elif ZR_SANITIZED
#define STACK_BYTES (256u << 10)
#else
#define STACK_BYTES (96u << 10)
#endif

_Thread_local struct thread thread_self;

struct start {
	struct thread thread;
	void (*main_)(void *context);
	void *context;
	size_t n_heap;
	sem_t is_there;
};

static void room_free(struct thread_room *room)
{
	buffer_free(&room->reply);
	buffer_free(&room->stack);
}

/* Some machines want more: 128 KiB on arm64. */
static size_t stack_bytes(void)
{
	const long n_min = sysconf(_SC_THREAD_STACK_MIN);

	return n_min > (long)STACK_BYTES ? (size_t)n_min : STACK_BYTES;
}

static int room_make(struct thread_room *room, size_t n_reply)
{
	int r;

	*room = (struct thread_room){ 0 };
	r = n_reply > 0 ? buffer_make(&room->reply, n_reply) : 0;
	if (r == 0)
		r = buffer_make(&room->stack, stack_bytes());
	/* The C library looks at all stacks in a child of fork(). */
	if (r == 0 && madvise(room->stack.bytes, room->stack.n_bytes, MADV_DOFORK) < 0)
		r = -errno;
	if (r < 0)
		room_free(room);
	return r;
}

/* All that the thread will want is there when thread_start() returns: whoever is started in a hurry
 * gets it in a hurry. */
static void *thread_main(void *argument)
{
	struct start *start = argument;
	void (*const main_)(void *context) = start->main_;
	void *const context = start->context;

	thread_self = start->thread;
	heap_warm(start->n_heap);
	(void)hurry(0, false);
	sem_post(&start->is_there); /* it may be gone from here on */
	main_(context);
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

int thread_start(pthread_t *threadp, struct thread_room *room, const struct thread_kind *kind,
		 void (*main_)(void *context), void *context)
{
	struct start start = { .main_ = main_, .context = context, .n_heap = kind->n_heap };
	int r;

	r = room_make(room, kind->n_reply);
	if (r == 0 && kind->moves_pages)
		r = zr_ctx_new(&start.thread.ctx);
	if (r == 0 && kind->may_wait)
		r = zr_ctx_let_wait(start.thread.ctx);
	if (r == 0) {
		start.thread.reply = room->reply.bytes;
		start.thread.n_reply = kind->n_reply;
		sem_init(&start.is_there, 0, 0);
		r = thread_create(threadp, room, kind->name, &start);
		while (r == 0 && sem_wait(&start.is_there) < 0)
			;
		sem_destroy(&start.is_there);
	}
	if (r < 0) {
		zr_ctx_free(start.thread.ctx);
		room_free(room);
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

void thread_note_waiting(void)
{
	struct seat *seat = thread_self.seat;

	if (!seat)
		return;
	atomic_store_explicit(&seat->is_long, true, memory_order_relaxed);
	atomic_fetch_add_explicit(&seat->n_done, 1, memory_order_relaxed);
}
