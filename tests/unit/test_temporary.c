/* SPDX-License-Identifier: Apache-2.0 */
/* Throw-away layers, over a raw file, an image, and an NBD server of ours that
 * says what it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "format/base/base.h"
#include "kvm-agent/temporary/temporary.h"

#define SIZE (1 * MIB)

static char folder[64], raw[96];
static struct vs_io *io;

static int make_folder(void **state)
{
	static uint8_t content[SIZE];
	FILE *file;

	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/vmsnap-temporary-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(raw, sizeof(raw), "%s/raw", folder);
	for (size_t i = 0; i < SIZE; i++)
		content[i] = (uint8_t)(i / 4096 + i % 251);
	file = fopen(raw, "w");
	if (!file || fwrite(content, SIZE, 1, file) != 1 || fclose(file))
		return -1;
	io = io_new(NULL);
	return io ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	io_free(io);
	unlink(raw);
	/* Not empty: something has left a name. */
	return rmdir(folder);
}

static uint8_t byte_at(uint64_t at)
{
	return (uint8_t)(at / 4096 + at % 251);
}

static void expect_content(struct image_queue *queue, uint64_t offset,
			   size_t length)
{
	static uint8_t buffer[SIZE];

	assert_int_equal(image_read(queue, buffer, length, offset), 0);
	for (size_t i = 0; i < length; i++) {
		if (buffer[i] != byte_at(offset + i))
			fail_msg("byte %zu", (size_t)offset + i);
	}
}

static unsigned names(void)
{
	DIR *list = opendir(folder);
	unsigned count = 0;

	assert_non_null(list);
	while (readdir(list))
		count++;
	closedir(list);
	return count - 2;
}

