/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The table is walked, so that a new row is at least checked for its form, and what the keys of a
 * configuration take is compared with what they print.
 */

#include "test.h"

#include <ctype.h>
#include <errno.h>

#include "attr.h"

#define RAM (UINT64_C(1) << 30)

/* the table */

static bool is_daemon(const struct zr_attr *attr)
{
	return attr->flags & ZR_ATTR_DAEMON;
}

static const struct zr_attr *find_again(const struct zr_attr *attr)
{
	return is_daemon(attr) ? zr_attr_find_daemon(attr->name) : zr_attr_find(attr->name);
}

/* What is set is set everywhere: a key is a control file, too. */
static void check_row(const struct zr_attr *attr)
{
	const bool is_key = attr->flags & ZR_ATTR_CONFIG;
	const char *at;

	CHECK(attr->name[0] && attr->help && attr->help[0] && attr->type && attr->since);
	for (at = attr->name; *at; ++at)
		CHECK(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '_');
	CHECK(find_again(attr) == attr); /* no name twice */
	CHECK(attr->flags & ZR_ATTR_CONTROL);
	CHECK(strlen(zr_attr_when_text(attr->when)) > 0);

	CHECK(is_key == (attr->parse || attr->parse_daemon));
	CHECK(!attr->parse == !attr->print && !attr->parse_daemon == !attr->print_daemon);
	CHECK(is_daemon(attr) ? !attr->parse : !attr->parse_daemon);
	CHECK(!(attr->mode & 0200) == !attr->apply);
	CHECK(!(attr->mode & 0444) == !(attr->show || attr->stream));
	CHECK(!attr->show || !attr->stream);
	CHECK(attr->allowed || (!is_key && !attr->apply));
	CHECK((attr->when == ZR_WHEN_NEVER) == (!is_key && !attr->apply));
	CHECK(!(attr->flags & ZR_ATTR_LONG) || attr->apply || attr->show);
}

