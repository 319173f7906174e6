#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Loops: the loop devices there are, and what lies on them
 *
 * From /sys/block, /proc/swaps and mountinfo, which anyone may read. A filesystem that is mounted
 * in another mount namespace alone is not seen here: whoever detaches asks the device itself.
 *
 * Ownership: loops_read() hands an array over; loops_free() takes it.
 * Locking:   none; it is what was there when it was read.
 * Errors:    -errno; a device that goes while it is read is left out.
 * Cost:      about twenty small files a device that is attached, and loop_file_find().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop-file.h"
#include "mounts.h"

/* Longest path of a loop device or a partition of it, with the terminator. */
#define LOOP_DEVICE_MAX 32u

/* By what has to be done about it: the last one is what stands in @on_top. */
enum loop_top {
	LOOP_TOP_NONE,
	LOOP_TOP_PARTITION, /* that nobody uses */
	LOOP_TOP_SWAP,
	LOOP_TOP_MOUNT,
	LOOP_TOP_HOLDER, /* device mapper, RAID, bcache */
};

/* -1: not known. */
struct loop_queue {
	int64_t sector_bytes;
	int64_t discard_max_bytes;
	int64_t n_requests;
	int64_t read_ahead_kib;
	int64_t rotational;
	int64_t write_back; /* flushes are sent on */
	char scheduler[24]; /* empty: not known */
};

struct loop_user {
	char device[LOOP_DEVICE_MAX]; /* /dev/loop0 */
	dev_t number;
	char *backing; /* path of the file, as it was opened */
	struct loop_file file;
	bool direct_io;
	bool read_only;
	bool is_cut;    /* a part of the file: an offset or a limit of its size */
	bool detaching; /* it goes when its last user closes it */
	struct loop_queue queue;

	enum loop_top top;
	char top_device[LOOP_DEVICE_MAX]; /* what is used: the device or a partition of it */
	char *on_top; /* mount point, "[SWAP]", /dev/... of the holder or partition, or NULL */
};

/* All that are attached, by number. */
int loops_read(struct loop_user **loopsp, size_t *n_loopsp);
void loops_free(struct loop_user *loops, size_t n_loops);

/* Those that are on this file, which is the disk of the mount. */
int loops_read_on(const struct loop_file *file, const struct mount *mount, const char *disk,
		  struct loop_user **loopsp, size_t *n_loopsp);

/* Is this /dev/loop and a number? */
bool loop_device_is(const char *path);

/* One that is attached, by its device's path. Return: 0, -ENODEV if it is not attached. */
int loop_read(const char *device, struct loop_user *loop);
void loop_clear(struct loop_user *loop);

/* Is it on the disk of the mount? By its file's device and the disk's name, where it is known; else
 * by the path alone, which is a guess. The mount is not asked. */
bool loop_is_on(const struct loop_user *loop, const struct mount *mount, const char *disk);

/* The zramfs mount whose disk it is on; NULL if it is on none of these. As loop_is_on(). */
const struct mount *loop_mount(const struct loop_user *loop, const struct mount *mounts,
			       size_t n_mounts);

/* The disk's name, in loop->backing. */
const char *loop_disk(const struct loop_user *loop);
