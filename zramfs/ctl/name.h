#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Name: what a person may call a disk
 *
 *   swap0          if one mount alone has a disk of that name
 *   /mnt/z/swap0   the path of its file
 *   /dev/loop0     a loop device on it
 *   zramfs         the daemon, if there is one mount alone
 *   /mnt/z         the daemon of that mount
 *
 * To root, mounts of others have no names but paths: they must not decide what root's names mean.
 *
 * Ownership: the caller's, until name_free().
 * Locking:   none.
 * Errors:    what is wrong is said (say.h), with what could be meant.
 * Cost:      mountinfo; a name that is no path is asked for in each mount (ask.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "mounts.h"

struct name {
	char *mount;  /* path of the mount point */
	char *disk;   /* name of the disk; NULL: the daemon is meant */
	char *path;   /* of the disk's file, or of the mount point */
	dev_t device; /* of the mount */
};

/* The mount it is of. @name owns the path. */
static inline struct mount name_mount(const struct name *name)
{
	return (struct mount){ .path = name->mount, .device = name->device };
}

/* Is there a disk of that name? A mount that hangs has no disks. Nothing is said. */
bool name_mount_has(const struct mount *mount, const char *disk);

/* A disk that is there. Return: 0, or -errno after saying what is wrong. */
int name_find(const char *text, struct name *namep);

/* The same, and the daemon too. */
int name_find_any(const char *text, struct name *namep);

/* Of a disk that is to be made: NAME or MOUNT/NAME. @mount, which may be NULL, is where if the text
 * does not say; @text may be NULL, and then the disk is left NULL. */
int name_new(const char *text, const char *mount, struct name *namep);

/* The mount of this name, or with NULL all but those that are foreign; one at least. mounts_free()
 * them. */
int name_mounts(const char *text, struct mount **mountsp, size_t *n_mountsp);

/* Is this disk of this mount, or with NULL any disk of it, among them? Without names all are. */
bool names_want(const struct name *names, size_t n_names, const char *mount, const char *disk);

/* Frees what is in it and clears it. */
void name_free(struct name *name);
