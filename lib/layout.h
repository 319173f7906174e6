#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Layout: what lies in the store
 *
 * The store is one memfd. Everything that must outlive a worker is in it, addressed by offset:
 *
 *   0                  superblock       struct zr_superblock
 *   4 KiB              directory        ZR_DISKS_MAX entries, struct zr_entry, 4 KiB each
 *   4 MiB              shelf            what the user of the engine keeps, as far as shelf_bytes
 *   32 MiB             span table       one byte a span: the class of its cells plus 1; 0 is free
 *   zr_spans_offset()  spans            1 MiB of offsets each, populated as needed
 *
 * Only entries below superblock.n_entries, as much of the shelf as superblock.shelf_bytes says and
 * spans below superblock.n_spans were ever used; the others are holes of the memfd and must not
 * even be read (reading a hole of a mapped memfd populates it). A span's byte is stored before its
 * first cell is given out.
 *
 * Ownership: the store (store.h) maps it; each disk owns its entry.
 * Locking:   words marked atomic are read and published whole; see sync.h for the rest.
 * Errors:    none.
 * Cost:      4 KiB, and 4 KiB a disk.
 */

#include <stdatomic.h>

#include "base.h"
#include "codec.h"
#include "latency.h"

#define ZR_MAGIC UINT64_C(0x0173666d61727a00) /* "\0zramfs\1" */

/* In programs of 32 bits some words lie elsewhere: they and others do not take over from each other. */
#define ZR_LAYOUT_VERSION (4u | (sizeof(void *) == 8 ? 0u : 1u << 16))

#define ZR_ENTRY_BYTES     4096u
#define ZR_DISKS_MAX       1023u
#define ZR_DIRECTORY_START 4096u
#define ZR_SHELF_START     (UINT64_C(4) << 20)
#define ZR_SPAN_TABLE      (UINT64_C(32) << 20)
#define ZR_SHELF_BYTES_MAX (ZR_SPAN_TABLE - ZR_SHELF_START)

/* Every span owns this many bytes of offsets and populates what its cells need. */
#define ZR_SPAN_SHIFT 20
#define ZR_SPAN_BYTES (UINT64_C(1) << ZR_SPAN_SHIFT)

/* Slots of a leaf, and entries of any node: a page of them. */
#define ZR_LEAF_SHIFT 9
#define ZR_LEAF_SLOTS 512u

/* Longest name of a disk, without the terminator. */
#define ZR_NAME_MAX  63u
#define ZR_LABEL_MAX 16u

/* Codec numbers a slot can hold. Number 0 is the disk's comp_algorithm, 1 to ZR_RECOMP_MAX are its
 * recomp_algorithm of that priority. */
#define ZR_CODEC_NUMBERS 8u
#define ZR_RECOMP_MAX    3u

/* Files that pages can be written back to, and the longest name of one, without the terminator. */
#define ZR_BACKINGS_MAX     8u
#define ZR_BACKING_PATH_MAX 255u

/* What the first block of such a file begins with; its version follows. */
#define ZR_BACKING_TITLE "zramfs backing file, version "

/* Ages are 16 bits of two seconds each. */
#define ZR_AGE_S_MAX 131070u

/* Pages in one request to the file. */
#define ZR_WRITEBACK_BATCH_SIZE_MAX 1024u

enum zr_format {
	ZR_FORMAT_NONE = 0,
	ZR_FORMAT_SWAP = 1, /* a valid swap header is written when the size is set */
};

/* What becomes of a write that would pass mem_limit. */
enum zr_on_limit {
	ZR_ON_LIMIT_DEFAULT = 0, /* spill where there is a backing file, else enospc */
	ZR_ON_LIMIT_SPILL = 1,   /* it waits until colder pages are on the file */
	ZR_ON_LIMIT_ENOSPC = 2,  /* it is refused */
};

