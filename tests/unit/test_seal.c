/* SPDX-License-Identifier: Apache-2.0 */
/* Object keys (RFC 5869), seals and tags (the GCM vectors of NIST). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdio.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "format/base/base.h"
#include "format/store/seal.h"

static void expect_hex(const void *data, size_t size, const char *hex)
{
	char text[257];

	assert_true(size <= 128);
	hex_encode(text, data, size);
	assert_string_equal(text, hex);
}

/* HKDF-SHA-256 of RFC 5869, for up to two blocks, written out. */
static void hkdf(const void *secret, size_t secret_size, const void *salt,
		 size_t salt_size, const void *info, size_t info_size,
		 uint8_t out[64])
{
	uint8_t prk[32], message[32 + 64 + 1];

	HMAC(EVP_sha256(), salt, (int)salt_size, secret, secret_size, prk,
	     NULL);
	memcpy(message + 32, info, info_size);
	message[32 + info_size] = 1;
	HMAC(EVP_sha256(), prk, 32, message + 32, info_size + 1, out, NULL);
	memcpy(message, out, 32);
	message[32 + info_size] = 2;
	HMAC(EVP_sha256(), prk, 32, message, 32 + info_size + 1, out + 32,
	     NULL);
}

static void test_object_key(void **state)
{
	uint8_t secret[32], salt[32], info[10], out[64];
	static const char *const words[] = { "pack", "table",     "snapshot",
					     "pin",  "condemned", "config" };
	struct object_key key, old = { { 0 } };

	(void)state;
	memset(secret, 0x0b, 22);
	for (size_t i = 0; i < 13; i++)
		salt[i] = (uint8_t)i;
	for (size_t i = 0; i < 10; i++)
		info[i] = (uint8_t)(0xf0 + i);
	hkdf(secret, 22, salt, 13, info, 10, out);
	expect_hex(out, 42,
		   "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56"
		   "ecc4c5bf34007208d5b887185865");

	memset(secret, 0x21, sizeof(secret));
	memset(salt, 0x43, sizeof(salt));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		char text[32];
		int n = snprintf(text, sizeof(text), "vmsnap v1 %s", words[i]);

		hkdf(secret, 32, salt, 32, text, (size_t)n, out);
		assert_int_equal(
			object_key_derive(&key, secret, salt, words[i], NULL),
			0);
		assert_memory_equal(key.b, out, 32);
		assert_memory_not_equal(key.b, old.b, 32);
		old = key;
	}
	assert_int_equal(object_key_derive(&key, secret, salt,
					   "a word that is far too long", NULL),
			 -EINVAL);
	assert_memory_equal(key.b, old.b, 32);
}

static void test_nist_gcm(void **state)
{
	struct sealer *sealer = sealer_new(NULL);
	struct object_key key = { { 0 } };
	uint8_t plain[16] = { 0 }, out[32];

	(void)state;
	assert_non_null(sealer);
	/* Test cases 13 and 14 of the GCM specification: key and IV zero. */
	assert_int_equal(
		sealer_seal(sealer, &key, 0, NULL, 0, NULL, 0, out, NULL), 0);
	expect_hex(out, 16, "530f8afbc74536b9a963b4f1c4cb738b");
	assert_int_equal(
		sealer_seal(sealer, &key, 0, NULL, 0, plain, 16, out, NULL), 0);
	expect_hex(out, 32,
		   "cea7403d4d606b6e074ec5d3baf39d18"
		   "d0d1c8a799996bf0265b98b5d48ab919");
	assert_int_equal(
		sealer_open(sealer, &key, 0, NULL, 0, out, 32, out, NULL), 0);
	assert_memory_equal(out, plain, 16);
	sealer_free(sealer);
}

/* The same by libcrypto's own calls, nonce and all. */
static void plain_gcm(const uint8_t key[32], const uint8_t nonce[12],
		      const void *aad, size_t aad_size, const void *plain,
		      size_t size, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	assert_non_null(ctx);
	assert_int_equal(
		EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce),
		1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, aad, (int)aad_size),
			 1);
	if (size)
		assert_int_equal(
			EVP_EncryptUpdate(ctx, out, &n, plain, (int)size), 1);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, out + size, &n), 1);
	assert_int_equal(
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, out + size),
		1);
	EVP_CIPHER_CTX_free(ctx);
}

