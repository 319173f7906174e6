#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Detach: from the terminal, once all is well
 *
 * The command returns when the mount is ready or when it is known why it is not: the parent waits
 * for its child, which keeps the terminal for its errors until then.
 *
 * Ownership: the child holds the pipe's end until it is ready.
 * Locking:   none; before any thread.
 * Errors:    -errno.
 * Cost:      one fork.
 */

#include <stdbool.h>

struct detach {
	int to_parent; /* -1: in the foreground */
};

/* Go on in a child, unless @foreground. The parent exits here, with 0 or the child's status. */
int detach_begin(struct detach *detach, bool foreground);

/* Ready: leave the terminal and let the parent go. Return: 0, or -EPIPE if it was killed meanwhile.
 */
int detach_ready(struct detach *detach);

/* Leave the terminal alone, without anybody waiting for it. */
void detach_leave(void);
