#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Tiering: what a worker needs to write pages back, once a disk can, and to follow policies
 *
 * Backing files, the engine's thread that takes pages there, threads that wait for what is on them
 * and what is written back by hand with: nothing of it is there before the first file is. The thread
 * is there without one, too, where a disk wants something done by itself.
 *
 * Ownership: store, channel and keeper are the worker's.
 * Locking:   two mutexes to have it all made once, one for who writes back by hand. Callers hold no
 *            lock of the engine, and that of records for tiering_follow_policies() alone.
 * Errors:    -errno, after what is wrong with a file was said.
 * Cost:      nothing without a file and policies; then waiters.h, tier.h and a batch of 0.6 MiB.
 */

#include "attr.h"
#include "backings.h"
#include "pressure.h"

struct channel;
struct zr_tier;

struct tiering {
	struct backings backings;
	struct channel *channel; /* NULL: not there yet */
	struct pressure pressure;
	const _Atomic uint32_t *policy_cpu; /* percent of a core */
	pthread_mutex_t letting;            /* others wait for files */
	pthread_mutex_t making;
	/* protected by making */
	struct zr_tier *tier;
	bool may_begin; /* the store is ours, and locked */
	bool follows;   /* policies, whether there is a file or not */
	pthread_mutex_t lending;
	pthread_cond_t given;
	/* protected by lending */
	struct zr_batch *batch; /* NULL: it is not made, or lent */
	bool is_lent;
};

/* @policy_cpu: percent of a core for policies, read as they go. */
int tiering_init(struct tiering *tiering, struct zr_store *store,
		 const _Atomic uint32_t *policy_cpu);

/* Pages are not written back any more, and no file is open; those of a mount that @is_over are
 * closed for good. */
void tiering_deinit(struct tiering *tiering, bool is_over);

/* Have all there that is wanted where there is a file. Also at run time, by a thread that may take
 * memory and serves no disk. */
int tiering_provide(struct tiering *tiering);

/* It will begin, and what is done before that goes on: whoever waits for it waits on. */
void tiering_comes(struct tiering *tiering);

/* Pages may be written back from now on. */
int tiering_begin(struct tiering *tiering);

/* Have there who follows policies, as it is about to be wanted. What files want is there with the
 * first of them. */
int tiering_follow_policies(struct tiering *tiering);

/* See struct zr_attr_daemon; @context: struct tiering. */
int tiering_back(void *context, struct zr_disk *disk, const char *path, struct zr_stop stop);
struct zr_batch *tiering_take_batch(void *context, struct zr_stop stop);
void tiering_give_batch(void *context, struct zr_batch *batch);

/* Before a disk is made as specified, and after: backings.h. */
int tiering_hold(struct tiering *tiering, struct zr_disk_spec *spec, struct zr_stop stop);
void tiering_release(struct tiering *tiering, const struct zr_disk_spec *spec);
