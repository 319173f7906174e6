/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What files below .control/ say and take, to the byte and the errno of the kernel's zram where it
 * has them.
 */

#include "rig.h"

#include <errno.h>

#include "attr.h"

static struct rig rig;
static struct zr_disk *disk;
static struct zr_attrs defaults;
static struct zr_attr_target target;
static char text[ZR_ATTR_TEXT_MAX];

static void set_up(void)
{
	struct zr_disk_spec spec;

	zr_disk_spec_init(&spec, 0);
	defaults = spec.attrs;
	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	CHECK(zr_disk_reset(disk, &defaults) == 0);
	target = (struct zr_attr_target){ .store = rig.store,
					  .disk = disk,
					  .ctx = rig.ctx,
					  .defaults = &defaults,
					  .n_threads = 3 };
}

static void tear_down(void)
{
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static const char *show_row(const struct zr_attr *attr)
{
	int n_text;

	CHECK(attr && attr->show);
	memset(text, 'x', sizeof(text));
	n_text = attr->show(&target, text, sizeof(text));
	CHECK(n_text >= 0 && n_text < (int)sizeof(text));
	CHECK(text[n_text] == 0 && strlen(text) == (size_t)n_text);
	return text;
}

static const char *show(const char *name)
{
	return show_row(zr_attr_find(name));
}

static int apply(const char *name, const char *value)
{
	const struct zr_attr *attr = zr_attr_find(name);

	CHECK(attr && attr->apply);
	return attr->apply(&target, value);
}

static bool shows(const char *name, const char *wanted)
{
	return strcmp(show(name), wanted) == 0;
}

/* control files */

static void test_texts_of_an_empty_disk(void)
{
	set_up();
	CHECK(strcmp(show("disksize"), "0\n") == 0);
	CHECK(strcmp(show("initstate"), "0\n") == 0);
	CHECK(strcmp(show("comp_algorithm"), "lzo-rle lzo [lz4] lz4hc zstd \n") == 0);
	CHECK(strcmp(show("mem_limit"), "0\n") == 0);
	CHECK(strcmp(show("mm_stat"),
		     "       0        0        0        0        0        0        0"
		     "        0        0\n") == 0);
	CHECK(strcmp(show("io_stat"), "       0        0 0        0\n") == 0);
	tear_down();
}

static void test_disksize(void)
{
	set_up();
	CHECK(apply("disksize", "0") == -EINVAL);
	CHECK(apply("disksize", "junk") == -EINVAL);
	CHECK(apply("disksize", "50%") == -EINVAL);
	CHECK(apply("disksize", "1M1") == -EINVAL);
	CHECK(apply("disksize", "512T") == -EFBIG);
	CHECK(strcmp(show("initstate"), "0\n") == 0);
	CHECK(apply("disksize", "1000000") == 0);
	CHECK(strcmp(show("disksize"), "1003520\n") == 0); /* whole pages */
	CHECK(strcmp(show("initstate"), "1\n") == 0);
	CHECK(apply("disksize", "1M") == -EBUSY && apply("disksize", "512T") == -EBUSY);
	CHECK(apply("disksize", "0") == -EINVAL && apply("disksize", "junk") == -EINVAL);
	CHECK(zr_disk_truncate(disk, rig.ctx, 1) == 0);
	CHECK(strcmp(show("disksize"), "4096\n") == 0);
	tear_down();
}

static void test_comp_algorithm_and_params(void)
{
	char name[200];

	set_up();
	memset(name, 'a', sizeof(name));
	name[127] = 0;
	CHECK(apply("comp_algorithm", name) == -EINVAL);
	name[127] = 'a';
	name[128] = 0;
	CHECK(apply("comp_algorithm", name) == -E2BIG);
	CHECK(apply("comp_algorithm", "zstd") == 0);
	CHECK(strcmp(show("comp_algorithm"), "lzo-rle lzo lz4 lz4hc [zstd] \n") == 0);
	CHECK(apply("algorithm_params", "algo=zstd level=7") == 0);
	CHECK(apply("algorithm_params", "algo=lz4 level=7") == -EINVAL);
	CHECK(apply("algorithm_params", "level=700") == -EINVAL);
	CHECK(disk->pages.codecs[0].level == 7);
	CHECK(apply("disksize", "1M") == 0);
	CHECK(apply("comp_algorithm", "lzo") == -EBUSY);
	CHECK(apply("comp_algorithm", "none") == -EINVAL);
	CHECK(apply("algorithm_params", "level=1") == -EBUSY);
	CHECK(strcmp(show("comp_algorithm"), "lzo-rle lzo lz4 lz4hc [zstd] \n") == 0);
	tear_down();
}

static void test_mem_limit(void)
{
	set_up();
	CHECK(apply("mem_limit", "1M") == 0);
	CHECK(strcmp(show("mem_limit"), "1048576\n") == 0);
	CHECK(apply("mem_limit", "5000") == 0);
	CHECK(strcmp(show("mem_limit"), "8192\n") == 0);
	CHECK(apply("mem_limit", "junk") == -EINVAL);
	CHECK(apply("mem_limit", "10%") == -EINVAL);
	CHECK(apply("mem_limit", "512T") == -EINVAL);
	CHECK(strcmp(show("mem_limit"), "8192\n") == 0);
	CHECK(apply("mem_limit", "0") == 0);
	tear_down();
}

static void test_reset(void)
{
	static const char *const refused[] = { "0", "", "x", "-1", "1 1", "+", "+0" };
	unsigned int i;

	set_up();
	CHECK(apply("disksize", "1M") == 0);
	disk_put(&rig, disk, 0, "data", 5);
	for (i = 0; i < ZR_ARRAY_SIZE(refused); ++i)
		CHECK(apply("reset", refused[i]) == -EINVAL);
	CHECK(apply("reset", "65536") == -ERANGE);
	CHECK(strcmp(show("initstate"), "1\n") == 0);
	CHECK(zr_attr_find("reset")->when == ZR_WHEN_UNUSED);
	CHECK(apply("reset", "1") == 0);
	CHECK(strcmp(show("initstate"), "0\n") == 0);
	CHECK(apply("reset", "65535") == 0 && apply("reset", "+1") == 0);
	tear_down();
}

static void test_statistics_of_a_disk(void)
{
	struct rng rng = rng_init("test-attr");
	uint8_t page[ZR_PAGE_SIZE];
	size_t n;

	set_up();
	CHECK(apply("mem_limit", "1M") == 0);
	bytes_random(&rng, page, sizeof(page));
	disk_put(&rig, disk, 0, page, sizeof(page)); /* huge: a page */
	memset(page, 0, sizeof(page));
	disk_put(&rig, disk, 4096, page, sizeof(page));   /* same-filled: nothing */
	zr_fill_page(page, UINT64_C(0x8877665544332211)); /* a cell of 16 */
	disk_put(&rig, disk, 8192, page, sizeof(page));
	CHECK(zr_disk_punch(disk, rig.ctx, 8192, 4096) == 0);
	/* A page and four nodes; what else is populated is the reserve, if a page of the system is
	 * no more than that. */
	CHECK(zr_system_page_bytes() > ZR_POOL_AHEAD_MIN ||
	      strcmp(show("mm_stat"),
		     "    8192     4096    20480  1048576    20496        1        0"
		     "        1        1\n") == 0);

	CHECK(zr_disk_write(disk, rig.ctx, ZR_DISK_SIZE_MAX, page, 1, &n) == -EFBIG);
	CHECK(zr_disk_set_mem_limit(disk, 1) == 0);
	bytes_random(&rng, page, sizeof(page));
	CHECK(zr_disk_write(disk, rig.ctx, 8192, page, sizeof(page), &n) == -ENOSPC);
	CHECK(strcmp(show("io_stat"), "       0        1 1        1\n") == 0);
	tear_down();
}

/* What was written is what is read and what the configuration would say. */
static void test_set_attributes_are_read_back(void)
{
	static const struct {
		const char *name, *value, *shown;
	} rows[] = {
		{ "format", "swap", "swap\n" },
		{ "label", "a label", "a label\n" },
		{ "label", "", "\n" },
		{ "uuid", "7D3F2A9E-5b0c-4c43-9f0e-2f6c1f1d8a54",
		  "7d3f2a9e-5b0c-4c43-9f0e-2f6c1f1d8a54\n" },
		{ "uuid", "", "\n" },
		{ "mode", "640", "0640\n" },
		{ "swap_priority", "-1", "-1\n" },
		{ "format", "none", "none\n" },
	};
	struct zr_disk_spec spec;
	char printed[128];
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(rows); ++i) {
		CHECK(apply(rows[i].name, rows[i].value) == 0);
		CHECK(shows(rows[i].name, rows[i].shown));
		zr_attr_spec_of(disk, &spec);
		zr_attr_find(rows[i].name)->print(&spec, printed, sizeof(printed) - 1);
		strcat(printed, "\n");
		CHECK(strcmp(printed, rows[i].shown) == 0);
	}
	tear_down();
}

