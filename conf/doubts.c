/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "doubts.h"

#include <inttypes.h>
#include <stdio.h>

#define SIZE_TEXT_MAX 32u

/* How many times smaller pages become, in hundredths: half of them of installed files, half of
 * the memory of programs. The manual has the table. */
static const struct {
	uint8_t algorithm; /* enum zr_algorithm */
	unsigned int ratio_percent;
} ratios[] = {
	{ ZR_ALGORITHM_LZ4, 235 },   { ZR_ALGORITHM_LZO, 250 },  { ZR_ALGORITHM_LZO_RLE, 250 },
	{ ZR_ALGORITHM_LZ4HC, 265 }, { ZR_ALGORITHM_ZSTD, 340 },
};

static unsigned int ratio_percent(const struct zr_disk_spec *spec)
{
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(ratios); ++i)
		if (ratios[i].algorithm == spec->attrs.codecs[0].algorithm)
			return ratios[i].ratio_percent;

	return 100;
}

/* For people: four digits and a unit. */
static const char *size_text(uint64_t bytes, char text[SIZE_TEXT_MAX])
{
	static const char units[] = "KMGTPE";
	double amount = (double)bytes / 1024;
	size_t i = 0;

	for (; amount >= 1024 && units[i + 1]; ++i)
		amount /= 1024;
	snprintf(text, SIZE_TEXT_MAX, "%.4g%c", amount, units[i]);
	return text;
}

/* Is the limit where pages begin to go to a file? */
static bool spills(const struct zr_disk_spec *spec)
{
	return spec->backing_dev[0] != '\0' && spec->attrs.on_limit != ZR_ON_LIMIT_ENOSPC;
}

static int limits_below_disks_warn(struct config *config)
{
	struct naming naming = { 0 };
	size_t i;

	for (i = 0; i < config->n_disks; ++i) {
		const struct zr_disk_spec *spec = &config->disks[i].spec;
		const uint64_t limit_bytes = spec->attrs.mem_limit_bytes;
		char limit[SIZE_TEXT_MAX], size[SIZE_TEXT_MAX];

		/* Limits are 256T at most: the product fits. */
		if (limit_bytes == 0 || spills(spec) ||
		    limit_bytes * ratio_percent(spec) / 100 >= spec->disksize_bytes)
			continue;
		naming_add(&naming, 0, "%.63s (%s for %s)", spec->attrs.name,
			   size_text(limit_bytes, limit), size_text(spec->disksize_bytes, size));
	}
	return naming_warn(&naming, &config->warnings,
			   "mem_limit is likely to be reached before the disk is full");
}

static int limits_above_ram_warn(struct config *config)
{
	const uint64_t ram_bytes = config->defaults.ram_bytes;
	char sum[SIZE_TEXT_MAX], ram[SIZE_TEXT_MAX];
	struct naming naming = { 0 };
	uint64_t sum_bytes = config->daemon.mem_limit_bytes;
	size_t i;

	for (i = 0; config->daemon.mem_limit_bytes == 0 && i < config->n_disks; ++i)
		sum_bytes += config->disks[i].spec.attrs.mem_limit_bytes;
	if (ram_bytes == 0 || sum_bytes <= ram_bytes)
		return 0;

	naming_add(&naming, 0, "%s of %s", size_text(sum_bytes, sum), size_text(ram_bytes, ram));
	return naming_warn(&naming, &config->warnings,
			   config->daemon.mem_limit_bytes > 0
				   ? "mem_limit of [zramfs] is more than RAM"
				   : "mem_limit of all disks together is more than RAM");
}

static int disks_above_ram_warn(struct config *config)
{
	const uint64_t ram_bytes = config->defaults.ram_bytes;
	struct naming naming = { 0 };
	size_t i;

	for (i = 0; ram_bytes > 0 && i < config->n_disks; ++i) {
		const struct zr_disk_spec *spec = &config->disks[i].spec;
		char size[SIZE_TEXT_MAX];

		if (spec->disksize_bytes / 2 > ram_bytes)
			naming_add(&naming, 0, "%.63s (%s)", spec->attrs.name,
				   size_text(spec->disksize_bytes, size));
	}
	return naming_warn(&naming, &config->warnings, "disks larger than twice RAM");
}

/* Does nothing take pages to the file but somebody who says so? */
static bool waits_for_words(const struct config *config, const struct zr_disk_spec *spec)
{
	const bool limited = spec->attrs.mem_limit_bytes > 0 || config->daemon.mem_limit_bytes > 0;

	return spec->backing_dev[0] != '\0' && spec->attrs.spill_above_bytes == 0 &&
	       !(limited && spills(spec));
}

static int idle_files_warn(struct config *config)
{
	struct naming naming = { 0 };
	size_t i;

	for (i = 0; i < config->n_disks; ++i) {
		const struct zr_disk_spec *spec = &config->disks[i].spec;

		if (waits_for_words(config, spec))
			naming_add(&naming, 0, "%.63s", spec->attrs.name);
	}
	return naming_warn(&naming, &config->warnings,
			   "disks whose pages go to their backing_dev only when somebody writes to "
			   "writeback, as they have no mem_limit to spill at, and no spill_above");
}

int doubts_warn(struct config *config)
{
	int r;

	r = limits_below_disks_warn(config);
	if (r == 0)
		r = limits_above_ram_warn(config);
	if (r == 0)
		r = disks_above_ram_warn(config);
	if (r == 0)
		r = idle_files_warn(config);
	return r;
}
