#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Tier: the thread that takes pages to the backing files
 *
 * Of a disk that spills, pages begin to go when more than writeback_at percent of mem_limit is used,
 * the coldest first, so that at the limit there is room already, or soon. Objects larger than
 * spill_above go at once. What has become free on a file is punched.
 *
 * Which pages are cold: two hands go round over the slots. One gives each object the idle mark, which
 * goes when its page is used; the other takes those that still have it. Where ages are kept, the
 * oldest eighth goes before that.
 *
 * What policies want (policy.h) is done in between: whoever waits for room comes first.
 *
 * Ownership: the store is the caller's and outlives it.
 * Locking:   none of its own; callers hold none. It pins the disk that it works on, and holds what
 *            batch.h says.
 * Errors:    -EAGAIN or -ENOMEM where there is no thread to be had. What a file refuses is noted
 *            with the disk (xspill_error), counted, and tried again a second later.
 * Cost:      idle nothing, or one look a second where a file can be punched. 1.4 MiB of memory.
 */

#include "policy.h"
#include "store.h"

struct zr_tier;

/* It waits. Of @store nothing is looked at yet, which need only be mapped. @host, which may be NULL,
 * is copied; its functions are called by the thread. */
int zr_tier_new(struct zr_tier **tierp, struct zr_store *store, const struct zr_policy_host *host);

/* When the store is loaded. The second time nothing happens. */
void zr_tier_begin(struct zr_tier *tier);

/* Whoever waits for room is told that there will be none. */
struct zr_tier *zr_tier_free(struct zr_tier *tier);
