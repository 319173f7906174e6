/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Writes and verified reads of one file of a mount, many at once.
 *
 * The file is cut into regions of one writer each. For each page it is noted which round is there
 * at the least and which one is on its way; so a reader of any page knows what it may find: nothing
 * older than what a finished write left or somebody has seen, nothing newer than what was begun,
 * nothing but whole pages. Holes look all alike, but SEEK_DATA and SEEK_HOLE must find those of a
 * region for whoever writes it.
 *
 * The last writers are different: they submit a batch of requests at a time (io_submit).
 */

#include "load.h"
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

#define REGION_PAGES 2048u
#define N_WRITERS    6u
#define N_BATCHERS   2u /* of the writers */
#define N_READERS    3u
#define N_PAGES      (N_WRITERS * REGION_PAGES)

#define RANGE_PAGES_MAX 256u
#define BATCH_PAGES     16u
#define N_BATCH         16u

/* Rounds: a write is a multiple of 4, a hole the 2 behind one. A write behind a hole leaves a
 * multiple out, so that a reader can tell whether there was a hole between two rounds that it
 * knows. */
struct unit {
	_Atomic uint32_t least, begun;
};

struct worker {
	unsigned int no;
	unsigned int first; /* of its region */
	struct rng rng;
	uint8_t *bytes;
};

static struct unit units[N_PAGES];
static _Atomic uint64_t n_writes, n_reads, n_holes, n_seeks;
static struct page_name key;
static uint64_t seed;
static int file;

static struct page_name name_of(unsigned int page)
{
	return (struct page_name){ .key = key.key, .no = page };
}

static void raise_least(struct unit *unit, uint32_t round)
{
	uint32_t least = atomic_load(&unit->least);

	while (least < round && !atomic_compare_exchange_weak(&unit->least, &least, round))
		;
}

static void begin_write(struct unit *unit)
{
	atomic_store(&unit->begun, (atomic_load(&unit->begun) + 6) & ~3u);
}

static void begin_hole(struct unit *unit)
{
	atomic_store(&unit->begun, atomic_load(&unit->begun) | 2);
}

static void end(unsigned int first, unsigned int n_pages)
{
	unsigned int i;

	for (i = first; i < first + n_pages; ++i)
		raise_least(&units[i], atomic_load(&units[i].begun));
}

static bool is_hole(unsigned int page)
{
	const uint32_t round = atomic_load(&units[page].begun);

	return round == 0 || round & 2;
}

/* 4 KiB now and then; 64 KiB and 1 MiB. */
static unsigned int range_pages(struct rng *rng)
{
	static const unsigned int sizes[] = { 1, 16, 16, RANGE_PAGES_MAX };

	return sizes[rng_below(rng, 4)];
}

/* the requests */

static void fill(uint8_t *bytes, unsigned int first, unsigned int n_pages)
{
	unsigned int i;

	for (i = 0; i < n_pages; ++i) {
		begin_write(&units[first + i]);
		page_make(bytes + i * PAGE_BYTES, name_of(first + i),
			  atomic_load(&units[first + i].begun));
	}
}

static void write_pages(struct worker *worker, unsigned int first, unsigned int n_pages)
{
	const size_t n_bytes = (size_t)n_pages * PAGE_BYTES;
	ssize_t n;

	fill(worker->bytes, first, n_pages);
	load_asks(worker->no, "write of page", first);
	n = pwrite(file, worker->bytes, n_bytes, (off_t)first * PAGE_BYTES);
	load_has(worker->no);
	if (n != (ssize_t)n_bytes)
		load_fail("write of %u pages at page %u: %s", n_pages, first,
			  n < 0 ? strerror(errno) : "short");
	end(first, n_pages);
	atomic_fetch_add(&n_writes, 1);
}

/* What must be there is looked up before the read, what may be after it. */
static void note_least(uint32_t *least, unsigned int first, unsigned int n_pages)
{
	unsigned int i;

	for (i = 0; i < n_pages; ++i)
		least[i] = atomic_load(&units[first + i].least);
}

