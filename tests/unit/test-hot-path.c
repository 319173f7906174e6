/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Who reads, writes or discards pages of a tended store asks nobody for memory: not the kernel, not
 * the heap. A page that is swapped out because memory is short is written then.
 *
 * All that gives or takes memory is defined here, so that it is found before the C library's, by
 * the compression libraries too; and a thread that is on the hot path must not come by. What the C
 * library does inside of itself is not seen. Then the kernel's count of page faults is looked at,
 * which sees everything.
 */

#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define N_PAGES 2048u
#define N_STEPS 100000u

static _Thread_local bool hot;
/* By this thread, on the hot path or off it. Compilers know that calloc() changes nothing of ours.
 */
static _Thread_local volatile unsigned int n_calls;

#if !ZR_SANITIZED && defined(__GLIBC__)
#define INTERPOSED 1

/* The C library's own names of its own functions. */
void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *memory, size_t n_bytes);
void *__libc_memalign(size_t align, size_t n_bytes);
void __libc_free(void *memory);

static void off_the_hot_path(const char *what)
{
	++n_calls;
	if (!hot)
		return;
	hot = false;
	fprintf(stderr, "%s() on the hot path\n", what);
	abort();
}

void *malloc(size_t n_bytes)
{
	off_the_hot_path("malloc");
	return __libc_malloc(n_bytes);
}

void *calloc(size_t n, size_t n_bytes)
{
	off_the_hot_path("calloc");
	return __libc_calloc(n, n_bytes);
}

void *realloc(void *memory, size_t n_bytes)
{
	off_the_hot_path("realloc");
	return __libc_realloc(memory, n_bytes);
}

void *memalign(size_t align, size_t n_bytes);
void *memalign(size_t align, size_t n_bytes)
{
	off_the_hot_path("memalign");
	return __libc_memalign(align, n_bytes);
}

void *aligned_alloc(size_t align, size_t n_bytes)
{
	off_the_hot_path("aligned_alloc");
	return __libc_memalign(align, n_bytes);
}

int posix_memalign(void **memoryp, size_t align, size_t n_bytes)
{
	off_the_hot_path("posix_memalign");
	*memoryp = __libc_memalign(align, n_bytes);
	return *memoryp ? 0 : ENOMEM;
}

void free(void *memory)
{
	off_the_hot_path("free");
	__libc_free(memory);
}

void *mmap(void *address, size_t n_bytes, int protection, int flags, int fd, off_t offset)
{
	off_the_hot_path("mmap");
#ifdef SYS_mmap2
	return (void *)syscall(SYS_mmap2, address, n_bytes, protection, flags, fd,
			       (long)(offset / 4096));
#else
	return (void *)syscall(SYS_mmap, address, n_bytes, protection, flags, fd, offset);
#endif
}

int munmap(void *address, size_t n_bytes)
{
	off_the_hot_path("munmap");
	return (int)syscall(SYS_munmap, address, n_bytes);
}

int madvise(void *address, size_t n_bytes, int advice)
{
	off_the_hot_path("madvise");
	return (int)syscall(SYS_madvise, address, n_bytes, advice);
}

int fallocate(int fd, int mode, off_t offset, off_t n_bytes)
{
	off_the_hot_path("fallocate");
#if UINTPTR_MAX == UINT32_MAX
	/* In halves. */
	return (int)syscall(SYS_fallocate, fd, mode, (long)offset, (long)(offset >> 32),
			    (long)n_bytes, (long)(n_bytes >> 32));
#else
	return (int)syscall(SYS_fallocate, fd, mode, offset, n_bytes);
#endif
}

ssize_t pwritev(int fd, const struct iovec *pieces, int n_pieces, off_t offset)
{
	off_the_hot_path("pwritev");
	/* In halves, of which a kernel of 64 bits takes the first alone. */
	return syscall(SYS_pwritev, fd, pieces, n_pieces, (long)offset, (long)(offset >> 32));
}

int brk(void *end)
{
	off_the_hot_path("brk");
	errno = ENOMEM;
	return -1;
}

void *sbrk(intptr_t n_bytes)
{
	off_the_hot_path("sbrk");
	errno = ENOMEM;
	return (void *)-1;
}
#else
#define INTERPOSED 0
#endif

static struct rig rig;
static struct zr_disk *disk;
static uint8_t pages[64][ZR_PAGE_SIZE]; /* of every kind, made before it counts */

/* Memory comes in the end, however long the thread that brings it waits for a core. */
static void put(uint64_t page_no)
{
	size_t n_written;
	int r;

	do {
		r = zr_disk_write(disk, rig.ctx, page_no * ZR_PAGE_SIZE,
				  pages[page_no % ZR_ARRAY_SIZE(pages)], ZR_PAGE_SIZE, &n_written);
	} while (r == -ENOMEM);
	CHECK(r == 0 && n_written == ZR_PAGE_SIZE);
}

