/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "crash.h"

#include <stddef.h>

#if ZR_DEBUG_LEVEL >= 1
void (*zr_crash_hook)(const char *name);
#endif
