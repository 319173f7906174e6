/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The table is walked, so that a new row is at least checked for its form; what each row of today
 * says is compared to the byte with what the kernel's zram says.
 */

#include "rig.h"

#include <ctype.h>
#include <errno.h>

#include "attr.h"

#define RAM (UINT64_C(1) << 30)

static struct rig rig;
static struct zr_disk *disk;
static struct zr_attrs defaults;
static char text[ZR_ATTR_TEXT_MAX];

static void set_up(void)
{
	struct zr_disk_spec spec;

	zr_disk_spec_init(&spec, 0);
	defaults = spec.attrs;
	rig_init(&rig);
	disk = rig_add(&rig, "disk0", 0);
}

static void tear_down(void)
{
	disk = zr_disk_unpin(rig.store, disk);
	rig_deinit(&rig);
}

static const char *show(const char *name)
{
	const struct zr_attr *attr = zr_attr_find(name);
	int n_text;

	CHECK(attr && attr->show);
	memset(text, 'x', sizeof(text));
	n_text = attr->show(disk, text, sizeof(text));
	CHECK(n_text > 0 && n_text < (int)sizeof(text));
	CHECK(text[n_text] == 0 && strlen(text) == (size_t)n_text);
	return text;
}

static int apply(const char *name, const char *value)
{
	const struct zr_attr *attr = zr_attr_find(name);

	CHECK(attr && attr->apply);
	return attr->apply(disk, rig.ctx, &defaults, value);
}

/* the table */

static void check_row(const struct zr_attr *attr)
{
	const char *at;

	CHECK(attr->name[0] && attr->help && attr->help[0] && attr->when);
	for (at = attr->name; *at; ++at)
		CHECK(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '_');
	CHECK(zr_attr_find(attr->name) == attr); /* no name twice */
	CHECK(attr->flags & (ZR_ATTR_CONFIG | ZR_ATTR_CONTROL));

	CHECK(!(attr->flags & ZR_ATTR_CONFIG) == !attr->parse);
	CHECK(!attr->parse == !attr->print);
	if (attr->flags & ZR_ATTR_CONTROL) {
		CHECK(!(attr->mode & 0200) == !attr->apply);
		CHECK(!(attr->mode & 0444) == !attr->show);
	} else {
		CHECK(!attr->apply && !attr->show && attr->mode == 0);
	}
	CHECK(attr->allowed || (!attr->parse && !attr->apply));
	CHECK(!(attr->flags & ZR_ATTR_UNUSED) || attr->apply);
}

static void test_rows_are_well_formed(void)
{
	unsigned int i;

	for (i = 0; zr_attr_at(i); ++i)
		check_row(zr_attr_at(i));
	CHECK(i > 10);
	CHECK(zr_attr_at(i + 1) == NULL);
	CHECK(zr_attr_find("") == NULL && zr_attr_find("disksiz") == NULL);
	CHECK(zr_attr_find("DISKSIZE") == NULL);
}

static void test_modes_are_the_kernels(void)
{
	static const struct {
		const char *name;
		unsigned int mode;
	} rows[] = {
		{ "disksize", 0644 },
		{ "initstate", 0444 },
		{ "reset", 0200 },
		{ "comp_algorithm", 0644 },
		{ "algorithm_params", 0200 },
		{ "mm_stat", 0444 },
		{ "io_stat", 0444 },
		{ "compact", 0200 },
		{ "mem_limit", 0644 }, /* readable: ours */
	};
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(rows); ++i)
		CHECK(zr_attr_find(rows[i].name)->mode == rows[i].mode);
}

/* the configuration */

static int parse(struct zr_disk_spec *spec, const char *name, const char *value)
{
	return zr_attr_find(name)->parse(spec, value);
}

/* What print says is what parse takes, and it makes the same of it. */
static void check_round_trip(const struct zr_disk_spec *spec)
{
	struct zr_disk_spec again;
	char printed[ZR_ATTR_TEXT_MAX];
	unsigned int i;

	zr_disk_spec_init(&again, spec->ram_bytes);
	for (i = 0; zr_attr_at(i); ++i) {
		if (!zr_attr_at(i)->print)
			continue;
		memset(printed, 'x', sizeof(printed));
		zr_attr_at(i)->print(spec, printed, sizeof(printed));
		CHECK(memchr(printed, 0, sizeof(printed)));
		if (printed[0])
			CHECK(zr_attr_at(i)->parse(&again, printed) == 0);
	}
	CHECK(memcmp(&again, spec, sizeof(again)) == 0);
}

