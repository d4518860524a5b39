/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net by a driver in the test over a backend in the test: frames both
 * ways, merged buffers, headers of offloads, want of room, a host that is slow,
 * down or gone, hostile chains, state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "kvm-agent/virtio/net.h"
#include "tests/rig/device_state.h"
#include "tests/rig/net_fake.h"
#include "tests/rig/virtio_guest.h"

#define ALL        (~0ULL)
#define CSUM       (1ULL << 0)
#define GUEST_CSUM (1ULL << 1)
#define GUEST_TSO4 (1ULL << 7)
#define HOST_TSO4  (1ULL << 11)
#define MTU        (1ULL << 3)
#define MERGE      (1ULL << 15)
#define LINK       (1ULL << 16)

#define RX         0u
#define TX         1u
#define CONFIG_IRQ 0u
#define HEADER     ((uint32_t)sizeof(struct net_header))

static const uint8_t mac[NET_MAC_SIZE] = { 0x52, 0x54, 0, 1, 2, 3 };
static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

struct rig {
	struct guest guest;
	struct net_fake fake;
	struct net net;
	struct net_hooks hooks;
	struct driver driver;
	uint64_t data; /* 64 pages */
	unsigned ups, downs;
};

static void link_changed(struct net_hooks *hooks, bool up, const char *why)
{
	struct rig *rig = container_of(hooks, struct rig, hooks);

	assert_non_null(why);
	*(up ? &rig->ups : &rig->downs) += 1;
}

static struct rig *start_over(bool has_offloads, uint64_t features)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));
	struct net_options options = { .backend = &rig->fake.backend,
				       .mtu = has_offloads ? 1400 : 0,
				       .hooks = &rig->hooks };

	rig->hooks.link = link_changed;
	net_fake_init(&rig->fake, has_offloads);
	ok(guest_init(&rig->guest, &err));
	memcpy(options.mac, mac, sizeof(mac));
	ok(net_init(&rig->net, 0, &rig->guest.host, &options, &err));
	rig->data = guest_pages(&rig->guest, 64);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	if (features)
		ok(driver_start(&rig->driver, features));
	return rig;
}

static struct rig *start(uint64_t features)
{
	return start_over(true, features);
}

static void finish(struct rig *rig)
{
	net_release(&rig->net);
	net_fake_release(&rig->fake);
	guest_release(&rig->guest);
	test_free(rig);
}

static uint8_t *at(struct rig *rig, unsigned page)
{
	return guest_at(&rig->guest, rig->data + page * 4096ULL);
}

/* A buffer to receive into, at a page. */
static void offer(struct rig *rig, unsigned page, uint32_t size)
{
	struct piece piece = { rig->data + page * 4096ULL, size, true };

	driver_add(&rig->driver, RX, &piece, 1);
}

static void notify(struct rig *rig, unsigned queue)
{
	driver_notify(&rig->driver, queue);
	guest_settle(&rig->guest);
}

