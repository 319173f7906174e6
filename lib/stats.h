#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Statistics: the store as text for people
 *
 * What .stats shows: for each disk the keys of rzscontrol(1), in its order, then ours; then all
 * disks together. The figures of one disk agree with each other.
 *
 * Ownership: the text is the caller's to free().
 * Locking:   takes what it reads; callers hold no engine lock.
 * Errors:    -ENOMEM.
 * Cost:      about 20 us a disk.
 */

#include "store.h"

/* @n_open: how many handles are open on a disk, as the caller knows; may be NULL. */
int zr_stats_text(struct zr_store *store,
		  unsigned int (*n_open)(void *context, const struct zr_disk *disk), void *context,
		  char **textp, size_t *n_textp);
