/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Files of zram-generator and of compcache, and expressions in our own keys. The directory of cases
 * is the first argument, or found from this file.
 */

#include "config-rig.h"

#include <dirent.h>

#include "swap-header.h"

#define MIB UINT64_C(1048576)

/* A machine of zram-generator's own tests: MemTotal 8013220 kB, 7825 MB. */
#define CASE_RAM (UINT64_C(8013220) * 1024)

static const char *cases;

static uint64_t size_of(const struct config *config, const char *name)
{
	const struct config_disk *disk = config_find(config, name);

	return disk ? disk->spec.disksize_bytes : 0;
}

static bool warned(const struct config *config, const char *text)
{
	size_t i;

	for (i = 0; i < config->warnings.n_lines; ++i)
		if (strstr(config->warnings.lines[i], text))
			return true;

	return false;
}

/* cases */

/* What a case comes to, in the words of its expected file. */
static void case_result(const char *name, char **textp)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	char file[512];
	size_t n_text, i;
	FILE *out = open_memstream(textp, &n_text);
	int r;

	CHECK(out);
	snprintf(file, sizeof(file), "%s/%s", cases, name);
	r = config_load(&config, file, CASE_RAM, UID, GID, message, sizeof(message));
	if (r < 0)
		fprintf(out, "refused: %s\n", message + strlen(file) + 1);
	for (i = 0; r == 0 && i < config->warnings.n_lines; ++i)
		fprintf(out, "warning: %s\n", config->warnings.lines[i]);
	if (r == 0) {
		config_print(config, out);
		file_name("zram.ini");
		check_round_trip(config);
	}
	CHECK(fclose(out) == 0);
}

/* The disks alone: what is above them is no different from what nobody said. */
static void disks_keep(char *text)
{
	char *from = strstr(text, "[zramfs]"), *to = from ? strstr(from, "\n[defaults]") : NULL;

	if (!to)
		return;
	to = strstr(to + 1, "\n[");
	memmove(from, to ? to : "", to ? strlen(to) + 1 : 1);
}

static void case_check(const char *name)
{
	ZR_CLEANUP(zr_freep) char *text = NULL;
	char expected_name[512], expected[4096];
	FILE *file;
	size_t n;

	case_result(name, &text);
	disks_keep(text);
	snprintf(expected_name, sizeof(expected_name), "%s/%.*s.expected", cases,
		 (int)(strlen(name) - strlen(".conf")), name);
	file = fopen(expected_name, "r");
	CHECK(file);
	n = fread(expected, 1, sizeof(expected) - 1, file);
	CHECK(fclose(file) == 0);
	expected[n] = '\0';

	if (strcmp(text, expected) != 0) {
		fprintf(stderr, "%s:\n%s\nwant:\n%s", name, text, expected);
		abort();
	}
}

static bool is_case(const char *name)
{
	const size_t n = strlen(name), n_end = strlen(".conf");

	return n > n_end && strcmp(name + n - n_end, ".conf") == 0;
}

static void test_every_case_comes_to_what_is_expected(void)
{
	DIR *directory_of_cases = opendir(cases);
	unsigned int n_cases = 0;
	struct dirent *entry;

	CHECK(directory_of_cases);
	while ((entry = readdir(directory_of_cases))) {
		if (!is_case(entry->d_name))
			continue;
		case_check(entry->d_name);
		++n_cases;
	}
	closedir(directory_of_cases);
	CHECK(n_cases >= 8);
	case_check("zram-generator.conf.d/10-empty.conf");
}

/* zram-generator */

static void test_an_empty_section_is_what_the_name_of_the_file_says(void)
{
	static const char *const names[] = { "zram-generator.conf", "zram.ini", "generator.conf",
					     "zram-generator.conf.bak" };
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(names); ++i) {
		ZR_CLEANUP(config_freep) struct config *config = NULL;

		file_name(names[i]);
		config = load("[zram0]\n");
		CHECK(config->n_disks == 1 && config->warnings.n_lines == 0);
		CHECK(!is_said(&config->disks[0], "disksize"));
		CHECK(config->disks[0].spec.disksize_bytes == (i == 0 ? RAM / 2 : RAM / 4));
		CHECK(config->disks[0].spec.attrs.format ==
		      (i == 0 ? ZR_FORMAT_SWAP : ZR_FORMAT_NONE));
	}
	file_name("zram.ini");
}

