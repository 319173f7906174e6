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

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct mount {
	char *path;    /* of the mount point, as the kernel says it */
	dev_t device;  /* st_dev of what lies on it */
	uid_t user_id; /* who mounted it */

	/* We are root, and the daemon is not: what it says is not to be trusted, and it is not to
	 * be asked unless somebody names this mount. */
	bool is_foreign;
};

/* In the order of their mounting, but those that are foreign last. */
int mounts_read(struct mount **mountsp, size_t *n_mountsp);

/* The same for who goes through those that are not foreign: so many, *n_ownp. Says why it fails. */
int mounts_read_own(struct mount **mountsp, size_t *n_mountsp, size_t *n_ownp);

/* How many are not foreign. */
size_t mounts_n_own(const struct mount *mounts, size_t n_mounts);
void mounts_free(struct mount *mounts, size_t n_mounts);
