#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * System files: small texts of /sys and /proc
 *
 * Ownership: the caller's memory.
 * Locking:   none.
 * Errors:    -errno of open(2), read(2) or write(2); -EINVAL for a number that is none.
 * Cost:      three system calls.
 */

#include <stdint.h>
#include <stdio.h>

/* The text without its last newline; what does not fit is cut off. Return: its length. */
__attribute__((format(printf, 3, 4))) int sysfile_read(char *text, size_t n_text,
						       const char *format, ...);

/* The number it begins with. */
__attribute__((format(printf, 2, 3))) int sysfile_number(int64_t *numberp, const char *format, ...);

/* One write(2). */
__attribute__((format(printf, 2, 3))) int sysfile_write(const char *text, const char *format, ...);

/* Octal escapes (\040) of /proc/mounts and /proc/swaps into bytes, in place. */
void sysfile_unescape(char *text);
