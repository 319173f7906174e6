/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Our own keys, lines and files. The sample is the first argument, or found from this file.
 */

#include "config-rig.h"

#include "system.h"

#define S16  "0123456789abcdef"
#define S64  S16 S16 S16 S16
#define UUID "7d3f2a9e-5b0c-4c43-9f0e-2f6c1f1d8a54"

static const char *sample;

/* Loading says nothing of attributes that the table lacks a column for. */
static void test_every_key_has_its_columns(void)
{
	static const char *const keys[] = { "disksize",
					    "comp_algorithm",
					    "algorithm_params",
					    "mem_limit",
					    "format",
					    "label",
					    "uuid",
					    "mode",
					    "swap_priority",
					    "recomp_algorithm" };
	const struct zr_attr *attr;
	unsigned int i;

	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		if (!(attr->flags & ZR_ATTR_CONFIG))
			continue;
		CHECK(attr->allowed && attr->help && attr->type);
		if (attr->flags & ZR_ATTR_DAEMON)
			CHECK(attr->parse_daemon && attr->print_daemon && !attr->parse);
		else
			CHECK(attr->parse && attr->print && !attr->parse_daemon);
	}

	for (i = 0; i < ZR_ARRAY_SIZE(keys); ++i) {
		attr = zr_attr_find(keys[i]);
		CHECK(attr && (attr->flags & ZR_ATTR_CONFIG));
	}
}

static void test_empty_file_has_no_disks(void)
{
	static const char *const texts[] = { "",          "\n",         "\xef\xbb\xbf",
					     "# nothing", "[defaults]", "[zramfs]\n" };
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(texts); ++i) {
		ZR_CLEANUP(config_freep) struct config *config = load(texts[i]);

		CHECK(config->n_disks == 0 && config->daemon.n_threads == 0);
		CHECK(config->defaults.disksize_bytes == 0);
		CHECK(config->defaults.attrs.uid == UID && config->defaults.attrs.gid == GID);
		check_round_trip(config);
	}
}

static void test_empty_section_is_a_disk(void)
{
	ZR_CLEANUP(config_freep) struct config *config = load("[a]\n[b]\n\n[c]");
	size_t i;

	CHECK(config->n_disks == 3);
	for (i = 0; i < 3; ++i) {
		const struct zr_disk_spec *disk = &config->disks[i].spec;

		CHECK(disk->attrs.name[0] == (char)('a' + i) && disk->attrs.name[1] == '\0');
		CHECK(disk->disksize_bytes == RAM / 4);
		CHECK(disk->attrs.mode == 0600 && disk->attrs.format == ZR_FORMAT_NONE);
		CHECK(disk->attrs.uid == UID && disk->attrs.gid == GID);
	}
	check_round_trip(config);
}

static void test_every_key_arrives(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load(
		"[zramfs]\nthreads = 3\nmem_limit = 25%\n"
		"[d]\ndisksize = 64M\ncomp_algorithm = zstd\nalgorithm_params = level=3\n"
		"mem_limit = 50%\nformat = swap\nlabel = a label\nuuid = " UUID "\nmode = 0640\n"
		"swap_priority = -1\n");
	const struct zr_disk_spec *disk = &config->disks[0].spec;

	CHECK(config->daemon.n_threads == 3 && config->n_disks == 1);
	CHECK(disk->disksize_bytes == UINT64_C(64) << 20);
	CHECK(disk->attrs.codecs[0].algorithm == ZR_ALGORITHM_ZSTD);
	CHECK(disk->attrs.codecs[0].level == 3);
	CHECK(disk->attrs.mem_limit_bytes == RAM / 2);
	CHECK(disk->attrs.format == ZR_FORMAT_SWAP);
	CHECK(strcmp(disk->attrs.label, "a label") == 0);
	CHECK(disk->attrs.uuid[0] == 0x7d && disk->attrs.uuid[15] == 0x54);
	CHECK(disk->attrs.mode == 0640);
	CHECK(disk->attrs.swap_priority == -1);
	CHECK(config->daemon.mem_limit_bytes == RAM / 4);
	CHECK(is_said(&config->disks[0], "disksize") && config->warnings.n_lines == 0);
	check_round_trip(config);
}