/* With a size they stay as they were; what may change at any time does. */
static void test_what_is_set_once(void)
{
	static const char *const once[][2] = { { "format", "swap" },
					       { "label", "other" },
					       { "uuid", "7d3f2a9e-5b0c-4c43-9f0e-2f6c1f1d8a54" } };
	unsigned int i;

	set_up();
	CHECK(apply("label", "first") == 0);
	CHECK(apply("format", "ext4") == -EINVAL && shows("format", "none\n"));
	CHECK(apply("label", "12345678901234567") == -EINVAL && shows("label", "first\n"));
	CHECK(apply("disksize", "1M") == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(once); ++i)
		CHECK(apply(once[i][0], once[i][1]) == -EBUSY);
	CHECK(shows("format", "none\n") && shows("label", "first\n") && shows("uuid", "\n"));
	CHECK(apply("mode", "0400") == 0 && shows("mode", "0400\n"));
	CHECK(apply("mode", "9") == -EINVAL && shows("mode", "0400\n"));
	CHECK(apply("swap_priority", "7") == 0 && shows("swap_priority", "7\n"));
	CHECK(apply("swap_priority", "40000") == -EINVAL && shows("swap_priority", "7\n"));
	tear_down();
}

static int check(const char *name, const char *value)
{
	return zr_attr_find(name)->check(value);
}

