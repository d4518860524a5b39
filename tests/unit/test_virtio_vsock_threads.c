/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock with an I/O thread of its own: clients come and go while a vCPU's
 * thread answers them and, again and again, resets the device under their
 * connections; a third makes it stand still. Every client is answered or hung up
 * on, and no end is left. For TSan above all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "kvm-agent/vsock/sockets.h"
#include "tests/rig/starved.h"
#include "tests/rig/virtio_guest.h"

#define TO_GUEST   0u
#define FROM_GUEST 1u
#define BUFFERS    32u
#define CALLS      200u
#define CLIENTS    2u

static struct err err;

struct rig {
	struct guest guest;
	struct virtio_vsock device;
	struct vsock_sockets sockets;
	struct driver driver;
	struct sockaddr_un address;
	uint64_t buffers, output;
	pthread_t io_thread;
	atomic_bool stop;
	atomic_uint answered, clients_left, quiet;
};

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

static void *run_loop(void *arg)
{
	struct rig *rig = arg;

	/* A message stops it: the rig's doing. */
	while (!atomic_load(&rig->stop))
		(void)loop_run(rig->guest.loop, NULL);
	return NULL;
}

/* Asks for the guest's port, and waits for what becomes of it. */
static void *run_client(void *arg)
{
	struct rig *rig = arg;
	char line[64];

	for (unsigned i = 0; i < CALLS; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&rig->address,
			    sizeof(rig->address)) == 0 &&
		    send(fd, "CONNECT 22\nx", 12, MSG_NOSIGNAL) == 12 &&
		    recv(fd, line, sizeof(line), 0) > 0)
			atomic_fetch_add(&rig->answered, 1);
		close(fd);
	}
	atomic_fetch_sub(&rig->clients_left, 1);
	return NULL;
}

static struct rig *start(void)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	rig->address.sun_family = AF_UNIX;
	snprintf(rig->address.sun_path, sizeof(rig->address.sun_path),
		 "/tmp/test_virtio_vsock_threads.%d", (int)getpid());
	unlink(rig->address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&rig->address,
			      sizeof(rig->address)),
			 0);
	assert_int_equal(listen(fd, 8), 0);
	vsock_sockets_init(&rig->sockets, fd, false);
	ok(guest_init(&rig->guest, &err));
	ok(virtio_vsock_init(&rig->device, 0, &rig->guest.host,
			     &rig->sockets.hooks, &err));
	ok(vsock_sockets_start(&rig->sockets, rig->guest.loop, &rig->device,
			       &err));
	rig->buffers = guest_pages(&rig->guest, BUFFERS);
	rig->output = guest_pages(&rig->guest, 1);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	atomic_store(&rig->clients_left, CLIENTS);
	assert_int_equal(pthread_create(&rig->io_thread, NULL, run_loop, rig),
			 0);
	return rig;
}

static void finish(struct rig *rig)
{
	atomic_store(&rig->stop, true);
	loop_stop(rig->guest.loop);
	pthread_join(rig->io_thread, NULL);
	virtio_vsock_release(&rig->device);
	vsock_sockets_stop(&rig->sockets);
	guest_release(&rig->guest);
	unlink(rig->address.sun_path);
	test_free(rig);
}

static void give_buffer(struct rig *rig)
{
	unsigned at = rig->driver.rings[TO_GUEST].next_descriptor % BUFFERS;
	struct piece piece = { rig->buffers + 4096ULL * at, 4096, true };

	driver_add(&rig->driver, TO_GUEST, &piece, 1);
	driver_notify(&rig->driver, TO_GUEST);
}

/* The first requests are answered: with them the port is open. */
static void take_packet(struct rig *rig)
{
	int head = driver_take(&rig->driver, TO_GUEST, NULL);
	struct piece piece = { rig->output, 44, false };
	struct vsock_header header;

	if (head < 0) {
		sched_yield();
		return;
	}
	memcpy(&header,
	       guest_at(&rig->guest,
			rig->buffers + 4096ULL * ((unsigned)head % BUFFERS)),
	       sizeof(header));
	give_buffer(rig);
	if (le16_get(header.op) != VSOCK_REQUEST)
		return;
	header = (struct vsock_header){
		.from_cid = header.to_cid,
		.to_cid = header.from_cid,
		.from_port = header.to_port,
		.to_port = header.from_port,
		.type = header.type,
		.op = le16_make(VSOCK_RESPONSE),
		.room = le32_make(4096),
	};
	/* One at a time: it is taken before the next is made. */
	while (driver_take(&rig->driver, FROM_GUEST, NULL) >= 0)
		;
	memcpy(guest_at(&rig->guest, rig->output), &header, sizeof(header));
	driver_add(&rig->driver, FROM_GUEST, &piece, 1);
	driver_notify(&rig->driver, FROM_GUEST);
	for (unsigned i = 0; i < 100000; i++) {
		if (driver_take(&rig->driver, FROM_GUEST, NULL) >= 0)
			break;
		sched_yield();
	}
}

static void is_quiet(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void stand_still(struct rig *rig)
{
	unsigned before = atomic_load(&rig->quiet);

	virtio_quiesce(&rig->device.virtio, is_quiet, &rig->quiet);
	while (atomic_load(&rig->quiet) == before)
		sched_yield();
	virtio_resume(&rig->device.virtio);
}

/* A driver with new rings, where those of the one before were. */
static void begin(struct rig *rig, uint64_t page)
{
	rig->guest.next_page = page;
	driver_set_status(&rig->driver, 0);
	while (driver_status(&rig->driver))
		sched_yield();
	memset(guest_at(&rig->guest, page), 0, 64 * 4096);
	assert_int_equal(driver_setup(&rig->driver, ~0ULL), 0);
	for (unsigned i = 0; i < BUFFERS; i++)
		give_buffer(rig);
}

static void test_resets_under_connections(void **state)
{
	struct rig *rig = start();
	uint64_t page = rig->guest.next_page;
	pthread_t clients[CLIENTS];
	unsigned rounds = 0;

	(void)state;
	/* Without a driver all calls would be refused at once. */
	begin(rig, page);
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(
			pthread_create(&clients[i], NULL, run_client, rig), 0);
	while (atomic_load(&rig->clients_left)) {
		if (rounds)
			begin(rig, page);
		/* The first driver stays until a client was answered. */
		for (unsigned i = 0;
		     i < 200 || (!atomic_load(&rig->answered) &&
				 atomic_load(&rig->clients_left));
		     i++)
			take_packet(rig);
		if (++rounds % 4 == 0)
			stand_still(rig);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	assert_true(atomic_load(&rig->answered) > 0);
	assert_int_equal(rig->guest.broken, 0);
	finish(rig);
}

/* No descriptor is left for who connects: he waits, and nothing spins. */
static void test_no_descriptor_left(void **state)
{
	struct rig *rig = start();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct starved starved;
	char byte;

	(void)state;
	assert_true(fd >= 0);
	starved_begin(&starved);
	assert_int_equal(connect(fd, (struct sockaddr *)&rig->address,
				 sizeof(rig->address)),
			 0);
	assert_true(starved_await_sleep(&starved));
	starved_end(&starved);
	/* No driver is there who could take him. */
	assert_int_equal(send(fd, "CONNECT 22\n", 11, MSG_NOSIGNAL), 11);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resets_under_connections),
		cmocka_unit_test(test_no_descriptor_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
