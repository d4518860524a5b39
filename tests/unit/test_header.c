/* SPDX-License-Identifier: Apache-2.0 */
/* Headers, trailers, entries and sealed objects; each rule seen failing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/store/entry.h"
#include "format/store/header.h"

static const struct store_id store = { { 1, 2, 3 } };
static const struct store_id other_store = { { 1, 2, 4 } };
static const uint8_t data_key[32] = { 7 };

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

static void header_refused(size_t at, uint8_t flip, bool fixed, int code,
			   const char *words)
{
	uint8_t salt[32] = { 5 };
	struct object_header header;
	struct err err = { 0 };

	object_header_make(&header, OBJECT_PACK, &store, salt);
	((uint8_t *)&header)[at] ^= flip;
	if (fixed)
		fix_sum(&header, 72);
	expect(object_header_check(&header, OBJECT_PACK, &store, "packs/x",
				   &err),
	       &err, code, words);
	assert_non_null(strstr(err.text, "packs/x"));
}

static void test_header(void **state)
{
	static const enum object_kind kinds[] = { OBJECT_PACK, OBJECT_TABLE,
						  OBJECT_SNAPSHOT, OBJECT_PIN,
						  OBJECT_CONDEMNED };
	uint8_t salt[32] = { 5 };
	struct object_header header;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		object_header_make(&header, kinds[i], &store, salt);
		for (size_t j = 0; j < ARRAY_SIZE(kinds); j++)
			assert_int_equal(object_header_check(&header, kinds[j],
							     &store, "x", NULL),
					 i == j ? 0 : -EBADMSG);
		assert_int_equal(object_header_check(&header, kinds[i],
						     &other_store, "x", NULL),
				 -EBADMSG);
		assert_memory_equal(header.salt, salt, sizeof(salt));
	}
	assert_string_equal(object_folder(OBJECT_SNAPSHOT), "snapshots");
	assert_string_equal(object_word(OBJECT_TABLE), "table");

	/* Compatible features may be there. */
	header.compat = le32_make(1);
	fix_sum(&header, 72);
	assert_int_equal(object_header_check(&header, OBJECT_CONDEMNED, &store,
					     "x", NULL),
			 0);
}

static void test_header_refuses(void **state)
{
	(void)state;
	header_refused(0, 1, true, -EBADMSG, "magic");
	header_refused(7, 1, true, -EBADMSG, "magic");
	/* Too new comes before the checksum. */
	header_refused(8, 3, false, -EOPNOTSUPP, "version 2");
	header_refused(12, 1, false, -EOPNOTSUPP, "0x1");
	header_refused(15, 0x80, false, -EOPNOTSUPP, "0x80000000");
	header_refused(20, 1, true, -EBADMSG, "reserved");
	header_refused(24, 1, true, -EBADMSG, "another store");
	for (size_t at = 16; at < 80; at++)
		header_refused(at, 1, false, -EBADMSG, "checksum");
}

static void trailer_refused(enum object_kind kind, size_t at, uint8_t flip,
			    bool fixed, int code, const char *words)
{
	struct object_trailer trailer;
	struct err err = { 0 };

	object_trailer_make(&trailer, kind, kind == OBJECT_PACK, 200, 64);
	((uint8_t *)&trailer)[at] ^= flip;
	if (fixed)
		fix_sum(&trailer, 40);
	expect(object_trailer_check(&trailer, kind, 312, "t", &err), &err, code,
	       words);
}

static int trailer_check(uint32_t count, uint64_t offset, uint64_t length,
			 uint64_t object_length, uint64_t size)
{
	struct object_trailer trailer;

	object_trailer_make(&trailer, OBJECT_PACK, count, offset, length);
	trailer.object_length = le64_make(object_length);
	fix_sum(&trailer, 40);
	return object_trailer_check(&trailer, OBJECT_PACK, size, "t", NULL);
}

