/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "sample.h"

#include <string.h>

#include "base.h"
#include "say.h"

/* Disks that are not wanted are gathered at the end, and go. */
static void view_restrict(struct view *view, const struct name *names, size_t n_names,
			  const char *mount)
{
	size_t i, n = 0;

	for (i = 0; i < view->n_disks; ++i) {
		const struct view_disk disk = view->disks[i];

		if (!names_want(names, n_names, mount, disk.name))
			continue;
		view->disks[i] = view->disks[n];
		view->disks[n++] = disk;
	}
	while (view->n_disks > n)
		view_disk_clear(&view->disks[--view->n_disks]);
}

int sample_take(const struct name *names, size_t n_names, struct sample *samplep)
{
	struct mount *mounts;
	size_t n_mounts, i;
	int r;

	r = mounts_read(&mounts, &n_mounts);
	if (r < 0)
		return r;
	*samplep = (struct sample){ .mounts = calloc(n_mounts + 1, sizeof(*samplep->mounts)) };
	if (!samplep->mounts)
		say_no_memory();

	for (i = 0; i < n_mounts; ++i) {
		struct sample_mount *own = &samplep->mounts[samplep->n_mounts];

		if ((n_names == 0 && mounts[i].is_foreign) ||
		    !names_want(names, n_names, mounts[i].path, NULL))
			continue;
		++samplep->n_mounts;
		own->mount = mounts[i];
		own->mount.path = say_text("%s", mounts[i].path);
		if (view_read(&own->mount, &own->view, own->why) == 0)
			view_restrict(&own->view, names, n_names, own->mount.path);
	}
	mounts_free(mounts, n_mounts);
	return 0;
}

void sample_clear(struct sample *sample)
{
	size_t i;

	for (i = 0; i < sample->n_mounts; ++i) {
		free(sample->mounts[i].mount.path);
		view_clear(&sample->mounts[i].view);
	}
	free(sample->mounts);
	*sample = (struct sample){ 0 };
}

const struct sample_mount *sample_mount_find(const struct sample *sample, dev_t device)
{
	size_t i;

	for (i = 0; i < sample->n_mounts; ++i) {
		if (sample->mounts[i].mount.device == device && sample->mounts[i].why[0] == 0)
			return &sample->mounts[i];
	}
	return NULL;
}

const struct view_disk *sample_disk_find(const struct sample_mount *mount, const char *name)
{
	size_t i;

	for (i = 0; i < mount->view.n_disks; ++i) {
		if (strcmp(mount->view.disks[i].name, name) == 0)
			return &mount->view.disks[i];
	}
	return NULL;
}
