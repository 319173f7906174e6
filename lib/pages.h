#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Pages: the whole pages of one disk
 *
 * Composes fill, codec, pool and slots: a page goes in and its slot points at it; a slot is looked
 * up and its page comes out. This is the only module that knows both what a page is and where bytes
 * go.
 *
 * Ownership: embedded in a disk; the engine is shared by all disks and outlives them.
 * Locking:   every call takes the stripes it needs. Callers hold the disk's shape, shared for what
 *            has one page or leaf in its name, exclusive for the rest; reading needs neither.
 * Errors:    -ENOSPC past a memory limit, -ENOMEM when the kernel refuses memory, -EAGAIN when it
 *            is on its way (zr_pool_wait()), -EINPROGRESS for a page that is on the backing file,
 *            when the context must not wait for it, -EIO for one that does not decode or cannot be
 *            read from there. What was there before is then still there.
 * Cost:      a write is one compression, one allocation, one copy; a read one decompression
 *            straight into the caller's page. For a moment a write holds both its objects, old and
 *            new.
 */

#include "backing.h"
#include "codec.h"
#include "layout.h"
#include "room.h"
#include "slots.h"
#include "stripes.h"

/* An object above this is not worth the time to decompress it: its cell saves less than a sixteenth
 * of the page. Pages that compress to more are huge and stored raw. */
#define ZR_OBJECT_USEFUL_MAX ZR_CELL_BYTES_MAX

struct zr_pages;

/* The pass that looks for objects to move; see compact.h. */
struct zr_compaction {
	struct zr_mutex list;
	/* protected by list */
	struct zr_pages *first; /* all there are; whose turn it is stays while lock is held */

	struct zr_mutex lock;
	/* protected by lock */
	struct zr_pages *at; /* where the pass is; NULL past the last */
	uint64_t leaf_no;
	uint64_t n_left; /* objects that were to be moved when it began */
	bool under_way;
	_Atomic uint64_t xmoved; /* objects, ever */
};

struct zr_engine {
	struct zr_arena arena;
	struct zr_pool pool;
	struct zr_stripes stripes;
	struct zr_room room;
	struct zr_compaction compaction;
	/* Of all disks together. Set with all stripes held, looked at with one. */
	_Atomic uint64_t xlimit_bytes; /* 0: none, and nobody counts */
	_Atomic int64_t xused_bytes;   /* the sum of that of the pages, while there is a limit */
};

/* @engine is zeroed but for its arena, which has a superblock. */
int zr_engine_init(struct zr_engine *engine);

/* Most that the pages of all disks may use; 0: no limit. Kept in the superblock. */
void zr_engine_set_mem_limit(struct zr_engine *engine, uint64_t limit_bytes);

/* Without the arena. */
void zr_engine_deinit(struct zr_engine *engine);

/* Where the frame of a page that is written back was found: pinned, and what is needed to read it. */
struct zr_found {
	zr_slot slot;
	struct zr_backing *backing;
	struct zr_codec_params codec;
};

/* A page that is to be fetched before part of it can be changed. */
struct zr_wanted {
	struct zr_pages *pages; /* NULL: none is */
	uint64_t page_no;
	struct zr_found found;
	bool is_fetched;
};

/* What a thread needs to move pages; one call at a time. */
struct zr_ctx {
	struct zr_workspace *workspace;
	struct zr_window *window; /* NULL: it must not wait for a backing file */
	bool reads_on;            /* pages behind the one that is read are likely to be wanted */
	uint8_t page[ZR_PAGE_SIZE];
	uint8_t object[ZR_CODEC_BOUND];
	struct zr_wanted wanted;
	uint8_t fetched[ZR_PAGE_SIZE]; /* the page that was */
};

int zr_ctx_new(struct zr_ctx **ctxp);

/* From now on calls with this context wait for the backing file where they must. Without it they
 * fail with -EINPROGRESS instead, and are to be called again with a context that may: so a thread
 * that others rely on is not held up. Return: 0 or -ENOMEM. */
int zr_ctx_let_wait(struct zr_ctx *ctx);

/* What a change said -EREMOTE for, now that its caller holds nothing: who waits for the file must not
 * keep others from the disk. The change is then to be tried again. Return: 0 or -EIO. */
int zr_ctx_fetch(struct zr_ctx *ctx);

/* Keep nothing of the backing file: before a thread waits for something to do. */
void zr_ctx_settle(struct zr_ctx *ctx);
struct zr_ctx *zr_ctx_free(struct zr_ctx *ctx);