/* One at a time, as the kernel has it, or several; what is there of other priorities stays. */
static void test_recomp_algorithm(void)
{
	char name[200];

	set_up();
	CHECK(shows("recomp_algorithm", ""));
	CHECK(apply("recomp_algorithm", "algo=zstd") == 0);
	CHECK(shows("recomp_algorithm", "#1: lzo-rle lzo lz4 lz4hc [zstd] \n"));
	CHECK(apply("recomp_algorithm", "priority=3 algo=lz4hc") == 0);
	CHECK(apply("recomp_algorithm", "algo=deflate priority=2") == -EINVAL);
	CHECK(apply("recomp_algorithm", "algo=lzo priority=0") == -EINVAL);
	CHECK(apply("recomp_algorithm", "algo=lzo priority=4") == -EINVAL);
	CHECK(shows("recomp_algorithm", "#1: lzo-rle lzo lz4 lz4hc [zstd] \n"
					"#3: lzo-rle lzo lz4 [lz4hc] zstd \n"));
	CHECK(apply("recomp_algorithm", "algo=lzo priority=1, algo=zstd level=9 priority=2") == 0);
	CHECK(shows("recomp_algorithm", "#1: lzo-rle [lzo] lz4 lz4hc zstd \n"
					"#2: lzo-rle lzo lz4 lz4hc [zstd] \n"
					"#3: lzo-rle lzo lz4 [lz4hc] zstd \n"));
	CHECK(disk->pages.codecs[2].level == 9);

	/* Whose parameters, by number or by name; the earlier ones are forgotten. */
	CHECK(apply("algorithm_params", "priority=2 level=12") == 0);
	CHECK(disk->pages.codecs[2].level == 12 &&
	      disk->pages.codecs[0].level == ZR_CODEC_LEVEL_DEFAULT);
	CHECK(apply("algorithm_params", "algo=lz4hc level=4") == 0);
	CHECK(disk->pages.codecs[3].level == 4);
	CHECK(apply("algorithm_params", "algo=lz4hc priority=2 level=4") == -EINVAL);
	CHECK(apply("algorithm_params", "algo=lz4hc priority=3") == 0);
	CHECK(disk->pages.codecs[3].level == ZR_CODEC_LEVEL_DEFAULT);
	CHECK(apply("algorithm_params", "priority=1 level=3") == -EINVAL); /* lzo has none */

	/* What the configuration says of none; nobody writes it. */
	CHECK(check("recomp_algorithm", "") == -EINVAL);
	CHECK(apply("recomp_algorithm", "") == 0 && shows("recomp_algorithm", ""));

	CHECK(apply("disksize", "1M") == 0);
	CHECK(apply("recomp_algorithm", "algo=zstd") == -EBUSY);
	CHECK(check("recomp_algorithm", "algo=zstd") == 0);
	CHECK(check("recomp_algorithm", "algo=nonsense") == -EINVAL);
	CHECK(check("recomp_algorithm", "algo=zstd priority=9") == -EINVAL);
	memset(name, 'x', sizeof(name));
	memcpy(name, "algo=", 5);
	name[5 + 127] = 0;
	CHECK(check("recomp_algorithm", name) == -EINVAL);
	name[5 + 127] = 'x';
	name[5 + 128] = 0;
	CHECK(check("recomp_algorithm", name) == -E2BIG);
	tear_down();
}

