/* SPDX-License-Identifier: Apache-2.0 */
/* Pins and condemned lists: round trip, rules, and pins of an open store. */
#include "tests/unit/store_fixture.h"

static struct pin make_pin(void)
{
	struct pin pin = {
		.owner = strdup("image"),
		.host = strdup("h1"),
		.path = strdup("/var/lib/x.vsi"),
		.time_ns = 99,
		.has_snapshot = true,
		.snapshot = { { 4 } },
	};

	pin.volumes = calloc(1, sizeof(*pin.volumes));
	assert_non_null(pin.volumes);
	pin.volume_count = 1;
	strcpy(pin.volumes[0].name, "disk0");
	pin.volumes[0].chunk_log2 = 16;
	pin.volumes[0].size_bytes = 1 << 20;
	pin.volumes[0].root.b[0] = 8;
	return pin;
}

static void expect_same(const struct pin *a, const struct pin *b)
{
	assert_string_equal(a->owner, b->owner);
	assert_string_equal(a->host, b->host);
	assert_string_equal(a->path, b->path);
	assert_int_equal(a->time_ns, b->time_ns);
	assert_int_equal(a->volume_count, b->volume_count);
	assert_true(id_equal(&a->volumes[0].root, &b->volumes[0].root));
	assert_int_equal(a->has_snapshot, b->has_snapshot);
	assert_true(id_equal(&a->snapshot, &b->snapshot));
}

static void test_pin_records(void **state)
{
	struct pin pin = make_pin(), got;
	struct bytes data = { 0 };
	struct err err;
	size_t size;

	(void)state;
	assert_int_equal(pin_encode(&pin, &data, &err), 0);
	size = data.size;
	assert_int_equal(pin_decode(data.data, size, "x", &got, &err), 0);
	expect_same(&pin, &got);
	pin_release(&got);
	for (size_t n = 0; n < size - 40; n++)
		assert_int_equal(pin_decode(data.data, n, "x", &got, &err),
				 -EBADMSG);
	assert_int_equal(record_put_u64(&data, 4, true, 1, &err), 0);
	assert_int_equal(pin_decode(data.data, data.size, "x", &got, &err),
			 -EBADMSG); /* twice */
	data.size = size;
	assert_int_equal(record_put_u64(&data, 7, true, 1, &err), 0);
	assert_int_equal(pin_decode(data.data, data.size, "x", &got, &err),
			 -EOPNOTSUPP);
	bytes_release(&data);
	free(pin.owner);
	pin.owner = NULL;
	assert_int_equal(pin_encode(&pin, &data, &err), -EINVAL);
	pin_release(&pin);
}

static void test_condemned_records(void **state)
{
	struct id packs[3] = { { { 1 } }, { { 2 } }, { { 3 } } };
	struct condemned list = { 5, 6, packs, 3 }, got;
	struct bytes data = { 0 };
	struct err err;
	size_t size;

	(void)state;
	assert_int_equal(condemned_encode(&list, &data, &err), 0);
	size = data.size;
	assert_int_equal(condemned_decode(data.data, size, "x", &got, &err), 0);
	assert_int_equal(got.time_ns, 5);
	assert_int_equal(got.not_before_ns, 6);
	assert_int_equal(got.pack_count, 3);
	assert_memory_equal(got.packs, packs, sizeof(packs));
	condemned_release(&got);
	for (size_t n = 0; n < size; n++)
		assert_int_equal(
			condemned_decode(data.data, n, "x", &got, &err),
			-EBADMSG);
	/* The second list, and a list that is no multiple of an id. */
	assert_int_equal(record_put(&data, 3, true, packs, 32, &err), 0);
	assert_int_equal(
		condemned_decode(data.data, data.size, "x", &got, &err),
		-EBADMSG);
	data.size = 2 * (8 + 8);
	assert_int_equal(record_put(&data, 3, true, packs, 33, &err), 0);
	assert_int_equal(
		condemned_decode(data.data, data.size, "x", &got, &err),
		-EBADMSG);
	bytes_release(&data);
}

static int count_pin(void *arg, const char *id_hex, struct err *err)
{
	(void)err;
	assert_int_equal(strlen(id_hex), 32);
	++*(unsigned *)arg;
	return 0;
}

static void test_pins_of_store(void **state)
{
	struct fixture *f = *state;
	struct pin pin = make_pin(), got;
	char first[SMALL_ID_HEX_SIZE], second[SMALL_ID_HEX_SIZE];
	unsigned count = 0;

	fixture_open(f, STORE_WRITE);
	must(f, store_put_pin(f->thread, &pin, first, &f->err));
	must(f, store_put_pin(f->thread, &pin, second, &f->err));
	assert_string_not_equal(first, second);
	must(f, store_load_pin(f->thread, second, &got, &f->err));
	expect_same(&pin, &got);
	pin_release(&got);
	must(f, store_each_pin(f->store, count_pin, &count, &f->err));
	assert_int_equal(count, 2);
	must(f, store_delete_pin(f->store, first, &f->err));
	assert_int_equal(store_delete_pin(f->store, first, &f->err), -ENOENT);
	assert_int_equal(store_load_pin(f->thread, first, &got, &f->err),
			 -ENOENT);
	assert_int_equal(store_delete_pin(f->store, "../config", &f->err),
			 -EINVAL);
	fixture_close(f);

	fixture_open(f, STORE_READ);
	assert_int_equal(store_put_pin(f->thread, &pin, first, &f->err),
			 -EROFS);
	assert_int_equal(store_delete_pin(f->store, second, &f->err), -EROFS);
	pin_release(&pin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pin_records),
		cmocka_unit_test(test_condemned_records),
		cmocka_unit_test_setup_teardown(
			test_pins_of_store, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
