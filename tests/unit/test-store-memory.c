/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The shelf, and a store that is mapped while somebody else has it loaded: the same process stands
 * for both. What is mapped and what is locked the kernel says, in /proc/self/smaps.
 */

#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "faults.h"

static struct rig rig;

static int a_duplicate(const struct zr_store *store)
{
	const int fd = fcntl(zr_store_fd(store), F_DUPFD_CLOEXEC, 0);

	CHECK(fd >= 0);
	return fd;
}

static void poke(int fd, uint64_t offset, uint64_t value, size_t n_bytes)
{
	CHECK(pwrite(fd, &value, n_bytes, (off_t)offset) == (ssize_t)n_bytes);
}

/* Pages of all kinds from @first on. */
static void fill(struct zr_disk *disk, uint64_t first, unsigned int n_pages)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t i;

	for (i = first; i < first + n_pages; ++i) {
		stamp_make(page, sizeof(page), i + 1);
		disk_put(&rig, disk, i * ZR_PAGE_SIZE, page, sizeof(page));
	}
}

static void check_filled(struct zr_disk *disk, uint64_t first, unsigned int n_pages)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t i;

	for (i = first; i < first + n_pages; ++i) {
		disk_get(&rig, disk, i * ZR_PAGE_SIZE, page, sizeof(page));
		CHECK(stamp_is(page, sizeof(page), i + 1));
	}
}

static uint64_t memory_bytes(void)
{
	struct zr_store_usage usage;

	zr_store_usage(rig.store, &usage);
	return usage.memory_bytes;
}

/* the shelf */

static void test_the_shelf_is_zero_and_stays(void)
{
	const uint64_t n_first = zr_system_whole(5000);
	uint8_t *shelf;

	rig_init(&rig);
	CHECK(zr_store_shelf_bytes(rig.store) == 0);
	CHECK(memory_bytes() == zr_system_whole(ZR_DIRECTORY_START));
	shelf = zr_store_shelf(rig.store, 5000);
	CHECK(shelf && zr_store_shelf_bytes(rig.store) == n_first);
	CHECK(bytes_are(shelf, 0, n_first));
	rig_validate(rig.store);
	CHECK(memory_bytes() == zr_system_whole(ZR_DIRECTORY_START) + n_first);

	memset(shelf, 0x5a, n_first);
	CHECK(zr_store_shelf(rig.store, 1) == shelf);
	CHECK(zr_store_shelf(rig.store, n_first) == shelf);
	CHECK(zr_store_shelf_bytes(rig.store) == n_first); /* it was there */
	CHECK(zr_store_shelf(rig.store, MIB(1)) == shelf); /* it does not move */
	CHECK(bytes_are(shelf, 0x5a, n_first) && bytes_are(shelf + n_first, 0, MIB(1) - n_first));

	rig_reattach(&rig);
	CHECK(zr_store_shelf_bytes(rig.store) == MIB(1));
	shelf = zr_store_shelf(rig.store, MIB(1));
	CHECK(bytes_are(shelf, 0x5a, n_first) && bytes_are(shelf + n_first, 0, MIB(1) - n_first));
	rig_empty(&rig);
	CHECK(memory_bytes() == zr_system_whole(ZR_DIRECTORY_START) + MIB(1));
	rig_deinit(&rig);
}

static void test_the_shelf_ends(void)
{
	uint8_t *shelf;

	rig_init(&rig);
	CHECK(zr_store_shelf(rig.store, ZR_SHELF_BYTES_MAX + 1) == NULL);
	CHECK(zr_store_shelf(rig.store, UINT64_MAX) == NULL);
	CHECK(zr_store_shelf_bytes(rig.store) == 0);
	shelf = zr_store_shelf(rig.store, ZR_SHELF_BYTES_MAX);
	CHECK(shelf && zr_store_shelf_bytes(rig.store) == ZR_SHELF_BYTES_MAX);
	shelf[ZR_SHELF_BYTES_MAX - 1] = 1;
	rig_reattach(&rig);
	CHECK(((uint8_t *)zr_store_shelf(rig.store, 1))[ZR_SHELF_BYTES_MAX - 1] == 1);
	rig_deinit(&rig);
}

