/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Fills memory with the pages of a file and touches it all again, in order; prints how long each
 * took as a line of JSON. In a memory cgroup that is smaller, what does not fit goes to swap and
 * comes back. A page that comes back wrong is an error.
 *
 * usage: swap-load PAGES MIB
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base.h"
#include "sync.h"
#include "tool.h"

struct swap_load {
	const uint8_t *pages;
	uint64_t n_pages;
	uint8_t *memory;
	uint64_t n_memory_pages;
};

static void must(bool is_well, const char *what)
{
	if (is_well)
		return;
	tool_error("%s: %s", what, strerror(errno));
	exit(TOOL_EXIT_FAILED);
}

static const uint8_t *page_of(const struct swap_load *load, uint64_t no)
{
	return load->pages + (no % load->n_pages << ZR_PAGE_SHIFT);
}

static void fill(const struct swap_load *load)
{
	uint64_t no;

	for (no = 0; no < load->n_memory_pages; ++no)
		memcpy(load->memory + (no << ZR_PAGE_SHIFT), page_of(load, no), ZR_PAGE_SIZE);
}

/* A word of each page, each time another one. Return: how many differ. */
static uint64_t touch(const struct swap_load *load)
{
	uint64_t no, n_wrong = 0;

	for (no = 0; no < load->n_memory_pages; ++no) {
		const size_t at = no * sizeof(uint64_t) % ZR_PAGE_SIZE;

		n_wrong += memcmp(load->memory + (no << ZR_PAGE_SHIFT) + at, page_of(load, no) + at,
				  sizeof(uint64_t)) != 0;
	}
	return n_wrong;
}

static void begin(struct swap_load *load, const char *path, uint64_t n_mib)
{
	struct tool_input input;

	if (tool_input_open(&input, path) < 0)
		exit(TOOL_EXIT_FAILED);
	load->n_pages = input.n_bytes >> ZR_PAGE_SHIFT;
	load->n_memory_pages = n_mib << (20 - ZR_PAGE_SHIFT);
	load->pages = mmap(NULL, load->n_pages << ZR_PAGE_SHIFT, PROT_READ,
			   MAP_SHARED | MAP_POPULATE, input.fd, 0);
	must(load->pages != MAP_FAILED, path);
	tool_input_close(&input);
	load->memory = mmap(NULL, load->n_memory_pages << ZR_PAGE_SHIFT, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(load->memory != MAP_FAILED, "memory");
	/* Whether there are huge pages to be had must not make one run another. */
	(void)madvise(load->memory, load->n_memory_pages << ZR_PAGE_SHIFT, MADV_NOHUGEPAGE);
}

int main(int argc, char **argv)
{
	const uint64_t n_mib = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	int64_t began_ns, filled_ns, touched_ns;
	struct swap_load load;
	uint64_t n_wrong;

	if (n_mib == 0) {
		tool_error("usage: swap-load PAGES MIB");
		return TOOL_EXIT_USAGE;
	}
	begin(&load, argv[1], n_mib);
	began_ns = zr_monotonic_ns();
	fill(&load);
	filled_ns = zr_monotonic_ns();
	n_wrong = touch(&load);
	touched_ns = zr_monotonic_ns();
	if (n_wrong > 0) {
		tool_error("%llu pages came back wrong", (unsigned long long)n_wrong);
		return TOOL_EXIT_FAILED;
	}
	printf("{\"mib\": %llu, \"fill_s\": %.6f, \"touch_s\": %.6f}\n", (unsigned long long)n_mib,
	       (double)(filled_ns - began_ns) / 1e9, (double)(touched_ns - filled_ns) / 1e9);
	return 0;
}
