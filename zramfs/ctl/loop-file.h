#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Loop file: which file a loop device is on
 *
 * The path that the kernel tells is what whoever attached it saw, in their mount namespace and at
 * their time: another file may have it here and now. Device and inode decide.
 *
 * Ownership: plain values.
 * Locking:   none. A device stays on its file as long as a descriptor of it is open.
 * Errors:    -errno; -ENXIO for a device that is not attached.
 * Cost:      a request to the daemon of the file, which may hang: loop_file_find() is a child's.
 */

#include <stdbool.h>
#include <sys/types.h>

struct loop_file {
	dev_t device; /* 0: not known */
	ino_t inode;
};

/* The file of this descriptor. */
int loop_file_of(int fd, struct loop_file *filep);

/* The file that the loop device of this descriptor is on. */
int loop_file_ask(int fd, struct loop_file *filep);

/* The same by the device's path. Not known to those who may not open it, and where the daemon is
 * dead or hangs. */
struct loop_file loop_file_find(const char *device);

/* Are both known, and the same? */
bool loop_file_same(const struct loop_file *one, const struct loop_file *other);
