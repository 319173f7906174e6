#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Inherit: what a service manager held for a keeper that is gone
 *
 * Sorted by name, and looked at before anything is changed: a mount that lives must not be covered
 * by another, nor served by two. Who serves is asked of the kernel (shelf_claimed_by()); whoever else
 * is there was made by the keeper that is gone, and ends.
 *
 *   nothing    there was none, or the mount has ended, or was never ready: what is left of it goes
 *   a mount    with who serves it, or nobody, who is then to be followed
 *   refused    something is missing or is not what it should be: all stays as it is
 *
 * Ownership: descriptors are the caller's; those of no use are closed, and are to be held no more.
 * Locking:   none; before any thread.
 * Errors:    said in one line by log_line().
 * Cost:      a look at each. It waits for processes that are killed.
 */

#include <stddef.h>
#include <sys/types.h>

#include "service.h"
#include "shelf.h"

enum inherit {
	INHERIT_NOTHING,
	INHERIT_MOUNT,
	INHERIT_REFUSED,
};

struct inherited {
	int fds[SERVICE_WIRE];                    /* -1: none */
	pid_t worker;                             /* that serves; 0: nobody does */
	int wire;                                 /* to it; -1: nobody does */
	char fuse_options[SHELF_OPTIONS_MAX + 1]; /* as it was mounted with; empty: none */
};

/* A mount of ours at @resolved that nobody serves any more goes: a service that died as a whole is
 * to start again. */
void inherit_clear(const char *resolved);

/* @resolved: where the mount is. */
enum inherit inherit_take(struct inherited *inherited, struct service *service,
			  const struct notify_given given[], size_t n_given, const char *resolved);
