#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of backing files share: a file in memory that children share, which counts what is
 * asked of it, fails when told, and runs a function of the test's in the middle of a request. Frames
 * prove whose they are. One a test.
 */

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "backing.h"
#include "rig.h"

#define FAKE_SEAL_BYTES 8u

struct fake {
	uint8_t *bytes;
	uint64_t n_bytes;
	_Atomic int read_error, write_error; /* errnos; 0: none */
	unsigned int read_error_every;       /* of so many one fails; 0: all do */
	_Atomic unsigned int n_reads, n_writes, n_punches, n_failed_reads;
	_Atomic uint64_t n_written_bytes, largest_write;
	void (*meanwhile)(void); /* once, in the middle of the next request; NULL: nothing */
};

static struct fake fake;

static inline void fake_meanwhile(void)
{
	void (*meanwhile)(void) = fake.meanwhile;

	/* Where there is none several threads are here. */
	if (!meanwhile)
		return;
	fake.meanwhile = NULL;
	meanwhile();
}

static inline int fake_read(void *context, uint64_t offset, void *bytes, size_t n_bytes)
{
	CHECK(context == &fake && offset % ZR_BLOCK_BYTES == 0 && n_bytes % ZR_BLOCK_BYTES == 0);
	CHECK((uintptr_t)bytes % ZR_BLOCK_BYTES == 0 && offset > 0);
	CHECK(offset + n_bytes <= fake.n_bytes);
	++fake.n_reads;
	if (fake.read_error != 0 &&
	    (fake.read_error_every == 0 || fake.n_reads % fake.read_error_every == 0)) {
		++fake.n_failed_reads;
		return -fake.read_error;
	}
	memcpy(bytes, fake.bytes + offset, n_bytes);
	fake_meanwhile();
	return 0;
}

static inline int fake_write(void *context, uint64_t offset, const void *bytes, size_t n_bytes)
{
	CHECK(context == &fake && offset % ZR_BLOCK_BYTES == 0 && n_bytes % ZR_BLOCK_BYTES == 0);
	CHECK((uintptr_t)bytes % ZR_BLOCK_BYTES == 0 && offset > 0 && n_bytes > 0);
	CHECK(offset + n_bytes <= fake.n_bytes);
	++fake.n_writes;
	fake_meanwhile();
	if (fake.write_error != 0)
		return -fake.write_error;
	memcpy(fake.bytes + offset, bytes, n_bytes);
	fake.n_written_bytes += n_bytes;
	fake.largest_write = zr_max((uint64_t)fake.largest_write, n_bytes);
	return 0;
}

static inline int fake_punch(void *context, uint64_t offset, uint64_t n_bytes)
{
	CHECK(context == &fake && offset > 0 && offset + n_bytes <= fake.n_bytes);
	++fake.n_punches;
	memset(fake.bytes + offset, 0xdb, n_bytes);
	return 0;
}

static inline uint64_t fake_proof(const struct zr_frame_owner *owner, const uint8_t *bytes,
				  uint32_t n_bytes)
{
	uint64_t proof = owner->disk_id * UINT64_C(0x9e3779b97f4a7c15) ^ owner->page_no;
	uint32_t i;

	for (i = 0; i < n_bytes; ++i)
		proof = (proof ^ bytes[i]) * UINT64_C(0x100000001b3);
	return proof;
}

static inline void fake_seal(void *context, const struct zr_frame_owner *owner, uint64_t sequence,
			     const void *object, uint32_t n_object, void *frame)
{
	const uint64_t proof = fake_proof(owner, object, n_object);

	memcpy(frame, &proof, sizeof(proof));
	memcpy((uint8_t *)frame + FAKE_SEAL_BYTES, object, n_object);
}

static inline int fake_open(void *context, const struct zr_frame_owner *owner, const void *frame,
			    uint32_t n_object, void *object)
{
	const uint8_t *bytes = (const uint8_t *)frame + FAKE_SEAL_BYTES;
	const uint64_t proof = fake_proof(owner, bytes, n_object);

	if (memcmp(frame, &proof, sizeof(proof)) != 0)
		return -EIO;
	memcpy(object, bytes, n_object);
	return 0;
}

static const struct zr_backing_io fake_io = { &fake,      fake_read, fake_write,
					      fake_punch, fake_seal, fake_open };

static inline void fake_init(uint64_t n_bytes)
{
	fake = (struct fake){ .bytes = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS, -1, 0),
			      .n_bytes = n_bytes };
	CHECK(fake.bytes != MAP_FAILED);
	memset(fake.bytes, 0xdb, n_bytes);
}

static inline void fake_deinit(void)
{
	munmap(fake.bytes, fake.n_bytes);
}

static inline struct zr_backing_record fake_record(void)
{
	return (struct zr_backing_record){ .size_bytes = fake.n_bytes,
					   .seal_bytes = FAKE_SEAL_BYTES,
					   .path = "/fake" };
}

/* A disk of @size_bytes that is written back to a file of @n_bytes, pinned. What a rig's context
 * reads it waits for. */
static inline struct zr_disk *rig_add_backed(struct rig *rig, const char *name, uint64_t size_bytes,
					     uint64_t id)
{
	struct zr_disk_spec spec;
	struct zr_disk *disk;

	rig_spec_init(&spec);
	snprintf(spec.attrs.name, sizeof(spec.attrs.name), "%s", name);
	spec.attrs.backing_id = id;
	CHECK(zr_ctx_let_wait(rig->ctx) == 0);
	CHECK(zr_store_add(rig->store, rig->ctx, &spec, &disk) == 0);
	CHECK(zr_disk_truncate(disk, rig->ctx, size_bytes) == 0);
	return disk;
}

/* What a worker that takes over does, which finds the file unless it is @lost. */
static inline void rig_attach_backed(struct rig *rig, int fd, bool lost)
{
	unsigned int i;

	CHECK(zr_store_map(&rig->store, fd) == 0);
	for (i = 0; i < ZR_BACKINGS_MAX && !lost; ++i)
		CHECK(zr_store_backing_attach(rig->store, i, &fake_io) == 0);
	CHECK(zr_store_load(rig->store) == 0);
}

/* After one that died. Disks that were pinned are gone. */
static inline void rig_reattach_backed(struct rig *rig, bool lost)
{
	const int fd = fcntl(zr_store_fd(rig->store), F_DUPFD_CLOEXEC, 0);

	CHECK(fd >= 0);
	rig->store = zr_store_free(rig->store);
	rig_attach_backed(rig, fd, lost);
	rig_validate(rig->store);
}

static inline int64_t disk_gauge(struct zr_disk *disk, enum zr_gauge which)
{
	struct zr_disk_figures figures;

	zr_disk_figures(disk, &figures);
	return figures.tally.gauge[which];
}
