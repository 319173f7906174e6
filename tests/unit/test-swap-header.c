/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Offsets and values are those of the kernel's union swap_header, written out here as numbers: the
 * header is read as the kernel reads it and not as the code under test writes it.
 */

#include "test.h"

#include <errno.h>

#include "swap-header.h"
#include "system.h"

static struct zr_swap_header header;
static uint64_t page_bytes;

static const uint8_t no_uuid[16];
static const char no_label[ZR_LABEL_MAX + 1];

static uint32_t word_at(size_t at)
{
	uint32_t word;

	memcpy(&word, header.bytes + at, sizeof(word));
	return word;
}

static int make(uint64_t n_pages, const char *text, const uint8_t uuid[16])
{
	char label[ZR_LABEL_MAX + 1] = { 0 };

	memcpy(label, text, strlen(text));
	memset(&header, 0x5a, sizeof(header));
	return zr_swap_header_make(&header, n_pages * page_bytes, label, uuid);
}

static void test_header_is_what_the_kernel_reads(void)
{
	static const uint8_t uuid[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	size_t i;

	CHECK(make(1000, "swap-label", uuid) == 0);
	CHECK(header.n_bytes == page_bytes);
	CHECK(memcmp(header.bytes + page_bytes - 10, "SWAPSPACE2", 10) == 0);
	CHECK(word_at(1024) == 1);   /* version */
	CHECK(word_at(1028) == 999); /* last page */
	CHECK(word_at(1032) == 0);   /* bad pages */
	CHECK(memcmp(header.bytes + 1036, uuid, 16) == 0);
	CHECK(memcmp(header.bytes + 1052, "swap-label\0\0\0\0\0\0", 16) == 0);
	for (i = 0; i < 1024; ++i)
		CHECK(header.bytes[i] == 0);
	for (i = 1068; i < page_bytes - 10; ++i)
		CHECK(header.bytes[i] == 0);
}

static void test_labels_of_any_length(void)
{
	CHECK(make(10, "", no_uuid) == 0);
	CHECK(header.bytes[1052] == 0);
	CHECK(make(10, "0123456789abcdef", no_uuid) == 0);
	CHECK(memcmp(header.bytes + 1052, "0123456789abcdef", 16) == 0);
}

static void test_ten_pages_at_least(void)
{
	CHECK(make(0, "", no_uuid) == -EINVAL);
	CHECK(make(9, "", no_uuid) == -EINVAL);
	CHECK(zr_swap_header_make(&header, 10 * page_bytes - 1, no_label, no_uuid) == -EINVAL);
	CHECK(make(10, "", no_uuid) == 0);
	CHECK(word_at(1028) == 9);
	CHECK(zr_swap_header_make(&header, 11 * page_bytes - 1, no_label, no_uuid) == 0);
	CHECK(word_at(1028) == 9);
}

/* The kernel counts pages in 32 bits. */
static void test_very_large_areas(void)
{
	CHECK(make((UINT64_C(1) << 32) - 1, "", no_uuid) == 0);
	CHECK(word_at(1028) == UINT32_MAX - 1);
	CHECK(make(UINT64_C(1) << 32, "", no_uuid) == 0);
	CHECK(word_at(1028) == UINT32_MAX);
	CHECK(make(UINT64_C(1) << 36, "", no_uuid) == 0);
	CHECK(word_at(1028) == UINT32_MAX);
}

static void test_random_uuids_are_version_4(void)
{
	uint8_t first[16];
	unsigned int i;

	CHECK(make(10, "", no_uuid) == 0);
	memcpy(first, header.bytes + 1036, 16);
	for (i = 0; i < 100; ++i) {
		CHECK(make(10, "", no_uuid) == 0);
		CHECK(memcmp(first, header.bytes + 1036, 16) != 0);
		CHECK(header.bytes[1036 + 6] >> 4 == 4);
		CHECK(header.bytes[1036 + 8] >> 6 == 2);
	}
}

/* What was made is read, and what was not is told why. */
static void test_headers_are_read(void)
{
	static const uint8_t uuid[16] = { 1, 2, 3 };
	struct zr_swap_area area;
	const char *why;
	uint32_t word;

	CHECK(make(77, "a label", uuid) == 0);
	CHECK(zr_swap_header_read(&header, &area, &why) == 0 && !why);
	CHECK(area.size_bytes == 77 * page_bytes && strcmp(area.label, "a label") == 0);
	CHECK(memcmp(area.uuid, uuid, sizeof(uuid)) == 0);
	CHECK(make(10, "0123456789abcdef", uuid) == 0);
	CHECK(zr_swap_header_read(&header, &area, &why) == 0);
	CHECK(strcmp(area.label, "0123456789abcdef") == 0);
	CHECK(make(UINT64_C(1) << 32, "", uuid) == 0);
	CHECK(zr_swap_header_read(&header, &area, &why) == 0);
	CHECK(area.size_bytes == (UINT64_C(1) << 32) * page_bytes);

	header.bytes[page_bytes - 1] ^= 1;
	CHECK(zr_swap_header_read(&header, &area, &why) == -EINVAL && strstr(why, "no swap"));
	CHECK(make(77, "", uuid) == 0);
	word = 0x01000000;
	memcpy(header.bytes + 1024, &word, sizeof(word));
	CHECK(zr_swap_header_read(&header, &area, &why) == -EINVAL && strstr(why, "version"));
	CHECK(make(77, "", uuid) == 0);
	header.bytes[1032] = 1;
	CHECK(zr_swap_header_read(&header, &area, &why) == -EINVAL && strstr(why, "bad pages"));
	CHECK(make(77, "", uuid) == 0);
	header.bytes[1028] = 8;
	CHECK(zr_swap_header_read(&header, &area, &why) == -EINVAL && strstr(why, "too few"));
}

int main(void)
{
	page_bytes = zr_system_page_bytes();
	RUN(test_header_is_what_the_kernel_reads);
	RUN(test_labels_of_any_length);
	RUN(test_ten_pages_at_least);
	RUN(test_very_large_areas);
	RUN(test_random_uuids_are_version_4);
	RUN(test_headers_are_read);
	return 0;
}
