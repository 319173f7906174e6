/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Replay a trace on the real pool and slots
 *
 * The lengths are those of somebody's pages, the bytes are nothing: so what is measured is what
 * lies between a codec and memory. Each phase says what it cost, and what memory there is then: at
 * once, and when upkeep has had its time.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pages-parts.h"
#include "store.h"
#include "tool.h"
#include "trace.h"

#define THREADS_MAX  64u
#define SETTLE_S     4u
#define N_OVERWRITES 3u

/* One operation: a page gets an object of so many bytes, or becomes a hole. */
struct op {
	uint32_t page_no;
	uint16_t n_bytes;
	uint16_t n_smaller; /* the same page under the other codec */
	uint16_t kind;      /* as trace_op */
};

struct script {
	struct op *ops;
	size_t n_ops, n_max;
};

struct replay {
	struct zr_store *store;
	struct zr_disk *disk;
	struct script fill;
	uint16_t *smaller; /* by page: its length under the other codec, as written last */
	uint64_t n_pages;
	unsigned int n_threads;
	uint64_t rng;
};

struct share {
	struct replay *replay;
	const struct script *script;
	void (*apply)(struct replay *replay, const struct op *op);
	unsigned int no;
	pthread_t thread;
};

static uint64_t rng_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#define tool_die(...)                    \
	do {                             \
		tool_error(__VA_ARGS__); \
		exit(TOOL_EXIT_FAILED);  \
	} while (0)

static void must(int r, const char *what)
{
	if (r < 0)
		tool_die("%s: %s", what, strerror(-r));
}

static void script_add(struct script *script, struct op op)
{
	if (script->n_ops == script->n_max) {
		script->n_max = script->n_max ? 2 * script->n_max : 1 << 16;
		script->ops = realloc(script->ops, script->n_max * sizeof(*script->ops));
		if (!script->ops)
			tool_die("no memory for %zu operations", script->n_max);
	}
	script->ops[script->n_ops++] = op;
}

/* operations */

/* What zr_page_write() does, with the compressing left out. */
static int page_put(struct zr_pages *pages, uint64_t page_no, uint32_t n_bytes, uint64_t word)
{
	static const uint8_t bytes[ZR_PAGE_SIZE];
	zr_slot fresh, stale;
	zr_position position;
	int r;

	if (n_bytes == TRACE_BYTES_SAME) {
		(void)zr_slot_same(word, &fresh);
	} else {
		if (n_bytes > ZR_OBJECT_USEFUL_MAX)
			n_bytes = ZR_PAGE_SIZE;
		r = zr_pages_object_new(pages, bytes, n_bytes, &position);
		if (r < 0)
			return r;
		fresh = n_bytes == TRACE_BYTES_SAME_OBJECT ? zr_slot_same_object(position)
							   : zr_slot_object(position, n_bytes, 0);
	}

	{
		ZR_GUARD_EXCLUSIVE(zr_pages_stripe(pages, page_no));
		r = zr_pages_publish_locked(pages, page_no, fresh, ZR_LIMIT_HOLDS, &stale);
	}
	zr_pages_retire_slot(pages, r < 0 ? fresh : stale);
	return r;
}

static void apply(struct replay *replay, const struct op *op)
{
	struct zr_pages *pages = &replay->disk->pages;
	struct zr_pool *pool = &pages->engine->pool;
	uint64_t generation;
	int r;

	if (op->kind == TRACE_DISCARD) {
		zr_page_discard(pages, op->page_no);
		return;
	}
	if (op->kind == TRACE_READ) {
		(void)zr_page_is_data(pages, op->page_no);
		return;
	}
	do {
		generation = zr_pool_generation(pool);
		r = page_put(pages, op->page_no, op->n_bytes, 0);
	} while (r == -EAGAIN && zr_pool_wait(pool, generation, (int64_t)now_ns() + 1000000000));
	must(r, "a write");
	replay->smaller[op->page_no] = op->n_smaller;
}

/* What zr_page_recompress() does, with the compressing left out. */
static void recompress(struct replay *replay, const struct op *op)
{
	struct zr_pages *pages = &replay->disk->pages;
	zr_slot slot, fresh;
	zr_position position;

	if (zr_page_change_begin(pages, op->page_no, &slot) != 0)
		return;
	if (zr_pool_cell_bytes(op->n_bytes) >= zr_pool_cell_bytes(zr_slot_bytes(slot)))
		return;
	if (zr_pool_alloc(&pages->engine->pool, op->n_bytes, &position) < 0)
		return;
	fresh = zr_slot_object(position, op->n_bytes, 1);
	if (zr_page_change_end(pages, op->page_no, slot, fresh) != 0)
		zr_pages_retire_slot(pages, fresh);
}

