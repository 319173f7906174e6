/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The texts are read as their readers read them: .stats as a person's script does, the section by
 * its name in brackets, the value after the key's colon; JSON by a parser that takes nothing but
 * JSON; metrics line by line. What they say is compared with what was done to the disks.
 */

#include "rig.h"

#include "stats-parts.h"
#include "text.h"

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
};

static const char *const total_members[] = {
	"disks",        "mem_limit",     "orig_data_size",  "compr_data_size", "mem_used_total",
	"pages_stored", "same_pages",    "huge_pages",      "tables",          "store_memory",
	"reserve",      "fragmentation", "pages_compacted", "generation",      "poisoned_requests",
};

static struct rig rig;
static char *text, *json, *metrics;

static unsigned int three_open(void *context, unsigned int entry_no)
{
	CHECK(context == &rig && entry_no < ZR_DISKS_MAX);
	return 3;
}

static const struct zr_stats_context three = { "1.2-test", three_open, &rig, 41, 5 };

static void render_one(char **bufferp,
		       int (*make)(struct zr_store *store, const struct zr_stats_context *context,
				   char **textp, size_t *n_textp))
{
	size_t n_text = 0;

	free(*bufferp);
	*bufferp = NULL;
	CHECK(make(rig.store, &three, bufferp, &n_text) == 0);
	CHECK(strlen(*bufferp) == n_text);
	CHECK(n_text > 0 && (*bufferp)[n_text - 1] == '\n');
}

/* Nothing happens between them: all three say the same. */
static void render(void)
{
	render_one(&text, zr_stats_text);
	render_one(&json, zr_stats_json);
	render_one(&metrics, zr_stats_metrics);
}

/* .stats */

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

/* JSON */

