/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "tree.h"

#include <stdio.h>
#include <string.h>

/* What is there whatever the disks are. */
static const struct fixed {
	const char *name;
	uint64_t parent, node;
	unsigned int mode; /* 0: a directory */
} fixed[] = {
	{ ".stats", NODE_ROOT, NODE_STATS, 0644 },
	{ ".stats.json", NODE_ROOT, NODE_STATS_JSON, 0444 },
	{ ".metrics", NODE_ROOT, NODE_METRICS, 0444 },
	{ ".control", NODE_ROOT, NODE_CONTROL, 0 },
	{ "hot_add", NODE_CONTROL, NODE_HOT_ADD, 0200 },
	{ "hot_remove", NODE_CONTROL, NODE_HOT_REMOVE, 0200 },
	{ "zramfs", NODE_CONTROL, NODE_DAEMON, 0 },
};

/* Offsets in a directory: . and .., what is fixed (whichever directory it is in), the rest. */
#define OFFSET_FIXED INT64_C(2)
#define OFFSET_REST  (OFFSET_FIXED + (int64_t)ZR_ARRAY_SIZE(fixed))

_Static_assert(NODE_DAEMON_ATTR + ZR_ATTR_INDEX_MAX <= 256 &&
		       NODE_KIND_ATTR + ZR_ATTR_INDEX_MAX <= 256,
	       "every row has a number for its node");
_Static_assert(TREE_NAME_BYTES > ZR_NAME_MAX, "a name of a disk fits");

/* nodes */

bool tree_is_directory(uint64_t node)
{
	return node == NODE_ROOT || node == NODE_CONTROL || node == NODE_DAEMON ||
	       (node_disk_id(node) != 0 && node_kind(node) == NODE_KIND_DISK_CONTROL);
}

static bool is_of_daemon(uint64_t node)
{
	return node_disk_id(node) == 0;
}

const struct zr_attr *tree_attr(uint64_t node)
{
	const unsigned int first = is_of_daemon(node) ? NODE_DAEMON_ATTR : NODE_KIND_ATTR;
	const struct zr_attr *attr;

	if (node_kind(node) < first)
		return NULL;
	attr = zr_attr_at(node_kind(node) - first);
	if (!attr || !(attr->flags & ZR_ATTR_CONTROL) ||
	    !!(attr->flags & ZR_ATTR_DAEMON) != is_of_daemon(node))
		return NULL;
	return attr;
}

unsigned int tree_mode(uint64_t node)
{
	const struct zr_attr *attr = tree_attr(node);
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(fixed); ++i) {
		if (fixed[i].node == node)
			return fixed[i].mode;
	}
	return attr ? attr->mode : 0;
}

/* The node of row @index below @dir, which is zramfs/ or a disk's. Return: 0 if it is not there. */
static uint64_t node_of_attr(uint64_t dir, unsigned int index)
{
	const uint64_t node = dir == NODE_DAEMON
				      ? NODE_DAEMON_ATTR + index
				      : node_of(node_disk_id(dir), NODE_KIND_ATTR + index);

	return tree_attr(node) ? node : 0;
}

/* finding */

static uint64_t find_disk(struct zr_store *store, const char *name, unsigned int kind)
{
	struct zr_disk *disk = zr_store_find(store, name);
	const uint64_t node = disk ? node_of(disk->id, kind) : 0;

	zr_disk_unpin(store, disk);
	return node;
}

uint64_t tree_find(struct zr_store *store, uint64_t parent, const char *name)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(fixed); ++i) {
		if (fixed[i].parent == parent && strcmp(fixed[i].name, name) == 0)
			return fixed[i].node;
	}
	if (parent == NODE_ROOT)
		return find_disk(store, name, NODE_KIND_DISK);
	if (parent == NODE_CONTROL)
		return find_disk(store, name, NODE_KIND_DISK_CONTROL);

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (node_of_attr(parent, i) != 0 && strcmp(attr->name, name) == 0)
			return node_of_attr(parent, i);
	}
	return 0;
}

/* listing */

static bool entry_set(struct tree_entry *entry, const char *name, uint64_t node, int64_t next)
{
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	entry->node = node;
	entry->next = next;
	return true;
}

/* Disks in the order of their ids: OFFSET_REST + id is after that disk, whatever came or went. */
static bool next_disk(struct zr_store *store, int64_t offset, unsigned int kind,
		      struct tree_entry *entry)
{
	struct zr_disk *disk = zr_store_next(store, (uint64_t)(offset - OFFSET_REST));
	struct zr_attrs attrs;

	if (!disk)
		return false;
	zr_disk_attrs(disk, &attrs);
	entry_set(entry, attrs.name, node_of(disk->id, kind), OFFSET_REST + (int64_t)disk->id);
	zr_disk_unpin(store, disk);
	return true;
}

static bool next_attr(uint64_t dir, int64_t offset, struct tree_entry *entry)
{
	const struct zr_attr *attr;
	unsigned int i;

	for (i = (unsigned int)(offset - OFFSET_REST); (attr = zr_attr_next(&i)); ++i) {
		if (node_of_attr(dir, i) != 0)
			return entry_set(entry, attr->name, node_of_attr(dir, i),
					 OFFSET_REST + i + 1);
	}
	return false;
}

bool tree_next(struct zr_store *store, uint64_t dir, int64_t offset, struct tree_entry *entry)
{
	const bool is_at_top = dir == NODE_ROOT || dir == NODE_CONTROL;

	if (offset == 0)
		return entry_set(entry, ".", dir, 1);
	if (offset == 1)
		return entry_set(entry, "..", is_at_top ? NODE_ROOT : NODE_CONTROL, OFFSET_FIXED);

	for (; offset < OFFSET_REST; ++offset) {
		const struct fixed *at = &fixed[offset - OFFSET_FIXED];

		if (at->parent == dir)
			return entry_set(entry, at->name, at->node, offset + 1);
	}
	if (is_at_top)
		return next_disk(store, offset,
				 dir == NODE_ROOT ? NODE_KIND_DISK : NODE_KIND_DISK_CONTROL, entry);
	return next_attr(dir, offset, entry);
}
