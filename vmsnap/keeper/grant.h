/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A grant: what its holder may read, under the keeper's own MAC, so that the
 * keeper remembers none. Bytes in, bytes out. spec/protocol.md, Grant. Private.
 */
#ifndef VMSNAP_KEEPER_GRANT_H
#define VMSNAP_KEEPER_GRANT_H

#include "format/store/keys.h"
#include "vmsnap/keeper/protocol.h"

struct keeper_grant {
	unsigned chunk_log2;
	uint64_t size_bytes;
	struct store_id store;
	struct id root;
	char machine[VMS_MACHINE_NAME_MAX + 1];
};

struct keeper_grant_file {
	uint8_t magic[8];
	le32 version;
	le32 chunk_log2;
	le64 size_bytes;
	struct store_id store;
	struct id root;
	char machine[KEEPER_NAME_SIZE];
	uint8_t salt[SALT_SIZE];
	uint8_t mac[32];
};
static_assert(sizeof(struct keeper_grant_file) == KEEPER_GRANT_SIZE,
	      "spec/protocol.md, Grant");

/* -EINVAL: what no store can have, or no name of a machine. */
int keeper_grant_make(const struct keeper_grant *grant,
		      const struct masters *masters,
		      uint8_t out[KEEPER_GRANT_SIZE], struct err *err);
/* What it says; nothing of it is proved. -EBADMSG. */
int keeper_grant_read(const uint8_t data[KEEPER_GRANT_SIZE],
		      struct keeper_grant *out, struct err *err);
/* The same, and it was made with these masters for this store. -EACCES. */
int keeper_grant_check(const uint8_t data[KEEPER_GRANT_SIZE],
		       const struct store_id *store,
		       const struct masters *masters, struct keeper_grant *out,
		       struct err *err);

#endif
