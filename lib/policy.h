#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Policy: what is done for disks by themselves, step by step
 *
 * Ages are looked at each interval, an eighth of the smallest age that is configured. After a look
 * the objects of recompress_age are recompressed, and those of writeback_age go to the file. Where
 * more than compact_at percent of the pool's memory are free cells, a pass of compaction begins.
 *
 * A step is some pages or leaves, a few milliseconds at most, so that who calls can do first what
 * somebody waits for. Together they take no more than cpu_percent of a core. Nothing but looks is
 * done while a disk is busy, unless memory is short: looks are what make ages true, and hold
 * nobody up for longer than a microsecond or two.
 *
 *   busy    more than 200 pages a second were read and written: someone waits for each, and 200 that
 *           come from elsewhere in the background are less than 1 % of a core
 *   short   who wants memory waited for it in a tenth of the last ten seconds, or more than
 *           writeback_at percent of mem_limit are used, or 90 percent of the limit of all disks
 *
 * Ownership: of one thread; the batch is the caller's, used within a step.
 * Locking:   callers hold none, and have the disk pinned. A step holds what batch.h,
 *            zr_disk_recompress() and ages.h say.
 * Errors:    what the file refuses is noted in the plan and tried again 10 s later.
 * Cost:      480 KiB for codecs. A look 1 us a leaf, 0.5 ms a GiB.
 */

#include "batch.h"
#include "spec.h"

/* What the engine cannot know of the system. NULL functions: not known, and 5 percent. */
struct zr_policy_host {
	void *context;
	/* Share of the last ten seconds in which somebody waited for memory, in hundredths of
	 * percent; negative: not known. */
	int (*pressure)(void *context);
	uint32_t (*cpu_percent)(void *context); /* 0: policies rest */
};

#define ZR_POLICY_NEVER INT64_MAX

/* One point in time, of both clocks. */
struct zr_moment {
	int64_t now_ns;  /* CLOCK_MONOTONIC: what passes while the system is awake */
	int64_t boot_ns; /* CLOCK_BOOTTIME */
};

struct zr_policy;

/* @host is copied. */
int zr_policy_new(struct zr_policy **policyp, const struct zr_policy_host *host,
		  struct zr_batch *batch);
struct zr_policy *zr_policy_free(struct zr_policy *policy);

/* How often ages are looked at; 0: none are kept. */
int64_t zr_policy_interval_ns(const struct zr_attrs *attrs);

/* Is there anything to be done for such a disk, ever? */
bool zr_policy_is_on(const struct zr_attrs *attrs);

/* Is memory short, for that disk? As of the last look at the system, a second ago at most. */
bool zr_policy_is_short(struct zr_policy *policy, struct zr_disk *disk, int64_t now_ns);

/* One step of what is to be done for the disk. Return: when to come again; now, if there is more. */
int64_t zr_policy_step(struct zr_policy *policy, struct zr_disk *disk,
		       const struct zr_moment *moment);
