/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What the texts say is compared with what was done to the disks.
 */

#include "stats-rig.h"

/* rzscontrol --stats of compcache, in its order. */
static const char *const compcache_keys[] = {
	"DiskSize",  "MemLimit",     "NumReads",      "NumWrites",    "FailedReads", "FailedWrites",
	"InvalidIO", "NotifyFree",   "ZeroPages",     "GoodCompress", "NoCompress",  "PagesStored",
	"PagesUsed", "OrigDataSize", "ComprDataSize", "MemUsedTotal",
};

static const char *const our_keys[] = {
	"MemUsedMax",
	"SameFilledPages",
	"HugePages",
	"HugePagesSince",
	"UndecodablePages",
	"RecompressedPages",
	"Tables",
	"Ratio",
	"Algorithm",
	"InUse",
	"Discard",
	"Fragmentation",
	"PolicyRecompressed",
	"PolicyWrittenBack",
	"ReadP50",
	"ReadP99",
	"ReadMax",
	"WriteP50",
	"WriteP99",
	"WriteMax",
};

/* What JSON says of a disk besides its name, and of all together. */
static const char *const disk_members[] = {
	"disksize",
	"mem_limit",
	"comp_algorithm",
	"algorithm_params",
	"format",
	"swap_priority",
	"orig_data_size",
	"compr_data_size",
	"mem_used_total",
	"mem_used_max",
	"pages_stored",
	"same_pages",
	"zero_pages",
	"good_pages",
	"huge_pages",
	"tables",
	"fragmentation",
	"num_reads",
	"num_writes",
	"failed_reads",
	"failed_writes",
	"invalid_io",
	"notify_free",
	"discard",
	"huge_pages_since",
	"undecodable_pages",
	"recompressed_pages",
	"in_use",
	"policy_recompressed",
	"policy_written_back",
	"read_latency",
	"write_latency",
	"backing_dev",
	"bd_count",
	"bd_reads",
	"bd_writes",
	"backing_used",
	"backing_limit",
	"backing_file_size",
	"backing_file_free",
	"failed_backing_reads",
	"failed_backing_writes",
	"backing_lost",
	"spill_latency",
};

static const char *const total_members[] = {
	"disks",        "mem_limit",     "orig_data_size",  "compr_data_size", "mem_used_total",
	"pages_stored", "same_pages",    "huge_pages",      "tables",          "store_memory",
	"reserve",      "fragmentation", "pages_compacted", "generation",      "poisoned_requests",
	"bd_count",     "backing_used",
};