static void test_sizes_round_up_to_a_page(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load(
		"[a]\ndisksize=1\n[b]\ndisksize=4096\n[c]\ndisksize=4097\n[d]\ndisksize=256T\n"
		"[e]\ndisksize=0x10000\n[f]\ndisksize=1%");

	CHECK(config->disks[0].spec.disksize_bytes == 4096);
	CHECK(config->disks[1].spec.disksize_bytes == 4096);
	CHECK(config->disks[2].spec.disksize_bytes == 8192);
	CHECK(config->disks[3].spec.disksize_bytes == ZR_DISK_SIZE_MAX);
	CHECK(config->disks[4].spec.disksize_bytes == 65536);
	CHECK(config->disks[5].spec.disksize_bytes == zr_align_up(RAM / 100, ZR_PAGE_SIZE));
	check_round_trip(config);
}

static void test_defaults_apply_wherever_they_stand(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("[first]\n[own]\ndisksize = 1M\nmode = 0600\nlabel =\n"
				     "[defaults]\ndisksize = 2M\nmode = 0644\nlabel = x\n[last]\n");

	CHECK(config->n_disks == 3);
	CHECK(config->disks[0].spec.disksize_bytes == 2 << 20 &&
	      config->disks[0].spec.attrs.mode == 0644);
	CHECK(config->disks[1].spec.disksize_bytes == 1 << 20 &&
	      config->disks[1].spec.attrs.mode == 0600);
	CHECK(config->disks[2].spec.disksize_bytes == 2 << 20 &&
	      config->disks[2].spec.attrs.mode == 0644);
	CHECK(strcmp(config->disks[0].spec.attrs.label, "x") == 0);
	CHECK(config->disks[1].spec.attrs.label[0] == '\0');
	CHECK(config->defaults.disksize_bytes == 2 << 20);
	check_round_trip(config);
}

/* Parameters belong to the algorithm, wherever either stands. */
static void test_order_of_keys_means_nothing(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("[a]\nalgorithm_params = level=7\ncomp_algorithm = zstd\n"
				     "[b]\ncomp_algorithm = zstd\nalgorithm_params = level=7\n");

	CHECK(config->disks[0].spec.attrs.codecs[0].algorithm == ZR_ALGORITHM_ZSTD);
	CHECK(config->disks[0].spec.attrs.codecs[0].level == 7);
	CHECK(memcmp(config->disks[0].spec.attrs.codecs, config->disks[1].spec.attrs.codecs,
		     sizeof(config->disks[0].spec.attrs.codecs)) == 0);
	check_round_trip(config);
}

/* A disk with an algorithm of its own does not take the level meant for another. */
static void test_default_parameters_stay_with_their_algorithm(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load(
		"[defaults]\ncomp_algorithm = zstd\nalgorithm_params = level=15\n"
		"[a]\ncomp_algorithm = lz4\n[b]\n[c]\nalgorithm_params = level=2\n");

	CHECK(config->disks[0].spec.attrs.codecs[0].algorithm == ZR_ALGORITHM_LZ4);
	CHECK(config->disks[0].spec.attrs.codecs[0].level != 15);
	CHECK(config->disks[1].spec.attrs.codecs[0].level == 15);
	CHECK(config->disks[2].spec.attrs.codecs[0].algorithm == ZR_ALGORITHM_ZSTD);
	CHECK(config->disks[2].spec.attrs.codecs[0].level == 2);
	check_round_trip(config);
}

