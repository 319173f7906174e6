/* SPDX-License-Identifier: GPL-2.0-or-later */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fill.h"
#include "pages.h"
#include "tool.h"

/* What the engine keeps compressed; longer is huge and counts a page. */
#define OBJECT_BYTES_MAX ZR_OBJECT_USEFUL_MAX

#define N_CODECS_MAX     64u
#define N_ROUNDS_MAX     15u
#define N_ROUNDS_MIN     3u
#define N_PAGES_MIN      256u   /* of a round, however slow */
#define PAGES_DEFAULT    16384u /* 64 MiB */
#define N_PAGES_MAX      (1u << 22)
#define CORPUS_DIRECTORY "/var/tmp"
#define CORPUS_NAME      "zramfs-pages-1024.bin"

/* Levels that differ enough to choose between. */
#define DEFAULT_CODECS                                                 \
	"lz4:1,lz4:2,lz4:4,lz4:8,lzo,lz4hc:1,lz4hc:3,lz4hc:6,lz4hc:9," \
	"zstd:-5,zstd:-1,zstd:1,zstd:3,zstd:6,zstd:9,zstd:12,zstd:19"

static const char usage[] =
	"Usage: codecs [--seconds N] [--level CODEC=LEVEL,...] [--pages N] [FILE...]\n"
	"Compress and decompress pages of files or devices as the engine does, in one\n"
	"thread, and print a table.\n"
	"\n"
	"      --seconds=N   of measuring for each codec and level, after it has had all\n"
	"                      pages once; 1 if not given\n"
	"      --level=LIST  these alone, for example lz4=1,lzo,zstd=3,zstd=19\n"
	"      --pages=N     as many at most, spread evenly over the files; 16384, which\n"
	"                      are 64 MiB, if not given\n"
	"  -h, --help        print this help\n"
	"\n"
	"No FILE: $XDG_CACHE_HOME/" CORPUS_NAME ", or the like in " CORPUS_DIRECTORY ",\n"
	"which tests/bench/pages makes.\n"
	"In the table: MiB/s are of pages, in and out; the ratio is pages to objects,\n"
	"with a huge page (one that hardly compresses, and is stored as it is) as 4096\n"
	"bytes.\n";

enum {
	OPTION_SECONDS = 256,
	OPTION_LEVEL,
	OPTION_PAGES,
};

