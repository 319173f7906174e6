/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static bool continues(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Bytes of the character that begins here; 0 for what is none, or a control character. */
static size_t printable_length(const char *text)
{
	const unsigned char lead = (unsigned char)text[0], next = (unsigned char)text[1];
	const size_t n = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	size_t i;

	if (lead < ' ' || lead == 0x7f || lead > 0xf4)
		return 0;
	for (i = 1; i < n; ++i) {
		if (!continues(text[i]))
			return 0;
	}
	/* Longer than need be, halves of a pair, beyond the last one; controls. */
	if ((lead == 0xe0 && next < 0xa0) || (lead == 0xed && next >= 0xa0) ||
	    (lead == 0xf0 && next < 0x90) || (lead == 0xf4 && next >= 0x90) ||
	    (lead == 0xc2 && next < 0xa0))
		return 0;
	return n;
}

static char *clean(char *text, const char *stays)
{
	const char *from = text;
	char *to = text;
	size_t n;

	while (*from) {
		n = strchr(stays, *from) ? 1 : printable_length(from);
		if (n > 0) {
			memmove(to, from, n);
		} else {
			*to = '?';
			n = (unsigned char)*from == 0xc2 && continues(from[1]) ? 2 : 1;
		}
		to += *to == '?' ? 1 : n;
		from += n;
	}
	*to = 0;
	return text;
}

char *text_clean(char *text)
{
	return clean(text, "");
}

char *text_for_output(char *text)
{
	return isatty(STDOUT_FILENO) ? clean(text, "\n\t") : text;
}
