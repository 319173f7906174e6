#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Crew: a large request, done by several threads
 *
 * Whoever serves a large request offers parts of it to threads that have nothing else to do, if
 * there are cores that have nothing else to do, and begins itself at once. Parts are whole pages,
 * each is done once, and the request is over when all are. Nobody is woken for less than a waking
 * costs, nor to compete with other requests.
 *
 * Ownership: the crew has its threads; an offer lies on the stack of who makes it.
 * Locking:   one mutex, held to link an offer and to enter or leave one, never across a part. Who
 *            offers waits for who has entered, one part long.
 * Errors:    of disk.h, for which memory is waited for twice as long at the most. What is done
 *            counts up to the first part that was not done whole; parts behind it may be done, too.
 *            None of the crew may wait for a backing file: -EINPROGRESS is of the whole request,
 *            which nobody has any more then.
 * Cost:      a thread has 384 KiB of context, 96 KiB of stack and its heap. A waking is 3 us for
 *            who wakes and 50 for who is woken; 1 MiB is 1.6 ms to write and 0.4 to read.
 */

#include "disk.h"

struct crew;
struct shelf;

/* @shelf: whose seats tell how many of @n_serving threads have a request in hand. */
int crew_new(struct crew **crewp, struct shelf *shelf, unsigned int n_serving);
struct crew *crew_free(struct crew *crew);

/* Lock the memory of the threads. */
void crew_lock(struct crew *crew);

/* The threads are in no hurry any more (hurry.h). */
void crew_calm(struct crew *crew);

/* As zr_disk_read() and zr_disk_write(), with the calling thread's context. */
int crew_read(struct crew *crew, struct zr_disk *disk, uint64_t offset, void *bytes, size_t n_bytes,
	      size_t *n_readp);
int crew_write(struct crew *crew, struct zr_disk *disk, uint64_t offset, const void *bytes,
	       size_t n_bytes, size_t *n_writtenp);
