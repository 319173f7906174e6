/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "buffers.h"

#include <errno.h>
#include <sys/mman.h>

#include "base.h"
#include "safety.h"
#include "system.h"

int buffer_make(struct buffer *buffer, size_t n_bytes)
{
	const size_t guard = zr_system_page_bytes();
	const size_t n_whole = zr_align_up(n_bytes, guard);
	uint8_t *memory;

	memory = mmap(NULL, guard + n_whole + guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	if (mprotect(memory + guard, n_whole, PROT_READ | PROT_WRITE) < 0) {
		munmap(memory, guard + n_whole + guard);
		return -ENOMEM;
	}

	/* A child would make the next write to each page a fault, which finds memory or does not. */
	(void)madvise(memory, guard + n_whole + guard, MADV_DONTFORK);
	if (zr_system_populate(memory + guard, n_whole) < 0)
		zr_system_touch(memory + guard, n_whole);
	/* After a fork() our own pages would not be there for writing, until they are touched. */
	(void)madvise(memory + guard, n_whole, MADV_DONTFORK);
	*buffer = (struct buffer){ .bytes = memory + guard, .n_bytes = n_whole };
	return 0;
}

void buffer_lock(struct buffer *buffer)
{
	if (!buffer->bytes || buffer->is_locked)
		return;
	buffer->is_locked = mlock(buffer->bytes, buffer->n_bytes) == 0;
	if (!buffer->is_locked)
		safety_buffer_refused(buffer->n_bytes);
}

void buffer_free(struct buffer *buffer)
{
	const size_t guard = zr_system_page_bytes();

	if (buffer->bytes)
		munmap(buffer->bytes - guard, guard + buffer->n_bytes + guard);
	*buffer = (struct buffer){ 0 };
}
