#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of whole stores share: a store to use and to attach again, pages of every kind, pages
 * that say what they are, and the memory equation seen from outside.
 */

#include <fcntl.h>
#include <stdatomic.h>

#include "fill.h"
#include "store.h"
#include "system.h"
#include "test.h"

#define MIB(n) ((uint64_t)(n) << 20)

/* Offsets cost nothing, and every class wants a span of its own. */
#define RIG_STORE_BYTES MIB(1024)

struct rig {
	struct zr_store *store;
	struct zr_ctx *ctx;
};

static inline void rig_init(struct rig *rig)
{
	CHECK(zr_store_new(&rig->store, RIG_STORE_BYTES) == 0);
	CHECK(zr_ctx_new(&rig->ctx) == 0);
}

/* memory = superblock and directory + shelf + span table + spans, at every debug level. */
static inline void rig_validate(struct zr_store *store)
{
	struct zr_superblock superblock;
	struct zr_store_usage usage;

	zr_store_validate(store);
	CHECK(pread(zr_store_fd(store), &superblock, sizeof(superblock), 0) == sizeof(superblock));
	zr_store_usage(store, &usage);
	CHECK(usage.memory_bytes ==
	      zr_system_whole(ZR_DIRECTORY_START +
			      atomic_load(&superblock.n_entries) * ZR_ENTRY_BYTES) +
		      usage.shelf_bytes + usage.span_table_bytes + usage.span_bytes);
}

/* The defaults, and codecs to recompress with: the strongest comes last. */
static inline void rig_spec_init(struct zr_disk_spec *spec)
{
	static const uint32_t algorithms[] = { ZR_ALGORITHM_LZO, ZR_ALGORITHM_LZ4HC,
					       ZR_ALGORITHM_ZSTD };
	unsigned int i;

	zr_disk_spec_init(spec, 0);
	for (i = 0; i < ZR_RECOMP_MAX; ++i) {
		spec->attrs.codecs[i + 1].algorithm = algorithms[i];
		spec->attrs.recomp_priorities |= 1u << (i + 1);
	}
}

/* A pinned disk of these. */
static inline struct zr_disk *rig_add(struct rig *rig, const char *name, uint64_t size_bytes)
{
	struct zr_disk_spec spec;
	struct zr_disk *disk;

	rig_spec_init(&spec);
	snprintf(spec.attrs.name, sizeof(spec.attrs.name), "%s", name);
	CHECK(zr_store_add(rig->store, rig->ctx, &spec, &disk) == 0);
	CHECK(zr_disk_truncate(disk, rig->ctx, size_bytes) == 0);
	return disk;
}

/* As many disks as have memory with the superblock: none where a page has 4096 bytes. */
static inline void rig_fill_page(struct rig *rig)
{
	char name[16];
	unsigned int i;

	for (i = 1; i < zr_system_page_bytes() / ZR_ENTRY_BYTES; ++i) {
		snprintf(name, sizeof(name), "x%u", i);
		zr_disk_unpin(rig->store, rig_add(rig, name, 0));
	}
}

/* What a worker that dies and the next one do. Disks that were pinned are gone. */
static inline void rig_reattach(struct rig *rig)
{
	int fd = fcntl(zr_store_fd(rig->store), F_DUPFD_CLOEXEC, 0);

	CHECK(fd >= 0);
	rig->store = zr_store_free(rig->store);
	CHECK(zr_store_attach(&rig->store, fd) == 0);
	rig_validate(rig->store);
}

/* Remove every disk. Cells that nothing refers to any more were leaked. */
static inline void rig_empty(struct rig *rig)
{
	struct zr_store_usage usage;
	struct zr_disk *disk;

	while ((disk = zr_store_next(rig->store, 0))) {
		zr_store_remove(rig->store, disk);
		zr_disk_unpin(rig->store, disk);
	}
	rig_validate(rig->store);
	zr_store_compact(rig->store);
	rig_validate(rig->store);
	zr_store_usage(rig->store, &usage);
	CHECK(usage.n_disks == 0);
	CHECK(usage.span_bytes == 0);
}

