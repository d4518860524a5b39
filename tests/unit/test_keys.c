/* SPDX-License-Identifier: Apache-2.0 */
/* Config and key slots; each rule of the spec seen failing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <xxhash.h>

#include "format/base/base.h"
#include "format/store/keys.h"

static const struct slot_parameters quick = { .log2_n = 10, .r = 8, .p = 1 };
static const struct store_id store = { { 1, 2, 3 } };

static void fix_sum(void *data, size_t size)
{
	le64 sum = le64_make(XXH3_64bits(data, size));

	memcpy((uint8_t *)data + size, &sum, sizeof(sum));
}

static void expect(int r, const struct err *err, int code, const char *words)
{
	if (r != code || !strstr(err->text, words))
		fail_msg("%d '%s' instead of %d '%s'", r, err->text, code,
			 words);
}

static struct masters some_masters(void)
{
	struct masters masters;

	assert_int_equal(masters_make(&masters, NULL), 0);
	assert_true(bytes_are_zero(masters.reserved, 32));
	assert_false(bytes_are_zero(masters.id_key, 32));
	assert_memory_not_equal(masters.id_key, masters.data_key, 32);
	assert_memory_not_equal(masters.data_key, masters.filter_key, 32);
	return masters;
}

static const struct store_config good = {
	.store = { { 1, 2, 3 } },
	.plaintext = true,
	.chunk_log2 = 16,
	.level = -7,
	.pack_size_bytes = 32u << 20,
	.created_ns = -5,
};

static void test_config(void **state)
{
	struct masters masters = some_masters(), other = some_masters();
	struct store_config back;
	struct config_file file;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(config_encode(&good, &masters, &file, NULL), 0);
	assert_int_equal(config_decode(&file, sizeof(file), &back, NULL), 0);
	assert_memory_equal(&back.store, &good.store, sizeof(good.store));
	assert_true(back.plaintext && back.chunk_log2 == 16);
	assert_true(back.level == -7 && back.created_ns == -5);
	assert_true(back.pack_size_bytes == 32u << 20);
	assert_int_equal(config_verify(&file, &masters, NULL), 0);
	expect(config_verify(&file, &other, &err), &err, -EBADMSG, "MAC");
	for (size_t at = 0; at < sizeof(file); at++) {
		((uint8_t *)&file)[at] ^= 2;
		assert_int_equal(config_verify(&file, &masters, NULL),
				 -EBADMSG);
		((uint8_t *)&file)[at] ^= 2;
	}
}

static void config_refused(size_t at, uint32_t value, bool fixed, int code,
			   const char *words)
{
	struct masters masters = some_masters();
	struct config_file file;
	struct store_config back;
	struct err err = { 0 };
	le32 le = le32_make(value);

	assert_int_equal(config_encode(&good, &masters, &file, NULL), 0);
	memcpy((uint8_t *)&file + at, &le, sizeof(le));
	if (fixed)
		fix_sum(&file, 88);
	expect(config_decode(&file, sizeof(file), &back, &err), &err, code,
	       words);
}

static void test_config_refuses(void **state)
{
	struct masters masters = some_masters();
	struct config_file file[2];
	struct store_config back;
	struct err err = { 0 };

	(void)state;
	config_refused(0, 0, true, -EBADMSG, "magic");
	config_refused(8, 2, false, -EOPNOTSUPP, "version 2");
	config_refused(8, 0, true, -EOPNOTSUPP, "version 0");
	config_refused(12, 1, false, -EOPNOTSUPP, "0x1");
	config_refused(20, 2, true, -EBADMSG, "flags");
	config_refused(40, 13, true, -EBADMSG, "chunk size");
	config_refused(40, 23, true, -EBADMSG, "chunk size");
	config_refused(44, 0, true, -EBADMSG, "level");
	config_refused(44, 20, true, -EBADMSG, "level");
	config_refused(44, (uint32_t)-8, true, -EBADMSG, "level");
	config_refused(48, 2, true, -EOPNOTSUPP, "suites");
	config_refused(52, 2, true, -EOPNOTSUPP, "suites");
	config_refused(56, (1 << 20) - 1, true, -EBADMSG, "pack size");
	config_refused(56, (1 << 30) + 1, true, -EBADMSG, "pack size");
	config_refused(60, 1, true, -EBADMSG, "pack size");
	config_refused(72, 1, true, -EBADMSG, "reserved");
	config_refused(84, 1u << 31, true, -EBADMSG, "reserved");
	for (size_t at = 16; at < 92; at += 4)
		config_refused(at, 0x5a5a5a5a, false, -EBADMSG, "checksum");

	assert_int_equal(config_encode(&good, &masters, file, NULL), 0);
	file[1] = file[0];
	for (size_t size = 0; size <= 256; size++) {
		if (size != sizeof(*file))
			assert_int_equal(config_decode(file, size, &back, &err),
					 -EBADMSG);
	}
	assert_int_equal(config_decode(NULL, 0, &back, NULL), -EBADMSG);
	/* A later version may have another size. */
	file->version = le32_make(2);
	assert_int_equal(config_decode(file, 200, &back, NULL), -EOPNOTSUPP);
	/* Compatible features may be there. */
	file->version = le32_make(1);
	file->compat = le32_make(4);
	fix_sum(file, 88);
	assert_int_equal(config_decode(file, 128, &back, NULL), 0);
}

