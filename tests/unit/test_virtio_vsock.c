/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock by a driver in the test, with real sockets at the host's ends:
 * both ways to connect, slow ends, drivers and clients that break rules, state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "kvm-agent/vsock/sockets.h"
#include "tests/rig/device_state.h"
#include "tests/rig/virtio_guest.h"

#define TO_GUEST   0u
#define FROM_GUEST 1u
#define EVENTS     2u
#define BUFFERS    64u /* for the guest, a page each */
#define ROOM       (256u * 1024)

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

struct rig {
	struct guest guest;
	struct virtio_vsock *device;
	struct vsock_sockets sockets;
	struct driver driver;
	char directory[64];
	uint64_t buffers, output;
	uint32_t forwarded;
	struct vsock_header header; /* of the packet that came last */
	uint8_t data[4096];
	uint32_t length;
};

static struct sockaddr_un address_of(const struct rig *rig, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%.60s/%.30s",
		 rig->directory, name);
	return address;
}

static int listen_at(const struct rig *rig, const char *name, int backlog)
{
	struct sockaddr_un address = address_of(rig, name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void unlisten(const struct rig *rig, int fd, const char *name)
{
	close(fd);
	assert_int_equal(unlink(address_of(rig, name).sun_path), 0);
}

static struct rig *start(bool with_driver)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));

	strcpy(rig->directory, "/tmp/test_virtio_vsock.XXXXXX");
	assert_non_null(mkdtemp(rig->directory));
	rig->device = test_calloc(1, sizeof(*rig->device));
	assert_int_equal(chdir(rig->directory), 0);
	vsock_sockets_init(&rig->sockets, listen_at(rig, "vsock.sock", 64),
			   true);
	ok(guest_init(&rig->guest, &err));
	ok(virtio_vsock_init(rig->device, 0, &rig->guest.host,
			     &rig->sockets.hooks, &err));
	ok(vsock_sockets_start(&rig->sockets, rig->guest.loop, rig->device,
			       &err));
	rig->buffers = guest_pages(&rig->guest, BUFFERS);
	rig->output = guest_pages(&rig->guest, 17);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	if (with_driver)
		ok(driver_start(&rig->driver, ~0ULL));
	return rig;
}

static void finish(struct rig *rig)
{
	virtio_vsock_release(rig->device);
	vsock_sockets_stop(&rig->sockets);
	guest_release(&rig->guest);
	unlink(address_of(rig, "vsock.sock").sun_path);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(rig->directory), 0);
	test_free(rig->device);
	test_free(rig);
}

/* ---- the guest ---- */

static void give_buffer(struct rig *rig, uint32_t size)
{
	unsigned at = rig->driver.rings[TO_GUEST].next_descriptor % BUFFERS;
	struct piece piece = { rig->buffers + 4096ULL * at, size, true };

	driver_add(&rig->driver, TO_GUEST, &piece, 1);
	driver_notify(&rig->driver, TO_GUEST);
}

static void give_buffers(struct rig *rig, unsigned count)
{
	while (count--)
		give_buffer(rig, 4096);
	guest_settle(&rig->guest);
}

static void add_packet(struct rig *rig, unsigned op, uint32_t port,
		       uint32_t host_port, const void *data, uint32_t length,
		       uint32_t flags)
{
	struct vsock_header header = {
		.from_cid = le64_make(VSOCK_GUEST_CID),
		.to_cid = le64_make(VSOCK_HOST_CID),
		.from_port = le32_make(port),
		.to_port = le32_make(host_port),
		.length = le32_make(length),
		.type = le16_make(VSOCK_STREAM),
		.op = le16_make((uint16_t)op),
		.flags = le32_make(flags),
		.room = le32_make(ROOM),
		.forwarded = le32_make(rig->forwarded),
	};
	struct piece pieces[] = { { rig->output, sizeof(header), false },
				  { rig->output + 4096, length, false } };

	memcpy(guest_at(&rig->guest, rig->output), &header, sizeof(header));
	if (length)
		memcpy(guest_at(&rig->guest, rig->output + 4096), data, length);
	driver_add(&rig->driver, FROM_GUEST, pieces, length ? 2 : 1);
	driver_notify(&rig->driver, FROM_GUEST);
	guest_settle(&rig->guest);
}

static void say(struct rig *rig, unsigned op, uint32_t port, uint32_t host_port,
		const char *text)
{
	add_packet(rig, op, port, host_port, text, (uint32_t)strlen(text), 0);
	assert_true(driver_take(&rig->driver, FROM_GUEST, NULL) >= 0);
}

