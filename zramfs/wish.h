#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Wish: an upgrade that somebody asked for below the mount
 *
 * The keeper is asked, and whoever wrote waits for what becomes of it: it fails, or a worker of the
 * other program is ready, and then the answer is the last thing that this one says.
 *
 * Ownership: the worker's.
 * Locking:   one mutex of its own, not held while anything is waited for.
 * Errors:    -EBUSY while another is under way, -EOPNOTSUPP without a keeper, -EINTR, -EINVAL for
 *            what is no file, what open(2) says, what the keeper says.
 * Cost:      a thread for as long as it takes.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "stop.h"
#include "wire.h"

struct seat;

struct wish {
	pthread_mutex_t lock;
	pthread_cond_t told;
	/* protected by lock */
	bool is_waiting;
	bool is_told;
	int error;
	const struct seat *seat;  /* of the thread that waits; NULL: none */
	char said[WIRE_TEXT_MAX]; /* how the last one ended */
};

void wish_init(struct wish *wish);

/* Ask over @wire, -1 if there is no keeper, for the program at @path; empty: the one that runs.
 * @own_mount: where no program may be. Return: 0 once another worker takes over. */
int wish_run(struct wish *wish, int wire, dev_t own_mount, const char *path, struct zr_stop stop);

/* How it went: 0 or an errno, and in words; NULL: no more than that. */
void wish_tell(struct wish *wish, int error, const char *text);

/* Whoever is still to be answered; NULL: nobody. */
const struct seat *wish_seat(struct wish *wish);

int wish_print(struct wish *wish, char *text, size_t n_text);
