#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Intake: the next request, and how threads wait for it
 *
 * Being woken is most of what a small request costs: 50 us on a core that is idle, against 1.3 for
 * the page. So who finds no request looks for a while before it sleeps, poll_us at most, while many
 * come and that gets more of them served (trial.h). Who is idle costs nothing.
 *
 * One thread looks: it has the post, and keeps it while it serves what is short. The others would
 * be woken by each request for nothing, so they park. Who has the post leaves it, and wakes them,
 * before anything that may take long, when requests wait already, and before it sleeps. Those who
 * park look now and then all the same, one every PARK_NS: should who has the post be stuck, it loses
 * it.
 *
 * The descriptor does not block, all its holders' at once (O_NONBLOCK is the open file's). Threads
 * sleep in epoll, each in one of its own and exclusively: a request wakes one of them.
 *
 * Ownership: the gate is the channel's; an intake is embedded in what a thread has. The descriptor
 *            stays the caller's.
 * Locking:   none; an intake is its thread's.
 * Errors:    -errno of read(2).
 * Cost:      4 KiB read at depth 1, of a file, then of a loop device on it (2 cores, Linux 6.18):
 *            poll_us 0: 48 and 56 us; poll_us 200: 18 and 25. Of the 18 the waking of who asked is
 *            10, as its core is idle then. On that core the thread would need 8.6 in all, but the
 *            kernel wakes who asked on another one that is idle, wherever the thread goes.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "trial.h"

struct seat;

/* What the threads of a descriptor share. */
struct gate {
	int fd;
	const _Atomic uint32_t *poll_us; /* 0: never look */
	_Atomic uint32_t post;           /* number of the thread that has it; 0: none */
	_Atomic uint32_t n_parked;
	/* constant: where the threads note how many they have served */
	const struct seat *seats;
	unsigned int n_seats;
	struct trial trial;
};

struct intake {
	/* constant */
	struct gate *gate;
	int epoll;
	uint32_t number; /* from 1 */
};

/* @seats: of the threads, by number. */
void gate_init(struct gate *gate, int fd, const _Atomic uint32_t *poll_us, const struct seat *seats,
	       unsigned int n_seats);
void gate_deinit(struct gate *gate);

/* Return: 0, or -errno: there are no more descriptors, or no memory. */
int intake_open(struct intake *intake, struct gate *gate, uint32_t number);
void intake_close(struct intake *intake);

/* Read a request that is there. Return: bytes, or -errno; -EAGAIN: there is none. */
ssize_t intake_try(const struct intake *intake, void *bytes, size_t n_bytes);

/* Read the next request, which is waited for. Return: also -EINTR after a signal, or -EAGAIN: another
 * thread was faster, or nothing is known. */
ssize_t intake_read(struct intake *intake, void *bytes, size_t n_bytes);

/* What was read may take long: others are to look for the next one. */
void intake_leave_post(struct intake *intake);