static const struct {
	const char *name, *value, *printed;
} good[] = {
	{ "disksize", "1", "4096" },
	{ "disksize", "4097", "8192" },
	{ "disksize", "64M", "67108864" },
	{ "disksize", "50%", "536870912" },
	{ "disksize", "256T", "281474976710656" },
	{ "comp_algorithm", "lz4", "lz4" },
	{ "comp_algorithm", "lz4hc", "lz4hc" },
	{ "comp_algorithm", "lzo", "lzo" },
	{ "comp_algorithm", "lzo-rle", "lzo-rle" },
	{ "comp_algorithm", "zstd", "zstd" },
	{ "algorithm_params", "", "" },
	{ "algorithm_params", "level=3", "level=3" },
	{ "algorithm_params", "priority=0  level=2", "level=2" },
	{ "algorithm_params", "algo=lz4 level=5", "level=5" },
	{ "mem_limit", "0", "0" },
	{ "mem_limit", "1", "4096" },
	{ "mem_limit", "1k", "4096" },
	{ "mem_limit", "25%", "268435456" },
	{ "format", "none", "none" },
	{ "format", "swap", "swap" },
	{ "label", "", "" },
	{ "label", "0123456789abcdef", "0123456789abcdef" },
	{ "uuid", "", "" },
	{ "uuid", "7D3F2A9E-5b0c-4c43-9f0e-2f6c1f1d8a54", "7d3f2a9e-5b0c-4c43-9f0e-2f6c1f1d8a54" },
	{ "mode", "0", "0000" },
	{ "mode", "640", "0640" },
	{ "mode", "0777", "0777" },
};

static void test_values_come_back(void)
{
	struct zr_disk_spec spec;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(good); ++i) {
		zr_disk_spec_init(&spec, RAM);
		check_round_trip(&spec);
		CHECK(parse(&spec, good[i].name, good[i].value) == 0);
		zr_attr_find(good[i].name)->print(&spec, text, sizeof(text));
		CHECK(strcmp(text, good[i].printed) == 0);
		check_round_trip(&spec);
	}
}

/* A row that is added must be added here: each key has a value above. */
static void test_every_key_has_a_value(void)
{
	unsigned int i, j;

	for (i = 0; zr_attr_at(i); ++i) {
		for (j = 0; j < ZR_ARRAY_SIZE(good); ++j) {
			if (strcmp(good[j].name, zr_attr_at(i)->name) == 0)
				break;
		}
		CHECK(j < ZR_ARRAY_SIZE(good) || !zr_attr_at(i)->parse);
	}
}

static const struct {
	const char *name, *value;
	int error;
} bad[] = {
	{ "disksize", "0", -EINVAL },
	{ "disksize", "", -EINVAL },
	{ "disksize", "x", -EINVAL },
	{ "disksize", "257T", -ERANGE },
	{ "disksize", "281474976710657", -ERANGE },
	{ "disksize", "18446744073709551615", -ERANGE },
	{ "disksize", "18446744073709551616", -ERANGE },
	{ "comp_algorithm", "", -EINVAL },
	{ "comp_algorithm", "LZ4", -EINVAL },
	{ "comp_algorithm", "deflate", -EINVAL },
	{ "algorithm_params", "level", -EINVAL },
	{ "algorithm_params", "level=", -EINVAL },
	{ "algorithm_params", "level=x", -EINVAL },
	{ "algorithm_params", "level=1x", -EINVAL },
	{ "algorithm_params", "level=99999999999", -ERANGE },
	{ "algorithm_params", "level=2147483647", -EINVAL },
	{ "algorithm_params", "algo=zstd", -EINVAL },
	{ "algorithm_params", "dict=/etc/passwd", -EINVAL },
	{ "algorithm_params", "priority=1", -ERANGE },
	{ "mem_limit", "-1", -EINVAL },
	{ "mem_limit", "", -EINVAL },
	{ "mem_limit", "257T", -ERANGE },
	{ "format", "", -EINVAL },
	{ "format", "ext4", -EINVAL },
	{ "label", "0123456789abcdefg", -ERANGE },
	{ "uuid", "7d3f2a9e5b0c4c439f0e2f6c1f1d8a54", -EINVAL },
	{ "uuid", "7d3f2a9e-5b0c-4c43-9f0e-2f6c1f1d8a5g", -EINVAL },
	{ "uuid", "7d3f2a9e-5b0c-4c43-9f0e-2f6c1f1d8a544", -EINVAL },
	{ "uuid", "7d3f2a9e-5b0c-4c43-9f0e02f6c1f1d8a54", -EINVAL },
	{ "mode", "", -EINVAL },
	{ "mode", "8", -EINVAL },
	{ "mode", "-1", -EINVAL },
	{ "mode", "1777", -ERANGE },
};

