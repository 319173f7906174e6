#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Allowance: how much of a core a thread takes for what nobody waits for
 *
 * Time of the processor comes in at so many percent of the time that passes, up to what a second
 * brings, and is spent by work. Who has none left waits. So of any ten seconds no more than eleven
 * times that of one is taken, and one step of work.
 *
 * Ownership: the caller's.
 * Locking:   none.
 * Errors:    none.
 * Cost:      none.
 */

#include <stdint.h>

struct zr_allowance {
	int64_t credit_ns; /* below 0: it is spent in advance */
	int64_t at_ns;     /* when that was so; 0: never */
};

/* When there is any, at @percent of a core: @now_ns or later. 0 percent: as if nothing came in for a
 * second. */
int64_t zr_allowance_when(struct zr_allowance *allowance, uint32_t percent, int64_t now_ns);

void zr_allowance_spend(struct zr_allowance *allowance, int64_t n_ns);

/* Nanoseconds that this thread has had a processor. */
int64_t zr_thread_cpu_ns(void);
