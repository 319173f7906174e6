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

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define BACKING_PROBE_WHAT_MAX 128u

/* A file is as good as empty if it begins like this. */
#define BACKING_PROBE_ZEROS (128u << 10)

/* Filesystems, partition tables and whatever else libblkid knows. @fd is not O_DIRECT. Return: 0:
 * nothing but swap, and *is_swapp says whether that; 1: @what says what, as "a filesystem (ext4)";
 * -errno. */
int backing_probe_signatures(int fd, uint64_t size_bytes, bool *is_swapp,
			     char what[BACKING_PROBE_WHAT_MAX]);

/* Return: 1: it begins with zeros, or is shorter and has nothing else; 0; -errno. */
int backing_probe_is_empty(int fd);

/* Is there a loop device over the file of @st? @name is then that of one, as "loop3". Nothing on
 * zramfs is asked (below.h). */
bool backing_probe_loop(const struct stat *st, dev_t mount_device,
			char name[BACKING_PROBE_WHAT_MAX]);
