#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Hurry: who is waited for by those who wait for memory
 *
 * While nobody serves, nothing is swapped out, and no memory becomes free: who is to serve next
 * gets what it needs only if it runs before others, and is given what the kernel keeps back for
 * those who must go on (half of vm.min_free_kbytes). Both come with real-time priority, here the
 * lowest. A thread that is started in a hurry is in a hurry, until it says that it is not.
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    -EPERM without CAP_SYS_NICE, which is no harm but where memory is short.
 * Cost:      a system call.
 */

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

/* @thread: its number, of any process that is ours; 0: the calling one. Return: 0 or -errno. */
int hurry(pid_t thread, bool on);

/* All threads that @process has, and those that they will start, until it says that they are not.
 * Wants memory of the kernel's for /proc. */
void hurry_all(pid_t process);

/* @thread, of this process, is not any more. */
void hurry_end(pthread_t thread);

/* Is the calling thread? */
bool in_hurry(void);
