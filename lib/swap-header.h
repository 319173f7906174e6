#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Swap header: what mkswap(8) writes
 *
 * The first page of a swap area, for the system's page size, so that swapon works with no mkswap,
 * as on ramzswap.
 *
 * Ownership: the caller's struct.
 * Locking:   none.
 * Errors:    -EINVAL for an area of less than ten system pages, and for what is no header.
 * Cost:      64 KiB of the caller's memory.
 */

#include "base.h"
#include "layout.h"

#define ZR_SWAP_PAGES_MIN  10u
#define ZR_SWAP_HEADER_MAX 65536u

struct zr_swap_header {
	uint32_t n_bytes; /* a system page */
	uint8_t bytes[ZR_SWAP_HEADER_MAX];
};

/* What a header says. */
struct zr_swap_area {
	uint64_t size_bytes; /* with the header */
	char label[ZR_LABEL_MAX + 1];
	uint8_t uuid[16];
};

/* The header of an area that is there, of header->n_bytes, a system page. Return: 0, or -EINVAL and
 * in *whyp what is wrong with it. */
int zr_swap_header_read(const struct zr_swap_header *header, struct zr_swap_area *area,
			const char **whyp);

/* @uuid all zero: a random one (RFC 4122 version 4). */
int zr_swap_header_make(struct zr_swap_header *header, uint64_t size_bytes,
			const char label[ZR_LABEL_MAX + 1], const uint8_t uuid[16]);
