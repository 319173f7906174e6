/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool progress_shown;

void tool_error(const char *format, ...)
{
	va_list list;

	tool_progress(NULL);
	fflush(stdout);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
}

void tool_progress(const char *format, ...)
{
	va_list list;

	if (!isatty(STDERR_FILENO) || (!format && !progress_shown))
		return;

	fputs("\r\033[K", stderr);
	progress_shown = format;
	if (format) {
		va_start(list, format);
		vfprintf(stderr, format, list);
		va_end(list);
	}
	fflush(stderr);
}

/* Return: false for what is not a whole number that fits. */
static bool level_parse(const char *text, int32_t *levelp)
{
	char *end;
	long level;

	errno = 0;
	level = strtol(text, &end, 10);
	if (errno || end == text || *end || level <= INT32_MIN || level > INT32_MAX)
		return false;
	*levelp = (int32_t)level;
	return true;
}

/* One NAME[:LEVEL]; @word is cut up. */
static int codec_parse(const char *option, char *word, struct tool_codec *codec)
{
	const struct zr_codec *table;
	char *level = strpbrk(word, ":=");

	if (level)
		*level++ = '\0';
	if (zr_codec_find(word, &codec->params) < 0) {
		tool_error("%s: '%s' is no codec: lz4, lz4hc, lzo, lzo-rle, zstd", option, word);
		return -1;
	}
	snprintf(codec->text, sizeof(codec->text), "%s", word);
	if (!level)
		return 0;

	table = zr_codec_by_algorithm(codec->params.algorithm);
	if (table->level_min == table->level_max) {
		tool_error("%s: %s has no levels", option, word);
		return -1;
	}
	if (!level_parse(level, &codec->params.level) || zr_codec_check(&codec->params) < 0) {
		tool_error("%s: '%s' is no level of %s: %d to %d", option, level, word,
			   table->level_min, table->level_max);
		return -1;
	}
	snprintf(codec->text, sizeof(codec->text), "%s:%d", word, codec->params.level);
	return 0;
}

int tool_codecs_parse(const char *option, const char *text, struct tool_codec *codecs,
		      unsigned int n_codecs_max)
{
	ZR_CLEANUP(zr_freep) char *copy = strdup(text);
	char *word, *rest = copy;
	unsigned int n = 0;

	if (!copy) {
		tool_error("%s", strerror(errno));
		return -1;
	}
	while ((word = strsep(&rest, ","))) {
		if (n == n_codecs_max) {
			tool_error("%s: more than %u codecs", option, n_codecs_max);
			return -1;
		}
		if (codec_parse(option, word, &codecs[n]) < 0)
			return -1;
		++n;
	}
	return (int)n;
}

int tool_input_open(struct tool_input *input, const char *path)
{
	struct stat stat;
	off_t end;

	*input = (struct tool_input){ .path = path, .fd = open(path, O_RDONLY | O_CLOEXEC) };
	if (input->fd < 0) {
		tool_error("%s: cannot open: %s", path, strerror(errno));
		return -1;
	}
	if (fstat(input->fd, &stat) < 0 || !(S_ISREG(stat.st_mode) || S_ISBLK(stat.st_mode))) {
		tool_error("%s: neither a file nor a block device", path);
		tool_input_close(input);
		return -1;
	}
	end = lseek(input->fd, 0, SEEK_END);
	if (end < 0) {
		tool_error("%s: cannot tell its size: %s", path, strerror(errno));
		tool_input_close(input);
		return -1;
	}
	input->n_bytes = (uint64_t)end;
	input->n_pages = zr_align_up(input->n_bytes, ZR_PAGE_SIZE) >> ZR_PAGE_SHIFT;
	return 0;
}

void tool_input_close(struct tool_input *input)
{
	if (input->fd >= 0)
		close(input->fd);
	input->fd = -1;
}

int tool_input_read(const struct tool_input *input, uint64_t page_no, void *pages, size_t n_pages)
{
	uint64_t at = page_no << ZR_PAGE_SHIFT, done = 0;
	uint64_t n_wanted = zr_min((uint64_t)n_pages << ZR_PAGE_SHIFT, input->n_bytes - at);
	uint8_t *bytes = pages;
	ssize_t n;

	while (done < n_wanted) {
		n = pread(input->fd, bytes + done, n_wanted - done, (off_t)(at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			tool_error("%s: cannot read at byte %llu: %s", input->path,
				   (unsigned long long)(at + done),
				   n < 0 ? strerror(errno) : "it has become shorter");
			return -1;
		}
		done += (uint64_t)n;
	}
	memset(bytes + done, 0, ((uint64_t)n_pages << ZR_PAGE_SHIFT) - done);
	return 0;
}

uint64_t tool_input_data(const struct tool_input *input, uint64_t page_no, uint64_t *data_nop)
{
	off_t data, hole;
	uint64_t end_no = input->n_pages;

	if (page_no >= input->n_pages)
		return 0;

	data = lseek(input->fd, (off_t)(page_no << ZR_PAGE_SHIFT), SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		return 0;
	if (data < 0) { /* a device: all of it is data */
		*data_nop = page_no;
		return end_no - page_no;
	}
	hole = lseek(input->fd, data, SEEK_HOLE);
	if (hole >= 0)
		end_no = zr_min(end_no, zr_align_up((uint64_t)hole, ZR_PAGE_SIZE) >> ZR_PAGE_SHIFT);

	*data_nop = zr_max(page_no, (uint64_t)data >> ZR_PAGE_SHIFT);
	return end_no - *data_nop;
}