static void check_pages(const uint8_t *bytes, const uint32_t *least, unsigned int first,
			unsigned int n_pages)
{
	unsigned int i;

	for (i = 0; i < n_pages; ++i) {
		const uint32_t begun = atomic_load(&units[first + i].begun);
		const bool hole = least[i] == 0 || (least[i] | begun) & 2 || begun > least[i] + 4;
		const char *wrong;
		uint32_t round;

		wrong = page_check(bytes + i * PAGE_BYTES, name_of(first + i), least[i], begun,
				   hole, &round);
		if (wrong)
			load_fail("page %u (read of %u at %u) %s", first + i, n_pages, first,
				  wrong);
		raise_least(&units[first + i], round);
	}
	atomic_fetch_add(&n_reads, 1);
}

static void read_pages(struct worker *worker, unsigned int first, unsigned int n_pages)
{
	const size_t n_bytes = (size_t)n_pages * PAGE_BYTES;
	uint32_t least[RANGE_PAGES_MAX];
	ssize_t n;

	note_least(least, first, n_pages);
	load_asks(worker->no, "read of page", first);
	n = pread(file, worker->bytes, n_bytes, (off_t)first * PAGE_BYTES);
	load_has(worker->no);
	if (n != (ssize_t)n_bytes)
		load_fail("read of %u pages at page %u: %s", n_pages, first,
			  n < 0 ? strerror(errno) : "short");
	check_pages(worker->bytes, least, first, n_pages);
}

static void punch(struct worker *worker, unsigned int first, unsigned int n_pages)
{
	const int mode = rng_below(&worker->rng, 2) ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
	unsigned int i;
	int r;

	for (i = first; i < first + n_pages; ++i)
		begin_hole(&units[i]);
	load_asks(worker->no, "hole at page", first);
	r = fallocate(file, mode | FALLOC_FL_KEEP_SIZE, (off_t)first * PAGE_BYTES,
		      (off_t)n_pages * PAGE_BYTES);
	load_has(worker->no);
	if (r < 0)
		load_fail("hole of %u pages at page %u: %s", n_pages, first, strerror(errno));
	end(first, n_pages);
	atomic_fetch_add(&n_holes, 1);
}

/* The next data, or hole, of the region from @page on. What lies behind the region is others'. */
static void seek(struct worker *worker, unsigned int page, int whence)
{
	unsigned int wanted = page, found;
	off_t at;

	while (wanted < worker->first + REGION_PAGES && is_hole(wanted) == (whence == SEEK_DATA))
		++wanted;
	load_asks(worker->no, "seek from page", page);
	at = lseek(file, (off_t)page * PAGE_BYTES, whence);
	load_has(worker->no);
	if (at < 0 && !(errno == ENXIO && whence == SEEK_DATA))
		load_fail("seek from page %u: %s", page, strerror(errno));

	found = at < 0 ? N_PAGES : (unsigned int)(at / PAGE_BYTES);
	if (wanted < worker->first + REGION_PAGES ? found != wanted : found < wanted)
		load_fail("seek for %s from page %u: found at page %u instead of %u",
			  whence == SEEK_DATA ? "data" : "a hole", page, found, wanted);
	atomic_fetch_add(&n_seeks, 1);
}

/* the threads */

static void writer_step(struct worker *worker)
{
	const unsigned int n = range_pages(&worker->rng);
	const unsigned int first = worker->first +
				   (unsigned int)rng_below(&worker->rng, REGION_PAGES - n + 1);

	switch (rng_below(&worker->rng, 10)) {
	case 0:
		punch(worker, first, n);
		break;
	case 1:
		seek(worker, first, rng_below(&worker->rng, 2) ? SEEK_DATA : SEEK_HOLE);
		break;
	case 2:
	case 3:
	case 4:
		read_pages(worker, first, n);
		break;
	default:
		write_pages(worker, first, n);
	}
}