static void test_rows_are_well_formed(void)
{
	const struct zr_attr *attr;
	unsigned int i, n = 0, n_daemon = 0;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		check_row(attr);
		CHECK(zr_attr_at(i) == attr);
		n_daemon += is_daemon(attr);
		++n;
	}
	CHECK(n > 40 && n_daemon >= 2);
	CHECK(zr_attr_at(ZR_ATTR_INDEX_MAX) == NULL);
	CHECK(zr_attr_find("") == NULL && zr_attr_find("disksiz") == NULL);
	CHECK(zr_attr_find("DISKSIZE") == NULL && zr_attr_find("threads") == NULL);
	CHECK(zr_attr_find_daemon("disksize") == NULL);
	CHECK(zr_attr_find_daemon("mem_limit") != zr_attr_find("mem_limit"));
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
		{ "mem_used_max", 0200 },
		{ "idle", 0200 },
		{ "bd_stat", 0444 },
		{ "debug_stat", 0444 },
		{ "block_state", 0400 }, /* which pages others use is nobody's business */
		{ "max_comp_streams", 0644 },
		{ "recomp_algorithm", 0644 },
		{ "recompress", 0200 },
		{ "backing_dev", 0644 },
		{ "writeback", 0200 },
		{ "writeback_limit", 0644 },
		{ "writeback_limit_enable", 0644 },
		{ "num_reads", 0444 },
		{ "num_writes", 0444 },
		{ "invalid_io", 0444 },
		{ "notify_free", 0444 },
		{ "discard", 0444 },
		{ "zero_pages", 0444 },
		{ "orig_data_size", 0444 },
		{ "compr_data_size", 0444 },
		{ "mem_used_total", 0444 },
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
	const struct zr_attr *attr;
	char printed[ZR_ATTR_TEXT_MAX];
	unsigned int i;

	zr_disk_spec_init(&again, spec->ram_bytes);
	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (!attr->print)
			continue;
		memset(printed, 'x', sizeof(printed));
		attr->print(spec, printed, sizeof(printed));
		CHECK(memchr(printed, 0, sizeof(printed)));
		if (printed[0])
			CHECK(attr->parse(&again, printed) == 0);
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
	{ "algorithm_params", "algo=lz4 priority=0 level=5", "level=5" },
	{ "recomp_algorithm", "", "" },
	{ "recomp_algorithm", "algo=zstd", "algo=zstd priority=1" },
	{ "recomp_algorithm", " priority=3\talgo=lz4hc ", "algo=lz4hc priority=3" },
	{ "recomp_algorithm", "algo=zstd level=-5 priority=2", "algo=zstd priority=2 level=-5" },
	{ "recomp_algorithm", "algo=zstd priority=2,algo=lzo",
	  "algo=lzo priority=1, algo=zstd priority=2" },
	{ "recomp_algorithm", "algo=lzo, algo=zstd level=9", "algo=zstd priority=1 level=9" },
	{ "recomp_algorithm",
	  "algo=lz4 level=65537 priority=1, algo=zstd level=-131072 priority=2, "
	  "algo=zstd level=-131072 priority=3",
	  "algo=lz4 priority=1 level=65537, algo=zstd priority=2 level=-131072, "
	  "algo=zstd priority=3 level=-131072" },
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
	{ "swap_priority", "-1", "-1" },
	{ "swap_priority", "0", "0" },
	{ "swap_priority", "32767", "32767" },
	{ "backing_dev", "", "" },
	{ "backing_dev", "none", "" },
	{ "backing_dev", "/dev/disk/by-id/a b", "/dev/disk/by-id/a b" },
	{ "backing_size", "0", "0" },
	{ "backing_size", "1", "4096" },
	{ "backing_size", "64T", "70368744177664" },
	{ "backing_size", "50%", "536870912" },
	{ "backing_preallocate", "Yes", "1" },
	{ "backing_preallocate", "off", "0" },
	{ "backing_limit", "0", "0" },
	{ "backing_limit", "1G", "1073741824" },
	{ "backing_key", "", "" },
	{ "backing_key", "none", "none" },
	{ "backing_key", "random", "random" },
	{ "on_limit", "", "" },
	{ "on_limit", "spill", "spill" },
	{ "on_limit", "enospc", "enospc" },
	{ "spill_above", "0", "0" },
	{ "spill_above", "4096", "4096" },
	{ "writeback_at", "1", "1" },
	{ "writeback_at", "100", "100" },
	{ "writeback_batch_size", "1", "1" },
	{ "writeback_batch_size", "1024", "1024" },
	{ "compressed_writeback", "n", "0" },
	{ "compressed_writeback", "TRUE", "1" },
	{ "idle_age", "0", "0" },
	{ "idle_age", "131070", "131070" },
	{ "recompress_age", "3600", "3600" },
	{ "writeback_age", "1", "1" },
	{ "writeback_daily", "0", "0" },
	{ "writeback_daily", "4G", "4294967296" },
	{ "compact_at", "0", "0" },
	{ "compact_at", "100", "100" },
};

