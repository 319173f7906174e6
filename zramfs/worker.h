#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Worker: the process that serves a mount
 *
 * Assembles the whole on what is there already, top to bottom: store, filesystem, session, threads.
 * It may be killed at any instant: all that must outlive it is in the store, and what the kernel
 * did not get an answer to comes again.
 *
 *   stands by        with all threads and all memory, but none of the store's
 *   prepares         maps the store while another still serves
 *   serves           takes over what is there (shelf.h, records.h, handles.h), serves reads, locks
 *                    all that is populated, serves everything
 *   drains           reads no more, answers what it has read, exits
 *
 * Ownership: all of it, until the process ends; the descriptors are its own.
 * Locking:   the main thread's.
 * Errors:    told to the keeper, who says it; without one, said in one line by log_line().
 * Cost:      see lib/README for memory. Taking over takes 15 ms a GiB of pages, and 0.1 s for each
 *            GiB of memory until writes are served again.
 */

#include "config.h"
#include "detach.h"
#include "start.h"

/* What a worker exits with that was told to finish. */
#define WORKER_EXIT_DRAINED 77

/* As its keeper launched it. Return: what to exit with. */
int worker_run(const struct options *options);

/* Without a keeper: what @start made. @config is the worker's from now on. */
int worker_run_alone(const struct options *options, const struct start *start,
		     struct config *config, struct detach *detach);
