/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated disk again (see test_sim.c): power lost at an operation,
 * faults, lies, and queues.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/sim_files.h"

static void test_power_loss_at(void **state)
{
	unsigned named = 0;
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		struct err err = { 0 };
		struct io_stat st;
		int file = make_durable(io, "x", 'a', BLOCK);
		uint64_t ops = sim_count(sim).ops;
		char c;
		int r;

		assert_int_equal(ops, 4);
		sim_power_loss_at(sim, ops + 2);
		fill(io, file, 'b', BLOCK, 0);
		assert_false(sim_is_off(sim));
		r = seed % 2 ? io->ops->sync(io, file)
			     : io->ops->rename(io, "x", "y", NULL);
		assert_int_equal(r, -EIO);
		assert_true(sim_is_off(sim));
		assert_int_equal(io->ops->read(io, file, &c, 1, 0), -EIO);
		assert_int_equal(io->ops->write(io, file, "", 1, 0), -EIO);
		assert_int_equal(io->ops->sync_dir(io, "/", &err), -EIO);
		assert_non_null(strstr(err.text, "no power"));
		assert_int_equal(io->ops->stat(io, "x", &st, NULL), -EIO);
		assert_int_equal(io->ops->fstat(io, file, &st, NULL), -EIO);
		assert_int_equal(io->ops->open(io, "x", 0, NULL), -EIO);
		assert_int_equal(sim_count(sim).ops, ops + 2);
		sim_reboot(sim);
		assert_int_equal(io->ops->read(io, file, &c, 1, 0), -EBADF);
		assert_int_equal(there(io, "x") + there(io, "y"), 1);
		named += there(io, "y");
		get(io, there(io, "x") ? "x" : "y", &c, 1);
		assert_true(c == 'a' || c == 'b');
		file = make_file(io, "after");
		sync_file(io, file);
		sim_free(sim);
	}
	assert_true(named && named < SEEDS / 2);
}

/* A number that follows from all that a seed decides. */
static uint64_t life(uint64_t seed)
{
	struct sim *sim = sim_new(seed);
	struct vs_io *io = sim_io(sim);
	int file = make_durable(io, "x", 'a', 32 * BLOCK);
	static char data[32 * BLOCK];
	uint64_t sum = 0;
	size_t i, n;

	fill(io, file, 'b', sizeof(data), 0);
	make_file(io, "y");
	sim_power_loss(sim);
	n = get(io, "x", data, sizeof(data));
	for (i = 0; i < n; i += 512)
		sum = sum * 31 + (uint64_t)data[i];
	sum = sum * 31 + there(io, "y");
	sim_free(sim);
	return sum;
}

static void test_seed_decides(void **state)
{
	uint64_t seed;
	unsigned differ = 0;

	(void)state;
	for (seed = 0; seed < 20; seed++) {
		assert_true(life(seed) == life(seed));
		differ += life(seed) != life(seed + 1);
	}
	assert_true(differ > 10);
}

static void test_faults(void **state)
{
	struct sim *sim = sim_new(1);
	struct vs_io *io = sim_io(sim);
	int file = make_file(io, "x");

	(void)state;
	sim_fail_at(sim, sim_count(sim).ops + 2, -EIO, false);
	fill(io, file, 'a', 10, 0);
	assert_int_equal(io->ops->rename(io, "x", "y", NULL), -EIO);
	assert_true(there(io, "x"));
	assert_int_equal(io->ops->rename(io, "x", "y", NULL), 0);
	sim_fail_at(sim, sim_count(sim).ops + 1, -ENOSPC, true);
	assert_int_equal(io->ops->write(io, file, "b", 1, 0), -ENOSPC);
	assert_int_equal(io->ops->mkdir(io, "d", NULL), -ENOSPC);
	assert_false(there(io, "d"));
	sim_fail_at(sim, 0, 0, false);
	make_dir(io, "d");
	assert_false(sim_is_off(sim));
	sim_free(sim);
}

static void test_failed_write_may_have_written(void **state)
{
	static char data[2 * BLOCK];
	unsigned changed = 0;
	uint64_t seed;
	size_t i;

	(void)state;
	for (seed = 0; seed < 40; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file = make_durable(io, "x", 'a', sizeof(data));

		memset(data, 'b', sizeof(data));
		sim_fail_at(sim, sim_count(sim).ops + 1, -EIO, false);
		assert_int_equal(io->ops->write(io, file, data, BLOCK, 0),
				 -EIO);
		assert_int_equal(get(io, "x", data, sizeof(data)),
				 sizeof(data));
		for (i = 0; i < BLOCK; i++)
			assert_true(data[i] == 'a' || data[i] == 'b');
		assert_int_equal(all_of(data + BLOCK, BLOCK), 'a');
		changed += data[0] == 'b';
		sim_free(sim);
	}
	assert_true(changed);
}