static void test_a_key_says_whose_file_it_is(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("[zram0]\n[zram1]\nswap-priority = 5\n[zram2x]\n[other]\n");
	ZR_CLEANUP(config_freep) struct config *ours = load("[zram0]\n[a]\nswap-priority = 5\n");

	CHECK(config->n_disks == 4);
	CHECK(size_of(config, "zram0") == RAM / 2);
	CHECK(config->disks[1].spec.attrs.swap_priority == 5);
	CHECK(config->disks[1].spec.attrs.format == ZR_FORMAT_SWAP);
	CHECK(size_of(config, "zram2x") == RAM / 4 && size_of(config, "other") == RAM / 4);
	CHECK(config->warnings.n_lines == 0);

	/* As an alias in a disk of ours it changes nothing else. */
	CHECK(size_of(ours, "zram0") == RAM / 4);
	CHECK(ours->disks[1].spec.attrs.swap_priority == 5);
	CHECK(ours->disks[1].spec.attrs.format == ZR_FORMAT_NONE);
	check_round_trip(config);
}

static void test_the_program_passes_over_what_it_does_not_know(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;

	file_name("zram-generator.conf");
	config = load("outside = 1\n  # indented\n[Other]\nx = 1\n[zram0]\n   zram-size = 100\n"
		      "\tfuture-key = 1\n[zram0]\nzram-size = 200\n[Other]\n[.x]\n[zram]\n");
	CHECK(config->n_disks == 1 && size_of(config, "zram0") == 200 * MIB);
	CHECK(config->warnings.n_lines == 1);
	CHECK(warned(config, "ignored, as they mean nothing here: line 1 outside, line 3 [Other], "
			     "line 7 future-key, line 11 [.x], line 12 [zram]"));

	/* A file of another name is ours: a slip of the pen is none of that program's keys. */
	file_name("zram.ini");
	refused("[zram0]\nzram-size = 100\nfuture-key = 1\n", 3, "unknown key in [zram0]");
	refused("[zram0]\nzram-sise = 100\n", 2, "(did you mean zram-size?)");
	refused("[zram0]\nzram-size = 1\n[zram0]\nzram-size = 2\nx = y\n", 5, "unknown key");
}

static void test_ours_are_known_in_a_file_of_that_name(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;

	file_name("zram-generator.conf");
	config = load("[zramfs]\nthreads = 2\n[defaults]\nformat = none\nswap_priority = 7\n"
		      "disksize = 1M\n[zram0]\nmode = 0644\n[zram1]\nzram-size = 5\n");
	CHECK(config->daemon.n_threads == 2 && config->n_disks == 2);
	CHECK(size_of(config, "zram0") == MIB && size_of(config, "zram1") == 5 * MIB);
	CHECK(is_said(&config->disks[0], "disksize") && config->disks[0].spec.attrs.mode == 0644);
	CHECK(config->disks[1].spec.attrs.format == ZR_FORMAT_NONE);
	CHECK(config->disks[1].spec.attrs.swap_priority == 7);
	file_name("zram.ini");
}

static void test_limits_of_the_host(void)
{
	ram = CASE_RAM;
	{
		ZR_CLEANUP(config_freep)
		struct config *config = load("[zram0]\nhost-memory-limit = 7824\n"
					     "[zram1]\nhost-memory-limit = 7825\n"
					     "[zram2]\nhost-memory-limit = 7824\n"
					     "memory-limit = none\n"
					     "[zram3]\nhost-memory-limit = ram - 1\n"
					     "zram-size = not_worked_out\n");

		CHECK(config->n_disks == 2);
		CHECK(size_of(config, "zram1") > 0 && size_of(config, "zram2") > 0);
		CHECK(warned(config, "disks that are not made: line 2 zram0 "));
		CHECK(warned(config, "line 9 zram3 "));
		check_round_trip(config);
	}
	ram = RAM;
	refused("[zram0]\nhost-memory-limit = lots\n", 2, ": host-memory-limit = lots: ");
	refused("[zram0]\nhost-memory-limit =\n", 2, ": host-memory-limit = : ");
}

