/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Figures of a disk with a backing file, which are all there are
 */

#include "fake-backing.h"
#include "stats-rig.h"
#include "writeback.h"

/* Where there is a backing file: compcache's before these two and behind them, then ours. */
static const char *const backed_keys[] = {
	"BackingSwap",     "DiskSize",        "MemUsedTotal",       "BDevNumReads",
	"BDevNumWrites",   "MemUsedMax",      "WrittenBack",        "BackingUsed",
	"BackingFileSize", "BackingFileFree", "FailedBackingReads", "FailedBackingWrites",
	"BackingLost",     "ReadP50",         "WriteMax",           "SpillP50",
	"SpillP99",        "SpillMax",
};

/* a disk with a backing file */

static struct zr_disk *set_up_backed(void)
{
	struct zr_backing_record record;
	uint64_t id;

	fake_init(MIB(16));
	record = fake_record();
	rig_init(&rig);
	CHECK(zr_store_backing_add(rig.store, 0, &record, &fake_io, &id) == 0);
	return rig_add_backed(&rig, "disk0", MIB(4), id);
}

static void tear_down_backed(struct zr_disk *disk)
{
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
	fake_deinit();
}

static void write_back(struct zr_disk *disk, uint64_t first, uint64_t end)
{
	const struct zr_writeback_range range = { first, end - 1 };
	const struct zr_writeback_request request = { &range, 1, 0 };
	struct zr_batch *batch;

	CHECK(zr_batch_new(&batch) == 0);
	CHECK(zr_writeback_run(disk, batch, NULL, &request) == 0);
	zr_batch_free(batch);
}

static int set_backing_limit(struct zr_attrs *attrs, void *context)
{
	attrs->backing_limit_bytes = MIB(8);
	return 0;
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

	disk = set_up_backed();
	CHECK(zr_disk_set_mem_limit(disk, MIB(512)) == 0);
	CHECK(zr_disk_change_attrs(disk, false, set_backing_limit, NULL) == 0);
	zr_store_set_mem_limit(rig.store, MIB(600));
	for (at = 0; at < sizeof(bytes); at += ZR_PAGE_SIZE)
		page_random(&rng, bytes + at);
	disk_put(&rig, disk, 0, bytes, sizeof(bytes));
	CHECK(zr_disk_punch(disk, rig.ctx, 0, 40 * ZR_PAGE_SIZE) == 0);
	write_back(disk, 40, 100);
	disk_get(&rig, disk, 0, bytes, 60 * ZR_PAGE_SIZE);
	render();

	for (figure = zr_figures_disk; figure->key; ++figure) {
		if (figure->name)
			check_figure(figure, "disk0", json_disk(0), "disk=\"disk0\"");
		else
			CHECK(line("disk0", figure->key));
	}
	for (figure = zr_figures_total; figure->key; ++figure)
		check_figure(figure, "total", json_member(json, "total"), "");
	tear_down_backed(disk);
}

static void test_a_backing_file(void)
{
	struct zr_disk_figures figures;
	uint8_t page[ZR_PAGE_SIZE];
	struct zr_disk *disk;
	unsigned int i;
	const char *at, *next;

	disk = set_up_backed();
	for (i = 0; i < 30; ++i) {
		stamp_make(page, sizeof(page), (uint64_t)i << 8 | (1 + i % 3));
		disk_put(&rig, disk, i * (uint64_t)ZR_PAGE_SIZE, page, sizeof(page));
	}
	write_back(disk, 0, 20);
	disk_get(&rig, disk, 0, page, sizeof(page));
	zr_latency_add(&disk->entry->spill_latency, 5000000);
	fake.read_error = EIO;
	CHECK(zr_disk_read(disk, rig.ctx, 10 * ZR_PAGE_SIZE, page, sizeof(page), &(size_t){ 0 }) ==
	      -EIO);
	render();
	zr_disk_figures(disk, &figures);

	CHECK(strncmp(section("disk0"), "BackingSwap:\t   /fake\n", 22) == 0);
	for (i = 0, at = NULL; i < ZR_ARRAY_SIZE(backed_keys); ++i, at = next) {
		next = line("disk0", backed_keys[i]);
		CHECK(next && next > at);
	}
	CHECK(value("disk0", "WrittenBack") == 20 && value("disk0", "PagesStored") == 10);
	CHECK(value("disk0", "OrigDataSize") == 120);
	CHECK(value("disk0", "BDevNumReads") == 2 && value("disk0", "BDevNumWrites") == 20);
	CHECK(value("disk0", "FailedBackingReads") == 1);
	CHECK(value("disk0", "BackingFileSize") == 16384);
	CHECK(value("disk0", "BackingFileFree") < 16384 &&
	      value("disk0", "BackingFileFree") > 16200);
	CHECK(json_value(json_disk(0), "backing_used") ==
	      (uint64_t)figures.tally.gauge[ZR_GAUGE_FRAME_BYTES]);
	CHECK(line("disk0", "BackingLimit") == NULL && value("disk0", "SpillMax") == 5000);
	CHECK(json_is(json_member(json_disk(0), "backing_dev"), "\"/fake\""));
	CHECK(metric("zramfs_spill_latency_seconds_count", "disk=\"disk0\"") == 1);
	CHECK(value("total", "WrittenBack") == 20);
	CHECK(metric("zramfs_backing_lost", "disk=\"disk0\"") == 0);

	zr_disk_reset_counters(disk);
	render();
	CHECK(value("disk0", "BDevNumReads") == 0 && value("disk0", "BDevNumWrites") == 0);
	CHECK(value("disk0", "FailedBackingReads") == 0 && value("disk0", "SpillMax") == 0);
	CHECK(value("disk0", "WrittenBack") == 20);

	disk = zr_disk_unpin(rig.store, disk);
	rig_reattach_backed(&rig, true);
	render();
	CHECK(strncmp(section("disk0"), "BackingSwap:\t   /fake (lost)\n", 29) == 0);
	CHECK(metric("zramfs_backing_lost", "disk=\"disk0\"") == 1);
	tear_down_backed(NULL);
}

static void test_no_backing_file(void)
{
	struct zr_disk *disk;
	unsigned int i;

	rig_init(&rig);
	disk = rig_add(&rig, "disk0", MIB(1));
	render();
	for (i = 0; i < ZR_ARRAY_SIZE(backed_keys); ++i)
		CHECK(!line("disk0", backed_keys[i]) || i == 1 || i == 2 || i == 5 || i == 13 ||
		      i == 14);
	CHECK(line("total", "WrittenBack") == NULL && line("total", "BackingUsed") == NULL);
	CHECK(json_is(json_member(json_disk(0), "backing_dev"), "\"none\""));
	CHECK(json_value(json_disk(0), "bd_count") == 0);
	zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

int main(void)
{
	RUN(test_every_figure_is_everywhere);
	RUN(test_a_backing_file);
	RUN(test_no_backing_file);
	free(text);
	free(json);
	free(metrics);
	return 0;
}
