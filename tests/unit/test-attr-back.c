/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What files below .control/ say and take of a backing file: to the byte and the errno of the
 * kernel's zram where it has them. The file is one in memory, and who opens it the test.
 */

#include "attr.h"
#include "batch.h"
#include "census.h"
#include "fake-backing.h"
#include "slots.h"

#define N_PAGES 256u

static struct rig rig;
static struct zr_disk *disk;
static struct zr_attrs defaults;
static struct zr_attr_target target;
static char text[ZR_ATTR_TEXT_MAX];

/* the daemon's part */

static struct {
	int error; /* of opening */
	char path[ZR_BACKING_PATH_MAX + 1];
	unsigned int n_opened, n_lent;
	bool unwanted; /* nobody waits for the batch any more */
	uint32_t flags;
	struct zr_batch *batch;
} opener;

static int back(void *context, struct zr_disk *of, const char *path, struct zr_stop stop)
{
	struct zr_backing_record record = fake_record();
	unsigned int index = 0;
	uint64_t id = 0;
	int r = 0;

	CHECK(context == &opener && of == disk && stop.is_wanted == target.stop.is_wanted);
	++opener.n_opened;
	snprintf(opener.path, sizeof(opener.path), "%s", path);
	if (opener.error != 0)
		return -opener.error;
	if (*path) {
		snprintf(record.path, sizeof(record.path), "%s", path);
		record.flags = opener.flags;
		while (zr_store_backing_at(rig.store, index))
			++index;
		r = zr_store_backing_add(rig.store, index, &record, &fake_io, &id);
	}
	return r < 0 ? r : zr_store_back(rig.store, disk, id);
}

static struct zr_batch *take_batch(void *context, struct zr_stop stop)
{
	CHECK(context == &opener && opener.n_lent == 0);
	if (opener.unwanted)
		return NULL;
	++opener.n_lent;
	return opener.batch;
}

static void give_batch(void *context, struct zr_batch *batch)
{
	CHECK(batch == opener.batch && opener.n_lent == 1);
	opener.n_lent = 0;
}

static const struct zr_attr_daemon daemon_part = {
	.context = &opener, .back = back, .take_batch = take_batch, .give_batch = give_batch
};

static void set_up(void)
{
	struct zr_disk_spec spec;

	fake_init(MIB(8));
	zr_disk_spec_init(&spec, 0);
	defaults = spec.attrs;
	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
	CHECK(zr_disk_reset(disk, &defaults) == 0);
	memset(&opener, 0, sizeof(opener));
	CHECK(zr_batch_new(&opener.batch) == 0);
	target = (struct zr_attr_target){ .store = rig.store,
					  .disk = disk,
					  .ctx = rig.ctx,
					  .defaults = &defaults,
					  .n_threads = 3,
					  .daemon = &daemon_part };
	CHECK(zr_ctx_let_wait(rig.ctx) == 0);
}

static void tear_down(void)
{
	CHECK(opener.n_lent == 0);
	zr_batch_free(opener.batch);
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
	fake_deinit();
}

static const char *show(const char *name)
{
	const struct zr_attr *attr = zr_attr_find(name);
	int n_text;

	CHECK(attr && attr->show);
	memset(text, 'x', sizeof(text));
	n_text = attr->show(&target, text, sizeof(text));
	CHECK(n_text > 0 && n_text < (int)sizeof(text));
	CHECK(text[n_text] == 0 && strlen(text) == (size_t)n_text);
	return text;
}

static bool shows(const char *name, const char *wanted)
{
	return strcmp(show(name), wanted) == 0;
}

static int apply(const char *name, const char *value)
{
	const struct zr_attr *attr = zr_attr_find(name);

	CHECK(attr && attr->apply);
	return attr->apply(&target, value);
}

/* settings */

static void test_texts_without_a_file(void)
{
	set_up();
	CHECK(shows("backing_dev", "none\n") && shows("backing_size", "0\n"));
	CHECK(shows("backing_preallocate", "0\n") && shows("backing_limit", "0\n"));
	CHECK(shows("backing_key", "none\n") && shows("on_limit", "enospc\n"));
	CHECK(shows("spill_above", "0\n") && shows("writeback_at", "90\n"));
	CHECK(shows("writeback_batch_size", "128\n") && shows("compressed_writeback", "1\n"));
	CHECK(shows("writeback_limit", "0\n") && shows("writeback_limit_enable", "0\n"));
	CHECK(shows("bd_stat", "       0        0        0\n"));
	tear_down();
}

