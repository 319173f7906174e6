#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Blocks: whole blocks of a backing file, all that were asked for
 *
 * The kernel may do less at a time, and signals come. Where the descriptor is not O_DIRECT, what is
 * written is on the file and out of the page cache when a call returns, since memory is what it is
 * written for.
 *
 * Ownership: none.
 * Locking:   any thread.
 * Errors:    -errno of the file; -EIO for what is short.
 * Cost:      a system call; three where there is no O_DIRECT.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is @fd O_DIRECT? */
bool blocks_are_direct(int fd);

/* Offsets, lengths and memory are multiples of ZR_BLOCK_BYTES. */
int blocks_read(int fd, bool is_direct, uint64_t offset, void *bytes, size_t n_bytes);
int blocks_write(int fd, bool is_direct, uint64_t offset, const void *bytes, size_t n_bytes);