static void test_recompress(void)
{
	static const char *const good[] = {
		"",
		"type=idle",
		"type=huge",
		"type=huge_idle",
		"threshold=0",
		"threshold=3840",
		"max_pages=0",
		"max_pages=18446744073709551615",
		"algo=zstd",
		"priority=1",
		"algo=zstd priority=1",
		"priority=3",
		"type=huge threshold=3000 max_pages=5 algo=lz4hc",
		" type=idle\ttype=huge ",
	};
	static const char *const bad[] = {
		"idle",
		"type",
		"type=",
		"type=all",
		"type=incompressible",
		"threshold=3841",
		"threshold=-1",
		"threshold=4K",
		"threshold=99999999999",
		"max_pages=",
		"max_pages=x",
		"max_pages=18446744073709551616",
		"algo=lz4",
		"algo=nonsense",
		"algo=",
		"priority=0",
		"priority=2",
		"priority=4",
		"algo=zstd priority=3",
		"level=3",
		"page_index=1",
		"=1",
		"type=idle nonsense=1",
	};
	uint8_t page[ZR_PAGE_SIZE] = { 1, 2, 3 };
	unsigned int i;

	set_up();
	CHECK(apply("recomp_algorithm", "algo=zstd, algo=lz4hc priority=3") == 0);
	CHECK(apply("recompress", "type=idle") == -EINVAL); /* no size */
	CHECK(apply("disksize", "1M") == 0);
	disk_put(&rig, disk, 0, page, sizeof(page));
	for (i = 0; i < ZR_ARRAY_SIZE(good); ++i)
		CHECK(apply("recompress", good[i]) == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i)
		CHECK(apply("recompress", bad[i]) == -EINVAL);
	CHECK(apply("reset", "1") == 0 && shows("recomp_algorithm", ""));
	CHECK(apply("disksize", "1M") == 0);
	CHECK(apply("recompress", "") == -EINVAL); /* nothing to do it with */
	CHECK(apply("recompress", "type=idle") == -EINVAL);
	tear_down();
}

