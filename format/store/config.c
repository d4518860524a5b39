/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The config: what all of a store agrees on. Its checksum can be checked by
 * anybody, its MAC only with the masters; the two steps are kept apart since the
 * config is needed to judge a key slot before that slot gives the masters.
 */
#include "format/store/keys.h"

#include <errno.h>
#include <limits.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <xxhash.h>

#include "format/base/base.h"
#include "format/store/codec.h"

#define CONFIG_MAGIC     "VSCONFIG"
#define CONFIG_PLAINTEXT 1u
#define CONFIG_ID_HMAC   1u
#define CONFIG_SEAL_GCM  1u
#define CHUNK_LOG2_MIN   14
#define CHUNK_LOG2_MAX   22
#define PACK_AIM_MIN     MIB
#define PACK_AIM_MAX     GIB

static le64 sum(const struct config_file *file)
{
	return le64_make(
		XXH3_64bits(file, offsetof(struct config_file, check)));
}

static int mac(const struct config_file *file, const struct masters *masters,
	       uint8_t out[32], struct err *err)
{
	uint8_t salt[SALT_SIZE] = { 0 };
	struct object_key key;
	bool ok;
	int r;

	memcpy(salt, file->store.b, STORE_ID_SIZE);
	r = object_key_derive(&key, masters->data_key, salt, "config", err);
	if (r < 0)
		return r;
	ok = HMAC(EVP_sha256(), key.b, sizeof(key.b), (const uint8_t *)file,
		  offsetof(struct config_file, mac), out, NULL) != NULL;
	wipe(&key, sizeof(key));
	if (!ok)
		return err_set(err, -EIO, "libcrypto failed in HMAC");
	return 0;
}

/* What is wrong with the values, or NULL. */
static const char *values_wrong(const struct store_config *config)
{
	if (config->chunk_log2 < CHUNK_LOG2_MIN ||
	    config->chunk_log2 > CHUNK_LOG2_MAX)
		return "the default chunk size is not 16 KiB to 4 MiB";
	if (config->level < CODEC_LEVEL_MIN ||
	    config->level > CODEC_LEVEL_MAX || config->level == 0)
		return "the default level is not -7 to 19 without 0";
	if (config->pack_size_bytes < PACK_AIM_MIN ||
	    config->pack_size_bytes > PACK_AIM_MAX)
		return "the pack size is not 1 MiB to 1 GiB";
	return NULL;
}

int config_encode(const struct store_config *config,
		  const struct masters *masters, struct config_file *out,
		  struct err *err)
{
	const char *wrong = values_wrong(config);
	struct config_file file = { 0 };
	int r;

	if (wrong)
		return err_set(err, -EINVAL, "%s", wrong);
	memcpy(file.magic, CONFIG_MAGIC, sizeof(file.magic));
	file.version = le32_make(STORE_VERSION);
	file.flags = le32_make(config->plaintext ? CONFIG_PLAINTEXT : 0);
	file.store = config->store;
	file.chunk_log2 = le32_make(config->chunk_log2);
	file.level = le32_make((uint32_t)config->level);
	file.id_suite = le32_make(CONFIG_ID_HMAC);
	file.seal_suite = le32_make(CONFIG_SEAL_GCM);
	file.pack_size_bytes = le64_make(config->pack_size_bytes);
	file.created_ns = le64_make((uint64_t)config->created_ns);
	file.check = sum(&file);
	r = mac(&file, masters, file.mac, err);
	if (r < 0)
		return r;
	*out = file;
	return 0;
}

/* What is readable whatever the version, then size and checksum. */
static int check_frame(struct config_file *file, const void *data, size_t size,
		       struct err *err)
{
	le64 found;

	memset(file, 0, sizeof(*file));
	if (size)
		memcpy(file, data, min_u64(size, sizeof(*file)));
	if (memcmp(file->magic, CONFIG_MAGIC, sizeof(file->magic)))
		return err_set(err, -EBADMSG,
			       "'config' at 0: not a store's config (wrong "
			       "magic)");
	if (size >= offsetof(struct config_file, incompat) &&
	    le32_get(file->version) != STORE_VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "'config' at 8: format version %u, known here "
			       "is %u: use a newer vmsnap",
			       le32_get(file->version), STORE_VERSION);
	if (le32_get(file->incompat) != 0)
		return err_set(err, -EOPNOTSUPP,
			       "'config' at 12: needs features 0x%x that are "
			       "not known here: use a newer vmsnap",
			       le32_get(file->incompat));
	if (size != sizeof(*file))
		return err_set(err, -EBADMSG,
			       "'config' has %zu bytes instead of %zu", size,
			       sizeof(*file));
	found = sum(file);
	if (memcmp(&found, &file->check, sizeof(found)))
		return err_set(err, -EBADMSG,
			       "'config' at 88: the checksum is wrong");
	return 0;
}

int config_decode(const void *data, size_t size, struct store_config *out,
		  struct err *err)
{
	struct store_config config;
	struct config_file file;
	const char *wrong;
	int r;

	r = check_frame(&file, data, size, err);
	if (r < 0)
		return r;
	if (le32_get(file.flags) & ~CONFIG_PLAINTEXT)
		return err_set(err, -EBADMSG,
			       "'config' at 20: reserved flags 0x%x",
			       le32_get(file.flags));
	if (!bytes_are_zero(file.reserved, sizeof(file.reserved)))
		return err_set(err, -EBADMSG,
			       "'config' at 72: reserved bytes are not zero");
	if (le32_get(file.id_suite) != CONFIG_ID_HMAC ||
	    le32_get(file.seal_suite) != CONFIG_SEAL_GCM)
		return err_set(err, -EOPNOTSUPP,
			       "'config' at 48: suites %u and %u are not known "
			       "here: use a newer vmsnap",
			       le32_get(file.id_suite),
			       le32_get(file.seal_suite));
	config.store = file.store;
	config.plaintext = le32_get(file.flags) & CONFIG_PLAINTEXT;
	config.chunk_log2 = le32_get(file.chunk_log2);
	config.level = (int32_t)le32_get(file.level);
	config.pack_size_bytes = le64_get(file.pack_size_bytes);
	config.created_ns = (int64_t)le64_get(file.created_ns);
	wrong = values_wrong(&config);
	if (wrong)
		return err_set(err, -EBADMSG, "'config': %s", wrong);
	*out = config;
	return 0;
}

int config_verify(const struct config_file *file, const struct masters *masters,
		  struct err *err)
{
	uint8_t expected[32];
	int r;

	r = mac(file, masters, expected, err);
	if (r < 0)
		return r;
	if (CRYPTO_memcmp(expected, file->mac, sizeof(expected)) != 0)
		return err_set(err, -EBADMSG,
			       "'config' at 96: the MAC is wrong: the key is "
			       "another store's, or the config was changed");
	return 0;
}
