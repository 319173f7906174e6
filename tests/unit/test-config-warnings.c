/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What a configuration that loads is warned of: how many lines, which disks, and just where each
 * begins.
 */

#include "config-rig.h"

#include "warnings.h"

#define MIB UINT64_C(1048576)
#define GIB (UINT64_C(1) << 30)

/* The configuration has just these lines. */
static void warns(const char *text, const char *first, const char *second)
{
	ZR_CLEANUP(config_freep) struct config *config = load(text);
	const struct warnings *warnings = &config->warnings;
	const size_t wanted = (first != NULL) + (second != NULL);

	if (warnings->n_lines != wanted || (first && strcmp(warnings->lines[0], first) != 0) ||
	    (second && strcmp(warnings->lines[1], second) != 0)) {
		fprintf(stderr, "%s\n%zu lines: %s\n%s\nwant %s\n%s\n", text, warnings->n_lines,
			warnings->n_lines > 0 ? warnings->lines[0] : "",
			warnings->n_lines > 1 ? warnings->lines[1] : "", first ? first : "",
			second ? second : "");
		abort();
	}
}

#define LIKELY "mem_limit is likely to be reached before the disk is full: "

/* The ratios of the manual, one page apart. */
static void test_limits_that_are_reached_first(void)
{
	static const struct {
		const char *algorithm;
		unsigned int ratio_percent;
	} ratios[] = { { "lz4", 235 },
		       { "lzo", 250 },
		       { "lzo-rle", 250 },
		       { "lz4hc", 265 },
		       { "zstd", 340 } };
	char text[256], line[256];
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(ratios); ++i) {
		/* A limit of a megabyte: what fits is a whole number of pages or one less. */
		const uint64_t fits = MIB * ratios[i].ratio_percent / 100 / 4096 * 4096;

		snprintf(text, sizeof(text),
			 "[d]\nmem_limit = 1M\ncomp_algorithm = %s\ndisksize = %" PRIu64 "\n",
			 ratios[i].algorithm, fits);
		warns(text, NULL, NULL);

		snprintf(text, sizeof(text),
			 "[d]\nmem_limit = 1M\ncomp_algorithm = %s\ndisksize = %" PRIu64 "\n",
			 ratios[i].algorithm, fits + 4096);
		snprintf(line, sizeof(line), LIKELY "d (1M for %.4gM)",
			 (double)(fits + 4096) / (double)MIB);
		warns(text, line, NULL);
	}
	warns("[a]\nmem_limit = 1M\ndisksize = 8M\n[b]\nmem_limit = 3M\ndisksize = 6M\n[c]\n"
	      "mem_limit = 2M\ndisksize = 1000K\n[d]\nmem_limit = 4K\ndisksize = 64M\n",
	      LIKELY "a (1M for 8M), d (4K for 64M)", NULL);
	warns("[a]\nmem_limit = 0\ndisksize = 2G\n", NULL, NULL);
}

static void test_limits_that_are_more_than_ram(void)
{
	static const char together[] = "mem_limit of all disks together is more than RAM: ";

	CHECK(RAM == GIB);
	warns("[a]\nmem_limit = 512M\ndisksize = 1M\n[b]\nmem_limit = 512M\ndisksize = 1M\n", NULL,
	      NULL);
	{
		char line[256];

		snprintf(line, sizeof(line), "%s1.25G of 1G", together);
		warns("[a]\nmem_limit = 512M\ndisksize = 1M\n[b]\nmem_limit = 768M\n"
		      "disksize = 1M\n[c]\n",
		      line, NULL);
	}

	/* The daemon's counts instead of theirs. */
	warns("[zramfs]\nmem_limit = 1G\n[a]\nmem_limit = 1G\ndisksize = 1M\n[b]\n"
	      "mem_limit = 1G\ndisksize = 1M\n",
	      NULL, NULL);
	warns("[a]\nmem_limit = 1M\ndisksize = 1M\n[zramfs]\nmem_limit = 150%\n",
	      "mem_limit of [zramfs] is more than RAM: 1.5G of 1G", NULL);
}

static void test_disks_that_are_more_than_twice_ram(void)
{
	warns("[a]\ndisksize = 2G\n[b]\ndisksize = 2147487744\n[c]\ndisksize = 256T\n",
	      "disks larger than twice RAM: b (2G), c (256T)", NULL);
	warns("[a]\ndisksize = 3G\nmem_limit = 1G\n", LIKELY "a (1G for 3G)",
	      "disks larger than twice RAM: a (3G)");
	warns("[defaults]\ndisksize = 3G\n", NULL, NULL);

	/* What RAM is unknown is nothing compared with. */
	ram = 0;
	warns("[a]\ndisksize = 3G\n[b]\ndisksize = 1M\nmem_limit = 1T\n", NULL, NULL);
	ram = RAM;
}

/* A line of the log has an end; nobody is left out in silence. */
#define IDLE                                                                                    \
	"disks whose pages go to their backing_dev only when somebody writes to writeback, as " \
	"they "                                                                                 \
	"have no mem_limit to spill at, and no spill_above: "

