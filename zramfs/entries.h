#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Entries: the memory that requests pass through on their way over io_uring
 *
 * One for each request that a queue may have in hand, and a queue for each processor that may come
 * to be; of one that is not there now, one entry. All of it is one memfd, which lies at the same
 * address in each generation: the kernel knows the addresses from the first one, so that the next
 * can answer, and go on with, what this one leaves.
 *
 *   0                 struct entries_head, with a slot for each entry
 *   then, for each    a page, whose beginning is the kernel's (struct uring_head); its end is where
 *                       a request is put together
 *                     the payload
 *
 * A request lies in one piece, as it would have been read from /dev/fuse: header and arguments are
 * copied to just before the payload. So whoever serves it need not know which way it came, and the
 * payload is not copied.
 *
 * Ownership: the descriptor is the caller's; what is mapped lasts until entries_unmap().
 * Locking:   slots are atomic. An entry is whoever's its state says.
 * Errors:    -ENOMEM, -EPROTONOSUPPORT for those of another version, -EEXIST where something else
 *            lies at their address.
 * Cost:      n_bytes, resident in all processes together.
 */

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "uring-abi.h"

#define ENTRIES_VERSION 1u

/* The largest request or reply. Must be what FUSE_INIT agrees on, as max_write. */
#ifndef ENTRIES_PAYLOAD_BYTES
#define ENTRIES_PAYLOAD_BYTES (256u << 10)
#endif

#define ENTRIES_DEPTH_MAX 1024u

enum entry_state {
	ENTRY_NEW = 0,   /* the kernel does not know it */
	ENTRY_FETCHING,  /* the kernel has it, for the next request */
	ENTRY_TAKEN,     /* a request is in hand */
	ENTRY_ANSWERING, /* one thread writes the answer */
	ENTRY_ANSWERED,  /* the kernel is to be told */
	ENTRY_LEFT,      /* a request that the next generation is to answer */
	ENTRY_GONE,      /* the mount is */
};

struct entry_slot {
	_Atomic uint32_t state; /* enum entry_state */
	uint32_t queue;
	_Atomic uint64_t unique; /* of the request in hand; 0: none */
};

struct entries_head {
	uint32_t version; /* ENTRIES_VERSION */
	uint32_t n_entries, n_queues, n_payload, depth;
	uint32_t unused;
	uint64_t address, n_bytes;
	/* A worker has begun to serve and did not leave all in order: nobody can follow it. */
	_Atomic uint32_t is_live;
	/* It cannot, either, since it may not run on each processor that is there. */
	_Atomic uint32_t cannot_leave;
	struct entry_slot slots[];
};

/* What they will take. */
struct entries_plan {
	unsigned int n_queues, n_online, n_entries, depth;
	size_t n_payload;
	uint64_t n_bytes;
};

/* @depth: entries of each queue. Return: 0; -ERANGE for more than can be counted. */
int entries_plan(struct entries_plan *plan, const cpu_set_t *possible, const cpu_set_t *online,
		 unsigned int depth, size_t n_payload);

/* Return: a descriptor, or -errno. */
int entries_make(const struct entries_plan *plan, const cpu_set_t *online);

/* All of them, populated. */
int entries_map(struct entries_head **headp, int fd);
struct entries_head *entries_unmap(struct entries_head *head);

/* The head alone, for who looks on. NULL: it cannot. */
struct entries_head *entries_look(int fd);

/* Return: 0 or -errno. */
int entries_lock(struct entries_head *head);

struct uring_head *entry_head(struct entries_head *head, unsigned int i);
uint8_t *entry_payload(struct entries_head *head, unsigned int i);

/* Put the request together that the kernel has put there. Return: bytes; 0 if it is none. */
size_t entry_request(struct entries_head *head, unsigned int i, const uint8_t **requestp);

/* Put an answer there, as it would be written to /dev/fuse. What lies in the payload already stays
 * where it is. Return: 0; -EMSGSIZE, and nothing was done. */
int entry_answer(struct entries_head *head, unsigned int i, const struct iovec *parts,
		 unsigned int n_parts);
