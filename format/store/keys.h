/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The config and the key slots: bytes in, bytes out, no I/O.
 * spec/store.md, Keys. Secrets are wiped by whoever held them last.
 */
#ifndef FORMAT_STORE_KEYS_H
#define FORMAT_STORE_KEYS_H

#include <stdbool.h>

#include "format/store/header.h"

#define SLOT_ID_SIZE     16
#define SLOT_ID_HEX_SIZE (2 * SLOT_ID_SIZE + 1)
#define SLOT_LABEL_MAX   63

/* The master secrets of a store. */
struct masters {
	uint8_t id_key[KEY_SIZE];
	uint8_t data_key[KEY_SIZE];
	uint8_t filter_key[KEY_SIZE];
	uint8_t reserved[KEY_SIZE]; /* zero in version 1 */
};
int masters_make(struct masters *masters, struct err *err);

struct store_config {
	struct store_id store;
	bool plaintext;
	unsigned chunk_log2; /* default for new volumes */
	int level;           /* default zstd level */
	uint64_t pack_size_bytes;
	int64_t created_ns;
};

struct config_file {
	uint8_t magic[8];
	le32 version;
	le32 incompat;
	le32 compat;
	le32 flags;
	struct store_id store;
	le32 chunk_log2;
	le32 level;
	le32 id_suite;
	le32 seal_suite;
	le64 pack_size_bytes;
	le64 created_ns;
	uint8_t reserved[16];
	le64 check;
	uint8_t mac[32];
};
static_assert(sizeof(struct config_file) == 128, "spec/store.md, Config");

int config_encode(const struct store_config *config,
		  const struct masters *masters, struct config_file *out,
		  struct err *err);
/* Everything but the MAC. -ENOENT is never returned; -EBADMSG, -EOPNOTSUPP. */
int config_decode(const void *data, size_t size, struct store_config *out,
		  struct err *err);
/* -EBADMSG: the masters are not of this config, or it was changed. */
int config_verify(const struct config_file *file, const struct masters *masters,
		  struct err *err);

enum slot_kind {
	SLOT_CLEAR = 0,
	SLOT_SCRYPT = 1,
};

struct slot_file {
	uint8_t magic[8];
	le32 version;
	le32 incompat;
	le32 kind;
	le32 reserved;
	uint8_t id[SLOT_ID_SIZE];
	struct store_id store;
	le64 created_ns;
	le32 log2_n;
	le32 r;
	le32 p;
	le32 reserved2;
	uint8_t salt[32];
	char label[64];
	uint8_t masters[128];
	uint8_t tag[16];
	le64 check;
};
static_assert(sizeof(struct slot_file) == 328, "spec/store.md, Key slot");

struct slot_parameters {
	unsigned log2_n, r, p; /* scrypt; default 15, 8, 1 */
};
extern const struct slot_parameters slot_parameters_default;

/* A new slot with a random id and salt. passphrase NULL: kind clear. `label`
 * (may be NULL) is at most SLOT_LABEL_MAX bytes of UTF-8 without control
 * characters. */
int slot_make(struct slot_file *out, const struct store_id *store,
	      const struct masters *masters, const char *passphrase,
	      size_t passphrase_size, const struct slot_parameters *parameters,
	      const char *label, struct err *err);
/* Structure, limits, and that it is of `store` and is called `id_hex`. */
int slot_check(const void *data, size_t size, const struct store_id *store,
	       const char *id_hex, struct err *err);
/* A checked slot. -EKEYREJECTED when the passphrase does not open it. For a
 * clear slot the passphrase is not looked at. */
int slot_open(const struct slot_file *slot, const char *passphrase,
	      size_t passphrase_size, struct masters *out, struct err *err);

/*
 * The recovery copy: config and slots as text that can be printed and typed
 * in again (hex lines, each with a check; no secret in clear unless the store
 * is plaintext). spec/store.md, Recovery copy.
 */
struct bytes;
int recovery_encode(const struct config_file *config,
		    const struct slot_file *slots, size_t slot_count,
		    struct bytes *out, struct err *err);
/* *slots is from malloc(). Names the line that is wrong. */
int recovery_decode(const char *text, size_t size, struct config_file *config,
		    struct slot_file **slots, size_t *slot_count,
		    struct err *err);

#endif
