/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs: header | ciphertexts | directory | trailer. spec/store.md, Pack.
 * The writer streams to the backend and holds one buffer; the reader's
 * functions are bytes in, bytes out. Each belongs to one thread.
 */
#ifndef FORMAT_STORE_PACK_H
#define FORMAT_STORE_PACK_H

#include "format/base/bytes.h"
#include "format/store/backend.h"
#include "format/store/entry.h"
#include "format/store/header.h"

#define PACK_SIZE_MAX     (1u << 30)
#define PACK_COUNT_MAX    (1u << 20)
#define PACK_SIZE_DEFAULT (32u << 20)
#define OBJECT_NAME_MAX   96 /* with the NUL */

/* "packs/ab/ab12..." */
void pack_name(char name[OBJECT_NAME_MAX], const struct id *pack);

struct pack_writer {
	struct id id;
	struct object_key key;
	struct backend *backend;
	struct backend_put *put; /* NULL once sealed */
	struct bytes buffer;     /* not yet handed to the backend */
	struct bytes directory;  /* struct entry each */
	uint64_t offset;         /* where the next ciphertext goes */
	char name[OBJECT_NAME_MAX];
	struct object_header header;
};

/* What stands around the ciphertexts of a pack with `count` chunks. */
#define PACK_TAIL_SIZE(count)                                       \
	((uint64_t)(count) * sizeof(struct entry) + SEAL_TAG_SIZE + \
	 sizeof(struct object_trailer))

/* A new pack with a random id. On failure nothing is left behind. */
int pack_writer_open(struct pack_writer *writer, struct backend *backend,
		     const struct store_id *store,
		     const uint8_t data_key[KEY_SIZE], struct err *err);
/* Seal `coded` (already encoded content) and append it. *out gets the entry
 * (pack number 0). -EFBIG when the pack is full: finish it first. */
int pack_writer_add(struct pack_writer *writer, struct sealer *sealer,
		    const struct id *id, enum chunk_kind kind,
		    enum codec_kind codec, uint32_t content_size,
		    const void *coded, size_t coded_size, struct entry *out,
		    struct err *err);
uint32_t pack_writer_count(const struct pack_writer *writer);
/* Directory and trailer written to the put, but not yet made durable: the
 * caller then calls backend_put_finish() on *put (takes it over) and owns the
 * directory left in `writer`. *size: length of the object. */
int pack_writer_seal(struct pack_writer *writer, struct sealer *sealer,
		     struct backend_put **put, uint64_t *size, struct err *err);
/* Aborts what is open. A zeroed writer is fine. Wipes the key. */
void pack_writer_release(struct pack_writer *writer);

/* A pack as the reader sees it. */
struct pack_info {
	struct id id;
	uint64_t size_bytes;
	uint32_t count;
	uint64_t directory_offset;
};

/*
 * Read header, trailer and directory of a pack, check all of it, and append
 * its entries (pack number 0) to *directory. -ENOENT absent, -EBADMSG, -EOPNOTSUPP.
 */
int pack_read_directory(struct backend *backend, struct sealer *sealer,
			const struct store_id *store,
			const uint8_t data_key[KEY_SIZE], const struct id *id,
			struct pack_info *info, struct bytes *directory,
			struct err *err);

/*
 * Open one chunk from its ciphertext as read from the pack: authenticate,
 * decode, recompute the id. `content` has entry_content_size() bytes.
 * `scratch` has room for entry_stored_size() bytes.
 */
int pack_open_chunk(struct sealer *sealer, struct codec *codec,
		    struct hasher *hasher, const struct object_key *key,
		    const struct entry *entry, const void *ciphertext,
		    void *scratch, void *content, struct err *err);

#endif