static void test_forms_of_lines(void)
{
	static const char *const texts[] = {
		"[d]\nlabel = x\nmode = 0640\n",
		"[d]\r\nlabel = x\r\nmode = 0640\r\n",
		"\xef\xbb\xbf[d]\nlabel = x\nmode = 0640",
		"\xef\xbb\xbf# text\r\n[d] ; text\r\nlabel=x\r\nmode=0640\r",
		"  # text\n\t; text\n \t\n[d]\t;text\nlabel\t=\tx  \nmode = 0640\t; text",
		"[d]\nmode = 0640 ; label = y\n#label = y\nlabel = x",
	};
	ZR_CLEANUP(config_freep)
	struct config *semicolons = load("[d;e]\nlabel =;x\n[e ;]\nlabel = =;a:[b]#\n");
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(texts); ++i) {
		ZR_CLEANUP(config_freep) struct config *config = load(texts[i]);

		CHECK(config->n_disks == 1 && strcmp(config->disks[0].spec.attrs.name, "d") == 0);
		CHECK(config->disks[0].spec.attrs.mode == 0640);
		CHECK(strcmp(config->disks[0].spec.attrs.label, "x") == 0);
	}

	/* What could be taken for a comment, and printing must not make one. */
	CHECK(strcmp(semicolons->disks[0].spec.attrs.name, "d;e") == 0);
	CHECK(strcmp(semicolons->disks[0].spec.attrs.label, ";x") == 0);
	CHECK(strcmp(semicolons->disks[1].spec.attrs.name, "e ;") == 0);
	CHECK(strcmp(semicolons->disks[1].spec.attrs.label, "=;a:[b]#") == 0);
	check_round_trip(semicolons);
}

/* inih alone would cut names at 49 bytes, and make one disk of two. */
static void test_long_names_are_whole(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	char text[2 * ZR_NAME_MAX + 16];

	memset(text, 'n', sizeof(text));
	text[0] = '[';
	memcpy(text + 1 + ZR_NAME_MAX, "]\n[", 3);
	memcpy(text + 1 + ZR_NAME_MAX + 3 + ZR_NAME_MAX - 1, "m]\n", 4);

	config = load(text);
	CHECK(config->n_disks == 2);
	CHECK(strlen(config->disks[0].spec.attrs.name) == ZR_NAME_MAX);
	CHECK(strlen(config->disks[1].spec.attrs.name) == ZR_NAME_MAX);
	CHECK(config->disks[1].spec.attrs.name[ZR_NAME_MAX - 1] == 'm');
	check_round_trip(config);
}

static void test_refused_values_are_quoted(void)
{
	refused("[a]\n\ndisksize = lots\n", 3, ": disksize = lots: ");
	refused("[a]\ndisksize = 0\n", 2, ": disksize = 0: ");
	refused("[a]\ndisksize =\n", 2, ": disksize = : ");
	refused("[a]\ndisksize = 257T\n", 2, ": disksize = 257T: out of range; allowed: ");
	refused("[a]\ndisksize = 99999E\n", 2, ": disksize = 99999E: out of range; allowed: ");
	refused("[a]\ndisksize = 1G # gig\n", 2, ": disksize = 1G # gig: ");
	refused("[a]\ncomp_algorithm = lz5\n", 2, ": comp_algorithm = lz5: ");
	refused("[a]\nalgorithm_params = level=x\n", 2, ": algorithm_params = level=x: ");
	refused("[a]\nmem_limit = -1\n", 2, ": mem_limit = -1: ");
	refused("[a]\nformat = ext4\n", 2, ": format = ext4: ");
	refused("[a]\nlabel = " S16 "+\n", 2, ": label = " S16 "+: ");
	refused("[a]\nuuid = 1234\n", 2, ": uuid = 1234: ");
	refused("[a]\nmode = rw\n", 2, ": mode = rw: ");

	refused("[a]\n[defaults]\ndisksize = 0\n", 3, ": disksize = 0: ");
	refused("[defaults]\nmode = 8\n", 2, ": mode = 8: ");

	/* The algorithm comes last; the line is still that of the parameters. */
	refused("[a]\nalgorithm_params = level=9999\nmode = 0600\ncomp_algorithm = zstd\n", 2,
		": algorithm_params = level=9999: ");
}

