#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pool: the allocator of the store
 *
 * Stores objects of 1..4096 bytes in cells of 16-byte classes. Cells lie side by side in spans of
 * one MiB of offsets, whose memory comes from the start as far as it is needed; so there are no
 * tails. Objects are named by position, never by address, and can be moved: a pass empties the
 * spans or ends of spans whose objects fit into free cells elsewhere (zr_pool_vacate_*), and their
 * memory goes back. Cells of whole pages are not moved: their memory goes back page by page.
 *
 * Who serves neither populates nor punches: it takes what is available and says what will be wanted
 * (zr_pool_tend()). A cell of a class that has none to give is borrowed from the next larger ones.
 *
 * What is in use is not written down anywhere: it is what the slots refer to, and after a death it
 * is derived from them (zr_pool_derive_*). Of the pool itself the store knows only which class a
 * span is of.
 *
 * Ownership: a position belongs to whoever allocated it, until they free it.
 * Locking:   every call locks for itself, at rank CLASS, and at rank GROW what changes memory.
 *            Callers may hold anything above that. Derivation is single-threaded.
 * Errors:    -ENOMEM when the kernel refuses memory or the offsets are used up; -EAGAIN when memory
 *            is on its way. The pool is then as it was before the call.
 * Cost:      allocate and free are one lock and a search for a bit; two bits a cell of private
 *            memory, 0.02 %.
 */

#include <semaphore.h>

#include "arena.h"
#include "slot.h"
#include "span.h"
#include "sync.h"

/* Cells of 16, 32, ... ZR_CELL_BYTES_MAX bytes, and of whole pages. */
#define ZR_CELL_BYTES_MAX  3840u
#define ZR_POOL_CLASSES    (ZR_CELL_BYTES_MAX / ZR_CELL_UNIT + 1)
#define ZR_POOL_PAGE_CLASS (ZR_POOL_CLASSES - 1)

/* Free memory kept populated in a class that is in use: at least that much. */
#define ZR_POOL_AHEAD_MIN       4096u
/* Of whole pages as many as a write to a new place needs, four nodes and the page, and some. */
#define ZR_POOL_AHEAD_MIN_PAGES 8u

struct zr_class {
	struct zr_mutex lock;
	/* protected by lock */
	uint32_t first[ZR_SPAN_LISTS], last[ZR_SPAN_LISTS]; /* spans, by span->list */
	uint64_t n_live;
	uint64_t borrowed_bytes; /* what its objects would not need in cells of their own class */
	/* changed under lock */
	_Atomic uint32_t xn_avail; /* cells to give */
	_Atomic bool xshort;       /* somebody got none: it is to grow whatever it has by then */
	/* changed under the pool's grow */
	_Atomic uint32_t xahead_bytes; /* what is kept to give: follows the rate of growth */
	_Atomic uint32_t xlow;         /* cells; with no more, more is wanted: half of that */
	/* protected by the pool's grow */
	uint32_t gaps;    /* spans with memory absent */
	uint32_t n_spans; /* all it has */
	int64_t grown_ns;
	unsigned int n_victims; /* of its spans */
	bool vacating;          /* they are being emptied: no growth cancelled that */
	/* constant */
	uint32_t cell_bytes;
	uint32_t n_cells;    /* in a span */
	uint32_t reciprocal; /* of cell_bytes: 2^32 / it, rounded up */
};

/* What the pool holds, in bytes. span = live + free + partly populated cells at ends */
struct zr_pool_usage {
	uint64_t span_bytes;     /* populated in spans */
	uint64_t live_bytes;     /* cells in use */
	uint64_t borrowed_bytes; /* of these, for the want of smaller cells */
	uint64_t reserve_bytes;  /* free cells that are kept for what comes next */
	uint64_t wasted_bytes;   /* free cells beyond that, which moving objects could give back */
	uint64_t table_bytes;    /* the span table's memory */
};

struct zr_pool {
	struct zr_arena *arena;
	struct zr_superblock *superblock; /* in the store */
	_Atomic uint8_t *table;           /* in the store: the class of each span plus 1 */
	uint64_t spans_offset;
	uint32_t n_spans; /* offsets there are */

	struct zr_span **spans;          /* n_spans entries, sparse */
	_Atomic uint32_t *xvacated_from; /* of each span: unit plus 1 from which on it is emptied */

	struct zr_class classes[ZR_POOL_CLASSES];

	/* Which classes run low. Set by whoever allocates. */
	_Atomic uint64_t xwanted[(ZR_POOL_CLASSES + 63) / 64];
	_Atomic bool xtended;        /* somebody else grows the pool: allocating never does */
	_Atomic int64_t xtended_ns;  /* since when */
	_Atomic bool xwoken;         /* they were told */
	_Atomic int64_t xrefused_ns; /* when the kernel left a class without; 0: not lately */
	sem_t wake;

	/* Who waits for memory holds nothing else. */
	pthread_mutex_t wait_lock;
	pthread_cond_t waited_for;
	_Atomic uint64_t xgeneration; /* changed under wait_lock: how often memory came */