static void set_up(struct rng *rng, uint32_t algorithm)
{
	const struct zr_codec_params params = { algorithm, ZR_CODEC_LEVEL_DEFAULT };
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(pages); ++i)
		page_random(rng, pages[i]);
	rig_init(&rig);
	CHECK(zr_store_tend(rig.store) == 0);
	disk = rig_add(&rig, "disk0", 0);
	CHECK(zr_disk_set_codec(disk, &params) == 0);
	CHECK(zr_disk_truncate(disk, rig.ctx, N_PAGES * ZR_PAGE_SIZE) == 0);
	for (i = 0; i < N_PAGES; ++i)
		put(i);
}

static void tear_down(void)
{
	disk = zr_disk_unpin(rig.store, disk);
	rig_reattach(&rig); /* untended from now on */
	rig_deinit(&rig);
}

/* Anywhere on the disk, whole pages and parts of them. */
static void any_step(struct rng *rng)
{
	uint8_t *page = pages[rng_below(rng, ZR_ARRAY_SIZE(pages))];
	uint64_t offset = rng_below(rng, N_PAGES) * ZR_PAGE_SIZE;
	uint64_t what = rng_below(rng, 8);
	uint8_t back[ZR_PAGE_SIZE];
	size_t n_bytes = ZR_PAGE_SIZE, n;
	int r;

	if (what % 4 == 3) {
		n_bytes = 1 + rng_below(rng, ZR_PAGE_SIZE);
		offset += rng_below(rng, ZR_PAGE_SIZE - n_bytes + 1);
	}

	hot = true;
	do {
		if (what < 3)
			r = zr_disk_read(disk, rig.ctx, offset, back, n_bytes, &n);
		else if (what < 6)
			r = zr_disk_write(disk, rig.ctx, offset, page, n_bytes, &n);
		else
			r = zr_disk_punch(disk, rig.ctx, offset, n_bytes);
	} while (r == -ENOMEM); /* as in put() */
	hot = false;
	CHECK(r == 0);
}

static void test_what_is_called_is_seen(void)
{
	void *volatile memory; /* else it is never there */

	if (!INTERPOSED) {
		printf("# skipped: a sanitizer has the heap, or the C library is another one\n");
		return;
	}
	n_calls = 0;
	memory = calloc(1, 100);
	free(memory);
	CHECK(n_calls == 2);
	rig_init(&rig);
	CHECK(n_calls > 5); /* by the library under test as well */
	n_calls = 0;
	rig_deinit(&rig);
	CHECK(n_calls > 2);
}

static void test_nobody_is_asked_for_memory(void)
{
	struct rng rng = rng_init("test-hot-path");
	uint32_t algorithm;
	unsigned int i;

	for (algorithm = 0; algorithm < ZR_N_ALGORITHMS; ++algorithm) {
		set_up(&rng, algorithm);
		for (i = 0; i < N_STEPS / 5; ++i)
			any_step(&rng);
		tear_down();
	}
}

static long faults_so_far(void)
{
	struct rusage usage;

	CHECK(getrusage(RUSAGE_THREAD, &usage) == 0);
	return usage.ru_minflt + usage.ru_majflt;
}

/* The pages exist, and so do their leaves; what they are stored in comes and goes all the time. */
static void test_page_faults(void)
{
	struct rng rng = rng_init("test-hot-path");
	unsigned int i;
	long n_faults;

	set_up(&rng, ZR_ALGORITHM_LZ4);
	for (i = 0; i < N_STEPS; ++i) /* stacks, tables of the codec, code */
		any_step(&rng);
	n_faults = faults_so_far();
	for (i = 0; i < N_STEPS; ++i)
		any_step(&rng);
	n_faults = faults_so_far() - n_faults;
	printf("# %ld page faults in %u reads, writes and discards\n", n_faults, N_STEPS);
	if (ZR_DEBUG_LEVEL == 0 && !ZR_SANITIZED)
		CHECK(n_faults == 0);
	tear_down();
}

/* Pages that were never there, on a disk that grows. What the thread that tends the store has not
 * touched yet its first user does: this is for people to look at. */
static void test_page_faults_of_growth(void)
{
	struct rng rng = rng_init("test-hot-path");
	unsigned int i;
	long n_faults;

	set_up(&rng, ZR_ALGORITHM_LZ4);
	n_faults = faults_so_far();
	for (i = N_PAGES; i < 16 * N_PAGES; ++i)
		put(i);
	printf("# %ld page faults in %u writes of new pages\n", faults_so_far() - n_faults,
	       15 * N_PAGES);
	tear_down();
}

int main(void)
{
	RUN(test_what_is_called_is_seen);
	RUN(test_nobody_is_asked_for_memory);
	RUN(test_page_faults);
	RUN(test_page_faults_of_growth);
	return 0;
}