static void test_threads_have_bounds(void)
{
	static const char *const bad[] = { "65",  "-1", "", "x", "1 2", "99999999999999999999",
					   "0x10" };
	ZR_CLEANUP(config_freep) struct config *most = load("[zramfs]\nthreads = 64\n");
	char text[64], quoted[64];
	size_t i;

	CHECK(most->daemon.n_threads == 64);
	check_round_trip(most);

	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i) {
		snprintf(text, sizeof(text), "[zramfs]\nthreads = %s\n", bad[i]);
		snprintf(quoted, sizeof(quoted), ": threads = %s: ", bad[i]);
		refused(text, 2, quoted);
	}
}

static void test_unknown_keys_get_a_hint(void)
{
	refused("[a]\ndisk_size = 1G\n", 2,
		": disk_size = 1G: unknown key in [a] (did you mean disksize?); allowed: ");
	refused("[a]\nComp-Algorithm = lz4\n", 2, "(did you mean comp_algorithm?)");
	refused("[a]\nzebra = 1\n", 2, ": zebra = 1: unknown key in [a]; allowed: disksize");
	refused("[zramfs]\nthread = 1\n", 2, "(did you mean threads?); allowed: threads");
	refused("[zramfs]\ndisksize = 1G\n", 2, ": disksize = 1G: unknown key in [zramfs]; ");
	refused("[a]\nthreads = 1\n", 2, ": threads = 1: unknown key in [a]; ");
	refused("[defaults]\nthreads = 1\n", 2, ": threads = 1: unknown key in [defaults]; ");

	/* An attribute, but not one to configure. */
	refused("[a]\nmm_stat = 1\n", 2, ": mm_stat = 1: unknown key in [a]; ");

	refused("[a]\n" S64 S64 " = 1\n", 2, ": " S64 S64 " = 1: unknown key");
}

static void test_once_is_enough(void)
{
	refused("[a]\n[b]\n\n[a]\n", 4, ": [a]: already given on line 1; ");
	refused("[defaults]\n[b]\n[defaults]\n", 3, ": [defaults]: already given on line 1; ");
	refused("[zramfs]\n[zramfs]\n", 2, ": [zramfs]: already given on line 1; ");
	refused("[a]\nmode = 0600\nlabel = x\nmode = 0644\n", 4,
		": mode = 0644: already given on line 2; ");
	refused("[zramfs]\nthreads = 1\nthreads = 1\n", 3,
		": threads = 1: already given on line 2; ");
}

static void test_bad_names_are_refused(void)
{
	refused("[a]\n[]\n", 2, ": []: ");
	refused("[.stats]\n", 1, ": [.stats]: ");
	refused("[a/b]\n", 1, ": [a/b]: ");
	refused("[..]\n", 1, ": [..]: ");
	refused("[hot_add]\n", 1, ": [hot_add]: ");
	refused("[" S64 "]\n", 1, ": [" S64 "]: ");
	refused("[ a ]\n", 1, ": [ a ]: ");
	refused("[a ]\n", 1, ": [a ]: ");

	/* Nobody means a disk. */
	refused("[Defaults]\n", 1,
		": [Defaults]: not a name for a disk (did you mean [defaults]?)");
	refused("[default]\n", 1, ": [default]: not a name for a disk (did you mean [defaults]?)");
	refused("[ZRAMFS]\n", 1, ": [ZRAMFS]: not a name for a disk (did you mean [zramfs]?)");
}