/* What a page is encrypted with before it is written to the file. */
enum zr_backing_key {
	ZR_BACKING_KEY_DEFAULT = 0, /* random where format is swap, else none */
	ZR_BACKING_KEY_NONE = 1,
	ZR_BACKING_KEY_RANDOM = 2, /* a key of this run, which nobody else has */
};

/* The attributes of a disk that are set and not derived. Written whole, published by one word. */
struct zr_attrs {
	char name[ZR_NAME_MAX + 1];
	/* Renaming over another disk: that one's id. Publishing this block removes it. 0: none. */
	uint64_t replaces_id;
	uint64_t mem_limit_bytes; /* 0: none */
	uint32_t mode;            /* permission bits */
	uint32_t uid, gid;
	uint32_t format;       /* enum zr_format */
	int32_t swap_priority; /* for who turns swap on; -1: the kernel chooses */
	struct zr_codec_params codecs[ZR_CODEC_NUMBERS];
	char label[ZR_LABEL_MAX + 1]; /* of the swap header */
	uint8_t uuid[16];             /* of the swap header; all zero: a random one */
	uint32_t recomp_priorities;   /* bit n: codecs[n] is the recomp_algorithm of priority n */
	/* the backing file */
	uint64_t backing_id;           /* of its record; 0: none. Set while the disk has no size */
	uint64_t backing_size_bytes;   /* that the file is given when it is opened; 0: it stays */
	uint32_t backing_preallocate;  /* 1: all of it is allocated when it is opened */
	uint32_t backing_key;          /* enum zr_backing_key */
	uint64_t backing_limit_bytes;  /* most of it that the disk may take; 0: all */
	uint32_t writeback_batch_size; /* pages */
	uint32_t compressed_writeback; /* 0: pages are decompressed first */
	uint32_t on_limit;             /* enum zr_on_limit */
	uint32_t spill_above_bytes;    /* larger objects go to the file at once; 0: none does */
	uint32_t writeback_at;         /* percent of mem_limit from which on pages are spilled */
	/* what goes on by itself (policy.h); 0: it does not */
	uint32_t idle_age_s;            /* objects not used for so long are idle, */
	uint32_t recompress_age_s;      /* are recompressed, */
	uint32_t writeback_age_s;       /* are written back */
	uint32_t compact_at;            /* percent of free cells at which a pass begins */
	uint64_t writeback_daily_bytes; /* that policies may write to the file; 0: any number */
};

/* Things that happened, at least once each. What can be derived from the slots is not here. */
struct zr_counters {
	_Atomic uint64_t num_reads;     /* pages */
	_Atomic uint64_t num_writes;    /* pages */
	_Atomic uint64_t failed_reads;  /* pages */
	_Atomic uint64_t failed_writes; /* pages */
	_Atomic uint64_t invalid_io;    /* requests past what a disk can be */
	_Atomic uint64_t notify_free;   /* pages discarded, empty ones too */
	_Atomic uint64_t num_discards;  /* requests to discard */
	_Atomic uint64_t huge_pages_since;
	_Atomic uint64_t undecodable_pages; /* reads that found a page that does not decode */
	_Atomic uint64_t mem_used_max_bytes;
	_Atomic uint64_t bd_reads;              /* pages read from the backing file */
	_Atomic uint64_t bd_writes;             /* pages written to it */
	_Atomic uint64_t failed_backing_reads;  /* pages */
	_Atomic uint64_t failed_backing_writes; /* pages, which stayed in memory */
	_Atomic uint64_t policy_recompressions; /* pages made smaller by their age */
	_Atomic uint64_t policy_writes;         /* pages written back by their age */
};

