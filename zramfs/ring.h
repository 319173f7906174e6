#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Ring: one of rings.h, and its thread
 *
 * Ownership: the rings'; what is not atomic is its thread's.
 * Locking:   see rings.h.
 * Errors:    see rings.h.
 * Cost:      see rings.h.
 */

#include "rings.h"

struct io_uring;

struct entry {
	struct ring *ring;
	struct entry_slot *slot;
	struct uring_head *head;
	struct iovec memory[2]; /* head and payload, for the kernel */
	struct entry *next;     /* of those that were answered, or wait to be served */
	void *found;
	bool is_left;
};

enum ring_wish {
	RING_RETRY = 1,
	RING_END = 2,
	RING_PARK = 4,
};

struct ring {
	struct rings *rings;
	struct io_uring *uring;
	int wake; /* eventfd */
	uint64_t woken;
	_Atomic unsigned int wishes;           /* enum ring_wish */
	_Atomic bool is_idle;                  /* as far as others see, who may lend it a request */
	_Atomic(struct entry *) lent;          /* that was */
	_Atomic(struct entry *) answered;      /* by other threads */
	struct entry *waiting, **last_waiting; /* to be served again */
	unsigned int n_fetching;               /* entries that the kernel has */
	size_t n_unsaid; /* bytes of answers that the kernel was not told of */
	unsigned int cpu;
	bool has_cpu, is_parked_here;
	_Atomic bool is_parked;
};

struct rings {
	struct rings_use use;
	struct entries_head *head;
	int fuse_fd;
	unsigned int n_rings;
	_Atomic unsigned int n_begun;
	_Atomic int error; /* the first one */
	_Atomic uint64_t next_retrieved;
	_Atomic uint64_t known_node; /* to ask about */
	struct entry *entries;       /* head->n_entries */
	struct ring rings[RINGS_MAX];
};

int ring_init(struct ring *ring, struct rings *rings);
void ring_deinit(struct ring *ring);

/* The whole life of it. */
void ring_run(struct ring *ring);

/* Of the calling thread; NULL: none. And the entry that it serves. */
extern _Thread_local struct ring *ring_self;
extern _Thread_local struct entry *ring_serving;

/* Tell the kernel, with the next submission, of an entry that is answered. By the ring's thread. */
void ring_commit(struct ring *ring, struct entry *entry);

/* From another thread. */
void ring_hand_over(struct entry *entry);
void ring_ask(struct ring *ring, enum ring_wish wish);