static void test_broken_lines_are_refused(void)
{
	refused("[a]\nmode\n", 2, ": mode: ");
	refused("[a]\nmode: 0600\n", 2, ": mode: 0600: ");
	refused("[a]\nlabel: x = y\n", 2, ": label: x = y: ");
	refused("[a]\nmode ; = 0600\n", 2, ": mode ; = 0600: ");
	refused("[a]\n= 0600\n", 2, ": = 0600: ");
	refused("mode = 0600\n[a]\n", 1, ": mode = 0600: key before any section; ");
	refused("# x\n\n\nnonsense\n", 4, ": nonsense: ");
	refused("[a\nmode = 0600\n", 1, ": [a: ");
	refused("[a] mode = 0600\n", 1, ": [a] mode = 0600: ");
	refused("[a]]\n", 1, ": [a]]: ");
	refused("[a] # text\n", 1, ": [a] # text: ");

	/* inih would pass over it before the first key. */
	refused("[a]\n\xef\xbb\xbfmode = 0600\n", 2, ": mode = 0600: a mark of the byte order");
	refused("\n\xef\xbb\xbf[a]\n", 2, ": [a]: a mark of the byte order");
	refused("\xef\xbb\xbf\xef\xbb\xbf[a]\n", 1, ": [a]: a mark of the byte order");

	/* inih would give the second line to the key of the first. */
	refused("[a]\nlabel = x\n  y\n", 3, ": y: ");
	refused("[a]\nlabel = x\n\tmode = 0600\n", 3, ": mode = 0600: ");
	refused("[a]\n [b]\n", 2, ": [b]: ");
}

static void test_stray_bytes_are_refused(void)
{
	refused_bytes(TEXT("[a]\nlabel = x\0y\n"), 2, "0x00");
	refused_bytes(TEXT("[a]\n\0"), 2, "0x00");
	refused_bytes(TEXT("[a\0]\n"), 1, "0x00");
	refused_bytes(TEXT("[a]\nlabel = \x1b[31m\n"), 2, "0x1b");
	refused_bytes(TEXT("[a]\rmode = 0600\r"), 1, "0x0d");
	refused_bytes(TEXT("[a]\nmode = 0600\r\r\n"), 2, "0x0d");
	refused_bytes(TEXT("[a]\n# \x7f\n"), 2, "0x7f");
	refused_bytes(TEXT("\xff\xfe[\0a\0]\0\n\0"), 1, "0x00");
}

/* inih would make two lines of one. */
static void test_long_lines_are_refused(void)
{
	/* "label = ", blanks, "x" and a line end that does not count. */
	static const char *const ends[] = { "", "\n", "\r\n", "\r" };
	enum { LINE_MAX_BYTES = 197 };
	size_t i, n;

	for (i = 0; i < ZR_ARRAY_SIZE(ends); ++i) {
		for (n = LINE_MAX_BYTES - 2; n <= LINE_MAX_BYTES + 3; ++n) {
			char text[512];

			snprintf(text, sizeof(text), "[a]\nlabel =%*s%s", (int)(n - 7), "x",
				 ends[i]);
			if (n <= LINE_MAX_BYTES) {
				ZR_CLEANUP(config_freep) struct config *config = load(text);

				CHECK(strcmp(config->disks[0].spec.attrs.label, "x") == 0);
			} else {
				refused(text, 2, ": line too long; allowed: 197 bytes");
			}
		}
	}

	refused("[a]\n\nlabel" S64 S64 S64 S64, 3, ": line too long; ");
}

/* They are nobody's to cut. */
static void test_comments_are_of_any_length(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("# " S64 S64 S64 S64 "[c]\n[a]\r\n\t; " S64 S64 S64 S64
				     "\r\nmode = 0640\n#" S64 S64 S64 S64 S64);

	CHECK(config->n_disks == 1 && config->disks[0].spec.attrs.mode == 0640);
	refused("[a]\n# " S64 S64 S64 S64 "\x01\nmode = 8\n", 2, "0x01");
	refused("[a]\n# " S64 S64 S64 S64 "\nmode = 8\n", 3, ": mode = 8: ");
}

