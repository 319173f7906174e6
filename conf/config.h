#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Configuration: text to disks
 *
 * An INI file. [zramfs] is the daemon, [defaults] is what disks are that do not say otherwise,
 * wherever in the file it stands; every other section is a disk of that name, an empty one too. So
 * no disk of a configuration is called zramfs or defaults. The keys are the rows of the attribute
 * table that are marked so; aliases.h has those of other programs. The order of keys means nothing.
 *
 * Ownership: config_load() and config_default() give a configuration to be freed.
 * Locking:   none; one thread.
 * Errors:    -EINVAL for text that is refused, the errno of a file that cannot be read, -ENOMEM.
 *            What lines are wrong is found first, then what names are, in the order of the file,
 *            then what values are.
 * Cost:      one pass over the text; less than 1 KiB a disk.
 */

#include <stdio.h>

#include "attr.h"
#include "warnings.h"

/* Room for most messages; a longer one is cut. */
#define CONFIG_MESSAGE_MAX 1024u

/* What keys say, of this or of all, apart from what is left as it is: a bit for each row of the
 * attribute table. */
typedef struct {
	uint64_t bits[ZR_ATTR_INDEX_MAX / 64 + 1];
} config_said;

struct config_disk {
	struct zr_disk_spec spec;
	config_said said;
};

struct config {
	struct zr_daemon_spec daemon;
	config_said daemon_said;
	struct zr_disk_spec defaults; /* size 0 unless [defaults] has one; no name */
	config_said defaults_said;
	size_t n_disks;
	struct config_disk *disks; /* in the order of the file */
	struct warnings warnings;
};

/*
 * @ram_bytes: what a percentage is of; a disk without a size gets a quarter of it. 0: unknown.
 * @message:   one line without its newline, on errors alone:
 *             "path:line: key = value: what is wrong; allowed: what is".
 */
int config_load(struct config **configp, const char *path, uint64_t ram_bytes, uint32_t uid,
		uint32_t gid, char *message, size_t n_message);

/* The same of an open file, which stays the caller's. @path: what messages say, and whose dialect
 * it is. */
int config_load_stream(struct config **configp, FILE *file, const char *path, uint64_t ram_bytes,
		       uint32_t uid, uint32_t gid, char *message, size_t n_message);

/* What runs without a file: zram0, a quarter of RAM. Return: 0, -EINVAL where RAM is unknown,
 * -ENOMEM. */
int config_default(struct config **configp, uint64_t ram_bytes, uint32_t uid, uint32_t gid);

/* Is the attribute of that index said? */
static inline bool config_says(const config_said *said, unsigned int attr_index)
{
	return said->bits[attr_index / 64] >> attr_index % 64 & 1;
}

/* NULL if there is none of the name. */
const struct config_disk *config_find(const struct config *config, const char *name);

/* The configuration as text, in keys of ours, that loads again to the same, whatever the RAM then
 * is. The owner is not in it. Errors are left in ferror(). */
void config_print(const struct config *config, FILE *file);

struct config *config_free(struct config *config);

static inline void config_freep(struct config **configp)
{
	*configp = config_free(*configp);
}
