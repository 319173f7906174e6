/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * ZR_TEST_PAGE=16384 or 65536 in the environment: in this test pages of the system have that size.
 * Linked with every test of the engine. Before main(), since a page has one size for as long as a
 * process lives.
 */

#include <stdio.h>
#include <stdlib.h>

#include "system.h"

/* What meson takes for a test that was skipped. */
#define SKIPPED 77

__attribute__((constructor)) static void page_simulate(void)
{
	const char *text = getenv("ZR_TEST_PAGE");

	if (!text || !*text)
		return;
#if ZR_DEBUG_LEVEL >= 1
	zr_system_page_simulate((uint32_t)strtoul(text, NULL, 10));
#else
	printf("skipped: ZR_TEST_PAGE wants a build with debug_level 1 or 2\n");
	exit(SKIPPED);
#endif
}