static void test_small_ones_of_the_kernel(void)
{
	set_up();
	CHECK(apply("compact", "1") == -EINVAL && apply("idle", "all") == -EINVAL);
	CHECK(shows("debug_stat", "version: 1\n0        0\n"));
	CHECK(shows("max_comp_streams", "3\n"));
	CHECK(apply("max_comp_streams", "8") == 0 && shows("max_comp_streams", "3\n"));
	CHECK(apply("max_comp_streams", "0") == -EINVAL);
	CHECK(apply("max_comp_streams", "x") == -EINVAL);
	CHECK(apply("disksize", "1M") == 0);
	CHECK(apply("compact", "") == 0 && apply("compact", "junk") == 0);
	CHECK(apply("idle", "all") == 0 && apply("idle", "60") == -EINVAL);
	CHECK(apply("idle", "") == -EINVAL && apply("idle", "ALL") == -EINVAL);
	tear_down();
}

static void test_peak_is_forgotten(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	struct rng rng = rng_init("test-attr peak");
	unsigned int i;
	char before[ZR_ATTR_TEXT_MAX];

	set_up();
	CHECK(apply("disksize", "1M") == 0);
	for (i = 0; i < 200; ++i) {
		bytes_random(&rng, page, sizeof(page));
		disk_put(&rig, disk, (uint64_t)i * sizeof(page), page, sizeof(page));
	}
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 1 << 20) == 0);
	CHECK(apply("compact", "1") == 0);
	CHECK(apply("mem_used_max", "1") == -EINVAL && apply("mem_used_max", "") == -EINVAL);
	strcpy(before, show("mm_stat"));
	CHECK(strtoull(before + 4 * 9, NULL, 10) >= 200 * sizeof(page));
	CHECK(apply("mem_used_max", "0") == 0);
	CHECK(strtoull(show("mm_stat") + 4 * 9, NULL, 10) ==
	      strtoull(show("mm_stat") + 2 * 9, NULL, 10));
	CHECK(strtoull(show("mm_stat") + 4 * 9, NULL, 10) < 50 * sizeof(page));
	tear_down();
}

/* One file a figure, as in 2013: they say what the columns say. */
static void test_one_figure_each(void)
{
	uint8_t page[2 * ZR_PAGE_SIZE] = { 0 };

	set_up();
	CHECK(apply("disksize", "1M") == 0);
	disk_put(&rig, disk, 0, page, sizeof(page));
	page[0] = 1;
	disk_put(&rig, disk, 0, page, ZR_PAGE_SIZE);
	CHECK(shows("num_writes", "3\n") && shows("num_reads", "0\n"));
	CHECK(shows("zero_pages", "1\n") && shows("orig_data_size", "8192\n"));
	CHECK(shows("notify_free", "0\n") && shows("discard", "0\n"));
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 4 * ZR_PAGE_SIZE) == 0);
	CHECK(zr_disk_punch(disk, rig.ctx, 0, ZR_PAGE_SIZE) == 0);
	CHECK(shows("notify_free", "5\n") && shows("discard", "2\n"));
	CHECK(shows("orig_data_size", "0\n") && shows("compr_data_size", "0\n"));
	CHECK(shows("failed_reads", "0\n") && shows("failed_writes", "0\n"));
	CHECK(shows("invalid_io", "0\n"));
	CHECK(atoi(show("mem_used_total")) > 0); /* inner nodes */
	tear_down();
}

/* Figures that the kernel's has not */

static uint64_t figure(const char *name, const char *key)
{
	char head[64];
	const char *at = show(name);

	snprintf(head, sizeof(head), "%s ", key);
	at = strncmp(at, head, strlen(head)) == 0 ? at : strstr(at, head);
	CHECK(at && (at == text || at[-1] == '\n'));
	return strtoull(at + strlen(head), NULL, 10);
}

