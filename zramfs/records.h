#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Records: operations that must not be done twice
 *
 * The kernel sends a request again if its worker died before it answered. Reading and writing again
 * does no harm; making, removing, renaming, dropping and setting would: the second time the name is
 * taken, or gone. So each of these says in the store what it is about to do, does it, says how it
 * ended, and only then answers.
 *
 *   waiting           for a disk in use, and for whatever else may take its time
 *   records_lock()    one at a time, since what became of it is read off the directory
 *   looking again     at what may have changed meanwhile; who is refused here has done nothing
 *   records_begin()   BEGUN
 *   the effect        in steps that may be repeated
 *   records_answer()  ANSWERED; the next one may have the lock
 *   the reply
 *   records_end()     FREE
 *
 * A new generation looks at them before it serves. What was BEGUN
 *
 *   MAKE, REMOVE, RENAME, DISKSIZE   has happened or not, as the directory shows: it is answered, or
 *                                    forgotten, and then its request is one like any other
 *   RESET, TRUNCATE                  is done again, and answered. Whoever asked still waits, and the
 *                                    disk was not in use, so nobody can have counted on what goes
 *   SET                              may have happened: it is done again when its request comes,
 *                                    and before anything else is
 *
 * What is ANSWERED waits for its request too. Such a request is served by the thread that reads it,
 * and nobody gets the lock until all of them were, so that what comes later in time does not come
 * first. Once all that the kernel sends again has been read, what nobody asked for was answered
 * before the death, or its asker was killed since: it is forgotten.
 *
 * Control files, by what writing them twice would do:
 *
 *   disksize                           -EBUSY the second time: DISKSIZE
 *   reset                              drops what was written since: RESET
 *   hot_add, hot_remove                MAKE, REMOVE
 *   comp_algorithm, algorithm_params,  the same, but for -EBUSY if the disk got a size in between,
 *   format, label, uuid                which is why a SET that was begun comes first
 *   mem_limit, mode, swap_priority,    the same
 *   watchdog
 *   mem_used_max                       the same, a little later
 *   max_comp_streams and others        nothing, or a refusal: SET as well, for there is no harm
 *   .stats                             counters are 0 a little later: no record
 *   compact, idle, upgrade             work that takes long: no record, whose lock would stop all
 *                                      changes. What was done already is not found the second time;
 *                                      pages used in between are marked idle; a worker that took
 *                                      over is followed by another of the same program
 *
 * Ownership: the shelf's; whoever begins a record has it until records_end().
 * Locking:   one mutex, from records_lock() to records_answer(), above all locks of the engine and
 *            of handles; it excludes no look-up, open or I/O. A claim (handles.h) is taken before
 *            it, and who has it waits for no claim.
 * Errors:    none: there are more records than threads. Nobody begins one while any of a former
 *            generation is left, so that all others are of this generation's threads, one each; and
 *            a generation that dies before it begins any leaves no more than it found.
 * Cost:      three stores. A change waits while another is under way.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "shelf.h"
#include "store.h"

struct records {
	struct shelf *shelf;
	pthread_mutex_t lock;          /* from records_lock() to records_answer() */
	pthread_cond_t settled;        /* no record of a former generation is left */
	_Atomic unsigned int n_former; /* of former generations; falls under lock */
	pthread_mutex_t list;          /* below lock */
	/* protected by list */
	enum {
		RECORDS_NOBODYS,
		RECORDS_FORMER, /* its request has not come yet */
		RECORDS_ASKED,  /* it has */
		RECORDS_OURS,
	} whose[SHELF_RECORDS];
};

void records_init(struct records *records, struct shelf *shelf);
void records_deinit(struct records *records);

/* What a former generation began is completed, kept or forgotten. @defaults: what reset goes back
 * to. */
void records_recover(struct records *records, struct zr_store *store, struct zr_ctx *ctx,
		     const struct zr_attrs *defaults);

/* The record that a former generation left of a request, which the caller serves now: ANSWERED, or
 * BEGUN and to be resumed. NULL: there is none. */
struct record *records_find(struct records *records, uint64_t unique);

/* All that the kernel sends again has been read, and looked for by records_find(). To be called
 * however little comes after it, since all changes wait for it. */
void records_forget_rest(struct records *records);

/* Keep others from changing which disks there are, and what is set of them. */
void records_lock(struct records *records);

/* The same, but to change none of that: does not wait for what former generations began. */
void records_lock_now(struct records *records);
void records_unlock(struct records *records);

/* Begin what @wanted says, but for its state. The caller has the lock. */
struct record *records_begin(struct records *records, const struct record *wanted);

/* Begin @record, which a former generation had begun, once more: with the lock. */
void records_resume(struct records *records, struct record *record);

/* It is done, or was refused with the errno @error, and nothing changed. The lock is released. */
void records_answer(struct records *records, struct record *record, int error);

/* The reply is on its way. @record may be NULL. */
void records_end(struct records *records, struct record *record);
