/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "test.h"

#include "fill.h"

static const uint64_t words[] = {
	0,
	1,
	UINT64_MAX,
	UINT64_C(0x0101010101010101),
	UINT64_C(0x00ff00ff00ff00ff),
	UINT64_C(0xdeadbeefdeadbeef),
	UINT64_C(0x8000000000000000),
	UINT64_C(0x0123456789abcdef),
	UINT64_C(0xfedcba9876543210),
};

static void test_words_come_back(void)
{
	struct rng rng = rng_init("test-fill");
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t word, found;
	unsigned int i;

	for (i = 0; i < 1000; ++i) {
		word = i < ZR_ARRAY_SIZE(words) ? words[i] : rng_next(&rng);
		memset(page, 0xAA, sizeof(page));
		zr_fill_page(page, word);
		found = ~word;
		CHECK(zr_fill_detect(page, &found));
		CHECK(found == word);
	}
}

/* Every bit of a word counts, in every place. */
static void test_one_bit_anywhere_is_seen(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t found = 42;
	unsigned int i, bit;
	size_t at;

	for (i = 0; i < ZR_ARRAY_SIZE(words); ++i) {
		zr_fill_page(page, words[i]);
		for (at = 0; at < ZR_PAGE_SIZE; ++at) {
			for (bit = 0; bit < 8; bit += 7) {
				page[at] ^= (uint8_t)(1u << bit);
				CHECK(!zr_fill_detect(page, &found));
				CHECK(found == 42); /* written on success only */
				page[at] ^= (uint8_t)(1u << bit);
			}
		}
		CHECK(zr_fill_detect(page, &found));
		CHECK(found == words[i]);
		found = 42;
	}
}

/* A period of 16 bytes is no word, though the first half of it is in the right places. */
static void test_longer_period_is_no_fill(void)
{
	uint8_t page[ZR_PAGE_SIZE];
	uint64_t found;
	size_t i;

	for (i = 0; i < ZR_PAGE_SIZE; ++i)
		page[i] = (uint8_t)(i % 16);
	CHECK(!zr_fill_detect(page, &found));

	for (i = 0; i < ZR_PAGE_SIZE; ++i)
		page[i] = (uint8_t)(i % 3);
	CHECK(!zr_fill_detect(page, &found));
}

/* From 0 to 15 bytes off, with the neighbours filled otherwise and left alone. */
static void test_pages_need_no_alignment(void)
{
	uint8_t bytes[ZR_PAGE_SIZE + 32];
	uint64_t word = UINT64_C(0x0123456789abcdef), found;
	size_t off, i;

	for (off = 0; off < 16; ++off) {
		memset(bytes, 0x77, sizeof(bytes));
		zr_fill_page(bytes + off, word);
		for (i = 0; i < sizeof(bytes); ++i)
			CHECK((i >= off && i < off + ZR_PAGE_SIZE) || bytes[i] == 0x77);

		found = 0;
		CHECK(zr_fill_detect(bytes + off, &found));
		CHECK(found == word);
		CHECK(!zr_fill_detect(bytes + off + 1, &found));
	}
}

int main(void)
{
	RUN(test_words_come_back);
	RUN(test_one_bit_anywhere_is_seen);
	RUN(test_longer_period_is_no_fill);
	RUN(test_pages_need_no_alignment);
	return 0;
}