static void test_same_filled_by_kind(void)
{
	static const uint64_t words[] = { 0,
					  0,
					  UINT64_C(0x4141414141414141),
					  UINT64_MAX,
					  UINT64_C(0x1234123412341234),
					  UINT64_C(0x1234567812345678),
					  1,
					  UINT64_C(0x8877665544332211) };
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i;

	set_up();
	CHECK(zr_attr_find("same_filled")->show(&target, text, sizeof(text)) == -EINVAL);
	CHECK(apply("disksize", "1M") == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(words); ++i) {
		zr_fill_page(page, words[i]);
		disk_put(&rig, disk, (uint64_t)i * sizeof(page), page, sizeof(page));
	}
	CHECK(figure("same_filled", "zero") == 2 && figure("same_filled", "8_bits") == 2);
	CHECK(figure("same_filled", "16_bits") == 1 && figure("same_filled", "32_bits") == 1);
	CHECK(figure("same_filled", "64_bits") == 2);
	CHECK(figure("tables", "table_bytes") == 4 * ZR_PAGE_SIZE);
	CHECK(figure("tables", "leaves") == 1 && figure("tables", "inner_nodes") == 3);
	CHECK(figure("tables", "age_nodes") == 0);
	tear_down();
}

/* A line for 64 bytes, each of one width up to the bar; a bar where there is something. */
static void check_histogram(unsigned int n_huge, unsigned int n_small)
{
	unsigned int i, from, to, n_lines = 0, n_objects = 0, n;
	const char *at;

	for (at = show("histogram"); *at; at = strchr(at, '\n') + 1, ++n_lines) {
		CHECK(sscanf(at, "%u %u %u", &from, &to, &n) == 3);
		CHECK(from == n_lines * 64 + 1 && to == from + 63);
		i = (unsigned int)strcspn(at, "\n");
		CHECK((n > 0) == (memchr(at, '#', i) != NULL));
		CHECK(i <= 80 && i >= 22);
		n_objects += n;
		CHECK(n_lines != 63 || n == n_huge);
		CHECK(n_lines != 0 || n == n_small);
	}
	CHECK(n_lines == 64 && n_objects == n_huge + n_small);
}

static void test_histogram_and_fragmentation(void)
{
	struct rng rng = rng_init("test-attr histogram");
	uint8_t page[ZR_PAGE_SIZE];
	unsigned int i;

	set_up();
	CHECK(apply("disksize", "1M") == 0);
	check_histogram(0, 0);
	CHECK(figure("fragmentation", "percent") == 0);
	for (i = 0; i < 10; ++i) {
		bytes_random(&rng, page, sizeof(page));
		if (i >= 3) /* one byte differs: it compresses to next to nothing */
			memset(page, 'a', sizeof(page) - 1);
		page[4095] = 'b';
		disk_put(&rig, disk, (uint64_t)i * sizeof(page), page, sizeof(page));
	}
	check_histogram(3, 7);
	CHECK(figure("fragmentation", "object_bytes") > 3 * ZR_PAGE_SIZE);
	CHECK(figure("fragmentation", "cell_bytes") >= figure("fragmentation", "object_bytes"));
	CHECK(figure("fragmentation", "cell_bytes") <=
	      figure("fragmentation", "object_bytes") + 7 * 15);
	tear_down();
}

static void test_latency(void)
{
	unsigned int i;

	set_up();
	CHECK(figure("latency", "read_count") == 0 && figure("latency", "write_max_ns") == 0);
	for (i = 0; i < 100; ++i)
		zr_latency_add(&disk->entry->read_latency, i < 95 ? 1000 : 1000000);
	CHECK(figure("latency", "read_count") == 100 && figure("latency", "write_count") == 0);
	CHECK(figure("latency", "read_p50_ns") >= 1000);
	CHECK(figure("latency", "read_p50_ns") <= 1250);
	CHECK(figure("latency", "read_p99_ns") >= 1000000 * 3 / 4);
	CHECK(figure("latency", "read_max_ns") == 1000000);
	tear_down();
}

/* the daemon */

