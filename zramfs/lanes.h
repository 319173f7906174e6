#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Lanes: the threads of the rings
 *
 * They are there before the first request, with all that they need populated and locked, and wait
 * to be let go, which is once the kernel was told what it asked first.
 *
 * Ownership: the rings stay the caller's.
 * Locking:   a gate.
 * Errors:    -ENOMEM, -EAGAIN.
 * Cost:      a thread for each ring, with stack, heap and context; it answers from the entry.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "rings.h"
#include "thread.h"

struct lanes;

struct lane {
	struct lanes *lanes;
	pthread_t thread;
	struct thread_room room;
};

struct lanes {
	struct rings *rings;
	struct seat *seats;
	void (*ended)(void *context); /* one of them */
	void *context;
	unsigned int n_lanes;
	pthread_mutex_t gate;
	pthread_cond_t opened;
	/* protected by gate */
	bool is_open, is_unwanted;
	struct lane lane[RINGS_MAX];
};

/* Seats: one for each ring, from @seats on. */
int lanes_start(struct lanes *lanes, struct rings *rings, struct seat *seats,
		void (*ended)(void *context), void *context);

void lanes_lock(struct lanes *lanes);
void lanes_calm(struct lanes *lanes);

void lanes_begin(struct lanes *lanes);

/* Wait for their end. Those that did not begin do not any more. */
void lanes_join(struct lanes *lanes);
