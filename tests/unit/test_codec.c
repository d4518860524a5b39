/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks compressed and back, and every frame that the decoder refuses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "format/base/base.h"
#include "format/store/codec.h"

static void fill_random(uint8_t *data, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		data[i] = (uint8_t)(seed >> 24);
	}
}

static void fill_text(uint8_t *data, size_t size)
{
	fill_random(data, size, 3);
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t) "etaoin shrdlu\n  "[data[i] & 15];
}

static void expect_round(int level, size_t size)
{
	struct codec *codec = codec_new(level, NULL);
	uint8_t *content = malloc(size), *coded = malloc(size);
	uint8_t *back = malloc(size);
	size_t coded_size = 0;

	assert_non_null(codec);
	assert_true(content && coded && back);
	fill_text(content, size);
	assert_int_equal(
		codec_encode(codec, content, size, coded, &coded_size, NULL),
		level < 0 && size < 128 ? CODEC_RAW : CODEC_ZSTD);
	if (coded_size) {
		assert_true(coded_size <= size - size / 32);
		assert_int_equal(codec_decode(codec, CODEC_ZSTD, coded,
					      coded_size, back, size, NULL),
				 0);
		assert_memory_equal(back, content, size);
	}
	free(content);
	free(coded);
	free(back);
	codec_free(codec);
}

static void test_round(void **state)
{
	(void)state;
	expect_round(1, 1024);
	expect_round(1, 65536);
	expect_round(3, 65536);
	expect_round(3, 65535);
	expect_round(3, CHUNK_SIZE_MAX);
	expect_round(19, 16384);
}

static void test_negative_level(void **state)
{
	struct codec *codec = codec_new(-7, NULL);
	uint8_t content[4096] = { 0 }, coded[4096], back[4096];
	size_t size;

	(void)state;
	assert_non_null(codec);
	assert_int_equal(codec_encode(codec, content, sizeof(content), coded,
				      &size, NULL),
			 CODEC_ZSTD);
	assert_int_equal(codec_decode(codec, CODEC_ZSTD, coded, size, back,
				      sizeof(back), NULL),
			 0);
	assert_memory_equal(back, content, sizeof(content));
	codec_free(codec);
}

static void test_frame_form(void **state)
{
	struct codec *codec = codec_new(3, NULL);
	uint8_t content[65536] = { 0 }, coded[65536];
	size_t size;

	(void)state;
	assert_non_null(codec);
	assert_int_equal(codec_encode(codec, content, sizeof(content), coded,
				      &size, NULL),
			 CODEC_ZSTD);
	assert_true(ZSTD_getFrameContentSize(coded, size) == sizeof(content));
	assert_int_equal(ZSTD_getDictID_fromFrame(coded, size), 0);
	assert_int_equal(coded[4] & 4, 0); /* no checksum */
	codec_free(codec);
}

static int encode(int level, const uint8_t *content, size_t size)
{
	struct codec *codec = codec_new(level, NULL);
	uint8_t *out = malloc(size);
	size_t out_size;
	int r;

	assert_non_null(codec);
	assert_non_null(out);
	r = codec_encode(codec, content, size, out, &out_size, NULL);
	free(out);
	codec_free(codec);
	return r;
}

static void test_incompressible(void **state)
{
	static const size_t sizes[] = { 1,     2,     31,    32,
					16383, 16384, 65536, 1 << 20 };
	uint8_t *content = malloc(1 << 20);

	(void)state;
	assert_non_null(content);
	fill_random(content, 1 << 20, 1);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(encode(3, content, sizes[i]), CODEC_RAW);
		assert_int_equal(encode(-3, content, sizes[i]), CODEC_RAW);
	}
	/* Even bytes that repeat are found by their matches, not counted. */
	memcpy(content + 32768, content, 32768);
	assert_int_equal(encode(3, content, 65536), CODEC_ZSTD);
	assert_int_equal(encode(19, content, 65536), CODEC_ZSTD);
	/* Half text, half noise. */
	fill_text(content, 32768);
	assert_int_equal(encode(3, content, 65536), CODEC_ZSTD);
	/* Seven bits a byte, no matches. */
	fill_random(content, 65536, 9);
	for (size_t i = 0; i < 65536; i++)
		content[i] &= 0x7f;
	assert_int_equal(encode(3, content, 65536), CODEC_ZSTD);
	free(content);
}

static void test_arguments(void **state)
{
	struct codec *codec = codec_new(3, NULL);
	uint8_t byte = 0;
	size_t size;

	(void)state;
	assert_non_null(codec);
	assert_null(codec_new(0, NULL));
	assert_null(codec_new(-8, NULL));
	assert_null(codec_new(20, NULL));
	assert_int_equal(codec_encode(codec, &byte, 0, &byte, &size, NULL),
			 -EINVAL);
	assert_int_equal(codec_encode(codec, &byte, CHUNK_SIZE_MAX + 1, &byte,
				      &size, NULL),
			 -EINVAL);
	assert_int_equal(
		codec_decode(codec, CODEC_RAW, &byte, 0, &byte, 0, NULL),
		-EBADMSG);
	assert_int_equal(codec_decode(codec, CODEC_RAW, &byte, 1, &byte,
				      CHUNK_SIZE_MAX + 1, NULL),
			 -EBADMSG);
	codec_free(codec);
	codec_free(NULL);
}

