/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Reads or writes a file or device past the page cache, and prints how fast that went as a line of
 * JSON. What is written are pages of a file of pages, straight from memory that was touched before.
 *
 * usage: load [OPTION]... read|randread|write|randwrite|fill FILE
 *
 *   -p PAGES    the file of pages
 *   -b BYTES    of a request (4096)
 *   -d DEPTH    requests in flight (1): pread() and pwrite(), or libaio for more
 *   -s SECONDS  how long (1)
 *   -w SECONDS  how long before that, not counted (0.1)
 *   -l BYTES    that are used of FILE (all)
 *   -e BYTES    they lie in extents of so many
 *   -g BYTES      that begin so far from each other
 *   -r SEED     of what is random (1)
 *
 * fill writes the pages in their order, once; the others go on until the time is over, and write
 * some that lie together in the file.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libaio.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base.h"
#include "sync.h"
#include "tool.h"

#define DEPTH_MAX   1024u
#define SAMPLES_MAX (UINT32_C(4) << 20) /* times that are kept; later ones are only counted */
#define NS_PER_S    1e9

/* One request in flight. */
struct lane {
	struct iocb iocb;
	uint8_t *buffer; /* for reading */
	int64_t began_ns;
};

struct load {
	const char *work, *path, *pages_path;
	bool writes, is_random, is_fill;
	uint64_t request_bytes, used_bytes, extent_bytes, stride_bytes;
	uint32_t depth;
	int64_t run_ns, warm_ns;

	int fd;
	const uint8_t *pages;
	uint64_t n_pages; /* of the file of pages */
	uint64_t n_places;
	uint64_t next; /* place, unless random */
	uint64_t random;
	struct lane *lanes;

	uint32_t *samples_ns;
	uint64_t n_done; /* since began_ns */
	int64_t began_ns, ended_ns;
};

static void must(bool is_well, const char *what)
{
	if (is_well)
		return;
	tool_error("%s: %s", what, strerror(errno));
	exit(TOOL_EXIT_FAILED);
}

static uint64_t random_below(struct load *load, uint64_t n)
{
	uint64_t word = load->random += UINT64_C(0x9e3779b97f4a7c15);

	word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
	return (uint64_t)((unsigned __int128)(word ^ word >> 31) * n >> 64);
}

/* what is asked next */

static off_t place_next(struct load *load)
{
	const uint64_t place = load->is_random ? random_below(load, load->n_places)
					       : load->next++ % load->n_places;
	const uint64_t at = place * load->request_bytes;

	return (off_t)(at / load->extent_bytes * load->stride_bytes + at % load->extent_bytes);
}

/* Nothing is copied: the request points at the file of pages. */
static void *data_next(struct load *load, const struct lane *lane)
{
	const uint64_t n = load->request_bytes >> ZR_PAGE_SHIFT;
	uint64_t page_no;

	if (!load->writes)
		return lane->buffer;
	if (load->is_fill)
		page_no = load->next * n % (load->n_pages - load->n_pages % n);
	else
		page_no = random_below(load, load->n_pages - n + 1);
	return (void *)(load->pages + (page_no << ZR_PAGE_SHIFT));
}

/* what is done */

/* Return: whether to go on. */
static bool note(struct load *load, int64_t began_ns, int64_t now_ns)
{
	if (load->is_fill)
		return ++load->n_done < load->n_places;
	if (now_ns < load->began_ns)
		return true;
	if (load->n_done < SAMPLES_MAX)
		load->samples_ns[load->n_done] = (uint32_t)zr_min((uint64_t)(now_ns - began_ns),
								  UINT32_MAX);
	++load->n_done;
	return now_ns < load->began_ns + load->run_ns;
}

static void check(const struct load *load, int64_t r)
{
	if (r == (int64_t)load->request_bytes)
		return;
	errno = r < 0 ? (int)-r : EIO;
	must(false, load->path);
}

/* One after another: what one look at the clock ends, it begins. */
static void run_shallow(struct load *load)
{
	int64_t before_ns, now_ns = zr_monotonic_ns();
	ssize_t r;

	do {
		void *data = data_next(load, load->lanes);
		const off_t at = place_next(load);

		before_ns = now_ns;
		r = load->writes ? pwrite(load->fd, data, load->request_bytes, at)
				 : pread(load->fd, data, load->request_bytes, at);
		check(load, r < 0 ? -errno : r);
		now_ns = zr_monotonic_ns();
	} while (note(load, before_ns, now_ns));
	load->ended_ns = now_ns;
}

