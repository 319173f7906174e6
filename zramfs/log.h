#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Log: what the daemon has to say
 *
 * One line at a time, to standard error until the daemon has detached from its terminal, to the
 * system's log from then on. Who reads that may be swapped out to us: nothing waits for it.
 *
 * Ownership: none.
 * Locking:   any thread; one mutex of its own.
 * Errors:    none; what cannot be said at once is lost, but for standard error before
 *            log_never_block().
 * Cost:      a system call or two.
 */

#include <stdarg.h>

/* Where the system's log is read. Tests have another one. */
#ifndef LOG_SOCKET
#define LOG_SOCKET "/dev/log"
#endif

/* Writes "zramfs: ..." and a newline. What others have written may be in it: control characters do
 * not get through. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/* The terminal is gone. */
void log_to_syslog(void);

/* From now on who does not read standard error stops nobody. Before there are threads. */
void log_never_block(void);

/* Take over what libfuse would print: the last line is kept for log_fuse_reason(). With @debug
 * all of it is printed too. */
void log_catch_fuse(int debug);

#define LOG_REASON_BYTES 256u

/* The last thing libfuse complained about; @otherwise if it never did. */
void log_fuse_reason(char reason[LOG_REASON_BYTES], const char *otherwise);