static void expect_refused(const void *coded, size_t size, size_t content_size,
			   const char *words)
{
	struct codec *codec = codec_new(3, NULL);
	uint8_t *content = malloc(content_size);
	struct err err = { 0 };

	assert_non_null(codec);
	assert_non_null(content);
	assert_int_equal(codec_decode(codec, CODEC_ZSTD, coded, size, content,
				      content_size, &err),
			 -EBADMSG);
	if (!strstr(err.text, words))
		fail_msg("'%s' lacks '%s'", err.text, words);
	free(content);
	codec_free(codec);
}

static size_t frame(uint8_t *out, size_t capacity, const void *content,
		    size_t size, bool with_size)
{
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	size_t got;

	assert_non_null(ctx);
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_contentSizeFlag, with_size);
	got = ZSTD_compress2(ctx, out, capacity, content, size);
	assert_false(ZSTD_isError(got));
	ZSTD_freeCCtx(ctx);
	return got;
}

static void test_decode_refuses(void **state)
{
	static const uint8_t skippable[] = {
		0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0
	};
	uint8_t content[4096] = { 0 }, coded[8192], other[8192];
	size_t size = frame(coded, sizeof(coded), content, 4096, true), n;

	(void)state;
	expect_refused(coded, size, 4095, "another size");
	expect_refused(coded, size, 4097, "another size");
	expect_refused(coded, size - 1, 4096, "exactly one");
	expect_refused(coded, 5, 4096, "too short");
	coded[size] = 0;
	expect_refused(coded, size + 1, 4096, "exactly one");
	memcpy(coded + size, coded, size);
	expect_refused(coded, 2 * size, 4096, "exactly one");
	memcpy(coded + size, skippable, sizeof(skippable));
	expect_refused(coded, size + sizeof(skippable), 4096, "exactly one");

	memcpy(other, skippable, sizeof(skippable));
	memcpy(other + sizeof(skippable), coded, size);
	expect_refused(other, sizeof(skippable) + size, 4096,
		       "not a zstd frame");
	memcpy(other, coded, size);
	other[0] = 0x27; /* a legacy version's magic */
	expect_refused(other, size, 4096, "not a zstd frame");

	n = frame(other, sizeof(other), content, 4096, false);
	expect_refused(other, n, 4096, "does not say");
	n = frame(other, sizeof(other), content, 4096, true);
	other[4] |= 8; /* the reserved bit of the descriptor */
	expect_refused(other, n, 4096, "");
}

static void test_dictionary_refused(void **state)
{
	/* magic, single segment with a 1-byte dictionary id, size 1, one raw
	 * block of one byte */
	static const uint8_t with_id[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x21, 0x07,
					   0x01, 0x09, 0x00, 0x00, 'a' };
	static const uint8_t without[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x20,
					   0x01, 0x09, 0x00, 0x00, 'a' };
	/* One byte is claimed and two are there. */
	static const uint8_t longer[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x01,
					  0x11, 0x00, 0x00, 'a',  'b' };
	/* Two are claimed and one is there. */
	static const uint8_t shorter[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x20,
					   0x02, 0x09, 0x00, 0x00, 'a' };
	struct codec *codec = codec_new(3, NULL);
	uint8_t byte = 0;

	(void)state;
	assert_non_null(codec);
	assert_int_equal(codec_decode(codec, CODEC_ZSTD, without,
				      sizeof(without), &byte, 1, NULL),
			 0);
	assert_int_equal(byte, 'a');
	codec_free(codec);
	expect_refused(with_id, sizeof(with_id), 1, "dictionary");
	expect_refused(longer, sizeof(longer), 1, "damaged");
	expect_refused(shorter, sizeof(shorter), 2, "");
}

static void test_raw_and_unknown(void **state)
{
	struct codec *codec = codec_new(3, NULL);
	char out[4] = "";

	(void)state;
	assert_non_null(codec);
	assert_int_equal(codec_decode(codec, CODEC_RAW, "abc", 3, out, 3, NULL),
			 0);
	assert_string_equal(out, "abc");
	assert_int_equal(codec_decode(codec, CODEC_RAW, "abc", 3, out, 4, NULL),
			 -EBADMSG);
	assert_int_equal(codec_decode(codec, 2, "abc", 3, out, 3, NULL),
			 -EOPNOTSUPP);
	codec_free(codec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_negative_level),
		cmocka_unit_test(test_frame_form),
		cmocka_unit_test(test_incompressible),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_decode_refuses),
		cmocka_unit_test(test_dictionary_refused),
		cmocka_unit_test(test_raw_and_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
