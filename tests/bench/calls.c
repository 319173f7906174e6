/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What single calls of the engine cost
 *
 * A store is made anew for each kind of call, always the same: same pages, same order, and nobody
 * who tends it. Then the call is made for every page once, which is a round, again and again. What
 * is counted lies in measured() and nowhere else, so that a tool which counts instructions can be
 * told: tests/bench/instructions does.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fill.h"
#include "pages-parts.h"
#include "store.h"
#include "sample.h"
#include "tool.h"

#define STORE_BYTES   (UINT64_C(64) << 30)
#define MIB_PAGES     256u
#define PAGES_DEFAULT 1024u
#define PAGES_MAX     (1u << 22)
#define ROUNDS_MAX    4096u
#define ROUNDS_MIN    5u
#define PART_BYTES    512u
#define SECONDS_MAX   3600

/* Cells for each page: less than a few thousand calls are no match for the clock. */
#define POOL_TIMES 2u

/* Of all pages, before all but one go. */
#define N_COPIES      3u
#define N_COPIES_POOL 6u

static const char usage[] =
	"Usage: calls [OPTION...] [CALL...]\n"
	"Print what calls of the engine cost, by one thread: nanoseconds (median of all\n"
	"rounds; a round is the call for each page once) and, where the machine has a\n"
	"counter for them, instructions.\n"
	"\n"
	"      --file=FILE   pages are those of FILE, which tests/bench/pages makes; if not\n"
	"                      given, built-in ones, always the same\n"
	"      --pages=N     so many, spread evenly over FILE; 1024, which are 4 MiB, if not\n"
	"                      given; a multiple of 512\n"
	"      --seconds=N   of rounds for each call; 0.1 if not given\n"
	"      --rounds=N    instead: so many rounds, and one more before them\n"
	"      --list        print the names of all calls, and what they are\n"
	"  -h, --help        print this help\n"
	"\n"
	"tests/bench/instructions runs this and counts instructions on any machine.\n";

enum {
	OPTION_FILE = 256,
	OPTION_PAGES,
	OPTION_SECONDS,
	OPTION_ROUNDS,
	OPTION_LIST,
};