static void test_failed_sync_loses(void **state)
{
	static char data[16 * BLOCK];
	unsigned lost = 0, kept = 0;
	uint64_t seed;
	size_t i;

	(void)state;
	for (seed = 0; seed < 40; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file = make_durable(io, "x", 'a', sizeof(data));

		fill(io, file, 'b', sizeof(data), 0);
		sim_fail_at(sim, sim_count(sim).ops + 1, -EIO, false);
		assert_int_equal(io->ops->sync(io, file), -EIO);
		get(io, "x", data, sizeof(data));
		assert_int_equal(all_of(data, sizeof(data)), 'b');
		if (seed % 2)
			fill(io, file, 'c', sizeof(data), 0);
		sync_file(io, file);
		sim_power_loss(sim);
		assert_int_equal(get(io, "x", data, sizeof(data)),
				 sizeof(data));
		if (seed % 2)
			assert_int_equal(all_of(data, sizeof(data)), 'c');
		for (i = 0; seed % 2 == 0 && i < sizeof(data); i += BLOCK) {
			lost += all_of(data + i, BLOCK) == 'a';
			kept += all_of(data + i, BLOCK) == 'b';
		}
		sim_free(sim);
	}
	assert_true(lost && kept);
	assert_int_equal(lost + kept, 20 * 16);
}

static void test_capacity(void **state)
{
	struct sim *sim = sim_new(1);
	struct vs_io *io = sim_io(sim);
	int file = make_file(io, "x");
	int other = make_file(io, "y");
	static char data[4 * BLOCK];

	(void)state;
	sim_set_capacity(sim, 4 * BLOCK);
	fill(io, file, 'a', 3 * BLOCK, 0);
	assert_int_equal(io->ops->write(io, other, data, sizeof(data), 0),
			 BLOCK);
	assert_int_equal(io->ops->write(io, other, data, BLOCK, BLOCK),
			 -ENOSPC);
	fill(io, file, 'b', 3 * BLOCK, 0);
	assert_int_equal(io->ops->unlink(io, "x", NULL), 0);
	assert_int_equal(io->ops->write(io, other, data, BLOCK, BLOCK),
			 -ENOSPC);
	close_file(io, file);
	fill(io, other, 'c', BLOCK, BLOCK);
	assert_int_equal(sim_count(sim).used_bytes, 2 * BLOCK);
	sim_free(sim);
}

static void test_short_io(void **state)
{
	struct sim *sim = sim_new(1);
	struct vs_io *io = sim_io(sim);
	int file = make_durable(io, "x", 'a', 2 * BLOCK);
	static char data[2 * BLOCK] __attribute__((aligned(4096)));
	unsigned i, shorter = 0;

	(void)state;
	sim_set_short_io(sim, 1);
	for (i = 0; i < 50; i++) {
		ssize_t n = io->ops->read(io, file, data, 1000, 0);

		assert_true(n > 0 && n < 1000);
		n = io->ops->write(io, file, data, 2, 0);
		assert_int_equal(n, 1);
	}
	close_file(io, file);
	file = open_file(io, "x", IO_READ_WRITE | IO_DIRECT);
	sim_set_short_io(sim, 3);
	for (i = 0; i < 100; i++) {
		ssize_t n = io->ops->write(io, file, data, sizeof(data), 0);

		assert_true(n > 0 && n % 512 == 0);
		shorter += n < (ssize_t)sizeof(data);
	}
	assert_true(shorter > 10 && shorter < 90);
	sim_free(sim);
}

static void test_flip(void **state)
{
	struct sim *sim = sim_new(1);
	struct vs_io *io = sim_io(sim);
	int file = make_durable(io, "x", 'a', 100);
	static char data[3 * BLOCK];

	(void)state;
	assert_int_equal(sim_flip(sim, "no", 0, 0), -ENOENT);
	assert_int_equal(sim_flip(sim, "x", 100, 0), -ERANGE);
	assert_int_equal(io->ops->truncate(io, file, sizeof(data)), 0);
	sync_file(io, file);
	assert_int_equal(sim_flip(sim, "x", BLOCK, 0), -ENXIO);
	assert_int_equal(sim_flip(sim, "x", 7, 1), 0);
	assert_int_equal(get(io, "x", data, sizeof(data)), sizeof(data));
	assert_int_equal(data[7], 'a' ^ 2);
	assert_int_equal(all_of(data, 7), 'a');
	assert_int_equal(all_of(data + 8, 92), 'a');
	sim_power_loss(sim);
	assert_int_equal(get(io, "x", data, sizeof(data)), sizeof(data));
	assert_int_equal(data[7], 'a' ^ 2);
	sim_free(sim);
}