static void test_trailer(void **state)
{
	(void)state;
	assert_int_equal(trailer_check(1, 200, 64, 312, 312), 0);
	assert_int_equal(trailer_check(1, 80, 16, 144, 144), 0);
	assert_int_equal(trailer_check(0, 200, 64, 312, 312), -EBADMSG);
	assert_int_equal(trailer_check(1 << 20, 200, 64, 312, 312), 0);
	assert_int_equal(trailer_check((1 << 20) + 1, 200, 64, 312, 312),
			 -EBADMSG);
	assert_int_equal(trailer_check(1, 79, 17, 144, 144), -EBADMSG);
	assert_int_equal(trailer_check(1, 81, 15, 144, 144), -EBADMSG);
	assert_int_equal(trailer_check(1, 200, 63, 312, 312), -EBADMSG);
	assert_int_equal(trailer_check(1, 200, 65, 312, 312), -EBADMSG);
	assert_int_equal(trailer_check(1, 200, 64, 313, 312), -EBADMSG);
	assert_int_equal(trailer_check(1, 200, 64, 312, 313), -EBADMSG);
	assert_int_equal(trailer_check(1, UINT64_MAX - 10, 275, 312, 312),
			 -EBADMSG);
	assert_int_equal(trailer_check(1, 200, 64, 312, 100), -EBADMSG);
	assert_int_equal(trailer_check(1, 200, 64, 312, 0), -EBADMSG);
	assert_int_equal(
		trailer_check(1, 80, (1 << 30) - 128, 1 << 30, 1 << 30), 0);
	assert_int_equal(trailer_check(1, 81, (1 << 30) - 128, (1 << 30) + 1,
				       (1 << 30) + 1),
			 -EBADMSG);
	trailer_refused(OBJECT_PACK, 0, 1, true, -EBADMSG, "trailer");
	trailer_refused(OBJECT_PACK, 8, 2, false, -EOPNOTSUPP, "0x2");
	trailer_refused(OBJECT_TABLE, 12, 1, true, -EBADMSG, "count");
	for (size_t at = 12; at < 48; at++)
		trailer_refused(OBJECT_TABLE, at, 8, false, -EBADMSG,
				"checksum");
}

static const char *wrong(uint32_t offset, uint32_t stored, unsigned codec,
			 uint32_t content, unsigned kind, uint64_t end)
{
	struct id id = { { 1 } };
	struct entry e;

	entry_make(&e, &id, 0, offset, stored, (enum codec_kind)codec, content,
		   (enum chunk_kind)kind);
	return entry_wrong(&e, end);
}

static void test_entry(void **state)
{
	struct id null = { { 0 } }, id = { { 9 } };
	uint8_t aad[CHUNK_AAD_SIZE];
	struct entry e;

	(void)state;
	assert_null(wrong(80, 116, 0, 100, 0, 196));
	assert_null(wrong(80, 115, 1, 100, 1, UINT32_MAX));
	assert_null(wrong(80, 17, 0, 1, 0, 97));
	assert_null(wrong(80, (4 << 20) + 16, 0, 4 << 20, 0, UINT32_MAX));
	assert_non_null(wrong(79, 116, 0, 100, 0, 196));
	assert_non_null(wrong(80, 116, 0, 100, 0, 195));
	assert_non_null(wrong(80, 16, 1, 100, 0, 196));
	assert_non_null(wrong(80, 0, 1, 100, 0, 196));
	assert_non_null(wrong(80, 20, 1, 0, 0, 196));
	assert_non_null(wrong(80, 117, 0, 100, 0, 197));
	assert_non_null(wrong(80, 116, 1, 100, 0, 196));
	assert_non_null(wrong(80, 115, 2, 100, 0, 196));
	assert_non_null(wrong(80, 115, 255, 100, 0, 196));
	assert_non_null(wrong(80, 116, 0, 100, 2, 196));
	assert_non_null(wrong(1 << 30, 116, 0, 100, 0, UINT32_MAX));
	assert_non_null(wrong(UINT32_MAX, 116, 0, 100, 0, UINT64_MAX));

	entry_make(&e, &null, 0, 80, 116, CODEC_RAW, 100, CHUNK_DATA);
	assert_non_null(entry_wrong(&e, UINT32_MAX));
	/* What entry_make() itself would not make. */
	entry_make(&e, &id, 0, 80, 20, CODEC_ZSTD, 100, CHUNK_NODE);
	e.content = le32_make((4 << 20) + 1);
	assert_non_null(entry_wrong(&e, UINT32_MAX));
	e.stored = le32_make((4 << 20) + 17);
	assert_non_null(entry_wrong(&e, UINT32_MAX));

	entry_make(&e, &id, 3, 80, 20, CODEC_ZSTD, 0x10203, CHUNK_NODE);
	entry_aad(&e, aad);
	assert_memory_equal(aad, "\1\1\3\2\1\0\11\0", 8);
	assert_memory_equal(aad + 6, id.b, 32);
	assert_int_equal(le32_get(e.pack), 3);
}

