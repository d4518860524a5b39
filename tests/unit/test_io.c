/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both implementations of vs_io on the real kernel through the same tests, and
 * a third time as on a file system without O_TMPFILE.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "format/base/base.h"
#include "format/base/bytes.h"
#include "tests/unit/io_fixture.h"

static void test_open(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct err err = { 0 };
	struct stat st;
	int file;

	assert_int_equal(io->ops->open(io, in(rig, "a"), IO_READ_ONLY, &err),
			 -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_non_null(strstr(err.text, "/a'"));
	assert_int_equal(io->ops->open(io, in(rig, "a"), IO_CREATE, &err),
			 -EINVAL);

	file = make_file(rig, "a", IO_EXCLUSIVE);
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(fcntl(file, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(file, F_GETFL) & O_NONBLOCK);
	assert_int_equal(io->ops->write(io, file, "x", 1, 0), 1);
	assert_int_equal(io->ops->close(io, file), 0);
	assert_int_equal(io->ops->close(io, file), -EBADF);

	assert_int_equal(io->ops->open(io, in(rig, "a"),
				       IO_READ_WRITE | IO_CREATE | IO_EXCLUSIVE,
				       &err),
			 -EEXIST);
	file = make_file(rig, "a", 0);
	io->ops->close(io, file);

	file = io->ops->open(io, in(rig, "a"), IO_READ_ONLY, &err);
	assert_true(file >= 0);
	assert_int_equal(io->ops->write(io, file, "x", 1, 0), -EBADF);
	io->ops->close(io, file);

	assert_int_equal(symlink("a", in(rig, "l")), 0);
	assert_int_equal(io->ops->open(io, in(rig, "l"), IO_NO_FOLLOW, &err),
			 -ELOOP);
	file = io->ops->open(io, in(rig, "l"), IO_READ_ONLY, &err);
	assert_true(file >= 0);
	io->ops->close(io, file);

	/* Nobody writes into this FIFO; opening it returns all the same. */
	assert_int_equal(mkfifo(in(rig, "fifo"), 0600), 0);
	file = io->ops->open(io, in(rig, "fifo"), IO_READ_ONLY, &err);
	assert_true(file >= 0);
	io->ops->close(io, file);
}

static void test_direct(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	uint8_t *data = aligned_alloc(4096, 8192);
	int file = make_file(rig, "d", IO_DIRECT | IO_EXCLUSIVE);

	assert_non_null(data);
	fill(data, 4096, 1);
	assert_int_equal(io_write_full(io, file, data, 4096, 4096), 0);
	assert_int_equal(io_read_full(io, file, data + 4096, 4096, 4096), 0);
	assert_memory_equal(data, data + 4096, 4096);
	io->ops->close(io, file);
	free(data);

	/* A file system that has no O_DIRECT: taken back. */
	file = io->ops->open(io, "/proc/self/status", IO_DIRECT, NULL);
	assert_true(file >= 0);
	io->ops->close(io, file);
}

static void test_read_write(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	uint8_t data[10000], back[10000];
	int file = make_file(rig, "f", 0);

	fill(data, sizeof(data), 3);
	assert_int_equal(io_write_full(io, file, data, sizeof(data), 100), 0);
	assert_int_equal(io_read_full(io, file, back, sizeof(back), 100), 0);
	assert_memory_equal(data, back, sizeof(data));
	assert_int_equal(io_read_full(io, file, back, sizeof(back), 101),
			 -ENODATA);
	assert_int_equal(io->ops->read(io, file, back, 10, 10100), 0);
	assert_int_equal(io->ops->read(io, file, back, 10, 10095), 5);
	assert_int_equal(io->ops->read(io, file, back, 10, UINT64_MAX),
			 -EINVAL);
	assert_int_equal(io_write_full(io, file, data, 10, 1ULL << 63),
			 -EINVAL);
	assert_int_equal(io_read_full(io, file, back, 0, 0), 0);

	assert_int_equal(io->ops->truncate(io, file, 50), 0);
	assert_int_equal(io->ops->read(io, file, back, 100, 0), 50);
	assert_int_equal(io->ops->truncate(io, file, UINT64_MAX), -EINVAL);
	assert_int_equal(io->ops->sync(io, file), 0);
	assert_int_equal(io->ops->sync(io, -1), -EBADF);
	io->ops->start_writeback(io, file, 0, 50);
	io->ops->is_cached(io, file, 0, 50);
	io->ops->will_read(io, file, 0, 50);
	io->ops->close(io, file);
}

static void test_unnamed(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct err err = { 0 };
	struct bytes read = { 0 };
	int file = io->ops->create_unnamed(io, rig->dir, &err);
	int other;

	assert_true(file >= 0);
	assert_int_equal(io_write_full(io, file, "hello", 5, 0), 0);
	assert_int_equal(io->ops->link(io, file, in(rig, "n"), &err), 0);
	assert_int_equal(names_in(rig), 1);
	assert_int_equal(io->ops->close(io, file), 0);
	assert_int_equal(io_read_file(io, in(rig, "n"), 100, &read, &err), 0);
	assert_int_equal(read.size, 5);
	assert_memory_equal(read.data, "hello", 5);
	bytes_release(&read);

	/* A name that is taken stays whose it was. */
	file = io->ops->create_unnamed(io, rig->dir, &err);
	other = io->ops->create_unnamed(io, rig->dir, &err);
	assert_true(file >= 0 && other >= 0);
	assert_int_equal(io->ops->link(io, file, in(rig, "n"), &err), -EEXIST);
	assert_int_equal(err.code, -EEXIST);
	assert_int_equal(io->ops->link(io, file, in(rig, "no/n"), &err),
			 -ENOENT);
	assert_int_equal(io->ops->link(io, file, in(rig, "m"), &err), 0);
	assert_int_equal(io->ops->close(io, file), 0);
	/* Never linked: it vanishes. */
	assert_int_equal(io->ops->close(io, other), 0);
	assert_int_equal(names_in(rig), 2);
	assert_int_equal(io_read_file(io, in(rig, "n"), 5, &read, &err), 0);
	assert_memory_equal(read.data, "hello", 5);
	bytes_release(&read);

	assert_int_equal(io->ops->create_unnamed(io, in(rig, "no"), &err),
			 -ENOENT);
	assert_int_equal(err.code, -ENOENT);
}

static void test_names(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct err err = { 0 };

	assert_int_equal(io->ops->mkdir(io, in(rig, "d"), &err), 0);
	assert_int_equal(io->ops->mkdir(io, in(rig, "d"), &err), 0);
	assert_int_equal(io->ops->mkdir(io, in(rig, "x/y"), &err), -ENOENT);
	io->ops->close(io, make_file(rig, "f", 0));
	assert_int_equal(io->ops->mkdir(io, in(rig, "f"), &err), -ENOTDIR);

	assert_int_equal(
		io->ops->rename(io, in(rig, "f"), in(rig, "d/g"), &err), 0);
	assert_int_equal(io->ops->rename(io, in(rig, "f"), in(rig, "h"), &err),
			 -ENOENT);
	assert_int_equal(io->ops->sync_dir(io, in(rig, "d"), &err), 0);
	assert_int_equal(io->ops->sync_dir(io, in(rig, "d/g"), &err), -ENOTDIR);
	assert_int_equal(io->ops->sync_dir(io, in(rig, "none"), &err), -ENOENT);
	/* A file system that has no fsync for directories. */
	assert_int_equal(io->ops->sync_dir(io, "/proc/self", &err), 0);
	assert_int_equal(io->ops->unlink(io, in(rig, "d/g"), &err), 0);
	assert_int_equal(io->ops->unlink(io, in(rig, "d/g"), &err), -ENOENT);
	assert_non_null(strstr(err.text, "d/g"));
}

struct listing {
	unsigned seen;
	unsigned stop_after;
	unsigned long names; /* a bit for each f0 to f31 */
};

static int take_name(void *arg, const char *name)
{
	struct listing *listing = arg;

	if (name[0] == 'f')
		listing->names |= 1UL << strtoul(name + 1, NULL, 10);
	if (++listing->seen == listing->stop_after)
		return 77;
	return 0;
}

static void test_list(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct listing all = { 0 }, some = { .stop_after = 5 };
	struct err err = { 0 };

	assert_int_equal(names_in(rig), 0);
	for (unsigned i = 0; i < 32; i++) {
		char name[8];

		snprintf(name, sizeof(name), "f%u", i);
		io->ops->close(io, make_file(rig, name, 0));
	}
	assert_int_equal(io->ops->list(io, rig->dir, take_name, &all, &err), 0);
	assert_int_equal(all.seen, 32);
	assert_int_equal(all.names, 0xffffffffUL);
	assert_int_equal(io->ops->list(io, rig->dir, take_name, &some, &err),
			 77);
	assert_int_equal(some.seen, 5);
	assert_int_equal(
		io->ops->list(io, in(rig, "no"), take_name, &all, &err),
		-ENOENT);
	assert_int_equal(
		io->ops->list(io, in(rig, "f1"), take_name, &all, &err),
		-ENOTDIR);
}

static void test_stat(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	const struct timespec times[2] = { { 5, 6 }, { 7, 8 } };
	struct io_stat st, same;
	struct err err = { 0 };
	int file = make_file(rig, "f", 0);

	assert_int_equal(io_write_full(io, file, "0123456789", 10, 0), 0);
	assert_int_equal(futimens(file, times), 0);
	assert_int_equal(io->ops->fstat(io, file, &st, &err), 0);
	assert_int_equal(st.size_bytes, 10);
	assert_int_equal(st.kind, IO_KIND_FILE);
	assert_int_equal(st.modified_ns, 7000000008);
	assert_int_equal(io->ops->stat(io, in(rig, "f"), &same, &err), 0);
	assert_int_equal(st.inode, same.inode);
	assert_int_equal(st.device, same.device);
	assert_int_equal(same.size_bytes, 10);
	io->ops->close(io, file);
	assert_int_equal(io->ops->fstat(io, -1, &st, &err), -EBADF);

	assert_int_equal(io->ops->stat(io, rig->dir, &st, &err), 0);
	assert_int_equal(st.kind, IO_KIND_DIRECTORY);
	assert_int_equal(io->ops->stat(io, "/dev/null", &st, &err), 0);
	assert_int_equal(st.kind, IO_KIND_OTHER);
	assert_int_equal(io->ops->stat(io, in(rig, "no"), &st, &err), -ENOENT);
}

/* Is `at` in a data extent, as seek_data tells them from 0 on? */
static bool is_data(struct vs_io *io, int file, uint64_t at)
{
	uint64_t start, end = 0;
	int r;

	while ((r = io->ops->seek_data(io, file, end, &start, &end)) == 0) {
		assert_true(start < end);
		if (at >= start && at < end)
			return true;
	}
	assert_int_equal(r, -ENXIO);
	return false;
}

static void test_holes(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	static uint8_t data[MIB], back[MIB];
	uint64_t start = 1, end = 2;
	struct io_stat before, after;
	int r, file = make_file(rig, "f", 0);

	assert_int_equal(io->ops->seek_data(io, file, 0, &start, &end), -ENXIO);
	assert_true(start == 1 && end == 2); /* untouched */
	fill(data, sizeof(data), 9);
	assert_int_equal(io->ops->truncate(io, file, 8 * MIB), 0);
	assert_int_equal(io_write_full(io, file, data, MIB, 2 * MIB), 0);
	assert_int_equal(io_write_full(io, file, data, MIB, 5 * MIB), 0);
	assert_int_equal(io->ops->sync(io, file), 0);
	assert_true(is_data(io, file, 2 * MIB));
	assert_true(is_data(io, file, 3 * MIB - 1));
	assert_true(is_data(io, file, 5 * MIB + 77));
	assert_int_equal(io->ops->seek_data(io, file, 8 * MIB, &start, &end),
			 -ENXIO);
	assert_int_equal(io->ops->seek_data(io, file, UINT64_MAX, &start, &end),
			 -ENXIO);

	assert_int_equal(io->ops->fstat(io, file, &before, NULL), 0);
	r = io->ops->punch(io, file, 2 * MIB, MIB);
	if (r == -EOPNOTSUPP) {
		print_message("the file system has no holes\n");
		io->ops->close(io, file);
		skip();
	}
	assert_int_equal(r, 0);
	assert_false(is_data(io, file, 0));
	assert_false(is_data(io, file, 2 * MIB));
	assert_true(is_data(io, file, 5 * MIB));
	assert_int_equal(io_read_full(io, file, back, MIB, 2 * MIB), 0);
	assert_true(bytes_are_zero(back, MIB));
	assert_int_equal(io->ops->fstat(io, file, &after, NULL), 0);
	assert_true(after.allocated_bytes < before.allocated_bytes);
	/* Beyond the end it doesn't grow; nothing at all is fine too. */
	assert_int_equal(io->ops->punch(io, file, 7 * MIB, 4 * MIB), 0);
	assert_int_equal(io->ops->punch(io, file, 0, 0), 0);
	assert_int_equal(io->ops->fstat(io, file, &after, NULL), 0);
	assert_int_equal(after.size_bytes, 8 * MIB);
	assert_int_equal(io->ops->punch(io, file, UINT64_MAX, 4096), -EINVAL);
	io->ops->close(io, file);
}

static void test_write_new(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct bytes read = { 0 };
	struct err err = { 0 };

	assert_int_equal(io_write_new(io, rig->dir, "n", "one", 3, &err), 0);
	assert_int_equal(io_write_new(io, rig->dir, "n", "second", 6, &err),
			 -EEXIST);
	assert_int_equal(err.code, -EEXIST);
	assert_int_equal(io_write_new(io, rig->dir, "a/b", "x", 1, &err),
			 -EINVAL);
	assert_int_equal(io_write_new(io, rig->dir, "", "x", 1, &err), -EINVAL);
	assert_int_equal(io_write_new(io, in(rig, "no"), "n", "x", 1, &err),
			 -ENOENT);
	assert_int_equal(io_write_new(io, rig->dir, "empty", NULL, 0, &err), 0);
	assert_int_equal(names_in(rig), 2);

	assert_int_equal(io_read_file(io, in(rig, "n"), 3, &read, &err), 0);
	assert_int_equal(read.size, 3);
	assert_memory_equal(read.data, "one", 3);
	/* A failure leaves the output alone, success replaces it. */
	assert_int_equal(io_read_file(io, in(rig, "n"), 2, &read, &err),
			 -EFBIG);
	assert_int_equal(io_read_file(io, rig->dir, 2, &read, &err), -EISDIR);
	assert_int_equal(io_read_file(io, "/dev/zero", 9, &read, &err),
			 -EINVAL);
	assert_int_equal(io_read_file(io, in(rig, "no"), 9, &read, &err),
			 -ENOENT);
	assert_int_equal(read.size, 3);
	assert_int_equal(io_read_file(io, in(rig, "empty"), 0, &read, &err), 0);
	assert_int_equal(read.size, 0);
	bytes_release(&read);

	/* Files that don't tell their size: to the end, and no further. */
	assert_int_equal(
		io_read_file(io, "/proc/self/status", MIB, &read, &err), 0);
	assert_memory_equal(read.data, "Name:", 5);
	bytes_release(&read);
	assert_int_equal(io_read_file(io, "/proc/self/status", 10, &read, &err),
			 -EFBIG);
	assert_null(read.data);
}

static void test_choice(void **state)
{
	struct err err = { 0 };
	struct vs_io *io, *uring = io_new_uring(&err);

	(void)state;
	if (!uring)
		assert_true(err.code < 0 && err.text[0]);
	setenv("VMSNAP_IO", "plain", 1);
	io = io_new(&err);
	assert_non_null(io);
	assert_string_equal(io->ops->name, "plain");
	io_free(io);
	setenv("VMSNAP_IO", "threads", 1);
	io = io_new(&err);
	assert_non_null(io);
	assert_string_equal(io->ops->name, "threads");
	io_free(io);
	setenv("VMSNAP_IO", "uring", 1);
	io = io_new(&err);
	assert_int_equal(!!io, !!uring);
	if (io)
		assert_string_equal(io->ops->name, "io_uring");
	io_free(io);
	setenv("VMSNAP_IO", "carrier pigeon", 1);
	assert_null(io_new(&err));
	assert_int_equal(err.code, -EINVAL);
	assert_non_null(strstr(err.text, "carrier pigeon"));
	unsetenv("VMSNAP_IO");
	io = io_new(&err);
	assert_non_null(io);
	assert_string_equal(io->ops->name, uring ? "io_uring" : "plain");
	io_free(io);
	io = io_new_waitless(&err);
	assert_non_null(io);
	assert_string_equal(io->ops->name, uring ? "io_uring" : "threads");
	io_free(io);
	io_free(uring);
	io_free(NULL);
}

/* clang-format off */
#define IO_TESTS(how)                                                          \
	IO_TEST(test_open, how), IO_TEST(test_direct, how),                    \
	IO_TEST(test_read_write, how), IO_TEST(test_unnamed, how),             \
	IO_TEST(test_names, how), IO_TEST(test_list, how),                     \
	IO_TEST(test_stat, how), IO_TEST(test_holes, how),                     \
	IO_TEST(test_write_new, how)
/* clang-format on */

int main(void)
{
	const struct CMUnitTest tests[] = {
		IO_TESTS(uring),
		IO_TESTS(plain),
		IO_TEST(test_unnamed, named),
		IO_TEST(test_write_new, named),
		cmocka_unit_test(test_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
