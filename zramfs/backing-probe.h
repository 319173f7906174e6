#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Backing probe: what lies on a file or device before it is taken
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    -errno of the file.
 * Cost:      what libblkid reads: some hundred KiB.
 */

#include <stdint.h>

#include <stdbool.h>

#define BACKING_PROBE_WHAT_MAX 128u

/* A file is as good as empty if it begins like this. */
#define BACKING_PROBE_ZEROS (128u << 10)

/* Filesystems, partition tables and whatever else libblkid knows, swap not counted. @fd is not
 * O_DIRECT. Return: 0: nothing, and *is_swapp says whether it is swap; 1: @what says what, as "an ext4
 * filesystem"; -errno. */
int backing_probe_signatures(int fd, uint64_t size_bytes, bool *is_swapp,
			     char what[BACKING_PROBE_WHAT_MAX]);

/* Return: 1: it begins with zeros only, or is shorter and nothing else; 0; -errno. */
int backing_probe_is_empty(int fd);
