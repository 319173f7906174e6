/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "allowance.h"

#include <time.h>

#include "base.h"

#define SECOND_NS INT64_C(1000000000)

int64_t zr_allowance_when(struct zr_allowance *allowance, uint32_t percent, int64_t now_ns)
{
	const int64_t most = SECOND_NS / 100 * percent;
	int64_t passed = allowance->at_ns == 0 ? SECOND_NS : now_ns - allowance->at_ns;

	if (passed < 0)
		passed = 0;
	allowance->at_ns = now_ns;
	/* Of what is owed for long all is forgiven: percentages are small. */
	if (passed > 1000 * SECOND_NS)
		passed = 1000 * SECOND_NS;
	allowance->credit_ns += passed / 100 * percent;
	if (allowance->credit_ns > most)
		allowance->credit_ns = most;

	if (percent == 0)
		return now_ns + SECOND_NS;
	if (allowance->credit_ns > 0)
		return now_ns;
	/* Until a tenth of a second's is there: not for one step at a time. */
	return now_ns + (most / 10 - allowance->credit_ns) / percent * 100;
}

void zr_allowance_spend(struct zr_allowance *allowance, int64_t n_ns)
{
	allowance->credit_ns -= n_ns;
}

int64_t zr_thread_cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (int64_t)used.tv_sec * SECOND_NS + used.tv_nsec;
}
