/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM with the cipher fetched once and the key schedule kept while the
 * key stays the same: per call only the nonce is set, so that 64 KiB run at
 * libcrypto's full speed. Sealing and opening have a context each, because
 * turning one around would set the key anew.
 *
 * What fails to authenticate is wiped: no caller can use it by mistake.
 */
#include "format/store/seal.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "format/base/base.h"
#include "format/base/le.h"

#define NONCE_SIZE 12

struct direction {
	EVP_CIPHER_CTX *ctx;
	struct object_key key;
	bool has_key;
};

struct sealer {
	EVP_CIPHER *cipher;
	struct direction seal, open;
};

struct tagger {
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *ctx;
};

static int failed(struct err *err)
{
	return err_set(err, -EIO, "libcrypto failed in AES-256-GCM");
}

int object_key_derive(struct object_key *out, const uint8_t data_key[KEY_SIZE],
		      const uint8_t salt[SALT_SIZE], const char *word,
		      struct err *err)
{
	static const char prefix[] = "vmsnap v1 ";
	char info[32];
	uint8_t secret[KEY_SIZE], salt_copy[SALT_SIZE];
	size_t prefix_size = sizeof(prefix) - 1, word_size = strlen(word);
	OSSL_PARAM params[5];
	struct object_key key;
	EVP_KDF *kdf;
	EVP_KDF_CTX *ctx;
	bool ok;

	if (word_size > sizeof(info) - prefix_size)
		return err_set(err, -EINVAL, "key word '%s' is too long", word);
	memcpy(info, prefix, prefix_size);
	memcpy(info + prefix_size, word, word_size);
	/* OSSL_PARAM takes pointers that aren't const. */
	memcpy(secret, data_key, sizeof(secret));
	memcpy(salt_copy, salt, sizeof(salt_copy));
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
						     (char[]){ "SHA256" }, 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
						      secret, sizeof(secret));
	params[2] = OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_SALT, salt_copy, sizeof(salt_copy));
	params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info,
						      prefix_size + word_size);
	params[4] = OSSL_PARAM_construct_end();

	kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	ok = ctx && EVP_KDF_derive(ctx, key.b, sizeof(key.b), params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	wipe(secret, sizeof(secret));
	if (!ok)
		return err_set(err, -EIO, "libcrypto failed in HKDF");
	*out = key;
	wipe(&key, sizeof(key));
	return 0;
}

static void make_nonce(uint8_t nonce[NONCE_SIZE], uint64_t number)
{
	le64 le = le64_make(number);

	memset(nonce, 0, NONCE_SIZE);
	memcpy(nonce, le.b, sizeof(le.b));
}

struct sealer *sealer_new(struct err *err)
{
	struct sealer *sealer;

	if (alloc_array(&sealer, 1, sizeof(*sealer), err) < 0)
		return NULL;

	sealer->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	sealer->seal.ctx = EVP_CIPHER_CTX_new();
	sealer->open.ctx = EVP_CIPHER_CTX_new();
	if (!sealer->cipher || !sealer->seal.ctx || !sealer->open.ctx) {
		sealer_free(sealer);
		err_set(err, -EIO, "libcrypto has no usable AES-256-GCM");
		return NULL;
	}
	return sealer;
}

void sealer_free(struct sealer *sealer)
{
	if (!sealer)
		return;
	EVP_CIPHER_CTX_free(sealer->seal.ctx);
	EVP_CIPHER_CTX_free(sealer->open.ctx);
	EVP_CIPHER_free(sealer->cipher);
	wipe(sealer, sizeof(*sealer));
	free(sealer);
}

/* Set nonce and, where it is another, the key; then feed the AAD. */
static bool begin(struct sealer *sealer, struct direction *direction,
		  const struct object_key *key, uint64_t offset,
		  const void *aad, size_t aad_size)
{
	int encrypt = direction == &sealer->seal, n;
	/* Given again, it would throw the context's memory away. */
	EVP_CIPHER *cipher = EVP_CIPHER_CTX_get0_cipher(direction->ctx)
				     ? NULL
				     : sealer->cipher;
	uint8_t nonce[NONCE_SIZE];
	bool same, ok;

	make_nonce(nonce, offset);
	same = direction->has_key &&
	       CRYPTO_memcmp(direction->key.b, key->b, KEY_SIZE) == 0;
	ok = EVP_CipherInit_ex2(direction->ctx, cipher, same ? NULL : key->b,
				nonce, encrypt, NULL) == 1;
	direction->has_key = ok;
	if (ok && !same)
		direction->key = *key;
	if (ok && aad_size)
		ok = EVP_CipherUpdate(direction->ctx, NULL, &n, aad,
				      (int)aad_size) == 1;
	return ok;
}

