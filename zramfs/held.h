#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Held: requests that wait until disks may be changed
 *
 * While a new worker brings the store into memory, what it needs may be swapped out to one of our
 * own disks: then it is read through us, and whoever reads must not be stuck behind a write. So
 * what would change a disk is copied and put aside, one after another, and the thread goes on. When
 * there is no more room the threads wait, but for the last, which serves what it has: somebody must
 * go on reading.
 *
 * Ownership: what is put aside is held's until it is taken.
 * Locking:   a mutex of its own, held while a request is copied.
 * Errors:    -ENOMEM.
 * Cost:      HELD_BYTES, from held_new() until all that was put aside was taken.
 */

#include <stdatomic.h>

#include "thread.h"

/* Two requests of the largest kind, or five hundred of a page. */
#define HELD_BYTES ((THREAD_REPLY_BYTES + 8192u) * 2)

struct held {
	_Atomic bool is_on;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	/* protected by lock */
	unsigned int n_waiting, n_waiting_max;
	struct buffer memory;
	size_t n_put, n_taken; /* bytes of it */
};

/* Until held_end(). @n_waiting_max: so many threads may wait at most. */
int held_init(struct held *held, unsigned int n_waiting_max);
void held_deinit(struct held *held);
void held_lock(struct held *held);

/* Put aside the request that the calling thread has read last, with its record. Return: false if it
 * is to be served: nothing is held any more, which may have been waited for. */
bool held_put(struct held *held, const uint8_t *request, size_t n_request);

/* Nothing is held from now on, and nobody waits. Return: false if that was so. */
bool held_end(struct held *held);

/* The next request that was put aside, which the calling thread has read then. It is there until
 * the next call. Return: NULL after the last; the memory is gone then. */
const uint8_t *held_take(struct held *held, size_t *n_requestp);
