/* SPDX-License-Identifier: Apache-2.0 */
/* passt's stream as a backend: frames that come in pieces, that the socket
 * takes in pieces, lengths that can't be, an end that goes; and what is no
 * backend at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "kvm-agent/net/backend.h"

static struct err err;

struct rig {
	struct net_backend *backend;
	int peer;
	uint8_t *data; /* of the largest frame */
};

static struct rig start(void)
{
	struct rig rig = { .data = test_malloc(NET_FRAME_MAX + 1) };
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	rig.peer = ends[1];
	assert_int_equal(net_passt_new(&rig.backend, ends[0], &err), 0);
	for (size_t i = 0; i <= NET_FRAME_MAX; i++)
		rig.data[i] = (uint8_t)(i * 7 + i / 253);
	return rig;
}

static void finish(struct rig *rig)
{
	net_backend_free(rig->backend);
	if (rig->peer >= 0)
		close(rig->peer);
	test_free(rig->data);
}

static void put(struct rig *rig, const void *data, size_t size)
{
	const uint8_t *at = data;

	while (size) {
		ssize_t n = write(rig->peer, at, size);

		assert_true(n > 0);
		at += n;
		size -= (size_t)n;
	}
}

static void put_length(struct rig *rig, uint32_t length)
{
	uint8_t head[4] = { (uint8_t)(length >> 24), (uint8_t)(length >> 16),
			    (uint8_t)(length >> 8), (uint8_t)length };

	put(rig, head, sizeof(head));
}

static int receive(struct rig *rig, struct net_frame *frame)
{
	return rig->backend->ops->receive(rig->backend, frame);
}

static void got(struct rig *rig, size_t length)
{
	struct net_frame frame;

	assert_int_equal(receive(rig, &frame), 1);
	assert_int_equal(frame.length, length);
	assert_memory_equal(frame.data, rig->data, length);
	assert_int_equal(frame.header.flags, 0);
	assert_int_equal(frame.header.gso_type, 0);
}

static void got_none(struct rig *rig)
{
	struct net_frame frame;

	assert_int_equal(receive(rig, &frame), 0);
}

static void test_receive(void **state)
{
	struct rig rig = start();
	uint8_t many[186 * 204];
	size_t size = 0;

	(void)state;
	got_none(&rig);
	/* Byte by byte. */
	for (unsigned i = 0; i < 4 + 60; i++) {
		uint8_t head[4] = { 0, 0, 0, 60 };

		got_none(&rig);
		put(&rig, i < 4 ? &head[i] : &rig.data[i - 4], 1);
	}
	got(&rig, 60);
	got_none(&rig);
	/* Many at once, the last one half. */
	for (size_t i = 14; i < 200; i++) {
		memset(many + size, 0, 3);
		many[size + 3] = (uint8_t)i;
		memcpy(many + size + 4, rig.data, i);
		size += 4 + i;
	}
	put(&rig, many, size);
	put_length(&rig, 1000);
	put(&rig, rig.data, 400);
	for (size_t i = 14; i < 200; i++)
		got(&rig, i);
	got_none(&rig);
	put(&rig, rig.data + 400, 600);
	got(&rig, 1000);
	/* The largest. */
	put_length(&rig, NET_FRAME_MAX);
	put(&rig, rig.data, NET_FRAME_MAX);
	got(&rig, NET_FRAME_MAX);
	finish(&rig);
}

static void test_bad_lengths(void **state)
{
	static const uint32_t bad[] = { 0, 13, NET_FRAME_MAX + 1, UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rig rig = start();
		struct net_frame frame;

		put_length(&rig, 20);
		put(&rig, rig.data, 20);
		put_length(&rig, bad[i]);
		put(&rig, rig.data, 14);
		got(&rig, 20);
		assert_int_equal(receive(&rig, &frame), -EPIPE);
		assert_int_equal(receive(&rig, &frame), -EPIPE);
		finish(&rig);
	}
}