/* What is written is read; all else is what lies beneath; no name is left. */
static void use_layer(struct image_base *base)
{
	static uint8_t ones[8192];
	uint8_t back[8192];
	unsigned before = names();
	struct image_queue *queue;
	struct image *image;
	uint64_t layer;
	struct err err;

	if (temporary_open(&image, io, folder, 3, base, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(names(), before);
	queue = image_queue_new(image, 8, NULL);
	assert_non_null(queue);
	expect_content(queue, 0, SIZE);
	memset(ones, 1, sizeof(ones));
	assert_int_equal(image_write(queue, ones, sizeof(ones), 61440), 0);
	assert_int_equal(image_write(queue, ones, 512, SIZE - 512), 0);
	assert_int_equal(image_flush(queue), 0);
	assert_int_equal(image_read(queue, back, sizeof(back), 61440), 0);
	assert_memory_equal(back, ones, sizeof(ones));
	expect_content(queue, 0, 61440);
	expect_content(queue, 61440 + 8192, 65536);
	assert_int_equal(image_discard(queue, 4096, 8192), 0);
	assert_int_equal(image_read(queue, back, 4096, 8192), 0);
	assert_true(bytes_are_zero(back, 4096));
	/* The layer that stands ready needs no name. */
	assert_int_equal(image_seal(image, &layer, &err), 0);
	assert_int_equal(image_write(queue, ones, 512, 0), 0);
	expect_content(queue, 512, 4096);
	image_queue_free(queue);
	assert_int_equal(image_close(image, &err), 0);
	assert_int_equal(names(), before);
}

static void test_over_raw(void **state)
{
	struct image_base *base, *other;
	bool zero;
	uint64_t run;

	(void)state;
	assert_int_equal(base_raw_open(&base, io, raw, NULL), 0);
	assert_int_equal(base->size_bytes, SIZE);
	assert_int_equal(base->extent(base, 0, SIZE, &zero, &run), 0);
	assert_false(zero);
	/* Several at once, and nobody who writes. */
	assert_int_equal(base_raw_open(&other, io, raw, NULL), 0);
	other->close(other);
	use_layer(base);
}

static void test_raw_that_is_written_to(void **state)
{
	struct image_base *base;
	struct err err;
	int file = io->ops->open(io, raw, IO_READ_WRITE, NULL);

	(void)state;
	assert_true(file >= 0);
	assert_int_equal(io->ops->lock(io, file, true), 0);
	assert_int_equal(base_raw_open(&base, io, raw, &err), -EBUSY);
	io->ops->close(io, file);
	assert_int_equal(base_raw_open(&base, io, folder, &err), -EINVAL);
	assert_int_equal(base_raw_open(&base, io, "/dev/null", &err), -EINVAL);
	assert_int_equal(base_raw_open(&base, io, "/nowhere", &err), -ENOENT);
}

/* Of an odd size, sparse, and cut off while it is read. */
static void test_odd_raw(void **state)
{
	struct image_queue *queue;
	struct image_base *base;
	struct image *image;
	uint8_t buffer[4096];
	char path[96];
	uint64_t run;
	bool zero;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/odd", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 65536 * 2 + 100), 0);
	assert_int_equal(pwrite(fd, "end", 3, 65536 * 2), 3);
	assert_int_equal(base_raw_open(&base, io, path, NULL), 0);
	assert_int_equal(base->extent(base, 0, 65536 * 2 + 100, &zero, &run),
			 0);
	assert_true(zero && run && run <= 65536 * 2);
	assert_int_equal(temporary_open(&image, io, folder, 0, base, NULL), 0);
	assert_int_equal(image_size(image), 65536 * 2 + 512);
	queue = image_queue_new(image, 8, NULL);
	assert_int_equal(image_read(queue, buffer, 512, 65536 * 2), 0);
	assert_memory_equal(buffer, "end\0", 4);
	assert_true(bytes_are_zero(buffer + 100, 412));
	assert_int_equal(ftruncate(fd, 65536), 0);
	assert_int_equal(image_read(queue, buffer, 4096, 65536), -EIO);
	assert_int_equal(image_read(queue, buffer, 4096, 0), 0);
	image_queue_free(queue);
	assert_int_equal(image_close(image, NULL), 0);
	close(fd);
	unlink(path);
}

static void test_over_image(void **state)
{
	struct image_options options = { .mode = IMAGE_READ_WRITE };
	static uint8_t content[SIZE];
	struct image_queue *queue;
	struct image_base *base;
	struct image *image;
	char path[96];

	(void)state;
	for (size_t i = 0; i < SIZE; i++)
		content[i] = byte_at(i);
	snprintf(path, sizeof(path), "%s/under.vsi", folder);
	assert_int_equal(image_create(io, path, SIZE, NULL, NULL), 0);
	assert_int_equal(image_open(&image, io, path, &options, NULL), 0);
	queue = image_queue_new(image, 8, NULL);
	assert_int_equal(image_write(queue, content, SIZE, 0), 0);
	image_queue_free(queue);
	assert_int_equal(image_close(image, NULL), 0);
	options.mode = IMAGE_READ_ONLY;
	assert_int_equal(image_open(&image, io, path, &options, NULL), 0);
	assert_int_equal(base_image_open(&base, image, NULL), 0);
	use_layer(base);
	assert_int_equal(image_remove(io, path, NULL), 0);
}

/* Files of one that was killed while it made them. */
static void test_leftovers_go(void **state)
{
	struct image_base *base;
	struct image *image;
	unsigned before;
	char path[96];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path),
			 i ? "%s/temporary3.%u" : "%s/temporary3", folder, i);
		close(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	}
	assert_int_equal(base_raw_open(&base, io, raw, NULL), 0);
	before = names();
	assert_int_equal(temporary_open(&image, io, folder, 3, base, NULL), 0);
	assert_int_equal(image_close(image, NULL), 0);
	assert_int_equal(names(), before - 2);
	assert_int_equal(base_raw_open(&base, io, raw, NULL), 0);
	assert_int_equal(temporary_open(&(struct image *){ 0 }, io, "/nowhere",
					0, base, NULL),
			 -ENOENT);
}

/* ---- an NBD server ---- */

enum mood {
	GOOD,
	FAILS,        /* each read: EIO */
	LIES,         /* answers another request */
	LEAVES,       /* after the first read */
	NO_SERVER,    /* another protocol */
	REFUSES,      /* there is no such export */
	EMPTY_EXPORT, /* of no bytes */
};