static const struct option long_options[] = {
	{ "file", required_argument, NULL, OPTION_FILE },
	{ "pages", required_argument, NULL, OPTION_PAGES },
	{ "seconds", required_argument, NULL, OPTION_SECONDS },
	{ "rounds", required_argument, NULL, OPTION_ROUNDS },
	{ "list", no_argument, NULL, OPTION_LIST },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* What is on the disk, and which of its pages the call is for. */
enum content {
	AS_IT_COMES, /* all pages of the sample */
	COMPRESSED,  /* the same, and the call is for those that compress */
	SAME,
	NOISE, /* huge pages */
	HOLES,
};

struct bench;

struct call {
	const char *name, *what;
	void (*before)(struct bench *bench); /* each round; NULL: nothing */
	void (*run)(struct bench *bench);
	enum content content;
	enum zr_algorithm algorithm;
	uint32_t n_pages; /* each call is for so many; 0: 1 */
	uint32_t times;   /* so many calls for each; 0: 1 */
};

struct object {
	uint64_t at;
	size_t n_bytes;
};

struct bench {
	uint8_t *sample;
	uint32_t n_pages;
	double seconds;
	uint32_t n_rounds; /* 0: as many as take the seconds */
	int counter;       /* -1: the machine has none */

	/* of one call */
	const struct call *call;
	struct zr_store *store;
	struct zr_disk *disk;
	struct zr_ctx *ctx;
	struct zr_codec_params codec;
	uint8_t *content; /* page by page; the sample, or made */
	uint32_t *order;  /* the pages that the call is for */
	uint32_t n_order;
	uint32_t round;
	struct object *objects;
	uint8_t *object_bytes;
	zr_position *positions;
};

static uint8_t buffer[MIB_PAGES * ZR_PAGE_SIZE] __attribute__((aligned(4096)));
static volatile uint64_t sink;

static inline void must(int r, const char *what)
{
	if (r >= 0)
		return;
	tool_error("%s: %s", what, strerror(-r));
	exit(TOOL_EXIT_FAILED);
}

static void *memory_new(size_t n, size_t n_bytes)
{
	void *memory = calloc(n, n_bytes);

	if (!memory)
		must(-ENOMEM, "memory");
	return memory;
}

/* the sample */

/* Return: 0, or -1 with the error printed. */
static int sample_take(struct bench *bench, const char *path)
{
	struct tool_input input;
	uint32_t i;
	int r = 0;

	bench->sample = memory_new(bench->n_pages, ZR_PAGE_SIZE);
	if (!path) {
		for (i = 0; i < bench->n_pages; ++i)
			sample_page(bench->sample + (size_t)i * ZR_PAGE_SIZE, i);
		return 0;
	}

	if (tool_input_open(&input, path) < 0)
		return -1;
	if (input.n_pages < bench->n_pages) {
		tool_error("%s: has %" PRIu64 " pages, and %u are wanted (--pages)", path,
			   input.n_pages, bench->n_pages);
		r = -1;
	}
	for (i = 0; r == 0 && i < bench->n_pages; ++i)
		r = tool_input_read(&input, (uint64_t)i * input.n_pages / bench->n_pages,
				    bench->sample + (size_t)i * ZR_PAGE_SIZE, 1);
	tool_input_close(&input);
	return r;
}

/* the disk */

static uint8_t *content_at(const struct bench *bench, uint32_t no)
{
	return bench->content + (size_t)no * ZR_PAGE_SIZE;
}

static void put(struct bench *bench, uint64_t page_no, const void *pages, size_t n_bytes)
{
	size_t n_written;

	must(zr_disk_write(bench->disk, bench->ctx, page_no << ZR_PAGE_SHIFT, pages, n_bytes,
			   &n_written),
	     "writing");
}

static void get(struct bench *bench, uint64_t page_no, size_t n_bytes)
{
	size_t n_read;

	must(zr_disk_read(bench->disk, bench->ctx, page_no << ZR_PAGE_SHIFT, buffer, n_bytes,
			  &n_read),
	     "reading");
}

static void punch(struct bench *bench, uint64_t page_no, uint64_t n_bytes)
{
	must(zr_disk_punch(bench->disk, bench->ctx, page_no << ZR_PAGE_SHIFT, n_bytes), "punching");
}

/* The last page of each leaf no call is for, and it never is a hole: so leaves stay. Only calls for
 * a MiB are for all there is. */
static bool is_last_of_leaf(uint32_t no)
{
	return no % ZR_LEAF_SLOTS == ZR_LEAF_SLOTS - 1;
}

static void content_make(struct bench *bench)
{
	uint64_t rng = 1;
	uint32_t i;

	if (bench->call->content != SAME && bench->call->content != NOISE) {
		bench->content = bench->sample;
		return;
	}
	bench->content = memory_new(bench->n_pages, ZR_PAGE_SIZE);
	for (i = 0; i < bench->n_pages; ++i) {
		if (bench->call->content == SAME)
			zr_fill_page(content_at(bench, i), i);
		else
			sample_noise(content_at(bench, i), &rng);
	}
}

/* Copies come and go, so that there are free cells of every kind: as in a store that somebody tends,
 * a call finds one and asks for no more. */
static void disk_fill(struct bench *bench)
{
	const uint32_t n_copies = bench->call->times > 1 ? N_COPIES_POOL : N_COPIES;
	uint32_t copy, i;

	for (copy = 0; copy < n_copies; ++copy) {
		for (i = 0; i < bench->n_pages; ++i) {
			if (bench->call->content != HOLES || is_last_of_leaf(i))
				put(bench, (uint64_t)copy * bench->n_pages + i,
				    content_at(bench, i), ZR_PAGE_SIZE);
		}
	}
	must(zr_disk_truncate(bench->disk, bench->ctx, (uint64_t)bench->n_pages << ZR_PAGE_SHIFT),
	     "truncating");
}

static uint32_t stored_bytes(const struct bench *bench, uint32_t no)
{
	return zr_slot_bytes(zr_pages_slot(zr_slots_find(&bench->disk->pages.slots, no)));
}

/* Those that the call is for, in an order that no cache foresees. */
static void order_make(struct bench *bench)
{
	uint64_t rng = 2;
	uint32_t i, other, no;

	bench->order = memory_new(bench->n_pages, sizeof(*bench->order));
	bench->n_order = 0;
	for (i = 0; i < bench->n_pages; ++i) {
		const uint32_t n_bytes = stored_bytes(bench, i);

		if (is_last_of_leaf(i) ||
		    (bench->call->content == COMPRESSED &&
		     (n_bytes <= ZR_SLOT_FILL_SIZE || n_bytes == ZR_PAGE_SIZE)))
			continue;
		bench->order[bench->n_order++] = i;
	}
	if (bench->n_order == 0) {
		tool_error("%s: no page of the sample compresses", bench->call->name);
		exit(TOOL_EXIT_FAILED);
	}
	for (i = bench->n_order - 1; i > 0; --i) {
		other = (uint32_t)(sample_random(&rng) % (i + 1));
		no = bench->order[i];
		bench->order[i] = bench->order[other];
		bench->order[other] = no;
	}
}

static void objects_make(struct bench *bench)
{
	uint64_t at = 0;
	uint32_t i;

	bench->objects = memory_new(bench->n_order, sizeof(*bench->objects));
	bench->object_bytes = memory_new(bench->n_order, ZR_PAGE_SIZE);
	for (i = 0; i < bench->n_order; ++i) {
		struct object *object = &bench->objects[i];

		if (zr_codec_compress(bench->ctx->workspace, &bench->codec,
				      content_at(bench, bench->order[i]), bench->ctx->object,
				      ZR_OBJECT_USEFUL_MAX, &object->n_bytes))
			continue;
		object->at = at;
		memcpy(bench->object_bytes + at, bench->ctx->object, object->n_bytes);
		at += zr_align_up(object->n_bytes, ZR_CELL_UNIT);
	}
}

static void set_up(struct bench *bench)
{
	struct zr_disk_spec spec;

	must(zr_ctx_new(&bench->ctx), "a context");
	must(zr_store_new(&bench->store, STORE_BYTES), "a store");
	zr_disk_spec_init(&spec, 0);
	snprintf(spec.attrs.name, sizeof(spec.attrs.name), "calls");
	bench->codec = (struct zr_codec_params){ .algorithm = bench->call->algorithm,
						 .level = ZR_CODEC_LEVEL_DEFAULT };
	spec.attrs.codecs[0] = bench->codec;
	must(zr_store_add(bench->store, bench->ctx, &spec, &bench->disk), "a disk");

	content_make(bench);
	disk_fill(bench);
	order_make(bench);
	if (bench->call->content == COMPRESSED)
		objects_make(bench);
	bench->positions = memory_new((size_t)bench->n_order * POOL_TIMES,
				      sizeof(*bench->positions));
	bench->round = 0;
}

static void tear_down(struct bench *bench)
{
	if (bench->content != bench->sample)
		free(bench->content);
	free(bench->order);
	free(bench->objects);
	free(bench->object_bytes);
	free(bench->positions);
	bench->objects = NULL;
	bench->object_bytes = NULL;
	bench->disk = zr_disk_unpin(bench->store, bench->disk);
	bench->store = zr_store_free(bench->store);
	bench->ctx = zr_ctx_free(bench->ctx);
}

/* calls for a page */

static void read_page(struct bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i)
		get(bench, bench->order[i], ZR_PAGE_SIZE);
}

