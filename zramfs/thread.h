#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Thread: what every thread of the worker has to itself
 *
 * Room for one reply, a stack, a heap and, for who moves pages, a context of the engine: made before
 * the thread serves its first request.
 *
 * Ownership: room is kept by who starts the thread, until it was joined: a stack cannot go before.
 * Locking:   none.
 * Errors:    -ENOMEM, -EAGAIN.
 * Cost:      its reply, its heap, 96 KiB of stack, and 384 KiB of context.
 */

#include <pthread.h>

#include "buffers.h"
#include "pages.h"

/* Of who serves disks: the largest read. All other replies are short, or may be. */
#define THREAD_REPLY_BYTES     (1u << 20)
#define THREAD_JOB_REPLY_BYTES (64u << 10)

struct record;
struct seat;

/* Populated when the thread starts. Whoever started it locks it, when its turn comes. */
struct thread_room {
	struct buffer reply, stack;
};

struct thread_kind {
	const char *name; /* what ps -L shows, 15 bytes at most */
	size_t n_reply;   /* room for a reply; 0: it has its own */
	size_t n_heap;    /* what it may allocate without asking the kernel */
	bool moves_pages; /* has a context of the engine */
	bool may_wait;    /* which waits for a backing file where it must */
};

struct thread {
	struct zr_ctx *ctx; /* NULL: it moves no pages */
	uint8_t *reply;
	size_t n_reply;    /* THREAD_REPLY_BYTES or THREAD_JOB_REPLY_BYTES */
	struct seat *seat; /* NULL: none */
	bool takes_long;   /* what it does may take as long as it takes */
	/* of the request that was read last, where the thread reads requests */
	uint64_t unique; /* without SHELF_RESENT */
	bool is_resent;
	bool stays; /* it lies where it is until it is answered, and so does the reply's room */
	struct record
		*record; /* of a former generation, whose answer it gets; taken by who serves it */
};

/* Of the calling thread, which thread_start() made. */
extern _Thread_local struct thread thread_self;

/* Start a thread that runs @main_, and return when it does and its heap is there. Signals are
 * blocked in it: the main thread takes them. */
int thread_start(pthread_t *threadp, struct thread_room *room, const struct thread_kind *kind,
		 void (*main_)(void *context), void *context);

/* Wait for its end, and free its room. */
void thread_join(pthread_t thread, struct thread_room *room);

/* The calling thread has a request in hand, and anybody may know; it was answered, or handed on. */
void thread_take_seat(uint64_t unique, uint64_t node, uint32_t opcode);
void thread_leave_seat(void);

/* What it has in hand waits for something that takes as long as it takes, and that is no hang. To be
 * said again and again, as nobody else may make progress. */
void thread_note_waiting(void);
