/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "faults.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Named by the linker, not by us. */
int __real_madvise(void *address, size_t n_bytes, int advice);
int __wrap_madvise(void *address, size_t n_bytes, int advice);

unsigned int faults_countdown;
int faults_errno = ENOMEM;

int __wrap_madvise(void *address, size_t n_bytes, int advice)
{
	if (advice == MADV_POPULATE_WRITE && faults_countdown > 0 && --faults_countdown == 0) {
		errno = faults_errno;
		return -1;
	}
	return __real_madvise(address, n_bytes, advice);
}