/* No disk may be pinned any more. */
static inline void rig_deinit(struct rig *rig)
{
	rig_validate(rig->store);
	rig_empty(rig);
	rig->store = zr_store_free(rig->store);
	rig->ctx = zr_ctx_free(rig->ctx);
}

/* reads and writes that must go well */

static inline void disk_put(struct rig *rig, struct zr_disk *disk, uint64_t offset,
			    const void *bytes, size_t n_bytes)
{
	size_t n_written;

	CHECK(zr_disk_write(disk, rig->ctx, offset, bytes, n_bytes, &n_written) == 0);
	CHECK(n_written == n_bytes);
}

static inline void disk_get(struct rig *rig, struct zr_disk *disk, uint64_t offset, void *bytes,
			    size_t n_bytes)
{
	size_t n_read;

	CHECK(zr_disk_read(disk, rig->ctx, offset, bytes, n_bytes, &n_read) == 0);
	CHECK(n_read == n_bytes);
}

static inline bool bytes_are(const void *bytes, uint8_t value, size_t n_bytes)
{
	const uint8_t *at = bytes;
	size_t i;

	for (i = 0; i < n_bytes; ++i) {
		if (at[i] != value)
			return false;
	}
	return true;
}

/* pages */

/* Each way a page can be stored: as a hole's zeros, as a word in its slot, as a word of its own,
 * compressed well or hardly, raw. */
static inline void page_random(struct rng *rng, uint8_t page[ZR_PAGE_SIZE])
{
	switch (rng_below(rng, 7)) {
	case 0:
		zr_fill_page(page, 0);
		break;
	case 1:
		zr_fill_page(page, (uint64_t)((int64_t)rng_next(rng) >> 8));
		break;
	case 2:
		zr_fill_page(page, rng_below(rng, 1u << 16) * UINT64_C(0x0001000100010001));
		break;
	case 3:
		zr_fill_page(page, rng_next(rng) | UINT64_C(1) << 63 | 1);
		break;
	case 4:
		bytes_random(rng, page, ZR_PAGE_SIZE);
		break;
	default:
		rng_fill_mixed(rng, page, ZR_PAGE_SIZE);
		break;
	}
}

/*
 * Bytes that say what they are: all follow from their first word, so a mixture of two such pages is
 * seen. How well they compress follows from the low bits. 0 is zeros, as in a hole.
 */
static inline void stamp_make(void *bytes, size_t n_bytes, uint64_t word)
{
	struct rng rng = { .state = word };
	uint8_t *at = bytes;
	size_t i, n_random = (word & 3) == 3 ? n_bytes : n_bytes / 4 * (word & 3);

	if ((word & 3) == 0) {
		for (i = 0; i < n_bytes; i += sizeof(word))
			memcpy(at + i, &word, sizeof(word));
		return;
	}

	memset(at, (int)(word >> 8), n_bytes);
	bytes_random(&rng, at, n_random);
	memcpy(at, &word, sizeof(word));
}

static inline bool stamp_is(const void *bytes, size_t n_bytes, uint64_t word)
{
	uint8_t want[ZR_PAGE_SIZE];

	stamp_make(want, n_bytes, word);
	return memcmp(bytes, want, n_bytes) == 0;
}

/* Are the bytes of one stamp? Return: false if they are not whole. */
static inline bool stamp_read(const void *bytes, size_t n_bytes, uint64_t *wordp)
{
	memcpy(wordp, bytes, sizeof(*wordp));
	return stamp_is(bytes, n_bytes, *wordp);
}

/* Are the bytes a stamp that is whole, or zero from somewhere on, as a truncation leaves it? */
static inline bool stamp_is_cut(const uint8_t *bytes, size_t n_bytes)
{
	uint8_t want[ZR_PAGE_SIZE];
	uint64_t word;
	size_t n = n_bytes;

	while (n > 0 && bytes[n - 1] == 0)
		--n;
	memcpy(&word, bytes, sizeof(word));
	stamp_make(want, n_bytes, word);
	return n <= sizeof(word) || memcmp(want, bytes, n) == 0;
}

static inline unsigned long test_number(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}