static void pattern(uint8_t *to, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		to[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

static void give(struct rig *rig, size_t length, unsigned seed)
{
	uint8_t *data = test_malloc(length);

	pattern(data, length, seed);
	net_fake_give(&rig->fake, NULL, data, length);
	test_free(data);
}

/* The next one that is used, at `page`, has these bytes of the frame. */
static void taken(struct rig *rig, unsigned page, uint32_t size,
		  uint16_t buffers, unsigned seed)
{
	struct net_header header;
	uint32_t written = 0;
	uint8_t *expected = test_malloc(size);

	assert_true(driver_take(&rig->driver, RX, &written) >= 0);
	assert_int_equal(written, HEADER + size);
	memcpy(&header, at(rig, page), sizeof(header));
	assert_int_equal(le16_get(header.buffers), buffers);
	assert_int_equal(header.flags, 0);
	assert_int_equal(header.gso_type, 0);
	pattern(expected, size, seed);
	assert_memory_equal(at(rig, page) + HEADER, expected, size);
	test_free(expected);
}

static void nothing_taken(struct rig *rig)
{
	assert_int_equal(driver_take(&rig->driver, RX, NULL), -1);
}

/* A frame of `size` bytes at page 0 behind a header, in one piece. */
static void transmit(struct rig *rig, const struct net_header *header,
		     uint32_t size)
{
	struct piece piece = { rig->data, HEADER + size, false };

	memcpy(at(rig, 0), header, sizeof(*header));
	pattern(at(rig, 0) + HEADER, size, 1);
	driver_add(&rig->driver, TX, &piece, 1);
	notify(rig, TX);
}

static void test_config(void **state)
{
	struct rig *rig = start(ALL);

	(void)state;
	assert_int_equal(rig->driver.queue_count, 2);
	for (unsigned i = 0; i < NET_MAC_SIZE; i++)
		assert_int_equal(driver_config(&rig->driver, i, 1), mac[i]);
	assert_int_equal(driver_config(&rig->driver, 6, 2), 1);
	assert_true(rig->driver.features & HOST_TSO4);
	assert_true(rig->driver.features & GUEST_CSUM);
	assert_true(rig->driver.features & MTU);
	assert_int_equal(driver_config(&rig->driver, 10, 2), 1400);
	finish(rig);
	/* What has no offloads offers none, but merges. */
	rig = start_over(false, ALL);
	assert_int_equal(rig->driver.features &
				 (CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO4),
			 0);
	assert_true(rig->driver.features & MERGE);
	assert_false(rig->driver.features & MTU);
	assert_int_equal(driver_config(&rig->driver, 10, 2), 0);
	finish(rig);
}

static void test_send(void **state)
{
	struct rig *rig = start(ALL);
	struct net_header header = { 0 };
	uint8_t frame[4000];
	struct net_counters counters;
	struct piece pieces[4];
	bool up;

	(void)state;
	/* The header in two pieces, the second with the frame's beginning. */
	pattern(frame, sizeof(frame), 5);
	pieces[0] = (struct piece){ rig->data, 5, false };
	pieces[1] = (struct piece){ rig->data + 4096, 7 + 100, false };
	pieces[2] = (struct piece){ rig->data + 2 * 4096, 3000, false };
	pieces[3] = (struct piece){ rig->data + 3 * 4096, 900, false };
	memset(at(rig, 0), 0, 12);
	memset(at(rig, 1), 0, 12);
	memcpy(at(rig, 1) + 7, frame, 100);
	memcpy(at(rig, 2), frame + 100, 3000);
	memcpy(at(rig, 3), frame + 3100, 900);
	driver_add_indirect(&rig->driver, TX, pieces, 4);
	notify(rig, TX);
	assert_true(driver_take(&rig->driver, TX, NULL) >= 0);
	assert_int_equal(rig->fake.sent_length, sizeof(frame));
	assert_memory_equal(rig->fake.sent, frame, sizeof(frame));
	assert_int_equal(rig->guest.messages[TX + 1], 1);
	/* Nothing that is no frame goes out; the device goes on. */
	transmit(rig, &header, 13);
	pieces[0] = (struct piece){ rig->data, 11, false };
	driver_add(&rig->driver, TX, pieces, 1);
	pieces[0] =
		(struct piece){ rig->data, HEADER + NET_FRAME_MAX + 1, false };
	driver_add(&rig->driver, TX, pieces, 1);
	notify(rig, TX);
	for (unsigned i = 0; i < 3; i++)
		assert_true(driver_take(&rig->driver, TX, NULL) >= 0);
	assert_int_equal(rig->fake.sent_count, 1);
	transmit(rig, &header, 14);
	assert_int_equal(rig->fake.sent_count, 2);
	net_count(&rig->net, &counters, &up);
	assert_true(up);
	assert_int_equal(counters.sent_frames, 2);
	assert_int_equal(counters.sent_bytes, 4014);
	assert_int_equal(counters.sent_dropped, 3);
	assert_int_equal(rig->guest.broken, 0);
	finish(rig);
}

/* A header asks the host's kernel for work: only what was negotiated. */
static void test_send_offloads(void **state)
{
	struct net_header header = {
		.flags = 0xff,
		.gso_type = NET_GSO_TCP4,
		.header_length = le16_make(54),
		.gso_size = le16_make(1448),
		.checksum_start = le16_make(34),
		.checksum_offset = le16_make(16),
		.buffers = le16_make(77),
	};
	struct rig *rig = start(ALL);

	(void)state;
	transmit(rig, &header, 3000);
	assert_int_equal(rig->fake.sent_count, 1);
	assert_int_equal(rig->fake.sent_header.flags, NET_NEEDS_CHECKSUM);
	assert_int_equal(rig->fake.sent_header.gso_type, NET_GSO_TCP4);
	assert_int_equal(le16_get(rig->fake.sent_header.gso_size), 1448);
	assert_int_equal(le16_get(rig->fake.sent_header.buffers), 0);
	header.gso_type = 3; /* UDP */
	transmit(rig, &header, 3000);
	header.gso_type = NET_GSO_TCP4 | 0x80; /* with ECN */
	transmit(rig, &header, 3000);
	assert_int_equal(rig->fake.sent_count, 1);
	ok(driver_start(&rig->driver, CSUM));
	header.gso_type = NET_GSO_TCP4;
	transmit(rig, &header, 3000);
	assert_int_equal(rig->fake.sent_count, 1);
	header.gso_type = NET_GSO_NONE;
	transmit(rig, &header, 1000);
	assert_int_equal(rig->fake.sent_count, 2);
	ok(driver_start(&rig->driver, MERGE));
	transmit(rig, &header, 1000);
	assert_int_equal(rig->fake.sent_count, 2);
	header.flags = 0;
	transmit(rig, &header, 1000);
	assert_int_equal(rig->fake.sent_count, 3);
	finish(rig);
}

static void test_receive(void **state)
{
	struct rig *rig = start(LINK);
	struct net_counters counters;
	unsigned asked;
	bool up;

	(void)state;
	/* Without room one waits, and no more are asked for. */
	give(rig, 100, 1);
	give(rig, 1500, 2);
	guest_settle(&rig->guest);
	asked = rig->fake.asked;
	guest_settle(&rig->guest);
	assert_int_equal(rig->fake.asked, asked);
	nothing_taken(rig);
	offer(rig, 1, 1526);
	notify(rig, RX);
	taken(rig, 1, 100, 1, 1);
	nothing_taken(rig);
	assert_true(rig->guest.messages[RX + 1] >= 1);
	offer(rig, 2, 1526);
	notify(rig, RX);
	taken(rig, 2, 1500, 1, 2);
	/* With room there, it comes by itself. */
	offer(rig, 3, 1526);
	notify(rig, RX);
	give(rig, 60, 3);
	guest_settle(&rig->guest);
	taken(rig, 3, 60, 1, 3);
	/* One that fits no buffer is dropped, the buffer stays. */
	offer(rig, 4, 1526);
	notify(rig, RX);
	give(rig, 1515, 4);
	guest_settle(&rig->guest);
	nothing_taken(rig);
	give(rig, 1514, 5);
	guest_settle(&rig->guest);
	taken(rig, 4, 1514, 1, 5);
	net_count(&rig->net, &counters, &up);
	assert_int_equal(counters.received_frames, 4);
	assert_int_equal(counters.received_bytes, 100 + 1500 + 60 + 1514);
	assert_int_equal(counters.received_dropped, 1);
	finish(rig);
}

static void test_merged(void **state)
{
	struct rig *rig = start(MERGE);
	uint32_t written = 0;
	uint8_t expected[9000];

	(void)state;
	pattern(expected, sizeof(expected), 9);
	/* Room for the half of it: nothing is used, and the order stays. */
	offer(rig, 1, 4096);
	notify(rig, RX);
	give(rig, 9000, 9);
	give(rig, 50, 10);
	guest_settle(&rig->guest);
	nothing_taken(rig);
	offer(rig, 2, 4096);
	notify(rig, RX);
	nothing_taken(rig);
	offer(rig, 3, 2000);
	offer(rig, 4, 100);
	notify(rig, RX);
	assert_true(driver_take(&rig->driver, RX, &written) >= 0);
	assert_int_equal(written, 4096);
	assert_int_equal(*(uint16_t *)(void *)(at(rig, 1) + 10), 3);
	assert_memory_equal(at(rig, 1) + HEADER, expected, 4096 - HEADER);
	assert_true(driver_take(&rig->driver, RX, &written) >= 0);
	assert_int_equal(written, 4096);
	assert_memory_equal(at(rig, 2), expected + 4096 - HEADER, 4096);
	assert_true(driver_take(&rig->driver, RX, &written) >= 0);
	assert_int_equal(written, 9000 + HEADER - 2 * 4096);
	assert_memory_equal(at(rig, 3), expected + 2 * 4096 - HEADER, written);
	taken(rig, 4, 50, 1, 10);
	nothing_taken(rig);
	/* As much as there can be. */
	for (unsigned i = 0; i < 17; i++)
		offer(rig, 10 + i, 4096);
	notify(rig, RX);
	give(rig, NET_FRAME_MAX, 11);
	guest_settle(&rig->guest);
	for (unsigned i = 0; i < 17; i++)
		assert_true(driver_take(&rig->driver, RX, &written) >= 0);
	assert_int_equal(written, NET_FRAME_MAX + HEADER - 16 * 4096);
	finish(rig);
}

/* A frame that needs more buffers than the ring has can never be had. */
static void test_tiny_buffers(void **state)
{
	struct rig *rig = start(MERGE);

	(void)state;
	for (unsigned i = 0; i < NET_QUEUE_SIZE; i++)
		offer(rig, 1, 12);
	notify(rig, RX);
	give(rig, 12 * NET_QUEUE_SIZE, 1);
	guest_settle(&rig->guest);
	nothing_taken(rig);
	assert_int_equal(rig->net.counters.received_dropped, 1);
	give(rig, 12 * (NET_QUEUE_SIZE - 1), 2);
	guest_settle(&rig->guest);
	for (unsigned i = 0; i < NET_QUEUE_SIZE; i++)
		assert_true(driver_take(&rig->driver, RX, NULL) >= 0);
	nothing_taken(rig);
	assert_int_equal(rig->guest.broken, 0);
	finish(rig);
}

static void test_receive_offloads(void **state)
{
	struct net_header header = { .flags = NET_NEEDS_CHECKSUM,
				     .gso_type = NET_GSO_TCP4,
				     .gso_size = le16_make(1448) };
	struct rig *rig = start(ALL);
	uint8_t data[2000] = { 1 };

	(void)state;
	assert_int_equal(rig->fake.offloads, NET_OFFLOAD_CHECKSUM |
						     NET_OFFLOAD_TCP4 |
						     NET_OFFLOAD_TCP6);
	offer(rig, 1, 4096);
	notify(rig, RX);
	net_fake_give(&rig->fake, &header, data, sizeof(data));
	guest_settle(&rig->guest);
	assert_true(driver_take(&rig->driver, RX, NULL) >= 0);
	assert_memory_equal(at(rig, 1), &header, 10);
	/* Another driver that wants none: of the host either; and what was
	 * left to be done before is not given to it. */
	ok(driver_start(&rig->driver, MERGE));
	assert_int_equal(rig->fake.offloads, 0);
	assert_int_equal(rig->fake.offload_calls, 2);
	offer(rig, 2, 4096);
	notify(rig, RX);
	net_fake_give(&rig->fake, &header, data, sizeof(data));
	header.gso_type = NET_GSO_NONE;
	net_fake_give(&rig->fake, &header, data, sizeof(data));
	guest_settle(&rig->guest);
	nothing_taken(rig);
	header.flags = 2; /* its checksum is known to be good */
	net_fake_give(&rig->fake, &header, data, sizeof(data));
	guest_settle(&rig->guest);
	assert_true(driver_take(&rig->driver, RX, NULL) >= 0);
	assert_int_equal(at(rig, 2)[0], 0);
	finish(rig);
}

/* More than a turn's at once, told of once. */
static void test_many(void **state)
{
	struct rig *rig = start(MERGE);
	unsigned received = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		give(rig, 60, i);
	for (unsigned i = 0; i < 10; i++) {
		for (unsigned j = 0; j < 200; j++)
			offer(rig, 1, 128);
		notify(rig, RX);
		while (driver_take(&rig->driver, RX, NULL) >= 0)
			received++;
	}
	assert_int_equal(received, 1000);
	finish(rig);
	/* The same where all of them are dropped. */
	rig = start(LINK);
	offer(rig, 1, 128);
	for (unsigned i = 0; i < 1000; i++)
		give(rig, 200, i);
	give(rig, 60, 7);
	notify(rig, RX);
	taken(rig, 1, 60, 1, 7);
	finish(rig);
}

static void test_hostile_buffers(void **state)
{
	struct rig *rig = start(MERGE);
	struct piece piece;

	(void)state;
	/* No room for a header. */
	offer(rig, 1, 11);
	notify(rig, RX);
	give(rig, 60, 1);
	guest_settle(&rig->guest);
	assert_int_equal(rig->guest.broken, 1);
	assert_true(driver_status(&rig->driver) & VIRTIO_STATUS_NEEDS_RESET);
	nothing_taken(rig);
	ok(driver_start(&rig->driver, MERGE));
	/* Nothing to write to at all. */
	piece = (struct piece){ rig->data, 64, false };
	driver_add(&rig->driver, RX, &piece, 1);
	notify(rig, RX);
	give(rig, 60, 1);
	guest_settle(&rig->guest);
	assert_int_equal(rig->guest.broken, 2);
	ok(driver_start(&rig->driver, MERGE));
	/* The second of two for one frame is outside of RAM. */
	offer(rig, 1, 64);
	driver_set_descriptor(&rig->driver, RX, 5, GUEST_RAM - 8, 64, 2, 0);
	driver_put_head(&rig->driver, RX, 5);
	notify(rig, RX);
	give(rig, 100, 1);
	guest_settle(&rig->guest);
	assert_int_equal(rig->guest.broken, 3);
	/* And one that is to be sent. */
	ok(driver_start(&rig->driver, MERGE));
	driver_set_descriptor(&rig->driver, TX, 0, ~0ULL - 8, 64, 0, 0);
	driver_put_head(&rig->driver, TX, 0);
	notify(rig, TX);
	assert_int_equal(rig->guest.broken, 4);
	assert_int_equal(rig->fake.sent_count, 0);
	finish(rig);
}

static void test_slow_host(void **state)
{
	struct net_header header = { 0 };
	struct rig *rig = start(ALL);

	(void)state;
	rig->fake.code = -EAGAIN;
	rig->fake.refusals = 2;
	transmit(rig, &header, 100);
	guest_settle(&rig->guest);
	assert_true(driver_take(&rig->driver, TX, NULL) >= 0);
	assert_int_equal(driver_take(&rig->driver, TX, NULL), -1);
	assert_int_equal(rig->fake.sent_count, 1);
	assert_int_equal(rig->fake.refusals, 0);
	assert_int_equal(rig->net.counters.sent_dropped, 0);
	/* What it kept of one goes out without another. */
	rig->fake.flushes = 0;
	rig->fake.backend.unsent = true;
	transmit(rig, &header, 100);
	assert_true(rig->fake.flushes > 0);
	assert_false(rig->fake.backend.unsent);
	/* Then nobody waits to write. */
	assert_int_equal(rig->net.watch.events & EPOLLOUT, 0);
	/* One that the host does not like is dropped. */
	rig->fake.code = -EINVAL;
	rig->fake.refusals = 1;
	transmit(rig, &header, 100);
	assert_int_equal(rig->net.counters.sent_dropped, 1);
	assert_int_equal(rig->downs, 0);
	finish(rig);
}

static void test_link_down(void **state)
{
	struct net_header header = { 0 };
	struct rig *rig = start(ALL);
	unsigned told;

	(void)state;
	told = rig->guest.messages[CONFIG_IRQ];
	rig->fake.code = -ENETDOWN;
	rig->fake.refusals = 1;
	transmit(rig, &header, 100);
	assert_int_equal(rig->net.counters.sent_dropped, 1);
	assert_int_equal(rig->downs, 1);
	/* An eventfd can always be written to: it is up again. */
	guest_settle(&rig->guest);
	assert_int_equal(rig->ups, 1);
	assert_int_equal(rig->guest.messages[CONFIG_IRQ], told + 2);
	assert_int_equal(driver_config(&rig->driver, 6, 2), 1);
	transmit(rig, &header, 100);
	assert_int_equal(rig->fake.sent_count, 1);
	finish(rig);
}

static void test_gone(void **state)
{
	struct net_header header = { 0 };
	struct rig *rig = start(ALL);
	unsigned told, asked;

	(void)state;
	told = rig->guest.messages[CONFIG_IRQ];
	offer(rig, 1, 2000);
	notify(rig, RX);
	rig->fake.gone = true;
	give(rig, 100, 1);
	guest_settle(&rig->guest);
	assert_int_equal(rig->downs, 1);
	assert_int_equal(rig->guest.messages[CONFIG_IRQ], told + 1);
	assert_int_equal(driver_config(&rig->driver, 6, 2), 0);
	/* The guest goes on with a network where nothing arrives; and nobody
	 * asks the backend any more. */
	asked = rig->fake.asked;
	transmit(rig, &header, 100);
	assert_true(driver_take(&rig->driver, TX, NULL) >= 0);
	give(rig, 100, 1);
	notify(rig, RX);
	assert_int_equal(rig->fake.asked, asked);
	assert_int_equal(rig->guest.broken, 0);
	assert_int_equal(rig->net.watch.fd, -1);
	/* For another driver as well. */
	ok(driver_start(&rig->driver, ALL));
	assert_int_equal(driver_config(&rig->driver, 6, 2), 0);
	transmit(rig, &header, 100);
	assert_int_equal(rig->fake.sent_count, 0);
	assert_int_equal(rig->downs, 1);
	finish(rig);
}

/* ---- standing still, and state ---- */

static void quiet(void *arg)
{
	*(bool *)arg = true;
}

static void test_quiesce(void **state)
{
	struct net_header header = { 0 };
	struct rig *rig = start(MERGE);
	bool is_quiet = false;

	(void)state;
	offer(rig, 1, 2000);
	offer(rig, 2, 2000);
	notify(rig, RX);
	virtio_quiesce(&rig->net.virtio, quiet, &is_quiet);
	guest_settle(&rig->guest);
	assert_true(is_quiet);
	give(rig, 100, 1);
	guest_settle(&rig->guest);
	transmit(rig, &header, 100);
	nothing_taken(rig);
	assert_int_equal(rig->fake.sent_count, 0);
	/* Nor does the loop turn for it. */
	assert_int_equal(rig->net.watch.events, 0);
	virtio_resume(&rig->net.virtio);
	guest_settle(&rig->guest);
	taken(rig, 1, 100, 1, 1);
	assert_int_equal(rig->fake.sent_count, 1);
	finish(rig);
}

static void save(struct rig *rig, struct state_writer *out)
{
	device_state_save(&rig->net.virtio.device, out);
}

static int restore(struct rig *rig, const struct state_writer *saved)
{
	return device_state_restore(&rig->net.virtio.device, saved, &err);
}

static void test_state(void **state)
{
	struct state_writer first, second;
	struct rig *rig = start(ALL), *other = start_over(true, 0);
	bool is_quiet = false;
	unsigned told;

	(void)state;
	offer(rig, 1, 2000);
	notify(rig, RX);
	virtio_quiesce(&rig->net.virtio, quiet, &is_quiet);
	guest_settle(&rig->guest);
	save(rig, &first);
	/* Into one of another address, whose host has gone meanwhile. */
	other->net.mac[5] = 99;
	other->net.mtu = 9000;
	memcpy(guest_at(&other->guest, 0), guest_at(&rig->guest, 0), GUEST_RAM);
	virtio_quiesce(&other->net.virtio, quiet, &is_quiet);
	other->fake.gone = true;
	ok(restore(other, &first));
	save(other, &second);
	device_state_same(&first, &second);
	assert_memory_equal(other->net.mac, mac, sizeof(mac));
	other->driver = rig->driver;
	other->driver.guest = &other->guest;
	told = other->guest.messages[CONFIG_IRQ];
	virtio_resume(&other->net.virtio);
	guest_settle(&other->guest);
	assert_int_equal(other->guest.messages[CONFIG_IRQ], told + 1);
	assert_int_equal(other->fake.offload_calls, 1);
	state_release(&second);
	/* Saved with the link down, restored where it is up: it is told. */
	virtio_quiesce(&other->net.virtio, quiet, &is_quiet);
	guest_settle(&other->guest);
	save(other, &second);
	ok(restore(rig, &second));
	told = rig->guest.messages[CONFIG_IRQ];
	virtio_resume(&rig->net.virtio);
	guest_settle(&rig->guest);
	assert_int_equal(rig->guest.messages[CONFIG_IRQ], told + 1);
	give(rig, 100, 4);
	guest_settle(&rig->guest);
	taken(rig, 1, 100, 1, 4);
	state_release(&second);
	state_release(&first);
	finish(other);
	finish(rig);
}

static void test_state_refused(void **state)
{
	struct rig *rig = start(ALL), *plain = start_over(false, 0);
	struct state_writer saved;

	(void)state;
	save(rig, &saved);
	/* The driver relies on what is not there. */
	assert_int_equal(restore(plain, &saved), -EBADMSG);
	state_release(&saved);
	rig->net.mac[0] = 0x53;
	save(rig, &saved);
	assert_int_equal(restore(rig, &saved), -EBADMSG);
	state_release(&saved);
	rig->net.mac[0] = 0x52;
	rig->net.mtu = 67;
	save(rig, &saved);
	assert_int_equal(restore(rig, &saved), -EBADMSG);
	state_release(&saved);
	finish(plain);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_send_offloads),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_merged),
		cmocka_unit_test(test_tiny_buffers),
		cmocka_unit_test(test_receive_offloads),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_hostile_buffers),
		cmocka_unit_test(test_slow_host),
		cmocka_unit_test(test_link_down),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_quiesce),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_state_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
