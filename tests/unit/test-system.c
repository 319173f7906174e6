/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What systems differ in: the size of their pages, whether memory can be populated, how much address
 * space there is; and that a store whose offsets are used up refuses writes, and takes them again.
 */

#include "rig.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "layout.h"

static struct rig rig;

/* For a write to give up. */
#define NEVER_S 30

/* An emulator that says yes to any advice, and does nothing: from the first call on. */
int __real_madvise(void *address, size_t n_bytes, int advice);
int __wrap_madvise(void *address, size_t n_bytes, int advice);

static bool is_yes_to_anything;
static unsigned int n_populated;

int __wrap_madvise(void *address, size_t n_bytes, int advice)
{
	if (is_yes_to_anything)
		return 0;
	n_populated += advice == 23; /* MADV_POPULATE_WRITE */
	return __real_madvise(address, n_bytes, advice);
}

/* In a process of its own, since what is found out stays. */
static void in_a_child(void (*test)(void))
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		test();
		fflush(stdout);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* pages */

static void test_a_page_is_a_power_of_two(void)
{
	const uint32_t n_bytes = zr_system_page_bytes();

	CHECK(n_bytes >= ZR_PAGE_SIZE && n_bytes <= ZR_SYSTEM_PAGE_MAX);
	CHECK((n_bytes & (n_bytes - 1)) == 0 && n_bytes % zr_system_page_bytes_real() == 0);
	CHECK(zr_system_whole(0) == 0 && zr_system_whole(1) == n_bytes);
	CHECK(zr_system_whole(n_bytes) == n_bytes && zr_system_whole(n_bytes + 1) == 2 * n_bytes);
}

/* Memory is there as far as the file says, and reads as zeros. */
static void arena_use(void)
{
	struct zr_arena arena = ZR_ARENA_NULL;
	uint64_t start, end;

	CHECK(zr_arena_create(&arena, MIB(64)) == 0);
	CHECK(zr_arena_populate(&arena, MIB(1), MIB(1)) == 0);
	CHECK(zr_arena_memory(&arena) == MIB(1));
	CHECK(zr_arena_next_data(&arena, 0, &start, &end) && start == MIB(1) && end == MIB(2));
	CHECK(bytes_are(zr_arena_at(&arena, MIB(1)), 0, MIB(1)));
	memset(zr_arena_at(&arena, MIB(1)), 7, MIB(1));
	CHECK(zr_arena_fault_in(&arena, MIB(1), MIB(1)) == 0);
	CHECK(bytes_are(zr_arena_at(&arena, MIB(1)), 7, MIB(1)));
	zr_arena_punch(&arena, MIB(1), arena.grain_bytes);
	CHECK(zr_arena_memory(&arena) == MIB(1) - arena.grain_bytes);
	zr_arena_deinit(&arena);
}

static void emulated(void)
{
	is_yes_to_anything = true;
	arena_use();
	CHECK(n_populated == 0);
}

static void test_populating(void)
{
	in_a_child(arena_use);
	in_a_child(emulated);
}

/* address space */

static uint64_t mapped_bytes(void)
{
	unsigned long n_pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	CHECK(file && fscanf(file, "%lu", &n_pages) == 1);
	fclose(file);
	return n_pages * (uint64_t)zr_system_page_bytes_real();
}

