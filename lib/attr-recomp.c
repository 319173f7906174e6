/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Codecs in words, as the kernel has them: "algo=zstd priority=1 level=3"; and recompression
 *
 * What the kernel passes over is refused: a word that is none of these says something that would
 * not be done.
 */

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "attr-parts.h"
#include "recompress.h"

/* Longer than all words there are, for each priority; and from here on an algorithm is too long,
 * to the kernel as well. */
#define WORDS_MAX     256u
#define ALGORITHM_MAX 128u

/* words */

/* What was said. Texts are within the words. */
struct words {
	char text[WORDS_MAX];
	const char *algorithm; /* NULL: none */
	const char *type;      /* NULL: none */
	uint64_t priority;     /* UINT32_MAX: none */
	uint64_t threshold;
	uint64_t max_pages; /* UINT64_MAX: none */
	int32_t level;
};

/* Which words there may be. */
enum {
	WORD_LEVEL = 1,
	WORD_RUN = 2, /* type, threshold, max_pages */
};

static int run_word_parse(struct words *words, const char *key, const char *value)
{
	if (strcmp(key, "type") == 0) {
		words->type = value;
		return 0;
	}
	if (strcmp(key, "threshold") == 0)
		return zr_attr_parse_number(value, 10, UINT32_MAX, &words->threshold);
	if (strcmp(key, "max_pages") == 0)
		return zr_attr_parse_number(value, 10, UINT64_MAX, &words->max_pages);
	return -EINVAL;
}

/* @word is cut in two. */
static int word_parse(struct words *words, char *word, unsigned int allowed)
{
	char *value = strchr(word, '=');

	if (!value || value[1] == 0)
		return -EINVAL;
	*value++ = 0;

	if (strcmp(word, "algo") == 0) {
		words->algorithm = value;
		return strlen(value) < ALGORITHM_MAX ? 0 : -E2BIG;
	}
	if (strcmp(word, "priority") == 0)
		return zr_attr_parse_number(value, 10, ZR_RECOMP_MAX, &words->priority);
	if (allowed & WORD_LEVEL && strcmp(word, "level") == 0)
		return zr_attr_parse_level(value, &words->level);
	return allowed & WORD_RUN ? run_word_parse(words, word, value) : -EINVAL;
}

/* Of @n_text bytes. The last of two that say the same counts, as with the kernel. Return: 0,
 * -EINVAL, -ERANGE, or -E2BIG for what is too long to be an algorithm. */
static int words_parse(struct words *words, const char *text, size_t n_text, unsigned int allowed)
{
	char *word, *rest = NULL;
	int r = 0;

	*words = (struct words){ .priority = UINT32_MAX,
				 .max_pages = UINT64_MAX,
				 .level = ZR_CODEC_LEVEL_DEFAULT };
	if (n_text >= sizeof(words->text))
		return -E2BIG;
	memcpy(words->text, text, n_text);

	for (word = strtok_r(words->text, " \t\n", &rest); r == 0 && word;
	     word = strtok_r(NULL, " \t\n", &rest))
		r = word_parse(words, word, allowed);
	return r;
}

static bool is_configured(const struct zr_attrs *attrs, unsigned int number)
{
	return number == 0 || attrs->recomp_priorities >> number & 1;
}

static bool is_algorithm(const struct zr_codec_params *params, const char *name)
{
	return strcmp(zr_codec_by_algorithm(params->algorithm)->name, name) == 0;
}

/* The codec that is meant, from @first on: by its priority, or the first of that algorithm; both
 * must be right if both are said. Return: its number, or -EINVAL. */
static int number_find(const struct zr_attrs *attrs, const struct words *words, unsigned int first)
{
	unsigned int i;

	for (i = first; i <= ZR_RECOMP_MAX; ++i) {
		if (is_configured(attrs, i) &&
		    (words->priority == UINT32_MAX || words->priority == i) &&
		    (!words->algorithm || is_algorithm(&attrs->codecs[i], words->algorithm)))
			return (int)i;
	}
	return -EINVAL;
}

