/* SPDX-License-Identifier: Apache-2.0 */
/* agent.sock: bytes both ways, one client at a time, and either side that
 * floods or does not read. spec/protocol.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "kvm-agent/agent_port.h"
#include "tests/rig/virtio_guest.h"

#define INPUT  4u /* queues of the port */
#define OUTPUT 5u
#define PAGE   4096u

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

struct rig {
	struct guest guest;
	struct virtio_console console;
	struct agent_port port;
	struct driver driver;
	uint64_t data; /* pages */
	struct sockaddr_un address;
	socklen_t address_size;
};

static int listen_somewhere(struct rig *rig)
{
	static int serial;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int length =
		snprintf(rig->address.sun_path + 1, 100,
			 "vmsnap-agent-port-%d-%d", (int)getpid(), serial++);

	rig->address.sun_family = AF_UNIX;
	rig->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
					1 + (size_t)length);
	assert_int_equal(
		bind(fd, (struct sockaddr *)&rig->address, rig->address_size),
		0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

struct turns {
	struct loop_work work;
	struct loop *loop;
	unsigned left;
};

static void take_turn(struct loop_work *work)
{
	struct turns *turns = container_of(work, struct turns, work);

	if (turns->left--)
		loop_post(turns->loop, work);
	else
		loop_stop(turns->loop);
}

/* Also what sockets have: the loop comes round a few times. */
static void settle(struct rig *rig)
{
	for (int i = 0; i < 4; i++) {
		struct turns turns = { { .run = take_turn },
				       rig->guest.loop,
				       4 };

		loop_post(rig->guest.loop, &turns.work);
		while (turns.work.posted)
			(void)loop_run(rig->guest.loop, NULL);
	}
}

static int connect_to(struct rig *rig)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&rig->address,
				 rig->address_size),
			 0);
	settle(rig);
	return fd;
}

static uint8_t *at(struct rig *rig, unsigned page)
{
	return guest_at(&rig->guest, rig->data + page * (uint64_t)PAGE);
}

static void add(struct rig *rig, unsigned queue, unsigned page, uint32_t size,
		bool write)
{
	struct piece piece = { rig->data + page * (uint64_t)PAGE, size, write };

	driver_add(&rig->driver, queue, &piece, 1);
	driver_notify(&rig->driver, queue);
	settle(rig);
}

static void tell(struct rig *rig, uint32_t port, uint16_t event, uint16_t value)
{
	uint32_t message[2] = { port, event | (uint32_t)value << 16 };

	memcpy(at(rig, 0), message, sizeof(message));
	add(rig, 3, 0, 8, false);
	assert_true(driver_take(&rig->driver, 3, NULL) >= 0);
}

/* The last that the guest was told of the host's end; -1: nothing. */
static int hear_open(struct rig *rig)
{
	uint32_t size, message[2];
	int head, last = -1;

	while ((head = driver_take(&rig->driver, 2, &size)) >= 0) {
		memcpy(message, at(rig, 1 + (unsigned)head % 16), 8);
		if (message[0] == 1 && (uint16_t)message[1] == 6)
			last = (int)(message[1] >> 16);
		add(rig, 2, 1 + rig->driver.rings[2].next_descriptor % 16, 64,
		    true);
	}
	return last;
}

static struct rig *start(void)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));

	ok(guest_init(&rig->guest, &err));
	agent_port_init(&rig->port, listen_somewhere(rig));
	ok(virtio_console_init(&rig->console, 0, &rig->guest.host,
			       &rig->port.hooks, &err));
	ok(agent_port_start(&rig->port, rig->guest.loop, &rig->console, &err));
	rig->data = guest_pages(&rig->guest, 128);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	ok(driver_start(&rig->driver, ~0ULL));
	for (unsigned i = 0; i < 8; i++)
		add(rig, 2, 1 + rig->driver.rings[2].next_descriptor % 16, 64,
		    true);
	tell(rig, 0, 0, 1);
	tell(rig, 1, 3, 1);
	tell(rig, 1, 6, 1);
	assert_int_equal(hear_open(rig), 0);
	return rig;
}

static void finish(struct rig *rig)
{
	agent_port_stop(&rig->port);
	virtio_console_release(&rig->console);
	guest_release(&rig->guest);
	test_free(rig);
}

