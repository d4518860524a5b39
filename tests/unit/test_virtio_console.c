/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console by a driver in the test: how ports are found and opened,
 * bytes both ways with a slow host and a slow guest, state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "kvm-agent/virtio/console.h"
#include "tests/rig/device_state.h"
#include "tests/rig/virtio_guest.h"

#define ALL       (~0ULL)
#define MULTIPORT (1ULL << 1)

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

struct rig {
	struct guest guest;
	struct virtio_console console;
	struct console_hooks hooks;
	struct driver driver;
	uint64_t data; /* pages */
	char out[CONSOLE_PORTS][262144];
	size_t out_size[CONSOLE_PORTS];
	size_t takes; /* at once */
	unsigned rooms[CONSOLE_PORTS];
	int open[CONSOLE_PORTS];
};

static size_t output(struct console_hooks *hooks, enum console_port_id port,
		     const void *data, size_t size)
{
	struct rig *rig = container_of(hooks, struct rig, hooks);
	size_t n = (size_t)min_u64(size, rig->takes);

	rig->takes -= n;
	memcpy(rig->out[port] + rig->out_size[port], data, n);
	rig->out_size[port] += n;
	return n;
}

static void room(struct console_hooks *hooks, enum console_port_id port)
{
	container_of(hooks, struct rig, hooks)->rooms[port]++;
}

static void opened(struct console_hooks *hooks, enum console_port_id port,
		   bool open)
{
	container_of(hooks, struct rig, hooks)->open[port] += open ? 1 : -1;
}

static struct rig *start(uint64_t features)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));

	rig->hooks = (struct console_hooks){ output, room, opened };
	rig->takes = SIZE_MAX;
	ok(guest_init(&rig->guest, &err));
	ok(virtio_console_init(&rig->console, 0, &rig->guest.host, &rig->hooks,
			       &err));
	rig->data = guest_pages(&rig->guest, 64);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	if (features)
		ok(driver_start(&rig->driver, features));
	return rig;
}

static void finish(struct rig *rig)
{
	virtio_console_release(&rig->console);
	guest_release(&rig->guest);
	test_free(rig);
}

static void *at(struct rig *rig, unsigned page)
{
	return guest_at(&rig->guest, rig->data + page * 4096ULL);
}

static void add(struct rig *rig, unsigned queue, unsigned page, uint32_t size,
		bool write)
{
	struct piece piece = { rig->data + page * 4096ULL, size, write };

	driver_add(&rig->driver, queue, &piece, 1);
	driver_notify(&rig->driver, queue);
	guest_settle(&rig->guest);
}

static void tell(struct rig *rig, uint32_t port, uint16_t event, uint16_t value)
{
	uint32_t message[2] = { port, event | (uint32_t)value << 16 };

	memcpy(at(rig, 0), message, sizeof(message));
	add(rig, 3, 0, 8, false);
	assert_true(driver_take(&rig->driver, 3, NULL) >= 0);
}

/* The next message of the device's; buffers are in place. */
static void hear(struct rig *rig, uint32_t port, uint16_t event, uint16_t value,
		 const char *name)
{
	uint32_t wanted[2] = { port, event | (uint32_t)value << 16 };
	uint32_t size = 0;
	int head = driver_take(&rig->driver, 2, &size);
	uint8_t *bytes;

	assert_true(head >= 0);
	bytes = at(rig, 1 + (unsigned)head % 16);
	assert_int_equal(size, 8 + strlen(name));
	assert_memory_equal(bytes, wanted, 8);
	assert_memory_equal(bytes + 8, name, strlen(name));
}

static void hear_nothing(struct rig *rig)
{
	assert_int_equal(driver_take(&rig->driver, 2, NULL), -1);
}

static void give_buffers(struct rig *rig, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		add(rig, 2, 1 + rig->driver.rings[2].next_descriptor % 16, 64,
		    true);
}

