#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Crashes: deaths that a test asks for
 *
 * ZRAMFS_CRASH="POINT[*N]:TOKEN" of the environment kills this process when it passes the point of
 * crash.h with that name (for the Nth time), if the file TOKEN, or one in the directory TOKEN, can be
 * unlinked then: so it happens once for each that was made. By SIGKILL, or by SIGSEGV if POINT ends
 * in "!".
 *
 * Ownership: the process's.
 * Locking:   crashes_begin() before there are threads.
 * Errors:    what is written otherwise names no point, and nothing happens.
 * Cost:      nothing at debug_level 0; else see crash.h.
 */

#include "crash.h"

#if ZR_DEBUG_LEVEL >= 1
void crashes_begin(void);
#else
static inline void crashes_begin(void)
{
}
#endif
