/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "seal.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#define SEQUENCE_BYTES 8u

_Static_assert(SEAL_KEYED_BYTES == SEQUENCE_BYTES + crypto_aead_chacha20poly1305_ietf_ABYTES,
	       "a keyed seal is a sequence and a tag");
_Static_assert(SEAL_PROOF_BYTES == crypto_shorthash_BYTES, "the other is a hash");
_Static_assert(SEAL_KEYED_BYTES <= ZR_SEAL_BYTES_MAX, "the engine has room for it");
_Static_assert(sizeof(((struct zr_backing_record *)0)->key) ==
		       crypto_aead_chacha20poly1305_ietf_KEYBYTES,
	       "the key is the cipher's");
_Static_assert(sizeof(((struct zr_backing_record *)0)->nonce) == crypto_shorthash_KEYBYTES,
	       "the nonce is a key of the hash");
_Static_assert(2 * crypto_shorthash_BYTES == crypto_shorthash_KEYBYTES, "two hashes are a key");

/* What a seal speaks of besides the object. No padding: it is hashed as bytes. */
struct context {
	struct zr_frame_owner owner;
	uint8_t nonce[16];
};

_Static_assert(sizeof(struct context) == 32, "no padding");

static struct context context_of(const struct zr_backing_record *record,
				 const struct zr_frame_owner *owner)
{
	struct context context = { .owner = *owner };

	memcpy(context.nonce, record->nonce, sizeof(context.nonce));
	return context;
}

int seal_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

/* with a key */

struct cipher_nonce {
	uint8_t bytes[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
};

static struct cipher_nonce cipher_nonce_of(uint64_t sequence)
{
	struct cipher_nonce nonce = { .bytes = { 0 } };

	memcpy(nonce.bytes + sizeof(nonce.bytes) - SEQUENCE_BYTES, &sequence, SEQUENCE_BYTES);
	return nonce;
}

static void keyed_make(const struct zr_backing_record *record, const struct zr_frame_owner *owner,
		       uint64_t sequence, const void *object, uint32_t n_object, uint8_t *frame)
{
	const struct context context = context_of(record, owner);
	const struct cipher_nonce nonce = cipher_nonce_of(sequence);

	memcpy(frame, &sequence, SEQUENCE_BYTES);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt_detached(
		frame + SEAL_KEYED_BYTES, frame + SEQUENCE_BYTES, NULL, object, n_object,
		(const uint8_t *)&context, sizeof(context), NULL, nonce.bytes, record->key);
}

static int keyed_open(const struct zr_backing_record *record, const struct zr_frame_owner *owner,
		      const uint8_t *frame, uint32_t n_object, void *object)
{
	const struct context context = context_of(record, owner);
	struct cipher_nonce nonce;
	uint64_t sequence;

	memcpy(&sequence, frame, SEQUENCE_BYTES);
	nonce = cipher_nonce_of(sequence);
	if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(
		    object, NULL, frame + SEAL_KEYED_BYTES, n_object, frame + SEQUENCE_BYTES,
		    (const uint8_t *)&context, sizeof(context), nonce.bytes, record->key) != 0)
		return -EIO;
	return 0;
}

/* without */

/* The hash takes one run of bytes. So what is not the object goes into its key, and nothing is
 * copied to be put together: two hashes, with the nonce as their key. */
static void proof_make(const struct zr_backing_record *record, const struct zr_frame_owner *owner,
		       const void *object, uint32_t n_object, uint8_t proof[SEAL_PROOF_BYTES])
{
	struct {
		struct zr_frame_owner owner;
		uint64_t half;
	} of = { .owner = *owner };
	uint8_t key[crypto_shorthash_KEYBYTES];

	for (of.half = 0; of.half < 2; ++of.half)
		(void)crypto_shorthash(key + of.half * crypto_shorthash_BYTES, (const uint8_t *)&of,
				       sizeof(of), record->nonce);
	(void)crypto_shorthash(proof, object, n_object, key);
}

static int proof_open(const struct zr_backing_record *record, const struct zr_frame_owner *owner,
		      const uint8_t *frame, uint32_t n_object, void *object)
{
	uint8_t proof[SEAL_PROOF_BYTES];

	proof_make(record, owner, frame + SEAL_PROOF_BYTES, n_object, proof);
	if (memcmp(proof, frame, sizeof(proof)) != 0)
		return -EIO;
	memcpy(object, frame + SEAL_PROOF_BYTES, n_object);
	return 0;
}

void seal_make(const struct zr_backing_record *record, const struct zr_frame_owner *owner,
	       uint64_t sequence, const void *object, uint32_t n_object, void *frame)
{
	if (record->flags & ZR_BACKING_SEALED) {
		keyed_make(record, owner, sequence, object, n_object, frame);
		return;
	}
	proof_make(record, owner, object, n_object, frame);
	memcpy((uint8_t *)frame + SEAL_PROOF_BYTES, object, n_object);
}

int seal_open(const struct zr_backing_record *record, const struct zr_frame_owner *owner,
	      const void *frame, uint32_t n_object, void *object)
{
	if (record->flags & ZR_BACKING_SEALED)
		return keyed_open(record, owner, frame, n_object, object);
	return proof_open(record, owner, frame, n_object, object);
}
