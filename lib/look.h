#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Look: all slots of a disk, leaf by leaf
 *
 * For work that takes long: a leaf is copied and looked at with nothing held, or changed with the
 * shape held, and then comes the next. So what is found is that of a stretch of time.
 *
 * Ownership: the caller's; 4 KiB, with no more than the disk set in the beginning.
 * Locking:   as each says.
 * Errors:    -EINVAL for a disk that has no size, -ESTALE for one that was removed.
 * Cost:      0.25 ms for the slots of a GiB; what is absent costs nothing.
 */

#include "disk.h"

struct zr_look {
	struct zr_disk *disk;
	uint64_t leaf_no; /* the next to look for */
	bool there;       /* what follows is of a leaf; else there was none in the window */
	uint64_t first;   /* its first page */
	zr_slot slots[ZR_LEAF_SLOTS];
};

/* A copy of the next leaf, taken with the shape held shared. Return: 1, 0 at the end, -EINVAL,
 * -ESTALE. */
int zr_look_on(struct zr_look *look);

/* Only find it: look->leaf_no, which the caller moves on, if it is there. The caller holds the
 * shape. */
int zr_look_find_locked(struct zr_look *look);