static void open_ports(struct rig *rig)
{
	give_buffers(rig, 8);
	tell(rig, 0, 0, 1);
	hear(rig, 0, 1, 1, "");
	hear(rig, 1, 1, 1, "");
	tell(rig, 0, 3, 1);
	hear(rig, 0, 4, 1, "");
	hear(rig, 0, 6, 0, "");
	tell(rig, 1, 3, 1);
	hear(rig, 1, 7, 1, CONSOLE_AGENT_NAME);
	hear(rig, 1, 6, 0, "");
	tell(rig, 0, 6, 1);
	tell(rig, 1, 6, 1);
	hear_nothing(rig);
	assert_int_equal(rig->open[0], 1);
	assert_int_equal(rig->open[1], 1);
}

static void test_ports(void **state)
{
	struct rig *rig = start(ALL);

	(void)state;
	assert_int_equal(driver_config(&rig->driver, 4, 4), CONSOLE_PORTS);
	open_ports(rig);
	/* The host comes and goes. */
	virtio_console_set_open(&rig->console, CONSOLE_AGENT, true);
	guest_settle(&rig->guest);
	hear(rig, 1, 6, 1, "");
	/* Nonsense is no message. */
	tell(rig, 77, 3, 1);
	tell(rig, 1, 99, 1);
	tell(rig, UINT32_MAX, 6, 1);
	hear_nothing(rig);
	tell(rig, 1, 6, 0);
	assert_int_equal(rig->open[1], 0);
	assert_int_equal(rig->open[0], 1);
	/* Asked often, told once when there is room. */
	(void)driver_start(&rig->driver, ALL);
	assert_int_equal(rig->open[0], 0);
	for (unsigned i = 0; i < 50; i++)
		tell(rig, 0, 0, 1);
	give_buffers(rig, 4);
	hear(rig, 0, 1, 1, "");
	hear(rig, 1, 1, 1, "");
	hear_nothing(rig);
	finish(rig);
}

/* The host's end is no news to who doesn't have the port yet. */
static void test_not_before_it_is_ready(void **state)
{
	struct rig *rig = start(ALL);

	(void)state;
	give_buffers(rig, 4);
	virtio_console_set_open(&rig->console, CONSOLE_TERMINAL, true);
	guest_settle(&rig->guest);
	hear_nothing(rig);
	tell(rig, 0, 3, 1);
	hear(rig, 0, 4, 1, "");
	hear(rig, 0, 6, 1, "");
	finish(rig);
}

static void test_output(void **state)
{
	struct rig *rig = start(ALL);

	(void)state;
	open_ports(rig);
	memcpy(at(rig, 40), "hello", 5);
	add(rig, 5, 40, 5, false);
	assert_true(driver_take(&rig->driver, 5, NULL) >= 0);
	assert_int_equal(rig->out_size[1], 5);
	assert_memory_equal(rig->out[1], "hello", 5);
	assert_int_equal(rig->out_size[0], 0);
	/* A slow host: the chain stays until it has taken all. */
	rig->takes = 3;
	add(rig, 1, 40, 5, false);
	assert_int_equal(driver_take(&rig->driver, 1, NULL), -1);
	assert_int_equal(rig->out_size[0], 3);
	driver_notify(&rig->driver, 1);
	guest_settle(&rig->guest);
	assert_int_equal(rig->out_size[0], 3);
	rig->takes = 100;
	virtio_console_output_ready(&rig->console, CONSOLE_TERMINAL);
	guest_settle(&rig->guest);
	assert_true(driver_take(&rig->driver, 1, NULL) >= 0);
	assert_memory_equal(rig->out[0], "hello", 5);
	assert_int_equal(rig->out_size[0], 5);
	/* More than a turn goes out all the same. */
	rig->takes = SIZE_MAX;
	memset(at(rig, 20), 'x', 40 * 4096);
	add(rig, 1, 20, 40 * 4096, false);
	guest_settle(&rig->guest);
	assert_true(driver_take(&rig->driver, 1, NULL) >= 0);
	assert_int_equal(rig->out_size[0], 5 + 40 * 4096);
	finish(rig);
}

