#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Loop change: attaching disks to loop devices, and detaching them
 *
 * Whoever attaches, swaps on or detaches holds the disk's lock, so that two of them cannot both
 * find it free. The kernel keeps that lock; the daemon does not know of it.
 *
 * The settings of a loop device's queue outlive what it is attached to. One that is left on "write
 * through" would drop the flushes of the next file, perhaps of one on a real disk: detaching puts
 * it back.
 *
 * Ownership: the lock is a descriptor, closed by who took it.
 * Locking:   flock(2) on the disk's file, through a descriptor of its own.
 * Errors:    -errno, after one line that says what is wrong and how to get it right.
 * Cost:      a few system calls; a detach waits for the kernel to let go, 3 s at most.
 */

#include <stdbool.h>

#include "loops.h"
#include "name.h"

#define LOOP_SECTOR_BYTES      4096u
#define LOOP_DISCARD_MAX_BYTES (64u << 20)

struct loop_wish {
	const char *device; /* NULL: any that is free */
	bool read_only;
};

/* A disk's file may be the daemon's that hangs: that is given up (ask.h). Another's lock is waited
 * for, which is said after a second.
 *
 * Return: the descriptor, or -errno; that is not said. */
int loop_lock(const struct mount *mount, const char *disk);

/* The same of a disk that was named; an error is said. */
int loop_lock_named(const struct name *name);

/* Which file the disk is, by the descriptor of its lock, and what is attached to that: known for
 * certain only while the lock is held. loops_free() what there is. */
int loops_read_locked(const struct name *name, int lock, struct loop_file *file,
		      struct loop_user **loopsp, size_t *n_loopsp);

/* Open the device, with @flags, if it is still on the file that it was on when it was read: it
 * stays there as long as the descriptor is open.
 *
 * Return: the descriptor; -ENODEV if it is attached to nothing, which is not said; -errno. */
int loop_hold(const struct loop_user *loop, int flags);

/* @device gets its path. Nothing is attached on an error. */
int loop_attach(const struct name *name, const struct loop_wish *wish,
		char device[LOOP_DEVICE_MAX]);

/* What is on top of it must be gone. Return: -EBUSY if somebody uses it, and -ESTALE if it is on
 * another file by now, and then nothing has changed; -EINPROGRESS if somebody has it open: it goes
 * when they close it. */
int loop_detach(const struct loop_user *loop);