static void read_part(struct bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i)
		get(bench, bench->order[i], PART_BYTES);
}

/* Each gets what another one had, which is longer or shorter. */
static void write_page(struct bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i)
		put(bench, bench->order[i],
		    content_at(bench, bench->order[(i + bench->round) % bench->n_order]),
		    ZR_PAGE_SIZE);
}

static void write_part(struct bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i)
		put(bench, bench->order[i],
		    content_at(bench, bench->order[(i + bench->round) % bench->n_order]),
		    PART_BYTES);
}

static void punch_page(struct bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i)
		punch(bench, bench->order[i], ZR_PAGE_SIZE);
}

/* calls for a MiB */

static void read_mib(struct bench *bench)
{
	uint32_t no;

	for (no = 0; no < bench->n_pages; no += MIB_PAGES)
		get(bench, no, sizeof(buffer));
}

static void write_mib(struct bench *bench)
{
	uint32_t no;

	for (no = 0; no < bench->n_pages; no += MIB_PAGES)
		put(bench, no, content_at(bench, (no + bench->round * MIB_PAGES) % bench->n_pages),
		    sizeof(buffer));
}

static void punch_mib(struct bench *bench)
{
	uint32_t no;

	for (no = 0; no < bench->n_pages; no += MIB_PAGES)
		punch(bench, no, sizeof(buffer));
}