/* A value that is taken and what it shows then, one that is not, and when it may change. */
static const struct {
	const char *name, *good, *shown, *bad, *too_much;
	bool always;
} settings[] = {
	{ "backing_size", "5000", "8192\n", "x", "65T", false },
	{ "backing_preallocate", "y", "1\n", "maybe", "2", false },
	{ "backing_key", "random", "random\n", "aes", "", false },
	{ "backing_limit", "1M", "1048576\n", "10%", "65T", true },
	{ "spill_above", "2048", "2048\n", "-1", "4097", true },
	{ "writeback_at", "75", "75\n", "0", "101", true },
	{ "writeback_batch_size", "32", "32\n", "0", "1025", true },
	{ "compressed_writeback", "off", "0\n", "2", "perhaps", false },
};

static void test_settings(void)
{
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(settings); ++i) {
		CHECK(apply(settings[i].name, settings[i].bad) == -EINVAL);
		CHECK(!*settings[i].too_much ||
		      apply(settings[i].name, settings[i].too_much) == -EINVAL);
		CHECK(apply(settings[i].name, settings[i].good) == 0);
		CHECK(shows(settings[i].name, settings[i].shown));
	}
	CHECK(apply("disksize", "1M") == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(settings); ++i) {
		CHECK(apply(settings[i].name, settings[i].good) ==
		      (settings[i].always ? 0 : -EBUSY));
		CHECK(shows(settings[i].name, settings[i].shown));
	}
	/* As the kernel has it: that comes first. */
	CHECK(apply("compressed_writeback", "2") == -EINVAL);
	CHECK(apply("reset", "1") == 0 && shows("compressed_writeback", "1\n"));
	CHECK(shows("backing_limit", "0\n") && shows("writeback_at", "90\n"));
	tear_down();
}

static void test_settings_reach_the_pages(void)
{
	set_up();
	CHECK(apply("mem_limit", "1M") == 0 && apply("backing_dev", "/a") == 0);
	CHECK(apply("writeback_at", "50") == 0 && apply("spill_above", "3000") == 0);
	CHECK(atomic_load(&disk->pages.xspill_bytes) == MIB(1) / 100 * 50);
	CHECK(atomic_load(&disk->pages.xspill_above_bytes) == 3000);
	CHECK(apply("on_limit", "enospc") == 0 && atomic_load(&disk->pages.xspill_bytes) == 0);
	tear_down();
}

static void test_words_of_the_kernel(void)
{
	static const char *const yes[] = { "1", "y", "Y", "yes", "t", "true", "on", "ON" };
	static const char *const no[] = { "0", "n", "N", "no", "f", "False", "off", "oFF" };
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(yes); ++i) {
		CHECK(apply("compressed_writeback", no[i]) == 0);
		CHECK(shows("compressed_writeback", "0\n"));
		CHECK(apply("compressed_writeback", yes[i]) == 0);
		CHECK(shows("compressed_writeback", "1\n"));
	}
	tear_down();
}

/* backing_dev */

static void test_backing_dev(void)
{
	char path[ZR_BACKING_PATH_MAX + 2];

	set_up();
	CHECK(apply("backing_dev", "relative") == -EINVAL && opener.n_opened == 0);
	memset(path, '/', sizeof(path));
	path[sizeof(path) - 1] = 0;
	CHECK(apply("backing_dev", path) == -ENAMETOOLONG && opener.n_opened == 0);

	opener.error = ENOTBLK;
	CHECK(apply("backing_dev", "/dev/null") == -ENOTBLK && opener.n_opened == 1);
	CHECK(shows("backing_dev", "none\n"));
	opener.error = 0;
	CHECK(apply("backing_dev", "/var/lib/zram 1") == 0);
	CHECK(strcmp(opener.path, "/var/lib/zram 1") == 0);
	CHECK(shows("backing_dev", "/var/lib/zram 1\n") && shows("on_limit", "spill\n"));

	CHECK(apply("backing_dev", "none") == 0 && strcmp(opener.path, "") == 0);
	CHECK(shows("backing_dev", "none\n") && shows("on_limit", "enospc\n"));
	CHECK(apply("backing_dev", "") == 0 && apply("backing_dev", "/b") == 0);

	CHECK(apply("disksize", "1M") == 0);
	opener.n_opened = 0;
	CHECK(apply("backing_dev", "/c") == -EBUSY && apply("backing_dev", "none") == -EBUSY);
	CHECK(apply("backing_dev", "relative") == -EBUSY);
	CHECK(opener.n_opened == 0 && shows("backing_dev", "/b\n"));
	CHECK(apply("reset", "1") == 0 && shows("backing_dev", "none\n"));
	tear_down();
}

