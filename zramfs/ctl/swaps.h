#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Swap areas: what the kernel swaps to at present
 *
 * Ownership: swaps_read() hands an array over; swaps_free() takes it.
 * Locking:   none; it is what was there when it was read.
 * Errors:    -errno; a kernel without swap has no areas.
 * Cost:      reads /proc/swaps.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct swap_area {
	char *path;
	dev_t device; /* 0 if it is a file */
	uint64_t size_bytes, used_bytes;
	int priority;
};

int swaps_read(struct swap_area **areasp, size_t *n_areasp);
void swaps_free(struct swap_area *areas, size_t n_areas);

/* The area on this device; NULL if there is none. */
const struct swap_area *swaps_find(const struct swap_area *areas, size_t n_areas, dev_t device);
