#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Arena: the memfd and its mapping
 *
 * A sparse anonymous file, mapped once, whose offsets are free and whose memory comes and goes by
 * the range. It has no path, so nothing stays behind when the last descriptor is closed.
 *
 * When the process that locked its memory dies the kernel may swap it, and if that swap is a disk
 * in it, whoever comes next waits for itself. So the file lies on a tmpfs of its own without swap,
 * where that is to be had, and is a memfd elsewhere; there is no difference but this, and it is
 * called the memfd everywhere.
 *
 * Ownership: owns the mapping and the descriptor it was given or made.
 * Locking:   none; ranges are populated and punched by whoever owns them.
 * Errors:    -ENOMEM when the kernel refuses memory or address space, -EINVAL for a descriptor that
 *            is not a store's.
 * Cost:      populating 7 us for 20 KiB (52 the first time a virtual machine touches the
 *            memory), punching 4 us; mapping what is there see zr_store_populate().
 */

#include "base.h"
#include "check.h"

struct zr_arena {
	int fd; /* -1: none */
	uint8_t *base;
	uint64_t size_bytes;  /* offsets there are */
	uint32_t grain_bytes; /* memory comes and goes in pages of the system: 4096 at least */
	bool noswap;          /* known to who made it */
};

#define ZR_ARENA_NULL    \
	{                \
		.fd = -1 \
	}

/* Make a memfd of at most @size_bytes offsets; fewer where the address space is smaller. */
int zr_arena_create(struct zr_arena *arena, uint64_t size_bytes);

/* Map what another process made. @fd is the arena's from now on if this succeeds. */
int zr_arena_attach(struct zr_arena *arena, int fd);
void zr_arena_deinit(struct zr_arena *arena);

/* Give memory to a range of whole grains, which is nobody's: what it held may be lost. Return: 0 or
 * -ENOMEM, and then nothing is given. */
int zr_arena_populate(struct zr_arena *arena, uint64_t offset, uint64_t n_bytes);

/* Lock in memory what is mapped here, and from now on whatever is touched. Return: 0, or -ENOMEM,
 * -EPERM or -EAGAIN, as of mlock2(2). */
int zr_arena_lock(struct zr_arena *arena);

/* Map what another process populated. Every page of the range has memory, and nobody takes it back
 * meanwhile: nothing is allocated but page tables. Return: 0 or -errno. */
int zr_arena_fault_in(struct zr_arena *arena, uint64_t offset, uint64_t n_bytes);

/* Take the memory of a range of whole grains back. Cannot fail in a way that matters: the memory is only kept. */
void zr_arena_punch(struct zr_arena *arena, uint64_t offset, uint64_t n_bytes);

/* Where a page of the system is only said to be larger than it is, for tests, a death may leave part
 * of one, which is nobody's: it goes. Nobody else may be using the arena. */
void zr_arena_settle(struct zr_arena *arena);

/* Bytes of memory that the file holds now. */
uint64_t zr_arena_memory(const struct zr_arena *arena);

/* The first populated offset at or above @offset, and where that run ends (*endp, if not NULL).
 * Return: false if there is none. */
bool zr_arena_next_data(const struct zr_arena *arena, uint64_t offset, uint64_t *startp,
			uint64_t *endp);

static inline void *zr_arena_at(const struct zr_arena *arena, uint64_t offset)
{
	ZR_ASSERT(offset < arena->size_bytes);
	return arena->base + offset;
}
