/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and volumes: round trip, limits, each rule broken. */
/* clang-format off */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

#include "format/base/base.h"
#include "format/store/snapshot.h"

static struct err err;

static struct id numbered(uint8_t n)
{
	struct id id = { { n, 1, 2 } };

	return id;
}

/* Everything that a snapshot can hold. */
static struct snapshot full(void)
{
	struct snapshot s = {
		.name = "vm-1",
		.label = "before.upgrade",
		.sequence = 5,
		.time_ns = -3,
		.has_parent = true,
		.parent = numbered(9),
		.host = strdup("höst"),
		.writer = strdup("vmsnap 1"),
		.totals = { 1, 2, 3, 4, 5, 6, 7 },
	};
	struct volume *v;

	be64_put(s.id.b + 24, 5);
	for (unsigned n = 0; n < 3; n++) {
		v = snapshot_add_volume(&s, &err);
		assert_non_null(v);
		snprintf(v->name, sizeof(v->name), "disk%u", n);
		v->size_bytes = (10 << 20) + n;
		v->chunk_log2 = 14 + 4 * n;
		v->root = numbered((uint8_t)(20 + n));
	}
	v = &s.volumes[1];
	v->has_tags = true;
	v->tags = numbered(77);
	v->bad = calloc(2, sizeof(*v->bad));
	assert_non_null(v->bad);
	v->bad_count = 2;
	v->bad[0] = (struct range){ 0, 512 };
	v->bad[1] = (struct range){ 4096, (10 << 20) + 1 - 4096 };
	v->source = strdup("/dev/vg/disk");
	return s;
}

static void test_round_trip(void **state)
{
	struct snapshot s = full(), got;
	struct bytes data = { 0 };
	const struct volume *v;

	(void)state;
	assert_int_equal(snapshot_encode(&s, &data, &err), 0);
	assert_int_equal(
		snapshot_decode(&s.id, data.data, data.size, "x", &got, &err),
		0);
	assert_string_equal(got.name, s.name);
	assert_string_equal(got.label, s.label);
	assert_string_equal(got.host, s.host);
	assert_string_equal(got.writer, s.writer);
	assert_int_equal(got.sequence, 5);
	assert_int_equal(got.time_ns, -3);
	assert_true(got.has_parent && id_equal(&got.parent, &s.parent));
	assert_memory_equal(&got.totals, &s.totals, sizeof(s.totals));
	assert_int_equal(got.volume_count, 3);
	assert_null(snapshot_volume(&got, "disk3"));
	v = snapshot_volume(&got, "disk1");
	assert_non_null(v);
	assert_int_equal(v->chunk_log2, 18);
	assert_int_equal(v->size_bytes, (10 << 20) + 1);
	assert_int_equal(volume_chunk_count(v), 41);
	assert_true(v->has_tags && id_equal(&v->tags, &s.volumes[1].tags));
	assert_int_equal(v->bad_count, 2);
	assert_memory_equal(v->bad, s.volumes[1].bad, 2 * sizeof(*v->bad));
	assert_string_equal(v->source, "/dev/vg/disk");
	assert_int_equal(volume_of_tags(v).size_bytes, 41 * 16);
	assert_int_equal(volume_chunk_count(&(struct volume){ 0 }), 0);
	snapshot_release(&got);

	/* Cut anywhere it is refused or, between records, lacks something
	 * required, as long as a volume is still to come. */
	for (size_t size = 0; size < data.size; size++) {
		uint8_t *copy = malloc(size + 1);
		int r;

		assert_non_null(copy);
		memcpy(copy, data.data, size);
		r = snapshot_decode(&s.id, copy, size, "x", &got, &err);
		assert_true(r == 0 || r == -EBADMSG);
		assert_true(r < 0 || size > 150);
		if (r == 0)
			snapshot_release(&got);
		free(copy);
	}
	bytes_release(&data);
	snapshot_release(&s);
}

static int encode(struct snapshot *s)
{
	struct bytes data = { 0 };
	int r = snapshot_encode(s, &data, &err);

	assert_true(r == 0 || data.size == 0);
	bytes_release(&data);
	return r;
}

static void test_writer_refuses(void **state)
{
	struct snapshot s = full();
	struct volume *v = &s.volumes[1];

	(void)state;
	assert_int_equal(encode(&s), 0);
	s.name[0] = '-';
	assert_int_equal(encode(&s), -EINVAL);
	s.name[0] = 'v';
	s.label[0] = '/';
	assert_int_equal(encode(&s), -EINVAL);
	s.label[0] = 'b';
	s.sequence = 6;
	assert_int_equal(encode(&s), -EINVAL);
	s.sequence = 5;
	strcpy(v->name, "disk0");
	assert_int_equal(encode(&s), -EINVAL);
	strcpy(v->name, "disk1");
	v->chunk_log2 = 13;
	assert_int_equal(encode(&s), -EINVAL);
	v->chunk_log2 = 18;
	v->bad[1].length++;
	assert_int_equal(encode(&s), -EINVAL);
	v->bad[1].length--;
	v->bad[0].length = 5000; /* overlaps the next */
	assert_int_equal(encode(&s), -EINVAL);
	v->bad[0].length = 512;
	v->size_bytes = VOLUME_SIZE_MAX + 1;
	assert_int_equal(encode(&s), -EINVAL);
	v->size_bytes = VOLUME_SIZE_MAX;
	assert_int_equal(encode(&s), 0);
	while (s.volume_count < SNAPSHOT_VOLUMES_MAX)
		assert_non_null(snapshot_add_volume(&s, &err));
	assert_null(snapshot_add_volume(&s, &err));
	snapshot_release(&s);
	assert_int_equal(encode(&s), -EINVAL);
}

