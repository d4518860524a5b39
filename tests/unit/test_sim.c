/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds the simulated disk to tests/sim/sim.h. What the seed decides is run
 * over many seeds: nothing that is not allowed may be seen in any of them, and
 * each thing that is allowed must be seen in some.
 */
#include "tests/unit/sim_files.h"

static int count_name(void *arg, const char *name)
{
	assert_true(*name);
	++*(int *)arg;
	return 0;
}

static int stop_at_b(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "b") ? 0 : 77;
}

static void test_names(void **state)
{
	struct sim *sim = sim_new(1);
	struct vs_io *io = sim_io(sim);
	struct io_stat st;
	struct err err = { 0 };
	int file, other, count = 0;

	(void)state;
	assert_true(io->single_thread);
	assert_string_equal(io->ops->name, "simulated");
	assert_int_equal(io->ops->open(io, "a", IO_READ_ONLY, &err), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_non_null(strstr(err.text, "'a'"));
	file = make_file(io, "/a");
	assert_int_equal(io->ops->open(io, "a",
				       IO_READ_WRITE | IO_CREATE | IO_EXCLUSIVE,
				       NULL),
			 -EEXIST);
	assert_int_equal(
		io->ops->open(io, "no/a", IO_READ_WRITE | IO_CREATE, NULL),
		-ENOENT);
	assert_int_equal(
		io->ops->open(io, "a/b", IO_READ_WRITE | IO_CREATE, NULL),
		-ENOTDIR);
	make_dir(io, "d");
	make_dir(io, "d/");
	assert_int_equal(io->ops->mkdir(io, "a", NULL), -EEXIST);
	assert_int_equal(io->ops->mkdir(io, "x/y", NULL), -ENOENT);
	assert_int_equal(io->ops->open(io, "d", IO_READ_WRITE, NULL), -EISDIR);
	assert_int_equal(io->ops->unlink(io, "d", NULL), -EISDIR);
	assert_int_equal(io->ops->unlink(io, "d/a", NULL), -ENOENT);
	assert_int_equal(io->ops->list(io, "a", count_name, &count, NULL),
			 -ENOTDIR);

	fill(io, file, 'x', 5000, 0);
	assert_int_equal(io->ops->rename(io, "a", "./d/b", NULL), 0);
	assert_false(there(io, "a"));
	assert_int_equal(io->ops->stat(io, "/d//b", &st, NULL), 0);
	assert_int_equal(st.size_bytes, 5000);
	assert_int_equal(st.allocated_bytes, 2 * BLOCK);
	assert_int_equal(st.kind, IO_KIND_FILE);
	assert_int_equal(io->ops->stat(io, "/", &st, NULL), 0);
	assert_int_equal(st.kind, IO_KIND_DIRECTORY);

	other = io->ops->create_unnamed(io, "d", NULL);
	assert_true(other >= 0 && other != file);
	assert_int_equal(io->ops->link(io, other, "d/b", NULL), -EEXIST);
	assert_int_equal(io->ops->link(io, other, "d/c", NULL), 0);
	assert_int_equal(io->ops->list(io, "d", count_name, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_int_equal(io->ops->list(io, "d", stop_at_b, NULL, NULL), 77);
	assert_int_equal(sim_count(sim).open_files, 2);
	close_file(io, other);
	assert_int_equal(io->ops->close(io, other), -EBADF);
	assert_int_equal(io->ops->sync(io, other), -EBADF);
	close_file(io, file);
	file = open_file(io, "d/b", IO_READ_ONLY);
	assert_int_equal(io->ops->write(io, file, "x", 1, 0), -EBADF);
	close_file(io, file);
	io_free(io);
}

static void test_data(void **state)
{
	struct sim *sim = sim_new(1);
	struct vs_io *io = sim_io(sim);
	int file = make_file(io, "a");
	static char data[8 * BLOCK];
	uint64_t start, end;

	(void)state;
	fill(io, file, 'a', 100, 10000);
	assert_int_equal(get(io, "a", data, sizeof(data)), 10100);
	assert_true(bytes_are_zero(data, 10000));
	assert_int_equal(all_of(data + 10000, 100), 'a');
	assert_int_equal(io->ops->seek_data(io, file, 0, &start, &end), 0);
	assert_int_equal(start, 2 * BLOCK);
	assert_int_equal(end, 10100);
	assert_int_equal(io->ops->seek_data(io, file, 10100, &start, &end),
			 -ENXIO);
	assert_int_equal(io->ops->truncate(io, file, 10050), 0);
	assert_int_equal(io->ops->truncate(io, file, 10100), 0);
	assert_int_equal(get(io, "a", data, sizeof(data)), 10100);
	assert_int_equal(all_of(data + 10000, 50), 'a');
	assert_true(bytes_are_zero(data + 10050, 50));

	fill(io, file, 'b', 4 * BLOCK, 0);
	assert_int_equal(sim_count(sim).used_bytes, 4 * BLOCK);
	assert_int_equal(io->ops->punch(io, file, BLOCK - 10, BLOCK + 20), 0);
	assert_int_equal(sim_count(sim).used_bytes, 3 * BLOCK);
	assert_int_equal(get(io, "a", data, sizeof(data)), 4 * BLOCK);
	assert_int_equal(all_of(data, BLOCK - 10), 'b');
	assert_true(bytes_are_zero(data + BLOCK - 10, BLOCK + 20));
	assert_int_equal(all_of(data + 2 * BLOCK + 10, 2 * BLOCK - 10), 'b');
	assert_int_equal(io->ops->seek_data(io, file, BLOCK, &start, &end), 0);
	assert_int_equal(start, 2 * BLOCK);
	assert_int_equal(io->ops->punch(io, file, 0, 1ULL << 40), 0);
	assert_int_equal(sim_count(sim).used_bytes, 0);
	assert_int_equal(get(io, "a", data, sizeof(data)), 4 * BLOCK);
	close_file(io, file);

	file = open_file(io, "a", IO_READ_WRITE | IO_DIRECT);
	assert_int_equal(io->ops->write(io, file, data, 100, 0), -EINVAL);
	assert_int_equal(io->ops->read(io, file, data, 512, 1), -EINVAL);
	close_file(io, file);
	sim_free(sim);
}

static void test_synced_survives(void **state)
{
	uint64_t seed;
	static char data[BLOCK * 8];

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file;

		make_dir(io, "d");
		file = io->ops->create_unnamed(io, "d", NULL);
		fill(io, file, 'a', 10000, 0);
		sync_file(io, file);
		assert_int_equal(io->ops->link(io, file, "d/x", NULL), 0);
		sync_dir(io, "d");
		sync_dir(io, "/");
		make_dir(io, "d/lost");
		sim_power_loss(sim);
		assert_int_equal(get(io, "d/x", data, sizeof(data)), 10000);
		assert_int_equal(all_of(data, 10000), 'a');
		assert_int_equal(io->ops->unlink(io, "d/x", NULL), 0);
		sync_dir(io, "d");
		sim_power_loss(sim);
		assert_false(there(io, "d/x"));
		sim_free(sim);
	}
}

/* Old 'a' and new 'b' then 'c', not synced. */
static void test_blocks_survive_or_not(void **state)
{
	bool old = false, newer = false, newest = false, torn = false;
	bool mixed = false;
	uint64_t seed;
	static char data[BLOCK * 8];

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file = make_durable(io, "x", 'a', sizeof(data));
		size_t i, j;
		bool has_old = false, has_new = false;

		fill(io, file, 'b', sizeof(data), 0);
		fill(io, file, 'c', sizeof(data), 0);
		sim_power_loss(sim);
		assert_int_equal(get(io, "x", data, sizeof(data)),
				 sizeof(data));
		for (i = 0; i < sizeof(data); i += BLOCK) {
			char c = all_of(data + i, BLOCK);

			has_old |= c == 'a';
			has_new |= c == 'c';
			newer |= c == 'b';
			torn |= c == '?';
			for (j = 0; j < BLOCK; j += 512) {
				c = all_of(data + i + j, 512);
				assert_true(c == 'a' || c == 'b' || c == 'c');
			}
		}
		old |= has_old && !has_new;
		newest |= has_new && !has_old;
		mixed |= has_new && has_old;
		sim_free(sim);
	}
	assert_true(old && newer && newest && torn && mixed);
}

/* Of a, b, c made in this order. */
static void test_names_survive_or_not(void **state)
{
	unsigned seen[8] = { 0 };
	uint64_t seed;
	unsigned i;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		unsigned set;

		make_file(io, "a");
		make_file(io, "b");
		make_file(io, "c");
		sim_power_loss(sim);
		set = there(io, "a") | (there(io, "b") ? 2U : 0U) |
		      (there(io, "c") ? 4U : 0U);
		seen[set]++;
		sim_free(sim);
	}
	for (i = 0; i < ARRAY_SIZE(seen); i++)
		assert_true(seen[i]);
	/* Prefixes are the rule. */
	assert_true(seen[1] + seen[3] > 2 * (seen[2] + seen[4]));
}

