/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Gives files to a fuzz target, one by one: each argument is a file, or a directory of them. What
 * libFuzzer found once is so tried again by every compiler.
 */

#include "test.h"

#include <dirent.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* For a target that keeps something from one input to the next. */
__attribute__((weak)) void fuzz_tear_down(void);

/* In memory of just its size, so that a sanitizer sees what is read past its end. */
static void file_give(const char *path)
{
	FILE *file = fopen(path, "r");
	struct stat st;
	uint8_t *bytes;
	size_t n_bytes;

	CHECK(file);
	CHECK(fstat(fileno(file), &st) == 0);
	n_bytes = (size_t)st.st_size;
	bytes = malloc(n_bytes > 0 ? n_bytes : 1);
	CHECK(bytes);
	CHECK(fread(bytes, 1, n_bytes, file) == n_bytes);
	fclose(file);

	printf("# %s\n", path);
	fflush(stdout);
	CHECK(LLVMFuzzerTestOneInput(bytes, n_bytes) == 0);
	free(bytes);
}

static unsigned int directory_give(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	unsigned int n_files = 0;
	char below[4096];

	CHECK(directory);
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		file_give(below);
		++n_files;
	}
	closedir(directory);
	return n_files;
}

int main(int argc, char **argv)
{
	unsigned int n_files = 0;
	struct stat st;
	int i;

	for (i = 1; i < argc; ++i) {
		CHECK(stat(argv[i], &st) == 0);
		if (S_ISDIR(st.st_mode)) {
			n_files += directory_give(argv[i]);
		} else {
			file_give(argv[i]);
			++n_files;
		}
	}

	if (fuzz_tear_down)
		fuzz_tear_down();
	CHECK(n_files > 0);
	printf("ok %u files\n", n_files);
	return 0;
}