/* Return: false where there is no such limit, as in an emulator. */
static bool limit_to(uint64_t n_bytes)
{
	struct rlimit limit;
	void *more;

	limit.rlim_cur = limit.rlim_max = (rlim_t)(mapped_bytes() + n_bytes);
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
	more = mmap(NULL, n_bytes + MIB(64), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (more == MAP_FAILED)
		return true;
	printf("# skipped: nothing heeds RLIMIT_AS\n");
	return false;
}

static uint64_t store_bytes(void)
{
	struct zr_superblock superblock;

	CHECK(pread(zr_store_fd(rig.store), &superblock, sizeof(superblock), 0) ==
	      sizeof(superblock));
	return superblock.store_bytes;
}

static void small_space(void)
{
	const uint64_t n_bytes = MIB(600);

	if (!limit_to(n_bytes))
		return;
	/* Half of what is there is less than is taken; a quarter as much is left. */
	CHECK(zr_store_new(&rig.store, MIB(1) << 16) == 0);
	printf("# %" PRIu64 " MiB of %" PRIu64 "\n", store_bytes() >> 20, n_bytes >> 20);
	CHECK(store_bytes() > n_bytes / 2 && store_bytes() <= n_bytes / 5 * 4);
	CHECK(store_bytes() % ZR_SPAN_BYTES == 0);
	CHECK(zr_store_reach(rig.store) < store_bytes());
	CHECK(zr_store_reach(rig.store) > store_bytes() - MIB(40));
	CHECK(zr_ctx_new(&rig.ctx) == 0);
	rig_reattach(&rig);
	CHECK(zr_store_reach(rig.store) < UINT64_MAX);
	rig_deinit(&rig);

	/* What fits is no less than what was asked for. */
	CHECK(zr_store_new(&rig.store, MIB(200)) == 0);
	CHECK(store_bytes() == MIB(200) && zr_store_reach(rig.store) == UINT64_MAX);
	rig.store = zr_store_free(rig.store);
}

static void no_space(void)
{
	if (!limit_to(MIB(70)))
		return;
	CHECK(zr_store_new(&rig.store, MIB(1024)) == -ENOMEM && !rig.store);
}

static void test_a_small_address_space(void)
{
	if (ZR_SANITIZED) {
		printf("# skipped: a sanitizer wants more address space than there would be\n");
		return;
	}
	in_a_child(small_space);
	in_a_child(no_space);
}

/* offsets */

/* Random pages from @page_no on until one is refused. Return: the page that was; with what: *rp. */
static uint64_t fill(struct zr_disk *disk, struct rng *rng, uint64_t page_no, int *rp)
{
	uint8_t page[ZR_PAGE_SIZE];
	size_t n;

	for (;; ++page_no) {
		bytes_random(rng, page, sizeof(page));
		memcpy(page, &page_no, sizeof(page_no));
		*rp = zr_disk_write(disk, rig.ctx, page_no * ZR_PAGE_SIZE, page, sizeof(page), &n);
		if (*rp < 0)
			return page_no;
	}
}

static void check_filled(struct zr_disk *disk, uint64_t from, uint64_t to)
{
	uint64_t page_no, word;

	for (page_no = from; page_no < to; ++page_no) {
		disk_get(&rig, disk, page_no * ZR_PAGE_SIZE, &word, sizeof(word));
		CHECK(word == page_no);
	}
}

/* Nothing hangs, nothing is lost, and what goes makes room. */
static void offsets_end(bool tended)
{
	struct rng rng = rng_init("test-system");
	struct timespec began, ended;
	struct zr_disk *disk;
	uint64_t n_pages;
	int r;

	CHECK(zr_store_new(&rig.store, MIB(64)) == 0);
	CHECK(zr_ctx_new(&rig.ctx) == 0);
	disk = rig_add(&rig, "a", MIB(256));
	if (tended)
		CHECK(zr_store_tend(rig.store) == 0);
	clock_gettime(CLOCK_MONOTONIC, &began);
	n_pages = fill(disk, &rng, 0, &r);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("# refused with %d after %" PRIu64 " pages\n", -r, n_pages);
	CHECK(r == -ENOMEM && n_pages > 4096 && n_pages < 16384);
	CHECK(ended.tv_sec - began.tv_sec < NEVER_S);
	check_filled(disk, 0, n_pages);

	CHECK(zr_disk_punch(disk, rig.ctx, 0, MIB(8)) == 0);
	CHECK(fill(disk, &rng, n_pages, &r) > n_pages + 1000);
	check_filled(disk, 2048, n_pages + 1000);
	zr_disk_unpin(rig.store, disk);
	zr_store_untend(rig.store);
	rig_reattach(&rig);
	rig_deinit(&rig);
}

static void test_offsets_end(void)
{
	offsets_end(false);
	offsets_end(true);
}

int main(void)
{
	RUN(test_a_page_is_a_power_of_two);
	RUN(test_populating);
	RUN(test_a_small_address_space);
	RUN(test_offsets_end);
	return 0;
}