static void test_values_come_back(void)
{
	struct zr_disk_spec spec;
	char text[256];
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
	const struct zr_attr *attr;
	unsigned int i, j;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		for (j = 0; j < ZR_ARRAY_SIZE(good); ++j) {
			if (strcmp(good[j].name, attr->name) == 0)
				break;
		}
		CHECK(j < ZR_ARRAY_SIZE(good) || !attr->parse);
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
	{ "algorithm_params", "priority=1", -EINVAL }, /* it has none */
	{ "algorithm_params", "priority=4", -ERANGE },
	{ "algorithm_params", "algo=zstd priority=0", -EINVAL },
	{ "recomp_algorithm", "zstd", -EINVAL },
	{ "recomp_algorithm", "algo", -EINVAL },
	{ "recomp_algorithm", "algo=", -EINVAL },
	{ "recomp_algorithm", "algo=deflate", -EINVAL },
	{ "recomp_algorithm", "priority=1", -EINVAL },
	{ "recomp_algorithm", "algo=zstd priority=0", -EINVAL },
	{ "recomp_algorithm", "algo=zstd priority=4", -ERANGE },
	{ "recomp_algorithm", "algo=zstd priority=-1", -EINVAL },
	{ "recomp_algorithm", "algo=zstd level=99", -EINVAL },
	{ "recomp_algorithm", "algo=zstd type=idle", -EINVAL },
	{ "recomp_algorithm", "algo=zstd dict=/etc/passwd", -EINVAL },
	{ "recomp_algorithm", "algo=zstd,", -EINVAL },
	{ "recomp_algorithm", ",algo=zstd", -EINVAL },
	{ "recomp_algorithm", "algo=zstd, algo=zstd priority=9", -ERANGE },
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
	{ "swap_priority", "", -EINVAL },
	{ "swap_priority", "high", -EINVAL },
	{ "swap_priority", "-2", -ERANGE },
	{ "swap_priority", "32768", -ERANGE },
	{ "swap_priority", "99999999999", -ERANGE },
	{ "backing_dev", "file", -EINVAL },
	{ "backing_dev", "./file", -EINVAL },
	{ "backing_dev", " /file", -EINVAL },
	{ "backing_dev", "None", -EINVAL },
	{ "backing_dev", "/a\nb", -EINVAL },
	{ "backing_dev", "/\x7f", -EINVAL },
	{ "backing_size", "", -EINVAL },
	{ "backing_size", "-1", -EINVAL },
	{ "backing_size", "64T1", -EINVAL },
	{ "backing_size", "65T", -ERANGE },
	{ "backing_preallocate", "", -EINVAL },
	{ "backing_preallocate", "2", -EINVAL },
	{ "backing_preallocate", "yess", -EINVAL },
	{ "backing_limit", "x", -EINVAL },
	{ "backing_limit", "65T", -ERANGE },
	{ "backing_key", "default", -EINVAL },
	{ "backing_key", "Random", -EINVAL },
	{ "on_limit", "ENOSPC", -EINVAL },
	{ "on_limit", "wait", -EINVAL },
	{ "spill_above", "", -EINVAL },
	{ "spill_above", "-1", -EINVAL },
	{ "spill_above", "2K", -EINVAL },
	{ "spill_above", "4097", -ERANGE },
	{ "writeback_at", "0", -ERANGE },
	{ "writeback_at", "101", -ERANGE },
	{ "writeback_at", "90%", -EINVAL },
	{ "writeback_batch_size", "0", -ERANGE },
	{ "writeback_batch_size", "1025", -ERANGE },
	{ "compressed_writeback", "", -EINVAL },
	{ "compressed_writeback", "10", -EINVAL },
	{ "idle_age", "", -EINVAL },
	{ "idle_age", "-1", -EINVAL },
	{ "idle_age", "131071", -ERANGE },
	{ "recompress_age", "1h", -EINVAL },
	{ "recompress_age", "131071", -ERANGE },
	{ "writeback_age", "never", -EINVAL },
	{ "writeback_daily", "", -EINVAL },
	{ "writeback_daily", "-1", -EINVAL },
	{ "compact_at", "101", -ERANGE },
	{ "compact_at", "10%", -EINVAL },
};

static void test_bad_values_change_nothing(void)
{
	char long_path[ZR_BACKING_PATH_MAX + 2] = "";
	struct zr_disk_spec spec, before;
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i) {
		zr_disk_spec_init(&spec, RAM);
		before = spec;
		CHECK(parse(&spec, bad[i].name, bad[i].value) == bad[i].error);
		CHECK(memcmp(&spec, &before, sizeof(spec)) == 0);
	}
	memset(long_path, '/', sizeof(long_path) - 1);
	CHECK(parse(&spec, "backing_dev", long_path) == -ERANGE && spec.backing_dev[0] == 0);
	long_path[ZR_BACKING_PATH_MAX] = 0;
	CHECK(parse(&spec, "backing_dev", long_path) == 0);
	CHECK(strcmp(spec.backing_dev, long_path) == 0);
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

/* lines of hot_add */

