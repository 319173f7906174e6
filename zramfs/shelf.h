#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Shelf: what the daemon keeps in the store
 *
 * What is here outlives a worker, as disks do: how the kernel was answered when it was mounted,
 * which operations are under way, who has what open. The keeper maps the beginning of it too, to
 * see whether the worker makes progress. Whoever serves has a lock of the whole file.
 *
 *   0                struct shelf
 *   SHELF_HANDLES    handles (handles.h), as many pages as were ever needed
 *
 * Ownership: the store's; whoever serves is the only one who changes it, but for what is said.
 * Locking:   words marked atomic are read by others at any time. Records and handles have the locks
 *            of records.h and handles.h, which die with the process.
 * Errors:    -ENOMEM; -EPROTONOSUPPORT for a shelf of another version.
 * Cost:      SHELF_HANDLES bytes, and 32 for each file that is open.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base.h"

struct zr_store;

#define SHELF_VERSION 1u

/* A request that the kernel sends again says so in this bit of its number, and so must the answer.
 * Numbers are kept without it. Linux 6.9. */
#define SHELF_RESENT (UINT64_C(1) << 63)

/* A thread that serves requests has a seat: what it has in hand, and how many it has answered. A
 * death by a fault leaves there what may have caused it. One cache line. */
struct seat {
	_Atomic uint64_t unique; /* of the request in hand; 0: none */
	_Atomic uint64_t n_done;
	_Atomic uint64_t node; /* what it is about, for who is told */
	_Atomic uint32_t opcode;
	_Atomic uint32_t is_long; /* may take as long as it takes: no hang */
	uint8_t unused[32];
};

#define SHELF_SEATS 128u

/* What the kernel asked first and was told: each generation is told the same. */
#define SHELF_INIT_BYTES 256u

struct shelf_init {
	_Atomic uint32_t n_request; /* bytes; 0: it has not asked yet */
	_Atomic uint32_t n_reply;   /* bytes; 0: nothing was made up yet */
	uint8_t request[SHELF_INIT_BYTES];
	uint8_t reply[SHELF_INIT_BYTES];
};

/* An operation that must not be done twice (records.h). */
enum record_state {
	RECORD_FREE = 0,
	RECORD_BEGUN = 1,    /* its effect is under way */
	RECORD_ANSWERED = 2, /* its effect is complete, and may be known to who asked */
};

enum record_op {
	RECORD_MAKE = 1, /* disk_id comes to be */
	RECORD_REMOVE,   /* disk_id goes */
	RECORD_RENAME,   /* disk_id becomes name, in place of other_id if that is not 0 */
	RECORD_RESET,    /* disk_id is emptied, size and all */
	RECORD_TRUNCATE, /* disk_id shrinks to size_bytes; @fh, if any, was opened for it first */
	RECORD_DISKSIZE, /* disk_id, which had no size, gets size_bytes */
	RECORD_SET,      /* anything else of a control file: doing it twice is doing it once */
};

struct record {
	_Atomic uint32_t state; /* enum record_state: stored last */
	uint32_t op;            /* enum record_op */
	uint64_t unique;        /* of the request; 0: of none, as when the configuration is read */
	uint64_t disk_id;
	uint64_t other_id;
	uint64_t size_bytes;
	uint64_t fh;   /* of a file that was opened with it; 0: none */
	int32_t error; /* of the answer: 0 or an errno */
	uint32_t unused;
	char name[72];
};

#define SHELF_RECORDS 64u

#define SHELF_SUSPECTS SHELF_SEATS

#define SHELF_OPTIONS_MAX 1023u

struct shelf {
	_Atomic uint32_t version; /* SHELF_VERSION: stored last */
	/* what the keeper looks at */
	_Atomic uint32_t watchdog_s; /* 0: off */
	_Atomic uint64_t generation; /* that serves; 0: none has */
	_Atomic uint64_t worker_pid;
	struct seat seats[SHELF_SEATS];
	/* the worker's alone */
	struct shelf_init init;
	_Atomic uint64_t mount_device;      /* st_dev of the mount; 0: not known */
	_Atomic uint64_t next_serial;       /* of handles */
	_Atomic uint64_t poisoned_requests; /* answered with EIO because workers died of them */
	uint64_t suspects[SHELF_SUSPECTS];  /* in hand when a worker died of a fault last */
	_Atomic uint64_t poison[SHELF_SUSPECTS]; /* in hand at two such deaths in a row; 0: none */
	struct record records[SHELF_RECORDS];
	_Atomic uint32_t poll_us;    /* 0: who waits for a request sleeps at once */
	_Atomic uint32_t policy_cpu; /* percent of a core; 0: policies rest */
	_Atomic uint32_t n_disks;
	/* what was said with -o when it was mounted: the kernel was answered by that */
	char fuse_options[SHELF_OPTIONS_MAX + 1];
};

#define SHELF_HANDLES 32768u

_Static_assert(sizeof(struct seat) == 64, "a seat is a cache line");
_Static_assert(sizeof(struct shelf) <= SHELF_HANDLES, "handles begin behind it");

/* The shelf of @store, made if it is new. */
int shelf_get(struct shelf **shelfp, struct zr_store *store);

/* The same for who has the store's descriptor alone: the beginning, mapped. NULL: it cannot. */
struct shelf *shelf_map(int store_fd);

/* Which mount it is, and what was said with -o, NULL: nothing; noted by who mounted, and has the
 * store's descriptor alone. Return: 0, -EIO, or -E2BIG for more than there is room for. */
int shelf_note_mount(int store_fd, uint64_t mount_device, const char *fuse_options);

/* A worker died. If it was of a fault, what it had in hand is suspect; what was so the last time
 * too is poison. Seats are empty then. To be called before anything is served. Return: how many
 * requests were found to be poison now. */
unsigned int shelf_take_over(struct shelf *shelf, bool was_fault);

/* To serve: the store is this process's alone, until it ends. The kernel sees to that, by a lock of
 * the file, which goes when the process closes any descriptor of it. Return: 0; -EBUSY if another
 * process has it; what no lock can be had for is no obstacle. */
int shelf_claim(int store_fd);

/* Which process has it; 0: none. */
pid_t shelf_claimed_by(int store_fd);

/* Was it in hand when a worker died of a fault last? Who serves it again serves no other suspect
 * meanwhile, so that the next death tells which of them it was. */
bool shelf_is_suspect(const struct shelf *shelf, uint64_t unique);

/* Is the request with that number poison? It is asked once, and answered with EIO. */
bool shelf_take_poison(struct shelf *shelf, uint64_t unique);