static void expect_bytes(int fd, const char *text)
{
	char data[64];

	assert_int_equal(recv(fd, data, sizeof(data), 0), strlen(text));
	assert_memory_equal(data, text, strlen(text));
}

static void expect_nothing(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void expect_end(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static void send_text(struct rig *rig, int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
	settle(rig);
}

static void test_both_ways(void **state)
{
	struct rig *rig = start();
	uint32_t size = 0;
	int client;

	(void)state;
	/* To nobody: it goes, and nowhere. */
	memcpy(at(rig, 40), "lost", 4);
	add(rig, OUTPUT, 40, 4, false);
	assert_true(driver_take(&rig->driver, OUTPUT, NULL) >= 0);
	client = connect_to(rig);
	assert_int_equal(hear_open(rig), 1);
	expect_nothing(client);
	memcpy(at(rig, 40), "pong", 4);
	add(rig, OUTPUT, 40, 4, false);
	expect_bytes(client, "pong");
	/* Before the guest has room, and after. */
	send_text(rig, client, "ping");
	add(rig, INPUT, 41, 3, true);
	assert_true(driver_take(&rig->driver, INPUT, &size) >= 0);
	assert_int_equal(size, 3);
	assert_memory_equal(at(rig, 41), "pin", 3);
	add(rig, INPUT, 41, 64, true);
	assert_true(driver_take(&rig->driver, INPUT, &size) >= 0);
	assert_int_equal(size, 1);
	add(rig, INPUT, 41, 64, true);
	send_text(rig, client, "again");
	assert_true(driver_take(&rig->driver, INPUT, &size) >= 0);
	assert_memory_equal(at(rig, 41), "again", 5);
	/* The terminal's bytes are nobody's. */
	add(rig, 1, 41, 64, false);
	assert_true(driver_take(&rig->driver, 1, NULL) >= 0);
	expect_nothing(client);
	close(client);
	settle(rig);
	assert_int_equal(hear_open(rig), 0);
	finish(rig);
}

static void test_one_at_a_time(void **state)
{
	struct rig *rig = start();
	int first, second;
	uint32_t size = 0;

	(void)state;
	first = connect_to(rig);
	second = connect_to(rig);
	expect_end(second);
	close(second);
	expect_nothing(first);
	/* What it leaves behind is not for the next. */
	send_text(rig, first, "old");
	close(first);
	settle(rig);
	assert_int_equal(hear_open(rig), 0);
	second = connect_to(rig);
	send_text(rig, second, "new");
	add(rig, INPUT, 41, 64, true);
	assert_true(driver_take(&rig->driver, INPUT, &size) >= 0);
	assert_int_equal(size, 3);
	assert_memory_equal(at(rig, 41), "new", 3);
	/* The machine's end is the client's. */
	finish(rig);
	expect_end(second);
	close(second);
}

/* A client that doesn't read: the guest waits, and nothing is lost. */
static void test_flood_of_the_guest(void **state)
{
	struct rig *rig = start();
	int client = connect_to(rig);
	unsigned given = 0, taken = 0;
	static char data[PAGE];
	uint64_t got = 0;

	(void)state;
	for (;;) {
		memset(at(rig, 40 + given % 64), 'a' + (int)(given % 26), PAGE);
		add(rig, OUTPUT, 40 + given % 64, PAGE, false);
		given++;
		if (driver_take(&rig->driver, OUTPUT, NULL) < 0)
			break;
		taken++;
		/* Its buffers and ours. */
		assert_true(taken < 4096);
	}
	assert_true(peer_unread(rig->port.client) <= PEER_UNREAD_PAUSE);
	while (taken < given || got < (uint64_t)given * PAGE) {
		ssize_t n = recv(client, data, sizeof(data), 0);

		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(data[i], 'a' + (int)(got / PAGE % 26));
		settle(rig);
		while (driver_take(&rig->driver, OUTPUT, NULL) >= 0)
			taken++;
	}
	expect_nothing(client);
	/* One that leaves with all of it unread lets the guest go on. */
	do
		add(rig, OUTPUT, 40, PAGE, false);
	while (driver_take(&rig->driver, OUTPUT, NULL) >= 0);
	close(client);
	settle(rig);
	assert_true(driver_take(&rig->driver, OUTPUT, NULL) >= 0);
	for (unsigned i = 0; i < 200; i++) {
		add(rig, OUTPUT, 40, PAGE, false);
		while (driver_take(&rig->driver, OUTPUT, NULL) >= 0)
			;
	}
	assert_int_equal(rig->driver.rings[OUTPUT].next_used,
			 rig->driver.rings[OUTPUT].next_available);
	finish(rig);
}

/* The next one is there before the end of the last was seen to: of what that
 * one did not read, it gets nothing. */
static void test_rest_of_the_last(void **state)
{
	struct rig *rig = start();
	int first = connect_to(rig), second;

	(void)state;
	assert_int_equal(hear_open(rig), 1);
	memset(at(rig, 40), 'x', PAGE);
	do
		add(rig, OUTPUT, 40, PAGE, false);
	while (driver_take(&rig->driver, OUTPUT, NULL) >= 0);
	for (unsigned i = 0; i < 3; i++)
		add(rig, OUTPUT, 40, PAGE, false);
	close(first);
	second = connect_to(rig);
	for (unsigned i = 0; i < 4; i++)
		assert_true(driver_take(&rig->driver, OUTPUT, NULL) >= 0);
	expect_nothing(second);
	assert_int_equal(hear_open(rig), 1);
	memcpy(at(rig, 41), "mine", 4);
	add(rig, OUTPUT, 41, 4, false);
	expect_bytes(second, "mine");
	close(second);
	finish(rig);
}

/* The same while the machine is paused: it is dropped when that goes on. */
static void test_rest_in_a_pause(void **state)
{
	struct rig *rig = start();
	int first = connect_to(rig), second;

	(void)state;
	memset(at(rig, 40), 'x', PAGE);
	do
		add(rig, OUTPUT, 40, PAGE, false);
	while (driver_take(&rig->driver, OUTPUT, NULL) >= 0);
	virtio_quiesce(&rig->console.virtio, NULL, NULL);
	settle(rig);
	close(first);
	second = connect_to(rig);
	assert_int_equal(driver_take(&rig->driver, OUTPUT, NULL), -1);
	virtio_resume(&rig->console.virtio);
	settle(rig);
	assert_true(driver_take(&rig->driver, OUTPUT, NULL) >= 0);
	expect_nothing(second);
	memcpy(at(rig, 41), "mine", 4);
	add(rig, OUTPUT, 41, 4, false);
	expect_bytes(second, "mine");
	close(second);
	finish(rig);
}

/* A guest that doesn't read: the client waits, and nothing is lost. */
static void test_flood_of_the_client(void **state)
{
	struct rig *rig = start();
	int client = connect_to(rig);
	uint64_t sent = 0, got = 0;
	uint32_t size = 0;

	(void)state;
	for (;;) {
		char byte = (char)(sent % 251);

		if (send(client, &byte, 1, 0) < 0)
			break;
		sent++;
		if (sent % 1000 == 0)
			settle(rig);
	}
	assert_int_equal(errno, EAGAIN);
	assert_true(rig->port.held_size <= AGENT_PORT_HELD_MAX);
	while (got < sent) {
		add(rig, INPUT, 41, 1000, true);
		assert_true(driver_take(&rig->driver, INPUT, &size) >= 0);
		for (uint32_t i = 0; i < size; i++, got++)
			assert_int_equal(at(rig, 41)[i], (uint8_t)(got % 251));
	}
	close(client);
	finish(rig);
}

/* The guest resets the device, and the client is still there. */
static void test_reset(void **state)
{
	struct rig *rig = start();
	int client = connect_to(rig);
	uint32_t size = 0;

	(void)state;
	send_text(rig, client, "early");
	ok(driver_start(&rig->driver, ~0ULL));
	for (unsigned i = 0; i < 8; i++)
		add(rig, 2, 1 + rig->driver.rings[2].next_descriptor % 16, 64,
		    true);
	tell(rig, 1, 3, 1);
	assert_int_equal(hear_open(rig), 1);
	add(rig, INPUT, 41, 64, true);
	tell(rig, 1, 6, 1);
	settle(rig);
	assert_true(driver_take(&rig->driver, INPUT, &size) >= 0);
	assert_memory_equal(at(rig, 41), "early", 5);
	close(client);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_flood_of_the_guest),
		cmocka_unit_test(test_rest_of_the_last),
		cmocka_unit_test(test_rest_in_a_pause),
		cmocka_unit_test(test_flood_of_the_client),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