struct server {
	int fd;
	enum mood mood;
	pthread_t thread;
};

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	while (bytes--) {
		at[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

static bool take(int fd, void *to, size_t size)
{
	return recv(fd, to, size, MSG_WAITALL) == (ssize_t)size;
}

static void give(int fd, const void *data, size_t size)
{
	(void)!send(fd, data, size, MSG_NOSIGNAL);
}

static void say_option(int fd, unsigned type, const uint8_t *data, size_t size)
{
	uint8_t head[20];

	put(head, 0x3e889045565a9, 8);
	put(head + 8, 7, 4);
	put(head + 12, type, 4);
	put(head + 16, size, 4);
	give(fd, head, sizeof(head));
	give(fd, data, size);
}

static bool begin(const struct server *server)
{
	static const uint8_t hello[] = "NBDMAGICIHAVEOPT\0\3";
	static const uint8_t other[] = "SSH-2.0-OpenSSH_9\r\n";
	uint8_t in[4 + 16 + 6], info[12] = { 0 };

	give(server->fd, server->mood == NO_SERVER ? other : hello, 18);
	if (!take(server->fd, in, sizeof(in)))
		return false;
	assert_memory_equal(in + 4, "IHAVEOPT", 8);
	put(info + 2, server->mood == EMPTY_EXPORT ? 0 : SIZE, 8);
	if (server->mood == REFUSES)
		say_option(server->fd, 0x80000006, (const uint8_t *)"no", 2);
	/* What is not asked for is passed over. */
	say_option(server->fd, 3, (const uint8_t *)"\0\3xxxxyyyyzzzz", 14);
	say_option(server->fd, 3, info, sizeof(info));
	say_option(server->fd, 1, NULL, 0);
	return true;
}

static void answer(const struct server *server, const uint8_t *request)
{
	static _Thread_local uint8_t data[SIZE];
	uint64_t offset = 0, length = 0;
	uint8_t head[16] = { 0x67, 0x44, 0x66, 0x98 };

	for (unsigned i = 0; i < 8; i++)
		offset = offset << 8 | request[16 + i];
	for (unsigned i = 0; i < 4; i++)
		length = length << 8 | request[24 + i];
	if (server->mood == FAILS)
		head[7] = EIO;
	memcpy(head + 8, request + 8, 8);
	if (server->mood == LIES)
		head[15] ^= 1;
	give(server->fd, head, sizeof(head));
	for (size_t i = 0; i < length; i++)
		data[i] = byte_at(offset + i);
	if (server->mood != FAILS)
		give(server->fd, data, length);
}

static void *serve(void *arg)
{
	const struct server *server = arg;
	uint8_t request[28];

	if (begin(server)) {
		while (take(server->fd, request, sizeof(request))) {
			answer(server, request);
			if (server->mood == LEAVES)
				break;
		}
	}
	close(server->fd);
	return NULL;
}

static int open_nbd(struct server *servers, unsigned count, enum mood mood,
		    struct image_base **out, struct err *err)
{
	int sockets[BASE_NBD_SOCKETS_MAX], ends[2];

	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC,
					    0, ends),
				 0);
		sockets[i] = ends[0];
		servers[i] = (struct server){ .fd = ends[1], .mood = mood };
		assert_int_equal(pthread_create(&servers[i].thread, NULL, serve,
						&servers[i]),
				 0);
	}
	return base_nbd_open(out, sockets, count, err);
}

static void join(struct server *servers, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		pthread_join(servers[i].thread, NULL);
}

static void test_over_nbd(void **state)
{
	struct server servers[4];
	struct image_base *base;

	(void)state;
	assert_int_equal(open_nbd(servers, 4, GOOD, &base, NULL), 0);
	assert_int_equal(base->size_bytes, SIZE);
	use_layer(base);
	join(servers, 4);
}

static void test_nbd_refused(void **state)
{
	static const enum mood moods[] = { NO_SERVER, REFUSES, EMPTY_EXPORT };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(moods); i++) {
		struct server server;
		struct image_base *base;
		struct err err = { 0 };

		assert_true(open_nbd(&server, 1, moods[i], &base, &err) < 0);
		assert_non_null(strstr(err.text, "NBD server"));
		join(&server, 1);
	}
}

/* What it can't read is an error of that range; a connection that lies is no
 * longer asked, and without any nothing can be read. */
static void test_nbd_fails(void **state)
{
	uint8_t buffer[4096];
	struct server servers[2];
	struct image_base *base;

	(void)state;
	assert_int_equal(open_nbd(servers, 1, FAILS, &base, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(base->read(base, buffer, 4096, 0), -EIO);
	base->close(base);
	join(servers, 1);
	assert_int_equal(open_nbd(servers, 2, LIES, &base, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(base->read(base, buffer, 4096, 0), -EIO);
	base->close(base);
	join(servers, 2);
	assert_int_equal(open_nbd(servers, 2, LEAVES, &base, NULL), 0);
	assert_int_equal(base->read(base, buffer, 4096, 4096), 0);
	assert_int_equal(buffer[1], byte_at(4097));
	/* One is gone and the other still there: each is tried. */
	(void)base->read(base, buffer, 4096, 0);
	(void)base->read(base, buffer, 4096, 0);
	(void)base->read(base, buffer, 4096, 0);
	assert_int_equal(base->read(base, buffer, 4096, 0), -EIO);
	base->close(base);
	join(servers, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_over_raw),
		cmocka_unit_test(test_raw_that_is_written_to),
		cmocka_unit_test(test_odd_raw),
		cmocka_unit_test(test_over_image),
		cmocka_unit_test(test_leftovers_go),
		cmocka_unit_test(test_over_nbd),
		cmocka_unit_test(test_nbd_refused),
		cmocka_unit_test(test_nbd_fails),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
