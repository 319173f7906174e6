#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Cgroup: what memory this process may have
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    none; what cannot be read is no limit.
 * Cost:      a few small files.
 */

#include <stdint.h>

#define CGROUP_NO_LIMIT UINT64_MAX

/* Bytes: the least limit of the memory cgroup and of those that it is in, of either version. */
uint64_t cgroup_memory_limit(void);