static void test_size_of_unsynced(void **state)
{
	bool none = false, whole = false, between = false;
	uint64_t seed;
	static char data[BLOCK * 8];

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file = make_file(io, "x");
		size_t n, i;

		sync_dir(io, "/");
		fill(io, file, 'a', 20000, 0);
		sim_power_loss(sim);
		n = get(io, "x", data, sizeof(data));
		none |= n == 0;
		whole |= n == 20000;
		between |= n && n < 20000;
		assert_true(n == 20000 || (n < 20000 && n % BLOCK == 0));
		for (i = 0; i < n; i++)
			assert_true(data[i] == 'a' || !data[i]);
		sim_free(sim);
	}
	assert_true(none && whole && between);
}

static void test_unnamed_is_gone(void **state)
{
	struct sim *sim = sim_new(3);
	struct vs_io *io = sim_io(sim);
	int file = io->ops->create_unnamed(io, "/", NULL);
	int count = 0;

	(void)state;
	fill(io, file, 'a', 10000, 0);
	sync_file(io, file);
	assert_true(sim_count(sim).used_bytes);
	sim_power_loss(sim);
	assert_int_equal(sim_count(sim).used_bytes, 0);
	assert_int_equal(sim_count(sim).open_files, 0);
	assert_int_equal(io->ops->list(io, "/", count_name, &count, NULL), 0);
	assert_int_equal(count, 0);
	assert_int_equal(io->ops->write(io, file, "x", 1, 0), -EBADF);
	assert_int_equal(io->ops->close(io, file), -EBADF);
	sim_free(sim);
}

