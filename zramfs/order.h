#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Order: what happens before what because the kernel sees to it
 *
 * Who closes a file has the answers to all that was asked of it, so nobody uses a handle any more
 * when its RELEASE is read, in whichever thread. TSan knows that order of a descriptor that it saw
 * being opened, and a worker is given its own; so it is told.
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    none.
 * Cost:      nothing but under TSan.
 */

#if defined(__SANITIZE_THREAD__)

#include <sanitizer/tsan_interface.h>

extern char order_of_requests;

/* A request was read. */
static inline void order_request(void)
{
	__tsan_acquire(&order_of_requests);
}

/* It is about to be answered. */
static inline void order_reply(void)
{
	__tsan_release(&order_of_requests);
}

#else

static inline void order_request(void)
{
}

static inline void order_reply(void)
{
}

#endif
