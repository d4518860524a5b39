/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authenticated encryption: an object key by HKDF for each object,
 * AES-256-GCM, the nonce is the place of the ciphertext in the object.
 * spec/store.md, Keys. And the change filter's tag (GMAC), which is the same
 * machine without a plaintext.
 */
#ifndef FORMAT_STORE_SEAL_H
#define FORMAT_STORE_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "format/base/err.h"

#define SEAL_TAG_SIZE   16
#define KEY_SIZE        32
#define SALT_SIZE       32
#define FILTER_TAG_SIZE 16

struct object_key {
	uint8_t b[KEY_SIZE];
};

/* `word` is "pack", "table", "snapshot", "pin", "condemned", "config" or
 * "grant". */
int object_key_derive(struct object_key *out, const uint8_t data_key[KEY_SIZE],
		      const uint8_t salt[SALT_SIZE], const char *word,
		      struct err *err);

/*
 * One thread's AES-GCM contexts. Keeps the last key set, so a run of seals or
 * opens under one object key pays for its key schedule once; a different key
 * is told by content (compared in constant time).
 */
struct sealer;

struct sealer *sealer_new(struct err *err);
/* Wipes what it held. */
void sealer_free(struct sealer *sealer);

/*
 * Encrypt `size` bytes to `out` (may be the same place), which has room for
 * size + SEAL_TAG_SIZE. `offset` is where the ciphertext will lie in the object.
 */
int sealer_seal(struct sealer *sealer, const struct object_key *key,
		uint64_t offset, const void *aad, size_t aad_size,
		const void *plain, size_t size, void *out, struct err *err);
/*
 * Decrypt `sealed_size` bytes (with the tag; >= SEAL_TAG_SIZE) to `out` (may be
 * the same place). -EBADMSG, with no words beyond "does not authenticate":
 * the caller knows the object. `out` holds nothing of use then.
 */
int sealer_open(struct sealer *sealer, const struct object_key *key,
		uint64_t offset, const void *aad, size_t aad_size,
		const void *sealed, size_t sealed_size, void *out,
		struct err *err);

/* The change filter's tag of one chunk. spec/store.md, Change filter. */
struct filter_tag {
	uint8_t b[FILTER_TAG_SIZE];
};

/* One thread's GMAC context under the filter key. */
struct tagger;

struct tagger *tagger_new(const uint8_t filter_key[KEY_SIZE], struct err *err);
void tagger_free(struct tagger *tagger);
int tagger_tag(struct tagger *tagger, uint64_t chunk_number,
	       const void *content, size_t size, struct filter_tag *out,
	       struct err *err);

#endif