static void test_daemon_attributes(void)
{
	const struct zr_attr *limit = zr_attr_find_daemon("mem_limit");
	const struct zr_attr *threads = zr_attr_find_daemon("threads");
	struct zr_daemon_spec spec;
	char printed[64];

	set_up();
	target.disk = NULL;
	CHECK(strcmp(show_row(threads), "3\n") == 0 && strcmp(show_row(limit), "0\n") == 0);
	CHECK(limit->apply(&target, "1M") == 0 && zr_store_mem_limit(rig.store) == 1 << 20);
	CHECK(strcmp(show_row(limit), "1048576\n") == 0);
	CHECK(limit->apply(&target, "x") == -EINVAL && limit->apply(&target, "1%") == -EINVAL);
	CHECK(strcmp(show_row(limit), "1048576\n") == 0);
	CHECK(limit->apply(&target, "0") == 0 && zr_store_mem_limit(rig.store) == 0);

	zr_daemon_spec_init(&spec, UINT64_C(1) << 30);
	CHECK(threads->parse_daemon(&spec, "64") == 0 && spec.n_threads == 64);
	CHECK(threads->parse_daemon(&spec, "65") == -ERANGE && spec.n_threads == 64);
	CHECK(threads->parse_daemon(&spec, "") == -EINVAL);
	CHECK(limit->parse_daemon(&spec, "50%") == 0 && spec.mem_limit_bytes == UINT64_C(1) << 29);
	limit->print_daemon(&spec, printed, sizeof(printed));
	CHECK(strcmp(printed, "536870912") == 0);
	tear_down();
}

/* What the process would do, noted. */
static struct {
	char path[64];
	uint32_t watchdog_s, poll_us, policy_cpu;
} asked;

static int note_upgrade(void *context, const char *path, struct zr_stop stop)
{
	CHECK(context == &asked && !zr_stop_is_wanted(&stop));
	snprintf(asked.path, sizeof(asked.path), "%s", path);
	return *path ? -ENOEXEC : 0;
}

static int print_something(void *context, char *into, size_t n_into)
{
	CHECK(context == &asked);
	return snprintf(into, n_into, "7 4711\n");
}

static uint32_t tell_watchdog(void *context)
{
	CHECK(context == &asked);
	return asked.watchdog_s;
}

static void note_watchdog(void *context, uint32_t seconds)
{
	CHECK(context == &asked);
	asked.watchdog_s = seconds;
}

static uint32_t tell_poll_us(void *context)
{
	CHECK(context == &asked);
	return asked.poll_us;
}

static void note_poll_us(void *context, uint32_t us)
{
	CHECK(context == &asked);
	asked.poll_us = us;
}

static uint32_t tell_policy_cpu(void *context)
{
	CHECK(context == &asked);
	return asked.policy_cpu;
}

static void note_policy_cpu(void *context, uint32_t percent)
{
	CHECK(context == &asked);
	asked.policy_cpu = percent;
}

static const struct zr_attr_daemon process = { .context = &asked,
					       .upgrade = note_upgrade,
					       .print_upgrade = print_something,
					       .print_safety = print_something,
					       .print_generation = print_something,
					       .watchdog = tell_watchdog,
					       .set_watchdog = note_watchdog,
					       .poll_us = tell_poll_us,
					       .set_poll_us = note_poll_us,
					       .policy_cpu = tell_policy_cpu,
					       .set_policy_cpu = note_policy_cpu,
					       .transport = "io_uring",
					       .uring_depth = 7 };

