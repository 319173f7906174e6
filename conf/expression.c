/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "expression.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

#define MIB 1048576.0

/* Calls of this file within each other; a person's expression has a handful. */
#define DEPTH_MAX 64u

#define ARGUMENTS_MAX 16u

/* The text as it is read. After the first error everything is 0 and nothing is read. */
struct parser {
	const char *text;
	const char *at;
	enum expression_units units;
	double ram; /* in units; 0: unknown */
	unsigned int depth;
	int r;
	struct expression_error *error;
};

struct binary {
	const char *text;
	unsigned int level; /* that of a higher level binds more */
};

/* Where one begins another, the longer comes first. */
static const struct binary binaries[] = {
	{ "||", 1 }, { "&&", 2 }, { "==", 3 }, { "!=", 3 }, { "<=", 3 }, { ">=", 3 }, { "<", 3 },
	{ ">", 3 },  { "+", 4 },  { "-", 5 },  { "*", 6 },  { "/", 7 },  { "%", 8 },  { "^", 9 },
};

struct arguments {
	unsigned int n;
	double value[ARGUMENTS_MAX];
};

static double binary_read(struct parser *parser, unsigned int level_min);

__attribute__((format(printf, 3, 4))) static double refuse(struct parser *parser, const char *at,
							   const char *format, ...)
{
	char what[sizeof(parser->error->what) - 24];
	va_list args;

	if (parser->r < 0)
		return 0;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	snprintf(parser->error->what, sizeof(parser->error->what), "%s at column %zu", what,
		 (size_t)(at - parser->text) + 1);
	parser->r = -EINVAL;
	return 0;
}

static double refuse_character(struct parser *parser)
{
	if ((unsigned char)*parser->at >= 0x80)
		return refuse(parser, parser->at, "unexpected character");
	return refuse(parser, parser->at, "unexpected %c", *parser->at);
}

static char peek(struct parser *parser)
{
	if (parser->r < 0)
		return '\0';
	parser->at += strspn(parser->at, " \t");
	return *parser->at;
}

static bool take(struct parser *parser, char c)
{
	if (peek(parser) != c)
		return false;
	++parser->at;
	return true;
}

