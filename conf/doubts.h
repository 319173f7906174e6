#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Doubts: a configuration that can be, but is hardly meant
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    -ENOMEM.
 * Cost:      one pass over the disks.
 */

#include "config.h"

/* Add a line to the warnings for each kind: limits of memory that are likely to be reached before
 * the disk is full, limits that are more than RAM together, disks larger than twice RAM. */
int doubts_warn(struct config *config);