static void test_refused_memory_leaves_the_shelf(void)
{
	uint8_t *shelf;

	rig_init(&rig);
	faults_countdown = 1;
	CHECK(zr_store_shelf(rig.store, 1) == NULL);
	CHECK(zr_store_shelf_bytes(rig.store) == 0);
	rig_validate(rig.store);

	shelf = zr_store_shelf(rig.store, 1);
	memset(shelf, 7, 4096);
	faults_countdown = 1;
	CHECK(zr_store_shelf(rig.store, MIB(2)) == NULL);
	CHECK(zr_store_shelf_bytes(rig.store) == zr_system_page_bytes());
	CHECK(bytes_are(shelf, 7, 4096));
	rig_deinit(&rig);
}

/* Somebody died between populating it and counting it. */
static void test_what_was_not_counted_is_zero_again(void)
{
	uint8_t *shelf;
	int fd;

	rig_init(&rig);
	CHECK(zr_store_shelf(rig.store, 4096));
	fd = a_duplicate(rig.store);
	rig.store = zr_store_free(rig.store);
	poke(fd, ZR_SHELF_START + zr_system_page_bytes(), UINT64_MAX, 8);
	poke(fd, ZR_SPAN_TABLE - 8, UINT64_MAX, 8);
	CHECK(zr_store_attach(&rig.store, fd) == 0);
	rig_validate(rig.store);
	shelf = zr_store_shelf(rig.store, ZR_SHELF_BYTES_MAX);
	CHECK(bytes_are(shelf, 0, ZR_SHELF_BYTES_MAX));
	rig_deinit(&rig);
}

static void refused_with(int fd, uint64_t value)
{
	const uint64_t at = offsetof(struct zr_superblock, shelf_bytes);
	struct zr_store *store = NULL;

	poke(fd, at, value, 8);
	CHECK(zr_store_attach(&store, fd) == -EUCLEAN);
	CHECK(store == NULL && fcntl(fd, F_GETFD) >= 0);
	poke(fd, at, 2 * zr_system_page_bytes(), 8);
}

static void test_a_damaged_shelf(void)
{
	const uint32_t page_bytes = zr_system_page_bytes();
	uint32_t at;
	int fd;

	rig_init(&rig);
	CHECK(zr_store_shelf(rig.store, 2 * page_bytes));
	fd = a_duplicate(rig.store);
	rig.store = zr_store_free(rig.store);
	refused_with(fd, 2 * page_bytes - 1);
	refused_with(fd, ZR_SHELF_BYTES_MAX + page_bytes);
	refused_with(fd, UINT64_MAX);
	refused_with(fd, 3 * page_bytes); /* there is no memory in its end, */
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, ZR_SHELF_START,
			page_bytes) == 0);
	refused_with(fd, 2 * page_bytes); /* nor in its start */
	for (at = 0; at < page_bytes; at += ZR_PAGE_SIZE)
		poke(fd, ZR_SHELF_START + at, 0, 8);
	CHECK(zr_store_attach(&rig.store, fd) == 0);
	rig_deinit(&rig);
}

/* two steps */

static void test_mapping_looks_at_nothing_that_changes(void)
{
	struct zr_store *store = NULL;
	struct zr_disk *disk;
	int fd, copy;

	rig_init(&rig);
	disk = rig_add(&rig, "a", 0);
	fill(disk, 0, 10);
	zr_disk_unpin(rig.store, disk);
	fd = a_duplicate(rig.store);
	rig.store = zr_store_free(rig.store);

	poke(fd, offsetof(struct zr_superblock, n_spans), UINT64_MAX, 8);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	CHECK(zr_store_map(&store, copy) == 0);
	CHECK(zr_store_load(store) == -EUCLEAN);
	zr_store_free(store);
	CHECK(fcntl(copy, F_GETFD) < 0); /* it went with it */

	store = NULL;
	poke(fd, offsetof(struct zr_superblock, layout_version), ZR_LAYOUT_VERSION + 1, 4);
	CHECK(zr_store_map(&store, fd) == -EPROTONOSUPPORT);
	CHECK(store == NULL && fcntl(fd, F_GETFD) >= 0);
	close(fd);
	rig.ctx = zr_ctx_free(rig.ctx);
}

