/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "size.h"

#include <errno.h>
#include <string.h>

/* More percent than this is a slip of the finger. */
#define PERCENT_MAX 10000u

/* A number as it was read. One too large is still read to its end: what follows may be worse. */
struct number {
	uint64_t value;
	unsigned int base;
	bool overflowed;
};

/* The C locale's, whatever the locale. Return: the digit's value, or 16 for what is none. */
static unsigned int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned int)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned int)(c - 'A') + 10;
	return 16;
}

/* Not strtoull(), which takes signs and leading white space. Return: where the number ends. */
static const char *number_read(const char *text, struct number *number)
{
	*number = (struct number){ .base = 10 };

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X') && digit_value(text[2]) < 16) {
		number->base = 16;
		text += 2;
	} else if (text[0] == '0' && digit_value(text[1]) < 10) {
		number->base = 8;
	}

	for (; digit_value(*text) < number->base; ++text) {
		number->overflowed |= __builtin_mul_overflow(number->value, number->base,
							     &number->value);
		number->overflowed |= __builtin_add_overflow(number->value, digit_value(*text),
							     &number->value);
	}

	return text;
}

/* Return: the shift a unit letter stands for, or 0. */
static unsigned int unit_shift(char c)
{
	static const char units[] = "KMGTPE";
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');

	at = c ? strchr(units, c) : NULL;
	return at ? 10u * (unsigned int)(at - units + 1) : 0;
}

static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\n\v\f\r")] == '\0';
}

static int scaled(const struct number *number, unsigned int shift, uint64_t *bytesp)
{
	uint64_t bytes;

	if (number->overflowed ||
	    __builtin_mul_overflow(number->value, UINT64_C(1) << shift, &bytes))
		return -ERANGE;

	*bytesp = bytes;
	return 0;
}

static int percent_of(const struct number *number, uint64_t whole_bytes, uint64_t *bytesp)
{
	uint64_t bytes;

	/* "050%" would be 40 of them. Nobody means that. */
	if (whole_bytes == 0 || number->base != 10)
		return -EINVAL;
	if (number->overflowed || number->value > PERCENT_MAX)
		return -EINVAL;

	/* Exact, and overflows only when the result does: whole = 100 * (whole / 100) + rest. */
	if (__builtin_mul_overflow(whole_bytes / 100, number->value, &bytes) ||
	    __builtin_add_overflow(bytes, whole_bytes % 100 * number->value / 100, &bytes))
		return -ERANGE;

	*bytesp = bytes;
	return 0;
}

int zr_size_parse(const char *text, uint64_t percent_of_bytes, uint64_t *bytesp)
{
	struct number number;
	unsigned int shift;
	const char *at;

	at = number_read(text, &number);
	if (at == text)
		return -EINVAL;

	if (*at == '%')
		return is_blank(at + 1) ? percent_of(&number, percent_of_bytes, bytesp) : -EINVAL;

	shift = unit_shift(*at);
	if (!is_blank(shift ? at + 1 : at))
		return -EINVAL;

	return scaled(&number, shift, bytesp);
}
