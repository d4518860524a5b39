/* SPDX-License-Identifier: Apache-2.0 */
/* Chunk ids and name tags are HMAC-SHA-256: RFC 4231, and libcrypto's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "format/base/base.h"
#include "format/store/id.h"

static void expect_hmac(const uint8_t key[32], const char *message, size_t size,
			const char *hex)
{
	struct hasher *hasher = hasher_new(key, NULL);
	char text[ID_HEX_SIZE];
	struct id id;

	assert_non_null(hasher);
	/* The kind is the message's first byte, whatever it is. */
	assert_int_equal(hasher_id(hasher, (enum chunk_kind)(uint8_t)message[0],
				   message + 1, size - 1, &id, NULL),
			 0);
	hex_encode(text, id.b, sizeof(id.b));
	assert_string_equal(text, hex);
	hasher_free(hasher);
}

static void test_rfc4231(void **state)
{
	uint8_t key[32] = { 0 };
	char message[50];

	(void)state;
	/* HMAC pads a short key with zeros, so that these fit 32 bytes. */
	memset(key, 0x0b, 20);
	expect_hmac(key, "Hi There", 8,
		    "b0344c61d8db38535ca8afceaf0bf12b"
		    "881dc200c9833da726e9376c2e32cff7");
	memset(key, 0, sizeof(key));
	memcpy(key, "Jefe", 4);
	expect_hmac(key, "what do ya want for nothing?", 28,
		    "5bdcc146bf60754e6a042426089575c7"
		    "5a003f089d2739839dec58b964ec3843");
	memset(key, 0, sizeof(key));
	memset(key, 0xaa, 20);
	memset(message, 0xdd, sizeof(message));
	expect_hmac(key, message, sizeof(message),
		    "773ea91e36800e46854db8ebd09181a7"
		    "2959098b3ef8c122d9635514ced565fe");
}

static void test_sizes_against_libcrypto(void **state)
{
	static const size_t sizes[] = { 0,  1,  54, 55,   56,
					63, 64, 65, 4096, 65536 };
	struct hasher *hasher;
	uint8_t key[32], expected[32], *message = malloc(65537);
	struct id id;

	(void)state;
	assert_non_null(message);
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < 65537; i++)
		message[i] = (uint8_t)(i * 31 + i / 256);
	hasher = hasher_new(key, NULL);
	assert_non_null(hasher);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		message[0] = CHUNK_NODE;
		HMAC(EVP_sha256(), key, sizeof(key), message, sizes[i] + 1,
		     expected, NULL);
		assert_int_equal(hasher_id(hasher, CHUNK_NODE, message + 1,
					   sizes[i], &id, NULL),
				 0);
		assert_memory_equal(id.b, expected, 32);
		assert_int_equal(hasher_id(hasher, CHUNK_DATA, message + 1,
					   sizes[i], &id, NULL),
				 0);
		assert_memory_not_equal(id.b, expected, 32);
	}
	hasher_free(hasher);
	free(message);
}

static void test_name_tag(void **state)
{
	uint8_t key[32] = { 1 }, expected[32], tag[8];
	struct hasher *hasher = hasher_new(key, NULL);

	(void)state;
	assert_non_null(hasher);
	HMAC(EVP_sha256(), key, sizeof(key), (const uint8_t *)"\x10web", 4,
	     expected, NULL);
	assert_int_equal(hasher_name_tag(hasher, "web", tag, NULL), 0);
	assert_memory_equal(tag, expected, 8);
	hasher_free(hasher);
}

static void test_compare(void **state)
{
	struct id a = { { 0 } }, b = { { 0 } };

	(void)state;
	assert_true(id_is_null(&a));
	assert_true(id_equal(&a, &b));
	b.b[31] = 1;
	assert_false(id_is_null(&b));
	assert_true(id_compare(&a, &b) < 0);
	a.b[0] = 0x80;
	assert_true(id_compare(&a, &b) > 0);
	hasher_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc4231),
		cmocka_unit_test(test_sizes_against_libcrypto),
		cmocka_unit_test(test_name_tag),
		cmocka_unit_test(test_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