static const struct option long_options[] = {
	{ "seconds", required_argument, NULL, OPTION_SECONDS },
	{ "level", required_argument, NULL, OPTION_LEVEL },
	{ "pages", required_argument, NULL, OPTION_PAGES },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct sample {
	uint8_t *pages;
	uint32_t n_pages;
	uint32_t n_same;  /* that were passed over */
	uint64_t n_input; /* of all files */
};

struct object {
	uint32_t n_bytes; /* ZR_PAGE_SIZE: huge */
	uint32_t at;      /* in units of 16 bytes, as in the pool */
};

struct row {
	struct tool_codec codec;
	uint64_t n_bytes; /* of all objects of the sample, huge ones included */
	uint32_t n_huge;  /* of the sample */
	/* Of each round: as many as fit the time, spread over the sample. */
	uint32_t n_in, n_out;
	double in_s[N_ROUNDS_MAX], out_s[N_ROUNDS_MAX];
};

struct bench {
	struct sample sample;
	struct zr_workspace *workspace;
	struct row rows[N_CODECS_MAX];
	unsigned int n_rows, n_rounds;
	double seconds;
	struct object *objects;
	uint8_t *memory; /* for objects */
};

/* Of this thread: what others do on the machine is in it only as far as caches go. */
static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The i-th page of n that are spread over the sample. */
static const uint8_t *page_at(const struct bench *bench, uint32_t i, uint32_t n)
{
	const uint64_t page_no = (uint64_t)i * bench->sample.n_pages / n;

	return bench->sample.pages + (page_no << ZR_PAGE_SHIFT);
}

/* Return: seconds; objects[] and memory[] have the rest. */
static double compress(struct bench *bench, const struct row *row, uint32_t n)
{
	uint8_t bytes[ZR_CODEC_BOUND];
	uint32_t i, at = 0;
	size_t n_bytes;
	double start = now_s();

	for (i = 0; i < n; ++i) {
		if (zr_codec_compress(bench->workspace, &row->codec.params, page_at(bench, i, n),
				      bytes, OBJECT_BYTES_MAX, &n_bytes)) {
			bench->objects[i] = (struct object){ .n_bytes = ZR_PAGE_SIZE };
			continue;
		}
		bench->objects[i] = (struct object){ .n_bytes = (uint32_t)n_bytes, .at = at };
		memcpy(bench->memory + (size_t)at * 16, bytes, n_bytes);
		at += (uint32_t)(n_bytes + 15) / 16;
	}
	return now_s() - start;
}

static bool decompress_one(struct bench *bench, const struct row *row, const struct object *object,
			   uint8_t *page)
{
	return zr_codec_decompress(bench->workspace, &row->codec.params,
				   bench->memory + (size_t)object->at * 16, object->n_bytes,
				   page) == 0;
}

/* Those that are compressed: what a huge page takes is a memcpy(). Return: seconds. */
static double decompress(struct bench *bench, const struct row *row, uint32_t n)
{
	static uint8_t page[ZR_PAGE_SIZE];
	double start = now_s();
	uint32_t i;

	for (i = 0; i < n; ++i) {
		if (bench->objects[i].n_bytes < ZR_PAGE_SIZE)
			(void)decompress_one(bench, row, &bench->objects[i], page);
	}
	return now_s() - start;
}

static uint32_t n_compressed(const struct bench *bench, uint32_t n)
{
	uint32_t i, n_compressed = 0;

	for (i = 0; i < n; ++i)
		n_compressed += bench->objects[i].n_bytes < ZR_PAGE_SIZE;
	return n_compressed;
}

/* The whole sample once: sizes, whether each page comes back, and about how fast. */
static void row_survey(struct bench *bench, struct row *row)
{
	const uint32_t n = bench->sample.n_pages;
	const double wanted_s = bench->seconds / bench->n_rounds;
	double seconds = compress(bench, row, n);
	uint8_t page[ZR_PAGE_SIZE];
	uint32_t i;

	for (i = 0; i < n; ++i) {
		const struct object *object = &bench->objects[i];

		row->n_bytes += object->n_bytes;
		if (object->n_bytes == ZR_PAGE_SIZE) {
			++row->n_huge;
			continue;
		}
		if (!decompress_one(bench, row, object, page) ||
		    memcmp(page, page_at(bench, i, n), ZR_PAGE_SIZE) != 0) {
			tool_error("%s: a page did not come back as it was", row->codec.text);
			exit(TOOL_EXIT_FAILED);
		}
	}

	seconds += decompress(bench, row, n);
	row->n_in = n;
	if (seconds > wanted_s)
		row->n_in = (uint32_t)zr_max((uint64_t)(n * (wanted_s / seconds)),
					     zr_min(n, N_PAGES_MIN));
}

static void rows_measure(struct bench *bench)
{
	unsigned int round, k;
	struct row *row;

	for (k = 0; k < bench->n_rows; ++k) {
		tool_progress("all pages with %s", bench->rows[k].codec.text);
		row_survey(bench, &bench->rows[k]);
	}
	/* A B B A: what gets slower or faster meanwhile does so for all. */
	for (round = 0; round < bench->n_rounds; ++round) {
		for (k = 0; k < bench->n_rows; ++k) {
			row = &bench->rows[round % 2 ? bench->n_rows - 1 - k : k];
			tool_progress("round %u of %u: %s", round + 1, bench->n_rounds,
				      row->codec.text);
			row->in_s[round] = compress(bench, row, row->n_in);
			row->out_s[round] = decompress(bench, row, row->n_in);
			row->n_out = n_compressed(bench, row->n_in);
		}
	}
	tool_progress(NULL);
}

static int double_compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, unsigned int n)
{
	qsort(values, n, sizeof(*values), double_compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double mib_per_s(uint32_t n_pages, double seconds)
{
	return seconds > 0 ? n_pages / 256.0 / seconds : 0;
}

static void print_table(struct bench *bench)
{
	const struct sample *sample = &bench->sample;
	const double n_seen = (double)sample->n_pages + sample->n_same;
	unsigned int k;

	printf("%u pages of %llu, and %u same-filled (%.1f %%) that no codec sees\n\n",
	       sample->n_pages, (unsigned long long)sample->n_input, sample->n_same,
	       n_seen > 0 ? 100 * sample->n_same / n_seen : 0);
	printf("%-12s %10s %10s %8s %8s %12s\n", "codec:level", "in MiB/s", "out MiB/s", "ratio",
	       "huge %", "compr. KiB");
	for (k = 0; k < bench->n_rows; ++k) {
		struct row *row = &bench->rows[k];

		printf("%-12s %10.0f %10.0f %8.3f %8.2f %12.1f\n", row->codec.text,
		       mib_per_s(row->n_in, median(row->in_s, bench->n_rounds)),
		       mib_per_s(row->n_out, median(row->out_s, bench->n_rounds)),
		       (double)sample->n_pages * ZR_PAGE_SIZE / (double)row->n_bytes,
		       100.0 * row->n_huge / sample->n_pages, (double)row->n_bytes / 1024);
	}
}

/* Pages first_no and on of the whole are those of @input. */
static int input_sample(struct sample *sample, const struct tool_input *input, uint64_t first_no,
			uint64_t n_wanted)
{
	uint64_t i, page_no, word;
	uint8_t *page;

	for (i = 0; i < n_wanted; ++i) {
		page_no = i * sample->n_input / n_wanted;
		if (page_no < first_no || page_no >= first_no + input->n_pages)
			continue;
		page = sample->pages + ((size_t)sample->n_pages << ZR_PAGE_SHIFT);
		if (tool_input_read(input, page_no - first_no, page, 1) < 0)
			return -1;
		if (zr_fill_detect(page, &word))
			++sample->n_same;
		else
			++sample->n_pages;
		if (i % 1024 == 0)
			tool_progress("%s: reading", input->path);
	}
	return 0;
}

static int sample_take(struct sample *sample, const char *const *paths, unsigned int n_paths,
		       uint32_t n_pages_max)
{
	struct tool_input input;
	uint64_t first_no = 0, n_wanted;
	unsigned int i;
	int r;

	for (i = 0; i < n_paths; ++i) {
		if (tool_input_open(&input, paths[i]) < 0)
			return -1;
		sample->n_input += input.n_pages;
		tool_input_close(&input);
	}
	n_wanted = zr_min(sample->n_input, n_pages_max);
	sample->pages = malloc((size_t)(n_wanted + 1) << ZR_PAGE_SHIFT);
	if (!sample->pages) {
		tool_error("%s", strerror(errno));
		return -1;
	}
	for (i = 0; i < n_paths; ++i) {
		if (tool_input_open(&input, paths[i]) < 0)
			return -1;
		r = input_sample(sample, &input, first_no, n_wanted);
		first_no += input.n_pages;
		tool_input_close(&input);
		if (r < 0)
			return -1;
	}
	tool_progress(NULL);
	if (sample->n_pages == 0) {
		tool_error("%s: no page but same-filled ones", paths[0]);
		return -1;
	}
	return 0;
}

/* Return: false with the error printed. */
static bool number_parse(const char *option, const char *text, double min, double max,
			 double *numberp)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end || !(number >= min && number <= max)) {
		tool_error("%s: '%s' is no number from %g to %g", option, text, min, max);
		return false;
	}
	*numberp = number;
	return true;
}

