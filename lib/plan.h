#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Plan: what is done for a disk by itself, and what comes next
 *
 * Ownership: embedded in a disk; it dies with the process, and whoever follows makes another.
 * Locking:   one thread follows it (policy.h). What others may ask is atomic, each word by itself.
 * Errors:    none.
 * Cost:      400 bytes a disk.
 */

#include "ages.h"

enum zr_deed {
	ZR_DEED_NONE,
	ZR_DEED_LOOK, /* at ages */
	ZR_DEED_RECOMPRESS,
	ZR_DEED_WRITE_BACK,
	ZR_DEED_COMPACT,
};

/* Why it is not done now. */
enum zr_delay {
	ZR_DELAY_NONE,   /* it is */
	ZR_DELAY_TIME,   /* there is nothing to do until then */
	ZR_DELAY_BUSY,   /* the disk is used, and memory is not short */
	ZR_DELAY_RATE,   /* it is being found out whether the disk is busy */
	ZR_DELAY_CPU,    /* policy_cpu is spent */
	ZR_DELAY_OFF,    /* policy_cpu is 0 */
	ZR_DELAY_BUDGET, /* of the day */
	ZR_DELAY_LIMIT,  /* writeback_limit */
	ZR_DELAY_FILE,   /* it refused */
	ZR_DELAY_MEMORY, /* there is none to compress into */
};

struct zr_plan {
	/* of the thread */
	struct zr_ages_seen seen; /* by the look that is under way */
	bool recompresses;        /* a pass is under way, or wanted */
	bool writes_back;
	bool compacts;
	uint64_t recompress_at; /* page that is next */
	uint64_t write_back_at;
	int64_t compact_look_ns; /* not before */
	int64_t file_again_ns;   /* it refused: not before */
	uint64_t n_pages_then;   /* read and written */
	int64_t counted_ns;      /* when it was so */
	/* asked by others */
	_Atomic uint32_t xlast; /* enum zr_deed, but for looks at ages */
	_Atomic int64_t xlast_ns;
	_Atomic uint64_t xlast_pages;
	_Atomic uint32_t xnext;  /* enum zr_deed */
	_Atomic uint32_t xdelay; /* enum zr_delay */
	_Atomic int64_t xnext_ns;
	_Atomic int64_t xrate;     /* pages a second; -1: not known */
	_Atomic int32_t xpressure; /* hundredths of percent; -1: not known */
	_Atomic bool xis_short;
	_Atomic int xfile_error;
	_Atomic uint64_t xin_bucket[ZR_AGE_BUCKETS]; /* of the last look that ended */
	_Atomic uint32_t xoldest_from; /* what is that old goes to the file first; 0: not known */
};