static void test_swap_wants_ten_pages(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	const long page_bytes = zr_system_page_bytes();
	char text[128];

	snprintf(text, sizeof(text), "[s]\nformat = swap\ndisksize = %ld\n", 10 * page_bytes);
	config = load(text);
	CHECK(config->disks[0].spec.disksize_bytes == 10 * (uint64_t)page_bytes);

	snprintf(text, sizeof(text), "[s]\nformat = swap\ndisksize = %ld\n", 9 * page_bytes);
	refused(text, 3, "too small for format = swap");

	snprintf(text, sizeof(text), "[defaults]\ndisksize = %ld\n[s]\nformat = swap\n",
		 9 * page_bytes);
	refused(text, 3, ": [s]: disksize = ");
}

static void test_there_is_a_most_of_disks(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	ZR_CLEANUP(zr_freep) char *text = NULL;
	size_t n_text;
	FILE *file = open_memstream(&text, &n_text);
	unsigned int i;

	CHECK(file);
	fputs("[defaults]\n[zramfs]\n", file);
	for (i = 0; i < ZR_DISKS_MAX; ++i)
		fprintf(file, "[d%u]\n", i);
	fflush(file);
	config = load(text);
	CHECK(config->n_disks == ZR_DISKS_MAX);
	check_round_trip(config);

	fputs("[more]\n", file);
	CHECK(fclose(file) == 0);
	refused(text, 2 + ZR_DISKS_MAX + 1, ": [more]: too many disks; allowed: 1023");
}

static void test_files_that_cannot_be_read(void)
{
	struct config *config = NULL;
	char wrong[320];

	snprintf(wrong, sizeof(wrong), "%s\n.not", path);
	CHECK(config_load(&config, wrong, RAM, UID, GID, message, sizeof(message)) == -ENOENT);
	CHECK(strstr(message, "?.not: No such file or directory"));

	CHECK(config_load(&config, "/", RAM, UID, GID, message, sizeof(message)) == -EISDIR);
	CHECK(strcmp(message, "/: Is a directory") == 0);

	/* Root may read everything. */
	file_write("", 0);
	if (geteuid() != 0) {
		CHECK(chmod(path, 0) == 0);
		CHECK(config_load(&config, path, RAM, UID, GID, message, sizeof(message)) ==
		      -EACCES);
		message_check();
		CHECK(chmod(path, 0600) == 0);
	}

	/* Who opens a pipe would wait for the other end. */
	CHECK(unlink(path) == 0 && mkfifo(path, 0600) == 0);
	CHECK(config_load(&config, path, RAM, UID, GID, message, sizeof(message)) == -EINVAL);
	message_check();
	CHECK(unlink(path) == 0);
	file_write("", 0);

	/* No end, and no lines. */
	CHECK(config_load(&config, "/dev/zero", RAM, UID, GID, message, sizeof(message)) ==
	      -EINVAL);
	CHECK(!config);
}

/* A megabyte is read, and not a byte more. */
static void test_there_is_a_most_of_bytes(void)
{
	const size_t n_bytes = 1 << 20;
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	ZR_CLEANUP(zr_freep) char *text = malloc(n_bytes + 1);

	CHECK(text);
	memset(text, '\n', n_bytes);
	memcpy(text, "[a]", 3);
	CHECK(load_bytes(&config, text, n_bytes) == 0);
	CHECK(config->n_disks == 1);

	text[n_bytes] = '\n';
	refused_bytes(text, n_bytes + 1, n_bytes - 2, ": the file goes on; allowed: 1048576 bytes");
	memset(text, '#', n_bytes + 1);
	refused_bytes(text, n_bytes + 1, 1, ": the file goes on; ");
}

static void test_there_is_a_most_of_keys(void)
{
	ZR_CLEANUP(zr_freep) char *text = calloc(1, 1024);
	unsigned int i;

	CHECK(text);
	strcpy(text, "[a]\n");
	for (i = 0; i < 65; ++i)
		strcat(text, "x = 1\n");
	refused(text, 66, ": x = 1: too many keys; allowed: 64");
}

