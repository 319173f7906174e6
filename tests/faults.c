/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "faults.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Named by the linker, not by us. */
int __real_madvise(void *address, size_t n_bytes, int advice);
int __wrap_madvise(void *address, size_t n_bytes, int advice);
int __real_fallocate64(int fd, int mode, off_t offset, off_t n_bytes);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t n_bytes);
ssize_t __real_pwritev64(int fd, const struct iovec *parts, int n_parts, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *parts, int n_parts, off_t offset);

_Atomic unsigned int faults_countdown, faults_delay_ms, faults_n_populated, faults_n_refused;
_Atomic bool faults_all, faults_fatal;
_Atomic int faults_errno = ENOMEM;
_Thread_local unsigned int faults_n_own;
static _Thread_local bool was_told; /* EINVAL */

static bool is_refused(void)
{
	unsigned int left = atomic_load(&faults_countdown);

	if (atomic_load(&faults_all))
		return true;
	while (left > 0 && !atomic_compare_exchange_weak(&faults_countdown, &left, left - 1))
		;
	return left == 1;
}

/* Memory is asked for. Return: false, with errno set, if it is refused. */
static bool ask(void)
{
	const unsigned int delay_ms = atomic_load(&faults_delay_ms);
	const struct timespec delay = { delay_ms / 1000, delay_ms % 1000 * 1000000L };

	++faults_n_own;
	atomic_fetch_add(&faults_n_populated, 1);
	if (delay_ms > 0)
		nanosleep(&delay, NULL);
	if (!is_refused())
		return true;
	atomic_fetch_add(&faults_n_refused, 1);
	errno = atomic_load(&faults_errno);
	return false;
}

int __wrap_madvise(void *address, size_t n_bytes, int advice)
{
	if (advice != MADV_POPULATE_WRITE)
		return __real_madvise(address, n_bytes, advice);
	if (ask())
		return __real_madvise(address, n_bytes, advice);
	was_told = errno == EINVAL;
	return -1;
}

/* Who is told that the kernel cannot populate asks once more, here. Where that is known from the
 * start, this is the first that is heard of it. */
ssize_t __wrap_pwritev64(int fd, const struct iovec *parts, int n_parts, off_t offset)
{
	ssize_t n;

	if (!was_told && !ask() && errno != EINVAL)
		return -1;
	was_told = false;
	n = __real_pwritev64(fd, parts, n_parts, offset);
	if (atomic_load(&faults_fatal))
		raise(SIGKILL);
	return n;
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t n_bytes)
{
	++faults_n_own;
	return __real_fallocate64(fd, mode, offset, n_bytes);
}

unsigned int faults_drain(struct zr_pool *pool, zr_position *taken, unsigned int n_most)
{
	unsigned int n_taken = 0;
	zr_position position;

	/* Once memory is refused, any cell will do. */
	atomic_store(&faults_all, true);
	while (n_taken < n_most && zr_pool_alloc(pool, 1, &position) == 0)
		taken[n_taken++] = position;
	atomic_store(&faults_all, false);
	return n_taken;
}

void faults_undrain(struct zr_pool *pool, const zr_position *taken, unsigned int n_taken)
{
	while (n_taken > 0)
		zr_pool_free(pool, taken[--n_taken], 1);
}
