/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Fills a file of a mount with pages that do not compress, so that as much is stored as is written;
 * or checks that they are all there.
 */

#include "load.h"
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

#define N_THREADS   2u
#define RANGE_PAGES 256u
#define RANGE_BYTES (RANGE_PAGES * PAGE_BYTES)
#define MIB_MAX     16384u

static const struct page_name first_page = { .key = PAGE_KEY_HUGE };
static unsigned int n_ranges;
static _Atomic unsigned int next_range;
static bool checks;
static int file;

static struct page_name name_of(unsigned int range, unsigned int i)
{
	return (struct page_name){ .key = first_page.key, .no = range * RANGE_PAGES + i };
}

static void range_write(unsigned int range, uint8_t *bytes)
{
	unsigned int i;
	ssize_t n;

	for (i = 0; i < RANGE_PAGES; ++i)
		page_make(bytes + i * PAGE_BYTES, name_of(range, i), 1);
	n = pwrite(file, bytes, RANGE_BYTES, (off_t)range * RANGE_BYTES);
	if (n != RANGE_BYTES)
		load_fail("write at MiB %u: %s", range, n < 0 ? strerror(errno) : "short");
}

static void range_check(unsigned int range, uint8_t *bytes)
{
	unsigned int i;
	ssize_t n;

	n = pread(file, bytes, RANGE_BYTES, (off_t)range * RANGE_BYTES);
	if (n != RANGE_BYTES)
		load_fail("read at MiB %u: %s", range, n < 0 ? strerror(errno) : "short");
	for (i = 0; i < RANGE_PAGES; ++i) {
		const char *wrong = page_check(bytes + i * PAGE_BYTES, name_of(range, i), 1, 1,
					       false, NULL);

		if (wrong)
			load_fail("page %u %s", range * RANGE_PAGES + i, wrong);
	}
}

static void run(unsigned int no)
{
	uint8_t *bytes = load_buffer(RANGE_BYTES);
	unsigned int range;

	while (load_goes_on() && (range = atomic_fetch_add(&next_range, 1)) < n_ranges) {
		load_asks(no, checks ? "read at MiB" : "write at MiB", range);
		if (checks)
			range_check(range, bytes);
		else
			range_write(range, bytes);
		load_has(no);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3 || argc > 4 || (argc == 4 && strcmp(argv[3], "check") != 0))
		load_fail("usage: fill FILE MIB [check]");
	load_init();
	checks = argc == 4;
	n_ranges = load_number(argv[2], MIB_MAX);
	file = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (file < 0)
		load_fail("%s: %s", argv[1], strerror(errno));
	load_run(N_THREADS, run);
	printf("%u MiB\n", n_ranges);
	return EXIT_SUCCESS;
}
