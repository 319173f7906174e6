/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What compcache's modules had as parameters, and rzscontrol as options
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loading.h"
#include "swap-header.h"
#include "system.h"
#include "text.h"

/* As rzscontrol had it. */
#define KB_DIGITS_MAX 10u

/* Pages that compress to more than that were. */
#define POORLY_COMPRESSIBLE (ZR_PAGE_SIZE / 2)

#define SWAP_ALLOWED "a file or block device with a swap header, as mkswap makes it"

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

/* a backing device */

/* What is of that name: how large it is, and how it begins. Return: 0, or -errno. */
static int file_look(const char *path, struct zr_swap_header *header, uint64_t *size_bytesp)
{
	ssize_t n = 0;
	struct stat st;
	off_t size = 0;
	int fd, r = 0;

	/* Opening what is neither file nor device might wait, or do something. */
	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -ENOTBLK;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;

	header->n_bytes = zr_system_page_bytes();
	size = lseek(fd, 0, SEEK_END);
	if (size >= 0)
		n = pread(fd, header->bytes, header->n_bytes, 0);
	if (size < 0 || n < 0)
		r = -errno;
	close(fd);
	if (r < 0)
		return r;
	memset(header->bytes + n, 0, header->n_bytes - (size_t)n);
	*size_bytesp = zr_align_down((uint64_t)size, header->n_bytes);
	return 0;
}

/* The area that is there. Of one that zramfs had before, the mark is in the place of the header, and
 * it was as large as what it is in. */
static int area_read(const struct loading *loading, const struct record *record,
		     struct zr_swap_area *area)
{
	ZR_CLEANUP(zr_freep) struct zr_swap_header *header = malloc(sizeof(*header));
	const char *why = NULL;
	uint64_t size_bytes = 0;
	int r;

	if (!header)
		return lines_fail(&loading->sections.lines, ENOMEM);
	r = file_look(record->value, header, &size_bytes);
	if (r < 0) {
		why = strerror(-r);
	} else if (memcmp(header->bytes, ZR_BACKING_TITLE, strlen(ZR_BACKING_TITLE)) == 0) {
		*area = (struct zr_swap_area){ .size_bytes = size_bytes };
	} else if (zr_swap_header_read(header, area, &why) == 0 && area->size_bytes > size_bytes) {
		why = "its swap header says that it is larger";
	}
	if (why)
		return record_refuse(record, &loading->sections.lines, why, SWAP_ALLOWED);
	zr_text_clean(area->label, "");
	return 0;
}

/* 15 % of RAM, and no more than there is to swap. */
static uint64_t mem_limit_default(uint64_t ram_bytes, uint64_t size_bytes)
{
	const uint64_t share = zr_align_up(ram_bytes / 100 * 15, ZR_PAGE_SIZE);

	return share == 0 ? size_bytes : zr_min(share, size_bytes);
}

/* As compcache: poorly compressible pages go there at once, others at the limit; the disk is as
 * large, and its header is that one. What the section says in our words counts. */
static int backing_swap_apply(struct loading *loading, struct zr_disk_spec *spec,
			      const struct section *section, const struct record *record)
{
	const struct zr_attr *attr = zr_attr_find("backing_dev");
	const struct record *disksize = section_find_key(section, "disksize_kb");
	struct zr_attrs *attrs = &spec->attrs;
	struct zr_swap_area area;
	int r;

	if (attr->parse(spec, record->value) < 0)
		return record_refuse(record, &loading->sections.lines, "not a value for it",
				     attr->allowed);
	if (spec->backing_dev[0] == 0)
		return 0;
	if (disksize)
		return record_refuse(disksize, &loading->sections.lines,
				     "the disk is as large as its backing_swap", "one of them");
	r = area_read(loading, record, &area);
	if (r < 0)
		return r;

	if (!section_find(section, "disksize"))
		spec->disksize_bytes = area.size_bytes;
	if (!section_find(section, "format"))
		attrs->format = ZR_FORMAT_SWAP;
	if (!section_find(section, "label"))
		memcpy(attrs->label, area.label, sizeof(attrs->label));
	if (!section_find(section, "uuid"))
		memcpy(attrs->uuid, area.uuid, sizeof(attrs->uuid));
	if (!section_find(section, "mem_limit"))
		attrs->mem_limit_bytes = mem_limit_default(spec->ram_bytes, area.size_bytes);
	if (!section_find(section, "spill_above"))
		attrs->spill_above_bytes = POORLY_COMPRESSIBLE;
	if (!section_find(section, "on_limit"))
		attrs->on_limit = ZR_ON_LIMIT_DEFAULT; /* to spill */
	return 0;
}

/* the rest */

int compcache_apply(struct loading *loading, struct zr_disk_spec *spec,
		    const struct section *section)
{
	const struct record *backing_swap = section_find_key(section, "backing_swap");
	const struct record *disksize = section_find_key(section, "disksize_kb");
	const struct record *mem_limit = section_find_key(section, "memlimit_kb");
	uint64_t bytes = 0;
	int r;

	if (backing_swap) {
		r = backing_swap_apply(loading, spec, section, backing_swap);
		if (r < 0)
			return r;
	}
	if (disksize) {
		r = kb_parse(loading, disksize, &bytes, KB_MORE_ALLOWED);
		if (r < 0)
			return r;
		if (bytes == 0)
			return record_refuse(disksize, &loading->sections.lines, "too small",
					     KB_MORE_ALLOWED);
		spec->disksize_bytes = bytes;
	}
	if (!mem_limit)
		return 0;
	r = kb_parse(loading, mem_limit, &spec->attrs.mem_limit_bytes, KB_ALLOWED);
	if (r == 0 && backing_swap && spec->disksize_bytes > 0 &&
	    spec->attrs.mem_limit_bytes > spec->disksize_bytes)
		return record_refuse(mem_limit, &loading->sections.lines, "out of range",
				     "no more than its backing_swap has");
	return r;
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