static void test_algorithms(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("[zram0]\ncompression-algorithm = zstd(level=7)\n"
				     "[zram1]\ncompression-algorithm = zstd (level=7)\n"
				     "[zram2]\ncompression-algorithm = deflate(level=1) zstd\n"
				     "[zram3]\ncompression-algorithm =\n"
				     "[zram4]\ncompression-algorithm = zstd(level=99,x=1)\n"
				     "[zram5]\ncompression-algorithm = (type=idle) lz4hc\n");
	const struct config_disk *disks = config->disks;

	CHECK(config->n_disks == 6);
	CHECK(disks[0].spec.attrs.codecs[0].algorithm == ZR_ALGORITHM_ZSTD);
	CHECK(disks[0].spec.attrs.codecs[0].level == 7);
	CHECK(disks[1].spec.attrs.codecs[0].algorithm == ZR_ALGORITHM_ZSTD);
	CHECK(disks[1].spec.attrs.codecs[0].level == ZR_CODEC_LEVEL_DEFAULT);
	CHECK(disks[2].spec.attrs.codecs[0].algorithm == ZR_ALGORITHM_LZ4);
	CHECK(disks[2].spec.attrs.codecs[1].algorithm == ZR_ALGORITHM_ZSTD);
	CHECK(disks[2].spec.attrs.recomp_priorities == 1u << 1);
	CHECK(disks[3].spec.attrs.codecs[0].algorithm == ZR_ALGORITHM_LZ4);
	CHECK(disks[4].spec.attrs.codecs[0].level == ZR_CODEC_LEVEL_DEFAULT);
	CHECK(disks[5].spec.attrs.codecs[0].algorithm == ZR_ALGORITHM_LZ4HC);
	CHECK(disks[5].spec.attrs.recomp_priorities == 0);
	CHECK(config->warnings.n_lines == 1);
	CHECK(warned(config, "line 4 compression-algorithm (level=7), "
			     "line 6 compression-algorithm deflate(level=1), "
			     "line 10 compression-algorithm level=99, "
			     "line 10 compression-algorithm x=1, "
			     "line 12 compression-algorithm (type=idle)"));
	check_round_trip(config);
}

static void test_algorithms_that_compress_again(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("[zram0]\ncompression-algorithm = lz4 lz4hc(level=3) 842 "
				     "zstd(level=9,x=1) lzo (type=huge)\n"
				     "[zram1]\ncompression-algorithm = lz4\n"
				     "recomp_algorithm = algo=zstd\n");
	const struct config_disk *disks = config->disks;

	/* Each has the number that it has there, known or not. */
	CHECK(disks[0].spec.attrs.recomp_priorities == (1u << 1 | 1u << 3));
	CHECK(disks[0].spec.attrs.codecs[1].algorithm == ZR_ALGORITHM_LZ4HC);
	CHECK(disks[0].spec.attrs.codecs[1].level == 3);
	CHECK(disks[0].spec.attrs.codecs[3].algorithm == ZR_ALGORITHM_ZSTD);
	CHECK(disks[0].spec.attrs.codecs[3].level == 9);
	CHECK(disks[1].spec.attrs.codecs[1].algorithm == ZR_ALGORITHM_ZSTD);

	CHECK(warned(config, "line 2 compression-algorithm 842, "
			     "line 2 compression-algorithm x=1, "
			     "line 2 compression-algorithm lzo, "
			     "line 2 compression-algorithm (type=huge)"));
	check_round_trip(config);
}

static void test_what_a_command_would_set(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("set!a = touch /tmp/never\nset!a = echo 2\n[zram0]\n");

	CHECK(config->n_disks == 1 && size_of(config, "zram0") == RAM / 2);
	CHECK(warned(config, "line 1 set!a, line 2 set!a"));

	refused("set!two = echo 2\n[zram0]\nzram-size = ram / two\n", 3,
		"two, which a command on line 1 sets; it is not run; allowed: ");
	refused("set!two = echo 2\n[zram0]\nzram-size = ram / three\n", 3, "unknown name three");
}

