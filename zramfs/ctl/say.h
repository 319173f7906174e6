#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Say: what zramfsctl has to say when something is wrong
 *
 * Ownership: none.
 * Locking:   one thread.
 * Errors:    none; what cannot be said is lost. say_end() tells of standard output.
 * Cost:      a system call.
 */

/* "zramfsctl: ..." and a newline to standard error: one line, whatever is in a name. */
__attribute__((format(printf, 1, 2))) void say_error(const char *format, ...);

/* "cannot allocate memory", and the end: there is nothing that a small program can do then. */
__attribute__((noreturn)) void say_no_memory(void);

/* strerror(), but for what has a meaning of its own under a zramfs mount. @error is positive. */
const char *say_reason(int error);

/* asprintf() that does not fail. The text is the caller's to free. */
__attribute__((format(printf, 1, 2))) char *say_text(const char *format, ...);

/* What others wrote, before it is printed: in place, what a terminal would obey becomes question
 * marks, but newlines and tabs. Nothing changes where standard output is no terminal: programs want
 * what there is. Return: @text. */
char *say_for_output(char *text);

/* Was all that went to standard output written? Return: the exit status; @status if it was. */
int say_end(int status);
