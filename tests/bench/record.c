/* SPDX-License-Identifier: GPL-2.0-or-later */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "fill.h"
#include "slot.h"
#include "tool.h"
#include "trace.h"

/* Longer than this is no compression: one byte less than the page. */
#define LIMIT_BYTES (ZR_PAGE_SIZE - 1)

/* Pages read at once: 1 MiB. */
#define N_PAGES_AT_ONCE 256u

static const char usage[] =
	"Usage: record [-o TRACE] [--codecs CODEC[:LEVEL],...] FILE|DEVICE...\n"
	"Write a trace: how long each page is under each codec, not what is in it.\n"
	"Holes are left out. The pages of a second file follow those of the first.\n"
	"\n"
	"  -o, --output=TRACE  where to; standard output if not given\n"
	"      --codecs=LIST   lz4,lzo,zstd if not given; up to 8, such as lz4,zstd:9\n"
	"  -h, --help          print this help\n"
	"\n"
	"tests/bench/README says what the lines mean.\n";

enum {
	OPTION_CODECS = 256,
};

static const struct option long_options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "codecs", required_argument, NULL, OPTION_CODECS },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct recorder {
	FILE *trace;
	const char *trace_name;
	struct zr_workspace *workspace;
	struct tool_codec codecs[TRACE_CODECS_MAX];
	unsigned int n_codecs;
	uint64_t n_pages, n_same;
};

static uint8_t pages[N_PAGES_AT_ONCE * ZR_PAGE_SIZE];

static unsigned int same_bytes(uint64_t word)
{
	zr_slot slot;

	return zr_slot_same(word, &slot) ? TRACE_BYTES_SAME : TRACE_BYTES_SAME_OBJECT;
}

static void page_record(struct recorder *recorder, uint64_t page_no, const uint8_t *page)
{
	uint8_t object[ZR_CODEC_BOUND];
	uint64_t word;
	unsigned int i;
	bool same = zr_fill_detect(page, &word);
	size_t n_bytes;

	fprintf(recorder->trace, "w %llu", (unsigned long long)page_no);
	for (i = 0; i < recorder->n_codecs; ++i) {
		if (same)
			n_bytes = same_bytes(word);
		else if (zr_codec_compress(recorder->workspace, &recorder->codecs[i].params, page,
					   object, LIMIT_BYTES, &n_bytes))
			n_bytes = TRACE_BYTES_RAW;
		fprintf(recorder->trace, " %zu", n_bytes);
	}
	fputc('\n', recorder->trace);
	++recorder->n_pages;
	recorder->n_same += same;
}

/* Pages @first_no on of the trace. Return: 0, or -1 with the error printed. */
static int input_record(struct recorder *recorder, const struct tool_input *input,
			uint64_t first_no)
{
	uint64_t page_no = 0, n_data, i, n;

	while ((n_data = tool_input_data(input, page_no, &page_no)) > 0) {
		n = zr_min(n_data, N_PAGES_AT_ONCE);
		if (tool_input_read(input, page_no, pages, n) < 0)
			return -1;
		for (i = 0; i < n; ++i)
			page_record(recorder, first_no + page_no + i, pages + i * ZR_PAGE_SIZE);
		page_no += n;
		tool_progress("%s: %llu of %llu MiB", input->path, (unsigned long long)page_no >> 8,
			      (unsigned long long)input->n_pages >> 8);
		if (ferror(recorder->trace))
			return 0; /* told when the trace is closed */
	}
	return 0;
}

/* A file that is not there is no reason to write over an earlier trace. */
static int inputs_check(char **paths)
{
	struct tool_input input;
	uint64_t n_pages = 0;

	for (; *paths; ++paths) {
		if (tool_input_open(&input, *paths) < 0)
			return -1;
		tool_input_close(&input);
		n_pages += input.n_pages;
		if (n_pages > ZR_DISK_PAGES_MAX) {
			tool_error("%s: too long: a trace has up to %llu pages", *paths,
				   (unsigned long long)ZR_DISK_PAGES_MAX);
			return -1;
		}
	}
	return 0;
}

static int inputs_record(struct recorder *recorder, char **paths)
{
	struct tool_input input;
	uint64_t first_no = 0;
	int r;

	for (; *paths; ++paths) {
		if (tool_input_open(&input, *paths) < 0)
			return -1;
		/* No name: it may say more than its owner would. */
		fprintf(recorder->trace, "# %llu pages, from %llu\n",
			(unsigned long long)input.n_pages, (unsigned long long)first_no);
		r = input_record(recorder, &input, first_no);
		tool_input_close(&input);
		if (r < 0)
			return -1;
		first_no += input.n_pages;
	}
	return 0;
}

static int record(struct recorder *recorder, char **paths)
{
	unsigned int i;
	int r;

	r = zr_workspace_new(&recorder->workspace);
	if (r < 0) {
		tool_error("%s", strerror(-r));
		return -1;
	}
	fprintf(recorder->trace, "zramfs-trace %u", TRACE_VERSION);
	for (i = 0; i < recorder->n_codecs; ++i)
		fprintf(recorder->trace, " %s", recorder->codecs[i].text);
	fputc('\n', recorder->trace);

	r = inputs_record(recorder, paths);
	/* The last line: without it, the trace was cut off. */
	if (r == 0)
		fprintf(recorder->trace, "# end: %llu pages, %llu same-filled\n",
			(unsigned long long)recorder->n_pages,
			(unsigned long long)recorder->n_same);

	recorder->workspace = zr_workspace_free(recorder->workspace);
	tool_progress(NULL);
	return r;
}

static int output_open(struct recorder *recorder, const char *path)
{
	recorder->trace_name = path;
	recorder->trace = fopen(path, "we");
	if (recorder->trace)
		return 0;
	tool_error("%s: cannot open: %s", path, strerror(errno));
	return -1;
}

static int output_close(struct recorder *recorder)
{
	bool failed = ferror(recorder->trace);

	errno = 0;
	if (fclose(recorder->trace) == 0 && !failed)
		return 0;
	tool_error("%s: cannot write%s%s", recorder->trace_name, errno ? ": " : "",
		   errno ? strerror(errno) : "");
	return -1;
}

int main(int argc, char **argv)
{
	struct recorder recorder = { .trace = stdout, .trace_name = "standard output" };
	const char *list = "lz4,lzo,zstd", *output = NULL;
	int option, n, r;

	while ((option = getopt_long(argc, argv, "o:h", long_options, NULL)) != -1) {
		switch (option) {
		case 'o':
			output = optarg;
			break;
		case OPTION_CODECS:
			list = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			return TOOL_EXIT_USAGE;
		}
	}
	n = tool_codecs_parse("--codecs", list, recorder.codecs, TRACE_CODECS_MAX);
	if (n < 0)
		return TOOL_EXIT_USAGE;
	recorder.n_codecs = (unsigned int)n;
	if (!argv[optind]) {
		tool_error("no file: see --help");
		return TOOL_EXIT_USAGE;
	}
	if (inputs_check(argv + optind) < 0 || (output && output_open(&recorder, output) < 0))
		return TOOL_EXIT_FAILED;
	r = record(&recorder, argv + optind);
	if (output_close(&recorder) < 0)
		r = -1;
	return r < 0 ? TOOL_EXIT_FAILED : EXIT_SUCCESS;
}
