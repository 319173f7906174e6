#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Text: characters of what others wrote
 *
 * Names of disks, paths and lines of a configuration may hold any byte. What goes to a terminal or
 * a log must not move it, and what is JSON must be UTF-8.
 *
 * Ownership: the caller's.
 * Locking:   none.
 * Errors:    none.
 * Cost:      one pass.
 */

#include "base.h"

/* Bytes of the UTF-8 character that a text begins with; 0 if it begins with none. */
size_t zr_text_character(const char *text);

/* In place, and never longer: control characters, U+0080 to U+009F too, and bytes that are no UTF-8
 * become question marks; those in @stays stay. Return: @text. */
char *zr_text_clean(char *text, const char *stays);
