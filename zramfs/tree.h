#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Tree: which names lead where
 *
 *   /             disks, .stats, .stats.json, .metrics, .control
 *   .control/     hot_add, hot_remove, zramfs/, and a directory for each disk
 *
 * below which there is a file for each attribute.
 *
 * Ownership: none; the store has the disks.
 * Locking:   those of the store, for the moment.
 * Errors:    what is not there is 0, NULL or false.
 * Cost:      look-ups walk lists of disks and rows.
 */

#include "attr.h"
#include "node.h"
#include "store.h"

#define TREE_NAME_BYTES 64u

struct tree_entry {
	char name[TREE_NAME_BYTES];
	uint64_t node;
	int64_t next; /* where to go on */
};

/* The node of @name in directory @parent. Return: 0 if there is none. */
uint64_t tree_find(struct zr_store *store, uint64_t parent, const char *name);

/* The entry of directory @dir at @offset, which begins with 0. Return: false at the end. */
bool tree_next(struct zr_store *store, uint64_t dir, int64_t offset, struct tree_entry *entry);

bool tree_is_directory(uint64_t node);

/* Permission bits of a virtual file; 0: the node is none. */
unsigned int tree_mode(uint64_t node);

/* The attribute that a virtual file is of, or NULL. */
const struct zr_attr *tree_attr(uint64_t node);
