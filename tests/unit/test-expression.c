/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What expressions come to was worked out by hand, or is what zram-generator 1.2.1 documents.
 */

#include "test.h"

#include <errno.h>

#include "base.h"
#include "expression.h"

#define MIB UINT64_C(1048576)
#define RAM (UINT64_C(7825) * MIB + 12345) /* 7825 MB as zram-generator counts */

static uint64_t evaluate(const char *text, enum expression_units units)
{
	struct expression_error error;
	uint64_t bytes = 0;

	if (expression_parse(text, units, RAM, &bytes, &error) < 0) {
		fprintf(stderr, "%s: %s\n", text, error.what);
		abort();
	}
	return bytes;
}

static void comes_to(const char *text, uint64_t wanted)
{
	const uint64_t bytes = evaluate(text, EXPRESSION_BYTES);

	if (bytes != wanted) {
		fprintf(stderr, "%s: %" PRIu64 ", want %" PRIu64 "\n", text, bytes, wanted);
		abort();
	}
}

static void comes_to_mb(const char *text, double mb)
{
	const uint64_t bytes = evaluate(text, EXPRESSION_MB), wanted = (uint64_t)(mb * 1048576);

	/* Sines have no last digit to compare. */
	if (bytes + 1 < wanted || bytes > wanted + 1) {
		fprintf(stderr, "%s: %" PRIu64 ", want %" PRIu64 "\n", text, bytes, wanted);
		abort();
	}
}

static void refused_as(const char *text, enum expression_units units, int error_wanted,
		       const char *what)
{
	struct expression_error error;
	uint64_t bytes = 4711;
	const int r = expression_parse(text, units, RAM, &bytes, &error);

	if (r != error_wanted || bytes != 4711 || !strstr(error.what, what)) {
		fprintf(stderr, "%s: %d, %s\nwant %d, %s\n", text, r, r < 0 ? error.what : "",
			error_wanted, what);
		abort();
	}
}

static void refused(const char *text, const char *what)
{
	refused_as(text, EXPRESSION_MB, -EINVAL, what);
	refused_as(text, EXPRESSION_BYTES, -EINVAL, what);
}

static void test_numbers(void)
{
	comes_to("(0)", 0);
	comes_to("4096", 4096);
	comes_to("1.5e3", 1500);
	comes_to("2E3", 2000);
	comes_to("25e-1 * 2", 5);
	comes_to(".5 * 8", 4);
	comes_to("5. ", 5);
	comes_to("18446744073709549568", UINT64_C(18446744073709549568));
}

static void test_suffixes_are_of_1024_for_bytes(void)
{
	comes_to("1K", 1024);
	comes_to("3k", 3072);
	comes_to("0.5M", MIB / 2);
	comes_to("2g", 2048 * MIB);
	comes_to("1T", MIB << 20);
	comes_to("1P", MIB << 30);
	comes_to("1E", MIB << 40);
	comes_to("(1.5G)", 1536 * MIB);
	refused_as("1m5", EXPRESSION_BYTES, -EINVAL, "unexpected 5 at column 3");
	refused_as("1u", EXPRESSION_BYTES, -EINVAL, "unexpected u at column 2");
	refused_as("64MB", EXPRESSION_BYTES, -EINVAL, "unexpected B at column 4");
}

static void test_suffixes_are_of_1000_for_megabytes(void)
{
	comes_to_mb("1k", 1000);
	comes_to_mb("1K", 1000);
	comes_to_mb("2M", 2e6);
	comes_to_mb("1G", 1e9);
	comes_to_mb("1T", 1e12);
	comes_to_mb("500m", 0.5);
	comes_to_mb("250000u", 0.25);
	comes_to_mb("500000000n", 0.5);
	comes_to_mb("500000000000p", 0.5);
	refused_as("1g", EXPRESSION_MB, -EINVAL, "unexpected g at column 2");
	refused_as("1P", EXPRESSION_MB, -EINVAL, "unexpected P at column 2");
}