static void shut(struct rig *rig, uint32_t port, uint32_t host_port,
		 uint32_t flags)
{
	add_packet(rig, VSOCK_SHUTDOWN, port, host_port, NULL, 0, flags);
	assert_true(driver_take(&rig->driver, FROM_GUEST, NULL) >= 0);
}

/* A packet has come. */
static bool take_packet(struct rig *rig)
{
	uint32_t written = 0;
	int head = driver_take(&rig->driver, TO_GUEST, &written);
	const uint8_t *page;

	if (head < 0)
		return false;
	page = guest_at(&rig->guest,
			rig->buffers + 4096ULL * ((unsigned)head % BUFFERS));
	assert_true(written >= sizeof(rig->header));
	memcpy(&rig->header, page, sizeof(rig->header));
	rig->length = le32_get(rig->header.length);
	assert_int_equal(written, sizeof(rig->header) + rig->length);
	memcpy(rig->data, page + sizeof(rig->header), rig->length);
	return true;
}

static void hear_nothing(struct rig *rig)
{
	guest_settle(&rig->guest);
	assert_int_equal(driver_take(&rig->driver, TO_GUEST, NULL), -1);
}

/* The next packet; its flags. */
static uint32_t hear(struct rig *rig, unsigned op, uint32_t host_port,
		     uint32_t port)
{
	for (unsigned i = 0; i < 100 && !take_packet(rig); i++) {
		guest_settle(&rig->guest);
		assert_true(i < 99);
	}
	assert_int_equal(le16_get(rig->header.op), op);
	assert_int_equal(le32_get(rig->header.from_port), host_port);
	assert_int_equal(le32_get(rig->header.to_port), port);
	return le32_get(rig->header.flags);
}

/* ---- the host ---- */

static int call(struct rig *rig, const char *line)
{
	struct sockaddr_un address = address_of(rig, "vsock.sock");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL),
			 strlen(line));
	for (unsigned i = 0; i < 5; i++)
		guest_settle(&rig->guest);
	return fd;
}

static void reads(struct rig *rig, int fd, const char *text)
{
	char buffer[4096];
	ssize_t n;

	guest_settle(&rig->guest);
	n = recv(fd, buffer, sizeof(buffer), 0);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(buffer, text, strlen(text));
}