static void test_config_encode_refuses(void **state)
{
	struct masters masters = some_masters();
	struct store_config config = good;
	struct config_file file;

	(void)state;
	config.level = 0;
	assert_int_equal(config_encode(&config, &masters, &file, NULL),
			 -EINVAL);
	config = good;
	config.chunk_log2 = 13;
	assert_int_equal(config_encode(&config, &masters, &file, NULL),
			 -EINVAL);
	config = good;
	config.pack_size_bytes = 1;
	assert_int_equal(config_encode(&config, &masters, &file, NULL),
			 -EINVAL);
}

static int check(const struct slot_file *slot, size_t size, struct err *err)
{
	char id_hex[SLOT_ID_HEX_SIZE];

	hex_encode(id_hex, slot->id, sizeof(slot->id));
	return slot_check(slot, size, &store, id_hex, err);
}

static void make(struct slot_file *slot, const struct masters *masters,
		 const char *passphrase)
{
	assert_int_equal(slot_make(slot, &store, masters, passphrase,
				   passphrase ? strlen(passphrase) : 0, &quick,
				   "a label", NULL),
			 0);
}

static void test_slot(void **state)
{
	struct masters masters = some_masters(), back;
	struct slot_file slot, second;
	struct err err = { 0 };

	(void)state;
	make(&slot, &masters, "secret");
	assert_int_equal(check(&slot, sizeof(slot), NULL), 0);
	assert_string_equal(slot.label, "a label");
	assert_int_equal(slot_open(&slot, "secret", 6, &back, NULL), 0);
	assert_memory_equal(&back, &masters, sizeof(back));
	expect(slot_open(&slot, "Secret", 6, &back, &err), &err, -EKEYREJECTED,
	       "passphrase");
	assert_int_equal(slot_open(&slot, "secret", 5, &back, NULL),
			 -EKEYREJECTED);
	assert_int_equal(slot_open(&slot, NULL, 0, &back, NULL), -EKEYREJECTED);
	/* Everything ahead of the masters is authenticated. */
	slot.label[3] ^= 1;
	fix_sum(&slot, 320);
	assert_int_equal(check(&slot, sizeof(slot), NULL), 0);
	assert_int_equal(slot_open(&slot, "secret", 6, &back, NULL),
			 -EKEYREJECTED);

	/* Two of the same passphrase share nothing. */
	make(&slot, &masters, "secret");
	make(&second, &masters, "secret");
	assert_memory_not_equal(slot.id, second.id, 16);
	assert_memory_not_equal(slot.salt, second.salt, 32);
	assert_memory_not_equal(slot.masters, second.masters, 128);
}

