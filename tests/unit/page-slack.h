#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What cannot be given back where a page of the system is more than a page of a disk.
 */

#include "pool.h"
#include "system.h"

/* Free cells of whole pages that cannot go, since another one is in the same page of the system, and
 * these cells are not moved. */
static inline uint64_t pool_page_slack(const struct zr_pool *of)
{
	const uint32_t step = zr_system_page_bytes() / ZR_PAGE_SIZE;
	const uint64_t n_spans = atomic_load(&of->superblock->n_spans);
	uint64_t n_bytes = 0;
	uint32_t i, page, n;

	/* Nor are spans to be looked at, which come and go where the pool is tended. */
	if (step == 1)
		return 0;
	for (i = 0; i < n_spans; ++i) {
		const struct zr_span *span = of->spans[i];

		if (!span || span->class_no != ZR_POOL_PAGE_CLASS)
			continue;
		for (page = 0, n = 0; page < span->n_cells; ++page) {
			n += zr_span_is_live(span, page);
			if ((page + 1) % step != 0)
				continue;
			n_bytes += n > 0 ? (uint64_t)(step - n) * ZR_PAGE_SIZE : 0;
			n = 0;
		}
	}
	return n_bytes;
}