static void reads_nothing(struct rig *rig, int fd)
{
	char c;

	guest_settle(&rig->guest);
	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

/* The other end is closed. */
static void is_hung_up(struct rig *rig, int fd)
{
	char c;

	guest_settle(&rig->guest);
	/* What it did not read of ours is told of, once. */
	if (recv(fd, &c, 1, 0) < 0)
		assert_int_equal(errno, ECONNRESET);
	assert_int_equal(recv(fd, &c, 1, 0), 0);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	close(fd);
}

static uint32_t connect_host(struct rig *rig, int *fd)
{
	char line[32];
	uint32_t port;

	*fd = call(rig, "CONNECT 22\n");
	hear(rig, VSOCK_REQUEST, rig->device->vsock.next_port, 22);
	port = le32_get(rig->header.from_port);
	say(rig, VSOCK_RESPONSE, 22, port, "");
	snprintf(line, sizeof(line), "OK %u\n", port);
	reads(rig, *fd, line);
	return port;
}

/* The guest's port 1000 at somebody who listens at 80. */
static int connect_guest(struct rig *rig, int listener)
{
	int fd;

	say(rig, VSOCK_REQUEST, 1000, 80, "");
	hear(rig, VSOCK_RESPONSE, 80, 1000);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* ---- both ways ---- */

static void test_from_the_host(void **state)
{
	struct rig *rig = start(true);
	uint32_t port;
	int fd;

	(void)state;
	assert_int_equal(driver_config(&rig->driver, 0, 8), 3);
	give_buffers(rig, 32);
	port = connect_host(rig, &fd);
	assert_true(port >= VSOCK_PORT_FIRST);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	hear(rig, VSOCK_DATA, port, 22);
	assert_int_equal(rig->length, 5);
	assert_memory_equal(rig->data, "hello", 5);
	say(rig, VSOCK_DATA, 22, port, "world");
	reads(rig, fd, "world");
	/* It sends no more; the guest still does, and then no more. */
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(hear(rig, VSOCK_SHUTDOWN, port, 22), VSOCK_SENDS_NONE);
	say(rig, VSOCK_DATA, 22, port, "bye");
	reads(rig, fd, "bye");
	hear_nothing(rig);
	shut(rig, 22, port, 3);
	hear(rig, VSOCK_RESET, port, 22);
	is_hung_up(rig, fd);
	/* What is behind the line is the guest's, and waits until it is there. */
	fd = call(rig, "CONNECT 00022\nearly");
	hear(rig, VSOCK_REQUEST, ++port, 22);
	hear_nothing(rig);
	reads_nothing(rig, fd);
	say(rig, VSOCK_RESPONSE, 22, port, "");
	hear(rig, VSOCK_DATA, port, 22);
	assert_memory_equal(rig->data, "early", 5);
	snprintf((char *)rig->data, sizeof(rig->data), "OK %u\n", port);
	reads(rig, fd, (char *)rig->data);
	/* It goes. */
	close(fd);
	while (hear(rig, VSOCK_SHUTDOWN, port, 22) != 3)
		;
	say(rig, VSOCK_RESET, 22, port, "");
	hear_nothing(rig);
	/* Refused. */
	fd = call(rig, "CONNECT 23\n");
	hear(rig, VSOCK_REQUEST, ++port, 23);
	say(rig, VSOCK_RESET, 23, port, "");
	is_hung_up(rig, fd);
	finish(rig);
}

static void test_from_the_guest(void **state)
{
	struct rig *rig = start(true);
	int listener = listen_at(rig, "vsock_80.sock", 1), fd, others[8];
	unsigned count = 0;

	(void)state;
	give_buffers(rig, 32);
	say(rig, VSOCK_REQUEST, 1000, 81, "");
	hear(rig, VSOCK_RESET, 81, 1000);
	fd = connect_guest(rig, listener);
	say(rig, VSOCK_DATA, 1000, 80, "hello");
	reads(rig, fd, "hello");
	assert_int_equal(send(fd, "world", 5, 0), 5);
	hear(rig, VSOCK_DATA, 80, 1000);
	assert_memory_equal(rig->data, "world", 5);
	/* It sends no more, and what was before is read before. */
	say(rig, VSOCK_DATA, 1000, 80, "last");
	shut(rig, 1000, 80, VSOCK_SENDS_NONE);
	reads(rig, fd, "last");
	assert_int_equal(recv(fd, rig->data, 1, 0), 0);
	assert_int_equal(send(fd, "more", 4, MSG_NOSIGNAL), 4);
	hear(rig, VSOCK_DATA, 80, 1000);
	say(rig, VSOCK_RESET, 1000, 80, "");
	is_hung_up(rig, fd);
	/* Nobody takes what came to the listener: then it is full. */
	for (;; count++) {
		say(rig, VSOCK_REQUEST, 2000 + count, 80, "");
		guest_settle(&rig->guest);
		assert_true(take_packet(rig) && count < 8);
		if (le16_get(rig->header.op) == VSOCK_RESET)
			break;
	}
	for (unsigned i = 0; i < count; i++)
		others[i] = accept(listener, NULL, NULL);
	unlisten(rig, listener, "vsock_80.sock");
	say(rig, VSOCK_REQUEST, 3000, 80, "");
	hear(rig, VSOCK_RESET, 80, 3000);
	for (unsigned i = 0; i < count; i++)
		close(others[i]);
	finish(rig);
}

static void test_callers(void **state)
{
	static const char *const wrong[] = {
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT 4294967296\n",
		"CONNECT 99999999999\n",
		"CONNECT -1\n",
		"CONNECT 1 \n",
		"CONNECT 0x10\n",
		"connect 22\n",
		"\n",
		"CONNECT 0000000000000000000000000000022\n",
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	};
	struct rig *rig = start(false);
	int fd, callers[VSOCK_CALLERS_MAX];

	(void)state;
	/* Without a driver nobody is there. */
	is_hung_up(rig, call(rig, "CONNECT 22\n"));
	ok(driver_start(&rig->driver, ~0ULL));
	give_buffers(rig, 32);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		is_hung_up(rig, call(rig, wrong[i]));
	hear_nothing(rig);
	/* In pieces; and one that leaves in the middle. */
	close(call(rig, "CONN"));
	fd = call(rig, "CONNECT 42949");
	guest_settle(&rig->guest);
	assert_int_equal(send(fd, "67295\n", 6, 0), 6);
	hear(rig, VSOCK_REQUEST, VSOCK_PORT_FIRST + 1, UINT32_MAX);
	/* It leaves before the guest has answered. */
	close(fd);
	hear(rig, VSOCK_RESET, VSOCK_PORT_FIRST + 1, UINT32_MAX);
	/* So many that say nothing, and no more. */
	for (unsigned i = 0; i < VSOCK_CALLERS_MAX; i++)
		callers[i] = call(rig, "CONNECT");
	is_hung_up(rig, call(rig, ""));
	reads_nothing(rig, callers[0]);
	for (unsigned i = 0; i < VSOCK_CALLERS_MAX; i++)
		close(callers[i]);
	guest_settle(&rig->guest);
	connect_host(rig, &fd);
	close(fd);
	finish(rig);
}

/* Who says nothing, and a guest that says nothing. */
static void test_limits_in_time(void **state)
{
	struct rig *rig = start(true);
	struct pollfd polls[2] = { { .events = POLLIN }, { .events = POLLIN } };
	unsigned rounds = 0;

	(void)state;
	give_buffers(rig, 32);
	rig->sockets.tick_ns = 1000000;
	polls[0].fd = call(rig, "CONN");
	polls[1].fd = call(rig, "CONNECT 22\n");
	hear(rig, VSOCK_REQUEST, VSOCK_PORT_FIRST + 1, 22);
	while (!polls[0].revents || !polls[1].revents) {
		assert_true(rounds++ < 20000);
		guest_settle(&rig->guest);
		assert_true(poll(polls, 2, 1) >= 0);
	}
	is_hung_up(rig, polls[0].fd);
	is_hung_up(rig, polls[1].fd);
	hear(rig, VSOCK_RESET, VSOCK_PORT_FIRST + 1, 22);
	finish(rig);
}

/* ---- slow ones ---- */

static void test_slow_guest(void **state)
{
	struct rig *rig = start(true);
	const size_t size = 1 * MIB;
	size_t sent = 0, heard = 0;
	uint32_t port;
	int fd;

	(void)state;
	give_buffers(rig, 2);
	port = connect_host(rig, &fd);
	while (heard < size) {
		char text[10000];
		ssize_t n;

		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = (char)((sent + i) / 7);
		n = send(fd, text, min_u64(sizeof(text), size - sent), 0);
		sent += n > 0 ? (size_t)n : 0;
		if (heard % 3 == 0 || n <= 0)
			give_buffer(rig, 200 + (uint32_t)(heard % 3000));
		guest_settle(&rig->guest);
		while (take_packet(rig)) {
			if (le16_get(rig->header.op) != VSOCK_DATA)
				continue;
			for (uint32_t i = 0; i < rig->length; i++)
				assert_int_equal(rig->data[i],
						 (uint8_t)((heard + i) / 7));
			heard += rig->length;
			rig->forwarded = (uint32_t)heard;
			say(rig, VSOCK_CREDIT, 22, port, "");
		}
	}
	assert_int_equal(heard, size);
	close(fd);
	finish(rig);
}

static void test_slow_host(void **state)
{
	struct rig *rig = start(true);
	int listener = listen_at(rig, "vsock_80.sock", 4);
	static char text[4096], got[65536];
	size_t sent = 0, read_size = 0, may = VSOCK_ROOM;
	int fd, other;

	(void)state;
	give_buffers(rig, 64);
	fd = connect_guest(rig, listener);
	/* Until there is no room: the socket's own, and ours. */
	while (may >= sizeof(text)) {
		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = (char)((sent + i) / 5);
		add_packet(rig, VSOCK_DATA, 1000, 80, text, sizeof(text), 0);
		assert_true(driver_take(&rig->driver, FROM_GUEST, NULL) >= 0);
		sent += sizeof(text);
		while (take_packet(rig))
			give_buffer(rig, 4096);
		may = VSOCK_ROOM - (sent - le32_get(rig->header.forwarded));
		assert_true(sent < 8 * MIB);
	}
	assert_true(sent > VSOCK_ROOM);
	/* Another one works meanwhile. */
	say(rig, VSOCK_REQUEST, 1001, 80, "");
	hear(rig, VSOCK_RESPONSE, 80, 1001);
	other = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	say(rig, VSOCK_DATA, 1001, 80, "quick");
	reads(rig, other, "quick");
	/* The guest is done; all that it sent arrives. */
	shut(rig, 1000, 80, 3);
	say(rig, VSOCK_RESET, 1000, 80, "");
	for (;;) {
		ssize_t n = recv(fd, got, sizeof(got), 0);

		guest_settle(&rig->guest);
		if (n == 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(
				(uint8_t)got[i],
				(uint8_t)((read_size + (size_t)i) / 5));
		read_size += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(read_size, sent);
	close(fd);
	close(other);
	unlisten(rig, listener, "vsock_80.sock");
	finish(rig);
}

/* ---- drivers that break rules ---- */

static void test_short_packets(void **state)
{
	struct rig *rig = start(true);
	struct piece piece = { rig->output, 43, false };
	uint32_t port;
	int fd;

	(void)state;
	give_buffers(rig, 8);
	port = connect_host(rig, &fd);
	(void)port;
	driver_add(&rig->driver, FROM_GUEST, &piece, 1);
	driver_notify(&rig->driver, FROM_GUEST);
	guest_settle(&rig->guest);
	assert_int_equal(rig->guest.broken, 1);
	/* Its connections are gone, and no more are made. */
	is_hung_up(rig, fd);
	is_hung_up(rig, call(rig, "CONNECT 22\n"));
	ok(driver_start(&rig->driver, ~0ULL));
	give_buffers(rig, 8);
	connect_host(rig, &fd);
	/* A buffer without room for a header. */
	ok(driver_start(&rig->driver, ~0ULL));
	is_hung_up(rig, fd);
	give_buffer(rig, 43);
	is_hung_up(rig, call(rig, "CONNECT 22\n"));
	assert_int_equal(rig->guest.broken, 2);
	/* Less behind the header than it says. */
	ok(driver_start(&rig->driver, ~0ULL));
	give_buffers(rig, 8);
	port = connect_host(rig, &fd);
	memset(rig->data, 0, sizeof(rig->data));
	add_packet(rig, VSOCK_DATA, 22, port, rig->data, 4, 0);
	((struct vsock_header *)guest_at(&rig->guest, rig->output))->length =
		le32_make(5);
	driver_put_head(&rig->driver, FROM_GUEST,
			(uint16_t)driver_take(&rig->driver, FROM_GUEST, NULL));
	driver_notify(&rig->driver, FROM_GUEST);
	hear(rig, VSOCK_RESET, port, 22);
	assert_int_equal(recv(fd, rig->data, 10, 0), 4);
	is_hung_up(rig, fd);
	assert_int_equal(rig->guest.broken, 2);
	finish(rig);
}

/* It asks and asks, and takes no answer: it is not listened to until it does. */
static void test_flood(void **state)
{
	struct rig *rig = start(true);
	unsigned done = 0, heard = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		add_packet(rig, VSOCK_REQUEST, i, 7, NULL, 0, 0);
	while (driver_take(&rig->driver, FROM_GUEST, NULL) >= 0)
		done++;
	assert_int_equal(done, VSOCK_REFUSALS_MAX);
	give_buffers(rig, 50);
	while (heard < 100) {
		guest_settle(&rig->guest);
		if (!take_packet(rig))
			continue;
		assert_int_equal(le16_get(rig->header.op), VSOCK_RESET);
		heard++;
		give_buffer(rig, 4096);
	}
	while (driver_take(&rig->driver, FROM_GUEST, NULL) >= 0)
		done++;
	assert_int_equal(done, 100);
	finish(rig);
}

static void test_reset(void **state)
{
	struct rig *rig = start(true);
	int listener = listen_at(rig, "vsock_80.sock", 4), fd, other;

	(void)state;
	give_buffers(rig, 8);
	fd = connect_guest(rig, listener);
	connect_host(rig, &other);
	say(rig, VSOCK_DATA, 1000, 80, "before");
	driver_set_status(&rig->driver, 0);
	assert_int_equal(driver_status(&rig->driver), 0);
	reads(rig, fd, "before");
	is_hung_up(rig, fd);
	is_hung_up(rig, other);
	/* The old ones are unknown to the next driver. */
	ok(driver_start(&rig->driver, ~0ULL));
	give_buffers(rig, 8);
	say(rig, VSOCK_DATA, 1000, 80, "after");
	hear(rig, VSOCK_RESET, 80, 1000);
	close(connect_guest(rig, listener));
	unlisten(rig, listener, "vsock_80.sock");
	finish(rig);
}

/* ---- state ---- */

static void save(struct rig *rig, struct state_writer *out)
{
	device_state_save(&rig->device->virtio.device, out);
}

static int restore(struct rig *rig, const struct state_writer *saved)
{
	return device_state_restore(&rig->device->virtio.device, saved, &err);
}

static void give_event_buffer(struct rig *rig)
{
	struct piece piece = { rig->output + 8192, 8, true };

	memset(guest_at(&rig->guest, rig->output + 8192), 0xee, 8);
	driver_add(&rig->driver, EVENTS, &piece, 1);
	driver_notify(&rig->driver, EVENTS);
	guest_settle(&rig->guest);
}

static void test_save_restore(void **state)
{
	struct rig *rig = start(true), *other = start(false);
	struct state_writer first, second;
	uint32_t written = 0;
	int fd;

	(void)state;
	give_buffers(rig, 8);
	give_event_buffer(rig);
	connect_host(rig, &fd);
	rig->device->vsock.guest_cid = 77;
	save(rig, &first);
	/* It goes on as it was. */
	assert_int_equal(send(fd, "x", 1, 0), 1);
	hear(rig, VSOCK_DATA, VSOCK_PORT_FIRST + 1, 22);
	assert_int_equal(driver_take(&rig->driver, EVENTS, NULL), -1);
	ok(restore(other, &first));
	save(other, &second);
	device_state_same(&first, &second);
	state_release(&second);
	assert_int_equal(driver_config(&other->driver, 0, 8), 77);
	/* The guest hears of it, once. */
	memcpy(guest_at(&other->guest, 0), guest_at(&rig->guest, 0), GUEST_RAM);
	other->driver = rig->driver;
	other->driver.guest = &other->guest;
	virtio_resume(&other->device->virtio);
	guest_settle(&other->guest);
	assert_true(driver_take(&other->driver, EVENTS, &written) >= 0);
	assert_int_equal(written, 4);
	assert_memory_equal(guest_at(&other->guest, other->output + 8192),
			    "\0\0\0\0\xee\xee\xee\xee", 8);
	give_event_buffer(other);
	assert_int_equal(driver_take(&other->driver, EVENTS, NULL), -1);
	/* A restore ends what there is. */
	ok(restore(rig, &first));
	is_hung_up(rig, fd);
	state_release(&first);
	/* Without a driver there is nobody to be told. */
	driver_set_status(&rig->driver, 0);
	save(rig, &first);
	ok(restore(other, &first));
	assert_false(other->device->event_due);
	state_release(&first);
	for (unsigned i = 0; i < 4; i++) {
		static const uint64_t cids[] = { 0, 2, 0xffffffff, 1ULL << 32 };

		rig->device->vsock.guest_cid = cids[i];
		save(rig, &first);
		assert_int_equal(restore(other, &first), -EBADMSG);
		state_release(&first);
	}
	assert_int_equal(other->device->vsock.guest_cid, 77);
	finish(rig);
	finish(other);
}

static void is_quiet(void *arg)
{
	*(bool *)arg = true;
}

/* Paused, nothing of the guest's is touched; clients wait. */
static void test_quiesce(void **state)
{
	struct rig *rig = start(true);
	bool quiet = false;
	uint32_t port;
	int fd, later;

	(void)state;
	give_buffers(rig, 8);
	port = connect_host(rig, &fd);
	virtio_quiesce(&rig->device->virtio, is_quiet, &quiet);
	guest_settle(&rig->guest);
	assert_true(quiet);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	later = call(rig, "CONNECT 23\n");
	add_packet(rig, VSOCK_DATA, 22, port, "y", 1, 0);
	assert_int_equal(driver_take(&rig->driver, FROM_GUEST, NULL), -1);
	hear_nothing(rig);
	reads_nothing(rig, fd);
	reads_nothing(rig, later);
	virtio_resume(&rig->device->virtio);
	guest_settle(&rig->guest);
	reads(rig, fd, "y");
	assert_true(take_packet(rig));
	assert_true(take_packet(rig));
	hear_nothing(rig);
	close(fd);
	close(later);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_the_host),
		cmocka_unit_test(test_from_the_guest),
		cmocka_unit_test(test_callers),
		cmocka_unit_test(test_limits_in_time),
		cmocka_unit_test(test_slow_guest),
		cmocka_unit_test(test_slow_host),
		cmocka_unit_test(test_short_packets),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_save_restore),
		cmocka_unit_test(test_quiesce),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
