#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Heap: what malloc() does in threads that serve disks
 *
 * They need no memory for the bytes of disks. But all other requests pass through libfuse, which
 * allocates some hundred bytes for each before it is handed on, and so do the copies that are
 * handed on. So that a thread never asks the kernel for them, nor waits for another that does, each
 * has an arena of glibc's for itself, populated and never trimmed. Threads that do such requests
 * have one as well: who asks the kernel for memory when there is none keeps the lock of the address
 * space, and who serves disks would wait for it.
 *
 * Ownership: the C library's.
 * Locking:   an arena's lock is held by its thread, and by whoever frees what is in it; nobody asks
 *            the kernel for memory meanwhile.
 * Errors:    none: without glibc nothing is done.
 * Cost:      HEAP_BYTES or HEAP_JOB_BYTES a thread, resident.
 */

#include <stddef.h>

/* Requests that were handed on and not yet answered: about 75. */
#define HEAP_BYTES (128u << 10)

/* A text about some disks: what is longer is mapped by itself. */
#define HEAP_JOB_BYTES (64u << 10)

/* Before any other thread. */
void heap_begin(void);

/* In each of them; in any other, for what it will want in all. */
void heap_warm(size_t n_bytes);
