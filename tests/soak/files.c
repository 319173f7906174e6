/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Files of a filesystem on a disk: written, fsynced, renamed over what was there, and read back
 * without the cache.
 *
 * A file has a name and a round; all of its pages say which. What was written last is what must be
 * there.
 */

#include "load.h"
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#define N_THREADS  4u
#define N_FILES    12u /* of each thread */
#define FILE_PAGES 64u /* at the most */
#define NAME_BYTES 32u

struct kept {
	uint32_t round; /* 0: there is no such file */
	unsigned int n_pages;
};

struct worker {
	unsigned int no;
	int directory;
	struct rng rng;
	uint8_t *bytes;
	struct kept files[N_FILES];
};

static const char *top;
static uint64_t seed;
static _Atomic uint64_t n_written, n_read;

static struct page_name name_of(unsigned int no, unsigned int page)
{
	return (struct page_name){ .key = (uint8_t)(no + 1), .no = page };
}

static void must(int r, const char *what, unsigned int no)
{
	if (r < 0)
		load_fail("%s of file %u: %s", what, no, strerror(errno));
}

static void file_name(char name[NAME_BYTES], unsigned int no)
{
	snprintf(name, NAME_BYTES, "file%u", no);
}

static void write_file(struct worker *worker, unsigned int no)
{
	struct kept *kept = &worker->files[no];
	const unsigned int n_pages = 1 + (unsigned int)rng_below(&worker->rng, FILE_PAGES);
	const ssize_t n_bytes = (ssize_t)n_pages * PAGE_BYTES;
	char name[NAME_BYTES];
	unsigned int i;
	int file;

	for (i = 0; i < n_pages; ++i)
		page_make(worker->bytes + i * PAGE_BYTES, name_of(no, i), kept->round + 1);
	file_name(name, no);
	file = openat(worker->directory, "new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	must(file, "open", no);
	if (write(file, worker->bytes, (size_t)n_bytes) != n_bytes)
		load_fail("write of file %u: %s", no, strerror(errno));
	must(fsync(file), "fsync", no);
	must(close(file), "close", no);
	must(renameat(worker->directory, "new", worker->directory, name), "rename", no);
	must(fsync(worker->directory), "fsync of the directory", no);
	*kept = (struct kept){ .round = kept->round + 1, .n_pages = n_pages };
	atomic_fetch_add(&n_written, 1);
}

static void check_file(struct worker *worker, unsigned int no)
{
	const struct kept *kept = &worker->files[no];
	char name[NAME_BYTES];
	unsigned int i;
	ssize_t n;
	int file;

	file_name(name, no);
	file = openat(worker->directory, name, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (kept->round == 0) {
		if (file >= 0 || errno != ENOENT)
			load_fail("file %u: was never written, and is there", no);
		return;
	}
	must(file, "open", no);
	n = read(file, worker->bytes, (size_t)FILE_PAGES * PAGE_BYTES);
	if (n != (ssize_t)(kept->n_pages * PAGE_BYTES))
		load_fail("read of file %u: %s", no, n < 0 ? strerror(errno) : "wrong length");
	for (i = 0; i < kept->n_pages; ++i) {
		const char *wrong = page_check(worker->bytes + i * PAGE_BYTES, name_of(no, i),
					       kept->round, kept->round, false, NULL);

		if (wrong)
			load_fail("page %u of file %u of thread %u %s", i, no, worker->no, wrong);
	}
	must(close(file), "close", no);
	atomic_fetch_add(&n_read, 1);
}

static void run(unsigned int no)
{
	struct worker worker = { .no = no, .rng = { .state = seed + no } };
	char name[NAME_BYTES];
	unsigned int i;

	worker.bytes = load_buffer((size_t)FILE_PAGES * PAGE_BYTES);
	snprintf(name, sizeof(name), "thread%u", no);
	worker.directory = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	must(worker.directory, "directory", no);
	must(mkdirat(worker.directory, name, 0700), "mkdir", no);
	worker.directory = openat(worker.directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(worker.directory, "directory", no);

	while (load_goes_on()) {
		i = (unsigned int)rng_below(&worker.rng, N_FILES);
		load_asks(no, "file", i);
		if (rng_below(&worker.rng, 3) > 0)
			write_file(&worker, i);
		check_file(&worker, i);
		load_has(no);
	}
	for (i = 0; i < N_FILES; ++i)
		check_file(&worker, i);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		load_fail("usage: files DIRECTORY");
	load_init();
	seed = rng_init("files").state;
	top = argv[1];
	load_run(N_THREADS, run);
	printf("%llu files written, %llu read back\n", (unsigned long long)n_written,
	       (unsigned long long)n_read);
	return EXIT_SUCCESS;
}
