/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "test.h"

#include <errno.h>

#include "base.h"
#include "size.h"

#define KIB UINT64_C(1024)
#define GIB (KIB * KIB * KIB)

/* What a percentage is of. Not a multiple of 100. */
#define WHOLE (UINT64_C(16) * GIB + 7)

static const struct {
	const char *text;
	uint64_t bytes;
} good[] = {
	{ "0", 0 },
	{ "00", 0 },
	{ "1", 1 },
	{ "4096", 4096 },
	{ "18446744073709551615", UINT64_MAX },
	{ "0xffffffffffffffff", UINT64_MAX },
	{ "0XFFffFFffFFffFFff", UINT64_MAX },
	{ "01777777777777777777777", UINT64_MAX },
	{ "010", 8 },
	{ "0x10", 16 },
	{ "0x10K", 16 * KIB },
	{ "010k", 8 * KIB },
	{ "0x1e", 30 }, /* a digit before it is a unit, as to the kernel */
	{ "0x1eE", 0x1ee },
	{ "0K", 0 },
	{ "0E", 0 },
	{ "1K", KIB },
	{ "1k", KIB },
	{ "1M", KIB *KIB },
	{ "1m", KIB *KIB },
	{ "1G", GIB },
	{ "1g", GIB },
	{ "1T", KIB *GIB },
	{ "1t", KIB *GIB },
	{ "1P", KIB *KIB *GIB },
	{ "1p", KIB *KIB *GIB },
	{ "1E", GIB *GIB },
	{ "1e", GIB *GIB },
	{ "15E", 15 * GIB *GIB },
	{ "16383P", 16383 * KIB *KIB *GIB },
	{ "18014398509481983K", UINT64_MAX - 1023 },
	{ "1G ", GIB },
	{ "1G\n", GIB },
	{ "1 \t\r\n\v\f", 1 },
	{ "0%", 0 },
	{ "1%", WHOLE / 100 },
	{ "50%", WHOLE / 2 },
	{ "50% \n", WHOLE / 2 },
	{ "99%", WHOLE * 99 / 100 },
	{ "100%", WHOLE },
	{ "150%", WHOLE * 3 / 2 },
	{ "10000%", WHOLE * 100 },
};

static const struct {
	const char *text;
	int r;
} bad[] = {
	{ "", -EINVAL },
	{ " ", -EINVAL },
	{ "\n", -EINVAL },
	{ " 1", -EINVAL },
	{ "-1", -EINVAL },
	{ "-0", -EINVAL },
	{ "+1", -EINVAL },
	{ "K", -EINVAL },
	{ "%", -EINVAL },
	{ "x10", -EINVAL },
	{ "0x", -EINVAL },
	{ "0xK", -EINVAL },
	{ "0xg", -EINVAL },
	{ "08", -EINVAL },
	{ "1Gx", -EINVAL },
	{ "1G x", -EINVAL },
	{ "1GB", -EINVAL },
	{ "1GiB", -EINVAL },
	{ "1KK", -EINVAL },
	{ "1 K", -EINVAL },
	{ "1Z", -EINVAL },
	{ "1.5G", -EINVAL },
	{ "1,5", -EINVAL },
	{ "1_000", -EINVAL },
	{ "12a", -EINVAL },
	{ "1G-", -EINVAL },
	{ "\xc3\xa9", -EINVAL },
	{ "1\xa0", -EINVAL },
	{ "-50%", -EINVAL },
	{ "50%%", -EINVAL },
	{ "50%K", -EINVAL },
	{ "50K%", -EINVAL },
	{ "50 %", -EINVAL },
	{ "050%", -EINVAL },
	{ "0x50%", -EINVAL },
	{ "12.5%", -EINVAL },
	{ "10001%", -EINVAL },
	{ "18446744073709551616%", -EINVAL },
	{ "18446744073709551616", -ERANGE },
	{ "99999999999999999999999999", -ERANGE },
	{ "0x10000000000000000", -ERANGE },
	{ "02000000000000000000000", -ERANGE },
	{ "16E", -ERANGE },
	{ "16384P", -ERANGE },
	{ "18014398509481984K", -ERANGE },
	{ "18446744073709551615k", -ERANGE },
	{ "18446744073709551616K", -ERANGE },
	{ "18446744073709551616x", -EINVAL }, /* not a size at all comes first */
	{ "18446744073709551616 ", -ERANGE },
};

static void test_sizes(void)
{
	uint64_t bytes;
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(good); ++i) {
		bytes = ~good[i].bytes;
		CHECK(zr_size_parse(good[i].text, WHOLE, &bytes) == 0);
		CHECK(bytes == good[i].bytes);
	}
}

static void test_what_is_no_size(void)
{
	uint64_t bytes = 42;
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(bad); ++i) {
		CHECK(zr_size_parse(bad[i].text, WHOLE, &bytes) == bad[i].r);
		CHECK(bytes == 42); /* written on success only */
	}
}

static void test_percent_needs_something_to_take_it_of(void)
{
	uint64_t bytes = 42;

	CHECK(zr_size_parse("50%", 0, &bytes) == -EINVAL);
	CHECK(zr_size_parse("0%", 0, &bytes) == -EINVAL);
	CHECK(bytes == 42);
	CHECK(zr_size_parse("50", 0, &bytes) == 0);
	CHECK(bytes == 50);
}

/* Exact at the top of 64 bits, where multiplying first would overflow. */
static void test_percent_of_much(void)
{
	uint64_t bytes = 42;

	CHECK(zr_size_parse("100%", UINT64_MAX, &bytes) == 0);
	CHECK(bytes == UINT64_MAX);
	CHECK(zr_size_parse("50%", UINT64_MAX, &bytes) == 0);
	CHECK(bytes == UINT64_MAX / 2);
	CHECK(zr_size_parse("10000%", UINT64_MAX / 100, &bytes) == 0);
	CHECK(bytes == UINT64_MAX / 100 * 100);

	bytes = 42;
	CHECK(zr_size_parse("101%", UINT64_MAX, &bytes) == -ERANGE);
	CHECK(zr_size_parse("10000%", UINT64_MAX / 100 + 1, &bytes) == -ERANGE);
	CHECK(bytes == 42);
}

static void test_percent_rounds_down(void)
{
	uint64_t bytes;

	CHECK(zr_size_parse("1%", 99, &bytes) == 0);
	CHECK(bytes == 0);
	CHECK(zr_size_parse("1%", 199, &bytes) == 0);
	CHECK(bytes == 1);
	CHECK(zr_size_parse("199%", 1, &bytes) == 0);
	CHECK(bytes == 1);
}

int main(void)
{
	RUN(test_sizes);
	RUN(test_what_is_no_size);
	RUN(test_percent_needs_something_to_take_it_of);
	RUN(test_percent_of_much);
	RUN(test_percent_rounds_down);
	return 0;
}