static void scrypt(const char *pass, const void *salt, size_t salt_size,
		   uint64_t n, uint8_t *out, size_t size)
{
	uint32_t r = 8, p = 1;
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[] = {
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PASSWORD, (char *)pass,
					strlen(pass)),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt,
					salt_size),
		OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
		OSSL_PARAM_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
		OSSL_PARAM_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
		OSSL_PARAM_END,
	};

	assert_int_equal(EVP_KDF_derive(ctx, out, size, params), 1);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

/* A slot opened with nothing of ours, by a scrypt held against RFC 7914. */
static void test_slot_from_the_spec(void **state)
{
	static const char rfc7914[] = "7023bdcb3afd7348461c06cd81fd38eb"
				      "fda8fbba904f8e3ea9b543f6545da1f2";
	static const uint8_t nonce[12];
	struct masters masters = some_masters(), back;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	struct slot_file slot;
	uint8_t key[64];
	char hex[65];
	int n;

	(void)state;
	scrypt("pleaseletmein", "SodiumChloride", 14, 16384, key, 64);
	hex_encode(hex, key, 32);
	assert_string_equal(hex, rfc7914);

	make(&slot, &masters, "open sesame");
	scrypt("open sesame", slot.salt, 32, 1024, key, 32);
	assert_int_equal(
		EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce),
		1);
	assert_int_equal(
		EVP_DecryptUpdate(ctx, NULL, &n, (uint8_t *)&slot, 176), 1);
	assert_int_equal(
		EVP_DecryptUpdate(ctx, (uint8_t *)&back, &n, slot.masters, 128),
		1);
	assert_int_equal(
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, 16, slot.tag),
		1);
	assert_int_equal(EVP_DecryptFinal_ex(ctx, key, &n), 1);
	assert_memory_equal(&back, &masters, sizeof(back));
	EVP_CIPHER_CTX_free(ctx);
}

static void test_clear_slot(void **state)
{
	struct masters masters = some_masters(), back;
	struct slot_file slot;
	struct err err = { 0 };

	(void)state;
	make(&slot, &masters, NULL);
	assert_int_equal(check(&slot, sizeof(slot), NULL), 0);
	assert_int_equal(le32_get(slot.kind), SLOT_CLEAR);
	assert_int_equal(slot_open(&slot, NULL, 0, &back, NULL), 0);
	assert_memory_equal(&back, &masters, sizeof(back));
	assert_int_equal(slot_open(&slot, "whatever", 8, &back, NULL), 0);

	slot.masters[127] = 1;
	expect(slot_open(&slot, NULL, 0, &back, &err), &err, -EBADMSG,
	       "reserved");
	assert_memory_equal(&back, &masters, sizeof(back));
}

static void slot_refused(bool clear, size_t at, uint32_t value, bool fixed,
			 int code, const char *words)
{
	static struct slot_file made[2];
	static bool ready;
	struct masters masters = some_masters();
	struct slot_file slot;
	struct err err = { 0 };
	le32 le = le32_make(value);

	if (!ready) {
		make(&made[0], &masters, "x");
		make(&made[1], &masters, NULL);
		ready = true;
	}
	slot = made[clear];
	memcpy((uint8_t *)&slot + at, &le, sizeof(le));
	if (fixed)
		fix_sum(&slot, 320);
	expect(check(&slot, sizeof(slot), &err), &err, code, words);
}

