#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Change: what happens to disks exactly once
 *
 * Each of these has a record (records.h) from before its effect until its request is answered, and
 * what must not be done to a disk in use claims it first (handles.h). What may wait comes before the
 * records' lock, and what was seen before is looked at again under it.
 *
 * Ownership: the record is the op's; who serves the op ends it.
 * Locking:   takes the records' lock; the caller holds none, nor a claim but what is said.
 * Errors:    those of the engine, and -EBUSY for a disk in use. On any of them nothing changed.
 * Cost:      waits 200 ms at most for a disk in use, and for another change.
 */

#include "attr.h"
#include "request.h"

/* A new disk, pinned in *diskp. Return: also -EEXIST. */
int change_make(struct fs *fs, struct op *op, const struct zr_disk_spec *spec,
		struct zr_disk **diskp);

/* Remove @disk, which is called @name. Return: also -ENOENT if it went meanwhile, or was renamed. */
int change_remove(struct fs *fs, struct op *op, struct zr_disk *disk, const char *name);

/* Remove @disk again, which nobody was told of, unless somebody has found it and opened it. */
int change_withdraw(struct fs *fs, struct zr_disk *disk);

/* Give @disk another name; a disk that has it goes, unless @no_replace: -EEXIST then. */
int change_rename(struct fs *fs, struct op *op, struct zr_disk *disk, const char *name,
		  bool no_replace);

/* Make @disk, which the caller has claimed, @size_bytes large. @n_own: handles on it that do not
 * count. @fh: the one that was opened with it, or 0. */
int change_truncate(struct fs *fs, struct op *op, struct zr_disk *disk, uint64_t size_bytes,
		    unsigned int n_own, uint64_t fh);

/* Write the text of @op to the control file of @attr. */
int change_attr(struct fs *fs, struct op *op, const struct zr_attr *attr,
		const struct zr_attr_target *target);