static void test_bad_values_of_zram_generator(void)
{
	refused("[zram0]\nzram-size = half\n", 2, ": zram-size = half: unknown name half at ");
	refused("[zram0]\nzram-size = (ram\n", 2, ": zram-size = (ram: no ')' at column 5; ");
	refused("[zram0]\nzram-size =\n", 2, ": zram-size = : ");
	refused("[zram0]\nzram-size = -1\n", 2, "it comes to less than 0");
	refused("[zram0]\nzram-size = 1G\n", 2, ": zram-size = 1G: out of range; ");
	refused("[zram0]\nzram-resident-limit = ram ram\n", 2, "unexpected r at column 5");
	refused("[zram0]\nswap-priority = 32768\n", 2, ": swap-priority = 32768: ");
	refused("[zram0]\nswap-priority = -2\n", 2, ": swap-priority = -2: ");
	refused("[zram0]\nzram-fraction = much\n", 2, ": zram-fraction = much: ");
	refused("[zram0]\nzram-fraction = -1\n", 2, ": zram-fraction = -1: ");
	refused("[zram0]\nmax-zram-size = much\n", 2, ": max-zram-size = much: ");
	refused("[zram0]\nzram-size = 0.001\n", 2, "too small for format = swap");
	refused("[defaults]\nzram-size = 1\n", 2, "unknown key in [defaults]");
	refused("zram-size = 1\n[zram0]\n", 1, "key before any section");
}

/* both */

static void test_one_thing_is_said_once(void)
{
	refused("[zram0]\ndisksize = 1M\nmode = 0600\nzram-size = 1\n", 4,
		": zram-size = 1: disksize on line 2 says the same; allowed: one of them");
	refused("[zram0]\nzram-size = 1\ndisksize = 1M\n", 3, "zram-size on line 2 says the same");
	refused("[a]\ndisksize_kb = 1000\ndisksize = 1M\n", 3, "disksize_kb on line 2 says");
	refused("[a]\nmem_limit = 1M\nzram-resident-limit = 1\n", 3, "mem_limit on line 2 says");
	refused("[a]\nmemlimit_kb = 1\nzram-resident-limit = 1\n", 3, "memlimit_kb on line 2");
	refused("[a]\nfs-type = swap\nformat = swap\n", 3, "fs-type on line 2 says");
	refused("[a]\ncompression-algorithm = lz4\ncomp_algorithm = zstd\n", 3, "says the same");
	refused("[a]\nrecomp_algorithm = algo=zstd\ncompression-algorithm = lz4 lzo\n", 3,
		"recomp_algorithm says the same");
	refused("[a]\nswap-priority = 1\nswap_priority = 1\n", 3, "says the same");
	refused("memlimit_kb = 1\n[defaults]\nmem_limit = 1M\n", 3, "memlimit_kb on line 1 says");
	refused("num_devices = 1\n[zramfs]\nnum_devices = 1\n", 3, "already given on line 1");
	refused("[a]\ndisksize_kb = 1000\ndisksize_kb = 1000\n", 3, "already given on line 2");
	refused("[a]\noptions = x\noptions = y\n", 3, "already given on line 2");
}

/* What is meant for swap is not when something else is said. */
static void test_formats(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("[zram0]\nzram-size = 1\nfs-type = swap\n"
				     "[zram1]\nmount-point = /x\n"
				     "[zram2]\nfs-type = ext4\n"
				     "[zram3]\nmount-point = /x\nfs-type = swap\n"
				     "[zram4]\nformat = none\n[zram5]\nzram-size = 0\n");
	size_t i;

	CHECK(config->n_disks == 5);
	CHECK(config->disks[0].spec.attrs.format == ZR_FORMAT_SWAP);
	for (i = 1; i < 5; ++i)
		CHECK(config->disks[i].spec.attrs.format == ZR_FORMAT_NONE);
	CHECK(warned(config, "line 5 mount-point, line 7 fs-type ext4, line 9 mount-point, "
			     "line 10 fs-type swap"));
	CHECK(warned(config, "disks that are not made: line 14 zram5 (its size is 0)"));
}

/* compcache */

static void test_parameters_of_compcache(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("num_devices = 3\ndisksize_kb = 10240\n"
				     "[zram1]\nmemlimit_kb = 5000\n[other]\ndisksize_kb = 1\n");

	CHECK(config->n_disks == 4);
	CHECK(strcmp(config->disks[0].spec.attrs.name, "zram1") == 0);
	CHECK(size_of(config, "zram0") == 10 * MIB && size_of(config, "zram1") == 10 * MIB);
	CHECK(size_of(config, "zram2") == 10 * MIB && size_of(config, "other") == 4096);
	CHECK(config->disks[0].spec.attrs.mem_limit_bytes == 5000 * 1024);
	CHECK(is_said(&config->disks[0], "disksize") &&
	      is_said(config_find(config, "zram2"), "disksize"));
	CHECK(config->warnings.n_lines == 0);
	check_round_trip(config);
}

