#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Rings: requests that come over io_uring, and their answers
 *
 * A thread for each ring, and a ring for each processor that is there, as far as they go; queues of
 * processors that are not are shared out. The kernel hands a request to the queue of the processor
 * that it was made on, and does its copying in the thread that submits: so a request that waits
 * wakes nobody elsewhere, and only the ring's own thread tells the kernel of an answer. Whoever else
 * has one leaves it in the entry and wakes that thread. Who has more than one large request in hand
 * lends the others to rings that have nothing to do.
 *
 *   rings_new       all memory is there
 *   rings_inherit   what the generation before left
 *   rings_run       entries are given to the kernel, and requests served
 *   rings_park      for who follows: no entry is with the kernel any more
 *
 * To park: an entry that waits for a request cannot be taken back without losing one that is just
 * on its way. So the kernel is asked for requests, by FUSE_NOTIFY_RETRIEVE, on each processor until
 * every entry has one: about a file that it knows. Whoever follows answers them, each with the
 * memory at the same address, and the entries go on: nothing is registered twice, and what the
 * kernel queued meanwhile comes with the first answer.
 *
 * Ownership: descriptors stay the caller's.
 * Locking:   none; entries by their state, the list of answers by atomic exchange.
 * Errors:    -EPERM, -ENOSYS where there is no io_uring; those of entries.h. What the kernel says of
 *            an entry while the mount is there is a bug: the process ends, and with it the mount.
 * Cost:      a ring of one submission for each entry, in the kernel; a thread's, of its caller.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "entries.h"

/* Threads of ours, at most. */
#define RINGS_MAX 63u

struct ring_request {
	const uint8_t *request; /* in one piece */
	size_t n_request;
	uint8_t *payload; /* where an answer's bytes may lie already */
	size_t n_payload;
	bool is_left; /* by the generation before */
	void *found;  /* what rings_inherit() was told of it */
};

struct rings_use {
	void *context;
	/* Have it answered, now or later, by rings_answer() in any thread. Return: false to be asked
	 * again after rings_retry(). */
	bool (*serve)(void *context, const struct ring_request *request);
};

struct rings;

/* Is io_uring to be had, as it is needed here? Return: 0 or -errno. */
int rings_probe(void);

/* @entries_fd: see entries_make(). */
int rings_new(struct rings **ringsp, int entries_fd, int fuse_fd);
struct rings *rings_free(struct rings *rings);

/* Before rings_run(). */
void rings_serve_by(struct rings *rings, const struct rings_use *use);

unsigned int rings_count(const struct rings *rings);
struct entries_head *rings_entries(struct rings *rings);

/* Of each request that was left, what is to be known when it is served. Before rings_run(). */
void rings_inherit(struct rings *rings, void *(*find)(void *context, uint64_t unique),
		   void *context);

/* Serve, in the calling thread, until there is nothing to serve any more or it is parked. */
void rings_run(struct rings *rings, unsigned int i);

/* Has each of them begun? Return: 0; -EAGAIN: not yet; or what the kernel said. */
int rings_have_begun(struct rings *rings);

/* Serve again what was not served. */
void rings_retry(struct rings *rings);

/* End: there is no mount any more. */
void rings_end(struct rings *rings);

/* Serve no more, and leave the rest. @node: of a file that the kernel knows, until it is done.
 * Return: have all of them? To be asked until they have. */
bool rings_park(struct rings *rings, uint64_t node);

/* What is answered from now on is not: whoever follows does it. All that was is whole. */
void rings_freeze(struct rings *rings);

/* Answer a request, as writev(2) to /dev/fuse would. Return: false if it came another way. */
bool rings_answer(struct rings *rings, const struct iovec *parts, unsigned int n_parts);

/* The request with that number, if it is in hand. */
bool rings_find(struct rings *rings, uint64_t unique, uint64_t *nodep, uint32_t *opcodep);