/* .stats */

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
	for (i = 0; i < ZR_ARRAY_SIZE(our_keys); ++i) { /* ours come after */
		next = line("disk0", our_keys[i]);
		CHECK(next && strchr(at, '\n') + 1 == next - strlen(our_keys[i]) - 2);
		at = next;
	}
	CHECK(strncmp(strchr(at, '\n'), "\n\n[total]\n", 10) == 0);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static void test_no_disks(void)
{
	rig_init(&rig);
	render();
	CHECK(strncmp(text, "[total]\n", 8) == 0);
	CHECK(value("total", "Disks") == 0 && line("total", "MemLimit") == NULL);
	CHECK(value("total", "StoreMemory") == (double)zr_system_page_bytes() / 1024);
	CHECK(json_count(json_member(json, "disks")) == 0);
	CHECK(json_value(json_member(json, "total"), "store_memory") == zr_system_page_bytes());
	CHECK(metric("zramfs_disks", "") == 0);
	CHECK(metric("zramfs_store_memory_bytes", "") == zr_system_page_bytes());
	CHECK(metric("zramfs_info", "version=\"1.2-test\"") == 1);
	CHECK(!strstr(metrics, "disk=\""));
	zr_store_set_mem_limit(rig.store, MIB(1));
	render();
	CHECK(value("total", "MemLimit") == 1024);
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

/* A sum has the name, key and unit of what it is the sum of. */
static void test_sums_are_called_as_what_they_sum(void)
{
	const struct zr_figure *sum, *figure;

	for (sum = zr_figures_total; sum->key; ++sum) {
		CHECK(!sum->get != !sum->get_total && !sum->get == !!sum->metric);
		if (!sum->get)
			continue;
		for (figure = zr_figures_disk; figure->get != sum->get || !figure->name; ++figure)
			CHECK(figure->key);
		CHECK(strcmp(figure->name, sum->name) == 0 && strcmp(figure->key, sum->key) == 0);
		CHECK(figure->unit == sum->unit && figure->kind == ZR_FIGURE_GAUGE);
	}
}

/* JSON */

static void test_json_has_these_members_and_no_others(void)
{
	const char *disk, *total, *latency;
	struct zr_disk_spec spec;
	struct zr_disk *made;
	unsigned int i;

	rig_init(&rig);
	zr_disk_spec_init(&spec, 0);
	strcpy(spec.attrs.name, "disk0");
	CHECK(zr_codec_find("zstd", &spec.attrs.codecs[0]) == 0);
	spec.attrs.codecs[0].level = 3;
	spec.attrs.swap_priority = -1;
	spec.attrs.format = ZR_FORMAT_SWAP;
	CHECK(zr_store_add(rig.store, rig.ctx, &spec, &made) == 0);
	render();

	CHECK(*json_blank(json_end(json)) == 0 && json_count(json) == 5);
	CHECK(json_value(json, "schema") == 1 && json_value(json, "time_ns") > 0);
	CHECK(json_is(json_member(json, "version"), "\"1.2-test\""));
	CHECK(json_count(json_member(json, "disks")) == 1);
	disk = json_disk(0);
	CHECK(json_is(json_member(disk, "name"), "\"disk0\""));
	for (i = 0; i < ZR_ARRAY_SIZE(disk_members); ++i)
		CHECK(json_member(disk, disk_members[i]));
	CHECK(json_count(disk) == ZR_ARRAY_SIZE(disk_members) + 1);
	CHECK(json_is(json_member(disk, "comp_algorithm"), "\"zstd\""));
	CHECK(json_is(json_member(disk, "algorithm_params"), "\"level=3\""));
	CHECK(json_is(json_member(disk, "format"), "\"swap\""));
	CHECK(json_is(json_member(disk, "swap_priority"), "-1"));
	latency = json_member(disk, "read_latency");
	CHECK(json_is(latency, "{\"count\": 0, \"sum_ns\": 0, \"p50_ns\": 0, \"p90_ns\": 0, "
			       "\"p99_ns\": 0, \"max_ns\": 0}"));
	total = json_member(json, "total");
	for (i = 0; i < ZR_ARRAY_SIZE(total_members); ++i)
		json_value(total, total_members[i]);
	CHECK(json_count(total) == ZR_ARRAY_SIZE(total_members));
	CHECK(series("zramfs_disk_info{disk=\"disk0\",comp_algorithm=\"zstd\",algorithm_params="
		     "\"level=3\",format=\"swap\",swap_priority=\"-1\"}"));
	zr_disk_unpin(rig.store, made);
	rig_deinit(&rig);
}

/* names */

/* Whatever bytes a name holds, each reader gets characters, and no two disks are one. */
static void test_names_of_any_bytes(void)
{
	static const struct {
		const char *name, *in_json, *in_metrics;
	} cases[] = {
		{ "a\"b\\c d", "\"a\\\"b\\\\c d\"", "disk=\"a\\\"b\\\\c d\"" },
		{ "\xc3\xa9", "\"\xc3\xa9\"", "disk=\"\xc3\xa9\"" },
		{ "\xe9", "\"\\u00e9\"", "disk=\"\xc3\xa9\",disk_hex=\"e9\"" },
		{ "x\xff\xe2\x82\xac\x80", "\"x\\u00ff\xe2\x82\xac\\u0080\"",
		  "disk=\"x\xc3\xbf\xe2\x82\xac\xc2\x80\",disk_hex=\"78ffe282ac80\"" },
		{ "{},=#", "\"{},=#\"", "disk=\"{},=#\"" },
	};
	struct zr_disk *disks[ZR_ARRAY_SIZE(cases)];
	char labels[256];
	unsigned int i;

	rig_init(&rig);
	for (i = 0; i < ZR_ARRAY_SIZE(cases); ++i)
		disks[i] = rig_add(&rig, cases[i].name, (i + 1) * ZR_PAGE_SIZE);
	render();
	CHECK(*json_blank(json_end(json)) == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(cases); ++i) {
		CHECK(json_is(json_member(json_disk(i), "name"), cases[i].in_json));
		CHECK(metric("zramfs_disksize_bytes", cases[i].in_metrics) ==
		      (i + 1) * ZR_PAGE_SIZE);
		snprintf(labels, sizeof(labels), "%s,le=\"+Inf\"", cases[i].in_metrics);
		CHECK(metric("zramfs_read_latency_seconds_bucket", labels) == 0);
		CHECK(value(cases[i].name, "DiskSize") == (i + 1) * 4);
		zr_disk_unpin(rig.store, disks[i]);
	}
	rig_deinit(&rig);
}

/* latencies */

static uint64_t bucket(const char *le)
{
	char labels[128];

	snprintf(labels, sizeof(labels), "disk=\"disk0\",le=\"%s\"", le);
	return metric("zramfs_write_latency_seconds_bucket", labels);
}

static void test_latencies(void)
{
	const char *json_latency;
	struct zr_disk *disk;
	unsigned int i;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	for (i = 0; i < 90; ++i)
		zr_latency_add(&disk->entry->write_latency, 700);
	for (i = 0; i < 9; ++i)
		zr_latency_add(&disk->entry->write_latency, 50000);
	zr_latency_add(&disk->entry->write_latency, UINT64_C(20000000000));
	render();

	CHECK(bucket("0.000001024") == 90 && bucket("0.000004096") == 90);
	CHECK(bucket("0.000016384") == 90 && bucket("0.000065536") == 99);
	CHECK(bucket("4.294967296") == 99 && bucket("17.179869184") == 99);
	CHECK(bucket("+Inf") == 100);
	CHECK(metric("zramfs_write_latency_seconds_count", "disk=\"disk0\"") == 100);
	CHECK(strncmp(series("zramfs_write_latency_seconds_sum{disk=\"disk0\"}"), "20.000513000\n",
		      13) == 0);
	CHECK(strstr(metrics, "# TYPE zramfs_write_latency_seconds histogram\n"));
	CHECK(metric("zramfs_read_latency_seconds_count", "disk=\"disk0\"") == 0);

	json_latency = json_member(json_disk(0), "write_latency");
	CHECK(json_value(json_latency, "count") == 100);
	CHECK(json_value(json_latency, "sum_ns") == UINT64_C(20000513000));
	CHECK(json_value(json_latency, "p50_ns") >= 700);
	CHECK(json_value(json_latency, "p90_ns") <= 700 * 5 / 4);
	CHECK(json_value(json_latency, "p99_ns") >= 50000);
	CHECK(json_value(json_latency, "p99_ns") <= 50000 * 5 / 4);
	CHECK(json_value(json_latency, "max_ns") == UINT64_C(20000000000));

	CHECK(value("disk0", "WriteP50") == 1 && value("disk0", "ReadMax") == 0);
	CHECK(value("disk0", "WriteP99") == (json_value(json_latency, "p99_ns") + 999) / 1000);
	CHECK(strncmp(line("disk0", "WriteMax"), "20000000 us\n", 12) == 0);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

/* As the attribute of that name says it. */
static void test_size_is_of_whole_pages(void)
{
	struct zr_disk *disk;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", ZR_PAGE_SIZE + 1);
	render();
	CHECK(json_value(json_disk(0), "disksize") == 2 * ZR_PAGE_SIZE);
	CHECK(metric("zramfs_disksize_bytes", "disk=\"disk0\"") == 2 * ZR_PAGE_SIZE);
	CHECK(value("disk0", "DiskSize") == 8);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static void test_the_daemon_is_told_of(void)
{
	rig_init(&rig);
	render();
	CHECK(value("total", "Generation") == 41 && value("total", "PoisonedRequests") == 5);
	CHECK(metric("zramfs_generation", "") == 41);
	CHECK(metric("zramfs_poisoned_requests_total", "") == 5);

	CHECK(strstr(metrics, "# TYPE zramfs_safety gauge\n"));
	CHECK(metric("zramfs_safety", "measure=\"memory\"") == 1);
	CHECK(metric("zramfs_safety", "measure=\"store\"") == 0);
	CHECK(metric("zramfs_safety", "measure=\"buffers\"") == 0);
	CHECK(!strstr(metrics, "noswap") && !strstr(metrics, "odd"));
	rig_deinit(&rig);
}

static void test_nobody_knows_handles(void)
{
	const struct zr_stats_context nobody = { .version = "1.2-test" };
	struct zr_disk *disk;
	size_t n_text;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	free(text);
	CHECK(zr_stats_text(rig.store, &nobody, &text, &n_text) == 0);
	CHECK(value("disk0", "InUse") == 0);
	free(metrics);
	CHECK(zr_stats_metrics(rig.store, &nobody, &metrics, &n_text) == 0);
	CHECK(!strstr(metrics, "zramfs_safety"));
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

int main(void)
{
	RUN(test_sums_are_called_as_what_they_sum);
	RUN(test_keys_and_order);
	RUN(test_no_disks);
	RUN(test_figures_agree);
	RUN(test_the_pool_is_told_of);
	RUN(test_all_disks_and_their_sum);
	RUN(test_json_has_these_members_and_no_others);
	RUN(test_names_of_any_bytes);
	RUN(test_latencies);
	RUN(test_size_is_of_whole_pages);
	RUN(test_the_daemon_is_told_of);
	RUN(test_nobody_knows_handles);
	free(text);
	free(json);
	free(metrics);
	return 0;
}
