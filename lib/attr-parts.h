#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Attribute parts: what the files of the table share
 *
 *   attr-set.c      what is set, in the configuration or below .control/
 *   attr-recomp.c   codecs in words, and recompression
 *   attr-kernel.c   the other files of /sys/block/zram<N>
 *   attr-ours.c     figures that the kernel's zram has not
 *   attr-daemon.c   of the daemon
 *   attr-back.c     of the backing file
 *   attr-policy.c   what is done by itself
 *   attr-line.c     a line of hot_add
 *
 * Ownership: as attr.h.
 * Locking:   as attr.h.
 * Errors:    as attr.h.
 * Cost:      as attr.h.
 */

#include <stdio.h>

#include "attr.h"

/* Each ends with a row without a name. */
extern const struct zr_attr zr_attrs_set[];
extern const struct zr_attr zr_attrs_kernel[];
extern const struct zr_attr zr_attrs_ours[];
extern const struct zr_attr zr_attrs_daemon[];
extern const struct zr_attr zr_attrs_back[];
extern const struct zr_attr zr_attrs_policy[];

/* Digits of @base and nothing else. Return: 0, -EINVAL or -ERANGE. */
int zr_attr_parse_number(const char *text, int base, uint64_t max, uint64_t *numberp);

/* Of memory, in whole pages; 0 is none. @ram_bytes: what a percentage is of. Return: 0, -EINVAL or
 * -ERANGE. */
int zr_attr_parse_limit(const char *text, uint64_t ram_bytes, uint64_t *limit_bytesp);

/* A number with a sign. Return: 0, -EINVAL or -ERANGE. */
int zr_attr_parse_level(const char *text, int32_t *levelp);

/* What a disk is set to changes to what @parse makes of it. @only_empty: as zr_disk_change_attrs().
 * Return: also -EINVAL. */
int zr_attr_change(const struct zr_attr_target *target, bool only_empty,
		   int (*parse)(struct zr_disk_spec *spec, const char *text), const char *text);

/* The same for what holds when a backing file is opened: -EBUSY while the disk has a size, or such a
 * file. */
int zr_attr_change_unbacked(const struct zr_attr_target *target,
			    int (*parse)(struct zr_disk_spec *spec, const char *text),
			    const char *text);

/* What the kernel's kstrtoull() reads: a plus sign too. Return: as zr_attr_parse_number(). */
int zr_attr_parse_kernel_number(const char *text, uint64_t max, uint64_t *numberp);

/* The kernel's line of all algorithms, one of them in brackets. Return: its length. */
int zr_attr_print_algorithms(char *text, size_t n_text, const struct zr_codec_params *chosen);

/* For the rows of algorithm_params, recomp_algorithm and recompress. */
int zr_attr_algorithm_params_parse(struct zr_disk_spec *spec, const char *text);
void zr_attr_algorithm_params_print(const struct zr_disk_spec *spec, char *text, size_t n_text);
int zr_attr_algorithm_params_apply(const struct zr_attr_target *target, const char *text);
int zr_attr_recomp_parse(struct zr_disk_spec *spec, const char *text);
void zr_attr_recomp_print(const struct zr_disk_spec *spec, char *text, size_t n_text);
int zr_attr_recomp_check(const char *text);
int zr_attr_recomp_apply(const struct zr_attr_target *target, const char *text);
int zr_attr_recomp_show(const struct zr_attr_target *target, char *text, size_t n_text);
int zr_attr_recompress_apply(const struct zr_attr_target *target, const char *text);

/* Text that grows; what does not fit is an error of the caller's room. */
struct zr_attr_lines {
	char *text;
	size_t n_text, at;
};

__attribute__((format(printf, 2, 3))) void zr_attr_say(struct zr_attr_lines *lines,
						       const char *format, ...);

/* The row of a number: what it parses is given, and how it is changed. */
#define ZR_ATTR_NUMBER(name, member, format, parse_expression, change)                         \
	static int name##_parse(struct zr_disk_spec *spec, const char *text)                   \
	{                                                                                      \
		return parse_expression;                                                       \
	}                                                                                      \
                                                                                               \
	static void name##_print(const struct zr_disk_spec *spec, char *text, size_t n_text)   \
	{                                                                                      \
		snprintf(text, n_text, "%" format, spec->attrs.member);                        \
	}                                                                                      \
                                                                                               \
	static int name##_apply(const struct zr_attr_target *target, const char *text)         \
	{                                                                                      \
		return change(target, name##_parse, text);                                     \
	}                                                                                      \
                                                                                               \
	static int name##_show(const struct zr_attr_target *target, char *text, size_t n_text) \
	{                                                                                      \
		struct zr_attrs attrs;                                                         \
                                                                                               \
		zr_disk_attrs(target->disk, &attrs);                                           \
		return snprintf(text, n_text, "%" format "\n", attrs.member);                  \
	}
