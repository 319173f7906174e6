#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Log: what the daemon has to say
 *
 * One line at a time, to standard error until the daemon has detached from its terminal, to
 * syslog(3) from then on.
 *
 * Ownership: none.
 * Locking:   any thread; but no thread that serves disk requests, since syslog may block.
 * Errors:    none; what cannot be said is lost.
 * Cost:      a system call.
 */

#include <stdarg.h>

/* Writes "zramfs: ..." and a newline. What others have written may be in it: control characters do
 * not get through. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/* The terminal is gone. */
void log_to_syslog(void);

/* Take over what libfuse would print: the last line is kept for log_fuse_reason(). With @debug
 * all of it is printed too. */
void log_catch_fuse(int debug);

#define LOG_REASON_BYTES 256u

/* The last thing libfuse complained about; @otherwise if it never did. */
void log_fuse_reason(char reason[LOG_REASON_BYTES], const char *otherwise);