/* A file to swap to of @n_pages, with the header that mkswap makes of so many. */
static void swap_file_make(const char *name, uint64_t n_pages, uint64_t n_in_header)
{
	static const uint8_t uuid[16] = { 0x12, 0x34, 0x56 };
	static const char label[ZR_LABEL_MAX + 1] = "old swap";
	static struct zr_swap_header header;
	FILE *file = fopen(name, "w");

	CHECK(file && ftruncate(fileno(file), (off_t)(n_pages * 4096)) == 0);
	if (n_in_header > 0) {
		CHECK(zr_swap_header_make(&header, n_in_header * 4096, label, uuid) == 0);
		CHECK(fwrite(header.bytes, 1, header.n_bytes, file) == header.n_bytes);
	}
	CHECK(fclose(file) == 0);
}

static void test_backing_swap(void)
{
	char text[1024], name[512];
	const struct zr_disk_spec *spec;
	struct config *config;

	snprintf(name, sizeof(name), "%s/swap", directory);
	swap_file_make(name, 40000, 40000);
	snprintf(text, sizeof(text), "[zram0]\nbacking_swap = %s\n", name);
	config = load(text);
	spec = &config->disks[0].spec;
	CHECK(strcmp(spec->backing_dev, name) == 0 && spec->disksize_bytes == 40000 * 4096);
	CHECK(spec->attrs.format == ZR_FORMAT_SWAP && strcmp(spec->attrs.label, "old swap") == 0);
	CHECK(spec->attrs.uuid[0] == 0x12 && spec->attrs.spill_above_bytes == 2048);
	CHECK(spec->attrs.on_limit == ZR_ON_LIMIT_DEFAULT);
	/* 15 % of a GiB are less than that. */
	CHECK(spec->attrs.mem_limit_bytes == zr_align_up(RAM / 100 * 15, 4096));
	CHECK(config->warnings.n_lines == 0);
	check_round_trip(config);
	config_free(config);

	swap_file_make(name, 1000, 900);
	snprintf(text, sizeof(text),
		 "backing_swap = %s\n[a]\n[b]\nmemlimit_kb = 2000\nspill_above = 0\nlabel = new\n"
		 "[c]\nbacking_dev = none\n",
		 name);
	config = load(text);
	CHECK(size_of(config, "a") == 900 * 4096 && size_of(config, "b") == 900 * 4096);
	spec = &config_find(config, "a")->spec;
	CHECK(spec->attrs.mem_limit_bytes == 900 * 4096);
	spec = &config_find(config, "b")->spec;
	CHECK(spec->attrs.mem_limit_bytes == 2000 * 1024 && spec->attrs.spill_above_bytes == 0);
	CHECK(strcmp(spec->attrs.label, "new") == 0 && strcmp(spec->backing_dev, name) == 0);
	CHECK(config_find(config, "c")->spec.backing_dev[0] == '\0');
	config_free(config);
	CHECK(unlink(name) == 0);
}

/* The header is gone, since the mark is in its place. */
static void test_a_backing_swap_that_was_used_before(void)
{
	char text[1024], name[512];
	struct config *config;
	FILE *file;

	snprintf(name, sizeof(name), "%s/swap", directory);
	swap_file_make(name, 1000, 0);
	file = fopen(name, "r+");
	CHECK(file && fputs(ZR_BACKING_TITLE "1\n", file) >= 0 && fclose(file) == 0);
	snprintf(text, sizeof(text), "[zram0]\nbacking_swap = %s\n", name);
	config = load(text);
	CHECK(size_of(config, "zram0") == 1000 * 4096);
	CHECK(config->disks[0].spec.attrs.format == ZR_FORMAT_SWAP);
	config_free(config);
	CHECK(unlink(name) == 0);
}