/* lists */

int zr_attr_print_algorithms(char *text, size_t n_text, const struct zr_codec_params *chosen)
{
	const struct zr_codec *codec;
	unsigned int i;
	size_t at = 0;

	for (i = 0; (codec = zr_codec_listed(i)); ++i)
		at += (size_t)snprintf(text + at, n_text - at,
				       is_algorithm(chosen, codec->name) ? "[%s] " : "%s ",
				       codec->name);
	at += (size_t)snprintf(text + at, n_text - at, "\n");
	return (int)at;
}

/* algorithm_params: without words of whose they are, those of comp_algorithm. The kernel forgets
 * earlier parameters first. */

/* Return: the number whose codec is changed, -EINVAL or -ERANGE. */
static int params_parse(struct zr_attrs *attrs, const char *text)
{
	struct zr_codec_params fresh;
	struct words words;
	int number, r;

	r = words_parse(&words, text, strlen(text), WORD_LEVEL);
	if (r < 0)
		return r == -E2BIG ? -EINVAL : r;
	number = words.priority == UINT32_MAX && !words.algorithm ? 0
								  : number_find(attrs, &words, 0);
	if (number < 0)
		return number;

	fresh = (struct zr_codec_params){ attrs->codecs[number].algorithm, words.level };
	r = zr_codec_check(&fresh);
	if (r < 0)
		return r;
	attrs->codecs[number] = fresh;
	return number;
}

int zr_attr_algorithm_params_parse(struct zr_disk_spec *spec, const char *text)
{
	const int number = params_parse(&spec->attrs, text);

	return number < 0 ? number : 0;
}

/* What recomp_algorithm does not say. */
void zr_attr_algorithm_params_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	*text = 0;
	if (spec->attrs.codecs[0].level != ZR_CODEC_LEVEL_DEFAULT)
		snprintf(text, n_text, "level=%" PRId32, spec->attrs.codecs[0].level);
}

int zr_attr_algorithm_params_apply(const struct zr_attr_target *target, const char *text)
{
	struct zr_attrs attrs;
	int number;

	zr_disk_attrs(target->disk, &attrs);
	number = params_parse(&attrs, text);
	if (number < 0)
		return -EINVAL;
	if (number == 0)
		return zr_disk_set_codec(target->disk, &attrs.codecs[0]);
	return zr_disk_set_recomp(target->disk, (unsigned int)number, &attrs.codecs[number]);
}

/* recomp_algorithm: in the configuration what all of them are, in a control file what changes */

static int recomp_parse_one(struct zr_attrs *attrs, const char *text, size_t n_text)
{
	struct zr_codec_params params;
	struct words words;
	int r;

	r = words_parse(&words, text, n_text, WORD_LEVEL);
	if (r < 0)
		return r;
	if (!words.algorithm || words.priority == 0)
		return -EINVAL;
	if (words.priority == UINT32_MAX)
		words.priority = 1;

	r = zr_codec_find(words.algorithm, &params);
	if (r < 0)
		return r;
	params.level = words.level;
	r = zr_codec_check(&params);
	if (r < 0)
		return r;
	attrs->codecs[words.priority] = params;
	attrs->recomp_priorities |= 1u << words.priority;
	return 0;
}

/* Several stand between commas. */
static int recomp_parse_more(struct zr_disk_spec *spec, const char *text)
{
	size_t n;
	int r;

	for (;; text += n + 1) {
		n = strcspn(text, ",");
		r = recomp_parse_one(&spec->attrs, text, n);
		if (r < 0 || text[n] == 0)
			return r;
	}
}

static void recomp_clear(struct zr_attrs *attrs)
{
	unsigned int i;

	for (i = 1; i <= ZR_RECOMP_MAX; ++i)
		attrs->codecs[i] = (struct zr_codec_params){ ZR_ALGORITHM_LZ4,
							     ZR_CODEC_LEVEL_DEFAULT };
	attrs->recomp_priorities = 0;
}

