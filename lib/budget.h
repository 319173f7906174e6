#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Budget: what of a disk may go to its backing file today
 *
 * Flash wears out by what is written to it. So what goes to the file by itself is counted for each
 * day, and policies and spill_above end when writeback_daily is reached. What has to go at a limit
 * goes all the same, and counts. A day is one of CLOCK_BOOTTIME: 24 hours from when the system
 * started, asleep or not.
 *
 * Ownership: the words are the disk's entry's, and outlive a process: what was written when it died
 *            is not counted, a batch at most.
 * Locking:   none; one thread notes.
 * Errors:    none.
 * Cost:      none.
 */

#include "layout.h"

/* Nanoseconds of CLOCK_BOOTTIME. */
int64_t zr_boot_ns(void);

/* Bytes that were written so far that day. */
uint64_t zr_budget_used(const struct zr_entry *entry, int64_t boot_ns);

/* What is left of @daily_bytes, in whole blocks. UINT64_MAX where that is 0. */
uint64_t zr_budget_left(const struct zr_entry *entry, uint64_t daily_bytes, int64_t boot_ns);

void zr_budget_note(struct zr_entry *entry, uint64_t n_bytes, int64_t boot_ns);

/* For how long that day goes on. */
int64_t zr_budget_rest_ns(int64_t boot_ns);