	struct zr_mutex grow;
	/* protected by grow */
	uint32_t number_hint; /* no span number below it is free */
	uint32_t victims;     /* spans being emptied */
	/* changed under grow */
	_Atomic uint64_t xspan_bytes;
};

/* @pool is zeroed; @arena stays the caller's, outlives it, and has a superblock. Everything is
 * free, until derived. */
int zr_pool_init(struct zr_pool *pool, struct zr_arena *arena);
void zr_pool_deinit(struct zr_pool *pool);

/* Return: 0, -ENOMEM, and where the pool is tended -EAGAIN: wait and try again. */
int zr_pool_alloc(struct zr_pool *pool, uint32_t n_bytes, zr_position *positionp);
void zr_pool_free(struct zr_pool *pool, zr_position position, uint32_t n_bytes);

/* A cell for a copy of the object, outside what is being emptied. Return: 0 or -ENOSPC. */
int zr_pool_alloc_again(struct zr_pool *pool, zr_position position, uint32_t n_bytes,
			zr_position *positionp);

static inline void *zr_pool_at(const struct zr_pool *pool, zr_position position)
{
	return zr_arena_at(pool->arena, position * ZR_CELL_UNIT);
}

static inline unsigned int zr_pool_class_of(uint32_t n_bytes)
{
	ZR_ASSERT(n_bytes >= 1 && n_bytes <= ZR_PAGE_SIZE);
	return n_bytes > ZR_CELL_BYTES_MAX ? ZR_POOL_PAGE_CLASS : (n_bytes - 1) / ZR_CELL_UNIT;
}

/* What an object of @n_bytes takes from a limit: a cell of its own class. */
static inline uint32_t zr_pool_cell_bytes(uint32_t n_bytes)
{
	return n_bytes > ZR_CELL_BYTES_MAX ? ZR_PAGE_SIZE
					   : (uint32_t)zr_align_up(n_bytes, ZR_CELL_UNIT);
}

struct zr_pool_usage zr_pool_usage(struct zr_pool *pool);

/* memory: what the pool has, and how it comes and goes */

/* From now on somebody calls zr_pool_refill() whenever @wake is posted, or nobody does. Whoever
 * waits is told. */
void zr_pool_tend(struct zr_pool *pool, bool tended);

/* Did that begin within the last second? What is kept ahead does not follow the rate yet. */
bool zr_pool_is_new(const struct zr_pool *pool);

/* Populate what is wanted. Return: 0 or -ENOMEM. */
int zr_pool_refill(struct zr_pool *pool);

/* How often memory came. Ask before an allocation that may have to be waited for. */
uint64_t zr_pool_generation(const struct zr_pool *pool);

/* Wait until memory came once more, by CLOCK_MONOTONIC. The caller holds no lock of the engine.
 * Return: false at the deadline. */
bool zr_pool_wait(struct zr_pool *pool, uint64_t generation, int64_t deadline_ns);

/* Map here what memory the span has, if there is such a span: see zr_arena_fault_in(). It is added
 * to *n_bytesp. Return: 0 or -errno. */
int zr_pool_fault_in(struct zr_pool *pool, uint32_t span_no, uint64_t *n_bytesp);

/* Give back what is free beyond what is kept ahead, where no object is in the way. A class that did
 * not grow for @quiet_ns keeps the least; nothing, if it has no object.
 * Return: bytes that went. */
uint64_t zr_pool_trim(struct zr_pool *pool, int64_t quiet_ns);

/* moving: begin, move every object that lies in what is being emptied, end. One at a time. */

/* Return: how many objects there are to move. */
uint64_t zr_pool_vacate_begin(struct zr_pool *pool);

/* One span more: what is empty goes. Adds the bytes to *n_bytesp. Return: are there more? */
bool zr_pool_vacate_end(struct zr_pool *pool, uint64_t *n_bytesp);

/* A hint: true for what is to be moved. */
static inline bool zr_pool_is_vacated(const struct zr_pool *pool, zr_position position)
{
	const uint64_t at = position * ZR_CELL_UNIT - pool->spans_offset;
	const uint32_t from = atomic_load_explicit(&pool->xvacated_from[at >> ZR_SPAN_SHIFT],
						   memory_order_relaxed);

	return from != 0 && (at & (ZR_SPAN_BYTES - 1)) / ZR_CELL_UNIT >= from - 1;
}

/* Rebuild what is in use: begin, mark every object once, end. Memory nobody marked goes back then,
 * and nothing is changed before. An object is marked before it is read.
 * Return: 0, -ENOMEM, -EINVAL for a table or a position that cannot be, or has no memory. */
int zr_pool_derive_begin(struct zr_pool *pool);
int zr_pool_derive_mark(struct zr_pool *pool, zr_position position, uint32_t n_bytes);
void zr_pool_derive_end(struct zr_pool *pool);

/* Check the equations of all spans. Nobody else may be using the pool.
 * Return: bytes of the cells in use, less what is borrowed. */
uint64_t zr_pool_validate(struct zr_pool *pool);