int zr_attr_recomp_parse(struct zr_disk_spec *spec, const char *text)
{
	struct zr_disk_spec fresh = *spec;
	int r;

	recomp_clear(&fresh.attrs);
	r = *text ? recomp_parse_more(&fresh, text) : 0;
	if (r == 0)
		*spec = fresh;
	return r == -E2BIG ? -EINVAL : r;
}

void zr_attr_recomp_print(const struct zr_disk_spec *spec, char *text, size_t n_text)
{
	const struct zr_codec_params *codecs = spec->attrs.codecs;
	unsigned int i;
	size_t at = 0;

	*text = 0;
	for (i = 1; i <= ZR_RECOMP_MAX; ++i) {
		if (!is_configured(&spec->attrs, i))
			continue;
		at += (size_t)snprintf(text + at, n_text - at, "%salgo=%s priority=%u",
				       at > 0 ? ", " : "",
				       zr_codec_by_algorithm(codecs[i].algorithm)->name, i);
		if (codecs[i].level != ZR_CODEC_LEVEL_DEFAULT)
			at += (size_t)snprintf(text + at, n_text - at, " level=%" PRId32,
					       codecs[i].level);
	}
}

/* As with the kernel, what makes no sense is told before that it is too late. */
int zr_attr_recomp_check(const char *text)
{
	struct zr_disk_spec spec = { 0 };
	int r;

	r = recomp_parse_more(&spec, text);
	return r == -ERANGE ? -EINVAL : r;
}

/* Nothing, which a control file refuses, takes them all away. */
int zr_attr_recomp_apply(const struct zr_attr_target *target, const char *text)
{
	return zr_attr_change(target, true, *text ? recomp_parse_more : zr_attr_recomp_parse, text);
}

int zr_attr_recomp_show(const struct zr_attr_target *target, char *text, size_t n_text)
{
	struct zr_attrs attrs;
	unsigned int i;
	size_t at = 0;

	*text = 0;
	zr_disk_attrs(target->disk, &attrs);
	for (i = 1; i <= ZR_RECOMP_MAX; ++i) {
		if (!is_configured(&attrs, i))
			continue;
		at += (size_t)snprintf(text + at, n_text - at, "#%u: ", i);
		at += (size_t)zr_attr_print_algorithms(text + at, n_text - at, &attrs.codecs[i]);
	}
	return (int)at;
}

/* recompress */

static int type_parse(const char *type, unsigned int *typesp)
{
	if (!type)
		*typesp = 0;
	else if (strcmp(type, "idle") == 0)
		*typesp = ZR_SWEEP_IDLE;
	else if (strcmp(type, "huge") == 0)
		*typesp = ZR_SWEEP_HUGE;
	else if (strcmp(type, "huge_idle") == 0)
		*typesp = ZR_SWEEP_HUGE | ZR_SWEEP_IDLE;
	else
		return -EINVAL;
	return 0;
}

static int request_parse(const struct zr_attrs *attrs, const char *text,
			 struct zr_recompress_request *request)
{
	struct words words;
	int number;

	*request = (struct zr_recompress_request){ .first_priority = 1,
						   .last_priority = ZR_RECOMP_MAX };
	if (words_parse(&words, text, strlen(text), WORD_RUN) < 0 ||
	    type_parse(words.type, &request->types) < 0)
		return -EINVAL;
	request->threshold = (uint32_t)words.threshold;
	request->max_pages = words.max_pages;
	if (words.priority == UINT32_MAX && !words.algorithm)
		return 0;

	number = number_find(attrs, &words, 1);
	if (number < 0)
		return number;
	request->first_priority = request->last_priority = (unsigned int)number;
	return 0;
}

int zr_attr_recompress_apply(const struct zr_attr_target *target, const char *text)
{
	struct zr_recompress_request request;
	struct zr_recompress_result result;
	struct zr_attrs attrs;
	int r;

	zr_disk_attrs(target->disk, &attrs);
	r = request_parse(&attrs, text, &request);
	if (r < 0)
		return r;
	return zr_recompress_run(target->disk, target->ctx, &target->stop, &request, &result);
}