static void test_unknown_ram_needs_sizes(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;

	file_write(TEXT("[a]\ndisksize = 1M\n[b]\n"));
	CHECK(config_load(&config, path, 0, UID, GID, message, sizeof(message)) == -EINVAL);
	message_check();
	CHECK(strstr(message, ":3: [b]: no disksize"));

	file_write(TEXT("[a]\ndisksize = 1%\n"));
	CHECK(config_load(&config, path, 0, UID, GID, message, sizeof(message)) == -EINVAL);
	CHECK(strstr(message, ":2: disksize = 1%: "));

	file_write(TEXT("[a]\ndisksize = 1M\n"));
	CHECK(config_load(&config, path, 0, UID, GID, message, sizeof(message)) == 0);
	CHECK(config->disks[0].spec.disksize_bytes == 1 << 20);
}

static void test_short_messages_end(void)
{
	struct config *config = NULL;
	char text[8] = "xxxxxxx";

	file_write(TEXT("nonsense"));
	CHECK(config_load(&config, path, RAM, UID, GID, text, 4) == -EINVAL);
	CHECK(strlen(text) == 3 && text[4] == 'x');
	CHECK(config_load(&config, path, RAM, UID, GID, NULL, 0) == -EINVAL);
}

static void test_no_file_is_one_disk(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;

	CHECK(config_default(&config, 0, UID, GID) == -EINVAL);
	CHECK(!config);

	CHECK(config_default(&config, RAM + 4, UID, GID) == 0);
	CHECK(config->n_disks == 1 && config->daemon.n_threads == 0);
	CHECK(strcmp(config->disks[0].spec.attrs.name, "zram0") == 0);
	CHECK(config->disks[0].spec.disksize_bytes == RAM / 4 + ZR_PAGE_SIZE);
	CHECK(config->disks[0].spec.attrs.uid == UID && config->disks[0].spec.attrs.gid == GID);
	check_round_trip(config);
}

static char *sample_read(size_t *n_textp)
{
	FILE *file = fopen(sample, "r");
	char *text = calloc(1, 65536);

	CHECK(file && text);
	*n_textp = fread(text, 1, 65535, file);
	CHECK(*n_textp > 0 && feof(file));
	fclose(file);
	return text;
}

static void test_the_sample_loads_and_names_every_key(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	ZR_CLEANUP(zr_freep) char *text = NULL;
	const struct zr_attr *attr;
	unsigned int i;
	size_t n_text;
	int r;

	r = config_load(&config, sample, RAM, UID, GID, message, sizeof(message));
	if (r < 0)
		fprintf(stderr, "%s\n", message);
	CHECK(r == 0);
	CHECK(config->n_disks == 2);
	CHECK(strcmp(config->disks[0].spec.attrs.name, "swap0") == 0);
	CHECK(config->disks[0].spec.attrs.format == ZR_FORMAT_SWAP);
	CHECK(strcmp(config->disks[1].spec.attrs.name, "disk0") == 0);
	CHECK(config->disks[1].spec.attrs.format == ZR_FORMAT_NONE);
	check_round_trip(config);

	text = sample_read(&n_text);
	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		char set[64], unset[64];

		if (!(attr->flags & ZR_ATTR_CONFIG))
			continue;
		snprintf(set, sizeof(set), "\n%s = ", attr->name);
		snprintf(unset, sizeof(unset), "\n#%s = ", attr->name);
		CHECK(strstr(text, set) || strstr(text, unset));
	}
}

