/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "hot.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "ops.h"

int hot_add(struct fs *fs, struct op *op, uint32_t uid, uint32_t gid)
{
	char why[ZR_ATTR_WHY_MAX];
	struct zr_disk *disk = NULL;
	struct zr_disk_spec spec;
	int r;

	fs_defaults(fs, &spec);
	r = zr_attr_parse_line(&spec, op->text, why);
	if (r < 0) {
		log_line("hot_add: %s", why);
		return r;
	}

	spec.attrs.uid = uid;
	spec.attrs.gid = gid;
	r = ops_make_disk(fs, op, &spec, &disk);
	if (r < 0) {
		log_line("hot_add: disk %s: cannot make it: %s", spec.attrs.name, strerror(-r));
		return r;
	}
	zr_disk_unpin(fs->store, disk);
	fs_directory_changed(fs);
	return 0;
}

int hot_remove(struct fs *fs, struct op *op)
{
	const char *name = op->text;
	struct zr_disk *disk;
	const char *why;
	int r;

	r = zr_disk_name_check(name, &why);
	if (r < 0) {
		log_line("hot_remove: %s: %s", name, why);
		return r;
	}

	disk = zr_store_find(fs->store, name);
	if (!disk)
		return -ENODEV;
	r = ops_remove_disk(fs, op, disk, name);
	zr_disk_unpin(fs->store, disk);
	return r == -ENOENT ? -ENODEV : r;
}
