#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Openers: which programs have a block device open
 *
 * For a message: whoever has to end something should be told what.
 *
 * Ownership: the text is the caller's to free.
 * Locking:   none.
 * Errors:    none; processes that may not be looked into are passed over.
 * Cost:      a look at every descriptor of every process.
 */

#include <sys/types.h>

/* "dd (pid 12), sh (pid 34)", or "nobody that can be seen from here". */
char *openers_text(dev_t device);
