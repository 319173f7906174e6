#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Safety: what keeps a process that swap depends on from needing memory
 *
 * Each measure is asked of the system once, in an order in which the earlier ones do not forbid the
 * later. What the system refuses is said once, with its remedy, when the daemon starts, and can be
 * read from .control/zramfs/safety at any time.
 *
 *   memory store     locked: what is there; the store as far as it is populated; the buffers of
 *   buffers future     requests, one by one; whatever comes
 *   noswap           the store is not swapped out either while nobody has it locked
 *   realtime         who gets memory ahead of need, or takes over, runs and is given it first
 *   io_flusher       the kernel does not wait for us while it gives us memory
 *   oom_score_adj    -1000: it is not killed for its memory
 *   dumps            no core, no ptrace by others: swap and files of others are in it
 *   cgroup           its memory limit has room for the limits of the disks
 *   offsets          the address space has room for the limits of the disks
 *   resend           the kernel sends again what a worker had in hand when it was killed
 *   transport        it can be killed at all
 *
 * A limit of locked memory that is not infinite is left to the buffers, without which a kill turns
 * requests into errors; the other locks would not fit it, and new memory would be refused at it.
 *
 * Ownership: none; what was asked is remembered for the process, and so is the store.
 * Locking:   the main thread's, but for safety_print() and safety_buffer_refused().
 * Errors:    none: what is refused is said, and the daemon goes on.
 * Cost:      locking populates.
 */

#include <stdbool.h>
#include <stddef.h>

#include "store.h"

/* Before any thread, in keeper and worker alike: io_flusher, oom_score_adj, no core dumps, the name
 * that others look for, and for root the first character of argv[0], if that is a path. */
void safety_begin(char **argv);

/* Lock what is there now, and forbid others to look: after this nothing of /proc/self that only the
 * owner may write. Before the store is mapped. */
void safety_lock_present(void);

/* Lock what is populated of the store, and what will be; what was mapped meanwhile, as it is
 * touched; and from now on whatever comes, whole. Before any thread. */
void safety_lock_store(struct zr_store *store);

/* The same without a store: lock whatever comes. */
void safety_lock_future(void);

/* A buffer of buffers.h could not be locked. */
void safety_buffer_refused(size_t n_bytes);

/* Does the kernel send requests again? */
void safety_resend(bool can);

/* Requests come over io_uring, with buffers of so many bytes. */
void safety_transport(uint64_t n_bytes);

/* Say what was refused, each once for the life of the mount: @is_first generation alone. */
void safety_say(bool is_first);

/* "NAME ok\n" or "NAME refused TEXT\n" for each measure that was asked. Return: bytes. */
int safety_print(char *text, size_t n_text);
