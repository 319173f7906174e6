#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Below: files that lie below a mount
 *
 * What is there is what its daemon says, and that need not be ours: a link would lead whoever opens
 * it, root too, to any file of the system. So no link is followed, and nothing is opened but a
 * regular file of this mount.
 *
 * Ownership: the descriptor is the caller's.
 * Locking:   none.
 * Errors:    -errno; -ELOOP or -EXDEV for what is no such file, -ESTALE if another mount is there.
 * Cost:      four system calls; two of them are requests to the daemon, which may hang (ask.h).
 */

#include "mounts.h"

/* @path: from the mount point on. @flags: of open(2). */
int below_open(const struct mount *mount, const char *path, int flags);
