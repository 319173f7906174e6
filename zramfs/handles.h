#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Handles: who has what open
 *
 * Numbers that the kernel gives back with each request on an open file. What must outlive a worker
 * is in the store: which node is open, and who opened it. What need not is beside it in private
 * memory: the disk, found again by its id; the text of a virtual file, which dies with its worker
 * and is rendered again when it is read from its beginning.
 *
 * A number is a place in the table and a serial that is never used again. So a RELEASE that is
 * served a second time finds another serial, or none, and has nothing to do; and an OPEN that is
 * served a second time finds its handle by the number of its request.
 *
 * In use means: a handle open by somebody else than the caller, whose own is the one that its
 * request came with, if any. What must not happen to a disk in use claims it first. A RELEASE may
 * be on its way (the kernel does not wait for it), so a claim waits for a moment before it is
 * refused; who opens a claimed disk waits until the claim ends. A claim dies with its worker.
 *
 * A worker may die between an OPEN and its answer, and who asked be killed before the kernel sends
 * it again. Then nobody knows of the handle, and nobody will release it. From here it looks like one
 * whose answer had arrived, and which a swap device may be using: so it counts as in use for as long
 * as the mount lasts.
 *
 * Ownership: a handle owns its pin of the disk, its text and its stream.
 * Locking:   one mutex of its own, never held across work, nor while memory is asked for; another
 *            for making room, under which the engine's may be taken. handles_get() takes none: the
 *            kernel uses a number only between its open and its release.
 * Errors:    -EAGAIN, -EBUSY, -ENFILE, -ENOMEM, -ESTALE.
 * Cost:      32 bytes in the store each. Opening scans from the lowest number that may be free on;
 *            finding one by its request looks at all.
 */

#include <pthread.h>

#include "shelf.h"
#include "store.h"
#include "stream.h"

/* In the store. */
struct handle_slot {
	_Atomic uint64_t node; /* 0: free. Stored last when it is opened, first when it is closed */
	uint64_t fh;
	uint64_t opened_by; /* unique of the OPEN or CREATE */
	uint32_t uid;       /* who opened it */
	uint32_t n_text;    /* of a virtual file: who has read that much needs no text */
};

_Static_assert(sizeof(struct handle_slot) == 32, "slots do not cross pages");

/* A number: serial << HANDLES_INDEX_BITS | place */
#define HANDLES_INDEX_BITS  20
#define HANDLES_CHUNK_BYTES 4096u
#define HANDLES_CHUNK       128u /* slots of a chunk */
#define HANDLES_CHUNKS      4096u

/* Of a stream, whose end nobody knows. */
#define HANDLES_TEXT_UNKNOWN UINT32_MAX

/* In private memory. */
struct handle {
	uint64_t node; /* 0: free */
	uint64_t fh;
	struct zr_disk *disk;  /* pinned; NULL for a virtual file, and for a disk that is gone */
	char *text;            /* of a virtual file, or NULL */
	size_t n_text;         /* also of one that is lost */
	struct stream *stream; /* of a virtual file that is read as it is made, or NULL */
	_Atomic bool is_lost;  /* of a former generation: what was rendered is gone */
	uint32_t uid;
	uint64_t opened_by;
};

/* What virtual files that are open may cost in all, in bytes: text is kept until they are closed.
 * Of that, whoever neither mounted this nor is root may fill a quarter, so that nobody can take the
 * memory of the daemon, nor all numbers, by opening what everybody may read. */
#define HANDLES_VIRTUAL_MAX (UINT64_C(64) << 20)

struct handles {
	struct zr_store *store;
	struct shelf *shelf;
	pthread_mutex_t grow; /* above lock; held while memory is asked for */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* something was closed, or a claim ended */
	/* changed under grow and lock; a chunk is published whole, and never moves */
	struct handle *_Atomic chunks[HANDLES_CHUNKS];
	uint64_t n_chunks;
	/* protected by lock */
	uint64_t next;          /* no place below is free */
	uint64_t virtual_bytes; /* of virtual files that are open */
	struct {
		unsigned int n_open; /* handles on the disk with that entry number */
		bool claimed;
	} disks[ZR_DISKS_MAX];
};

/* All that former generations had open is open again. */
int handles_init(struct handles *handles, struct zr_store *store, struct shelf *shelf);

/* @keep: what is open stays so in the store, for the next generation. */
void handles_deinit(struct handles *handles, bool keep);

/* What is done about a disk that is claimed. */
enum handles_claimed {
	HANDLES_WAIT,    /* wait until it is no more */
	HANDLES_AT_ONCE, /* -EAGAIN */
	HANDLES_CLAIMED, /* the claim is the caller's, or of somebody who will look again */
};

/* On success the pin of @disk is the handle's. @opened_by: the number of the request, @uid: whose
 * it is. */
int handles_open_disk(struct handles *handles, struct zr_disk *disk, enum handles_claimed how,
		      uint64_t opened_by, uint32_t uid, uint64_t *fhp);

/* On success what @wanted, a virtual file's, has is the handle's. @trusted: for root, or who
 * mounted. Return: also -ENFILE past what they may cost. */
int handles_open_virtual(struct handles *handles, const struct handle *wanted, bool trusted,
			 uint64_t *fhp);

/* Give a virtual file of a former generation what was rendered again: what @rendered has is the
 * handle's then, or nobody's if somebody else was faster. Return: also -ENFILE, as above, or
 * -ESTALE for a number that is not open. */
int handles_restore(struct handles *handles, uint64_t fh, const struct handle *rendered,
		    bool trusted);

/* The handle that request @opened_by opened, in this generation or before. Return: false: none. */
bool handles_find(struct handles *handles, uint64_t opened_by, uint64_t *fhp);

/* A number that is no longer open: nothing to do. */
void handles_close(struct handles *handles, uint64_t fh);

/* NULL for a number that is not open. */
struct handle *handles_get(struct handles *handles, uint64_t fh);

/* Keep others from opening @disk, which has no more than @n_own handles. Return: 0, or -EBUSY. */
int handles_claim(struct handles *handles, struct zr_disk *disk, unsigned int n_own);
void handles_unclaim(struct handles *handles, struct zr_disk *disk);

/* Handles open on @disk; or on the disk with that entry number. */
unsigned int handles_count(struct handles *handles, const struct zr_disk *disk);
unsigned int handles_count_entry(struct handles *handles, unsigned int entry_no);