/* A successor maps early; what it loads is what is there then. */
static void test_a_successor_maps_while_another_serves(void)
{
	const uint32_t page_bytes = zr_system_page_bytes();
	struct zr_store *next = NULL;
	struct zr_disk *disk;
	uint64_t *shelf;

	rig_init(&rig);
	disk = rig_add(&rig, "a", 0);
	shelf = zr_store_shelf(rig.store, 4096);
	*shelf = 77;
	CHECK(zr_store_map(&next, a_duplicate(rig.store)) == 0);
	CHECK(*(uint64_t *)zr_store_shelf(next, 4096) == 77);
	CHECK(zr_store_shelf(next, page_bytes + 1) == NULL); /* it is not the one to grow it */

	fill(disk, 0, 2000);
	shelf = zr_store_shelf(rig.store, 3 * page_bytes);
	shelf[page_bytes / 4] = 78;
	CHECK(((uint64_t *)zr_store_shelf(next, 3 * page_bytes))[page_bytes / 4] == 78);
	zr_disk_unpin(rig.store, disk);
	rig.store = zr_store_free(rig.store);

	CHECK(zr_store_load(next) == 0);
	rig.store = next;
	rig_validate(rig.store);
	disk = zr_store_find(rig.store, "a");
	check_filled(disk, 0, 2000);
	CHECK(zr_store_shelf(rig.store, MIB(1)));
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* mapping what is there */

/* One field of what smaps says of the store's mapping. Return: bytes. */
static uint64_t smaps_bytes(struct zr_store *store, const char *field)
{
	const uintptr_t at = (uintptr_t)zr_store_shelf(store, 0);
	unsigned long start, end, kib;
	char line[512], format[64];
	bool within = false;
	FILE *file;

	snprintf(format, sizeof(format), "%s: %%lu kB", field);
	file = fopen("/proc/self/smaps", "re");
	CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			within = at >= start && at < end;
		else if (within && sscanf(line, format, &kib) == 1)
			break;
	}
	CHECK(!feof(file));
	fclose(file);
	return (uint64_t)kib << 10;
}

static void test_populating_maps_all_and_allocates_nothing(void)
{
	uint64_t before, n_bytes = 0;
	struct zr_disk *disk;

	rig_init(&rig);
	disk = rig_add(&rig, "a", 0);
	fill(disk, 0, 3000);
	CHECK(zr_disk_punch(disk, rig.ctx, MIB(1), MIB(5)) == 0);
	zr_disk_unpin(rig.store, disk);
	zr_store_compact(rig.store);
	rig_reattach(&rig);
	before = memory_bytes();
	CHECK(smaps_bytes(rig.store, "Rss") < before);
	CHECK(zr_store_populate(rig.store, NULL, &n_bytes) == 0);
	CHECK(n_bytes == before && memory_bytes() == before);
	CHECK(smaps_bytes(rig.store, "Rss") == before);
	CHECK(zr_store_populate(rig.store, NULL, NULL) == 0);
	rig_deinit(&rig);
}

static unsigned long page_table_kib(void)
{
	unsigned long kib = 0;
	char line[256];
	FILE *file;

	file = fopen("/proc/self/status", "re");
	CHECK(file);
	while (fgets(line, sizeof(line), file) && sscanf(line, "VmPTE: %lu kB", &kib) != 1)
		;
	fclose(file);
	CHECK(kib > 0);
	return kib;
}

/* Who takes over when there is no memory gets none for page tables either. */
static void test_following_brings_page_tables_and_nothing_else(void)
{
	struct zr_store *next = NULL;
	unsigned long before, followed;
	struct zr_disk *disk;
	uint64_t n_bytes;

	rig_init(&rig);
	disk = rig_add(&rig, "a", 0);
	fill(disk, 0, 5000);
	zr_disk_unpin(rig.store, disk);
	n_bytes = memory_bytes();
	CHECK(n_bytes > MIB(8));
	CHECK(zr_store_map(&next, a_duplicate(rig.store)) == 0);
	before = page_table_kib();
	zr_store_follow(next);
	followed = page_table_kib();
	CHECK(followed >= before + n_bytes / MIB(2) * 4);
	CHECK(memory_bytes() == n_bytes && smaps_bytes(next, "Rss") < n_bytes / 16);
	zr_store_follow(next);
	CHECK(zr_store_populate(next, NULL, NULL) == 0);
	CHECK(smaps_bytes(next, "Rss") == n_bytes);
	CHECK(page_table_kib() <= followed + 8); /* reading /proc may want some */
	zr_store_free(next);
	rig_deinit(&rig);
}

static bool is_wanted(void *context)
{
	return true;
}

