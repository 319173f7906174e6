#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Trial: does looking for requests get more of them served?
 *
 * Below SERVED_MIN requests in a step nobody looks. Above it looking may help, where a core would be
 * idle else, or do harm, where somebody wants the core: whoever is to ask next, or the kernel's
 * thread that brings it. Nobody can tell from here, so it is tried: for STEP_NS with looking, once
 * all have settled in it, and for as long without. Looking is kept where it served a twentieth more.
 * The answer holds for HOLD_MIN steps, and twice as long each time it was the same; a no, which is
 * the cheaper one to doubt, for HOLD_NO_MAX at the most. When what is served changes much in
 * between, it is tried at once.
 *
 * Ownership: embedded in the gate.
 * Locking:   one mutex, tried and never waited for, held to note a step.
 * Errors:    none.
 * Cost:      an atomic load; once in a step, reading what each thread has served.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct trial {
	_Atomic bool xlooks;     /* the answer, or what is being tried */
	_Atomic int64_t xend_ns; /* of the step */
	pthread_mutex_t lock;
	/* protected by lock */
	enum trial_stage { TRIAL_IDLE, TRIAL_SETTLE, TRIAL_LOOK, TRIAL_SLEEP, TRIAL_HOLD } stage;
	bool last_answer;
	unsigned int n_hold, n_left; /* steps */
	int64_t begin_ns;
	uint64_t n_begin;              /* requests served then */
	uint64_t look_rate, hold_rate; /* requests a second */
};

void trial_init(struct trial *trial);
void trial_deinit(struct trial *trial);

static inline bool trial_looks(const struct trial *trial)
{
	return atomic_load_explicit(&trial->xlooks, memory_order_relaxed);
}

/* Is a step over? Then trial_note() is told how many requests have been served, ever. */
static inline bool trial_is_due(const struct trial *trial, int64_t now_ns)
{
	return now_ns >= atomic_load_explicit(&trial->xend_ns, memory_order_relaxed);
}

void trial_note(struct trial *trial, int64_t now_ns, uint64_t n_served);