static void test_nonce_and_keys(void **state)
{
	static const uint8_t nonce[12] = { 8, 7, 6, 5, 4, 3, 2, 1 };
	struct sealer *sealer = sealer_new(NULL);
	struct object_key keys[2] = { { { 1 } }, { { 2 } } };
	uint8_t plain[100], sealed[116], expected[116], back[100];

	(void)state;
	assert_non_null(sealer);
	memset(plain, 0x5a, sizeof(plain));
	/* Keys in turn and again: the kept key schedule is the right one. */
	for (int i = 0; i < 6; i++) {
		const struct object_key *key = &keys[i / 2 % 2];

		plain_gcm(key->b, nonce, "about", 5, plain, sizeof(plain),
			  expected);
		assert_int_equal(sealer_seal(sealer, key, 0x0102030405060708,
					     "about", 5, plain, sizeof(plain),
					     sealed, NULL),
				 0);
		assert_memory_equal(sealed, expected, sizeof(sealed));
		assert_int_equal(sealer_open(sealer, key, 0x0102030405060708,
					     "about", 5, sealed, sizeof(sealed),
					     back, NULL),
				 0);
		assert_memory_equal(back, plain, sizeof(plain));
	}
	sealer_free(sealer);
	sealer_free(NULL);
}

static void test_open_refuses(void **state)
{
	struct sealer *sealer = sealer_new(NULL);
	struct object_key key = { { 1 } }, other = { { 2 } };
	uint8_t sealed[48], back[48], zeros[32] = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_non_null(sealer);
	assert_int_equal(
		sealer_seal(sealer, &key, 80, "ab", 2, zeros, 32, sealed, NULL),
		0);
	for (size_t i = 0; i < sizeof(sealed); i++) {
		sealed[i] ^= 4;
		memset(back, 0xee, sizeof(back));
		assert_int_equal(sealer_open(sealer, &key, 80, "ab", 2, sealed,
					     48, back, &err),
				 -EBADMSG);
		assert_string_equal(err.text, "does not authenticate");
		/* Nothing of what was decrypted is left. */
		assert_memory_equal(back, zeros, 32);
		sealed[i] ^= 4;
	}
	assert_int_equal(
		sealer_open(sealer, &key, 81, "ab", 2, sealed, 48, back, NULL),
		-EBADMSG);
	assert_int_equal(
		sealer_open(sealer, &key, 80, "ac", 2, sealed, 48, back, NULL),
		-EBADMSG);
	assert_int_equal(
		sealer_open(sealer, &key, 80, NULL, 0, sealed, 48, back, NULL),
		-EBADMSG);
	assert_int_equal(sealer_open(sealer, &other, 80, "ab", 2, sealed, 48,
				     back, NULL),
			 -EBADMSG);
	assert_int_equal(
		sealer_open(sealer, &key, 80, "ab", 2, sealed, 47, back, NULL),
		-EBADMSG);
	assert_int_equal(
		sealer_open(sealer, &key, 80, "ab", 2, sealed, 15, back, NULL),
		-EBADMSG);
	/* And after all these failures the right one opens. */
	assert_int_equal(
		sealer_open(sealer, &key, 80, "ab", 2, sealed, 48, back, NULL),
		0);
	sealer_free(sealer);
}

static void test_tags(void **state)
{
	uint8_t zero_key[32] = { 0 }, key[32] = { 9 };
	uint8_t nonce[12] = { 5 }, expected[16], *content;
	struct tagger *tagger = tagger_new(zero_key, NULL);
	struct filter_tag tag;

	(void)state;
	assert_non_null(tagger);
	assert_int_equal(tagger_tag(tagger, 0, NULL, 0, &tag, NULL), 0);
	expect_hex(tag.b, 16, "530f8afbc74536b9a963b4f1c4cb738b");
	tagger_free(tagger);

	content = calloc(1, 65536);
	assert_non_null(content);
	content[65535] = 1;
	tagger = tagger_new(key, NULL);
	assert_non_null(tagger);
	for (size_t size = 65536; size; size /= 3) {
		plain_gcm(key, nonce, content, size, NULL, 0, expected);
		assert_int_equal(
			tagger_tag(tagger, 5, content, size, &tag, NULL), 0);
		assert_memory_equal(tag.b, expected, 16);
		assert_int_equal(
			tagger_tag(tagger, 6, content, size, &tag, NULL), 0);
		assert_memory_not_equal(tag.b, expected, 16);
	}
	tagger_free(tagger);
	tagger_free(NULL);
	free(content);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_object_key),
		cmocka_unit_test(test_nist_gcm),
		cmocka_unit_test(test_nonce_and_keys),
		cmocka_unit_test(test_open_refuses),
		cmocka_unit_test(test_tags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