static void open_refused(struct sealer *sealer, const struct bytes *object,
			 size_t size, enum object_kind kind,
			 const struct store_id *whose, const char *name,
			 int code, const char *words)
{
	struct bytes plain = { 0 };
	struct err err = { 0 };

	expect(sealed_object_open(sealer, kind, whose, data_key, name,
				  object->data, size, &plain, &err),
	       &err, code, words);
	assert_int_equal(plain.size, 0);
	bytes_release(&plain);
}

static void test_sealed_object(void **state)
{
	struct sealer *sealer = sealer_new(NULL);
	struct bytes object = { 0 }, plain = { 0 };

	(void)state;
	assert_non_null(sealer);
	assert_int_equal(sealed_object_make(sealer, OBJECT_PIN, &store,
					    data_key, "pins/a", "hello", 5,
					    &object, NULL),
			 0);
	assert_int_equal(object.size, 80 + 5 + 16);
	assert_int_equal(sealed_object_open(sealer, OBJECT_PIN, &store,
					    data_key, "pins/a", object.data,
					    object.size, &plain, NULL),
			 0);
	assert_int_equal(plain.size, 5);
	assert_memory_equal(plain.data, "hello", 5);

	open_refused(sealer, &object, object.size, OBJECT_PIN, &store, "pins/b",
		     -EBADMSG, "'pins/b' at 80");
	open_refused(sealer, &object, object.size, OBJECT_SNAPSHOT, &store,
		     "pins/a", -EBADMSG, "magic");
	open_refused(sealer, &object, object.size, OBJECT_PIN, &other_store,
		     "pins/a", -EBADMSG, "another store");
	for (size_t size = 0; size < object.size; size++)
		open_refused(sealer, &object, size, OBJECT_PIN, &store,
			     "pins/a", -EBADMSG, "pins/a");
	for (size_t at = 0; at < object.size; at++) {
		bool new = at >= 8 && at < 16;

		object.data[at] ^= 0x10;
		open_refused(sealer, &object, object.size, OBJECT_PIN, &store,
			     "pins/a", new ? -EOPNOTSUPP : -EBADMSG, "pins/a");
		object.data[at] ^= 0x10;
	}
	/* A header that is well in itself but not the one sealed with. */
	object.data[16] ^= 1;
	fix_sum(object.data, 72);
	open_refused(sealer, &object, object.size, OBJECT_PIN, &store, "pins/a",
		     -EBADMSG, "authenticate");
	bytes_release(&object);
	bytes_release(&plain);
	sealer_free(sealer);
}

static void test_sealed_object_sizes(void **state)
{
	struct sealer *sealer = sealer_new(NULL);
	struct bytes object = { 0 };
	uint8_t *large = calloc(1, SEALED_OBJECT_MAX);
	size_t most = SEALED_OBJECT_MAX - 96;

	(void)state;
	assert_non_null(sealer);
	assert_non_null(large);
	assert_int_equal(sealed_object_make(sealer, OBJECT_PIN, &store,
					    data_key, "pins/a", large, most + 1,
					    &object, NULL),
			 -EFBIG);
	assert_int_equal(sealed_object_make(sealer, OBJECT_PIN, &store,
					    data_key, "pins/a", large, 0,
					    &object, NULL),
			 -EINVAL);
	assert_int_equal(object.size, 0);
	assert_int_equal(sealed_object_make(sealer, OBJECT_PIN, &store,
					    data_key, "pins/a", large, most,
					    &object, NULL),
			 0);
	assert_int_equal(object.size, SEALED_OBJECT_MAX);
	assert_non_null(bytes_extend(&object, 1, NULL));
	open_refused(sealer, &object, object.size, OBJECT_PIN, &store, "pins/a",
		     -EBADMSG, "too many");
	bytes_release(&object);
	free(large);
	sealer_free(sealer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_header_refuses),
		cmocka_unit_test(test_trailer),
		cmocka_unit_test(test_entry),
		cmocka_unit_test(test_sealed_object),
		cmocka_unit_test(test_sealed_object_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
