/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "test.h"

#include <fcntl.h>

#include "trace.h"

#define HEADER "zramfs-trace 1 lz4 zstd:-5\n"

/* Everything that is read is this file. */
static char path[] = "/tmp/test-trace-XXXXXX";
static struct rng rng;

static void text_put(const void *text, size_t n_text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(write(fd, text, n_text) == (ssize_t)n_text);
	CHECK(close(fd) == 0);
}

/* Errors are printed; here they would only be in the way. Return: what it was before. */
static int stderr_to(int fd)
{
	int old = dup(STDERR_FILENO);

	CHECK(old >= 0);
	CHECK(dup2(fd, STDERR_FILENO) >= 0);
	return old;
}

/* Read all of it. Return: operations, or -1 if there was an error; *linep is where it ended. */
static int text_read(const char *text, size_t n_text, unsigned long *linep, struct trace_op *last)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), old, r, n_ops = 0;
	struct trace_op op;
	struct trace trace;

	text_put(text, n_text);
	old = stderr_to(null);
	r = trace_open(&trace, path);
	if (r == 0) {
		while ((r = trace_next(&trace, &op)) > 0) {
			*last = op;
			++n_ops;
		}
		trace_close(&trace);
	}
	*linep = trace.line;
	close(stderr_to(old));
	close(old);
	close(null);
	return r < 0 ? -1 : n_ops;
}

static void test_each_operation_is_read(void)
{
	static const char text[] = "# by hand\n\n" HEADER "w 0 4096 1\n"
				   "# and so on\n"
				   " w\t68719476735 3632  4095 \r\n"
				   "w 7 0 0\n"
				   "w 8 8 8\n"
				   "d 5 1000\n"
				   "r 6";
	struct trace_op op;
	struct trace trace;

	text_put(text, strlen(text));
	CHECK(trace_open(&trace, path) == 0);
	CHECK(trace.n_codecs == 2);
	CHECK(strcmp(trace.codecs[0].name, "lz4") == 0);
	CHECK(trace.codecs[0].level == ZR_CODEC_LEVEL_DEFAULT);
	CHECK(strcmp(trace.codecs[1].name, "zstd") == 0);
	CHECK(trace.codecs[1].level == -5);
	CHECK(trace_column(&trace, "zstd") == 1);
	CHECK(trace_column(&trace, "lzo") == -1);

	CHECK(trace_next(&trace, &op) == 1);
	CHECK(op.kind == TRACE_WRITE && op.page_no == 0 && op.n_pages == 1);
	CHECK(op.n_bytes[0] == TRACE_BYTES_RAW && op.n_bytes[1] == 1);
	CHECK(trace.line == 4);
	CHECK(trace_next(&trace, &op) == 1);
	CHECK(op.kind == TRACE_WRITE && op.page_no == ZR_DISK_PAGES_MAX - 1);
	CHECK(op.n_bytes[0] == 3632 && op.n_bytes[1] == 4095);
	CHECK(trace_next(&trace, &op) == 1);
	CHECK(op.n_bytes[0] == TRACE_BYTES_SAME && op.n_bytes[1] == TRACE_BYTES_SAME);
	CHECK(trace_next(&trace, &op) == 1);
	CHECK(op.n_bytes[0] == TRACE_BYTES_SAME_OBJECT);
	CHECK(trace_next(&trace, &op) == 1);
	CHECK(op.kind == TRACE_DISCARD && op.page_no == 5 && op.n_pages == 1000);
	CHECK(trace_next(&trace, &op) == 1);
	CHECK(op.kind == TRACE_READ && op.page_no == 6 && op.n_pages == 1);
	CHECK(trace_next(&trace, &op) == 0);
	CHECK(trace_next(&trace, &op) == 0);
	trace_close(&trace);
}