/* What it was opened with is so until it is given back. */
static void test_what_a_file_was_opened_with(void)
{
	static const char *const rows[][2] = { { "backing_size", "1M" },
					       { "backing_preallocate", "1" },
					       { "backing_key", "random" },
					       { "format", "swap" } };
	unsigned int i;

	set_up();
	CHECK(apply("backing_dev", "/a") == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(rows); ++i)
		CHECK(apply(rows[i][0], rows[i][1]) == -EBUSY);
	CHECK(apply("compressed_writeback", "0") == 0);
	CHECK(apply("backing_dev", "none") == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(rows); ++i)
		CHECK(apply(rows[i][0], rows[i][1]) == 0);
	tear_down();
}

static void test_backing_key_is_what_holds(void)
{
	set_up();
	CHECK(apply("format", "swap") == 0 && shows("backing_key", "random\n"));
	CHECK(apply("backing_key", "none") == 0 && shows("backing_key", "none\n"));
	CHECK(apply("backing_key", "") == 0 && shows("backing_key", "random\n"));
	CHECK(apply("format", "none") == 0 && shows("backing_key", "none\n"));
	/* Another disk had it opened with a key. */
	opener.flags = ZR_BACKING_SEALED;
	CHECK(apply("backing_dev", "/a") == 0 && shows("backing_key", "random\n"));
	tear_down();
}

static void test_on_limit_is_what_holds(void)
{
	set_up();
	CHECK(apply("on_limit", "spill") == -ENODEV && apply("on_limit", "enospc") == 0);
	CHECK(apply("on_limit", "wait") == -EINVAL && apply("on_limit", "") == 0);
	CHECK(apply("backing_dev", "/a") == 0 && shows("on_limit", "spill\n"));
	CHECK(apply("disksize", "1M") == 0);
	CHECK(apply("on_limit", "enospc") == 0 && shows("on_limit", "enospc\n"));
	CHECK(apply("on_limit", "spill") == 0 && shows("on_limit", "spill\n"));
	tear_down();
}

static void test_without_a_daemon(void)
{
	set_up();
	CHECK(apply("backing_dev", "/a") == 0 && apply("disksize", "1M") == 0);
	target.daemon = NULL;
	CHECK(apply("writeback", "type=huge") == -ENODEV);
	CHECK(apply("backing_dev", "/b") == -EBUSY);
	CHECK(zr_disk_reset(disk, &defaults) == 0);
	CHECK(apply("backing_dev", "/b") == -ENODEV && apply("backing_dev", "none") == -ENODEV);
	CHECK(apply("backing_dev", "b") == -EINVAL);
	tear_down();
}

static void test_what_is_set_of_a_disk(void)
{
	struct zr_disk_spec spec;

	set_up();
	zr_attr_spec_of(disk, &spec);
	CHECK(spec.backing_dev[0] == 0);
	CHECK(apply("backing_dev", "/a") == 0 && apply("spill_above", "1000") == 0);
	zr_attr_spec_of(disk, &spec);
	CHECK(strcmp(spec.backing_dev, "/a") == 0 && spec.attrs.spill_above_bytes == 1000);
	tear_down();
}

/* writeback_limit: at any time, and it outlives a reset, as with the kernel */

static void test_writeback_limit(void)
{
	static const char *const bad[] = { "", "x", "-1", "1K", "1 2", "18446744073709551616" };
	unsigned int i;

	set_up();
	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i) {
		CHECK(apply("writeback_limit", bad[i]) == -EINVAL);
		CHECK(apply("writeback_limit_enable", bad[i]) == -EINVAL);
	}
	CHECK(apply("writeback_limit", "+400") == 0 && shows("writeback_limit", "400\n"));
	CHECK(apply("writeback_limit", "18446744073709551615") == 0);
	CHECK(shows("writeback_limit", "18446744073709551615\n"));
	CHECK(apply("writeback_limit_enable", "7") == 0);
	CHECK(shows("writeback_limit_enable", "1\n"));
	CHECK(apply("disksize", "1M") == 0 && apply("writeback_limit", "3") == 0);
	CHECK(apply("reset", "1") == 0 && shows("writeback_limit", "3\n"));
	CHECK(shows("writeback_limit_enable", "1\n"));
	CHECK(apply("writeback_limit_enable", "0") == 0);
	CHECK(shows("writeback_limit_enable", "0\n"));
	zr_store_remove(rig.store, disk);
	CHECK(apply("writeback_limit", "1") == -ESTALE);
	CHECK(apply("writeback_limit_enable", "1") == -ESTALE);
	tear_down();
}