/* the parts alone */

static void detect(struct bench *bench)
{
	uint64_t word;
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i)
		sink = zr_fill_detect(content_at(bench, bench->order[i]), &word);
}

static void compress(struct bench *bench)
{
	size_t n_bytes;
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i)
		sink = (uint64_t)zr_codec_compress(bench->ctx->workspace, &bench->codec,
						   content_at(bench, bench->order[i]),
						   bench->ctx->object, ZR_OBJECT_USEFUL_MAX,
						   &n_bytes);
}

static void decompress(struct bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i) {
		const struct object *object = &bench->objects[i];

		must(zr_codec_decompress(bench->ctx->workspace, &bench->codec,
					 bench->object_bytes + object->at, object->n_bytes, buffer),
		     "decompressing");
	}
}

static void pool_alloc(struct bench *bench)
{
	struct zr_pool *pool = &bench->disk->engine->pool;
	uint32_t i;

	for (i = 0; i < POOL_TIMES * bench->n_order; ++i)
		must(zr_pool_alloc(pool, (uint32_t)bench->objects[i % bench->n_order].n_bytes,
				   &bench->positions[i]),
		     "allocating");
}

static void pool_free(struct bench *bench)
{
	struct zr_pool *pool = &bench->disk->engine->pool;
	uint32_t i;

	for (i = 0; i < POOL_TIMES * bench->n_order; ++i) {
		if (bench->positions[i] != 0)
			zr_pool_free(pool, bench->positions[i],
				     (uint32_t)bench->objects[i % bench->n_order].n_bytes);
		bench->positions[i] = 0;
	}
}

static void find_slot(struct bench *bench)
{
	const struct zr_slots *slots = &bench->disk->pages.slots;
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i)
		sink = zr_pages_slot(zr_slots_find(slots, bench->order[i]));
}

/* Times as requests take them, spread over a few buckets. */
static void note(struct bench *bench)
{
	struct zr_latency *latency = &bench->disk->entry->read_latency;
	uint32_t i;

	for (i = 0; i < bench->n_order; ++i)
		zr_latency_add(latency, 4000 + (i * 977 & 16383));
}

/* clang-format off: one a line */