static void test_bad_backing_swaps(void)
{
	static const struct {
		uint64_t n_pages, n_in_header;
		const char *more, *what;
	} bad[] = {
		{ 100, 0, "", ": no swap header; " },
		{ 0, 0, "", ": no swap header; " },
		{ 100, 101, "", ": its swap header says that it is larger; " },
		{ 100, 100, "disksize_kb = 400\n", "the disk is as large as its backing_swap" },
		{ 100, 100, "memlimit_kb = 401\n", "memlimit_kb = 401: out of range" },
		{ 100, 100, "backing_dev = /x\n", "says the same" },
	};
	char text[1024], name[512];
	unsigned int i, line;

	snprintf(name, sizeof(name), "%s/swap", directory);
	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i) {
		swap_file_make(name, bad[i].n_pages, bad[i].n_in_header);
		snprintf(text, sizeof(text), "[a]\nbacking_swap = %s\n%s", name, bad[i].more);
		line = bad[i].more[0] ? 3 : 2;
		refused(text, line, bad[i].what);
	}
	CHECK(unlink(name) == 0);
	refused("[a]\nbacking_swap = /no/such/file\n", 2, ": No such file or directory; ");
	refused("[a]\nbacking_swap = /dev/null\n", 2, ": Block device required; ");
	refused("[a]\nbacking_swap = /\n", 2, ": Block device required; ");
	refused("[a]\nbacking_swap = sdb\n", 2, ": backing_swap = sdb: not a value for it; ");
}

static void test_writeback_device(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("[zram0]\nzram-size = 64\nwriteback-device = /dev/sdb2\n"
				     "zram-resident-limit = 8\n");

	CHECK(strcmp(config->disks[0].spec.backing_dev, "/dev/sdb2") == 0);
	CHECK(is_said(&config->disks[0], "backing_dev") && config->warnings.n_lines == 0);
	check_round_trip(config);
	refused("[zram0]\nwriteback-device = sdb2\n", 2, "writeback-device = sdb2: not a value");
	refused("[zram0]\nwriteback-device = /a\nbacking_dev = /b\n", 3, "says the same");
}

static void test_bad_parameters_of_compcache(void)
{
	ZR_CLEANUP(config_freep)
	struct config *most = load("[zramfs]\nnum_devices = 1023\n[defaults]\ndisksize_kb=4\n"
				   "[zram9]\n[zram1022]\n");

	CHECK(most->n_disks == 1023);
	check_round_trip(most);

	refused("[a]\ndisksize_kb = 12345678901\n", 2,
		": disksize_kb = 12345678901: out of range; ");
	refused("[a]\ndisksize_kb = 0\n", 2, ": disksize_kb = 0: too small; ");
	refused("[a]\ndisksize_kb = 1M\n", 2, ": disksize_kb = 1M: ");
	refused("[a]\ndisksize_kb = -1\n", 2, ": disksize_kb = -1: ");
	refused("[a]\nmemlimit_kb =\n", 2, ": memlimit_kb = : ");
	refused("[zramfs]\nnum_devices = 1024\n", 2, ": num_devices = 1024: out of range; ");
	refused("[zramfs]\nnum_devices = many\n", 2, ": num_devices = many: ");
	refused("[zramfs]\nnum_devices = 1023\n[a]\n", 2, "too many disks");
	refused("[zramfs]\ndisksize_kb = 1\n", 2, "unknown key in [zramfs]");
	refused("[a]\nnum_devices = 1\n", 2, "unknown key in [a]");
}

/* expressions of ours */

static void test_expressions_in_sizes(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("[zramfs]\nmem_limit = ram * 3 / 4\n"
				     "[a]\ndisksize = min(ram / 2, 4G)\nmem_limit = (64M)\n"
				     "[b]\ndisksize = max(1.5G, ram)\n"
				     "[c]\ndisksize = 1 + (4096)\n");

	CHECK(config->daemon.mem_limit_bytes == RAM / 4 * 3);
	CHECK(size_of(config, "a") == RAM / 2 && size_of(config, "b") == 1536 * MIB);
	CHECK(size_of(config, "c") == 8192);
	CHECK(config->disks[0].spec.attrs.mem_limit_bytes == 64 * MIB);
	check_round_trip(config);

	refused("[a]\ndisksize = ram - ram\n", 2, ": disksize = ram - ram: ");
	refused("[a]\ndisksize = min(ram, 2\n", 2, "no ',' or ')' at column 11; allowed: ");
	refused("[a]\ndisksize = ram ^ 9\n", 2, ": disksize = ram ^ 9: out of range; ");
	refused("[a]\ndisksize = 257T + ram\n", 2, ": disksize = 257T + ram: out of range; ");
	refused("[zramfs]\nmem_limit = ram / 0 - ram\n", 2, "out of range; ");
	refused("[a]\nmode = (0600)\n", 2, ": mode = (0600): ");
	refused("[zramfs]\nthreads = (2)\n", 2, ": threads = (2): ");
	refused("[a]\nswap_priority = (2)\n", 2, ": swap_priority = (2): ");

	/* No less than a number without them. */
	refused("[a]\ndisksize = 64MB\n", 2, ": disksize = 64MB: not a value for it; ");
}

