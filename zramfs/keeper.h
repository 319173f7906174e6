#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Keeper: the process that must never crash, so it does next to nothing
 *
 * Holds /dev/fuse and the store, executes workers, one ahead of need, and waits. When the worker
 * that serves dies, the spare one takes over. It maps nothing of the store but the shelf, to see
 * whether the worker makes progress.
 *
 *   a worker dies by a signal           the next generation serves
 *   five in a row die by a fault, or    the mount ends, with one line
 *     before they serve
 *   no progress while requests wait     the worker is killed: a hang becomes a pause
 *   the worker exits                    the mount is gone, or was asked to go: so does the keeper
 *   SIGTERM, SIGINT, SIGHUP             told to the worker
 *   SIGTERM under a service manager     the keeper leaves, the worker goes on; another keeper follows,
 *     that holds descriptors for us     with what was held (service.h)
 *   SIGUSR2, or asked by the worker     upgrade: another binary is made ready beside the worker,
 *                                       which is then told to finish
 *
 * A keeper that dies is followed by one that the worker executes. It cannot wait for a process that
 * is not its child, so it replaces the worker at once, as in an upgrade.
 *
 * Ownership: all descriptors, and its children.
 * Locking:   none; one thread. It is never blocked: what does not go at once is left out.
 * Errors:    said in one line each, by log_line().
 * Cost:      asleep; one look a second.
 */

#include "detach.h"
#include "inherit.h"
#include "start.h"

/* Until the mount is gone. @options: with absolute paths. @detach: who waits for the first worker to
 * be ready. Return: what to exit with. */
int keeper_run(const struct options *options, const struct start *start, struct detach *detach,
	       struct service *service);

/* With what a service manager held for the keeper before, which became this process's. */
int keeper_run_found(const struct options *options, struct service *service,
		     const struct inherited *inherited);

/* In a process that was launched because the keeper died. */
int keeper_run_again(const struct options *options);