static const struct call calls[] = {
	{ "read-lz4", "read 4 KiB, compressed with lz4", NULL, read_page, COMPRESSED,
	  ZR_ALGORITHM_LZ4 },
	{ "read-lzo", "read 4 KiB, compressed with lzo", NULL, read_page, COMPRESSED,
	  ZR_ALGORITHM_LZO },
	{ "read-zstd", "read 4 KiB, compressed with zstd", NULL, read_page, COMPRESSED,
	  ZR_ALGORITHM_ZSTD },
	{ "read-same", "read 4 KiB, same-filled", NULL, read_page, SAME },
	{ "read-huge", "read 4 KiB, huge", NULL, read_page, NOISE },
	{ "read-hole", "read 4 KiB, a hole", NULL, read_page, HOLES },
	{ "read-part", "read 512 bytes, lz4", NULL, read_part, COMPRESSED },
	{ "read-1m", "read 1 MiB as it comes, lz4", NULL, read_mib, AS_IT_COMES,
	  .n_pages = MIB_PAGES },
	{ "write-lz4", "write 4 KiB over compressed, lz4", NULL, write_page, COMPRESSED,
	  ZR_ALGORITHM_LZ4 },
	{ "write-lzo", "write 4 KiB over compressed, lzo", NULL, write_page, COMPRESSED,
	  ZR_ALGORITHM_LZO },
	{ "write-zstd", "write 4 KiB over compressed, zstd", NULL, write_page, COMPRESSED,
	  ZR_ALGORITHM_ZSTD },
	{ "write-same", "write 4 KiB, same-filled over the like", NULL, write_page, SAME },
	{ "write-huge", "write 4 KiB, huge over huge, lz4", NULL, write_page, NOISE },
	{ "write-hole", "write 4 KiB to a hole, lz4", punch_page, write_page, COMPRESSED },
	{ "write-part", "write 512 bytes over compressed, lz4", NULL, write_part, COMPRESSED },
	{ "write-1m", "write 1 MiB as it comes, lz4", NULL, write_mib, AS_IT_COMES,
	  .n_pages = MIB_PAGES },
	{ "punch-page", "discard 4 KiB, compressed", write_page, punch_page, COMPRESSED },
	{ "punch-1m", "discard 1 MiB as it comes", write_mib, punch_mib, AS_IT_COMES,
	  .n_pages = MIB_PAGES },
	{ "compress-lz4", "compress a page, lz4", NULL, compress, COMPRESSED, ZR_ALGORITHM_LZ4 },
	{ "compress-lzo", "compress a page, lzo", NULL, compress, COMPRESSED, ZR_ALGORITHM_LZO },
	{ "compress-zstd", "compress a page, zstd", NULL, compress, COMPRESSED, ZR_ALGORITHM_ZSTD },
	{ "decompress-lz4", "decompress a page, lz4", NULL, decompress, COMPRESSED,
	  ZR_ALGORITHM_LZ4 },
	{ "decompress-lzo", "decompress a page, lzo", NULL, decompress, COMPRESSED,
	  ZR_ALGORITHM_LZO },
	{ "decompress-zstd", "decompress a page, zstd", NULL, decompress, COMPRESSED,
	  ZR_ALGORITHM_ZSTD },
	{ "fill-detect", "is a page same-filled?", NULL, detect, AS_IT_COMES },
	{ "pool-alloc", "allocate a cell", pool_free, pool_alloc, COMPRESSED, .times = POOL_TIMES },
	{ "pool-free", "free a cell", pool_alloc, pool_free, COMPRESSED, .times = POOL_TIMES },
	{ "slot", "find the slot of a page", NULL, find_slot, AS_IT_COMES },
	{ "latency", "note how long something took", NULL, note, AS_IT_COMES },
};

/* clang-format on */

static uint64_t n_calls(const struct bench *bench)
{
	if (bench->call->n_pages > 1)
		return bench->n_pages / bench->call->n_pages;
	return (uint64_t)bench->n_order * zr_max(1, bench->call->times);
}

/* measuring */

/* A function of its own, called by this name: tools count what happens in it. */
void measured(struct bench *bench);
void __attribute__((noinline)) measured(struct bench *bench)
{
	bench->call->run(bench);
	__asm__ volatile(""); /* no jump: it is left only when all is done */
}

