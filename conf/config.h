#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Configuration: text to disks
 *
 * An INI file. [zramfs] is the daemon, [defaults] is what disks are that do not say otherwise,
 * wherever in the file it stands; every other section is a disk of that name, an empty one too. So
 * no disk of a configuration is called zramfs or defaults. The keys of disks are the rows of the
 * attribute table that are marked so. The order of keys means nothing.
 *
 * Ownership: config_load() and config_default() give a configuration to be freed.
 * Locking:   none; one thread.
 * Errors:    -EINVAL for text that is refused, the errno of a file that cannot be read, -ENOMEM.
 *            What lines and names are wrong is found first, in the order of the file, then what
 *            values are.
 * Cost:      one pass over the text; less than 1 KiB a disk.
 */

#include <stdio.h>

#include "attr.h"

/* Of [zramfs]. */
#define CONFIG_THREADS_MAX 64u

/* Room for most messages; a longer one is cut. */
#define CONFIG_MESSAGE_MAX 1024u

struct config {
	unsigned int n_threads;       /* 0: one for each core */
	struct zr_disk_spec defaults; /* size 0 unless [defaults] has one; no name */
	size_t n_disks;
	struct zr_disk_spec *disks; /* in the order of the file */
};

/*
 * @ram_bytes: what a percentage is of; a disk without a size gets a quarter of it. 0: unknown.
 * @message:   one line without its newline, on errors alone:
 *             "path:line: key = value: what is wrong; allowed: what is".
 */
int config_load(struct config **configp, const char *path, uint64_t ram_bytes, uint32_t uid,
		uint32_t gid, char *message, size_t n_message);

/* What runs without a file: zram0, a quarter of RAM. Return: 0, -EINVAL where RAM is unknown,
 * -ENOMEM. */
int config_default(struct config **configp, uint64_t ram_bytes, uint32_t uid, uint32_t gid);

/* The configuration as text, that loads again to the same, whatever the RAM then is. The owner is
 * not in it. Errors are left in ferror(). */
void config_print(const struct config *config, FILE *file);

struct config *config_free(struct config *config);

static inline void config_freep(struct config **configp)
{
	*configp = config_free(*configp);
}
