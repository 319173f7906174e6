#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Compaction: memory that free cells hold comes back
 *
 * A pass lets the pool choose what to empty (pool-vacate.c), looks at the slots of all disks, leaf
 * by leaf, for objects that lie there, moves them, and lets the memory go. It goes on in small
 * steps, by whoever calls: several callers share one pass.
 *
 * Ownership: the engine's; pages enlist themselves.
 * Locking:   rank COMPACT for a step, which is choosing what to empty, then one leaf, then one
 *            span; for a leaf a stripe for one object at a time. Readers and writers of other pages
 *            notice nothing.
 * Errors:    -EINTR; what cannot be moved stays, and is none.
 * Cost:      looking takes 0.23 ms a GiB of pages, moving 1 us an object, and no step half a ms.
 */

#include "pages.h"
#include "stop.h"

/* Return: true while there is more to do; false once a pass has ended, or there is nothing to
 * gain. */
bool zr_compact_step(struct zr_engine *engine);

bool zr_compact_is_under_way(struct zr_engine *engine);

/* A whole pass, after the rest of one that is under way, unless told to stop: then it stays under
 * way, for whoever comes next. *n_bytesp, which may be NULL, is what went.
 * Return: 0 or -EINTR. */
int zr_compact(struct zr_engine *engine, const struct zr_stop *stop, uint64_t *n_bytesp);
