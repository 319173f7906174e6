#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Sweep: the objects of a disk that are to be worked on, largest first
 *
 * Sorting them would take memory where there is none, and going over all slots is cheap: so one
 * pass counts how many objects there are of each length, and then a pass for each band of lengths
 * that has any calls back for what is in it. A band is 256 bytes, or 64, as with the kernel's zram,
 * for who will not go on to the end.
 *
 * What changes meanwhile is seen as it is when its band is looked at: an object that becomes
 * shorter in one band may be seen once more in another.
 *
 * Ownership: the caller's.
 * Locking:   as census.h; the visitor is called with nothing held.
 * Errors:    -EINTR when it was told to stop, which it asks before each page; -EINVAL for a disk
 *            that has no size, -ESTALE for a disk that was removed; what the visitor returns.
 * Cost:      0.25 ms a pass for the slots of a GiB: at most 17 passes, or 65. No memory but a leaf.
 */

#include "disk.h"
#include "stop.h"

/* What an object must be, all of it. */
enum zr_sweep_type {
	ZR_SWEEP_IDLE = 1,
	ZR_SWEEP_HUGE = 2, /* stored raw */
	ZR_SWEEP_INCOMPRESSIBLE = 4,
	ZR_SWEEP_COMPRESSIBLE = 8, /* not marked incompressible */
};

struct zr_sweep_filter {
	unsigned int types;   /* enum zr_sweep_type; 0: any object */
	uint32_t min_bytes;   /* shorter objects are left alone */
	uint32_t codecs_mask; /* bit n: those of codec number n; 0: of any. Raw ones are of 0 */
};

/* @slot: what was in the page a moment ago. Return: 0, 1 to end the sweep, or negative. */
typedef int zr_sweep_visit(void *context, uint64_t page_no, zr_slot slot);

/* Does the slot pass? What is written back or same-filled never does. */
bool zr_sweep_takes(const struct zr_sweep_filter *filter, zr_slot slot);

/* @strict: bands of 64 bytes. Return: 0, also where the visitor ended it, or negative. */
int zr_sweep(struct zr_disk *disk, const struct zr_sweep_filter *filter, bool strict,
	     const struct zr_stop *stop, zr_sweep_visit *visit, void *context);
