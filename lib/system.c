/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "system.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

/* Linux 5.14; older headers lack it. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* No kernel knows it. */
#define ADVICE_NONE (-1)

uint32_t zr_system_page_bytes_real(void)
{
	return (uint32_t)zr_max(ZR_PAGE_SIZE, (uint64_t)sysconf(_SC_PAGESIZE));
}

#if ZR_DEBUG_LEVEL >= 1

static uint32_t simulated_bytes;

uint32_t zr_system_page_bytes(void)
{
	return (uint32_t)zr_max(simulated_bytes, zr_system_page_bytes_real());
}

void zr_system_page_simulate(uint32_t n_bytes)
{
	ZR_ASSERT(n_bytes <= ZR_SYSTEM_PAGE_MAX && (n_bytes & (n_bytes - 1)) == 0);
	simulated_bytes = n_bytes;
}

#else

uint32_t zr_system_page_bytes(void)
{
	return zr_system_page_bytes_real();
}

#endif

/* An emulator (qemu-user) says yes to advice that it does not know, and does nothing. */
static bool is_yes_to_anything(void *address, size_t n_bytes)
{
	static _Atomic int known; /* 0: not yet */
	int answer = atomic_load_explicit(&known, memory_order_relaxed);

	if (answer == 0) {
		answer = madvise(address, n_bytes, ADVICE_NONE) == 0 ? 1 : 2;
		atomic_store_explicit(&known, answer, memory_order_relaxed);
	}
	return answer == 1;
}

int zr_system_populate(void *address, size_t n_bytes)
{
	if (n_bytes == 0)
		return 0;
	if (is_yes_to_anything(address, n_bytes))
		return -EINVAL;
	return madvise(address, n_bytes, MADV_POPULATE_WRITE) < 0 ? -errno : 0;
}

void zr_system_touch(void *address, size_t n_bytes)
{
	const size_t step = zr_system_page_bytes_real();
	volatile uint8_t *bytes = address;
	size_t at;

	for (at = 0; at < n_bytes; at += step)
		bytes[at] = 0;
}
