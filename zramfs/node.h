#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Node numbers
 *
 *   disk id << 8 | which      0 the disk, 1 its control directory, 2.. a row of the attribute table
 *   0..255                    what belongs to no disk: few by name, and from 16 on a row of the
 *                             attribute table that is the daemon's
 *
 * Ids come from a counter in the store and are never used again, and the index of a row stays what
 * it is, so that a number means the same to every generation.
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    none.
 * Cost:      shifts.
 */

#include <stdint.h>

enum node {
	NODE_ROOT = 1, /* FUSE_ROOT_ID */
	NODE_STATS = 2,
	NODE_CONTROL = 3,
	NODE_STATS_JSON = 4,
	NODE_METRICS = 5,
	NODE_HOT_ADD = 6,
	NODE_HOT_REMOVE = 7,
	NODE_DAEMON = 8,       /* .control/zramfs */
	NODE_DAEMON_ATTR = 16, /* and above: the index of the attribute's row */
};

enum node_kind {
	NODE_KIND_DISK = 0,
	NODE_KIND_DISK_CONTROL = 1,
	NODE_KIND_ATTR = 2, /* and above: the index of the attribute's row */
};

static inline uint64_t node_of(uint64_t disk_id, unsigned int kind)
{
	return disk_id << 8 | kind;
}

/* 0: the node belongs to no disk. */
static inline uint64_t node_disk_id(uint64_t node)
{
	return node >> 8;
}

static inline unsigned int node_kind(uint64_t node)
{
	return node & 0xff;
}

/* Is the node a disk's own file? */
static inline int node_is_disk(uint64_t node)
{
	return node_disk_id(node) != 0 && node_kind(node) == NODE_KIND_DISK;
}