static void *share_run(void *context)
{
	struct share *share = context;
	const struct script *script = share->script;
	size_t i;

	for (i = share->no; i < script->n_ops; i += share->replay->n_threads)
		share->apply(share->replay, &script->ops[i]);
	return NULL;
}

/* figures */

static uint64_t page_table_bytes(void)
{
	unsigned long kib = 0;
	char line[256];
	FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "VmPTE: %lu kB", &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return (uint64_t)kib << 10;
}

static double mib(uint64_t n_bytes)
{
	return (double)n_bytes / (1 << 20);
}

/* Memory, of which the reserve is apart, for each byte of the objects. */
static double ratio(struct replay *replay)
{
	struct zr_disk_figures figures;
	struct zr_store_usage usage;

	zr_disk_figures(replay->disk, &figures);
	zr_store_usage(replay->store, &usage);
	return figures.compr_bytes == 0 ? 0
					: (double)(usage.memory_bytes - usage.reserve_bytes) /
						  (double)figures.compr_bytes;
}

static uint64_t n_moved(const struct replay *replay)
{
	return atomic_load(&replay->disk->engine->compaction.xmoved);
}

static void phase(struct replay *replay, const char *name, const struct script *script,
		  void (*how)(struct replay *replay, const struct op *op))
{
	static struct share shares[THREADS_MAX];
	const uint64_t moved = n_moved(replay);
	struct zr_disk_figures figures;
	struct zr_store_usage usage;
	uint64_t began, took;
	double at_once;
	unsigned int i;

	began = now_ns();
	for (i = 0; i < replay->n_threads; ++i) {
		shares[i] = (struct share){ replay, script, how, i, 0 };
		must(-pthread_create(&shares[i].thread, NULL, share_run, &shares[i]), "a thread");
	}
	for (i = 0; i < replay->n_threads; ++i)
		must(-pthread_join(shares[i].thread, NULL), "a thread");
	took = now_ns() - began;

	at_once = ratio(replay);
	sleep(SETTLE_S);
	zr_disk_figures(replay->disk, &figures);
	zr_store_usage(replay->store, &usage);
	printf("%-18s %9zu %6.0f %6.3f %9.1f %9.1f %7.4f %7.4f\n", name, script->n_ops,
	       (double)took / (double)script->n_ops,
	       (double)(n_moved(replay) - moved) / (double)script->n_ops, mib(figures.compr_bytes),
	       mib(usage.memory_bytes), at_once, ratio(replay));
	fflush(stdout);
}

/* What the next worker does when this one dies. */
static void derive(struct replay *replay)
{
	const int fd = dup(zr_store_fd(replay->store));
	uint64_t began, took;

	must(fd < 0 ? -errno : 0, "dup");
	zr_disk_unpin(replay->store, replay->disk);
	zr_store_free(replay->store);

	began = now_ns();
	must(zr_store_attach(&replay->store, fd), "attaching");
	took = now_ns() - began;
	printf("%-18s %9" PRIu64 " %6.0f         all in %.1f ms\n", "derive", replay->n_pages,
	       (double)took / (double)replay->n_pages, (double)took / 1e6);

	must(zr_store_tend(replay->store), "upkeep");
	replay->disk = zr_store_next(replay->store, 0);
}

/* the trace */

static void trace_load(struct replay *replay, const char *path, const char *codec,
		       const char *other)
{
	struct trace trace;
	struct trace_op op;
	int column, second, r;
	uint64_t i;

	if (trace_open(&trace, path) < 0)
		exit(1);
	column = trace_column(&trace, codec);
	second = trace_column(&trace, other);
	if (column < 0 || second < 0)
		tool_die("%s has no lengths for %s", path, column < 0 ? codec : other);

	while ((r = trace_next(&trace, &op)) > 0) {
		if (op.page_no + op.n_pages > UINT32_MAX)
			tool_die("%s:%lu: page %" PRIu64 " is past 16 TiB", path, trace.line,
				 op.page_no + op.n_pages);
		for (i = 0; i < op.n_pages; ++i)
			script_add(&replay->fill,
				   (struct op){ .page_no = (uint32_t)(op.page_no + i),
						.n_bytes = op.n_bytes[column],
						.n_smaller = op.n_bytes[second],
						.kind = (uint16_t)op.kind });
		replay->n_pages = zr_max(replay->n_pages, op.page_no + op.n_pages);
	}
	if (r < 0)
		exit(1);
	trace_close(&trace);
	if (replay->fill.n_ops == 0)
		tool_die("%s: nothing in it", path);
	replay->smaller = calloc(replay->n_pages, sizeof(*replay->smaller));
	if (!replay->smaller)
		tool_die("no memory");
}

/* Every page once more on average, each with the length of a random write of the trace. */
static struct script overwrites(struct replay *replay)
{
	struct script script = { 0 };
	size_t i;

