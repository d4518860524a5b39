/* SPDX-License-Identifier: Apache-2.0 */
/* The cache gives back what was put, whatever was evicted meanwhile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/base/base.h"
#include "format/base/pool.h"
#include "format/store/block_cache.h"

static void make(struct table_block *block, uint64_t table, uint64_t number)
{
	size_t n;

	memset(block, (int)(table * 31 + number), sizeof(*block));
	for (n = 0; n < TABLE_BLOCK_ENTRIES; n++) {
		be64_put(block->entries[n].id.b, table);
		be64_put(block->entries[n].id.b + 8, number);
	}
}

static bool good(const struct table_block *block, uint64_t table,
		 uint64_t number)
{
	struct table_block wanted;

	make(&wanted, table, number);
	return memcmp(block, &wanted, sizeof(wanted)) == 0;
}

static void test_put_get(void **state)
{
	struct block_cache *cache = block_cache_new(1 << 20, NULL);
	struct table_block block;
	unsigned n, hits = 0;

	(void)state;
	assert_non_null(cache);
	assert_false(block_cache_get(cache, 1, 1, &block));
	for (n = 0; n < 1000; n++) {
		make(&block, n % 3, n);
		block_cache_put(cache, n % 3, n, &block);
		assert_true(block_cache_get(cache, n % 3, n, &block));
		assert_true(good(&block, n % 3, n));
	}
	for (n = 0; n < 1000; n++) {
		if (!block_cache_get(cache, n % 3, n, &block))
			continue;
		assert_true(good(&block, n % 3, n));
		hits++;
	}
	/* 1 MiB holds 256 blocks at most. */
	assert_in_range(hits, 150, 256);
	assert_false(block_cache_get(cache, 3, 1, &block));
	block_cache_free(cache);
	block_cache_free(NULL);
}

static void test_second_chance(void **state)
{
	struct block_cache *cache = block_cache_new(1 << 20, NULL);
	struct table_block block;
	unsigned n;

	(void)state;
	make(&block, 9, 9);
	block_cache_put(cache, 9, 9, &block);
	for (n = 0; n < 3000; n++) {
		assert_true(block_cache_get(cache, 9, 9, &block));
		make(&block, 1, n);
		block_cache_put(cache, 1, n, &block);
	}
	block_cache_free(cache);
}

static int hammer(void *arg, unsigned worker, struct err *err)
{
	struct block_cache *cache = arg;
	struct table_block block;
	uint64_t x = worker + 1;
	unsigned n;

	for (n = 0; n < 20000; n++) {
		uint64_t number = (x = x * 6364136223846793005u + 1) >> 55;

		if (block_cache_get(cache, 5, number, &block)) {
			if (!good(&block, 5, number))
				return err_set(err, -EBADMSG, "torn");
		} else {
			make(&block, 5, number);
			block_cache_put(cache, 5, number, &block);
		}
	}
	return 0;
}

static void test_threads(void **state)
{
	struct block_cache *cache = block_cache_new(1 << 20, NULL);

	(void)state;
	assert_int_equal(pool_run(4, hammer, cache, NULL), 0);
	block_cache_free(cache);
}

static void test_tiny(void **state)
{
	struct block_cache *cache = block_cache_new(0, NULL);
	struct table_block block;
	unsigned n;

	(void)state;
	for (n = 0; n < 100; n++) {
		make(&block, 1, n);
		block_cache_put(cache, 1, n, &block);
		assert_true(block_cache_get(cache, 1, n, &block));
		assert_true(good(&block, 1, n));
	}
	block_cache_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_get),
		cmocka_unit_test(test_second_chance),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_tiny),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
