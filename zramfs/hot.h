#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Hot: disks made and removed by a line of text
 *
 * What is written to hot_add and hot_remove. Why a line is refused is said in the log, since
 * write(2) can only say an errno.
 *
 * Ownership: the text is the caller's.
 * Locking:   none here; see change.h.
 * Errors:    adding: -EINVAL, -ERANGE, -EEXIST, -ENOSPC, -ENOMEM; removing: -EINVAL for what is no
 *            name, -ENODEV for what is not there, -EBUSY for what is in use.
 * Cost:      removing drops all that the disk holds.
 */

#include "request.h"

/* "name attribute=value ...", the text of @op: a disk with the configured defaults, which @uid and
 * @gid own. */
int hot_add(struct fs *fs, struct op *op, uint32_t uid, uint32_t gid);

/* The text of @op is a name. */
int hot_remove(struct fs *fs, struct op *op);
