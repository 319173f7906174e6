/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* write(2) and not stdio: the heap may be what is broken. */
static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

_Noreturn void zr_assert_failed(const char *condition, const char *file, int line)
{
	char digits[12] = "00000000000";
	char *at = digits + sizeof(digits) - 1;

	do {
		*--at = (char)('0' + line % 10);
		line /= 10;
	} while (line > 0);

	say(file);
	say(":");
	say(at);
	say(": assertion failed: ");
	say(condition);
	say("\n");
	abort();
}