static void test_lies(void **state)
{
	unsigned stale = 0, absent = 0;
	uint64_t seed;
	char c;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file = make_durable(io, "x", 'a', 1);

		sim_set_lying_sync(sim, seed % 2);
		sim_set_lying_sync_dir(sim, !(seed % 2));
		fill(io, file, 'b', 1, 0);
		sync_file(io, file);
		make_file(io, "y");
		sync_dir(io, "/");
		sim_power_loss(sim);
		get(io, "x", &c, 1);
		assert_true(c == 'b' || (c == 'a' && seed % 2));
		assert_true(there(io, "y") || !(seed % 2));
		stale += c == 'a';
		absent += !there(io, "y");
		sim_free(sim);
	}
	assert_true(stale > SEEDS / 10 && absent > SEEDS / 10);
}

/* Two blocks of 'x' in that directory, synced before and after they get their
 * name. */
static void put_there(struct vs_io *io, const char *dir)
{
	int file = io->ops->create_unnamed(io, dir, NULL);
	char path[32];

	assert_true(file >= 0);
	fill(io, file, 'x', 2 * (size_t)BLOCK, 0);
	sync_file(io, file);
	snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(io->ops->link(io, file, path, NULL), 0);
	sync_dir(io, dir);
}

struct lost {
	unsigned names, first, last;
};

static void lie_once(uint64_t seed, enum sim_lie lie, const char *where,
		     const char *const dirs[2], struct lost lost[2])
{
	struct sim *sim = sim_new(seed);
	struct vs_io *io = sim_io(sim);

	make_dir(io, "a");
	make_dir(io, "a/b");
	sync_dir(io, "a");
	sync_dir(io, "/");
	sim_set_lie(sim, lie, where);
	for (unsigned n = 0; n < 2; n++)
		put_there(io, dirs[n]);
	sim_power_loss(sim);
	for (unsigned n = 0; n < 2; n++) {
		char path[32], data[2 * BLOCK] = { 0 };

		snprintf(path, sizeof(path), "%s/f", dirs[n]);
		if (!there(io, path)) {
			lost[n].names++;
			continue;
		}
		get(io, path, data, sizeof(data));
		lost[n].first += all_of(data, BLOCK) != 'x';
		lost[n].last += all_of(data + BLOCK, BLOCK) != 'x';
	}
	sim_free(sim);
}

/* One kind of sync lies in one place; all others are honest. */
static void test_narrow_lies(void **state)
{
	static const char *const dirs[] = { "/a", "/a/b" };
	static const char *const wheres[] = { "/a", "/a/" };

	(void)state;
	for (unsigned liar = 0; liar < 2; liar++) {
		for (int lie = SIM_LIE_DATA; lie <= SIM_LIE_NAMES; lie++) {
			struct lost lost[2] = { 0 }, *at = &lost[liar];

			for (uint64_t seed = 0; seed < SEEDS; seed++)
				lie_once(seed, (enum sim_lie)lie, wheres[liar],
					 dirs, lost);
			assert_int_equal(lost[!liar].names, 0);
			assert_int_equal(lost[!liar].first, 0);
			assert_int_equal(lost[!liar].last, 0);
			assert_int_equal(at->names > SEEDS / 10,
					 lie == SIM_LIE_NAMES);
			assert_int_equal(at->first > SEEDS / 10,
					 lie == SIM_LIE_DATA);
			assert_int_equal(at->last > SEEDS / 10,
					 lie != SIM_LIE_NAMES);
		}
	}
}

static void test_names_in_doubt(void **state)
{
	unsigned absent = 0;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);

		sim_fail_names(sim, "/");
		make_file(io, "x");
		assert_false(sim_names_failed(sim));
		assert_int_equal(io->ops->sync_dir(io, "/", NULL), -EIO);
		assert_true(sim_names_failed(sim));
		assert_true(there(io, "x"));
		if (seed % 2) /* once only */
			sync_dir(io, "/");
		sim_power_loss(sim);
		assert_true(there(io, "x") || seed % 2 == 0);
		absent += !there(io, "x");
		sim_free(sim);
	}
	assert_true(absent > SEEDS / 10);
}