static void test_rename_is_atomic(void **state)
{
	unsigned moved = 0, replaced = 0;
	uint64_t seed;
	char c;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);

		make_dir(io, "d");
		close_file(io, make_durable(io, "x", 'x', 1));
		close_file(io, make_durable(io, "new", 'n', 1));
		close_file(io, make_durable(io, "old", 'o', 1));
		make_file(io, "d/noise");
		assert_int_equal(io->ops->rename(io, "x", "d/x", NULL), 0);
		assert_int_equal(io->ops->rename(io, "new", "old", NULL), 0);
		if (seed % 3 == 0)
			sync_dir(io, "d");
		sim_power_loss(sim);
		assert_int_equal(there(io, "x") + there(io, "d/x"), 1);
		moved += there(io, "d/x");
		if (seed % 3 == 0)
			assert_true(there(io, "d/x"));
		assert_int_equal(get(io, "old", &c, 1), 1);
		assert_int_equal(c, there(io, "new") ? 'o' : 'n');
		replaced += c == 'n';
		sim_free(sim);
	}
	assert_true(moved > SEEDS / 3 && moved < SEEDS);
	assert_true(replaced && replaced < SEEDS);
}

/* Never under two names, whatever subset survives. */
static void test_changes_of_one_name_keep_order(void **state)
{
	unsigned seen[3] = { 0 };
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);

		close_file(io, make_durable(io, "a", 'x', 1));
		assert_int_equal(io->ops->rename(io, "a", "b", NULL), 0);
		assert_int_equal(io->ops->rename(io, "b", "c", NULL), 0);
		sim_power_loss(sim);
		assert_int_equal(
			there(io, "a") + there(io, "b") + there(io, "c"), 1);
		seen[0] += there(io, "a");
		seen[1] += there(io, "b");
		seen[2] += there(io, "c");
		sim_free(sim);
	}
	assert_true(seen[0] && seen[1] && seen[2]);
}

static void test_parent_not_synced(void **state)
{
	unsigned lost = 0;
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);

		make_dir(io, "d");
		make_file(io, "d/x");
		sync_dir(io, "d");
		sim_power_loss(sim);
		assert_int_equal(there(io, "d"), there(io, "d/x"));
		lost += !there(io, "d");
		sim_free(sim);
	}
	assert_true(lost && lost < SEEDS);
}