	for (i = 0; i < replay->fill.n_ops; ++i) {
		const struct op *where =
			&replay->fill.ops[rng_next(&replay->rng) % replay->fill.n_ops];
		const struct op *what =
			&replay->fill.ops[rng_next(&replay->rng) % replay->fill.n_ops];

		if (where->kind != TRACE_WRITE || what->kind != TRACE_WRITE)
			continue;
		script_add(&script, (struct op){ .page_no = where->page_no,
						 .n_bytes = what->n_bytes,
						 .n_smaller = what->n_smaller,
						 .kind = TRACE_WRITE });
	}
	return script;
}

static struct script discards(struct replay *replay)
{
	struct script script = { 0 };
	uint32_t page_no;

	for (page_no = 0; page_no < replay->n_pages; ++page_no) {
		if (rng_next(&replay->rng) & 1)
			script_add(&script,
				   (struct op){ .page_no = page_no, .kind = TRACE_DISCARD });
	}
	return script;
}

static struct script recompressions(struct replay *replay)
{
	struct script script = { 0 };
	uint32_t page_no;

	for (page_no = 0; page_no < replay->n_pages; ++page_no) {
		if (replay->smaller[page_no] > TRACE_BYTES_SAME_OBJECT &&
		    replay->smaller[page_no] <= ZR_OBJECT_USEFUL_MAX)
			script_add(&script, (struct op){ .page_no = page_no,
							 .n_bytes = replay->smaller[page_no],
							 .kind = TRACE_WRITE });
	}
	return script;
}

static void run(struct replay *replay, unsigned int n_threads)
{
	struct zr_disk_spec spec;
	struct script script;
	struct zr_ctx *ctx;
	unsigned int i;

	replay->n_threads = n_threads;
	replay->rng = 1;
	memset(replay->smaller, 0, replay->n_pages * sizeof(*replay->smaller));
	must(zr_ctx_new(&ctx), "a context");
	must(zr_store_new(&replay->store, UINT64_C(64) << 30), "a store");
	must(zr_store_tend(replay->store), "upkeep");
	zr_disk_spec_init(&spec, 0);
	snprintf(spec.attrs.name, sizeof(spec.attrs.name), "replay");
	spec.disksize_bytes = replay->n_pages << ZR_PAGE_SHIFT;
	must(zr_store_add(replay->store, ctx, &spec, &replay->disk), "a disk");

	printf("\n%u thread%s           operations  ns/op  moves    data,    memory,   memory / "
	       "data\n"
	       "                                      an op      MiB       MiB   at once in %u s\n",
	       n_threads, n_threads == 1 ? " " : "s", SETTLE_S);
	phase(replay, "fill", &replay->fill, apply);
	for (i = 0; i < N_OVERWRITES; ++i) {
		script = overwrites(replay);
		phase(replay, "overwrite", &script, apply);
		free(script.ops);
	}
	derive(replay);
	script = recompressions(replay);
	phase(replay, "recompress", &script, recompress);
	free(script.ops);
	script = discards(replay);
	phase(replay, "discard half", &script, apply);
	free(script.ops);
	printf("page tables %.1f MiB\n", mib(page_table_bytes()));

	zr_disk_unpin(replay->store, replay->disk);
	zr_store_free(replay->store);
	zr_ctx_free(ctx);
}

static const char usage[] =
	"usage: replay [--codec NAME] [--to NAME] [--threads N,...] TRACE\n"
	"\n"
	"Replay a trace (tests/bench/README says what that is) on the engine, without its\n"
	"codecs: fill, three random overwrites, recompression, discarding a random half.\n"
	"\n"
	"  --codec NAME     whose lengths pages are written with (lz4)\n"
	"  --to NAME        whose lengths they are recompressed to (zstd)\n"
	"  --threads N,...  how many threads to run it with, one after the other (1,2)\n"
	"  --help           this text\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "codec", required_argument, NULL, 'c' },
		{ "to", required_argument, NULL, 't' },
		{ "threads", required_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *codec = "lz4", *to = "zstd", *threads = "1,2";
	struct replay replay = { 0 };
	char *end;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			codec = optarg;
			break;
		case 't':
			to = optarg;
			break;
		case 'n':
			threads = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (argc - optind != 1) {
		fputs(usage, stderr);
		return 2;
	}

	trace_load(&replay, argv[optind], codec, to);
	while (*threads) {
		const unsigned long n = strtoul(threads, &end, 10);

		if (end == threads || n < 1 || n > THREADS_MAX || (*end && *end != ','))
			tool_die("--threads %s: numbers from 1 to %u, with commas", threads,
				 THREADS_MAX);
		run(&replay, (unsigned int)n);
		threads = *end ? end + 1 : end;
	}
	return 0;
}
