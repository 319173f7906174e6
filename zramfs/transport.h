#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Transport: which way requests come, and what that wants of the system
 *
 * Ownership: the descriptor is the caller's.
 * Locking:   none; before any thread.
 * Errors:    said in one line that names the remedy, by log_line(); negative errno.
 * Cost:      see entries.h.
 */

#include "spec.h"

#define TRANSPORT_NOT_OFFERED                                             \
	"the kernel did not offer it: Linux 6.14 or later, and echo Y > " \
	"/sys/module/fuse/parameters/enable_uring, as root"

/* The memory for io_uring, in *fdp; -1 there for what needs none. Before anything is mounted. */
int transport_make(const struct zr_daemon_spec *spec, int *fdp);
