#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Mount: the mountpoint before, during and after
 *
 * Finds what is wrong with a mountpoint before anything is made, so that the one line that a person
 * sees says it.
 *
 * Ownership: none.
 * Locking:   none; the main thread's.
 * Errors:    negative errno, and one line in @message without its newline.
 * Cost:      none worth a word.
 */

#include <fuse_lowlevel.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define MOUNT_MESSAGE_MAX 512u

/* Can @path be mounted on? @resolved gets its absolute path. */
int mount_check(const char *path, char resolved[PATH_MAX], char *message, size_t n_message);

/* The same of one that may be mounted on, without asking who serves that. */
int mount_where(const char *path, char resolved[PATH_MAX], char *message, size_t n_message);

int mount_attach(struct fuse_session *session, const char *resolved, char *message,
		 size_t n_message);

/* Which mount is at @resolved now; 0 if none can be told. To be kept after mounting. Asks nobody: a
 * worker that waits for an answer from its own mount when it is killed cannot die, and the next one
 * waits for that. */
dev_t mount_identity(const char *resolved);

/* Is there a mount at @resolved that nobody serves any more? Asked by a child that has nothing open,
 * which waits for as long as somebody might answer. */
bool mount_is_dead(const char *resolved);

/* Have the kernel know the file .stats, which it does as long as that is open: without asking who
 * serves but for its name. Return: a descriptor, or -errno. */
int mount_hold(const char *resolved, dev_t identity);

/* Tell all who wait for an answer from the mount of @identity that there will be none. As root, or
 * where /sys/fs/fuse/connections is mounted. */
void mount_abort(const char *resolved, dev_t identity);

/* Take the mount away, if it is the one of @identity; 0: whatever is there, without asking it,
 * since nobody serves it. @force: though somebody uses it, who then keeps what they have open.
 * Return: 0, -EBUSY, or -ESTALE where another is mounted over it. */
int mount_detach(const char *resolved, dev_t identity, bool force);