struct zr_entry {
	_Atomic uint64_t id;    /* 0: free. Stored last when a disk is made, first when it goes */
	_Atomic uint64_t valid; /* low bit: which of attrs[] is valid */
	_Atomic uint64_t size_bytes;
	_Atomic uint64_t root; /* position of the top node of the slot tree; 0: no pages */
	_Atomic int64_t atime_ns, mtime_ns, ctime_ns;
	_Atomic uint64_t writeback_limit;        /* pages that may be written back still */
	_Atomic uint64_t writeback_limit_enable; /* 0: any number */
	/* Ages (ages.h). Times are of CLOCK_MONOTONIC, 0 for none. */
	_Atomic uint64_t ages_root; /* position of the top node of their tree; 0: none is above 0 */
	_Atomic int64_t ages_seen_ns;   /* when the last look at them began that was ended */
	_Atomic int64_t ages_begun_ns;  /* and the one that is under way, */
	_Atomic uint64_t ages_leaf_no;  /* which is there */
	_Atomic uint64_t written_day;   /* of CLOCK_BOOTTIME, counted from 1, in which */
	_Atomic uint64_t written_bytes; /* were written to the backing file */
	struct zr_counters counters;
	struct zr_latency read_latency, write_latency;
	struct zr_latency spill_latency; /* how long writes waited for room */
	struct zr_attrs attrs[2];
};

enum zr_backing_flags {
	ZR_BACKING_SEALED = 1,  /* what is written is encrypted with the key */
	ZR_BACKING_FIXED = 2,   /* all of it is allocated and stays so: it is never punched */
	ZR_BACKING_DEVICE = 4,  /* a block device */
	ZR_BACKING_WRITTEN = 8, /* all of it was written, so that no write of ours allocates */
};

/* A file that pages are written back to (backing.h), as long as this store is there. */
struct zr_backing_record {
	_Atomic uint64_t id;       /* 0: free. Stored last when it is made, first when it goes */
	_Atomic uint64_t sequence; /* numbers below were given out: one a frame, never twice */
	uint64_t size_bytes;       /* whole blocks */
	uint64_t device, inode;    /* st_dev and st_ino; of a block device st_rdev and 0 */
	uint32_t seal_bytes;       /* of a frame, beyond its object */
	uint32_t flags;            /* enum zr_backing_flags */
	uint8_t nonce[16];         /* of this run; the file is marked with it */
	uint8_t key[32];
	char path[ZR_BACKING_PATH_MAX + 1];
};

struct zr_superblock {
	uint64_t magic;
	uint32_t layout_version;
	uint32_t page_bytes;
	uint64_t span_bytes;
	uint64_t store_bytes; /* offsets there are; the file is sparse */
	_Atomic uint64_t next_id;
	_Atomic uint64_t n_entries;
	_Atomic uint64_t n_spans;         /* span numbers at and above this were never used */
	_Atomic uint64_t pages_compacted; /* given back by moving objects, ever */
	_Atomic uint64_t mem_limit_bytes; /* of all disks together; 0: none */
	_Atomic uint64_t shelf_bytes;     /* of the shelf, from its start; whole system pages */
	uint64_t noswap;                  /* 1: the kernel never swaps it, whether locked or not */
	_Atomic uint64_t next_backing_id;
	struct zr_backing_record backings[ZR_BACKINGS_MAX];
	uint64_t wanted_bytes; /* offsets there should have been; 0: not known */
};

/* Where the spans begin in a store of @store_bytes: behind a byte for each. */
static inline uint64_t zr_spans_offset(uint64_t store_bytes)
{
	const uint64_t n_spans_most = (store_bytes - ZR_SPAN_TABLE) >> ZR_SPAN_SHIFT;

	return zr_align_up(ZR_SPAN_TABLE + n_spans_most, ZR_SPAN_BYTES);
}

_Static_assert(sizeof(struct zr_superblock) <= ZR_DIRECTORY_START, "the superblock is one page");
_Static_assert(sizeof(struct zr_entry) <= ZR_ENTRY_BYTES, "an entry is one page");
_Static_assert(ZR_DIRECTORY_START + ZR_DISKS_MAX * ZR_ENTRY_BYTES <= ZR_SHELF_START,
	       "the directory ends before the shelf");
_Static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "atomic words are plain words");