static const char *json_blank(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

static const char *json_string_end(const char *at)
{
	CHECK(*at++ == '"');
	while (*at != '"') {
		CHECK((unsigned char)*at >= ' ');
		if (*at != '\\') {
			CHECK(zr_text_character(at) > 0); /* test-text tests that */
			at += zr_text_character(at);
		} else if (at[1] == 'u') {
			CHECK(strspn(at + 2, "0123456789abcdefABCDEF") >= 4);
			at += 6;
		} else {
			CHECK(at[1] && strchr("\"\\/bfnrt", at[1]));
			at += 2;
		}
	}
	return at + 1;
}

static const char *json_number_end(const char *at)
{
	at += *at == '-';
	CHECK(strspn(at, "0123456789") > 0 && (*at != '0' || strspn(at, "0123456789") == 1));
	return at + strspn(at, "0123456789"); /* integers alone */
}

/* Past the value, which is checked. */
static const char *json_end(const char *at)
{
	const char close = *at == '{' ? '}' : ']';
	const bool object = *at == '{';

	if (*at == '"')
		return json_string_end(at);
	if (*at != '{' && *at != '[')
		return json_number_end(at);

	at = json_blank(at + 1);
	if (*at == close)
		return at + 1;
	for (;; at = json_blank(at + 1)) {
		if (object) {
			at = json_blank(json_string_end(at));
			CHECK(*at == ':');
			at = json_blank(at + 1);
		}
		at = json_blank(json_end(at));
		if (*at == close)
			return at + 1;
		CHECK(*at == ',');
	}
}

/* The value of a member, the only one of its name, or NULL. */
static const char *json_member(const char *object, const char *name)
{
	const char *at = object, *found = NULL, *end;
	const size_t n = strlen(name);

	CHECK(*at == '{');
	for (at = json_blank(at + 1); *at != '}'; at = json_blank(at + (*at == ','))) {
		end = json_string_end(at);
		if ((size_t)(end - at) == n + 2 && memcmp(at + 1, name, n) == 0) {
			CHECK(!found);
			found = json_blank(json_blank(end) + 1);
		}
		at = json_blank(json_end(json_blank(json_blank(end) + 1)));
	}
	return found;
}

static unsigned int json_count(const char *container)
{
	const bool object = *container == '{';
	const char *at = json_blank(container + 1);
	unsigned int n = 0;

	for (; *at != ']' && *at != '}'; at = json_blank(at + (*at == ','))) {
		if (object)
			at = json_blank(json_blank(json_string_end(at)) + 1);
		at = json_blank(json_end(at));
		++n;
	}
	return n;
}

static const char *json_disk(unsigned int index)
{
	const char *at = json_blank(json_member(json, "disks") + 1);

	for (; index > 0; --index) {
		at = json_blank(json_end(at));
		CHECK(*at == ',');
		at = json_blank(at + 1);
	}
	CHECK(*at == '{');
	return at;
}

static uint64_t json_value(const char *object, const char *name)
{
	const char *at = json_member(object, name);

	CHECK(at && *at >= '0' && *at <= '9');
	return strtoull(at, NULL, 10);
}

/* Is the value this text, to the byte? */
static bool json_is(const char *value, const char *want)
{
	return (size_t)(json_end(value) - value) == strlen(want) &&
	       memcmp(value, want, strlen(want)) == 0;
}

/* metrics */

/* The line of a series, "name{labels}", the only one; its value. */
static const char *series(const char *name_and_labels)
{
	const char *at, *found = NULL;
	const size_t n = strlen(name_and_labels);

	for (at = metrics; *at; at = strchr(at, '\n') + 1) {
		if (strncmp(at, name_and_labels, n) == 0 && at[n] == ' ') {
			CHECK(!found);
			found = at + n + 1;
		}
	}
	return found;
}

static uint64_t metric(const char *name, const char *labels)
{
	char wanted[512];
	const char *at;

	snprintf(wanted, sizeof(wanted), *labels ? "%s{%s}" : "%s%s", name, labels);
	at = series(wanted);
	CHECK(at);
	return strtoull(at, NULL, 10);
}

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
	CHECK(value("total", "StoreMemory") == 4);
	CHECK(json_count(json_member(json, "disks")) == 0);
	CHECK(json_value(json_member(json, "total"), "store_memory") == 4096);
	CHECK(metric("zramfs_disks", "") == 0 && metric("zramfs_store_memory_bytes", "") == 4096);
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

/* every figure, everywhere */

/* What .stats says of so many of that unit. */
static uint64_t as_shown(const struct zr_figure *figure, uint64_t n, uint64_t n_stored)
{
	if (figure->flags & ZR_FIGURE_PERCENT)
		return n_stored == 0 ? 0 : n * 100 / n_stored;
	return figure->unit == ZR_UNIT_BYTES ? kib(n) : n;
}

static bool ends_with(const char *name, const char *end)
{
	return strlen(name) > strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
}

/* As Prometheus has it: base units, and what is counted says so. */
static void check_metric_name(const struct zr_figure *figure)
{
	char head[256];

	CHECK(ends_with(figure->metric, "_total") == (figure->kind == ZR_FIGURE_COUNTER));
	CHECK(ends_with(figure->metric, "_bytes") == (figure->unit == ZR_UNIT_BYTES));
	snprintf(head, sizeof(head), "# TYPE %s %s\n", figure->metric,
		 figure->kind == ZR_FIGURE_COUNTER ? "counter" : "gauge");
	CHECK(strstr(metrics, head));
	CHECK(!strstr(strstr(metrics, head) + 1, head));
	CHECK(figure->help && *figure->help && !ends_with(figure->help, "."));
}

static void check_figure(const struct zr_figure *figure, const char *section_name,
			 const char *object, const char *labels)
{
	const uint64_t n = json_value(object, figure->name);
	const uint64_t n_stored = json_value(object, "pages_stored");

	CHECK(value(section_name, figure->key) == as_shown(figure, n, n_stored));
	if (figure->metric) {
		CHECK(metric(figure->metric, labels) == n);
		check_metric_name(figure);
	}
}

static void test_every_figure_is_everywhere(void)
{
	static uint8_t bytes[300 * ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-stats");
	const struct zr_figure *figure;
	struct zr_disk *disk;
	size_t at;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	CHECK(zr_disk_set_mem_limit(disk, MIB(512)) == 0);
	zr_store_set_mem_limit(rig.store, MIB(600));
	for (at = 0; at < sizeof(bytes); at += ZR_PAGE_SIZE)
		page_random(&rng, bytes + at);
	disk_put(&rig, disk, 0, bytes, sizeof(bytes));
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 40 * ZR_PAGE_SIZE) == 0);
	render();

	for (figure = zr_figures_disk; figure->key; ++figure) {
		if (figure->name)
			check_figure(figure, "disk0", json_disk(0), "disk=\"disk0\"");
		else
			CHECK(line("disk0", figure->key));
	}
	for (figure = zr_figures_total; figure->key; ++figure)
		check_figure(figure, "total", json_member(json, "total"), "");
	zr_disk_unpin(rig.store, disk);
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
	RUN(test_every_figure_is_everywhere);
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
