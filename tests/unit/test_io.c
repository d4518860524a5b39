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
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/base/io.h"
#include "format/base/io_posix.h"

/* One test's io and its own directory. */
struct rig {
	struct vs_io *io;
	char dir[256];
	char path[4][320]; /* room for names, see in() */
	unsigned next;
};

typedef struct vs_io *make_io_fn(struct err *err);

static struct vs_io *new_plain_named(struct err *err)
{
	struct vs_io *io = io_new_plain(err);

	if (io)
		container_of(io, struct io_posix, io)->no_tmpfile = true;
	return io;
}

static int set_up(void **state, make_io_fn *make)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	const char *top = getenv("TMPDIR");

	assert_non_null(rig);
	snprintf(rig->dir, sizeof(rig->dir), "%s/vmsnap-test-XXXXXX",
		 top ? top : "/tmp");
	assert_non_null(mkdtemp(rig->dir));
	rig->io = make(NULL);
	*state = rig;
	return 0;
}

static int set_up_uring(void **state)
{
	return set_up(state, io_new_uring);
}

static int set_up_plain(void **state)
{
	return set_up(state, io_new_plain);
}

static int set_up_named(void **state)
{
	return set_up(state, new_plain_named);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	io_free(rig->io);
	nftw(rig->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(rig);
	return 0;
}

/* The rig of this test; skipped where the host forbids its io. */
static struct rig *rig_of(void **state)
{
	struct rig *rig = *state;

	if (!rig->io) {
		print_message("io_uring is not available on this host\n");
		skip();
	}
	return rig;
}

/* A path in the rig's directory; good for four more calls. */
static const char *in(struct rig *rig, const char *name)
{
	char *path = rig->path[rig->next++ % 4];

	snprintf(path, sizeof(rig->path[0]), "%s/%s", rig->dir, name);
	return path;
}

static int count_name(void *arg, const char *name)
{
	(void)name;
	++*(unsigned *)arg;
	return 0;
}

static unsigned names_in(struct rig *rig)
{
	unsigned count = 0;

	assert_int_equal(
		rig->io->ops->list(rig->io, rig->dir, count_name, &count, NULL),
		0);
	return count;
}

static int make_file(struct rig *rig, const char *name, int more)
{
	int file = rig->io->ops->open(rig->io, in(rig, name),
				      IO_READ_WRITE | IO_CREATE | more, NULL);

	assert_true(file >= 0);
	return file;
}

static void fill(uint8_t *data, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

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

#define QUEUE_DEPTH    16
#define QUEUE_REQUESTS 200
#define QUEUE_LENGTH   4096

/* Submit all, far above the depth, and reap them in odd helpings. */
static void run_all(struct io_queue *queue, struct io_request *requests)
{
	const struct vs_io_ops *ops = queue->io->ops;
	struct io_request *done[7];
	unsigned reaped = 0;

	for (unsigned i = 0; i < QUEUE_REQUESTS; i++) {
		ops->queue_submit(queue, &requests[i]);
		assert_true(requests[i].in_flight);
	}
	assert_int_equal(queue->in_flight, QUEUE_REQUESTS);
	while (reaped < QUEUE_REQUESTS) {
		unsigned left = QUEUE_REQUESTS - reaped;
		unsigned min = left < 3 ? left : 3;
		unsigned count = ops->queue_reap(queue, min, done, 7);

		assert_in_range(count, min, 7);
		for (unsigned i = 0; i < count; i++) {
			assert_false(done[i]->in_flight);
			/* Each comes back once. */
			assert_ptr_equal(done[i]->owner, done[i]);
			done[i]->owner = NULL;
		}
		reaped += count;
	}
	assert_int_equal(queue->in_flight, 0);
	assert_int_equal(ops->queue_reap(queue, 0, done, 7), 0);
}

static void test_queue(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	static uint8_t data[QUEUE_REQUESTS][QUEUE_LENGTH];
	static uint8_t back[QUEUE_REQUESTS][QUEUE_LENGTH];
	struct io_request requests[QUEUE_REQUESTS] = { 0 };
	struct io_queue *queue = io->ops->queue_new(io, QUEUE_DEPTH, NULL);
	int file = make_file(rig, "f", 0);

	assert_non_null(queue);
	assert_ptr_equal(queue->io, io);
	for (unsigned i = 0; i < QUEUE_REQUESTS; i++) {
		fill(data[i], QUEUE_LENGTH, i);
		requests[i] = (struct io_request){
			.op = IO_OP_WRITE,
			.file = file,
			.buffer = data[i],
			.length = QUEUE_LENGTH,
			.offset = (uint64_t)i * QUEUE_LENGTH,
			.owner = &requests[i],
			.more = i % 5 != 0,
		};
	}
	run_all(queue, requests);
	for (unsigned i = 0; i < QUEUE_REQUESTS; i++) {
		assert_int_equal(requests[i].result, QUEUE_LENGTH);
		requests[i].op = IO_OP_READ;
		requests[i].buffer = back[i];
		requests[i].owner = &requests[i];
	}
	run_all(queue, requests);
	for (unsigned i = 0; i < QUEUE_REQUESTS; i++)
		assert_int_equal(requests[i].result, QUEUE_LENGTH);
	assert_memory_equal(data, back, sizeof(data));
	io->ops->queue_free(queue);
	io->ops->close(io, file);
}

/* What is held back goes with a kick, without a reap, and not before. */
static void test_queue_more(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct io_queue *queue = io->ops->queue_new(io, QUEUE_DEPTH, NULL);
	struct io_request requests[3] = { 0 }, *done[3];
	struct pollfd pollfd = { .events = POLLIN };
	int file = make_file(rig, "f", 0);
	uint8_t data[512] = { 1 };

	assert_non_null(queue);
	for (unsigned i = 0; i < 3; i++) {
		requests[i] = (struct io_request){
			.op = IO_OP_WRITE,
			.file = file,
			.buffer = data,
			.length = sizeof(data),
			.offset = i * sizeof(data),
			.more = true,
		};
		io->ops->queue_submit(queue, &requests[i]);
	}
	pollfd.fd = io->ops->queue_fd(queue);
	if (io->ops->queue_kick) {
		assert_int_equal(poll(&pollfd, 1, 0), 0);
		io->ops->queue_kick(queue);
		assert_int_equal(poll(&pollfd, 1, 60000), 1);
	}
	assert_int_equal(io->ops->queue_reap(queue, 3, done, 3), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(requests[i].result, sizeof(data));
	io->ops->queue_free(queue);
	io->ops->close(io, file);
}

static ssize_t run_one(struct io_queue *queue, enum io_op op, int file,
		       void *buffer, size_t length, uint64_t offset)
{
	struct io_request request = {
		.op = op,
		.file = file,
		.buffer = buffer,
		.length = length,
		.offset = offset,
	};
	struct io_request *done = NULL;

	queue->io->ops->queue_submit(queue, &request);
	assert_int_equal(queue->io->ops->queue_reap(queue, 1, &done, 1), 1);
	assert_ptr_equal(done, &request);
	return request.result;
}

static void test_queue_results(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct io_queue *queue = io->ops->queue_new(io, 1, NULL);
	char data[100] = "abc";
	int file = make_file(rig, "f", 0);

	assert_non_null(queue);
	assert_int_equal(run_one(queue, IO_OP_WRITE, file, data, 3, 5), 3);
	assert_int_equal(run_one(queue, IO_OP_SYNC, file, NULL, 0, 0), 0);
	assert_int_equal(run_one(queue, IO_OP_READ, file, data, 100, 0), 8);
	assert_memory_equal(data, "\0\0\0\0\0abc", 8);
	assert_int_equal(run_one(queue, IO_OP_READ, file, data, 100, 8), 0);
	assert_int_equal(
		run_one(queue, IO_OP_READ, file, data, 100, UINT64_MAX),
		-EINVAL);
	assert_int_equal(run_one(queue, IO_OP_WRITE, file, data, 1, 1ULL << 63),
			 -EINVAL);
	assert_int_equal(run_one(queue, IO_OP_READ, -1, data, 100, 0), -EBADF);
	assert_int_equal(run_one(queue, IO_OP_SYNC, -1, NULL, 0, 0), -EBADF);
	assert_int_equal(run_one(queue, IO_OP_READ, file, NULL, 3, 0), -EFAULT);
	io->ops->queue_free(queue);
	io->ops->close(io, file);
}

static void test_queue_edges(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct io_request requests[50] = { 0 };
	static char data[50][512];
	struct err err = { 0 };
	struct io_queue *queue;
	struct io_stat st;
	int file = make_file(rig, "f", 0);

	assert_null(io->ops->queue_new(io, 0, &err));
	assert_int_equal(err.code, -EINVAL);
	assert_null(io->ops->queue_new(io, IO_QUEUE_DEPTH_MAX + 1, &err));
	io->ops->queue_free(NULL);

	/* Freeing waits: all is written afterwards. */
	queue = io->ops->queue_new(io, 4, &err);
	assert_non_null(queue);
	for (unsigned i = 0; i < 50; i++) {
		requests[i] = (struct io_request){
			.op = IO_OP_WRITE,
			.file = file,
			.buffer = data[i],
			.length = sizeof(data[i]),
			.offset = i * sizeof(data[i]),
		};
		io->ops->queue_submit(queue, &requests[i]);
	}
	io->ops->queue_free(queue);
	for (unsigned i = 0; i < 50; i++) {
		assert_false(requests[i].in_flight);
		assert_int_equal(requests[i].result, sizeof(data[i]));
	}
	assert_int_equal(io->ops->fstat(io, file, &st, NULL), 0);
	assert_int_equal(st.size_bytes, sizeof(data));
	io->ops->close(io, file);
}

/* From here on this thread may not enter any ring. */
static int forbid_io_uring(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_enter, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(filter), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -errno;
	return 0;
}

static void *run_forbidden(void *arg)
{
	struct rig *rig = arg;
	const struct vs_io_ops *ops = rig->io->ops;
	struct io_queue *queue = ops->queue_new(rig->io, 8, NULL);
	static uint8_t data[40][512];
	struct io_request requests[40] = { 0 };
	struct io_request *done[40];
	int file = make_file(rig, "f", 0);
	unsigned reaped = 0;

	assert_non_null(queue);
	/* Half goes the usual way and is still out when the door shuts. */
	for (unsigned i = 0; i < 40; i++) {
		if (i == 20 && forbid_io_uring() < 0)
			skip();
		fill(data[i], sizeof(data[i]), i);
		requests[i] = (struct io_request){
			.op = IO_OP_WRITE,
			.file = file,
			.buffer = data[i],
			.length = sizeof(data[i]),
			.offset = i * sizeof(data[i]),
			.more = i % 4 != 3,
		};
		ops->queue_submit(queue, &requests[i]);
	}
	while (reaped < 40)
		reaped += ops->queue_reap(queue, 1, done, 40);
	for (unsigned i = 0; i < 40; i++) {
		uint8_t back[512];

		assert_int_equal(requests[i].result, 512);
		assert_int_equal(io_read_full(rig->io, file, back, 512,
					      requests[i].offset),
				 0);
		assert_memory_equal(back, data[i], 512);
	}
	ops->queue_free(queue);
	ops->close(rig->io, file);
	return rig;
}

/* A sandbox that comes down over a queue in use loses no request. */
static void test_queue_forbidden(void **state)
{
	struct rig *rig = rig_of(state);
	pthread_t thread;
	void *finished = NULL;

	assert_int_equal(pthread_create(&thread, NULL, run_forbidden, rig), 0);
	pthread_join(thread, &finished);
	assert_ptr_equal(finished, rig);
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
	io_free(uring);
	io_free(NULL);
}

/* clang-format off */
#define IO_TEST(f, how) { #f "_" #how, f, set_up_##how, tear_down, NULL }
#define IO_TESTS(how)                                                          \
	IO_TEST(test_open, how), IO_TEST(test_direct, how),                    \
	IO_TEST(test_read_write, how), IO_TEST(test_unnamed, how),             \
	IO_TEST(test_names, how), IO_TEST(test_list, how),                     \
	IO_TEST(test_stat, how), IO_TEST(test_holes, how),                     \
	IO_TEST(test_queue, how), IO_TEST(test_queue_more, how),               \
	IO_TEST(test_queue_results, how), IO_TEST(test_queue_edges, how),      \
	IO_TEST(test_write_new, how)
/* clang-format on */

int main(void)
{
	const struct CMUnitTest tests[] = {
		IO_TESTS(uring),
		IO_TESTS(plain),
		IO_TEST(test_queue_forbidden, uring),
		IO_TEST(test_unnamed, named),
		IO_TEST(test_write_new, named),
		cmocka_unit_test(test_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