static inline void zr_ctx_freep(struct zr_ctx **ctxp)
{
	*ctxp = zr_ctx_free(*ctxp);
}

/* What can be derived from the slots, and is kept up to date beside them. */
enum zr_gauge {
	ZR_GAUGE_PAGES, /* that are not holes */
	ZR_GAUGE_SAME,  /* same-filled */
	ZR_GAUGE_ZERO,  /* same-filled with 0 */
	ZR_GAUGE_HUGE,
	ZR_GAUGE_GOOD,         /* compressed to half a page or less, in memory */
	ZR_GAUGE_WRITTEN_BACK, /* on the backing file */
	ZR_GAUGE_FRAME_BYTES,  /* what they take of it */
	ZR_GAUGE_COMPR_BYTES,  /* objects of pages in memory; a huge one counts 4096, same-filled
				  ones nothing */
	ZR_GAUGE_CELL_BYTES,   /* cells of all objects */
	ZR_GAUGE_CODEC,        /* compressed with codec number 0, and so on */
	ZR_N_GAUGES = ZR_GAUGE_CODEC + ZR_CODEC_NUMBERS
};

/* One agreed set of figures. */
struct zr_tally {
	int64_t gauge[ZR_N_GAUGES];
	uint64_t n_nodes;     /* of the slot tree, 4096 bytes each */
	uint64_t n_age_nodes; /* of the tree of ages */
};

struct zr_pages {
	struct zr_engine *engine;
	struct zr_pages *next; /* protected by the compaction's list */
	/* One change of a page at a time that takes longer than a stripe may be held: two would take
	 * each other's pending bit for their own. */
	struct zr_mutex change;
	/* Where pages are written back to; NULL: nowhere. Changed with the shape held exclusive,
	 * while no slot is written back. */
	struct zr_backing *backing;
	uint64_t disk_id;
	struct zr_counters *counters; /* in the disk's entry */
	struct zr_slots slots;
	struct zr_slots ages; /* ages.h */
	_Atomic int64_t xgauges[ZR_N_GAUGES];
	_Atomic int64_t xused_bytes;   /* cells and nodes: what the limit is compared with */
	_Atomic uint64_t xlimit_bytes; /* 0: none */
	/* Of those that spill (tier.h); 0: they do not. */
	_Atomic uint64_t xspill_bytes; /* more than that is used: pages are to go to the file */
	_Atomic uint64_t xspill_wake_bytes;  /* more than that: who takes them is to look */
	_Atomic uint32_t xspill_above_bytes; /* larger objects are to go there at once */
	_Atomic bool xhas_larger;            /* there may be some */
	_Atomic bool xrefused;               /* a write was, for want of room */
	_Atomic int xspill_error;            /* why no more can; 0: it can */
	_Atomic int64_t xspill_again_ns; /* it failed: not before, and the error holds so long, */
	/* of who takes them */
	uint64_t hand;         /* the page that is next */
	uint64_t mark_hand;    /* the leaf that is to be marked next */
	uint64_t spill_n_free; /* unless more of the file is free than then */
	bool waits_for_others; /* a write was refused, and it has nothing to give itself */
	/* What its attributes say. Changed with the shape held exclusive, while there is no page. */
	struct zr_codec_params codecs[ZR_CODEC_NUMBERS];
	uint32_t recomp_priorities;
};

/* @id is that of the disk, whose entry may not have it yet. */
void zr_pages_init(struct zr_pages *pages, struct zr_engine *engine, struct zr_entry *entry,
		   uint64_t id);
void zr_pages_deinit(struct zr_pages *pages);

int zr_page_read(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no, void *page);
int zr_page_write(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no, const void *page);

/* Change part of a page, as one step for readers. @bytes NULL: zeros, which may pass the limit,
 * since who asks for them is giving memory back; a hole stays a hole. Return: also -EREMOTE for one
 * that is on the backing file: see zr_ctx_fetch(). */
int zr_page_update(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no, uint32_t at,
		   uint32_t n_bytes, const void *bytes);

/* The page becomes a hole. Cannot fail. */
void zr_page_discard(struct zr_pages *pages, uint64_t page_no);

/* All 512 pages of a leaf become holes. */
void zr_page_discard_leaf(struct zr_pages *pages, uint64_t leaf_no);

/* The object of the page, if it lies in what is being emptied, gets another cell.
 * Return: 1 if it was moved, 0, or -ENOSPC where there is no other cell. */
