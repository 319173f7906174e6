/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "budget.h"

#include <stdatomic.h>
#include <time.h>

#define DAY_NS      (INT64_C(86400) * 1000000000)
#define BLOCK_BYTES UINT64_C(4096)

int64_t zr_boot_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* From 1 on: 0 is a disk of which nothing was written yet. */
static uint64_t day_of(int64_t boot_ns)
{
	return (uint64_t)(boot_ns / DAY_NS) + 1;
}

uint64_t zr_budget_used(const struct zr_entry *entry, int64_t boot_ns)
{
	return atomic_load(&entry->written_day) == day_of(boot_ns)
		       ? atomic_load(&entry->written_bytes)
		       : 0;
}

uint64_t zr_budget_left(const struct zr_entry *entry, uint64_t daily_bytes, int64_t boot_ns)
{
	const uint64_t used = zr_budget_used(entry, boot_ns);

	if (daily_bytes == 0)
		return UINT64_MAX;
	return used < daily_bytes ? zr_align_down(daily_bytes - used, BLOCK_BYTES) : 0;
}

void zr_budget_note(struct zr_entry *entry, uint64_t n_bytes, int64_t boot_ns)
{
	const uint64_t used = zr_budget_used(entry, boot_ns);

	if (n_bytes == 0)
		return;
	/* Whoever dies between the two gives a day too little to the old one. */
	atomic_store(&entry->written_bytes, used + n_bytes);
	atomic_store(&entry->written_day, day_of(boot_ns));
}

int64_t zr_budget_rest_ns(int64_t boot_ns)
{
	return DAY_NS - boot_ns % DAY_NS;
}