/* What is given again overrides; nothing overrides nothing. */
static void test_sections_again_with_and_without_keys(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load(
		"[zram0]\nzram-size = 64\n[zram0]\n[zram1]\n[zram1]\n"
		"[zram0]\nswap-priority = 5\n[zram2]\n[zram2]\nzram-size = 8\n");

	CHECK(config->n_disks == 3);
	CHECK(config_find(config, "zram0")->spec.disksize_bytes == 64 << 20);
	CHECK(config_find(config, "zram0")->spec.attrs.swap_priority == 5);
	CHECK(config_find(config, "zram1")->spec.attrs.format == ZR_FORMAT_SWAP);
	CHECK(config_find(config, "zram2")->spec.disksize_bytes == 8 << 20);
}

static void check_said(const struct config_disk *disk, const char *const names[])
{
	const struct zr_attr *attr;
	unsigned int i, j;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (!attr->parse)
			continue;
		for (j = 0; names[j] && strcmp(names[j], attr->name) != 0; ++j)
			;
		if (is_said(disk, attr->name) != (names[j] != NULL)) {
			fprintf(stderr, "%s: %s\n", disk->spec.attrs.name, attr->name);
			abort();
		}
	}
}

/* In its section, in [defaults], at the top, by a key of another program; a default as well. */
static void test_what_is_said(void)
{
	static const char *const a[] = { "mode", "mem_limit", "disksize", NULL };
	static const char *const b[] = { "mode", "mem_limit", NULL };
	static const char *const zram0[] = { "mode",
					     "mem_limit",
					     "disksize",
					     "comp_algorithm",
					     "swap_priority",
					     "algorithm_params",
					     "recomp_algorithm",
					     "format",
					     NULL };
	ZR_CLEANUP(config_freep)
	struct config *config = load("memlimit_kb = 0\n[defaults]\nmode = 0600\n"
				     "[a]\ndisksize_kb = 4096\n[b]\n"
				     "[zram0]\nzram-size = 64\ncompression-algorithm = zstd\n"
				     "swap-priority = 100\nfs-type = swap\n");

	check_said(&config->disks[0], a);
	check_said(&config->disks[1], b);
	check_said(&config->disks[2], zram0);
}

int main(int argc, char **argv)
{
	char beside[512];

	snprintf(beside, sizeof(beside), "%.*s../cases/zram-generator",
		 (int)(strrchr(__FILE__, '/') + 1 - __FILE__), __FILE__);
	cases = argc > 1 ? argv[1] : beside;

	rig_begin("zram.ini");
	RUN(test_every_case_comes_to_what_is_expected);
	RUN(test_an_empty_section_is_what_the_name_of_the_file_says);
	RUN(test_a_key_says_whose_file_it_is);
	RUN(test_the_program_passes_over_what_it_does_not_know);
	RUN(test_ours_are_known_in_a_file_of_that_name);
	RUN(test_limits_of_the_host);
	RUN(test_algorithms);
	RUN(test_algorithms_that_compress_again);
	RUN(test_what_a_command_would_set);
	RUN(test_bad_values_of_zram_generator);
	RUN(test_one_thing_is_said_once);
	RUN(test_formats);
	RUN(test_parameters_of_compcache);
	RUN(test_backing_swap);
	RUN(test_a_backing_swap_that_was_used_before);
	RUN(test_bad_backing_swaps);
	RUN(test_writeback_device);
	RUN(test_bad_parameters_of_compcache);
	RUN(test_expressions_in_sizes);
	rig_end();
	RUN(test_what_is_said);
	RUN(test_sections_again_with_and_without_keys);
	return 0;
}
