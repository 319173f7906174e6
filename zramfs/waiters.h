#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Waiters: threads that wait for a backing file, so that those that serve disks need not
 *
 * A page may lie on a file, and room in memory may come only once others were written there. What
 * would have to wait for that fails with -EINPROGRESS where it was read, is handed over, and is done
 * again from its beginning by a waiter, whose context may wait. So a read of the file is one
 * request's wait, and nobody else's.
 *
 *   reads     wait in a queue, and lie in the buffer of the waiter that does them
 *   writes    wait in another, their bytes copied aside, and into the buffer of the waiter when it
 *             begins: so room is free again before the file was waited for, in the order it was taken
 *
 * A waiter takes what came first, but only half of them do writes at a time: one that waits for room
 * in memory may take what the engine has patience for, seconds, while a read takes what the file
 * takes. What stays where it is until it is answered, as over io_uring, is not copied.
 *
 * Room is made beforehand, and may be used up. There is an entry for each request that the kernel
 * sends in the background, which are all of a loop device or of an asynchronous program, or for each
 * that rings can have in hand; and WAITERS_MORE for programs that wait themselves, one each, of
 * which there may be any number. Aside there is room for two writes of the largest kind, or five
 * hundred of a page, four times what a loop device has under way. Who finds none waits for it, since
 * a request that was read cannot be given back; each gets its turn, and is no hang for the watchdog.
 * Rings never wait.
 *
 * So all who serve may wait, and reads of memory then wait with them: until the next of the writes
 * before them has begun. That is as long as the engine has patience with those that are under way,
 * or as the file takes to give a page that one of them changes in part. To keep one thread from it
 * would gain nothing: it holds a write that nobody has room for, and what it would read next is what
 * the kernel has queued behind that, first come first served.
 *
 * Ownership: whoever asked has the file open, and the kernel sends its RELEASE only once it has the
 *            answers to all that was asked of it, also of one who was killed: so the disk of a
 *            request lives until that is answered.
 * Locking:   one mutex, held to link and unlink, and while bytes of a write are copied, 0.1 ms at
 *            most; another to start. No lock of the engine is taken under either, nor memory asked
 *            for under the first.
 * Errors:    -ENOMEM, -EAGAIN from starting.
 * Cost:      nothing before waiters_start(). Then 15 MiB, resident: a waiter has a buffer of 1 MiB,
 *            450 KiB of context and window, stack and heap; aside are two buffers more, and 80 bytes
 *            an entry. Over io_uring a buffer is what a ring has for a request. A hand-over is a
 *            waking, 50 us, and the request done twice up to the page that has to wait.
 */

#include <pthread.h>

#include "thread.h"

/* That many reads of a file at once get from an SSD most of what it gives. */
#define WAITERS 8u

/* That do writes at a time. */
#define WAITERS_WRITING (WAITERS / 2)

/* Requests beyond those that the kernel bounds. */
#define WAITERS_MORE 1024u

struct zr_disk;

/* A request of bytes of a disk. */
struct waited {
	struct zr_disk *disk; /* open, until it is answered */
	uint64_t unique;      /* as it came, with SHELF_RESENT */
	uint64_t node;
	uint32_t opcode; /* FUSE_READ or FUSE_WRITE */
	uint32_t n_bytes;
	uint64_t offset;
	int64_t begin_ns; /* when it was begun with first */
	uint8_t *bytes;   /* what is to be written, or where is to be read to */
};

/* Do it, with the calling thread's context, and answer. Before that what the context has of a
 * backing file is given back: once it is answered, the disk may go, and its file. */
typedef void (*waiters_serve)(void *context, const struct waited *request);

struct waiters_entry;

struct waiters_queue {
	struct waiters_entry *first, **last;
};

struct waiters {
	/* constant */
	waiters_serve serve;
	void *context;
	struct seat *seats; /* one for each */
	_Atomic bool are_there;

	pthread_mutex_t starting; /* above lock */
	/* protected by starting; for who stops them, by the end of all else */
	unsigned int n_threads;
	pthread_t threads[WAITERS];
	struct thread_room rooms[WAITERS];
	struct buffer memory; /* of entries and parked bytes */

	pthread_mutex_t lock;
	pthread_cond_t posted, freed;
	/* protected by lock */
	struct waiters_entry *free;
	struct waiters_queue reads, writes;
	uint64_t n_posted, n_waiting,
		n_let_in; /* ever: requests; writes that came, and have room */
	uint8_t *parked;  /* a ring */
	size_t n_parked_max, n_parked, parked_at;
	unsigned int n_seated, n_busy, n_writing;
	bool stopping;
};

/* None is there. @seats: WAITERS. */
void waiters_init(struct waiters *waiters, struct seat *seats, waiters_serve serve, void *context);

/* Have them there, populated and locked, if they are not. @n_requests: that the kernel may have sent
 * and not got an answer to, as far as that is bounded; @n_bytes: of one, at most. Called by any
 * thread but one that serves disks, as it takes memory. On an error none is there, as before. */
int waiters_start(struct waiters *waiters, unsigned int n_requests, size_t n_bytes);

/* They are in no hurry any more (hurry.h). */
void waiters_calm(struct waiters *waiters);

/* Hand @request over. @stays: its bytes lie where they are until it is answered; else those of a
 * write are copied now, and those of a read go to memory of the waiter's. May wait for room, and
 * the calling thread is not taken for stuck then. Return: false if nobody is there. */
bool waiters_post(struct waiters *waiters, const struct waited *request, bool stays);

/* Is the request with that number handed over, and in nobody's hands yet? Without SHELF_RESENT. */
bool waiters_have(struct waiters *waiters, uint64_t unique);

/* Is nothing handed over that is not answered? */
bool waiters_are_idle(struct waiters *waiters);

/* Do what was handed over, then end them. Nobody posts any more. */
void waiters_stop(struct waiters *waiters);
