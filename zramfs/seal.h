#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Seal: what makes bytes on a backing file those of one page
 *
 * What is read back may be anything: zeros after a file was cut short and grown again, another
 * page's bytes after a write went astray, somebody else's. So each object lies in a frame with a
 * seal before it, which is checked before a byte of it is used:
 *
 *   with a key      8 bytes sequence, 16 bytes tag, the object encrypted: ChaCha20-Poly1305 (IETF).
 *                   The nonce is the sequence, which is used once; the tag covers the disk, the
 *                   page and the nonce of the run as well
 *   without         8 bytes proof, the object as it is: SipHash-2-4 of the object, with a key made
 *                   of the nonce of the run, the disk and the page. Whoever reads the file can make
 *                   one: it is no defence, but finds every accident but one in 2^64
 *
 * What neither tells apart is an older frame of the same page of the same run, where a newer one
 * was acknowledged by the file and never arrived there.
 *
 * Frames are opened by the run that sealed them alone, on the same machine: words are in its order.
 *
 * Ownership: none.
 * Locking:   any thread, once seal_init() has returned.
 * Errors:    -EIO for what was not sealed for that owner by this run; its bytes are not given out.
 * Cost:      no memory is asked for. Of one core (EPYC with AVX-512, libsodium 1.0.18), in ns:
 *
 *                object bytes           1     256    1024    2048    4096
 *                ChaCha20-Poly1305    340     450     820    1420    2640
 *                AES-256-GCM          120     170     470     880    1700
 *                SipHash-2-4           35     100     330     570    1120
 *
 *            AES is not there on every processor and would be a second format; next to the tens of
 *            microseconds that the file takes it is not worth that.
 */

#include "backing.h"

#define SEAL_KEYED_BYTES 24u
#define SEAL_PROOF_BYTES 8u

/* Before there are threads, in each process. */
int seal_init(void);

/* Of a frame, beyond its object, for a record with @flags. */
static inline uint32_t seal_bytes(uint32_t flags)
{
	return flags & ZR_BACKING_SEALED ? SEAL_KEYED_BYTES : SEAL_PROOF_BYTES;
}

/* @frame has room for seal_bytes and the object, and does not overlap it. */
void seal_make(const struct zr_backing_record *record, const struct zr_frame_owner *owner,
	       uint64_t sequence, const void *object, uint32_t n_object, void *frame);
int seal_open(const struct zr_backing_record *record, const struct zr_frame_owner *owner,
	      const void *frame, uint32_t n_object, void *object);