/* Neither takes away what it did not bring. */
static void test_populating_can_be_refused_and_stopped(void)
{
	const struct zr_stop stop = { is_wanted, NULL };
	struct zr_disk *disk;
	uint64_t n_bytes = 1;

	rig_init(&rig);
	disk = rig_add(&rig, "a", 0);
	fill(disk, 0, 1000);
	zr_disk_unpin(rig.store, disk);
	rig_reattach(&rig);
	CHECK(zr_store_populate(rig.store, &stop, &n_bytes) == -EINTR);
	/* An emulator takes any advice and follows none: what is there is read then. */
	if (madvise(NULL, 0, -1) < 0) {
		faults_countdown = 2;
		CHECK(zr_store_populate(rig.store, NULL, &n_bytes) == -ENOMEM);
		CHECK(n_bytes == 1);
	}
	rig_validate(rig.store);
	disk = zr_store_find(rig.store, "a");
	check_filled(disk, 0, 1000);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

#define CHURN_PAGES  4000u
#define CHURN_ROUNDS 40u
#define ROUND_PAGES  (CHURN_PAGES / CHURN_ROUNDS / 2)

struct churn {
	struct rig rig;
	_Atomic bool ended;
};

/* Half of what there is goes, little by little and for good: memory that came back would stay. */
static void *churn_run(void *context)
{
	struct churn *churn = context;
	struct zr_disk *disk = zr_store_find(churn->rig.store, "a");
	struct rng rng = { .state = 1 };
	unsigned int round, i;

	for (round = 0; round < CHURN_ROUNDS; ++round) {
		for (i = 0; i < ROUND_PAGES; ++i)
			CHECK(zr_disk_punch(disk, churn->rig.ctx,
					    rng_below(&rng, CHURN_PAGES) * ZR_PAGE_SIZE,
					    ZR_PAGE_SIZE) == 0);
		zr_store_compact(churn->rig.store);
	}
	zr_disk_unpin(churn->rig.store, disk);
	atomic_store(&churn->ended, true);
	return NULL;
}

static void churn_begin(struct churn *churn, pthread_t *thread)
{
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_disk *disk;
	uint64_t i;

	rig_init(&rig);
	disk = rig_add(&rig, "a", 0);
	for (i = 0; i < CHURN_PAGES; ++i) {
		stamp_make(page, sizeof(page), i | 3);
		disk_put(&rig, disk, i * ZR_PAGE_SIZE, page, sizeof(page));
	}
	zr_disk_unpin(rig.store, disk);
	CHECK(zr_store_tend(rig.store) == 0);
	churn->rig.store = rig.store;
	CHECK(zr_ctx_new(&churn->rig.ctx) == 0);
	churn->ended = false;
	CHECK(pthread_create(thread, NULL, churn_run, churn) == 0);
}

static void churn_end(struct churn *churn, pthread_t thread)
{
	CHECK(pthread_join(thread, NULL) == 0);
	churn->rig.ctx = zr_ctx_free(churn->rig.ctx);
	zr_store_untend(rig.store);
}

/* What is given back meanwhile must not come back. From the look at what there is to the touch it
 * takes a millisecond here. */
static void test_populating_beside_who_serves(void)
{
	struct churn churn;
	pthread_t thread;

	churn_begin(&churn, &thread);
	faults_delay_ms = 1;
	while (!atomic_load(&churn.ended))
		CHECK(zr_store_populate(rig.store, NULL, NULL) == 0);
	faults_delay_ms = 0;
	churn_end(&churn, thread);
	rig_deinit(&rig); /* compares all memory with what is accounted for */
}

/* Here it may, and must be gone once the store is loaded. */
static void test_populating_beside_a_predecessor(void)
{
	struct zr_store *next = NULL;
	struct churn churn;
	pthread_t thread;

	churn_begin(&churn, &thread);
	CHECK(zr_store_map(&next, a_duplicate(rig.store)) == 0);
	while (!atomic_load(&churn.ended))
		CHECK(zr_store_populate(next, NULL, NULL) == 0);
	churn_end(&churn, thread);
	rig.store = zr_store_free(rig.store);
	CHECK(zr_store_load(next) == 0);
	rig.store = next;
	rig_deinit(&rig);
}

/* locks */

static bool all_is_locked(void)
{
	const uint64_t bytes = memory_bytes();

	return smaps_bytes(rig.store, "Rss") == bytes && smaps_bytes(rig.store, "Locked") == bytes;
}

static void lock_everything(void)
{
	struct zr_store *store = NULL;
	struct zr_disk *disk;

	CHECK(zr_store_map(&store, a_duplicate(rig.store)) == 0);
	CHECK(zr_store_lock(store) == 0);
	rig.store = zr_store_free(rig.store);
	CHECK(zr_store_load(store) == 0);
	rig.store = store;
	CHECK(!all_is_locked());
	CHECK(zr_store_populate(store, NULL, NULL) == 0);
	CHECK(all_is_locked());

	/* What comes later is locked as it comes, and what goes can go. */
	CHECK(zr_store_tend(store) == 0);
	disk = zr_store_find(store, "a");
	check_filled(disk, 0, 2000);
	fill(disk, 2000, 2000);
	zr_store_untend(store);
	CHECK(all_is_locked());
	CHECK(zr_disk_truncate(disk, rig.ctx, 0) == 0);
	zr_disk_unpin(store, disk);
	zr_store_compact(store);
	rig_validate(store);
	CHECK(all_is_locked() && memory_bytes() < MIB(1));
}

static void test_everything_is_locked(void)
{
	struct zr_disk *disk;
	int r;

	rig_init(&rig);
	disk = rig_add(&rig, "a", 0);
	fill(disk, 0, 2000);
	zr_disk_unpin(rig.store, disk);

	r = zr_store_lock(rig.store);
	rig_reattach(&rig);
	if (r == 0)
		lock_everything();
	else
		printf("# memory cannot be locked here (%s): not tested\n", strerror(-r));
	/* An emulator need not know mlock2(2); as it takes any advice it is known by that. */
	CHECK(r == 0 || madvise(NULL, 0, -1) == 0 || !test_is_root());
	rig_deinit(&rig);
}

/* Made with privileges it is not, made without it is, and who attaches is told. */
static void test_what_may_be_swapped_is_known(void)
{
	bool swappable;
	pid_t child;
	int status;

	rig_init(&rig);
	swappable = zr_store_is_swappable(rig.store);
	printf("# what is made here may %sbe swapped\n", swappable ? "" : "not ");
	rig_reattach(&rig);
	CHECK(zr_store_is_swappable(rig.store) == swappable);
	rig_deinit(&rig);

	fflush(stdout);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		test_drop_root();
		rig_init(&rig);
		CHECK(zr_store_is_swappable(rig.store));
		zr_disk_unpin(rig.store, rig_add(&rig, "a", 0));
		rig_deinit(&rig);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static _Noreturn void lock_as_nobody(uint64_t limit_bytes, int error)
{
	const struct rlimit limit = { limit_bytes, limit_bytes };
	struct zr_disk *disk;

	CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	test_drop_root();
	CHECK(zr_store_lock(rig.store) == error);
	CHECK(smaps_bytes(rig.store, "Locked") == 0);
	disk = rig_add(&rig, "a", 0);
	fill(disk, 0, 100);
	check_filled(disk, 0, 100);
	_exit(0);
}

/* The limit counts offsets, not memory. Nothing else changes for who is not allowed. */
static void test_who_may_not_lock_is_told(void)
{
	static const struct {
		uint64_t limit_bytes;
		int error;
	} cases[] = { { 0, -EPERM }, { 65536, -ENOMEM } };
	unsigned int i;
	pid_t child;
	int status;

	if (madvise(NULL, 0, -1) == 0) {
		printf("# skipped: an emulator need not know mlock2(2)\n");
		return;
	}
	for (i = 0; i < ZR_ARRAY_SIZE(cases); ++i) {
		rig_init(&rig);
		fflush(stdout);
		child = fork();
		CHECK(child >= 0);
		if (child == 0)
			lock_as_nobody(cases[i].limit_bytes, cases[i].error);
		CHECK(waitpid(child, &status, 0) == child && status == 0);
		rig.store = zr_store_free(rig.store);
		rig.ctx = zr_ctx_free(rig.ctx);
	}
}

int main(void)
{
	RUN(test_the_shelf_is_zero_and_stays);
	RUN(test_the_shelf_ends);
	RUN(test_refused_memory_leaves_the_shelf);
	RUN(test_what_was_not_counted_is_zero_again);
	RUN(test_a_damaged_shelf);
	RUN(test_mapping_looks_at_nothing_that_changes);
	RUN(test_a_successor_maps_while_another_serves);
	RUN(test_populating_maps_all_and_allocates_nothing);
	RUN(test_following_brings_page_tables_and_nothing_else);
	RUN(test_populating_can_be_refused_and_stopped);
	RUN(test_populating_beside_who_serves);
	RUN(test_populating_beside_a_predecessor);
	RUN(test_everything_is_locked);
	RUN(test_what_may_be_swapped_is_known);
	RUN(test_who_may_not_lock_is_told);
	return 0;
}