static void submit(struct load *load, io_context_t aio, struct iocb **list, uint32_t n)
{
	const int64_t now_ns = zr_monotonic_ns();
	uint32_t i, n_gone = 0;
	int r;

	for (i = 0; i < n; ++i) {
		struct lane *lane = (struct lane *)list[i];
		void *data = data_next(load, lane);
		const off_t at = place_next(load);

		if (load->writes)
			io_prep_pwrite(&lane->iocb, load->fd, data, load->request_bytes, at);
		else
			io_prep_pread(&lane->iocb, load->fd, data, load->request_bytes, at);
		lane->began_ns = now_ns;
	}
	while (n_gone < n) {
		r = io_submit(aio, n - n_gone, list + n_gone);
		errno = r < 0 ? -r : EAGAIN;
		must(r > 0, "io_submit");
		n_gone += (uint32_t)r;
	}
}

static void run_deep(struct load *load)
{
	struct io_event events[DEPTH_MAX];
	struct iocb *list[DEPTH_MAX];
	io_context_t aio = NULL;
	uint32_t i, n_in_flight = load->depth;
	bool goes_on = true;
	int n;

	errno = -io_setup((int)load->depth, &aio);
	must(errno == 0, "io_setup");
	for (i = 0; i < load->depth; ++i)
		list[i] = &load->lanes[i].iocb;
	submit(load, aio, list, n_in_flight);
	while (n_in_flight > 0) {
		n = io_getevents(aio, 1, n_in_flight, events, NULL);
		errno = n < 0 ? -n : 0;
		must(n > 0, "io_getevents");
		load->ended_ns = zr_monotonic_ns();
		n_in_flight -= (uint32_t)n;
		for (i = 0; i < (uint32_t)n; ++i) {
			list[i] = events[i].obj;
			check(load, (int64_t)events[i].res);
			if (goes_on)
				goes_on = note(load, ((struct lane *)list[i])->began_ns,
					       load->ended_ns);
		}
		/* A fill ends with the request that is the last, and overshoots by none. */
		if (load->is_fill)
			n = (int)zr_min((uint64_t)n, load->n_places - load->next);
		if (!goes_on)
			break;
		submit(load, aio, list, (uint32_t)n);
		n_in_flight += (uint32_t)n;
	}
	io_destroy(aio); /* waits for what is in flight */
}

/* what comes before and after */

static void *memory_new(uint64_t n_bytes)
{
	void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	must(memory != MAP_FAILED, "memory");
	return memory;
}

static void pages_open(struct load *load)
{
	struct tool_input input;

	if (!load->writes)
		return;
	if (!load->pages_path) {
		tool_error("%s: it needs a file of pages", load->work);
		exit(TOOL_EXIT_USAGE);
	}
	if (tool_input_open(&input, load->pages_path) < 0)
		exit(TOOL_EXIT_FAILED);
	load->n_pages = input.n_bytes >> ZR_PAGE_SHIFT;
	if (load->n_pages << ZR_PAGE_SHIFT < load->request_bytes) {
		tool_error("%s: too few pages", load->pages_path);
		exit(TOOL_EXIT_FAILED);
	}
	load->pages = mmap(NULL, load->n_pages << ZR_PAGE_SHIFT, PROT_READ,
			   MAP_SHARED | MAP_POPULATE, input.fd, 0);
	must(load->pages != MAP_FAILED, load->pages_path);
	tool_input_close(&input);
}