/* values */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Return: what the suffix multiplies by, or 0 for what is none. */
static double suffix_factor(enum expression_units units, char c)
{
	static const char of_1000[] = "pnumkMGT", of_1024[] = "KMGTPE";
	const char *found;

	if (c == '\0')
		return 0;
	if (units == EXPRESSION_MB) {
		/* Both cases of k; of the others one is another thing. */
		found = strchr(of_1000, c == 'K' ? 'k' : c);
		if (!found)
			return 0;
		return pow(1000, found - of_1000 - 4 + (found - of_1000 >= 4));
	}
	found = strchr(of_1024, c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
	return found ? pow(1024, (double)(found - of_1024 + 1)) : 0;
}

static double number_read(struct parser *parser)
{
	const char *from = parser->at;
	double number, factor;
	char *end;

	/* strtod() reads hexadecimal numbers, too. */
	if (from[0] == '0' && (from[1] == 'x' || from[1] == 'X'))
		return refuse(parser, from, "hexadecimal number");

	number = strtod(from, &end);
	if (end == from)
		return refuse(parser, from, "no number after the point");
	factor = suffix_factor(parser->units, *end);
	parser->at = factor > 0 ? end + 1 : end;
	if (is_letter(*parser->at) || is_digit(*parser->at) || *parser->at == '.')
		return refuse_character(parser);
	return factor > 0 ? number * factor : number;
}

/* functions */

static double call_min(const struct arguments *arguments)
{
	double least = arguments->value[0];
	unsigned int i;

	for (i = 1; i < arguments->n; ++i)
		least = fmin(least, arguments->value[i]);
	return least;
}

static double call_max(const struct arguments *arguments)
{
	double most = arguments->value[0];
	unsigned int i;

	for (i = 1; i < arguments->n; ++i)
		most = fmax(most, arguments->value[i]);
	return most;
}

static double call_log(const struct arguments *arguments)
{
	return arguments->n == 2 ? log(arguments->value[1]) / log(arguments->value[0])
				 : log10(arguments->value[0]);
}

static double call_round(const struct arguments *arguments)
{
	return arguments->n == 2
		       ? round(arguments->value[1] / arguments->value[0]) * arguments->value[0]
		       : round(arguments->value[0]);
}

static double sign(double value)
{
	return isnan(value) ? value : copysign(1, value);
}

static double call_e(const struct arguments *arguments)
{
	return M_E;
}

static double call_pi(const struct arguments *arguments)
{
	return M_PI;
}

struct function {
	const char *name;
	unsigned int n_min, n_max;
	double (*of_one)(double value);
	double (*of_many)(const struct arguments *arguments);
};

static const struct function functions[] = {
	{ "e", 0, 0, NULL, call_e },
	{ "pi", 0, 0, NULL, call_pi },
	{ "min", 1, ARGUMENTS_MAX, NULL, call_min },
	{ "max", 1, ARGUMENTS_MAX, NULL, call_max },
	{ "log", 1, 2, NULL, call_log },
	{ "round", 1, 2, NULL, call_round },
	{ "int", 1, 1, trunc, NULL },
	{ "ceil", 1, 1, ceil, NULL },
	{ "floor", 1, 1, floor, NULL },
	{ "abs", 1, 1, fabs, NULL },
	{ "sign", 1, 1, sign, NULL },
	{ "sin", 1, 1, sin, NULL },
	{ "cos", 1, 1, cos, NULL },
	{ "tan", 1, 1, tan, NULL },
	{ "asin", 1, 1, asin, NULL },
	{ "acos", 1, 1, acos, NULL },
	{ "atan", 1, 1, atan, NULL },
	{ "sinh", 1, 1, sinh, NULL },
	{ "cosh", 1, 1, cosh, NULL },
	{ "tanh", 1, 1, tanh, NULL },
	{ "asinh", 1, 1, asinh, NULL },
	{ "acosh", 1, 1, acosh, NULL },
	{ "atanh", 1, 1, atanh, NULL },
};

static const struct function *function_find(const char *name, size_t n_name)
{
	size_t i;

	for (i = 0; i < ZR_ARRAY_SIZE(functions); ++i)
		if (strlen(functions[i].name) == n_name &&
		    strncmp(functions[i].name, name, n_name) == 0)
			return &functions[i];

	return NULL;
}

/* Behind the opening parenthesis. */
static void arguments_read(struct parser *parser, struct arguments *arguments)
{
	arguments->n = 0;
	if (take(parser, ')'))
		return;

	do {
		if (arguments->n == ARGUMENTS_MAX) {
			refuse(parser, parser->at, "more than %u values", ARGUMENTS_MAX);
			return;
		}
		arguments->value[arguments->n++] = binary_read(parser, 0);
	} while (take(parser, ','));

	if (!take(parser, ')'))
		refuse(parser, parser->at, "no ',' or ')'");
}

static double function_call(struct parser *parser, const char *name, size_t n_name)
{
	const struct function *function = function_find(name, n_name);
	struct arguments arguments;

	if (!function)
		return refuse(parser, name, "unknown function %.*s()", (int)zr_min(n_name, 32),
			      name);
	arguments_read(parser, &arguments);
	if (parser->r < 0)
		return 0;
	if (arguments.n < function->n_min || arguments.n > function->n_max)
		return refuse(parser, name, "%s() of %u values", function->name, arguments.n);
	return function->of_one ? function->of_one(arguments.value[0])
				: function->of_many(&arguments);
}

static double name_read(struct parser *parser)
{
	const char *name = parser->at;
	size_t n_name = 0;

	while (is_letter(name[n_name]) || is_digit(name[n_name]))
		++n_name;
	parser->at += n_name;

	if (take(parser, '('))
		return function_call(parser, name, n_name);

	if (n_name != 3 || strncmp(name, "ram", 3) != 0) {
		refuse(parser, name, "unknown name %.*s", (int)zr_min(n_name, 32), name);
		snprintf(parser->error->name, sizeof(parser->error->name), "%.*s",
			 (int)zr_min(n_name, sizeof(parser->error->name) - 1), name);
		return 0;
	}
	if (parser->ram == 0)
		return refuse(parser, name, "the size of RAM is unknown");
	return parser->ram;
}

static double value_read(struct parser *parser)
{
	const char c = peek(parser);
	double value;

	if (is_digit(c) || c == '.')
		return number_read(parser);
	if (is_letter(c))
		return name_read(parser);
	if (c == '\0')
		return refuse(parser, parser->at, "it ends where a value has to stand");
	if (!take(parser, '('))
		return refuse_character(parser);

	value = binary_read(parser, 0);
	if (!take(parser, ')'))
		return refuse(parser, parser->at, "no ')'");
	return value;
}

/* operators */

static double unary_read(struct parser *parser)
{
	double value;
	char c;

	if (parser->depth == DEPTH_MAX)
		return refuse(parser, parser->at, "nested too deeply");

	++parser->depth;
	c = peek(parser);
	if (c == '-' || c == '+' || c == '!') {
		++parser->at;
		value = unary_read(parser);
		if (c != '+')
			value = c == '-' ? -value : value == 0;
	} else {
		value = value_read(parser);
	}
	--parser->depth;
	return value;
}

static const struct binary *binary_peek(struct parser *parser)
{
	size_t i;

	if (peek(parser) == '\0')
		return NULL;
	for (i = 0; i < ZR_ARRAY_SIZE(binaries); ++i)
		if (strncmp(parser->at, binaries[i].text, strlen(binaries[i].text)) == 0)
			return &binaries[i];

	return NULL;
}

static double binary_apply(const struct binary *binary, double a, double b)
{
	const char second = binary->text[1];

	switch (binary->text[0]) {
	case '|':
		return a != 0 || b != 0;
	case '&':
		return a != 0 && b != 0;
	case '=':
		return a == b;
	case '!':
		return a != b;
	case '<':
		return second ? a <= b : a < b;
	case '>':
		return second ? a >= b : a > b;
	case '+':
		return a + b;
	case '-':
		return a - b;
	case '*':
		return a * b;
	case '/':
		return a / b;
	case '%':
		return fmod(a, b);
	default:
		return pow(a, b);
	}
}

/* Of operators of this level and above. */
static double binary_read(struct parser *parser, unsigned int level_min)
{
	const struct binary *binary;
	double value;

	if (parser->depth == DEPTH_MAX)
		return refuse(parser, parser->at, "nested too deeply");

	++parser->depth;
	value = unary_read(parser);
	while ((binary = binary_peek(parser)) && binary->level >= level_min) {
		const bool from_right = binary->text[0] == '^';

		parser->at += strlen(binary->text);
		value = binary_apply(binary, value,
				     binary_read(parser, binary->level + !from_right));
	}
	--parser->depth;
	return value;
}

static int parse(struct parser *parser, double *valuep)
{
	double value;

	parser->at = parser->text;
	*parser->error = (struct expression_error){ .what = "" };
	value = binary_read(parser, 0);
	if (parser->r == 0 && peek(parser) != '\0')
		refuse_character(parser);
	if (parser->r < 0)
		return parser->r;
	*valuep = value;
	return 0;
}

int expression_parse(const char *text, enum expression_units units, uint64_t ram_bytes,
		     uint64_t *bytesp, struct expression_error *error)
{
	struct parser parser = { .text = text, .units = units, .error = error };
	const char *what = NULL;
	double bytes;
	int r;

	/* zram-generator has whole megabytes. */
	parser.ram = units == EXPRESSION_MB ? (double)(ram_bytes >> 20) : (double)ram_bytes;
	r = parse(&parser, &bytes);
	if (r < 0)
		return r;

	if (units == EXPRESSION_MB)
		bytes *= MIB;
	if (isnan(bytes))
		what = "it comes to no number";
	else if (bytes < 0)
		what = "it comes to less than 0";
	else if (isinf(bytes))
		what = "it comes to infinity";
	else if (bytes >= 0x1p64)
		what = "it comes to too much";
	if (what) {
		snprintf(error->what, sizeof(error->what), "%s", what);
		return bytes >= 0x1p64 ? -ERANGE : -EINVAL;
	}

	*bytesp = (uint64_t)bytes;
	return 0;
}

int expression_number(const char *text, double *numberp, struct expression_error *error)
{
	struct parser parser = { .text = text, .units = EXPRESSION_MB, .error = error };

	return parse(&parser, numberp);
}