static void test_queue_order(void **state)
{
	unsigned in_order = 0, sync_first = 0;
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file = make_file(io, "x");
		struct io_queue *queue = io->ops->queue_new(io, 4, NULL);
		char data[2] = "ab";
		struct io_request requests[3] = {
			{ .op = IO_OP_WRITE,
			  .file = file,
			  .buffer = data,
			  .length = 1 },
			{ .op = IO_OP_WRITE,
			  .file = file,
			  .buffer = data + 1,
			  .length = 1,
			  .offset = BLOCK },
			{ .op = IO_OP_SYNC, .file = file },
		};
		struct io_request *done[3];
		unsigned i, n = 0;
		char c = 0;

		for (i = 0; i < 3; i++) {
			io->ops->queue_submit(queue, &requests[i]);
			assert_true(requests[i].in_flight);
		}
		assert_int_equal(queue->in_flight, 3);
		assert_int_equal(io->ops->read(io, file, &c, 1, 0), 0);
		data[0] = 'z';
		while (n < 3) {
			i = io->ops->queue_reap(queue, 1, done + n, 3 - n);
			assert_true(i >= 1 && i <= 3 - n);
			n += i;
		}
		in_order += done[0] == &requests[0] && done[1] == &requests[1];
		sync_first += done[0] == &requests[2];
		for (i = 0; i < 3; i++) {
			assert_false(requests[i].in_flight);
			assert_int_equal(requests[i].result, i < 2);
		}
		assert_int_equal(queue->in_flight, 0);
		assert_int_equal(io->ops->read(io, file, &c, 1, 0), 1);
		assert_int_equal(c, 'z');
		io->ops->queue_free(queue);
		io->ops->queue_free(NULL);
		sim_free(sim);
	}
	assert_true(in_order && in_order < SEEDS / 2);
	assert_true(sync_first && sync_first < SEEDS / 2);
}

/* Completed before the sync: durable. In flight when the power goes: maybe. */
static void test_queue_power_loss(void **state)
{
	unsigned happened = 0;
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		struct sim *sim = sim_new(seed);
		struct vs_io *io = sim_io(sim);
		int file = make_durable(io, "x", 'a', BLOCK);
		struct io_queue *queue = io->ops->queue_new(io, 4, NULL);
		char data = 'b';
		struct io_request request = { .op = IO_OP_WRITE,
					      .file = file,
					      .buffer = &data,
					      .length = 1 };
		struct io_request *done;
		char c;

		io->ops->queue_submit(queue, &request);
		sim_power_loss(sim);
		assert_int_equal(io->ops->queue_reap(queue, 1, &done, 1), 1);
		assert_int_equal(done->result, -EBADF);
		get(io, "x", &c, 1);
		assert_true(c == 'a' || c == 'b');
		happened += c == 'b';

		request.file = open_file(io, "x", IO_READ_ONLY);
		request.op = IO_OP_READ;
		c = data = 'q';
		io->ops->queue_submit(queue, &request);
		assert_true(data != 'q' && data != 'a' && data != 'b');
		io->ops->queue_free(queue);
		assert_int_equal(request.result, 1);
		assert_true(data == 'a' || data == 'b');
		sim_free(sim);
	}
	assert_true(happened && happened < SEEDS);
}

static void test_queue_in_flight_twice(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (!child) {
		struct rlimit none = { 0 };
		struct vs_io *io = sim_io(sim_new(1));
		struct io_queue *queue = io->ops->queue_new(io, 4, NULL);
		struct io_request request = { .op = IO_OP_SYNC };

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		io->ops->queue_submit(queue, &request);
		io->ops->queue_submit(queue, &request);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_counters(void **state)
{
	struct sim *sim = sim_new(1);
	struct vs_io *io = sim_io(sim);
	int file = make_durable(io, "x", 'a', 5000);
	struct sim_counters count = sim_count(sim);
	char c;

	(void)state;
	assert_int_equal(count.ops, 4);
	assert_int_equal(count.syncs, 1);
	assert_int_equal(count.dir_syncs, 1);
	assert_int_equal(count.bytes_written, 5000);
	assert_int_equal(count.open_files, 1);
	assert_int_equal(io->ops->read(io, file, &c, 1, 0), 1);
	assert_int_equal(sim_count(sim).bytes_read, 1);
	assert_int_equal(sim_count(sim).ops, 4);
	sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_loss_at),
		cmocka_unit_test(test_seed_decides),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_failed_write_may_have_written),
		cmocka_unit_test(test_failed_sync_loses),
		cmocka_unit_test(test_capacity),
		cmocka_unit_test(test_short_io),
		cmocka_unit_test(test_flip),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_narrow_lies),
		cmocka_unit_test(test_names_in_doubt),
		cmocka_unit_test(test_queue_order),
		cmocka_unit_test(test_queue_power_loss),
		cmocka_unit_test(test_queue_in_flight_twice),
		cmocka_unit_test(test_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
