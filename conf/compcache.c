/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What compcache's modules had as parameters, and rzscontrol as options
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loading.h"

/* As rzscontrol had it. */
#define KB_DIGITS_MAX 10u

#define KB_ALLOWED      "a number of KiB, up to 10 digits"
#define KB_MORE_ALLOWED "a number of KiB above 0, up to 10 digits"

/* Return: -EINVAL for what is no number, -ERANGE for one too large. */
static int digits_parse(const char *text, uint64_t *numberp)
{
	const size_t n_digits = strspn(text, "0123456789");

	if (n_digits == 0 || text[n_digits] != '\0')
		return -EINVAL;
	if (n_digits > KB_DIGITS_MAX)
		return -ERANGE;
	*numberp = strtoull(text, NULL, 10);
	return 0;
}

static int kb_parse(const struct loading *loading, const struct record *record, uint64_t *bytesp,
		    const char *allowed)
{
	uint64_t kb = 0;
	int r;

	r = digits_parse(record->value, &kb);
	if (r < 0)
		return record_refuse(record, &loading->sections.lines,
				     r == -ERANGE ? "out of range" : "not a value for it", allowed);
	*bytesp = zr_align_up(kb << 10, ZR_PAGE_SIZE);
	return 0;
}

int compcache_apply(struct loading *loading, struct zr_disk_spec *spec,
		    const struct section *section)
{
	const struct record *disksize = section_find_key(section, "disksize_kb");
	const struct record *mem_limit = section_find_key(section, "memlimit_kb");
	uint64_t bytes = 0;
	int r;

	if (disksize) {
		r = kb_parse(loading, disksize, &bytes, KB_MORE_ALLOWED);
		if (r < 0)
			return r;
		if (bytes == 0)
			return record_refuse(disksize, &loading->sections.lines, "too small",
					     KB_MORE_ALLOWED);
		spec->disksize_bytes = bytes;
	}
	if (mem_limit)
		return kb_parse(loading, mem_limit, &spec->attrs.mem_limit_bytes, KB_ALLOWED);
	return 0;
}

int compcache_disks(const struct loading *loading, unsigned int *n_disksp,
		    const struct record **recordp)
{
	const struct sections *sections = &loading->sections;
	const struct section *daemon = sections_find(sections, SECTION_DAEMON);
	const struct record *record = section_find_key(&sections->top, "num_devices");
	uint64_t n_disks = 0;
	int r;

	if (!record && daemon)
		record = section_find_key(daemon, "num_devices");
	*n_disksp = 0;
	*recordp = record;
	if (!record)
		return 0;

	r = digits_parse(record->value, &n_disks);
	if (r < 0 || n_disks > ZR_DISKS_MAX)
		return record_refuse(record, &sections->lines,
				     r == -EINVAL ? "not a value for it" : "out of range",
				     "0 to 1023");
	*n_disksp = (unsigned int)n_disks;
	return 0;
}

_Static_assert(ZR_DISKS_MAX == 1023, "the message of num_devices says 1023");
_Static_assert((UINT64_C(9999999999) << 10) < ZR_DISK_SIZE_MAX, "what it says can be");
