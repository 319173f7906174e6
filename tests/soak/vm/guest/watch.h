#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Watch: what the guest tells the machine that it runs on, a line a second
 *
 * Three threads of a process that is locked. The watchdog prints the board; it runs before all
 * others, asks the kernel for no memory and waits for nothing but the port, so that a second
 * without its line is a second in which the guest did nothing. The sampler reads what the kernel
 * says of memory and swap, which may take the time it takes: each line says how old its figures
 * are. The listener is the guest's syslog.
 *
 * When neither checker nor hog have done anything for STALL_SECONDS, the watchdog has the kernel
 * print which tasks are blocked, and where.
 *
 * Ownership: the port is open until the process ends.
 * Errors:    the process ends with a line on standard error.
 */

#include "board.h"

#define STALL_SECONDS 15u

void watch_start(struct board *board, const char *port);

/* A line of whoever calls, on the port. */
__attribute__((format(printf, 1, 2))) void watch_say(const char *format, ...);

/* A thread with a small stack of its own, which is locked whole. @priority: of SCHED_FIFO, or 0. */
void watch_thread(void *(*run)(void *), void *argument, int priority);