/* The encoded form with something appended. */
static int decode_with(unsigned type, bool required, const void *payload,
		       size_t size)
{
	struct snapshot s = full(), got;
	struct bytes data = { 0 };
	int r;

	assert_int_equal(snapshot_encode(&s, &data, &err), 0);
	assert_int_equal(record_put(&data, type, required, payload, size, &err),
			 0);
	r = snapshot_decode(&s.id, data.data, data.size, "x", &got, &err);
	if (r == 0)
		snapshot_release(&got);
	bytes_release(&data);
	snapshot_release(&s);
	return r;
}

static void test_reader_refuses(void **state)
{
	uint8_t zeros[64] = { 0 };

	(void)state;
	for (unsigned type = 1; type <= 11; type++) {
		if (type == 9 || type == 10) /* set aside */
			continue;
		assert_int_equal(
			decode_with(type, false, zeros, type == 8 ? 64 : 8),
			-EBADMSG);
	}
	assert_int_equal(decode_with(9, false, zeros, 8), 0);
	assert_int_equal(decode_with(10, true, zeros, 8), -EOPNOTSUPP);
	assert_int_equal(decode_with(12, false, zeros, 8), 0);
	assert_int_equal(decode_with(12, true, zeros, 8), -EOPNOTSUPP);
	assert_int_equal(decode_with(65535, true, zeros, 0), -EOPNOTSUPP);
}

static void test_wrong_sequence(void **state)
{
	struct snapshot s = full(), got;
	struct bytes data = { 0 };
	struct id other;

	(void)state;
	assert_int_equal(snapshot_encode(&s, &data, &err), 0);
	other = s.id;
	be64_put(other.b + 24, 6);
	assert_int_equal(
		snapshot_decode(&other, data.data, data.size, "x", &got, &err),
		-EBADMSG);
	bytes_release(&data);
	snapshot_release(&s);
}

static void test_volume_rules(void **state)
{
	struct volume v = {
		.name = "a",
		.size_bytes = 1 << 20,
		.chunk_log2 = 16,
	};
	struct volume got;
	struct bytes data = { 0 };
	uint8_t pair[17] = { 0 };
	size_t size;

	(void)state;
	assert_int_equal(volume_encode(&v, &data, &err), 0);
	size = data.size;
	assert_int_equal(volume_decode(data.data, size, "x", &got, &err), 0);
	volume_release(&got);
	pair[8] = 1;
#define with_bad(length, result)                                              \
	do {                                                                  \
		data.size = size;                                             \
		assert_int_equal(                                             \
			record_put(&data, 6, false, pair, length, &err), 0);  \
		assert_int_equal(                                             \
			volume_decode(data.data, data.size, "x", &got, &err), \
			result);                                              \
	} while (0)
	with_bad(16, 0);
	volume_release(&got);
	with_bad(0, -EBADMSG);
	with_bad(17, -EBADMSG);
	pair[8] = 0; /* no length */
	with_bad(16, -EBADMSG);
	memset(pair, 0xff, 16); /* past the end, and it wraps */
	with_bad(16, -EBADMSG);
	bytes_release(&data);
}

/* There is nothing that its tree could hold. */
static void test_empty_volume(void **state)
{
	struct volume v = { .name = "a", .chunk_log2 = 16, .has_tags = true };
	struct volume got;
	struct bytes data = { 0 };
	size_t root = 8 + 1 + 8 + 8 + 8 + 4 + 8, tags = root + 32 + 8;

	(void)state;
	assert_int_equal(volume_encode(&v, &data, &err), 0);
	assert_int_equal(data.size, tags + 32);
	assert_int_equal(volume_decode(data.data, data.size, "x", &got, &err),
			 0);
	volume_release(&got);
	data.data[root] = 1;
	assert_int_equal(volume_decode(data.data, data.size, "x", &got, &err),
			 -EBADMSG);
	data.data[root] = 0;
	data.data[tags] = 1;
	assert_int_equal(volume_decode(data.data, data.size, "x", &got, &err),
			 -EBADMSG);
	bytes_release(&data);
	v.root.b[0] = 1;
	assert_int_equal(volume_encode(&v, &data, &err), -EINVAL);
	bytes_release(&data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_writer_refuses),
		cmocka_unit_test(test_reader_refuses),
		cmocka_unit_test(test_wrong_sequence),
		cmocka_unit_test(test_volume_rules),
		cmocka_unit_test(test_empty_volume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
