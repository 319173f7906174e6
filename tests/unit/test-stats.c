/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The text is read as a person's script reads it: the section by its name in brackets, the value
 * after the key's colon. What it says is compared with what was done to the disks.
 */

#include "rig.h"

#include "stats.h"

/* rzscontrol --stats of compcache, in its order. */
static const char *const compcache_keys[] = {
	"DiskSize",  "MemLimit",     "NumReads",      "NumWrites",    "FailedReads", "FailedWrites",
	"InvalidIO", "NotifyFree",   "ZeroPages",     "GoodCompress", "NoCompress",  "PagesStored",
	"PagesUsed", "OrigDataSize", "ComprDataSize", "MemUsedTotal",
};

static struct rig rig;
static char *text;

static unsigned int three_open(void *context, const struct zr_disk *disk)
{
	CHECK(context == &rig && disk->id > 0);
	return 3;
}

static void render(void)
{
	size_t n_text = 0;

	free(text);
	text = NULL;
	CHECK(zr_stats_text(rig.store, three_open, &rig, &text, &n_text) == 0);
	CHECK(strlen(text) == n_text);
	CHECK(n_text == 0 || text[n_text - 1] == '\n');
}

static const char *section(const char *name)
{
	char head[80];
	const char *at;

	snprintf(head, sizeof(head), "[%s]\n", name);
	at = strstr(text, head);
	CHECK(at && (at == text || at[-1] == '\n'));
	return at + strlen(head);
}

/* The line of a key, within its section; NULL if there is none. */
static const char *line(const char *name, const char *key)
{
	const char *at = section(name), *end = strstr(at, "\n[");
	char head[80];

	snprintf(head, sizeof(head), "%s:\t", key);
	for (; at && *at && (!end || at < end); at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
		if (strncmp(at, head, strlen(head)) == 0)
			return at + strlen(head);
	}
	return NULL;
}

static uint64_t value(const char *name, const char *key)
{
	const char *at = line(name, key);

	CHECK(at);
	return strtoull(at, NULL, 10);
}

static uint64_t kib(uint64_t n_bytes)
{
	return (n_bytes + 1023) / 1024;
}