static void test_lines(void)
{
	struct zr_disk_spec spec;
	char why[ZR_ATTR_WHY_MAX];

	zr_disk_spec_init(&spec, RAM);
	spec.disksize_bytes = 1 << 20; /* of the defaults: no size is taken over */
	CHECK(zr_attr_parse_line(&spec, "  a ", why) == 0);
	CHECK(strcmp(spec.attrs.name, "a") == 0 && spec.disksize_bytes == 0);
	CHECK(zr_attr_parse_line(
		      &spec,
		      "swap1\talgorithm_params=\"priority=0 level=3\" comp_algorithm=zstd "
		      "disksize=50% label=\"a b\" swap_priority=-1 uuid=",
		      why) == 0);
	CHECK(strcmp(spec.attrs.name, "swap1") == 0 && spec.disksize_bytes == RAM / 2);
	CHECK(spec.attrs.codecs[0].algorithm == ZR_ALGORITHM_ZSTD);
	CHECK(spec.attrs.codecs[0].level == 3 && strcmp(spec.attrs.label, "a b") == 0);
	CHECK(spec.attrs.swap_priority == -1);
	CHECK(zr_attr_parse_line(&spec, "\"a b\" disksize=1M", why) == 0);
	CHECK(strcmp(spec.attrs.name, "a b") == 0);
	CHECK(zr_attr_parse_line(&spec, "c on_limit=spill \"backing_dev=/a b\"", why) == 0);
	CHECK(strcmp(spec.backing_dev, "/a b") == 0);
}

static void test_bad_lines_say_why(void)
{
	static const char *const lines[][2] = {
		{ "", "empty" },
		{ "   ", "empty" },
		{ "a/b", "slash" },
		{ "zramfs", "meaning" },
		{ "a disksize", "no value" },
		{ "a disksize=0", "disksize=0: not a value" },
		{ "a disksize=512T", "out of range" },
		{ "a disksize=1M disksize=2M", "twice" },
		{ "a colour=red", "colour=red" },
		{ "a =1", "=1" },
		{ "a mm_stat=1", "mm_stat=1" },
		{ "a threads=1", "threads=1" },
		{ "a label=\"b", "quote" },
		{ "a backing_dev=b", "backing_dev=b: not a value" },
		{ "a on_limit=spill", "on_limit=spill: the disk has no backing_dev" },
		{ "a comp_algorithm=lzo algorithm_params=level=1", "algorithm_params=level=1" },
	};
	struct zr_disk_spec spec, before;
	char why[ZR_ATTR_WHY_MAX], many[2048] = "a";
	unsigned int i;

	zr_disk_spec_init(&spec, RAM);
	before = spec;
	for (i = 0; i < ZR_ARRAY_SIZE(lines); ++i) {
		memset(why, 'x', sizeof(why));
		CHECK(zr_attr_parse_line(&spec, lines[i][0], why) < 0);
		CHECK(memchr(why, 0, sizeof(why)) && !strchr(why, '\n'));
		if (!strstr(why, lines[i][1])) {
			fprintf(stderr, "%s: %s\n", lines[i][0], why);
			abort();
		}
		CHECK(memcmp(&spec, &before, sizeof(spec)) == 0);
	}
	for (i = 0; i < 500; ++i)
		strcat(many, " b=");
	CHECK(zr_attr_parse_line(&spec, many, why) == -EINVAL && strstr(why, "too many"));
}

/* names */

static void test_names_of_disks(void)
{
	static const char *const refused[] = { "",          ".",          "..",     ".stats",
					       "a/b",       "a\tb",       "\x1f",   "\x7f",
					       "hot_add",   "hot_remove", "zramfs", "defaults",
					       "a\xc2\x9b", "\xc2\x80" };
	static const char *const allowed[] = { "a",   "swap0",    "a.b",      "hot_ad",
					       "a b", "\xc3\x9c", "\xc2\xa0", "\xc2" };
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
	RUN(test_lines);
	RUN(test_bad_lines_say_why);
	RUN(test_names_of_disks);
	return 0;
}
