#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Backing file: a file or block device, from being asked for to being given back
 *
 * Taken is: a file that is not there, if its size is said; an empty one; one that begins with 128
 * KiB of zeros, with our mark, or with a swap header (what mkswap prepared, as for compcache); a
 * block device on which libblkid finds nothing, or swap. Anything else is refused, by name: a
 * typing error destroys nothing. What is in use is refused: mounted, swapped on, below a loop
 * device, another zramfs's; and so is what lies on zramfs itself (below.h).
 *
 * What is taken is marked (backing-mark.h), so that nobody mounts it by mistake and a later
 * generation knows it again. It is nobody else's as long as any process has the descriptor: a
 * device by O_EXCL, a file by flock(2), which belongs to the open file and not to a process.
 *
 * A file that zramfs made goes when it is closed, since nobody else knows what it was for and what
 * is in it is nobody's: also one that a run which was killed had left behind. Whoever wants to keep
 * the space makes the file. What was there before stays, as large as it has become.
 *
 * Ownership: the descriptor is the caller's, and a copy of it whoever's it is passed to.
 * Locking:   none. Never under a lock: it waits for the file.
 * Errors:    -errno, and in @why one line that names the path and, where there is one, the remedy:
 *            -ENOTBLK   neither a regular file nor a block device
 *            -EINVAL    no size, too small, too large, or larger than the device; no absolute path
 *            -ENAMETOOLONG
 *            -ENOENT    not there, and no size said
 *            -EBUSY     in use
 *            -EEXIST    something is on it that is not ours
 *            -ELOOP     on a mount of zramfs, or where it is to be
 *            -ENOSPC    no room. What was made is gone, what was grown is as large as before
 *            -EINTR     @stop wanted it; the same
 * Cost:      where the disk is for swap, all of it is written once: seconds a GiB. Not so a file
 *            that says that it was, nor a device: what lies below that is the administrator's.
 *            40 KiB of stack; a MiB of the heap, and what libblkid takes of it.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "layout.h"
#include "stop.h"

#define BACKING_WHY_MAX 768u

#define BACKING_BYTES_MIN (UINT64_C(1) << 20)
#define BACKING_BYTES_MAX (UINT64_C(64) << 40)

struct backing_file_wish {
	const char *path;
	uint64_t size_bytes;  /* 0: as large as it is */
	bool is_preallocated; /* all of it is allocated, and stays so */
	bool is_swap;         /* all of it is written as well, so that reclaim allocates nothing */
	enum zr_backing_key key;
	dev_t mount_device;         /* of our own mount; 0: none yet */
	const char *mountpoint;     /* where it will be, if it is not yet; NULL: nowhere */
	const struct zr_stop *stop; /* of writing it */
};

struct backing_file {
	int fd;
	bool is_direct; /* O_DIRECT; else its filesystem cannot, and it passes the page cache */
	bool is_made;   /* by zramfs: closing removes it */
	bool was_left;  /* by a run that did not close it */
	struct zr_backing_record record; /* all but id and sequence */
};

/* *file is written on success alone. */
int backing_file_open(const struct backing_file_wish *wish, struct backing_file *file,
		      char why[BACKING_WHY_MAX]);

/* Is @fd still what @record says, for a generation that has both from another? Return: 0; -ESTALE
 * for another file, a shorter one, or one whose mark is not of this run; -errno of looking at it. That
 * its mark cannot be read is no reason. */
int backing_file_verify(int fd, const struct zr_backing_record *record, char why[BACKING_WHY_MAX]);

/* What is on it is nobody's any more: mark it so, or remove it. Closes @fd. What is not ours any
 * more (verify) is left alone. */
void backing_file_close(int fd, const struct zr_backing_record *record);