static int send_frame(struct rig *rig, size_t length)
{
	struct net_header header = { 0 };
	struct iovec segments[] = { { rig->data, 10 },
				    { rig->data + 10, length - 10 } };

	return rig->backend->ops->send(rig->backend, &header, segments, 2,
				       length);
}

static void sent(struct rig *rig, size_t length)
{
	uint8_t *data = test_malloc(4 + length);

	for (size_t done = 0; done < 4 + length;) {
		ssize_t n = recv(rig->peer, data + done, 4 + length - done,
				 MSG_DONTWAIT);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			assert_int_equal(rig->backend->ops->flush(rig->backend),
					 0);
			continue;
		}
		assert_true(n > 0);
		done += (size_t)n;
	}
	assert_int_equal(data[0], 0);
	assert_int_equal(data[1] << 16 | data[2] << 8 | data[3], length);
	assert_memory_equal(data + 4, rig->data, length);
	test_free(data);
}

static void test_send(void **state)
{
	struct rig rig = start();
	unsigned count = 0, partial = 0;
	int r;

	(void)state;
	assert_int_equal(send_frame(&rig, 60), 0);
	sent(&rig, 60);
	/* Until it takes no more, then half a frame is kept: it goes out
	 * before another is taken, and all of them are whole. */
	while ((r = send_frame(&rig, NET_FRAME_MAX)) == 0) {
		count++;
		partial += rig.backend->unsent;
		assert_true(count < 10000);
	}
	assert_int_equal(r, -EAGAIN);
	assert_true(count > 0);
	assert_true(partial <= 1);
	assert_int_equal(send_frame(&rig, 60), -EAGAIN);
	for (unsigned i = 0; i < count; i++)
		sent(&rig, NET_FRAME_MAX);
	assert_false(rig.backend->unsent);
	assert_int_equal(send_frame(&rig, 60), 0);
	sent(&rig, 60);
	finish(&rig);
}

/* A small buffer, so that a frame is surely cut. */
static void test_cut(void **state)
{
	struct rig rig = start();
	int size = 4096;

	(void)state;
	setsockopt(rig.backend->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	assert_int_equal(send_frame(&rig, NET_FRAME_MAX), 0);
	assert_true(rig.backend->unsent);
	assert_int_equal(send_frame(&rig, 60), -EAGAIN);
	sent(&rig, NET_FRAME_MAX);
	assert_false(rig.backend->unsent);
	finish(&rig);
}

static void test_gone(void **state)
{
	struct rig rig = start();
	struct net_frame frame;

	(void)state;
	put_length(&rig, 60);
	put(&rig, rig.data, 60);
	put_length(&rig, 60);
	close(rig.peer);
	rig.peer = -1;
	/* What came before still does; no signal. */
	got(&rig, 60);
	assert_int_equal(receive(&rig, &frame), -EPIPE);
	assert_int_equal(send_frame(&rig, 60), -EPIPE);
	finish(&rig);
}

/* In the middle of a frame of ours. */
static void test_gone_in_between(void **state)
{
	struct rig rig = start();
	int size = 4096;

	(void)state;
	setsockopt(rig.backend->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	assert_int_equal(send_frame(&rig, NET_FRAME_MAX), 0);
	close(rig.peer);
	rig.peer = -1;
	assert_int_equal(rig.backend->ops->flush(rig.backend), -EPIPE);
	assert_int_equal(send_frame(&rig, 60), -EPIPE);
	finish(&rig);
}

static void test_no_backend(void **state)
{
	struct net_backend *backend = NULL;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(net_passt_new(&backend, fd, &err), -EINVAL);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(net_tap_new(&backend, fd, &err), -EINVAL);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(net_passt_new(&backend, fd, &err), -EINVAL);
	assert_null(backend);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_bad_lengths),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_gone_in_between),
		cmocka_unit_test(test_no_backend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
