/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMAC-SHA-256 with the key set-up done once. HMAC hashes one block made of
 * the key ahead of the message, and again ahead of the inner digest; both
 * states are kept and copied for each chunk, so that a chunk of 64 KiB costs
 * plain SHA-256 and two blocks more. libcrypto's own HMAC would fetch and
 * re-key each time.
 */
#include "format/store/id.h"

#include <errno.h>

#include <openssl/evp.h>

#include "format/base/base.h"

#define SHA256_BLOCK  64
#define NAME_TAG_KIND 0x10
#define NAME_TAG_SIZE 8

struct hasher {
	EVP_MD *md;
	EVP_MD_CTX *inner; /* after key ^ ipad */
	EVP_MD_CTX *outer; /* after key ^ opad */
	EVP_MD_CTX *work;
};

static int failed(struct err *err)
{
	return err_set(err, -EIO, "libcrypto failed to compute an HMAC");
}

static bool key_state(EVP_MD_CTX *ctx, const EVP_MD *md, const uint8_t key[32],
		      uint8_t pad)
{
	uint8_t block[SHA256_BLOCK];
	bool ok;

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < 32; i++)
		block[i] ^= key[i];
	ok = EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
	     EVP_DigestUpdate(ctx, block, sizeof(block)) == 1;
	wipe(block, sizeof(block));
	return ok;
}

struct hasher *hasher_new(const uint8_t id_key[32], struct err *err)
{
	struct hasher *hasher;

	if (alloc_array(&hasher, 1, sizeof(*hasher), err) < 0)
		return NULL;

	hasher->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	hasher->inner = EVP_MD_CTX_new();
	hasher->outer = EVP_MD_CTX_new();
	hasher->work = EVP_MD_CTX_new();
	if (!hasher->md || !hasher->inner || !hasher->outer || !hasher->work ||
	    !key_state(hasher->inner, hasher->md, id_key, 0x36) ||
	    !key_state(hasher->outer, hasher->md, id_key, 0x5c)) {
		hasher_free(hasher);
		err_set(err, -EIO, "libcrypto has no usable SHA-256");
		return NULL;
	}
	return hasher;
}

void hasher_free(struct hasher *hasher)
{
	if (!hasher)
		return;
	/* libcrypto wipes the states as it frees them. */
	EVP_MD_CTX_free(hasher->work);
	EVP_MD_CTX_free(hasher->outer);
	EVP_MD_CTX_free(hasher->inner);
	EVP_MD_free(hasher->md);
	free(hasher);
}

static int hmac(struct hasher *hasher, uint8_t kind, const void *data,
		size_t size, uint8_t digest[32], struct err *err)
{
	EVP_MD_CTX *work = hasher->work;
	uint8_t inner[32];

	if (EVP_MD_CTX_copy_ex(work, hasher->inner) != 1 ||
	    EVP_DigestUpdate(work, &kind, 1) != 1 ||
	    EVP_DigestUpdate(work, data, size) != 1 ||
	    EVP_DigestFinal_ex(work, inner, NULL) != 1 ||
	    EVP_MD_CTX_copy_ex(work, hasher->outer) != 1 ||
	    EVP_DigestUpdate(work, inner, sizeof(inner)) != 1 ||
	    EVP_DigestFinal_ex(work, digest, NULL) != 1)
		return failed(err);
	return 0;
}

int hasher_id(struct hasher *hasher, enum chunk_kind kind, const void *content,
	      size_t size, struct id *out, struct err *err)
{
	struct id id;
	int r;

	r = hmac(hasher, (uint8_t)kind, content, size, id.b, err);
	if (r < 0)
		return r;
	*out = id;
	return 0;
}

int hasher_name_tag(struct hasher *hasher, const char *name, uint8_t tag[8],
		    struct err *err)
{
	uint8_t digest[32];
	int r;

	r = hmac(hasher, NAME_TAG_KIND, name, strlen(name), digest, err);
	if (r < 0)
		return r;
	memcpy(tag, digest, NAME_TAG_SIZE);
	return 0;
}