static void begin(struct load *load)
{
	uint32_t i;
	off_t end;

	load->fd = open(load->path, (load->writes ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	must(load->fd >= 0, load->path);
	end = lseek(load->fd, 0, SEEK_END);
	must(end >= 0, load->path);
	if (load->used_bytes == 0)
		load->used_bytes = (uint64_t)end;
	load->n_places = load->used_bytes / load->request_bytes;
	if (load->n_places < load->depth || load->extent_bytes % load->request_bytes != 0) {
		tool_error("%s: too small, or extents that are no multiple of a request",
			   load->path);
		exit(TOOL_EXIT_USAGE);
	}
	pages_open(load);
	load->lanes = memory_new(load->depth * sizeof(*load->lanes));
	for (i = 0; i < load->depth; ++i)
		load->lanes[i].buffer = memory_new(load->request_bytes);
	load->samples_ns = memory_new(SAMPLES_MAX * sizeof(*load->samples_ns));
	load->began_ns = zr_monotonic_ns() + load->warm_ns;
}

static int by_length(const void *a, const void *b)
{
	const uint32_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

static void print(const struct load *load)
{
	const double seconds = (double)(load->ended_ns - load->began_ns) / NS_PER_S;
	const double n_bytes = (double)load->n_done * (double)load->request_bytes;
	const uint64_t n = load->is_fill ? 0 : zr_min(load->n_done, SAMPLES_MAX);
	static const struct {
		const char *name;
		double share;
	} points[] = { { "p50_ns", 0.5 }, { "p90_ns", 0.9 }, { "p99_ns", 0.99 }, { "max_ns", 1 } };
	size_t i;

	printf("{\"work\": \"%s\", \"depth\": %" PRIu32 ", \"request_bytes\": %" PRIu64
	       ", \"ops\": %" PRIu64 ", \"bytes\": %.0f, \"seconds\": %.6f, \"mib_per_s\": %.3f, "
	       "\"iops\": %.1f",
	       load->work, load->depth, load->request_bytes, load->n_done, n_bytes, seconds,
	       n_bytes / seconds / (1 << 20), (double)load->n_done / seconds);
	qsort(load->samples_ns, n, sizeof(*load->samples_ns), by_length);
	for (i = 0; n > 0 && i < ZR_ARRAY_SIZE(points); ++i)
		printf(", \"%s\": %" PRIu32, points[i].name,
		       load->samples_ns[(uint64_t)((double)(n - 1) * points[i].share)]);
	printf("}\n");
}

static int usage(void)
{
	tool_error("usage: load [-p PAGES] [-b BYTES] [-d DEPTH] [-s SECONDS] [-w SECONDS] "
		   "[-l BYTES] [-e BYTES -g BYTES] [-r SEED] read|randread|write|randwrite|fill "
		   "FILE");
	return TOOL_EXIT_USAGE;
}

/* Return: false for what is not known, or makes no sense. */
static bool work_parse(struct load *load, const char *work)
{
	load->work = work;
	load->is_fill = strcmp(work, "fill") == 0;
	load->is_random = strncmp(work, "rand", 4) == 0;
	if (load->is_random)
		work += 4;
	load->writes = load->is_fill || strcmp(work, "write") == 0;
	if (load->is_fill)
		load->warm_ns = 0;
	return (load->writes || strcmp(work, "read") == 0) && load->request_bytes > 0 &&
	       load->request_bytes % ZR_PAGE_SIZE == 0 && load->depth > 0 &&
	       load->depth <= DEPTH_MAX && (load->extent_bytes > 0) == (load->stride_bytes > 0);
}

static int options_parse(struct load *load, int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "p:b:d:s:w:l:e:g:r:")) >= 0) {
		if (option == 'p')
			load->pages_path = optarg;
		else if (option == 'b')
			load->request_bytes = strtoull(optarg, NULL, 10);
		else if (option == 'd')
			load->depth = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 's')
			load->run_ns = (int64_t)(strtod(optarg, NULL) * NS_PER_S);
		else if (option == 'w')
			load->warm_ns = (int64_t)(strtod(optarg, NULL) * NS_PER_S);
		else if (option == 'l')
			load->used_bytes = strtoull(optarg, NULL, 10);
		else if (option == 'e')
			load->extent_bytes = strtoull(optarg, NULL, 10);
		else if (option == 'g')
			load->stride_bytes = strtoull(optarg, NULL, 10);
		else if (option == 'r')
			load->random = strtoull(optarg, NULL, 10);
		else
			return -1;
	}
	return optind + 2 == argc && work_parse(load, argv[optind]) ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct load load = {
		.request_bytes = ZR_PAGE_SIZE,
		.depth = 1,
		.run_ns = (int64_t)NS_PER_S,
		.warm_ns = (int64_t)(NS_PER_S / 10),
		.random = 1,
	};

	if (options_parse(&load, argc, argv) < 0)
		return usage();
	load.path = argv[optind + 1];
	if (load.extent_bytes == 0)
		load.extent_bytes = load.stride_bytes = load.request_bytes;
	begin(&load);
	if (load.depth == 1)
		run_shallow(&load);
	else
		run_deep(&load);
	print(&load);
	return 0;
}