/* writeback */

static void fill(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t i;

	for (i = 0; i < N_PAGES; ++i) {
		stamp_make(page, sizeof(page), (i + 1) << 3 | (1 + i % 3));
		disk_put(&rig, disk, i * ZR_PAGE_SIZE, page, sizeof(page));
	}
}

static void check_contents(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t i;

	for (i = 0; i < N_PAGES; ++i) {
		disk_get(&rig, disk, i * ZR_PAGE_SIZE, page, sizeof(page));
		CHECK(stamp_is(page, sizeof(page), (i + 1) << 3 | (1 + i % 3)));
	}
}

static int64_t n_back(void)
{
	return disk_gauge(disk, ZR_GAUGE_WRITTEN_BACK);
}

static void set_up_filled(void)
{
	set_up();
	CHECK(apply("backing_dev", "/a") == 0 && apply("disksize", "1M") == 0);
	fill();
}

static void test_writeback_wants_a_size_and_a_file(void)
{
	set_up();
	CHECK(apply("writeback", "idle") == -EINVAL && apply("writeback", "junk") == -EINVAL);
	CHECK(apply("disksize", "1M") == 0);
	CHECK(apply("writeback", "idle") == -ENODEV && apply("writeback", "junk") == -ENODEV);
	tear_down();
}

static void test_writeback_words(void)
{
	static const char *const good[] = {
		"idle",
		"huge",
		"huge_idle",
		"incompressible",
		"type=idle",
		"type=huge",
		" type=huge_idle\t",
		"type=incompressible",
		"page_index=0",
		"page_index=+255",
		"page_indexes=0-0",
		"page_index=42 page_index=99 page_indexes=100-200 page_indexes=150-255",
		"page_index=1 type=huge",
		"page_indexes=1-2 huge",
	};
	static const struct {
		const char *words;
		int error;
	} bad[] = {
		{ "", -EINVAL },
		{ " ", -EINVAL },
		{ "all", -EINVAL },
		{ "type", -EINVAL },
		{ "type=", -EINVAL },
		{ "type=all", -EINVAL },
		{ "idle huge", -EINVAL },
		{ "type=idle page_index=1", -EINVAL },
		{ "page_index", -EINVAL },
		{ "page_index=", -EINVAL },
		{ "page_index=x", -EINVAL },
		{ "page_index=-1", -EINVAL },
		{ "page_index=0x1", -EINVAL },
		{ "page_index=256", -ERANGE },
		{ "page_index=18446744073709551615", -ERANGE },
		{ "page_index=18446744073709551616", -ERANGE },
		{ "page_indexes=1", -EINVAL },
		{ "page_indexes=1-", -EINVAL },
		{ "page_indexes=-1", -EINVAL },
		{ "page_indexes=1-2-3", -EINVAL },
		{ "page_indexes=0-256", -ERANGE },
		{ "page_indexes=2-1", -ERANGE },
		{ "page_index=1 page_index=256", -ERANGE },
		{ "threshold=3", -EINVAL },
		{ "page_index=1 nonsense=1", -EINVAL },
	};
	unsigned int i;

	set_up_filled();
	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i)
		CHECK(apply("writeback", bad[i].words) == bad[i].error);
	CHECK(n_back() == 0);
	for (i = 0; i < ZR_ARRAY_SIZE(good); ++i)
		CHECK(apply("writeback", good[i]) == 0);
	check_contents();
	tear_down();
}

/* As many as a text can hold. */
static void test_many_page_numbers(void)
{
	char many[ZR_ATTR_VALUE_MAX + 1] = "";
	unsigned int i;

	set_up_filled();
	for (i = 0; strlen(many) + 13 <= ZR_ATTR_VALUE_MAX; ++i)
		sprintf(many + strlen(many), "page_index=%u ", i % 10);
	CHECK(i == 315 - 1 || i == 315);
	CHECK(apply("writeback", many) == 0 && n_back() == 10);
	tear_down();
}