static void test_ram(void)
{
	struct expression_error error;
	uint64_t bytes;

	comes_to("ram", RAM);
	comes_to("ram / 2", RAM / 2);
	comes_to_mb("ram", 7825);
	comes_to_mb("ram/2", 3912.5);
	comes_to_mb("min(ram / 2, 4096)", 3912.5);
	comes_to_mb("min(ram / 10, 2048)", 782.5);
	comes_to_mb("min(0.75 * ram, 6000)", 5868.75);
	comes_to_mb("min(min(ram, 4096) + max(ram - 4096, 0) / 2, 32 * 1024)", 5960.5);
	comes_to_mb("(ram > 4096) * 2048 + (ram <= 4096) * 512", 2048);

	CHECK(expression_parse("ram", EXPRESSION_MB, 0, &bytes, &error) == -EINVAL);
	CHECK(strstr(error.what, "the size of RAM is unknown at column 1"));
	CHECK(expression_parse("1 + 1", EXPRESSION_BYTES, 0, &bytes, &error) == 0 && bytes == 2);
}

static void test_what_binds_more(void)
{
	comes_to("2 + 3 * 4", 14);
	comes_to("(2 + 3) * 4", 20);
	comes_to("20 - 3 - 4", 13);
	comes_to("20 - 3 + 4", 21);
	comes_to("20 + 4 - 3", 21);
	comes_to("64 / 4 / 2", 8);
	comes_to("64 / 4 * 2", 32);
	comes_to("2 ^ 3 ^ 2", 512);
	comes_to("2 * 3 ^ 2", 18);
	comes_to("17 % 5", 2);
	comes_to("10 + -3", 7);
	comes_to("- - 3", 3);
	comes_to("+3", 3);
	comes_to("2 ^ -1 * 8", 4);

	/* Where zram-generator differs from C. */
	comes_to("-2 ^ 2", 4);
	comes_to("10 * 7 % 4", 30);
	comes_to("20 / 7 % 5", 10);
}

static void test_comparisons(void)
{
	comes_to("1 < 2", 1);
	comes_to("2 <= 1", 0);
	comes_to("2 >= 2", 1);
	comes_to("2 > 2", 0);
	comes_to("2 == 2", 1);
	comes_to("2 != 2", 0);
	comes_to("1 + 1 == 2 && 3 > 2", 1);
	comes_to("0 || 0", 0);
	comes_to("1 || 0 && 0", 1);
	comes_to("!0 + !5", 1);
}

static void test_functions(void)
{
	comes_to("int(7.9)", 7);
	comes_to("10 + int(-1.5)", 9);
	comes_to("ceil(7.1)", 8);
	comes_to("floor(7.9)", 7);
	comes_to("10 + floor(-1.5)", 8);
	comes_to("round(7.5)", 8);
	comes_to("round(256, 1000)", 1024);
	comes_to("abs(-3)", 3);
	comes_to("2 + sign(-7)", 1);
	comes_to("min(3)", 3);
	comes_to("max(3, 9, 4, 1)", 9);
	comes_to("min(3,9 ,4, 1)", 1);
	comes_to("log(1000)", 3);
	comes_to("log(2, 1024)", 10);
	comes_to("round(log(e(), e() ^ 5))", 5);
	comes_to("round(1000 * pi())", 3142);
	comes_to("round(1000 * (sin(1) ^ 2 + cos(1) ^ 2))", 1000);
	comes_to("round(1000 * tan(pi() / 4))", 1000);
	comes_to("round(1000 * (asin(1) + acos(1) + atan(1)))", 2356);
	comes_to("round(1000 * (cosh(1) ^ 2 - sinh(1) ^ 2))", 1000);
	comes_to("round(1000 * tanh(atanh(0.25)))", 250);
	comes_to("round(asinh(sinh(3)) + acosh(cosh(3)))", 6);
	comes_to("max (1, min ( 2 , 3 ) )", 2);
}

