/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "test.h"

#include "text.h"

static void test_utf8_characters(void)
{
	static const struct {
		const char *text;
		size_t n;
	} cases[] = {
		{ "", 0 },
		{ "a", 1 },
		{ "\x7f", 1 },
		{ "\x80", 0 },
		{ "\xbf", 0 },
		{ "\xc0\x80", 0 }, /* needlessly long */
		{ "\xc1\xbf", 0 },
		{ "\xc2\x80", 2 },
		{ "\xc2", 0 },
		{ "\xc2z", 0 },
		{ "\xdf\xbf", 2 },
		{ "\xe0\x9f\xbf", 0 },
		{ "\xe0\xa0\x80", 3 },
		{ "\xe0\xa0", 0 },
		{ "\xed\x9f\xbf", 3 },
		{ "\xed\xa0\x80", 0 }, /* half a pair */
		{ "\xee\x80\x80", 3 },
		{ "\xef\xbf\xbf", 3 },
		{ "\xf0\x8f\xbf\xbf", 0 },
		{ "\xf0\x90\x80\x80", 4 },
		{ "\xf0\x90\x80", 0 },
		{ "\xf4\x8f\xbf\xbf", 4 },
		{ "\xf4\x90\x80\x80", 0 }, /* above U+10FFFF */
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xff", 0 },
	};
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(cases); ++i)
		CHECK(zr_text_character(cases[i].text) == cases[i].n);
}

static void test_what_moves_a_terminal(void)
{
	static const struct {
		const char *text, *stays, *cleaned;
	} cases[] = {
		{ "", "", "" },
		{ "plain", "", "plain" },
		{ "\x1b[2J", "", "?[2J" },
		{ "a\nb\tc", "", "a?b?c" },
		{ "a\nb\tc\r", "\n\t", "a\nb\tc?" },
		{ "\x7f\x01", "", "??" },
		{ "\xc2\x9b"
		  "31m",
		  "", "?31m" }, /* one character */
		{ "\xc2\xa0\xc3\xa9\xe2\x82\xac", "", "\xc2\xa0\xc3\xa9\xe2\x82\xac" },
		{ "\xe9t\xc3", "", "?t?" },
		{ "\xed\xa0\x80", "", "???" },
		{ "\xf0\x9f\x98\x80\x1b", "", "\xf0\x9f\x98\x80?" },
	};
	char text[32];
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(cases); ++i) {
		strcpy(text, cases[i].text);
		CHECK(zr_text_clean(text, cases[i].stays) == text);
		CHECK(strcmp(text, cases[i].cleaned) == 0);
	}
}

int main(void)
{
	RUN(test_utf8_characters);
	RUN(test_what_moves_a_terminal);
	return 0;
}
