/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * How long 4 GiB of stored pages take to be discarded in one request, and how long others wait
 * meanwhile: somebody who reads or writes single pages, of the same disk behind what goes, or of
 * another; and the same without the discard, which is what the machine does anyhow. Both need a
 * core of their own.
 *
 * usage: discard [GIB]
 */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store.h"
#include "tool.h"

#define GIB         (UINT64_C(1) << 30)
#define STORE_BYTES (64 * GIB)
#define LIVE_PAGES  4096u /* that are read or rewritten meanwhile */
#define LOOKS_MAX   (UINT32_C(8) << 20)
#define QUIET_NS    (INT64_C(1000) * 1000 * 1000)

struct probe {
	const char *what;
	struct zr_disk *disk; /* NULL: nobody */
	uint64_t first;       /* page */
	bool writes;
	/* the thread's */
	struct zr_ctx *ctx;
	_Atomic bool stop;
	uint32_t *waits_ns;
	size_t n_waits;
};

static struct zr_store *store;
static struct zr_ctx *ctx;
static uint64_t n_pages;

static void must(int r, const char *what)
{
	if (r == 0)
		return;
	tool_error("%s: %s", what, strerror(-r));
	exit(TOOL_EXIT_FAILED);
}

/* Distinct pages that compress to 40 to 350 bytes. */
static void page_make(uint8_t page[ZR_PAGE_SIZE], uint64_t no)
{
	uint64_t word = no * UINT64_C(0x9e3779b97f4a7c15) + 1;
	const size_t n_words = 4 + no % 40;
	size_t i;

	memset(page, 0, ZR_PAGE_SIZE);
	for (i = 0; i < n_words; ++i) {
		word ^= word >> 29;
		word *= UINT64_C(0xbf58476d1ce4e5b9);
		memcpy(page + i * sizeof(word), &word, sizeof(word));
	}
}

static void page_put(struct zr_disk *disk, struct zr_ctx *by, uint64_t no)
{
	uint8_t page[ZR_PAGE_SIZE];
	size_t n_written;

	page_make(page, no);
	must(zr_disk_write(disk, by, no << ZR_PAGE_SHIFT, page, sizeof(page), &n_written),
	     "writing");
}

static void page_get(struct zr_disk *disk, struct zr_ctx *by, uint64_t no)
{
	uint8_t page[ZR_PAGE_SIZE];
	size_t n_read;

	must(zr_disk_read(disk, by, no << ZR_PAGE_SHIFT, page, sizeof(page), &n_read), "reading");
}

static struct zr_disk *disk_make(const char *name, uint64_t size_bytes)
{
	struct zr_disk_spec spec;
	struct zr_disk *disk;
	uint64_t no;

	zr_disk_spec_init(&spec, 0);
	snprintf(spec.attrs.name, sizeof(spec.attrs.name), "%s", name);
	spec.disksize_bytes = size_bytes;
	must(zr_store_add(store, ctx, &spec, &disk), name);
	for (no = (size_bytes >> ZR_PAGE_SHIFT) - LIVE_PAGES; no < size_bytes >> ZR_PAGE_SHIFT;
	     ++no)
		page_put(disk, ctx, no);
	return disk;
}

/* the one who waits */

static void *probe_run(void *context)
{
	struct probe *probe = context;
	uint64_t turn = 0, no;
	int64_t began_ns;

	while (!atomic_load(&probe->stop) && probe->n_waits < LOOKS_MAX) {
		no = probe->first + turn++ * 2654435761u % LIVE_PAGES;
		began_ns = zr_monotonic_ns();
		if (probe->writes)
			page_put(probe->disk, probe->ctx, no);
		else
			page_get(probe->disk, probe->ctx, no);
		probe->waits_ns[probe->n_waits++] = (uint32_t)(zr_monotonic_ns() - began_ns);
	}
	return NULL;
}

