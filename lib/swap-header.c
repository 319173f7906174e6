/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "swap-header.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "system.h"

/* include/linux/swap.h, union swap_header; in the machine's own byte order. */
#define SWAP_SIGNATURE  "SWAPSPACE2"
#define SIGNATURE_BYTES 10u
#define INFO_OFFSET     1024u /* the boot sector and a disk label may lie before it */

struct swap_info {
	uint32_t version;
	uint32_t last_page;
	uint32_t n_bad_pages;
	uint8_t uuid[16];
	char label[16];
};

_Static_assert(sizeof(struct swap_info) == 44, "no padding in what the kernel reads");
_Static_assert(sizeof(((struct swap_info *)0)->label) == ZR_LABEL_MAX, "labels fit");

static int uuid_fill(uint8_t uuid[16], const uint8_t wanted[16])
{
	static const uint8_t none[16];

	if (memcmp(wanted, none, sizeof(none)) != 0) {
		memcpy(uuid, wanted, 16);
		return 0;
	}

	if (getrandom(uuid, 16, 0) != 16)
		return -EIO;
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	return 0;
}

int zr_swap_header_make(struct zr_swap_header *header, uint64_t size_bytes,
			const char label[ZR_LABEL_MAX + 1], const uint8_t uuid[16])
{
	const uint64_t page_bytes = zr_system_page_bytes();
	const uint64_t n_pages = size_bytes / page_bytes;
	struct swap_info info = { .version = 1 };
	int r;

	if (page_bytes > ZR_SWAP_HEADER_MAX || n_pages < ZR_SWAP_PAGES_MIN)
		return -EINVAL;

	r = uuid_fill(info.uuid, uuid);
	if (r < 0)
		return r;

	/* 32 bits of pages are 16 TiB at 4 KiB; the kernel uses no more of a larger area. */
	info.last_page = (uint32_t)zr_min(n_pages - 1, UINT32_MAX);
	memcpy(info.label, label, strnlen(label, sizeof(info.label)));

	memset(header, 0, sizeof(*header));
	header->n_bytes = (uint32_t)page_bytes;
	memcpy(header->bytes + INFO_OFFSET, &info, sizeof(info));
	memcpy(header->bytes + page_bytes - SIGNATURE_BYTES, SWAP_SIGNATURE, SIGNATURE_BYTES);
	return 0;
}

int zr_swap_header_read(const struct zr_swap_header *header, struct zr_swap_area *area,
			const char **whyp)
{
	struct swap_info info;

	memcpy(&info, header->bytes + INFO_OFFSET, sizeof(info));
	*whyp = NULL;
	if (memcmp(header->bytes + header->n_bytes - SIGNATURE_BYTES, SWAP_SIGNATURE,
		   SIGNATURE_BYTES) != 0)
		*whyp = "no swap header";
	else if (info.version != 1)
		*whyp = "a swap header of another version, or of another byte order";
	else if (info.n_bad_pages != 0)
		*whyp = "a swap header with bad pages";
	else if (info.last_page < ZR_SWAP_PAGES_MIN - 1)
		*whyp = "a swap header of too few pages";
	if (*whyp)
		return -EINVAL;

	*area = (struct zr_swap_area){ .size_bytes = ((uint64_t)info.last_page + 1) *
						     header->n_bytes };
	memcpy(area->label, info.label, sizeof(info.label));
	memcpy(area->uuid, info.uuid, sizeof(area->uuid));
	return 0;
}
