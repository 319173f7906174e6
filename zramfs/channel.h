#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Channel: the /dev/fuse descriptor and the threads that serve it
 *
 * Each thread reads a request into a buffer of its own and serves it: the bytes of disks by io.h,
 * all else through libfuse. The threads are there before the first request, with all that they need
 * populated and locked, and wait to be let go.
 *
 * A generation that follows another is told what the kernel asked first and keeps its answer to
 * itself; then the kernel is asked to send again what was not answered. Until all of that has been
 * read the threads read one at a time, and look for the record of each (records.h); nothing new is
 * read in between, since the kernel puts what it sends again first.
 *
 * Until channel_allow_changes() reads are served and writes are held (held.h): they are put aside,
 * and when there is no more room their threads wait.
 *
 * Ownership: session and filesystem stay the caller's, and the descriptor.
 * Locking:   none, but while the kernel sends again; it hands each request to one thread.
 * Errors:    -ENOMEM, -EAGAIN from making it.
 * Cost:      a thread holds 1 MiB for request and reply, its stack, its heap and its context.
 */

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#include "thread.h"

struct fs;
struct rings;
struct shelf;

#define CHANNEL_THREADS_MAX 64u

struct channel;

/* How many threads are to serve, if @n_wanted is what was asked for; 0: nobody asked. */
unsigned int channel_threads(unsigned int n_wanted, const struct rings *rings);

/* For fuse_session_custom_io(): replies pass through here. */
extern const struct fuse_custom_io channel_io;

/* Make the threads, which wait. @session has channel_io and the descriptor @fd. */
int channel_new(struct channel **channelp, struct fuse_session *session, int fd, struct fs *fs,
		unsigned int n_threads);

/* Tell libfuse what the kernel asked a former generation first, and check that the answer is what
 * it was. Return: 0; -ENOENT where the kernel was never told anything, who is then answered by the
 * threads; -EPROTO where the answer would be another. Before channel_begin(). */
int channel_replay_init(struct channel *channel);

/* Wait until the kernel has the rings, if there are any: then it asks nobody else, and until then
 * nobody. Return: 0; -EOPNOTSUPP where it did not offer it; or what it said. After it was answered
 * first. */
int channel_wait_rings(struct channel *channel);

/* Can the kernel send requests again? Known once it was answered first. */
bool channel_can_resend(const struct channel *channel);

/* Have the kernel send again what was not answered. Return: 0, or -EINVAL where it cannot. Before
 * channel_begin(). */
int channel_resend(struct channel *channel);

/* Disks may have a backing file from now on: have those there that wait for it, and let all that may
 * wait do so. After fs_start(), by who may use the context of changes; may be called again. Return:
 * 0, -ENOMEM, -EAGAIN. */
int channel_let_wait(struct channel *channel);

/* Let the threads go. */
void channel_begin(struct channel *channel);

/* The store is locked: what changes disks is served from now on. */
void channel_allow_changes(struct channel *channel);

/* The threads are in no hurry any more (hurry.h). */
void channel_calm(struct channel *channel);

/* Read no more, and wait until what is in hand is answered, but for jobs. Return: false if that took
 * longer than @timeout_ms. Where there are rings the caller keeps NODE_STATS known to the kernel. */
bool channel_stop(struct channel *channel, unsigned int timeout_ms);

/* After that, is all in order for who follows, but for what it will be asked for again? */
bool channel_has_left(struct channel *channel);

/* Readable when the mount is gone. */
int channel_ended(const struct channel *channel);

/* Wait for the threads, which end once the mount is gone or channel_stop() was called. */
struct channel *channel_free(struct channel *channel);