/* The keys that the sample shows without setting them must work when somebody does. */
static void test_the_sample_loads_with_every_key_set(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	ZR_CLEANUP(zr_freep) char *text = NULL;
	const struct zr_attr *attr;
	char *at, unset[64];
	unsigned int i;
	size_t n_text;

	text = sample_read(&n_text);
	for (i = 0; (attr = zr_attr_next(&i)); ++i) {
		snprintf(unset, sizeof(unset), "\n#%s = ", attr->name);
		if (attr->parse && (at = strstr(text, unset)))
			memmove(at + 1, at + 2, strlen(at + 2) + 1);
	}
	at = strstr(text, "comp_algorithm = lz4\n");
	CHECK(at);
	memcpy(at, "comp_algorithm=zstd \n", 21);

	config = load(text);
	CHECK(config->defaults.attrs.codecs[0].level == 3);
	CHECK(config->defaults.attrs.recomp_priorities == 1u << 1);
	CHECK(config->disks[0].spec.attrs.uuid[0] != 0);
	CHECK(strcmp(config->disks[1].spec.backing_dev, "/var/lib/zramfs/backing") == 0);
	CHECK(config->disks[1].spec.attrs.spill_above_bytes == 2048);
	check_round_trip(config);
}

/* Damaged samples load, and then print to what loads to the same, or are refused in one line. */
static void test_damage_is_loaded_or_refused(void)
{
	static const char bytes[] = "\n\r\t =:;#[]%0-9azKE\xef\xbb\xbf";
	struct rng rng = rng_init("config");
	ZR_CLEANUP(zr_freep) char *text = NULL, *damaged = NULL;
	unsigned int n_loaded = 0, i;
	size_t n_text;

	text = sample_read(&n_text);
	damaged = malloc(n_text);
	CHECK(damaged);

	for (i = 0; i < 2000; ++i) {
		ZR_CLEANUP(config_freep) struct config *config = NULL;
		uint64_t n_changes = rng_below(&rng, 4);
		size_t n_damaged = n_text;

		memcpy(damaged, text, n_text);
		if (rng_below(&rng, 4) == 0)
			n_damaged = rng_below(&rng, n_text);
		while (n_damaged > 0 && n_changes-- > 0)
			damaged[rng_below(&rng, n_damaged)] = bytes[rng_below(&rng, sizeof(bytes))];

		if (load_bytes(&config, damaged, n_damaged) == 0) {
			check_round_trip(config);
			++n_loaded;
		} else {
			message_check();
		}
	}

	CHECK(n_loaded > 0 && n_loaded < 2000);
}

int main(int argc, char **argv)
{
	char beside[512];

	snprintf(beside, sizeof(beside), "%.*s../../conf/zram.ini",
		 (int)(strrchr(__FILE__, '/') + 1 - __FILE__), __FILE__);
	sample = argc > 1 ? argv[1] : beside;

	rig_begin("zram.ini");
	RUN(test_every_key_has_its_columns);
	RUN(test_empty_file_has_no_disks);
	RUN(test_empty_section_is_a_disk);
	RUN(test_every_key_arrives);
	RUN(test_sizes_round_up_to_a_page);
	RUN(test_defaults_apply_wherever_they_stand);
	RUN(test_order_of_keys_means_nothing);
	RUN(test_default_parameters_stay_with_their_algorithm);
	RUN(test_forms_of_lines);
	RUN(test_long_names_are_whole);
	RUN(test_refused_values_are_quoted);
	RUN(test_threads_have_bounds);
	RUN(test_unknown_keys_get_a_hint);
	RUN(test_once_is_enough);
	RUN(test_bad_names_are_refused);
	RUN(test_broken_lines_are_refused);
	RUN(test_stray_bytes_are_refused);
	RUN(test_long_lines_are_refused);
	RUN(test_comments_are_of_any_length);
	RUN(test_swap_wants_ten_pages);
	RUN(test_there_is_a_most_of_disks);
	RUN(test_files_that_cannot_be_read);
	RUN(test_there_is_a_most_of_bytes);
	RUN(test_there_is_a_most_of_keys);
	RUN(test_unknown_ram_needs_sizes);
	RUN(test_short_messages_end);
	RUN(test_no_file_is_one_disk);
	RUN(test_the_sample_loads_and_names_every_key);
	RUN(test_the_sample_loads_with_every_key_set);
	RUN(test_damage_is_loaded_or_refused);

	rig_end();
	return 0;
}
