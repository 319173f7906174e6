#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Below: what a file lies on, in the end
 *
 * Pages cannot be written back to a file that is made of them: the write would wait for itself. So
 * what a file lies on is followed down, through loop devices, partitions, device mapper and md,
 * and filesystems on any of these, until it is a mount of zramfs, ours or another's, or ends.
 *
 * Whoever asks may be who serves the mount, and would wait for itself as well: so a path is walked
 * a name at a time, and no name is looked up in a mount of zramfs.
 *
 * Ownership: a found file's directory is the caller's until below_file_close().
 * Locking:   none.
 * Errors:    -ELOOP for what lies on zramfs, -errno of the walk.
 * Cost:      two system calls a name, a pass over /proc/self/mountinfo for each mount on the way.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define BELOW_WHAT_MAX 256u

/* What the kernel calls the filesystem that something is on. */
struct below_place {
	dev_t device;      /* st_dev; 0 as its major where it has no device of its own */
	uint64_t mount_id; /* 0: the kernel does not say */
};

struct below_file {
	int parent; /* its directory, O_PATH; -1: none */
	char name[NAME_MAX + 1];
	bool exists;
	struct below_place place; /* its own, or its directory's */
	struct stat st;           /* if it exists */
};

/* Find @path, an absolute one, through links to its end. What is not there but could be made is no
 * error. @mount_device: st_dev of our own mount; 0: none yet. Return: 0, -ELOOP where the path
 * leads onto zramfs, -EMLINK through more than 40 links, -ENAMETOOLONG, or -errno. */
int below_find(const char *path, dev_t mount_device, struct below_file *file);
void below_file_close(struct below_file *file);

/* Is @directory, as fstat(2) has it, above what was found? */
bool below_is_under(const struct below_file *file, const struct stat *directory);

/* Does what was found lie on zramfs? A file by the filesystem that it is, or would be, on; a block
 * device by what it is made of. Return: 0, or -ELOOP; @what then says what it lies on, as "a mount
 * of zramfs" or "loop3, which lies on a mount of zramfs". */
int below_check(const struct below_file *file, dev_t mount_device, char what[BELOW_WHAT_MAX]);