static void test_headers_are_checked(void)
{
	static const char *const good[] = {
		"zramfs-trace 1 lz4",
		"zramfs-trace 1 name-of-15-byte:2147483647\n",
		"zramfs-trace 1 a b c d e f g h\n",
	};
	static const char *const bad[] = {
		"",
		"\n# nothing\n",
		"w 1 2 3\n",
		"zramfs-trace\n",
		"zramfs-trace 2 lz4\n",
		"zramfs-trace 1\n",
		"zramfs-trace 1 a-name-of-16-byt\n",
		"zramfs-trace 1 :3\n",
		"zramfs-trace 1 zstd:\n",
		"zramfs-trace 1 zstd:x\n",
		"zramfs-trace 1 zstd:3x\n",
		"zramfs-trace 1 zstd:99999999999\n",
		"zramfs-trace 1 a b c d e f g h i\n",
		"zramfs-trace1 a\n",
		"zramfs-traces 1 a\n",
		"\177ELF\n",
	};
	struct trace_op op;
	unsigned long line;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(good); ++i)
		CHECK(text_read(good[i], strlen(good[i]), &line, &op) == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i)
		CHECK(text_read(bad[i], strlen(bad[i]), &line, &op) == -1);
}

static void test_bad_lines_are_refused_and_named(void)
{
	static const char *const lines[] = {
		"x",
		"w",
		"w 1",
		"w 1 2",
		"w 1 2 3 4",
		"w -1 2 3",
		"w 1 2 -3",
		"w 1 4097 3",
		"w 1 2 3x",
		"w 1 2,3",
		"w 1 0 3",
		"w 1 3 0",
		"w 1 8 3",
		"w 1 3 8",
		"w 1 0 8",
		"d",
		"d 1",
		"d 1 0",
		"d 1 2 3",
		"d 1 68719476736",
		"r",
		"r 1 2",
		"r x",
		"r +1",
		"r 68719476736",
		"write 1 2 3",
		"w1 2 3",
		"r 99999999999999999999999",
		"d 0x10 1",
		"r 1.0",
	};
	char text[256];
	struct trace_op op;
	unsigned long line;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(lines); ++i) {
		snprintf(text, sizeof(text), HEADER "w 1 2 3\n%s\nw 1 2 3\n", lines[i]);
		CHECK(text_read(text, strlen(text), &line, &op) == -1);
		CHECK(line == 3);
	}
}

/* Whatever comes, it is told apart from operations or is one that can be carried out. */
static void test_garbage_is_contained(void)
{
	static const char alphabet[] = "wdr 0123456789 \n\n# -:x\t\r\0";
	char text[512];
	struct trace_op op = { .n_pages = 1 };
	unsigned long line;
	unsigned int round;
	size_t i, n;

	for (round = 0; round < 3000; ++round) {
		n = (size_t)snprintf(text, sizeof(text), round % 8 ? HEADER : "");
		for (i = rng_below(&rng, sizeof(text) - n); i > 0; --i)
			text[n++] = rng_below(&rng, 50)
					    ? alphabet[rng_below(&rng, sizeof(alphabet))]
					    : (char)rng_next(&rng);
		if (text_read(text, n, &line, &op) <= 0)
			continue;
		CHECK(op.n_pages > 0 && op.page_no < ZR_DISK_PAGES_MAX);
		CHECK(op.n_pages <= ZR_DISK_PAGES_MAX - op.page_no);
	}
}

static void test_missing_file_is_an_error(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), old = stderr_to(null);
	struct trace trace;

	CHECK(trace_open(&trace, "/nowhere/trace") == -1);
	CHECK(trace_open(&trace, "/tmp") == -1);
	close(stderr_to(old));
	close(old);
	close(null);
}

int main(void)
{
	rng = rng_init("test-trace");
	CHECK(close(mkstemp(path)) == 0);

	RUN(test_each_operation_is_read);
	RUN(test_headers_are_checked);
	RUN(test_bad_lines_are_refused_and_named);
	RUN(test_garbage_is_contained);
	RUN(test_missing_file_is_an_error);
	CHECK(unlink(path) == 0);
	return 0;
}
