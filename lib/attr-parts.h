#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Attribute parts: what the files of the table share
 *
 *   attr-set.c      what is set, in the configuration or below .control/
 *   attr-kernel.c   the other files of /sys/block/zram<N>
 *   attr-ours.c     figures that the kernel's zram has not
 *   attr-daemon.c   of the daemon
 *   attr-line.c     a line of hot_add
 *
 * Ownership: as attr.h.
 * Locking:   as attr.h.
 * Errors:    as attr.h.
 * Cost:      as attr.h.
 */

#include "attr.h"

/* Each ends with a row without a name. */
extern const struct zr_attr zr_attrs_set[];
extern const struct zr_attr zr_attrs_kernel[];
extern const struct zr_attr zr_attrs_ours[];
extern const struct zr_attr zr_attrs_daemon[];

/* Digits of @base and nothing else. Return: 0, -EINVAL or -ERANGE. */
int zr_attr_parse_number(const char *text, int base, unsigned long max, unsigned long *numberp);

/* Of memory, in whole pages; 0 is none. @ram_bytes: what a percentage is of. Return: 0, -EINVAL or
 * -ERANGE. */
int zr_attr_parse_limit(const char *text, uint64_t ram_bytes, uint64_t *limit_bytesp);
