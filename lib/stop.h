#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Stop: how long work learns that nobody wants it any more
 *
 * Ownership: the caller's.
 * Locking:   is_wanted is called with no lock held.
 * Errors:    none.
 * Cost:      the caller's function, every millisecond or so.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A NULL pointer, or a NULL function: it goes on to its end. */
struct zr_stop {
	bool (*is_wanted)(void *context);
	void *context;
};

static inline bool zr_stop_is_wanted(const struct zr_stop *stop)
{
	return stop && stop->is_wanted && stop->is_wanted(stop->context);
}

/* The same for whoever can ask more often than is worth it: every millisecond, and the first time.
 * *asked_nsp begins with 0. */
static inline bool zr_stop_is_wanted_at(const struct zr_stop *stop, int64_t now_ns,
					int64_t *asked_nsp)
{
	if (*asked_nsp != 0 && now_ns - *asked_nsp < 1000000)
		return false;
	*asked_nsp = now_ns;
	return zr_stop_is_wanted(stop);
}