/* What tests/bench/pages makes when it is not told where. */
static const char *corpus_path(void)
{
	static char path[4096];
	const char *cache = getenv("XDG_CACHE_HOME");

	snprintf(path, sizeof(path), "%s/" CORPUS_NAME, cache && *cache ? cache : CORPUS_DIRECTORY);
	return path;
}

static int run(struct bench *bench, const char *const *paths, unsigned int n_paths,
	       uint32_t n_pages_max)
{
	int r;

	if (sample_take(&bench->sample, paths, n_paths, n_pages_max) < 0)
		return TOOL_EXIT_FAILED;
	bench->objects = calloc(bench->sample.n_pages, sizeof(*bench->objects));
	bench->memory = malloc((size_t)bench->sample.n_pages << ZR_PAGE_SHIFT);
	r = zr_workspace_new(&bench->workspace);
	if (!bench->objects || !bench->memory || r < 0) {
		tool_error("%s", strerror(ENOMEM));
		return TOOL_EXIT_FAILED;
	}
	rows_measure(bench);
	print_table(bench);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct bench bench;
	static struct tool_codec codecs[N_CODECS_MAX];
	const char *list = DEFAULT_CODECS, *corpus = corpus_path();
	double seconds = 1, n_pages_max = PAGES_DEFAULT;
	int option, n, i;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case OPTION_SECONDS:
			if (!number_parse("--seconds", optarg, 0.001, 3600, &seconds))
				return TOOL_EXIT_USAGE;
			break;
		case OPTION_LEVEL:
			list = optarg;
			break;
		case OPTION_PAGES:
			if (!number_parse("--pages", optarg, 1, N_PAGES_MAX, &n_pages_max))
				return TOOL_EXIT_USAGE;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			return TOOL_EXIT_USAGE;
		}
	}
	n = tool_codecs_parse("--level", list, codecs, N_CODECS_MAX);
	if (n < 0)
		return TOOL_EXIT_USAGE;
	for (i = 0; i < n; ++i)
		bench.rows[i].codec = codecs[i];
	bench.n_rows = (unsigned int)n;
	bench.seconds = seconds;
	bench.n_rounds = seconds >= 0.5 ? 5 : N_ROUNDS_MIN;
	if (argv[optind])
		return run(&bench, (const char *const *)argv + optind,
			   (unsigned int)(argc - optind), (uint32_t)n_pages_max);
	if (access(corpus, R_OK) < 0) {
		tool_error("%s: %s; make it with tests/bench/pages, or name another", corpus,
			   strerror(errno));
		return TOOL_EXIT_USAGE;
	}
	return run(&bench, &corpus, 1, (uint32_t)n_pages_max);
}
