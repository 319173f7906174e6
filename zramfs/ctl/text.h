#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Text: what others wrote, for people to look at
 *
 * Names, paths and files may hold what a terminal would obey. A control character becomes a
 * question mark, also one of U+0080 to U+009F, and so does a byte that is no UTF-8.
 *
 * Ownership: the caller's; it is changed in place, and never gets longer.
 * Locking:   none.
 * Errors:    none.
 * Cost:      one pass.
 */

/* One line of it. Return: @text. */
char *text_clean(char *text);

/* Newlines and tabs stay. Nothing changes where standard output is no terminal: programs want what
 * there is. Return: @text. */
char *text_for_output(char *text);
