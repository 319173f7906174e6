#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Handles: who has what open
 *
 * Numbers that the kernel gives back with each request on an open file. A disk's handle holds the
 * disk; a virtual file's holds the text that was rendered when it was opened, or what is needed to
 * go on rendering.
 *
 * In use means: a handle open by somebody else than the caller, whose own is the one that its
 * request came with, if any. What must not happen to a disk in use claims it first. A RELEASE may
 * be on its way (the kernel does not wait for it), so a claim waits for a moment before it is
 * refused; who opens a claimed disk waits until the claim ends.
 *
 * Ownership: a handle owns its pin of the disk, its text and its stream.
 * Locking:   one mutex of its own, never held across work; handles_get() takes none: the kernel
 *            uses a number only between its open and its release.
 * Errors:    -EAGAIN, -EBUSY, -ENFILE, -ENOMEM.
 * Cost:      opening scans for a free number from the last one on.
 */

#include <pthread.h>

#include "store.h"
#include "stream.h"

struct handle {
	uint64_t node;        /* 0: free */
	struct zr_disk *disk; /* pinned; NULL for a virtual file */
	char *text;           /* of a virtual file, or NULL */
	size_t n_text;
	struct stream *stream; /* of a virtual file that is read as it is made, or NULL */
};

/* What virtual files that are open may cost in all, in bytes: text is kept until they are closed.
 * Of that, whoever neither mounted this nor is root may fill a quarter, so that nobody can take the
 * memory of the daemon, nor all numbers, by opening what everybody may read. */
#define HANDLES_VIRTUAL_MAX (UINT64_C(64) << 20)

#define HANDLES_CHUNK  256u
#define HANDLES_CHUNKS 4096u

struct handles {
	struct zr_store *store;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* something was closed, or a claim ended */
	/* protected by lock */
	struct handle *chunks[HANDLES_CHUNKS];
	uint64_t next;
	uint64_t virtual_bytes; /* of virtual files that are open */
	struct {
		unsigned int n_open; /* handles on the disk with that entry number */
		bool claimed;
	} disks[ZR_DISKS_MAX];
};

int handles_init(struct handles *handles, struct zr_store *store);
void handles_deinit(struct handles *handles);

/* What is done about a disk that is claimed. */
enum handles_claimed {
	HANDLES_WAIT,    /* wait until it is no more */
	HANDLES_AT_ONCE, /* -EAGAIN */
	HANDLES_CLAIMED, /* the claim is the caller's */
};

/* On success the pin of @disk is the handle's. */
int handles_open_disk(struct handles *handles, struct zr_disk *disk, enum handles_claimed how,
		      uint64_t *fhp);

/* On success what @wanted, a virtual file's, has is the handle's. @trusted: for root, or who
 * mounted. Return: also -ENFILE past what they may cost. */
int handles_open_virtual(struct handles *handles, const struct handle *wanted, bool trusted,
			 uint64_t *fhp);
void handles_close(struct handles *handles, uint64_t fh);
struct handle *handles_get(struct handles *handles, uint64_t fh);

/* Keep others from opening @disk, which has no more than @n_own handles. Return: 0, or -EBUSY. */
int handles_claim(struct handles *handles, struct zr_disk *disk, unsigned int n_own);
void handles_unclaim(struct handles *handles, struct zr_disk *disk);

/* Handles open on @disk; or on the disk with that entry number. */
unsigned int handles_count(struct handles *handles, const struct zr_disk *disk);
unsigned int handles_count_entry(struct handles *handles, unsigned int entry_no);
