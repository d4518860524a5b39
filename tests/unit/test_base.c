/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, small helpers, buffers, little-endian integers, the worker pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/base/le.h"
#include "format/base/pool.h"

static void test_err_words(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(err_set(&err, -EBADMSG, "pack '%s': %d", "a", 7),
			 -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_string_equal(err.text, "pack 'a': 7");

	assert_int_equal(err_sys(&err, -ENOENT, "can't open '%s'", "x"),
			 -ENOENT);
	assert_string_equal(err.text,
			    "can't open 'x': No such file or directory");
	assert_int_equal(err_prefix(&err, "store '%s'", "s"), -ENOENT);
	assert_string_equal(
		err.text,
		"store 's': can't open 'x': No such file or directory");
	assert_int_equal(err.code, -ENOENT);

	/* Its own words may be quoted in the new ones. */
	err_set(&err, -EIO, "again: %s", err.text);
	assert_memory_equal(err.text, "again: store 's'", 16);
}

static void test_err_null_is_silent_and_still_fails(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EBUSY, "x"), -EBUSY);
	assert_int_equal(err_sys(NULL, -ENOSPC, "x"), -ENOSPC);
	assert_true(err_prefix(NULL, "x") < 0);
}

static void test_err_escapes(void **state)
{
	struct err err = { 0 };

	(void)state;
	err_set(&err, -EINVAL, "'%s'", "a\n\x1b[2J\x7f");
	assert_string_equal(err.text, "'a\\x0a\\x1b[2J\\x7f'");
	err_set(&err, -EINVAL, "%s", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac");
	assert_string_equal(err.text, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac");
	err_prefix(&err, "%s", "\r");
	assert_memory_equal(err.text, "\\x0d: gr", 8);
}

static void test_err_long_text(void **state)
{
	char name[3 * ERR_TEXT_MAX];
	struct err err = { 0 };

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	err_set(&err, -EINVAL, "%s", name);
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);

	/* The reason survives, whatever is cut. */
	err_sys(&err, -ENOENT, "%s", name);
	assert_true(strlen(err.text) < ERR_TEXT_MAX);
	assert_non_null(strstr(err.text, "n: No such file or directory"));
	err_prefix(&err, "%s", name);
	assert_true(strlen(err.text) < ERR_TEXT_MAX);

	/* Never half a character or half an escape at the cut. */
	for (size_t pad = 0; pad < 8; pad++) {
		memset(name, 'n', pad);
		for (size_t i = pad; i + 4 < sizeof(name); i += 3)
			memcpy(name + i, "\xe2\x82\xac", 4);
		err_set(&err, -EINVAL, "%s", name);
		assert_null(strchr(err.text, '\\'));
		assert_true(strlen(err.text) >= ERR_TEXT_MAX - 4);
		assert_int_equal((strlen(err.text) - pad) % 3, 0);
	}
}

static void test_escape_name(void **state)
{
	static const char *const table[][2] = {
		{ "", "" },
		{ "disk0.vsi", "disk0.vsi" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "\xc0\xaf", "\\xc0\\xaf" },                   /* overlong */
		{ "\xe0\x80\xaf", "\\xe0\\x80\\xaf" },          /* overlong */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },          /* surrogate */
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" }, /* too big */
		{ "\xc2\x9b", "\\xc2\\x9b" },                   /* C1 CSI */
		{ "\xe2\x80\xae", "\\xe2\\x80\\xae" }, /* bidi override */
		{ "a\xe2\x82", "a\\xe2\\x82" },        /* cut off */
		{ "\xff\x80", "\\xff\\x80" },
	};
	char out[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_string_equal(escape_name(out, sizeof(out), table[i][0]),
				    table[i][1]);
	assert_string_equal(escape_name(out, 4, "abcdef"), "abc");
	assert_string_equal(escape_name(out, 4, "\n\n"), "");
	assert_string_equal(escape_name(out, 5, "\n\n"), "\\x0a");
	assert_string_equal(escape_name(out, 1, "abc"), "");
}

static void test_hex(void **state)
{
	const uint8_t raw[] = { 0x00, 0x0f, 0xa5, 0xff };
	uint8_t back[4] = { 1, 2, 3, 4 };
	char text[9];

	(void)state;
	hex_encode(text, raw, sizeof(raw));
	assert_string_equal(text, "000fa5ff");
	assert_int_equal(hex_decode(back, 4, "000fa5fF", 8), -EINVAL);
	assert_int_equal(hex_decode(back, 4, "000fa5f", 7), -EINVAL);
	assert_int_equal(hex_decode(back, 4, "000fa5ff00", 10), -EINVAL);
	assert_int_equal(hex_decode(back, 4, "000fa5 f", 8), -EINVAL);
	assert_int_equal(back[0], 1); /* untouched */
	assert_int_equal(hex_decode(back, 4, text, 8), 0);
	assert_memory_equal(back, raw, 4);
	assert_int_equal(hex_decode(back, 0, "", 0), 0);
}

static void test_bytes_are_zero(void **state)
{
	static uint8_t data[1024];

	(void)state;
	assert_true(bytes_are_zero(data, 0));
	for (size_t size = 0; size < 400; size++)
		for (size_t from = 0; from < 3; from++)
			assert_true(bytes_are_zero(data + from, size));
	/* One bit anywhere is seen, one beyond the end is not. */
	for (size_t size = 1; size < 300; size++) {
		for (size_t at = 0; at < size; at++) {
			data[1 + at] = 0x80;
			assert_false(bytes_are_zero(data + 1, size));
			data[1 + at] = 0;
		}
		data[1 + size] = 1;
		data[0] = 1;
		assert_true(bytes_are_zero(data + 1, size));
		data[1 + size] = 0;
		data[0] = 0;
	}
}

static void test_arithmetic(void **state)
{
	(void)state;
	assert_int_equal(div_up(0, 4), 0);
	assert_int_equal(div_up(1, 4), 1);
	assert_int_equal(div_up(8, 4), 2);
	assert_true(div_up(UINT64_MAX, 2) == (1ULL << 63));
	assert_true(is_power_of_two(1) && is_power_of_two(1ULL << 63));
	assert_false(is_power_of_two(0) || is_power_of_two(12));
	assert_int_equal(min_u64(3, 5), 3);
	assert_int_equal(max_u64(3, 5), 5);
}

static void test_memory(void **state)
{
	uint8_t secret[40], again[40];
	uint64_t *list = NULL;
	struct err err = { 0 };
	void *taken;
	int *odd = (int *)(void *)&err;

	(void)state;
	assert_int_equal(alloc_array(&list, 10, sizeof(*list), &err), 0);
	assert_true(bytes_are_zero(list, 10 * sizeof(*list)));
	taken = ptr_steal(&list);
	assert_null(list);
	free(taken);
	/* count * size overflows. */
	assert_int_equal(alloc_array(&odd, SIZE_MAX / 4, 8, &err), -ENOMEM);
	assert_ptr_equal(odd, &err);
	assert_int_equal(err.code, -ENOMEM);

	memset(secret, 0, sizeof(secret));
	assert_int_equal(random_fill(secret, sizeof(secret), NULL), 0);
	assert_int_equal(random_fill(again, sizeof(again), NULL), 0);
	assert_memory_not_equal(secret, again, sizeof(secret));
	wipe(secret, sizeof(secret));
	assert_true(bytes_are_zero(secret, sizeof(secret)));
	wipe(NULL, 0);
}

static void test_time(void **state)
{
	int64_t first = time_monotonic_ns();

	(void)state;
	assert_true(time_monotonic_ns() >= first);
	assert_true(time_now_ns() > 1600000000LL * 1000000000);
}

static void test_little_endian(void **state)
{
	const uint8_t raw[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint8_t big[8];
	le64 v;

	(void)state;
	v = le64_make(0x0807060504030201ULL);
	assert_memory_equal(v.b, raw, 8);
	assert_true(le64_get(v) == 0x0807060504030201ULL);
	assert_int_equal(le16_make(0x0201).b[0], 1);
	assert_int_equal(le32_get(le32_make(0xdeadbeef)), 0xdeadbeef);
	be64_put(big, 0x0102030405060708ULL);
	assert_memory_equal(big, raw, 8);
	assert_true(be64_get(raw) == 0x0102030405060708ULL);
}

static void test_bytes(void **state)
{
	struct bytes bytes = { 0 };
	struct err err = { 0 };
	uint8_t *at;

	(void)state;
	assert_int_equal(bytes_append(&bytes, NULL, 0, &err), 0);
	assert_non_null(bytes_extend(&bytes, 0, &err));
	assert_int_equal(bytes.size, 0);
	for (unsigned i = 0; i < 1000; i++) {
		le32 v = le32_make(i);

		assert_int_equal(bytes_append(&bytes, &v, sizeof(v), &err), 0);
	}
	assert_int_equal(bytes.size, 4000);
	at = bytes_extend(&bytes, 100, &err);
	assert_ptr_equal(at, bytes.data + 4000);
	assert_true(bytes_are_zero(at, 100));
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(le32_get(((le32 *)(void *)bytes.data)[i]), i);

	/* Too much: words, and nothing is lost. */
	assert_int_equal(bytes_reserve(&bytes, SIZE_MAX, &err), -ENOMEM);
	assert_int_equal(bytes_reserve(&bytes, SIZE_MAX / 2, &err), -ENOMEM);
	assert_null(bytes_extend(&bytes, SIZE_MAX - 10, &err));
	assert_int_equal(err.code, -ENOMEM);
	assert_int_equal(bytes.size, 4100);
	assert_int_equal(bytes.data[4], 1);

	bytes_release(&bytes);
	assert_null(bytes.data);
	assert_int_equal(bytes.capacity, 0);
	bytes_release(&bytes);
	bytes_release_secret(&bytes);
	assert_int_equal(bytes_append(&bytes, "key", 3, &err), 0);
	bytes_release_secret(&bytes);
	assert_null(bytes.data);
}

static void test_reader(void **state)
{
	const uint8_t data[5] = { 1, 2, 3, 4, 5 };
	struct reader reader = { data, 5 };
	struct reader empty = { NULL, 0 };

	(void)state;
	assert_ptr_equal(reader_take(&reader, 2), data);
	assert_null(reader_take(&reader, 4));
	assert_null(reader_take(&reader, SIZE_MAX));
	assert_int_equal(reader.left, 3);
	assert_ptr_equal(reader_take(&reader, 3), data + 2);
	assert_non_null(reader_take(&reader, 0));
	assert_null(reader_take(&reader, 1));
	assert_non_null(reader_take(&empty, 0));
	assert_null(reader_take(&empty, 1));
}

struct tally {
	pthread_mutex_t lock;
	pthread_barrier_t all;
	unsigned seen[POOL_WORKERS_MAX];
	pthread_t caller;
	bool blocked_signals;
	bool zero_is_caller;
};

static int count_worker(void *arg, unsigned worker, struct err *err)
{
	struct tally *tally = arg;
	sigset_t mask;

	(void)err;
	/* Passes only when all run side by side. */
	pthread_barrier_wait(&tally->all);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	pthread_mutex_lock(&tally->lock);
	tally->seen[worker]++;
	if (worker == 0)
		tally->zero_is_caller =
			pthread_equal(pthread_self(), tally->caller);
	else if (!sigismember(&mask, SIGTERM))
		tally->blocked_signals = false;
	pthread_mutex_unlock(&tally->lock);
	return 3; /* not a failure */
}

static void test_pool_runs_all(void **state)
{
	static const unsigned counts[] = { 1, 2, 7, POOL_WORKERS_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct tally tally = { .lock = PTHREAD_MUTEX_INITIALIZER,
				       .caller = pthread_self(),
				       .blocked_signals = true };
		sigset_t before, after;

		pthread_sigmask(SIG_SETMASK, NULL, &before);
		pthread_barrier_init(&tally.all, NULL, counts[i]);
		assert_int_equal(
			pool_run(counts[i], count_worker, &tally, NULL), 0);
		pthread_barrier_destroy(&tally.all);
		pthread_sigmask(SIG_SETMASK, NULL, &after);
		assert_int_equal(sigismember(&before, SIGTERM),
				 sigismember(&after, SIGTERM));
		assert_true(tally.zero_is_caller);
		assert_true(tally.blocked_signals);
		for (unsigned w = 0; w < POOL_WORKERS_MAX; w++)
			assert_int_equal(tally.seen[w], w < counts[i]);
	}
}

static int fail_one(void *arg, unsigned worker, struct err *err)
{
	(void)arg;
	if (worker == 1)
		return err_set(err, -EBADMSG, "worker %u found it", worker);
	return 0;
}

static int fail_all(void *arg, unsigned worker, struct err *err)
{
	(void)arg;
	return err_set(err, -EIO - (int)worker, "worker %u", worker);
}

static void test_pool_failures(void **state)
{
	struct err err = { 0 };
	char words[32];
	int r;

	(void)state;
	assert_int_equal(pool_run(4, fail_one, NULL, &err), -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_string_equal(err.text, "worker 1 found it");
	assert_int_equal(pool_run(4, fail_one, NULL, NULL), -EBADMSG);

	/* The words are of the one whose code is returned. */
	r = pool_run(4, fail_all, NULL, &err);
	assert_true(r <= -EIO && r >= -EIO - 3);
	snprintf(words, sizeof(words), "worker %d", -EIO - r);
	assert_string_equal(err.text, words);
	assert_int_equal(err.code, r);

	assert_int_equal(pool_run(0, fail_all, NULL, &err), -EINVAL);
	assert_int_equal(pool_run(POOL_WORKERS_MAX + 1, fail_all, NULL, &err),
			 -EINVAL);
}

static void test_pool_default(void **state)
{
	(void)state;
	unsetenv("VMSNAP_WORKERS");
	assert_in_range(pool_default_workers(), 1, POOL_WORKERS_MAX);
	setenv("VMSNAP_WORKERS", "3", 1);
	assert_int_equal(pool_default_workers(), 3);
	setenv("VMSNAP_WORKERS", "100000", 1);
	assert_int_equal(pool_default_workers(), POOL_WORKERS_MAX);
	setenv("VMSNAP_WORKERS", "0", 1);
	assert_in_range(pool_default_workers(), 1, POOL_WORKERS_MAX);
	setenv("VMSNAP_WORKERS", "-2", 1);
	assert_in_range(pool_default_workers(), 1, POOL_WORKERS_MAX);
	unsetenv("VMSNAP_WORKERS");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_words),
		cmocka_unit_test(test_err_null_is_silent_and_still_fails),
		cmocka_unit_test(test_err_escapes),
		cmocka_unit_test(test_err_long_text),
		cmocka_unit_test(test_escape_name),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_bytes_are_zero),
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_little_endian),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_pool_runs_all),
		cmocka_unit_test(test_pool_failures),
		cmocka_unit_test(test_pool_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