static void test_keys_and_order(void)
{
	const char *at = NULL, *next;
	struct zr_disk *disk;
	unsigned int i;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", MIB(1));
	render();
	CHECK(line("disk0", "MemLimit") == NULL); /* where there is one, as compcache did */
	CHECK(zr_disk_set_mem_limit(disk, MIB(1)) == 0);
	render();

	CHECK(strncmp(section("disk0"), "DiskSize:\t    1024 kB\n", 22) == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(compcache_keys); ++i) {
		next = line("disk0", compcache_keys[i]);
		CHECK(next && next > at);
		/* nothing between two of them */
		CHECK(i == 0 || strchr(at, '\n') + 1 == next - strlen(compcache_keys[i]) - 2);
		at = next;
	}
	CHECK(line("disk0", "MemUsedMax") > at); /* ours come after */
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static void test_no_disks(void)
{
	rig_init(&rig);
	render();
	CHECK(strncmp(text, "[total]\n", 8) == 0);
	CHECK(value("total", "Disks") == 0);
	CHECK(value("total", "StoreMemory") == 4);
	rig_deinit(&rig);
}

static void test_figures_agree(void)
{
	static uint8_t bytes[100 * ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-stats");
	struct zr_disk_figures figures;
	struct zr_disk *disk;
	uint64_t n_stored;
	size_t at;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	for (at = 0; at < sizeof(bytes); at += ZR_PAGE_SIZE)
		page_random(&rng, bytes + at);
	disk_put(&rig, disk, 0, bytes, sizeof(bytes));
	disk_get(&rig, disk, 0, bytes, 7 * ZR_PAGE_SIZE);
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 10 * ZR_PAGE_SIZE) == 0);
	render();
	zr_disk_figures(disk, &figures);
	n_stored = (uint64_t)(figures.tally.gauge[ZR_GAUGE_PAGES] -
			      figures.tally.gauge[ZR_GAUGE_SAME]);

	CHECK(value("disk0", "NumWrites") == 100 && value("disk0", "NumReads") == 7);
	CHECK(value("disk0", "NotifyFree") == 10);
	CHECK(value("disk0", "OrigDataSize") == 360);
	CHECK(value("disk0", "ZeroPages") == (uint64_t)figures.tally.gauge[ZR_GAUGE_ZERO]);
	CHECK(value("disk0", "PagesStored") == n_stored);
	CHECK(value("disk0", "ComprDataSize") == kib(figures.compr_bytes));
	CHECK(value("disk0", "MemUsedTotal") == kib(figures.total_bytes));
	CHECK(value("disk0", "MemUsedMax") == kib(figures.max_bytes));
	CHECK(value("disk0", "PagesUsed") == (figures.total_bytes + 4095) / 4096);
	CHECK(value("disk0", "NoCompress") ==
	      (uint64_t)figures.tally.gauge[ZR_GAUGE_HUGE] * 100 / n_stored);
	CHECK(value("disk0", "InUse") == 3);
	CHECK(strstr(line("disk0", "Algorithm"), "lz4"));
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* What the pool keeps, what is free in it beyond that, and what moving objects gave back. */
static void test_the_pool_is_told_of(void)
{
	struct rng rng = rng_init("test-stats");
	struct zr_store_usage usage;
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_disk *disk;
	uint64_t page_no;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	for (page_no = 0; page_no < 4000; ++page_no) {
		stamp_make(page, sizeof(page), rng_next(&rng) | 5);
		disk_put(&rig, disk, page_no * ZR_PAGE_SIZE, page, sizeof(page));
	}
	for (page_no = 0; page_no < 4000; page_no += 2)
		CHECK(zr_disk_punch(disk, rig.ctx, page_no * ZR_PAGE_SIZE, ZR_PAGE_SIZE) == 0);
	render();
	zr_store_usage(rig.store, &usage);
	CHECK(value("total", "Reserve") == kib(usage.reserve_bytes));
	CHECK(value("total", "Fragmentation") == kib(usage.wasted_bytes));
	CHECK(value("total", "Fragmentation") + value("total", "Reserve") > 1000);
	CHECK(value("total", "PagesCompacted") == 0);

	zr_store_compact(rig.store);
	render();
	zr_store_usage(rig.store, &usage);
	CHECK(value("total", "Reserve") == kib(usage.reserve_bytes));
	CHECK(value("total", "Fragmentation") == kib(usage.wasted_bytes));
	CHECK(value("total", "Fragmentation") < 64);
	CHECK(value("total", "PagesCompacted") == usage.pages_compacted);
	CHECK(value("total", "PagesCompacted") > 0);
	CHECK(value("total", "StoreMemory") >= value("total", "MemUsedTotal"));
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* By id, which is by age, and the total is the sum. */
static void test_all_disks_and_their_sum(void)
{
	struct zr_disk *a, *b;
	struct zr_store_usage usage;

	rig_init(&rig);
	b = rig_add(&rig, "b", 0);
	a = rig_add(&rig, "a", 0);
	disk_put(&rig, a, 0, "a", 1);
	disk_put(&rig, b, MIB(3), "b", 1);
	render();
	CHECK(section("b") < section("a") && section("a") < section("total"));
	CHECK(value("total", "Disks") == 2);
	CHECK(value("total", "OrigDataSize") == 8);
	CHECK(value("a", "OrigDataSize") + value("b", "OrigDataSize") == 8);
	CHECK(value("total", "MemUsedTotal") >= 32);
	zr_store_usage(rig.store, &usage);
	CHECK(value("total", "StoreMemory") == kib(usage.memory_bytes));
	zr_disk_unpin(rig.store, a);
	zr_disk_unpin(rig.store, b);
	rig_deinit(&rig);
}

static void test_nobody_knows_handles(void)
{
	struct zr_disk *disk;
	size_t n_text;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	free(text);
	CHECK(zr_stats_text(rig.store, NULL, NULL, &text, &n_text) == 0);
	CHECK(value("disk0", "InUse") == 0);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

int main(void)
{
	RUN(test_keys_and_order);
	RUN(test_no_disks);
	RUN(test_figures_agree);
	RUN(test_the_pool_is_told_of);
	RUN(test_all_disks_and_their_sum);
	RUN(test_nobody_knows_handles);
	free(text);
	return 0;
}