static void test_files_that_nobody_writes_to(void)
{
	warns("[a]\nbacking_dev = /f\n[b]\nbacking_dev = /f\nspill_above = 1\n", IDLE "a", NULL);
	warns("[a]\nbacking_dev = /f\nmem_limit = 1M\n", NULL, NULL);
	warns("[a]\nbacking_dev = /f\nmem_limit = 1G\non_limit = enospc\n", IDLE "a", NULL);
	warns("[zramfs]\nmem_limit = 1M\n[a]\nbacking_dev = /f\n", NULL, NULL);
	warns("[defaults]\nbacking_dev = /f\n[a]\n[b]\nbacking_dev = none\n[c]\n", IDLE "a, c",
	      NULL);
	/* Nor is a limit that pages go to the file at one that a disk is full at. */
	warns("[a]\nbacking_dev = /f\nmem_limit = 1M\non_limit = enospc\nspill_above = 1\n",
	      LIKELY "a (1M for 256M)", NULL);
}

static void test_spilling_wants_a_file(void)
{
	warns("[a]\nbacking_dev = /f\non_limit = spill\nmem_limit = 1M\n", NULL, NULL);
	warns("[defaults]\non_limit = spill\n[a]\nbacking_dev = /f\nmem_limit = 1M\n", NULL, NULL);
	refused("[a]\nmem_limit = 1M\non_limit = spill\n", 3,
		": on_limit = spill: the disk has no ");
	refused("[defaults]\non_limit = spill\n[a]\n", 3,
		": [a]: on_limit = spill: the disk has no ");
}

static void test_a_line_names_as_many_as_fit(void)
{
	ZR_CLEANUP(config_freep) struct config *config = NULL;
	ZR_CLEANUP(zr_freep) char *text = NULL;
	unsigned int i, n_named = 0, n_more;
	const char *line, *at;
	size_t n_text;
	FILE *file = open_memstream(&text, &n_text);

	CHECK(file);
	for (i = 0; i < 100; ++i)
		fprintf(file, "[a-disk-with-quite-a-long-name-%u]\ndisksize = 3G\n", i);
	CHECK(fclose(file) == 0);

	config = load(text);
	CHECK(config->warnings.n_lines == 1);
	line = config->warnings.lines[0];
	CHECK(strlen(line) < 400);
	for (at = line; (at = strstr(at, "(3G)")); ++at)
		++n_named;
	at = strstr(line, ", and ");
	CHECK(at && sscanf(at, ", and %u more", &n_more) == 1);
	CHECK(n_named > 3 && n_named + n_more == 100);
}

static void test_lines_are_in_the_order_of_the_file(void)
{
	struct warnings warnings = { 0 };
	struct naming naming = { 0 };

	CHECK(naming_warn(&naming, &warnings, "nothing") == 0 && warnings.n_lines == 0);

	naming_add(&naming, 7, "seven");
	naming_add(&naming, 3, "three");
	naming_add(&naming, 7, "again");
	naming_add(&naming, 0, "%s", "nowhere");
	CHECK(naming_warn(&naming, &warnings, "these") == 0);
	CHECK(warnings_have(&warnings, "these: nowhere, line 3 three, line 7 seven, line 7 again"));
	CHECK(!warnings_have(&warnings, "these"));
	warnings_deinit(&warnings);
	CHECK(warnings.n_lines == 0 && !warnings.lines);
}

/* Each kind is one line, whatever else is wrong. */
static void test_kinds_do_not_mix(void)
{
	ZR_CLEANUP(config_freep)
	struct config *config = load("[zram0]\nzram-size = 4096\nzram-resident-limit = 1100\n"
				     "options = x\n[zram1]\nhost-memory-limit = 1\n");
	const struct warnings *warnings = &config->warnings;

	CHECK(warnings->n_lines == 5);
	CHECK(strcmp(warnings->lines[0], "ignored, as they mean nothing here: line 4 options") ==
	      0);
	CHECK(strncmp(warnings->lines[1], "disks that are not made: line 6 zram1 ", 38) == 0);
	CHECK(strncmp(warnings->lines[2], LIKELY, strlen(LIKELY)) == 0);
	CHECK(strstr(warnings->lines[3], "more than RAM: 1.074G of 1G"));
	CHECK(strstr(warnings->lines[4], "twice RAM: zram0 (4G)"));
}

int main(void)
{
	rig_begin("zram.ini");
	RUN(test_limits_that_are_reached_first);
	RUN(test_limits_that_are_more_than_ram);
	RUN(test_disks_that_are_more_than_twice_ram);
	RUN(test_files_that_nobody_writes_to);
	RUN(test_spilling_wants_a_file);
	RUN(test_a_line_names_as_many_as_fit);
	RUN(test_lines_are_in_the_order_of_the_file);
	RUN(test_kinds_do_not_mix);
	rig_end();
	return 0;
}