static void test_what_is_wrong_is_said_with_its_place(void)
{
	refused("", "it ends where a value has to stand at column 1");
	refused("1 +", "it ends where a value has to stand at column 4");
	refused("(ram / 2", "no ')' at column 9");
	refused("ram / 2)", "unexpected ) at column 8");
	refused("min(ram / 2", "no ',' or ')' at column 12");
	refused("min(ram / 2 4096)", "no ',' or ')' at column 13");
	refused("min()", "min() of 0 values at column 1");
	refused("1 + log(1, 2, 3)", "log() of 3 values at column 5");
	refused("e(1)", "e() of 1 values at column 1");
	refused("array(1)", "unknown function array() at column 1");
	refused("system(1)", "unknown function system() at column 1");
	refused("2 * RAM", "unknown name RAM at column 5");
	refused("ram2", "unknown name ram2 at column 1");
	refused("e", "unknown name e at column 1");
	refused("1 2", "unexpected 2 at column 3");
	refused("1.2.3", "unexpected . at column 4");
	refused("0x10", "hexadecimal number at column 1");
	refused("1 & 2", "unexpected & at column 3");
	refused("1 = 2", "unexpected = at column 3");
	refused("1 \xc3\xb7 2", "unexpected character at column 3");
	refused(".", "no number after the point at column 1");
	refused("nan", "unknown name nan");
	refused("inf", "unknown name inf");
	refused("max(1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17)", "more than 16 values");
}

static void test_names_are_handed_out(void)
{
	struct expression_error error;
	uint64_t bytes;

	CHECK(expression_parse("ram * two", EXPRESSION_MB, RAM, &bytes, &error) == -EINVAL);
	CHECK(strcmp(error.name, "two") == 0);
	CHECK(expression_parse("ram * two(1)", EXPRESSION_MB, RAM, &bytes, &error) == -EINVAL);
	CHECK(error.name[0] == '\0');
}

static void test_results_that_are_no_size(void)
{
	refused("0 - 1", "it comes to less than 0");
	refused("(ram - ram) / 0", "it comes to no number");
	refused("log(-1)", "it comes to no number");
	refused("log(0)", "it comes to less than 0");
	refused_as("1 / 0", EXPRESSION_BYTES, -ERANGE, "it comes to infinity");
	refused_as("1e999", EXPRESSION_MB, -ERANGE, "it comes to infinity");
	refused_as("16E", EXPRESSION_BYTES, -ERANGE, "it comes to too much");
	refused_as("18446744073709551615", EXPRESSION_BYTES, -ERANGE, "it comes to too much");
	refused_as("17592186044416", EXPRESSION_MB, -ERANGE, "it comes to too much");

	/* What is infinite on the way may come to something. */
	comes_to("min(1 / 0, 4096)", 4096);
}

/* A stack has an end; chains and neighbours need none. */
static void test_nesting_has_a_bound(void)
{
	static const char *const openings[] = { "(", "-", "abs(", "2^", "1+(", "!" };
	char text[8192];
	size_t i, k;

	for (i = 0; i < ZR_ARRAY_SIZE(openings); ++i) {
		text[0] = '\0';
		for (k = 0; k < 1000; ++k)
			strcat(text, openings[i]);
		strcat(text, "1");
		refused(text, "nested too deeply at column ");
	}

	strcpy(text, "((((((((((((((((1))))))))))))))))");
	comes_to(text, 1);
	strcpy(text, "1");
	for (k = 0; k < 1000; ++k)
		strcat(text, "+(1)");
	comes_to(text, 1001);
}

static void test_plain_numbers(void)
{
	struct expression_error error;
	double number = 0;

	CHECK(expression_number("0.10", &number, &error) == 0 && number == 0.1);
	CHECK(expression_number("-1", &number, &error) == 0 && number == -1);
	CHECK(expression_number("half", &number, &error) == -EINVAL && number == -1);
	CHECK(strstr(error.what, "unknown name half"));
}

int main(void)
{
	RUN(test_numbers);
	RUN(test_suffixes_are_of_1024_for_bytes);
	RUN(test_suffixes_are_of_1000_for_megabytes);
	RUN(test_ram);
	RUN(test_what_binds_more);
	RUN(test_comparisons);
	RUN(test_functions);
	RUN(test_what_is_wrong_is_said_with_its_place);
	RUN(test_names_are_handed_out);
	RUN(test_results_that_are_no_size);
	RUN(test_nesting_has_a_bound);
	RUN(test_plain_numbers);
	return 0;
}