int sealer_seal(struct sealer *sealer, const struct object_key *key,
		uint64_t offset, const void *aad, size_t aad_size,
		const void *plain, size_t size, void *out, struct err *err)
{
	EVP_CIPHER_CTX *ctx = sealer->seal.ctx;
	uint8_t *to = out;
	int n = 0, rest = 0;

	if (size > INT_MAX - SEAL_TAG_SIZE || aad_size > INT_MAX)
		return err_set(err, -EINVAL, "%zu bytes are too many to seal",
			       size);
	if (!begin(sealer, &sealer->seal, key, offset, aad, aad_size))
		return failed(err);
	if (size && EVP_EncryptUpdate(ctx, to, &n, plain, (int)size) != 1)
		return failed(err);
	if (EVP_EncryptFinal_ex(ctx, to + n, &rest) != 1 ||
	    (size_t)n + (size_t)rest != size ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_SIZE,
				to + size) != 1)
		return failed(err);
	return 0;
}

int sealer_open(struct sealer *sealer, const struct object_key *key,
		uint64_t offset, const void *aad, size_t aad_size,
		const void *sealed, size_t sealed_size, void *out,
		struct err *err)
{
	EVP_CIPHER_CTX *ctx = sealer->open.ctx;
	uint8_t tag[SEAL_TAG_SIZE];
	uint8_t *to = out;
	int n = 0, rest = 0;
	size_t size;

	if (sealed_size < SEAL_TAG_SIZE)
		return err_set(err, -EBADMSG, "does not authenticate");
	if (sealed_size > INT_MAX || aad_size > INT_MAX)
		return err_set(err, -EINVAL, "%zu bytes are too many to open",
			       sealed_size);
	size = sealed_size - SEAL_TAG_SIZE;
	memcpy(tag, (const uint8_t *)sealed + size, sizeof(tag));
	if (!begin(sealer, &sealer->open, key, offset, aad, aad_size))
		return failed(err);
	if (size && EVP_DecryptUpdate(ctx, to, &n, sealed, (int)size) != 1)
		return failed(err);
	if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_SIZE,
				tag) != 1)
		return failed(err);
	if (EVP_DecryptFinal_ex(ctx, tag, &rest) != 1) {
		if (size)
			wipe(out, size);
		return err_set(err, -EBADMSG, "does not authenticate");
	}
	return 0;
}

struct tagger *tagger_new(const uint8_t filter_key[KEY_SIZE], struct err *err)
{
	struct tagger *tagger;

	if (alloc_array(&tagger, 1, sizeof(*tagger), err) < 0)
		return NULL;

	tagger->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	tagger->ctx = EVP_CIPHER_CTX_new();
	if (!tagger->cipher || !tagger->ctx ||
	    EVP_EncryptInit_ex2(tagger->ctx, tagger->cipher, filter_key, NULL,
				NULL) != 1) {
		tagger_free(tagger);
		err_set(err, -EIO, "libcrypto has no usable AES-256-GCM");
		return NULL;
	}
	return tagger;
}

void tagger_free(struct tagger *tagger)
{
	if (!tagger)
		return;
	EVP_CIPHER_CTX_free(tagger->ctx);
	EVP_CIPHER_free(tagger->cipher);
	free(tagger);
}

int tagger_tag(struct tagger *tagger, uint64_t chunk_number,
	       const void *content, size_t size, struct filter_tag *out,
	       struct err *err)
{
	uint8_t nonce[NONCE_SIZE], none[SEAL_TAG_SIZE];
	struct filter_tag tag;
	int n;

	if (size > INT_MAX)
		return err_set(err, -EINVAL, "%zu bytes are too many to tag",
			       size);
	make_nonce(nonce, chunk_number);
	if (EVP_EncryptInit_ex2(tagger->ctx, NULL, NULL, nonce, NULL) != 1 ||
	    EVP_EncryptUpdate(tagger->ctx, NULL, &n, content, (int)size) != 1 ||
	    EVP_EncryptFinal_ex(tagger->ctx, none, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(tagger->ctx, EVP_CTRL_AEAD_GET_TAG,
				sizeof(tag.b), tag.b) != 1)
		return failed(err);
	*out = tag;
	return 0;
}
