#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Expression: a size that is computed
 *
 * The arithmetic of zram-generator's sizes, over the variable ram. From what binds most:
 *
 *   + - !            before a value
 *   ^                from the right
 *   %                the remainder
 *   /  *  -  +       each before the next, from the left
 *   == != < <= > >=  1 or 0
 *   &&  ||
 *
 * Numbers may have a fraction, and an exponent or a suffix. Functions: e() pi() int ceil floor abs
 * sign, log and round with a base or modulus before the value if it is not 10 or 1, min and max of
 * any number of values, sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh.
 *
 * Ownership: plain values.
 * Locking:   none.
 * Errors:    -EINVAL, -ERANGE for what is too large; *error says what is wrong and where.
 * Cost:      one pass, no memory, a bounded stack.
 */

#include <stddef.h>
#include <stdint.h>

enum expression_units {
	EXPRESSION_BYTES, /* ram and the result in bytes; K to E are powers of 1024 */
	EXPRESSION_MB,    /* both in MiB; p n u m k M G T are powers of 1000: zram-generator's */
};

struct expression_error {
	char what[128];
	char name[64]; /* one that is not known; empty: it is something else */
};

/* @ram_bytes: 0 if it is unknown, and then it cannot be asked for. */
int expression_parse(const char *text, enum expression_units units, uint64_t ram_bytes,
		     uint64_t *bytesp, struct expression_error *error);

/* The same without a unit: a plain number. */
int expression_number(const char *text, double *numberp, struct expression_error *error);