static void test_slot_refuses(void **state)
{
	(void)state;
	for (int clear = 0; clear < 2; clear++) {
		slot_refused(clear, 0, 0, true, -EBADMSG, "magic");
		slot_refused(clear, 8, 2, false, -EOPNOTSUPP, "version 2");
		slot_refused(clear, 12, 4, false, -EOPNOTSUPP, "0x4");
		slot_refused(clear, 16, 2, true, -EOPNOTSUPP, "kind 2");
		slot_refused(clear, 20, 1, true, -EBADMSG, "reserved");
		slot_refused(clear, 40, 0, true, -EBADMSG, "another store");
		slot_refused(clear, 76, 1, true, -EBADMSG, "reserved");
		slot_refused(clear, 172, 'x', true, -EBADMSG, "label");
		slot_refused(clear, 112, 0xff, true, -EBADMSG, "label");
		slot_refused(clear, 112, '\n', true, -EBADMSG, "label");
		for (size_t at = 16; at < 324; at += 4)
			slot_refused(clear, at, 0x5a5a5a5a, false, -EBADMSG,
				     "checksum");
	}
	slot_refused(false, 64, 9, true, -EBADMSG, "log2 N");
	slot_refused(false, 64, 21, true, -EBADMSG, "log2 N");
	slot_refused(false, 68, 0, true, -EBADMSG, "r is not");
	slot_refused(false, 68, 33, true, -EBADMSG, "r is not");
	slot_refused(false, 72, 0, true, -EBADMSG, "p is not");
	slot_refused(false, 72, 5, true, -EBADMSG, "p is not");
	slot_refused(false, 64, 19, true, -EBADMSG, "256 MiB");
	slot_refused(true, 64, 10, true, -EBADMSG, "clear slot");
	slot_refused(true, 68, 8, true, -EBADMSG, "clear slot");
	slot_refused(true, 72, 1, true, -EBADMSG, "clear slot");
	slot_refused(true, 108, 1, true, -EBADMSG, "clear slot");
	slot_refused(true, 316, 1, true, -EBADMSG, "clear slot");
}

static void test_slot_names_and_sizes(void **state)
{
	struct masters masters = some_masters();
	struct slot_file slot[2];
	struct err err = { 0 };

	(void)state;
	make(&slot[0], &masters, NULL);
	slot[1] = slot[0];
	expect(slot_check(slot, sizeof(*slot), &store,
			  "00112233445566778899aabbccddeeff", &err),
	       &err, -EBADMSG, "name");
	for (size_t size = 0; size < sizeof(slot); size++) {
		if (size != sizeof(*slot))
			assert_int_equal(check(slot, size, &err), -EBADMSG);
	}
	slot->version = le32_make(2);
	assert_int_equal(check(slot, 400, NULL), -EOPNOTSUPP);
}

static int try_make(unsigned log2_n, unsigned r, unsigned p, const char *label)
{
	struct slot_parameters parameters = { log2_n, r, p };
	struct masters masters = some_masters();
	struct slot_file slot;

	return slot_make(&slot, &store, &masters, "x", 1, &parameters, label,
			 NULL);
}

static void test_slot_make_refuses(void **state)
{
	char label[65];

	(void)state;
	memset(label, 'x', sizeof(label));
	label[64] = 0;
	assert_int_equal(try_make(10, 1, 1, label), -EINVAL);
	label[63] = 0;
	assert_int_equal(try_make(10, 1, 1, label), 0);
	assert_int_equal(try_make(10, 1, 1, "\x80"), -EINVAL);
	assert_int_equal(try_make(10, 1, 1, "a\tb"), -EINVAL);
	assert_int_equal(try_make(10, 1, 4, "\xc3\xa4"), 0);
	assert_int_equal(try_make(9, 8, 1, NULL), -EINVAL);
	assert_int_equal(try_make(21, 1, 1, NULL), -EINVAL);
	assert_int_equal(try_make(16, 1, 1, NULL), -EINVAL);
	assert_int_equal(try_make(10, 0, 1, NULL), -EINVAL);
	assert_int_equal(try_make(10, 33, 1, NULL), -EINVAL);
	assert_int_equal(try_make(10, 8, 5, NULL), -EINVAL);
	assert_int_equal(try_make(17, 17, 1, NULL), -EINVAL);
	assert_int_equal(slot_parameters_default.log2_n, 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_config_refuses),
		cmocka_unit_test(test_config_encode_refuses),
		cmocka_unit_test(test_slot),
		cmocka_unit_test(test_slot_from_the_spec),
		cmocka_unit_test(test_clear_slot),
		cmocka_unit_test(test_slot_refuses),
		cmocka_unit_test(test_slot_names_and_sizes),
		cmocka_unit_test(test_slot_make_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
