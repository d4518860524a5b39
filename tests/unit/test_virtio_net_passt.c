/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net over passt's socket, whose other end goes away: while nobody waits
 * for it, and while everybody does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/socket.h>

#include "kvm-agent/virtio/net.h"
#include "tests/rig/virtio_guest.h"

#define ALL       (~0ULL)
#define TX        1u
#define HEADER    ((uint32_t)sizeof(struct net_header))
#define FRAME_MAX 32768u

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

struct rig {
	struct guest guest;
	struct net_backend *backend;
	struct net net;
	struct net_hooks hooks;
	struct driver driver;
	uint64_t data;
	unsigned downs;
	int peer;
};

static void link_changed(struct net_hooks *hooks, bool up, const char *why)
{
	struct rig *rig = container_of(hooks, struct rig, hooks);

	assert_non_null(why);
	assert_false(up);
	rig->downs++;
}

static struct rig *start(void)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));
	struct net_options options = { .hooks = &rig->hooks };
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	ok(net_passt_new(&rig->backend, ends[0], &err));
	rig->peer = ends[1];
	rig->hooks.link = link_changed;
	ok(guest_init(&rig->guest, &err));
	options.backend = rig->backend;
	ok(net_init(&rig->net, 0, &rig->guest.host, &options, &err));
	rig->data = guest_pages(&rig->guest, (HEADER + FRAME_MAX) / 4096 + 1);
	return rig;
}

static void finish(struct rig *rig)
{
	net_release(&rig->net);
	net_backend_free(rig->backend);
	guest_release(&rig->guest);
	test_free(rig);
}

/* Of zeros, in one piece. */
static void transmit(struct rig *rig, uint32_t size)
{
	struct piece piece = { rig->data, HEADER + size, false };

	driver_add(&rig->driver, TX, &piece, 1);
	driver_notify(&rig->driver, TX);
	guest_settle(&rig->guest);
}

static void test_hangs_up(void **state)
{
	struct rig *rig = start();

	(void)state;
	guest_settle(&rig->guest);
	assert_int_equal(rig->net.watch.events, 0);
	close(rig->peer);
	guest_settle(&rig->guest);
	assert_int_equal(rig->downs, 1);
	assert_int_equal(rig->net.watch.fd, -1);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	ok(driver_start(&rig->driver, ALL));
	assert_int_equal(driver_config(&rig->driver, 6, 2), 0);
	finish(rig);
}

/* It reads no more, and then dies: what waited for it goes with it. */
static void test_dies_while_full(void **state)
{
	struct rig *rig = start();
	unsigned sent = 0;

	(void)state;
	ok(driver_find(&rig->driver, &rig->guest, 1));
	ok(driver_start(&rig->driver, ALL));
	do {
		transmit(rig, FRAME_MAX);
		assert_true(++sent < 10000);
	} while (driver_take(&rig->driver, TX, NULL) >= 0);
	transmit(rig, FRAME_MAX);
	assert_int_equal(driver_take(&rig->driver, TX, NULL), -1);
	assert_true(rig->net.send_blocked);
	assert_int_equal(rig->net.counters.sent_dropped, 0);
	close(rig->peer);
	guest_settle(&rig->guest);
	assert_int_equal(rig->downs, 1);
	for (unsigned i = 0; i < 2; i++)
		assert_true(driver_take(&rig->driver, TX, NULL) >= 0);
	assert_int_equal(rig->net.counters.sent_dropped, 2);
	transmit(rig, 100);
	assert_true(driver_take(&rig->driver, TX, NULL) >= 0);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hangs_up),
		cmocka_unit_test(test_dies_while_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