int zr_page_move(struct zr_pages *pages, uint64_t page_no);

/* Which pages of a leaf have an object to move. Return: how many; *in_leaf has room for all. */
unsigned int zr_pages_find_vacated(struct zr_pages *pages, uint64_t leaf_no,
				   uint16_t in_leaf[ZR_LEAF_SLOTS]);

enum {
	ZR_PAGE_E_AS_IT_WAS = 1, /* nothing to gain, or it was written meanwhile */
};

/*
 * A change of a page that takes longer than a stripe may be held. Begin marks its slot pending and
 * hands it out; end puts @fresh in its place only if nobody else did anything to the page. From
 * begin to end the caller keeps every other change away from the page: one bit tells a change from
 * a write, and not one change from another.
 *
 * Return: 0 or ZR_PAGE_E_AS_IT_WAS, and then @fresh is still the caller's.
 */
int zr_page_change_begin(struct zr_pages *pages, uint64_t page_no, zr_slot *slotp);
int zr_page_change_end(struct zr_pages *pages, uint64_t page_no, zr_slot slot, zr_slot fresh);

/* Or nothing came of it, but for the bits of @mark. Return: false if somebody else changed it. */
bool zr_page_change_drop(struct zr_pages *pages, uint64_t page_no, zr_slot slot, zr_slot mark);

/* A page that is written back, as @slot, is at another place of the file, as @fresh, if that is what
 * it still is. The frame of @slot is pinned, so that nothing else can look like it. */
bool zr_page_relocate(struct zr_pages *pages, uint64_t page_no, zr_slot slot, zr_slot fresh);

/* Compress the page with a codec of the disk above its own in number, if that makes its cell
 * smaller. If that of the highest priority does not, the page is marked, and never tried again
 * until it is written. @threshold: shorter objects stay as they are, and what is not shorter than
 * it is not kept; 0: none. To try it is to use the page.
 * Return: 0, ZR_PAGE_E_AS_IT_WAS, -EIO, -ENOMEM or -EAGAIN. */
int zr_page_recompress(struct zr_pages *pages, struct zr_ctx *ctx, uint64_t page_no,
		       unsigned int codec_no, uint32_t threshold);

/* Is there something other than a hole? */
bool zr_page_is_data(struct zr_pages *pages, uint64_t page_no);

/* What was taken out at once, and is to be freed at leisure. */
struct zr_stale {
	zr_position root;           /* 0: nothing */
	zr_position ages_root;      /* the same */
	struct zr_backing *backing; /* where its frames are: the pages may have another by then */
};

/* All pages become holes at once. What comes back wants zr_pages_retire(). */
struct zr_stale zr_pages_unhook(struct zr_pages *pages);
void zr_pages_retire(struct zr_pages *pages, struct zr_stale stale);

/* Give back nodes that nothing is in. */
void zr_pages_prune(struct zr_pages *pages);

/* The disk takes that much: remember it, if it is the most so far. Return: the most so far. */
uint64_t zr_pages_peak(struct zr_pages *pages, uint64_t used_bytes);

/* Figures that agree with each other: nothing changes while they are taken. */
void zr_pages_tally(struct zr_pages *pages, struct zr_tally *tally);

/* The same for who has all stripes. */
void zr_pages_tally_frozen(struct zr_pages *pages, struct zr_tally *tally);

/* What the slots of a leaf are, each by itself. Return: false if the leaf is absent. */
bool zr_pages_copy_leaf(struct zr_pages *pages, uint64_t leaf_no, zr_slot slots[ZR_LEAF_SLOTS]);

/* Mark the objects of a leaf idle, until their pages are read or written. */
void zr_pages_mark_leaf_idle(struct zr_pages *pages, uint64_t leaf_no);

/* Where pages are written back to from now on; NULL: nowhere. None is, and the shape is held
 * exclusive, or nobody knows the pages yet. */
void zr_pages_set_backing(struct zr_pages *pages, struct zr_backing *backing);

/* Rebuild the figures from the slots, marking in the pool what they refer to; the pool is being
 * derived. Return: 0, or -EINVAL for a store that is damaged. */
int zr_pages_derive(struct zr_pages *pages);

/* Compare the figures with the slots. Nobody else may be using the disk. */
void zr_pages_validate(struct zr_pages *pages);

/* Count the frames of the pages, one for each block; see zr_backing_validate(). */
void zr_pages_count_frames(struct zr_pages *pages, uint16_t *counts);
