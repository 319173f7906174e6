#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Mounts: the zramfs mounts that this process can see
 *
 * From /proc/self/mountinfo. What another mount hides is left out, and so is a second mount point
 * of the same filesystem, as a bind mount makes.
 *
 * Ownership: the caller's, until mounts_free().
 * Locking:   none.
 * Errors:    -errno of reading mountinfo.
 * Cost:      reading one file; no mount is asked, so that one that hangs hangs nobody.
 */

#include <stddef.h>
#include <sys/types.h>

struct mount {
	char *path;   /* of the mount point, as the kernel says it */
	dev_t device; /* st_dev of what lies on it */
};

/* In the order of their mounting. */
int mounts_read(struct mount **mountsp, size_t *n_mountsp);
void mounts_free(struct mount *mounts, size_t n_mounts);
