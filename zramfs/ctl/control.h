#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Control: the files below .control/, and .stats
 *
 * Ownership: text that is read is the caller's to free.
 * Locking:   none.
 * Errors:    -errno, after one line that names the disk, the attribute, the value and what is
 *            allowed; -ENOENT, too, where the daemon is older than this program.
 * Cost:      a request to the daemon; writing an attribute that is ZR_ATTR_LONG may take long.
 */

#include "attr.h"
#include "name.h"

/* Without its last newline. */
int control_read(const struct name *name, const struct zr_attr *attr, char **textp);

/* Each line to standard output, behind "ATTRIBUTE=": some are as long as the disk is large. */
int control_copy(const struct name *name, const struct zr_attr *attr);

int control_write(const struct name *name, const struct zr_attr *attr, const char *text);

/* What these errors mean of a backing file. NULL: what they mean else. */
const char *control_backing_text(const struct zr_attr *attr, int error);

/* hot_add, hot_remove: @line into a file of .control itself. Nothing is said. */
int control_write_line(const struct name *name, const char *file, const char *line);

/* Of all disks of the mount, which .stats shows. Nothing is said. */
int control_reset_counters(const struct mount *mount);

/* Whether the disk has a size. Return: 1, 0 or -errno. */
int control_has_size(const struct name *name);
