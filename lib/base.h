#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Base: units and small helpers
 *
 * What every module may use and that uses nothing itself.
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    none.
 * Cost:      inline.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* A page of a disk, the unit of compression: 4096 bytes whatever the system's page size is. */
#define ZR_PAGE_SHIFT 12
#define ZR_PAGE_SIZE  4096u

/* Four levels of 512 entries address 2^36 pages. */
#define ZR_DISK_PAGES_MAX (UINT64_C(1) << 36)
#define ZR_DISK_SIZE_MAX  (ZR_DISK_PAGES_MAX << ZR_PAGE_SHIFT)

/* Runs @free_ on the address of a local when it leaves its scope. */
#define ZR_CLEANUP(free_) __attribute__((cleanup(free_)))

/* Hands an owned local over: yields its value and clears it. */
#define ZR_STEAL(pointer)                        \
	({                                       \
		__auto_type stolen_ = (pointer); \
		(pointer) = NULL;                \
		stolen_;                         \
	})

#define ZR_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static inline uint64_t zr_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t zr_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* @unit is a power of two. */
static inline uint64_t zr_align_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

static inline uint64_t zr_align_down(uint64_t value, uint64_t unit)
{
	return value & ~(unit - 1);
}

static inline void zr_freep(void *pointerp)
{
	free(*(void **)pointerp);
}