static int by_length(const void *a, const void *b)
{
	const uint32_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

static double wait_us(const struct probe *probe, double share)
{
	return probe->n_waits == 0
		       ? 0
		       : probe->waits_ns[(size_t)((double)(probe->n_waits - 1) * share)] / 1e3;
}

/* Return: how long it took to discard everything; of nothing, a second. */
static int64_t measure(struct probe *probe, struct zr_disk *discarded)
{
	const int64_t began_ns = zr_monotonic_ns();
	pthread_t thread;
	int64_t took_ns;

	probe->n_waits = 0;
	atomic_store(&probe->stop, false);
	if (probe->disk)
		zr_must(pthread_create(&thread, NULL, probe_run, probe));
	if (discarded)
		must(zr_disk_punch(discarded, ctx, 0, n_pages << ZR_PAGE_SHIFT), "discarding");
	else
		usleep(QUIET_NS / 1000);
	took_ns = zr_monotonic_ns() - began_ns;
	if (probe->disk) {
		atomic_store(&probe->stop, true);
		zr_must(pthread_join(thread, NULL));
		qsort(probe->waits_ns, probe->n_waits, sizeof(*probe->waits_ns), by_length);
	}
	return took_ns;
}

static void waits_print(const struct probe *probe)
{
	if (probe->disk)
		printf("  %8.1f %8.1f %8.1f", wait_us(probe, 0.5), wait_us(probe, 0.999),
		       wait_us(probe, 1));
}

static void row_print(struct probe *probe, struct zr_disk *big)
{
	int64_t took_ns;
	uint64_t no;

	for (no = 0; no < n_pages; ++no)
		page_put(big, ctx, no);
	printf("%-28s", probe->what);
	took_ns = measure(probe, big);
	printf("%9.1f %8.1f", (double)took_ns / 1e6, (double)took_ns / (double)n_pages);
	waits_print(probe);
	if (probe->disk) {
		(void)measure(probe, NULL);
		waits_print(probe);
	}
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const uint64_t n_gib = argc > 1 ? strtoull(argv[1], NULL, 10) : 4;
	struct zr_disk *big, *other;
	unsigned int i;

	n_pages = n_gib * GIB >> ZR_PAGE_SHIFT;
	if (n_pages == 0 || argc > 2) {
		tool_error("usage: discard [GIB]");
		return TOOL_EXIT_USAGE;
	}
	must(zr_store_new(&store, STORE_BYTES), "a store");
	must(zr_store_tend(store), "a store");
	must(zr_ctx_new(&ctx), "a context");
	big = disk_make("big", n_gib * GIB + LIVE_PAGES * ZR_PAGE_SIZE);
	other = disk_make("other", LIVE_PAGES * ZR_PAGE_SIZE);

	{
		struct probe probes[] = {
			{ .what = "nobody" },
			{ .what = "reads of the same disk", .disk = big, .first = n_pages },
			{ .what = "reads of another disk", .disk = other },
			{ .what = "writes to the same disk",
			  .disk = big,
			  .first = n_pages,
			  .writes = true },
			{ .what = "writes to another disk", .disk = other, .writes = true },
		};
		uint32_t *waits_ns = malloc(LOOKS_MAX * sizeof(*waits_ns));

		must(waits_ns ? 0 : -ENOMEM, "a list");
		printf("%-28s%18s  %26s  %26s\n", "", "the discard", "waits meanwhile, us",
		       "without it, us");
		printf("%-28s%9s %8s  %8s %8s %8s  %8s %8s %8s\n", "beside", "ms", "ns/page", "p50",
		       "p99.9", "most", "p50", "p99.9", "most");
		for (i = 0; i < ZR_ARRAY_SIZE(probes); ++i) {
			probes[i].waits_ns = waits_ns;
			must(zr_ctx_new(&probes[i].ctx), "a context");
			row_print(&probes[i], big);
			probes[i].ctx = zr_ctx_free(probes[i].ctx);
		}
		free(waits_ns);
	}
	zr_disk_unpin(store, big);
	zr_disk_unpin(store, other);
	ctx = zr_ctx_free(ctx);
	store = zr_store_free(store);
	return 0;
}
