/* SPDX-License-Identifier: Apache-2.0 */
/* Grants: each has a MAC key of its own, derived as the store's objects' are. */
#include "vmsnap/keeper/grant.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "format/store/snapshot.h"

#define GRANT_VERSION 1u

static const uint8_t grant_magic[8] = "VMSGRNT";

static int mac_of(const struct keeper_grant_file *file,
		  const struct masters *masters, uint8_t out[32],
		  struct err *err)
{
	struct object_key key;
	int r = object_key_derive(&key, masters->data_key, file->salt, "grant",
				  err);
	bool ok;

	if (r < 0)
		return r;
	ok = HMAC(EVP_sha256(), key.b, sizeof(key.b), (const uint8_t *)file,
		  offsetof(struct keeper_grant_file, mac), out, NULL) != NULL;
	wipe(&key, sizeof(key));
	return ok ? 0 : err_set(err, -EIO, "libcrypto failed in HMAC");
}

static int check_values(const struct keeper_grant *grant, struct err *err)
{
	if (grant->chunk_log2 < CHUNK_LOG2_MIN ||
	    grant->chunk_log2 > CHUNK_LOG2_MAX)
		return err_set(err, -EINVAL, "chunks of 2^%u bytes",
			       grant->chunk_log2);
	if (grant->size_bytes > VOLUME_SIZE_MAX)
		return err_set(err, -EINVAL, "a volume of %llu bytes",
			       (unsigned long long)grant->size_bytes);
	return vms_machine_check_name(grant->machine, err);
}

int keeper_grant_make(const struct keeper_grant *grant,
		      const struct masters *masters,
		      uint8_t out[KEEPER_GRANT_SIZE], struct err *err)
{
	struct keeper_grant_file file = {
		.version = le32_make(GRANT_VERSION),
		.chunk_log2 = le32_make(grant->chunk_log2),
		.size_bytes = le64_make(grant->size_bytes),
		.store = grant->store,
		.root = grant->root,
	};
	int r = check_values(grant, err);

	if (r)
		return r;
	memcpy(file.magic, grant_magic, sizeof(grant_magic));
	memcpy(file.machine, grant->machine, strlen(grant->machine));
	r = random_fill(file.salt, sizeof(file.salt), err);
	if (!r)
		r = mac_of(&file, masters, file.mac, err);
	if (!r)
		memcpy(out, &file, sizeof(file));
	return r;
}

int keeper_grant_read(const uint8_t data[KEEPER_GRANT_SIZE],
		      struct keeper_grant *out, struct err *err)
{
	struct keeper_grant grant = { 0 };
	struct keeper_grant_file file;
	size_t size;

	memcpy(&file, data, sizeof(file));
	if (memcmp(file.magic, grant_magic, sizeof(grant_magic)) != 0 ||
	    le32_get(file.version) != GRANT_VERSION)
		return err_set(err, -EBADMSG, "no grant of a keeper's");
	grant.chunk_log2 = le32_get(file.chunk_log2);
	grant.size_bytes = le64_get(file.size_bytes);
	grant.store = file.store;
	grant.root = file.root;
	size = strnlen(file.machine, VMS_MACHINE_NAME_MAX);
	memcpy(grant.machine, file.machine, size);
	if (!bytes_are_zero(file.machine + size, sizeof(file.machine) - size) ||
	    check_values(&grant, NULL))
		return err_set(err, -EBADMSG, "a grant that can't be");
	*out = grant;
	return 0;
}

int keeper_grant_check(const uint8_t data[KEEPER_GRANT_SIZE],
		       const struct store_id *store,
		       const struct masters *masters, struct keeper_grant *out,
		       struct err *err)
{
	struct keeper_grant_file file;
	struct keeper_grant grant;
	uint8_t mac[32];
	int r;

	memcpy(&file, data, sizeof(file));
	/* The MAC before all else: nothing is parsed that isn't our own. */
	r = mac_of(&file, masters, mac, err);
	if (r)
		return r;
	if (CRYPTO_memcmp(mac, file.mac, sizeof(mac)) != 0 ||
	    memcmp(&file.store, store, sizeof(*store)) != 0 ||
	    keeper_grant_read(data, &grant, NULL))
		return err_set(err, -EACCES,
			       "a grant that this store's keeper did not "
			       "give");
	*out = grant;
	return 0;
}
