#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * In use: why a disk is refused to go or to shrink
 *
 * Ownership: the text is the caller's to free.
 * Locking:   none.
 * Errors:    none.
 * Cost:      that of loops_read().
 */

#include "name.h"

/* "in use: /dev/loop0 is attached to it, and is [SWAP]; zramfsctl detach swap0", or that somebody
 * has it open. */
char *in_use_text(const struct name *name);