/* Instructions of this thread, outside of the kernel. Return: -1 if the machine cannot tell. */
static int counter_open(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.pinned = 1, /* never a guess from a part of the time */
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* What it counted so far. */
static uint64_t counter_get(struct bench *bench)
{
	uint64_t count = 0;

	if (bench->counter >= 0 && read(bench->counter, &count, sizeof(count)) != sizeof(count)) {
		close(bench->counter);
		bench->counter = -1;
	}
	return count;
}

/* Of this thread: what others do on the machine is in it only as far as caches go. */
static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int double_compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static bool is_enough(const struct bench *bench, uint32_t n_done, double ns)
{
	if (bench->n_rounds != 0)
		return n_done == bench->n_rounds;
	return n_done == ROUNDS_MAX || (n_done >= ROUNDS_MIN && ns >= bench->seconds * 1e9);
}

static void round_begin(struct bench *bench)
{
	++bench->round;
	if (bench->call->before)
		bench->call->before(bench);
}

static void measure(struct bench *bench)
{
	static double rounds_ns[ROUNDS_MAX];
	uint64_t began_count, count = 0;
	double began_ns, ns = 0;
	uint32_t n = 0;

	set_up(bench);
	round_begin(bench);
	bench->call->run(bench);
	while (!is_enough(bench, n, ns)) {
		round_begin(bench);
		began_count = counter_get(bench);
		began_ns = now_ns();
		measured(bench);
		rounds_ns[n] = now_ns() - began_ns;
		count += counter_get(bench) - began_count;
		ns += rounds_ns[n++];
	}

	qsort(rounds_ns, n, sizeof(*rounds_ns), double_compare);
	tool_progress(NULL);
	printf("%-16s %10" PRIu64 " %12.1f", bench->call->name, n * n_calls(bench),
	       rounds_ns[n / 2] / (double)n_calls(bench));
	if (bench->counter >= 0)
		printf(" %14.1f\n", (double)count / ((double)n * (double)n_calls(bench)));
	else
		printf(" %14s\n", "-");
	fflush(stdout);
	tear_down(bench);
}

/* the command line */

static const struct call *call_find(const char *name)
{
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(calls); ++i) {
		if (strcmp(calls[i].name, name) == 0)
			return &calls[i];
	}
	tool_error("'%s' is no call; --list prints all", name);
	return NULL;
}

static void list_print(void)
{
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(calls); ++i)
		printf("%-16s %s\n", calls[i].name, calls[i].what);
}

/* Return: false with the error printed. */
static bool number_parse(const char *option, const char *text, double min, double max,
			 double *numberp)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end || !(number >= min && number <= max)) {
		tool_error("%s: '%s' is no number from %.10g to %.10g", option, text, min, max);
		return false;
	}
	*numberp = number;
	return true;
}

static int run(struct bench *bench, char **names)
{
	const size_t n_names = ZR_ARRAY_SIZE(calls);
	size_t i;

	for (i = 0; names[i]; ++i) {
		if (!call_find(names[i]))
			return TOOL_EXIT_USAGE;
	}
	printf("%-16s %10s %12s %14s\n", "call", "calls", "ns each", "instructions");
	for (i = 0; names[0] ? names[i] != NULL : i < n_names; ++i) {
		bench->call = names[0] ? call_find(names[i]) : &calls[i];
		tool_progress("%s", bench->call->name);
		measure(bench);
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct bench bench;
	double n_pages = PAGES_DEFAULT, seconds = 0.1, n_rounds = 0;
	const char *path = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case OPTION_FILE:
			path = optarg;
			break;
		case OPTION_PAGES:
			if (!number_parse("--pages", optarg, ZR_LEAF_SLOTS, PAGES_MAX, &n_pages))
				return TOOL_EXIT_USAGE;
			break;
		case OPTION_SECONDS:
			if (!number_parse("--seconds", optarg, 0.001, SECONDS_MAX, &seconds))
				return TOOL_EXIT_USAGE;
			break;
		case OPTION_ROUNDS:
			if (!number_parse("--rounds", optarg, 1, ROUNDS_MAX, &n_rounds))
				return TOOL_EXIT_USAGE;
			break;
		case OPTION_LIST:
			list_print();
			return EXIT_SUCCESS;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			return TOOL_EXIT_USAGE;
		}
	}

	bench.n_pages = (uint32_t)zr_align_down((uint64_t)n_pages, ZR_LEAF_SLOTS);
	bench.seconds = seconds;
	bench.n_rounds = (uint32_t)n_rounds;
	bench.counter = counter_open();
	if (sample_take(&bench, path) < 0)
		return TOOL_EXIT_FAILED;
	return run(&bench, argv + optind);
}
