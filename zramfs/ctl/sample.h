#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Sample: all mounts at one moment
 *
 * Ownership: the caller's, until sample_clear().
 * Locking:   one thread.
 * Errors:    -errno of reading mountinfo; a mount that cannot be asked says why instead.
 * Cost:      view_read() for each mount.
 */

#include "mounts.h"
#include "name.h"
#include "view.h"

struct sample_mount {
	struct mount mount; /* its path is the sample's */
	struct view view;
	char why[VIEW_WHY_MAX]; /* empty: the view is there */
};

struct sample {
	struct sample_mount *mounts;
	size_t n_mounts;
};

/* @names: what is wanted; none: everything. */
int sample_take(const struct name *names, size_t n_names, struct sample *samplep);
void sample_clear(struct sample *sample);

/* The same mount, if it could be asked, and the same disk. NULL: there was none. */
const struct sample_mount *sample_mount_find(const struct sample *sample, dev_t device);
const struct view_disk *sample_disk_find(const struct sample_mount *mount, const char *name);
