#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pressure: whether memory is short in the system, as the kernel tells
 *
 * Ownership: a descriptor, as long as it is wanted.
 * Locking:   none; any thread may read.
 * Errors:    none: a kernel that does not tell (before Linux 4.20, or with psi=0) is one of which it
 *            is not known.
 * Cost:      one system call a look, and no memory.
 */

struct pressure {
	int fd; /* -1: it does not tell */
};

void pressure_open(struct pressure *pressure);
void pressure_close(struct pressure *pressure);

/* Share of the last ten seconds in which somebody waited for memory, in hundredths of percent;
 * negative: not known. @context: struct pressure. */
int pressure_read(void *context);
