/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Reads 4 KiB of a file every millisecond, and says when each answer came: nanoseconds of the
 * monotonic clock, eight bytes each, on standard output. What the gaps mean is for whoever knows
 * when a worker was killed.
 */

#include "load.h"
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

#define PERIOD_NS 1000000

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wait_until(int64_t at_ns)
{
	const struct timespec at = { .tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static int file;
static uint64_t n_pages;

static void run(unsigned int no)
{
	struct rng rng = { .state = (uint64_t)now_ns() };
	uint8_t *page = load_buffer(PAGE_BYTES);
	int64_t next_ns = now_ns();

	while (load_goes_on()) {
		const uint64_t at = rng_below(&rng, n_pages);
		int64_t done_ns;

		load_asks(no, "read of page", at);
		if (pread(file, page, PAGE_BYTES, (off_t)(at * PAGE_BYTES)) != PAGE_BYTES)
			load_fail("read of page %llu: %s", (unsigned long long)at, strerror(errno));
		load_has(no);
		done_ns = now_ns();
		if (fwrite(&done_ns, sizeof(done_ns), 1, stdout) != 1)
			load_fail("standard output: %s", strerror(errno));

		/* A period that a pause swallowed is not made up for. */
		next_ns = next_ns + PERIOD_NS > done_ns ? next_ns + PERIOD_NS : done_ns;
		wait_until(next_ns);
	}
}

int main(int argc, char **argv)
{
	off_t end;

	if (argc != 2)
		load_fail("usage: pause FILE");
	load_init();
	file = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
	end = file < 0 ? -1 : lseek(file, 0, SEEK_END);
	if (end < PAGE_BYTES)
		load_fail("%s: %s", argv[1], end < 0 ? strerror(errno) : "is empty");
	n_pages = (uint64_t)end / PAGE_BYTES;
	load_run(1, run);
	return EXIT_SUCCESS;
}