/* The name moved on before its first directory was synced. */
static void test_sync_dir_takes_what_came_before(void **state)
{
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);

		make_dir(io, "d");
		sync_dir(io, "/");
		make_file(io, "x");
		assert_int_equal(io->ops->rename(io, "x", "y", NULL), 0);
		assert_int_equal(io->ops->rename(io, "y", "d/z", NULL), 0);
		sync_dir(io, "d");
		sim_power_loss(sim);
		assert_true(there(io, "d/z"));
		assert_false(there(io, "x") || there(io, "y"));
		sim_free(sim);
	}
}

static void test_unlink_comes_back(void **state)
{
	unsigned back = 0;
	uint64_t seed;
	char data[100];

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);

		close_file(io, make_durable(io, "x", 'x', sizeof(data)));
		assert_int_equal(io->ops->unlink(io, "x", NULL), 0);
		assert_int_equal(sim_count(sim).used_bytes, 0);
		sim_power_loss(sim);
		if (there(io, "x")) {
			back++;
			assert_int_equal(get(io, "x", data, sizeof(data)),
					 sizeof(data));
			assert_int_equal(all_of(data, sizeof(data)), 'x');
			assert_int_equal(sim_count(sim).used_bytes, BLOCK);
		}
		sim_free(sim);
	}
	assert_true(back && back < SEEDS);
}

/* Cut to nothing, then 'b' in the last block. */
static void test_truncation_keeps_order(void **state)
{
	unsigned whole = 0, empty = 0, again = 0;
	static char data[4 * BLOCK];
	uint64_t seed;
	size_t i;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file = make_durable(io, "x", 'a', sizeof(data));
		size_t n;

		assert_int_equal(io->ops->truncate(io, file, 0), 0);
		fill(io, file, 'b', BLOCK, 3 * BLOCK);
		sim_power_loss(sim);
		n = get(io, "x", data, sizeof(data));
		assert_int_equal(n % BLOCK, 0);
		if (n && data[0] == 'a') {
			assert_int_equal(n, sizeof(data));
			assert_int_equal(all_of(data, n), 'a');
			whole++;
			sim_free(sim);
			continue;
		}
		assert_true(bytes_are_zero(data, min_u64(n, 3 * BLOCK)));
		for (i = 3 * BLOCK; i < n; i++)
			assert_true(data[i] == 'b' || !data[i]);
		empty += !n;
		again += n == sizeof(data) && data[n - 1] == 'b';
		sim_free(sim);
	}
	assert_true(whole && empty && again);
}

static void test_punch_survives_or_not(void **state)
{
	bool old = false, zero = false;
	static char data[4 * BLOCK];
	uint64_t seed;
	size_t i;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file = make_durable(io, "x", 'a', sizeof(data));

		assert_int_equal(io->ops->punch(io, file, 0, BLOCK), 0);
		sync_file(io, file);
		assert_int_equal(io->ops->punch(io, file, BLOCK, BLOCK), 0);
		sim_power_loss(sim);
		assert_int_equal(get(io, "x", data, sizeof(data)),
				 sizeof(data));
		assert_true(bytes_are_zero(data, BLOCK));
		for (i = BLOCK; i < 2 * BLOCK; i++)
			assert_true(data[i] == 'a' || !data[i]);
		old |= data[BLOCK] == 'a';
		zero |= !data[BLOCK];
		assert_int_equal(all_of(data + 2 * BLOCK, 2 * BLOCK), 'a');
		sim_free(sim);
	}
	assert_true(old && zero);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_synced_survives),
		cmocka_unit_test(test_blocks_survive_or_not),
		cmocka_unit_test(test_names_survive_or_not),
		cmocka_unit_test(test_size_of_unsynced),
		cmocka_unit_test(test_unnamed_is_gone),
		cmocka_unit_test(test_rename_is_atomic),
		cmocka_unit_test(test_changes_of_one_name_keep_order),
		cmocka_unit_test(test_parent_not_synced),
		cmocka_unit_test(test_sync_dir_takes_what_came_before),
		cmocka_unit_test(test_unlink_comes_back),
		cmocka_unit_test(test_truncation_keeps_order),
		cmocka_unit_test(test_punch_survives_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
