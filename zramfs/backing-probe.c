/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "backing-probe.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "below.h"

#define SYS_LOOPS "/sys/block/loop*/loop/backing_file"

static void probe_freep(blkid_probe *probep)
{
	blkid_free_probe(*probep);
}

/* What was found last. Return: is it anything but swap? */
static bool signature_name(blkid_probe probe, bool *is_swapp, char what[BACKING_PROBE_WHAT_MAX])
{
	const char *type, *usage = "";

	if (blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL) == 0) {
		snprintf(what, BACKING_PROBE_WHAT_MAX, "a partition table (%s)", type);
		return true;
	}
	if (blkid_probe_lookup_value(probe, "TYPE", &type, NULL) != 0)
		return false;
	if (strcmp(type, "swap") == 0) {
		*is_swapp = true;
		return false;
	}
	(void)blkid_probe_lookup_value(probe, "USAGE", &usage, NULL);
	snprintf(what, BACKING_PROBE_WHAT_MAX,
		 strcmp(usage, "filesystem") == 0 ? "a filesystem (%s)" : "something (%s)", type);
	return true;
}

int backing_probe_signatures(int fd, uint64_t size_bytes, bool *is_swapp,
			     char what[BACKING_PROBE_WHAT_MAX])
{
	ZR_CLEANUP(probe_freep) blkid_probe probe = blkid_new_probe();
	int r;

	*is_swapp = false;
	if (!probe)
		return -ENOMEM;
	if (blkid_probe_set_device(probe, fd, 0, (blkid_loff_t)size_bytes) < 0 ||
	    blkid_probe_enable_superblocks(probe, 1) < 0 ||
	    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE) < 0 ||
	    blkid_probe_enable_partitions(probe, 1) < 0)
		return -EIO;
	/* Each call finds one thing more. */
	while ((r = blkid_do_probe(probe)) == 0)
		if (signature_name(probe, is_swapp, what))
			return 1;
	return r < 0 ? -EIO : 0;
}

int backing_probe_is_empty(int fd)
{
	uint8_t bytes[4096];
	uint64_t offset = 0;
	ssize_t n, i;

	while (offset < BACKING_PROBE_ZEROS) {
		n = pread(fd, bytes, sizeof(bytes), (off_t)offset);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		for (i = 0; i < n; ++i)
			if (bytes[i] != 0)
				return 0;
		offset += (uint64_t)n;
	}
	return 1;
}

/* A loop device would say the numbers of its file, but ask that for them, and the file may be ours;
 * its path the kernel has itself. */
static bool is_over(const char *sys_path, const struct stat *st, dev_t mount_device)
{
	ZR_CLEANUP(zr_freep) char *path = NULL;
	struct below_file file;
	size_t n_path = 0;
	ssize_t n = -1;
	FILE *text;
	bool is;

	text = fopen(sys_path, "re");
	if (text) {
		n = getdelim(&path, &n_path, 0, text);
		fclose(text);
	}
	if (n <= 0)
		return false;
	if (path[n - 1] == '\n')
		path[n - 1] = 0;
	if (below_find(path, mount_device, &file) < 0)
		return false;
	is = file.exists && file.st.st_dev == st->st_dev && file.st.st_ino == st->st_ino;
	below_file_close(&file);
	return is;
}

bool backing_probe_loop(const struct stat *st, dev_t mount_device,
			char name[BACKING_PROBE_WHAT_MAX])
{
	glob_t found = { 0 };
	bool is = false;
	size_t i;

	if (glob(SYS_LOOPS, GLOB_NOSORT, NULL, &found) == 0)
		for (i = 0; i < found.gl_pathc && !is; ++i)
			if (is_over(found.gl_pathv[i], st, mount_device))
				is = sscanf(found.gl_pathv[i], "/sys/block/%31[^/]", name) == 1;
	globfree(&found);
	return is;
}