static void test_bad_values_change_nothing(void)
{
	struct zr_disk_spec spec, before;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i) {
		zr_disk_spec_init(&spec, RAM);
		before = spec;
		CHECK(parse(&spec, bad[i].name, bad[i].value) == bad[i].error);
		CHECK(memcmp(&spec, &before, sizeof(spec)) == 0);
	}
	zr_disk_spec_init(&spec, 0); /* of what? */
	CHECK(parse(&spec, "disksize", "50%") == -EINVAL);
	CHECK(parse(&spec, "mem_limit", "50%") == -EINVAL);
}

static void test_levels_of_another_codec_are_refused(void)
{
	struct zr_disk_spec spec;

	zr_disk_spec_init(&spec, RAM);
	CHECK(parse(&spec, "comp_algorithm", "zstd") == 0);
	CHECK(parse(&spec, "algorithm_params", "level=-5") == 0);
	CHECK(spec.attrs.codecs[0].level == -5);
	check_round_trip(&spec);
	CHECK(parse(&spec, "comp_algorithm", "lzo") == 0); /* which forgets the level */
	CHECK(spec.attrs.codecs[0].level == ZR_CODEC_LEVEL_DEFAULT);
	CHECK(parse(&spec, "algorithm_params", "level=5") == -EINVAL);
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
	CHECK(strcmp(show("io_stat"), "       0        0        0        0\n") == 0);
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
	CHECK(apply("disksize", "1M") == -EBUSY);
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
	static const char *const refused[] = { "0", "", "x", "-1", "65536", "1 1" };
	unsigned int i;

	set_up();
	CHECK(apply("disksize", "1M") == 0);
	disk_put(&rig, disk, 0, "data", 5);
	for (i = 0; i < ZR_ARRAY_SIZE(refused); ++i)
		CHECK(apply("reset", refused[i]) == -EINVAL);
	CHECK(strcmp(show("initstate"), "1\n") == 0);
	CHECK(zr_attr_find("reset")->flags & ZR_ATTR_UNUSED);
	CHECK(apply("reset", "1") == 0);
	CHECK(strcmp(show("initstate"), "0\n") == 0);
	CHECK(apply("reset", "65535") == 0);
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
	/* A page and four nodes; what else is populated is the reserve. */
	CHECK(strcmp(show("mm_stat"),
		     "    8192     4096    20480  1048576    20496        1        0"
		     "        1        1\n") == 0);

	CHECK(zr_disk_write(disk, rig.ctx, ZR_DISK_SIZE_MAX, page, 1, &n) == -EFBIG);
	CHECK(zr_disk_set_mem_limit(disk, 1) == 0);
	bytes_random(&rng, page, sizeof(page));
	CHECK(zr_disk_write(disk, rig.ctx, 8192, page, sizeof(page), &n) == -ENOSPC);
	CHECK(strcmp(show("io_stat"), "       0        1        1        1\n") == 0);
	tear_down();
}

/* names */

static void test_names_of_disks(void)
{
	static const char *const refused[] = { "",     ".",    "..",   ".stats",  "a/b",
					       "a\tb", "\x1f", "\x7f", "hot_add", "hot_remove" };
	static const char *const allowed[] = { "a", "swap0", "a.b", "hot_ad", "a b", "\xc3\x9c" };
	char name[ZR_NAME_MAX + 2];
	const char *why;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(refused); ++i) {
		why = NULL;
		CHECK(zr_disk_name_check(refused[i], &why) == -EINVAL);
		CHECK(why && why[0]);
	}
	for (i = 0; i < ZR_ARRAY_SIZE(allowed); ++i)
		CHECK(zr_disk_name_check(allowed[i], &why) == 0);

	memset(name, 'n', sizeof(name));
	name[ZR_NAME_MAX + 1] = 0;
	CHECK(zr_disk_name_check(name, &why) == -EINVAL);
	name[ZR_NAME_MAX] = 0;
	CHECK(zr_disk_name_check(name, &why) == 0);
}

int main(void)
{
	RUN(test_rows_are_well_formed);
	RUN(test_modes_are_the_kernels);
	RUN(test_values_come_back);
	RUN(test_every_key_has_a_value);
	RUN(test_bad_values_change_nothing);
	RUN(test_levels_of_another_codec_are_refused);
	RUN(test_texts_of_an_empty_disk);
	RUN(test_disksize);
	RUN(test_comp_algorithm_and_params);
	RUN(test_mem_limit);
	RUN(test_reset);
	RUN(test_statistics_of_a_disk);
	RUN(test_names_of_disks);
	return 0;
}
