#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Disk parts: what the files of the disk share
 *
 *   disk.c         ranges of bytes, size, recompression
 *   disk-attrs.c   attributes and figures
 *
 * Ownership: as disk.h.
 * Locking:   the caller holds the shape, exclusive for names with _locked.
 * Errors:    as disk.h.
 * Cost:      as disk.h.
 */

#include "disk.h"

const struct zr_attrs *zr_disk_attrs_valid(const struct zr_disk *disk);

/* Its pages get what the attributes say of codecs, while there is none. */
void zr_disk_take_codecs(struct zr_disk *disk);

/* Limits are what the attributes and the backing file make them. With the shape exclusive, or before
 * anybody knows the disk. */
void zr_disk_limits_apply(struct zr_disk *disk);

/* Is anything to be done by age? */
static inline bool zr_attrs_keep_ages(const struct zr_attrs *attrs)
{
	return attrs->idle_age_s != 0 || attrs->recompress_age_s != 0 ||
	       attrs->writeback_age_s != 0;
}

/* Ages that its attributes do not want any more go. */
void zr_disk_ages_apply_locked(struct zr_disk *disk);

/* Does a write that passes a limit wait until colder pages are on the file? With the shape shared. */
bool zr_disk_spills(const struct zr_disk *disk);

/* It was changed now. */
void zr_disk_touch(struct zr_disk *disk);

/* Drop what lies past the size, which is set already. May be repeated. */
void zr_disk_drop_past_size_locked(struct zr_disk *disk);
