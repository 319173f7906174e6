#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Crash: named points at which a test lets the process die
 *
 * Between any two instructions of a change the process may be killed, and what it leaves must be
 * whole. The instants that matter have names, so that a test can die at each of them instead of
 * waiting for chance to hit it.
 *
 * Ownership: whoever sets the hook; NULL: nothing happens.
 * Locking:   none: set it before there are threads. It is called with any locks held, and either
 *            returns or does not.
 * Errors:    none.
 * Cost:      nothing at debug_level 0; else one load and a branch.
 */

#include "check.h"

#if ZR_DEBUG_LEVEL >= 1
extern void (*zr_crash_hook)(const char *name);

#define ZR_CRASH(name)                                    \
	do {                                              \
		if (__builtin_expect(!!zr_crash_hook, 0)) \
			zr_crash_hook(name);              \
	} while (0)
#else
#define ZR_CRASH(name) ((void)sizeof(name))
#endif
