#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Spec: what is asked for, before it exists
 *
 * What a section of the configuration comes to, or a line written to hot_add: a disk that is to be
 * made, or the daemon as a whole.
 *
 * Ownership: plain values.
 * Locking:   none.
 * Errors:    -EINVAL.
 * Cost:      a few hundred bytes each.
 */

#include "layout.h"

/* Threads that serve disks. */
#define ZR_THREADS_MAX 64u

/* Seconds without progress after which a worker is killed. */
#define ZR_WATCHDOG_MAX     3600u
#define ZR_WATCHDOG_DEFAULT 10u

/* Microseconds that who waits for a request looks for it before it sleeps. */
#define ZR_POLL_US_MAX     1000u
#define ZR_POLL_US_DEFAULT 200u

/* Percent of a core that is taken for what disks want done by themselves. */
#define ZR_POLICY_CPU_MAX     100u
#define ZR_POLICY_CPU_DEFAULT 5u

/* Which way requests come from the kernel. */
enum zr_transport {
	ZR_TRANSPORT_CLASSIC,
	ZR_TRANSPORT_IO_URING,
};

/* Requests that each processor may have under way over io_uring. */
#define ZR_URING_DEPTH_MAX     1024u
#define ZR_URING_DEPTH_DEFAULT 32u

/* Of a disk that nobody configured. The first is the kernel's word, and as many as make large
 * requests of what compresses well. */
#define ZR_WRITEBACK_BATCH_SIZE_DEFAULT 128u
#define ZR_WRITEBACK_AT_DEFAULT         90u

struct zr_disk_spec {
	uint64_t ram_bytes; /* what a percentage is of; 0: percentages are refused */
	uint64_t disksize_bytes;
	struct zr_attrs attrs; /* the name is the caller's to set */
	/* Which file attrs.backing_id is to be the number of; empty: none. Who makes the disk opens
	 * it before. */
	char backing_dev[ZR_BACKING_PATH_MAX + 1];
};

struct zr_daemon_spec {
	uint64_t ram_bytes;       /* as above */
	uint64_t mem_limit_bytes; /* of all disks together; 0: none */
	unsigned int n_threads;   /* 0: one for each core */
	uint32_t watchdog_s;      /* 0: none */
	uint32_t poll_us;         /* 0: none */
	uint32_t policy_cpu;      /* percent of a core; 0: policies rest */
	enum zr_transport transport;
	uint32_t uring_depth;
};

/* What a disk is that nobody configured: size 0, lz4, no limit, 0600. The owner is the caller's to
 * set. */
void zr_disk_spec_init(struct zr_disk_spec *spec, uint64_t ram_bytes);

/* What the daemon is that nobody configured. */
void zr_daemon_spec_init(struct zr_daemon_spec *spec, uint64_t ram_bytes);

/* Is this a name for a disk? Return: 0, or -EINVAL; *whyp then says what is wrong with it. */
int zr_disk_name_check(const char *name, const char **whyp);