static void test_processes(void)
{
	const struct zr_attr *watchdog = zr_attr_find_daemon("watchdog");
	const struct zr_attr *upgrade = zr_attr_find_daemon("upgrade");
	const struct zr_attr *poll_us = zr_attr_find_daemon("poll_us");
	const struct zr_attr *policy_cpu = zr_attr_find_daemon("policy_cpu");

	set_up();
	target.disk = NULL;
	target.daemon = &process;
	asked.watchdog_s = 10;
	CHECK(strcmp(show_row(watchdog), "10\n") == 0);
	CHECK(watchdog->apply(&target, "3600") == 0 && asked.watchdog_s == 3600);
	CHECK(watchdog->apply(&target, "0") == 0 && asked.watchdog_s == 0);
	CHECK(watchdog->apply(&target, "3601") == -ERANGE && watchdog->apply(&target, "") < 0);
	CHECK(watchdog->apply(&target, "5s") == -EINVAL && watchdog->apply(&target, "-1") < 0);
	CHECK(asked.watchdog_s == 0 && strcmp(show_row(watchdog), "0\n") == 0);

	CHECK(poll_us->apply(&target, "1000") == 0 && asked.poll_us == 1000);
	CHECK(poll_us->apply(&target, "1001") == -ERANGE && poll_us->apply(&target, "") < 0);
	CHECK(strcmp(show_row(poll_us), "1000\n") == 0);

	CHECK(policy_cpu->apply(&target, "100") == 0 && asked.policy_cpu == 100);
	CHECK(policy_cpu->apply(&target, "101") == -ERANGE && policy_cpu->apply(&target, "") < 0);
	CHECK(strcmp(show_row(policy_cpu), "100\n") == 0);

	snprintf(asked.path, sizeof(asked.path), "untouched");
	CHECK(upgrade->apply(&target, "zramfs") == -EINVAL);
	CHECK(upgrade->apply(&target, "./zramfs") == -EINVAL);
	CHECK(strcmp(asked.path, "untouched") == 0);
	CHECK(upgrade->apply(&target, "/new/zramfs") == -ENOEXEC);
	CHECK(strcmp(asked.path, "/new/zramfs") == 0);
	CHECK(upgrade->apply(&target, "") == 0 && asked.path[0] == 0);
	CHECK(strcmp(show_row(upgrade), "7 4711\n") == 0);
	CHECK(strcmp(show_row(zr_attr_find_daemon("generation")), "7 4711\n") == 0);
	CHECK(strcmp(show_row(zr_attr_find_daemon("safety")), "7 4711\n") == 0);
	CHECK(strcmp(show_row(zr_attr_find_daemon("transport")), "io_uring\n") == 0);
	CHECK(strcmp(show_row(zr_attr_find_daemon("uring_depth")), "7\n") == 0);
	tear_down();
}

/* Outside of the daemon, what it alone can do is refused, and nothing else. */
static void test_no_process(void)
{
	static const char *const names[] = {
		"generation", "safety",     "upgrade",   "watchdog",
		"poll_us",    "policy_cpu", "transport", "uring_depth"
	};
	const struct zr_attr *attr;
	unsigned int i;

	set_up();
	target.disk = NULL;
	for (i = 0; i < ZR_ARRAY_SIZE(names); ++i) {
		attr = zr_attr_find_daemon(names[i]);
		CHECK(attr->show(&target, text, sizeof(text)) == -ENODEV);
		CHECK(!attr->apply || attr->apply(&target, "/1") < 0);
	}
	CHECK(zr_attr_find_daemon("watchdog")->apply(&target, "1") == -ENODEV);
	CHECK(zr_attr_find_daemon("upgrade")->apply(&target, "") == -ENODEV);
	tear_down();
}

int main(void)
{
	RUN(test_texts_of_an_empty_disk);
	RUN(test_disksize);
	RUN(test_comp_algorithm_and_params);
	RUN(test_mem_limit);
	RUN(test_reset);
	RUN(test_statistics_of_a_disk);
	RUN(test_set_attributes_are_read_back);
	RUN(test_what_is_set_once);
	RUN(test_recomp_algorithm);
	RUN(test_recompress);
	RUN(test_small_ones_of_the_kernel);
	RUN(test_peak_is_forgotten);
	RUN(test_one_figure_each);
	RUN(test_same_filled_by_kind);
	RUN(test_histogram_and_fragmentation);
	RUN(test_latency);
	RUN(test_daemon_attributes);
	RUN(test_processes);
	RUN(test_no_process);
	return 0;
}
