#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * System: the size of its pages, and memory that is there before it is used
 *
 * A page of a disk has 4096 bytes everywhere. A page of the system is what memory comes and goes
 * in: 4096 bytes on most machines, 16384 or 65536 on some. It is asked for here and nowhere else,
 * so that tests can say it is larger than it is.
 *
 * Ownership: none.
 * Locking:   none. Whoever simulates another size does so before anything has asked.
 * Errors:    -EINVAL where the kernel, or who emulates it, cannot populate; else its own.
 * Cost:      no system call, but for populating: 7 us for 20 KiB.
 */

#include "base.h"
#include "check.h"

#define ZR_SYSTEM_PAGE_MAX 65536u

/* A power of two, 4096 at least. */
uint32_t zr_system_page_bytes(void);

/* The same, whatever is simulated. */
uint32_t zr_system_page_bytes_real(void);

/* What @n_bytes take in whole pages. */
static inline uint64_t zr_system_whole(uint64_t n_bytes)
{
	return zr_align_up(n_bytes, zr_system_page_bytes());
}

#if ZR_DEBUG_LEVEL >= 1
/* For tests: from now on it is @n_bytes, a power of two, if that is more than it really is. */
void zr_system_page_simulate(uint32_t n_bytes);
#endif

/* Have memory in whole pages of a writable mapping. Return: 0, or -errno: then part of it may be
 * there. */
int zr_system_populate(void *address, size_t n_bytes);

/* Write a zero to each page of a range that may be written: for kernels that cannot do the above. */
void zr_system_touch(void *address, size_t n_bytes);
