/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "sync.h"

#if ZR_DEBUG_LEVEL >= 1
_Thread_local unsigned int zr_ranks_held;
#else
typedef int zr_no_empty_unit;
#endif
