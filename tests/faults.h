#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Refusals of the kernel, on demand, and who asks it
 *
 * All memory of a store is asked for in one place, madvise(MADV_POPULATE_WRITE), or where that is
 * not known pwritev(2), and given back in one, fallocate(FALLOC_FL_PUNCH_HOLE). Tests that include
 * this are linked with --wrap for them, and the call that they name fails, or takes its time. Others
 * go through.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "pool.h"

/* The so-many-th request for memory from now fails; 0: none does. Counts down to 0. */
extern _Atomic unsigned int faults_countdown;

/* All of them fail. */
extern _Atomic bool faults_all;

/* What they fail with: ENOMEM unless said otherwise. */
extern _Atomic int faults_errno;

/* Each request takes that much longer; 0: none does. */
extern _Atomic unsigned int faults_delay_ms;

/* Whoever writes to have memory, since the kernel cannot populate, dies as soon as it has. */
extern _Atomic bool faults_fatal;

/* Requests for memory, and ranges given back, by the thread that looks; and by all. */
extern _Thread_local unsigned int faults_n_own;
extern _Atomic unsigned int faults_n_populated, faults_n_refused;

/* Take the cells of the pool that can be had without new memory, as objects of one byte, the small
 * ones first; @n_most of them. Return: how many. */
unsigned int faults_drain(struct zr_pool *pool, zr_position *taken, unsigned int n_most);
void faults_undrain(struct zr_pool *pool, const zr_position *taken, unsigned int n_taken);
