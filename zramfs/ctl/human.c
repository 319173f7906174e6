/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "human.h"

#include <inttypes.h>
#include <stdio.h>

/* Tenths of a unit: a decimal only where it is not 0. */
static void tenths_print(char text[HUMAN_MAX], uint64_t tenths, const char *unit)
{
	if (tenths % 10 == 0)
		snprintf(text, HUMAN_MAX, "%" PRIu64 "%s", tenths / 10, unit);
	else
		snprintf(text, HUMAN_MAX, "%" PRIu64 ".%u%s", tenths / 10,
			 (unsigned int)(tenths % 10), unit);
}

const char *human_size(char text[HUMAN_MAX], uint64_t n_bytes)
{
	static const char units[] = "BKMGTPE";
	unsigned int i = 0;
	uint64_t whole = n_bytes, rest = 0, tenths;

	while (whole >= 1024 && units[i + 1]) {
		rest = whole % 1024;
		whole /= 1024;
		++i;
	}
	/* What was dropped below the rest cannot change a tenth that is rounded to the nearest,
	 * but for a tie. */
	tenths = whole * 10 + (rest * 10 + 512) / 1024;
	if (tenths >= 10240 && units[i + 1]) {
		tenths = 10;
		++i;
	}
	tenths_print(text, tenths, (char[2]){ units[i], 0 });
	return text;
}

const char *human_time(char text[HUMAN_MAX], uint64_t ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	uint64_t tenths = ns > UINT64_MAX / 10 ? UINT64_MAX : ns * 10;
	unsigned int i = 0;

	/* From 999.5 on it would be 1000. */
	while (tenths >= 9995 && i + 1 < sizeof(units) / sizeof(units[0])) {
		tenths = tenths / 1000 + (tenths % 1000 >= 500);
		++i;
	}
	if (tenths >= 100)
		tenths = (tenths + 5) / 10 * 10;
	tenths_print(text, tenths, units[i]);
	return text;
}
