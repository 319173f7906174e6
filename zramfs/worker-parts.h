#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Worker parts: what the files of the worker share
 *
 *   worker.c         beginning, serving, taking over, ending
 *   worker-attrs.c   attributes of the daemon
 *   worker-files.c   backing files
 *
 * Ownership: as worker.h.
 * Locking:   as worker.h.
 * Errors:    as worker.h.
 * Cost:      as worker.h.
 */

#include "channel.h"
#include "config.h"
#include "fs.h"
#include "options.h"
#include "reload.h"
#include "tiering.h"
#include "wire.h"
#include "wish.h"

/* Closing files that no disk names, posted again and again. */
struct sweep {
	struct job job;
	struct worker *worker;
};

struct worker {
	const struct options *options;          /* with absolute paths */
	int fuse_fd, store_fd, config_fd, wire; /* wire: -1 without a keeper */
	int entries_fd;                         /* -1: requests come from /dev/fuse */
	int backing_fds[ZR_BACKINGS_MAX];       /* that were given; -1: none */
	int64_t renewed_ns;                     /* when a keeper was started last */
	bool is_unkept;                         /* no keeper has said anything since one died */
	uint64_t generation;
	unsigned int n_poison; /* requests that were found to be, when it took over */
	struct config *config;
	struct zr_store *store;
	struct shelf *shelf;
	struct fuse_session *session;
	struct fs fs;
	struct channel *channel;
	struct reload reload;
	struct tiering tiering;
	struct sweep sweep;
	pthread_mutex_t wire_lock; /* for who sends what must not be lost with a keeper */
	struct zr_attr_daemon daemon;
	struct wish wish;
	bool is_telling; /* a keeper waits to be told which files there are */
	int signals;     /* signalfd, without a keeper; else -1 */
	time_t asked_at; /* when an end was refused last; 0: never */
};

/* What the engine may ask the daemon for. */
void worker_daemon_init(struct worker *worker);

/* The files that were given, and all that they want. */
int worker_files_make(struct worker *worker);

/* A file that was opened, or closed, since this process was launched. */
void worker_files_take(struct worker *worker, const struct wire_message *message, int fd);

/* To a keeper that may not have all that the one before had. */
void worker_files_tell(struct worker *worker);

/* Files that no disk names any more, once the last request on such a disk is over; and errors. */
void worker_files_look(struct worker *worker);