static void test_writeback_and_its_figures(void)
{
	uint8_t page[ZR_PAGE_SIZE];

	set_up_filled();
	CHECK(apply("writeback", "page_indexes=0-9") == 0);
	CHECK(shows("bd_stat", "      10        0       10\n"));
	disk_get(&rig, disk, 0, page, sizeof(page));
	CHECK(shows("bd_stat", "      10        1       10\n"));
	CHECK(apply("writeback", "type=huge") == 0 && n_back() > 50);
	CHECK(apply("idle", "all") == 0 && apply("writeback", "type=idle") == 0);
	CHECK(n_back() == N_PAGES);
	check_contents();

	CHECK(zr_disk_punch(disk, rig.ctx, 0, MIB(1)) == 0 && n_back() == 0);
	CHECK(strncmp(show("bd_stat"), "       0      257      256\n", 27) == 0);
	tear_down();
}

static void test_writeback_errors(void)
{
	set_up_filled();
	CHECK(apply("writeback_limit_enable", "1") == 0);
	CHECK(apply("writeback", "type=huge") == -EIO && n_back() == 0);
	CHECK(apply("writeback_limit", "5") == 0);
	CHECK(apply("writeback", "type=huge") == -EIO && n_back() == 5);
	CHECK(shows("writeback_limit", "0\n"));
	CHECK(apply("writeback_limit_enable", "0") == 0);

	CHECK(apply("backing_limit", "400K") == 0);
	CHECK(apply("writeback", "page_indexes=0-255") == -ENOSPC && n_back() > 5);
	CHECK(apply("backing_limit", "0") == 0);

	fake.write_error = EREMOTEIO;
	CHECK(apply("writeback", "page_indexes=0-255") == -EREMOTEIO);
	fake.write_error = 0;

	opener.unwanted = true;
	CHECK(apply("writeback", "page_indexes=0-255") == -EINTR && n_back() < N_PAGES);
	opener.unwanted = false;
	CHECK(apply("writeback", "page_indexes=0-255") == 0 && n_back() == N_PAGES);
	check_contents();
	tear_down();
}

static bool stop_at_once(void *context)
{
	return true;
}

static void test_writeback_is_interrupted(void)
{
	set_up_filled();
	target.stop.is_wanted = stop_at_once;
	CHECK(apply("writeback", "page_indexes=0-255") == -EINTR && n_back() == 0);
	CHECK(apply("writeback", "huge") == -EINTR && n_back() == 0);
	tear_down();
}

/* block_state */

static void check_state(uint64_t page_no, const char *flags)
{
	const struct zr_attr *attr = zr_attr_find("block_state");
	uint64_t cursor = page_no;
	char wanted[64];
	int n;

	snprintf(wanted, sizeof(wanted), "%12" PRIu64 "            0.000000 %s\n", page_no, flags);
	n = attr->stream(&target, &cursor, text, ZR_BLOCK_STATE_LINE);
	CHECK(n == (int)ZR_BLOCK_STATE_LINE && memcmp(text, wanted, (size_t)n) == 0);
}

static void test_block_state(void)
{
	set_up();
	CHECK(apply("recomp_algorithm", "algo=zstd") == 0 && apply("backing_dev", "/a") == 0);
	CHECK(apply("disksize", "1M") == 0);
	fill(); /* page 2 is random */
	CHECK(apply("recompress", "type=huge") == 0);
	check_state(1, "......");
	check_state(2, "..h..n");
	CHECK(zr_disk_recompress(disk, rig.ctx, 0, 1, 0) == 0);
	check_state(0, "....r.");
	CHECK(apply("writeback", "page_indexes=0-2") == 0);
	check_state(0, ".w..r.");
	check_state(1, ".w....");
	check_state(2, ".wh..n");
	tear_down();
}

int main(void)
{
	RUN(test_texts_without_a_file);
	RUN(test_settings);
	RUN(test_settings_reach_the_pages);
	RUN(test_words_of_the_kernel);
	RUN(test_backing_dev);
	RUN(test_what_a_file_was_opened_with);
	RUN(test_backing_key_is_what_holds);
	RUN(test_on_limit_is_what_holds);
	RUN(test_without_a_daemon);
	RUN(test_what_is_set_of_a_disk);
	RUN(test_writeback_limit);
	RUN(test_writeback_wants_a_size_and_a_file);
	RUN(test_writeback_words);
	RUN(test_many_page_numbers);
	RUN(test_writeback_and_its_figures);
	RUN(test_writeback_errors);
	RUN(test_writeback_is_interrupted);
	RUN(test_block_state);
	return 0;
}