static void test_input(void **state)
{
	struct rig *rig = start(ALL);
	uint32_t size = 0;
	unsigned rooms;

	(void)state;
	open_ports(rig);
	assert_int_equal(
		virtio_console_input(&rig->console, CONSOLE_AGENT, "abc", 3),
		0);
	rooms = rig->rooms[1];
	add(rig, 4, 41, 2, true);
	assert_int_equal(rig->rooms[1], rooms + 1);
	assert_int_equal(
		virtio_console_input(&rig->console, CONSOLE_AGENT, "abc", 3),
		2);
	assert_true(driver_take(&rig->driver, 4, &size) >= 0);
	assert_int_equal(size, 2);
	assert_memory_equal(at(rig, 41), "ab\0", 3);
	/* Nobody at the guest's end. */
	add(rig, 4, 41, 2, true);
	tell(rig, 1, 6, 0);
	assert_int_equal(
		virtio_console_input(&rig->console, CONSOLE_AGENT, "abc", 3),
		0);
	finish(rig);
}

static void test_terminal_alone(void **state)
{
	struct rig *rig = start(ALL & ~MULTIPORT);

	(void)state;
	assert_int_equal(rig->open[0], 1);
	assert_int_equal(rig->open[1], 0);
	memcpy(at(rig, 40), "hello", 5);
	add(rig, 1, 40, 5, false);
	assert_int_equal(rig->out_size[0], 5);
	add(rig, 0, 41, 8, true);
	assert_int_equal(
		virtio_console_input(&rig->console, CONSOLE_TERMINAL, "a", 1),
		1);
	/* The other queues are not there. */
	add(rig, 5, 40, 5, false);
	add(rig, 2, 42, 64, true);
	assert_int_equal(rig->out_size[1], 0);
	assert_int_equal(driver_take(&rig->driver, 2, NULL), -1);
	finish(rig);
}

static void save(struct rig *rig, struct state_writer *out)
{
	device_state_save(&rig->console.virtio.device, out);
}

static int restore(struct rig *rig, const struct state_writer *saved)
{
	return device_state_restore(&rig->console.virtio.device, saved, &err);
}

static void test_save_restore(void **state)
{
	struct rig *rig = start(ALL), *other = start(0);
	struct state_writer first, second;

	(void)state;
	open_ports(rig);
	memcpy(at(rig, 40), "hello", 5);
	rig->takes = 3;
	add(rig, 1, 40, 5, false);
	save(rig, &first);
	ok(restore(other, &first));
	save(other, &second);
	device_state_same(&first, &second);
	state_release(&second);
	assert_int_equal(other->open[0], 1);
	/* What had not gone out goes, and no more than that. */
	memcpy(guest_at(&other->guest, 0), guest_at(&rig->guest, 0), GUEST_RAM);
	other->driver = rig->driver;
	other->driver.guest = &other->guest;
	virtio_resume(&other->console.virtio);
	guest_settle(&other->guest);
	assert_int_equal(other->out_size[0], 2);
	assert_memory_equal(other->out[0], "lo", 2);
	/* Somebody was there, and nobody is now: the guest hears of it. */
	virtio_console_set_open(&rig->console, CONSOLE_AGENT, true);
	guest_settle(&rig->guest);
	hear(rig, 1, 6, 1, "");
	state_release(&first);
	save(rig, &first);
	ok(restore(other, &first));
	assert_int_equal(other->console.ports[1].pending, 8);
	state_release(&first);
	rig->console.ports[0].pending = 16;
	save(rig, &first);
	assert_int_equal(restore(other, &first), -EBADMSG);
	state_release(&first);
	finish(rig);
	finish(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_not_before_it_is_ready),
		cmocka_unit_test(test_output),
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_terminal_alone),
		cmocka_unit_test(test_save_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
