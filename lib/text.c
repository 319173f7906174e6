/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "text.h"

#include <string.h>

size_t zr_text_character(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	const size_t n_more = at[0] < 0x80   ? 0
			      : at[0] < 0xc2 ? SIZE_MAX /* in the middle, or needlessly long */
			      : at[0] < 0xe0 ? 1
			      : at[0] < 0xf0 ? 2
			      : at[0] < 0xf5 ? 3
					     : SIZE_MAX;
	size_t i;

	if (n_more == SIZE_MAX || at[0] == 0)
		return 0;
	for (i = 1; i <= n_more; ++i) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Needlessly long, a half of a surrogate pair, or above U+10FFFF. */
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
	    (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return n_more + 1;
}

static bool is_control(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	return at[0] < ' ' || at[0] == 0x7f || (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0);
}

char *zr_text_clean(char *text, const char *stays)
{
	const char *from = text;
	char *to = text;
	size_t n;

	while (*from) {
		n = zr_max(zr_text_character(from), 1);
		if (strchr(stays, *from) || (!is_control(from) && zr_text_character(from) > 0)) {
			memmove(to, from, n);
			to += n;
		} else {
			*to++ = '?';
		}
		from += n;
	}
	*to = 0;
	return text;
}