static void reader_step(struct worker *worker)
{
	const unsigned int n = range_pages(&worker->rng);

	read_pages(worker, (unsigned int)rng_below(&worker->rng, N_PAGES - n + 1), n);
}

/* Submit requests for all parts of a batch, and wait for all. */
static void submit(struct worker *worker, aio_context_t aio, unsigned int first, bool writes)
{
	struct iocb blocks[N_BATCH], *list[N_BATCH];
	struct io_event events[N_BATCH];
	unsigned int i;

	for (i = 0; i < N_BATCH; ++i) {
		blocks[i] = (struct iocb){
			.aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
			.aio_fildes = (uint32_t)file,
			.aio_buf = (uintptr_t)worker->bytes + i * BATCH_PAGES * PAGE_BYTES,
			.aio_nbytes = BATCH_PAGES * PAGE_BYTES,
			.aio_offset = (int64_t)(first + i * BATCH_PAGES) * PAGE_BYTES,
		};
		list[i] = &blocks[i];
	}
	load_asks(worker->no, "batch at page", first);
	if (syscall(SYS_io_submit, aio, (long)N_BATCH, list) != N_BATCH)
		load_fail("io_submit: %s", strerror(errno));
	if (syscall(SYS_io_getevents, aio, (long)N_BATCH, (long)N_BATCH, events, NULL) != N_BATCH)
		load_fail("io_getevents: %s", strerror(errno));
	load_has(worker->no);
	for (i = 0; i < N_BATCH; ++i)
		if (events[i].res != BATCH_PAGES * PAGE_BYTES)
			load_fail("batched %s of %u pages: %s", writes ? "write" : "read",
				  BATCH_PAGES,
				  events[i].res < 0 ? strerror((int)-events[i].res) : "short");
}

static void batcher_step(struct worker *worker, aio_context_t aio)
{
	const unsigned int n = N_BATCH * BATCH_PAGES;
	const unsigned int first = worker->first +
				   (unsigned int)rng_below(&worker->rng, REGION_PAGES - n + 1);
	uint32_t least[N_BATCH * BATCH_PAGES];

	fill(worker->bytes, first, n);
	submit(worker, aio, first, true);
	end(first, n);
	atomic_fetch_add(&n_writes, N_BATCH);

	note_least(least, first, n);
	submit(worker, aio, first, false);
	check_pages(worker->bytes, least, first, n);
}

static void run(unsigned int no)
{
	struct worker worker = { .no = no,
				 .first = no < N_WRITERS ? no * REGION_PAGES : 0,
				 .rng = { .state = seed + no },
				 .bytes = load_buffer(RANGE_PAGES_MAX * PAGE_BYTES) };
	aio_context_t aio = 0;

	if (syscall(SYS_io_setup, N_BATCH, &aio) < 0)
		load_fail("io_setup: %s", strerror(errno));
	while (load_goes_on()) {
		if (no >= N_WRITERS)
			reader_step(&worker);
		else if (no >= N_WRITERS - N_BATCHERS)
			batcher_step(&worker, aio);
		else
			writer_step(&worker);
	}
	syscall(SYS_io_destroy, aio);

	/* All of the region once more, now that nobody changes it. */
	if (no < N_WRITERS)
		for (no = 0; no < REGION_PAGES; no += RANGE_PAGES_MAX)
			read_pages(&worker, worker.first + no, RANGE_PAGES_MAX);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		load_fail("usage: io FILE KEY");
	load_init();
	seed = rng_init("io").state;
	key.key = (uint8_t)load_number(argv[2], 255);
	file = open(argv[1], O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (file < 0 || ftruncate(file, (off_t)N_PAGES * PAGE_BYTES) < 0)
		load_fail("%s: %s", argv[1], strerror(errno));

	load_run(N_WRITERS + N_READERS, run);
	printf("%llu writes, %llu reads, %llu holes, %llu seeks\n", (unsigned long long)n_writes,
	       (unsigned long long)n_reads, (unsigned long long)n_holes,
	       (unsigned long long)n_seeks);
	return EXIT_SUCCESS;
}
