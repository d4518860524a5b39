/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's RAM and the buses: every edge of an address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "kvm-agent/vm/bus.h"
#include "kvm-agent/vm/memory.h"

static void test_low_memory(void **state)
{
	struct memory memory;
	uint8_t byte = 7;

	(void)state;
	assert_int_equal(memory_init(&memory, 4 * MIB, NULL), 0);
	assert_ptr_equal(memory_at(&memory, gpa_make(0), 1),
			 memory.regions[0].host);
	assert_non_null(memory_at(&memory, gpa_make(0), 4 * MIB));
	assert_null(memory_at(&memory, gpa_make(0), 4 * MIB + 1));
	assert_null(memory_at(&memory, gpa_make(0), 0));
	assert_null(memory_at(&memory, gpa_make(4 * MIB), 1));
	assert_null(memory_at(&memory, gpa_make(4 * MIB - 1), 2));
	assert_null(memory_at(&memory, gpa_make(1), UINT64_MAX));
	assert_null(memory_at(&memory, gpa_make(UINT64_MAX), 1));
	assert_null(memory_at(&memory, gpa_make(UINT64_MAX), UINT64_MAX));
	assert_int_equal(memory_write(&memory, gpa_make(4 * MIB - 1), &byte, 1),
			 0);
	byte = 0;
	assert_int_equal(memory_read(&memory, gpa_make(4 * MIB - 1), &byte, 1),
			 0);
	assert_int_equal(byte, 7);
	assert_int_equal(memory_read(&memory, gpa_make(4 * MIB), &byte, 1),
			 -EFAULT);
	assert_int_equal(memory_write(&memory, gpa_make(4 * MIB), &byte, 1),
			 -EFAULT);
	assert_int_equal(memory_read(&memory, gpa_make(4 * MIB), &byte, 0), 0);
	memory_release(&memory);
	memory_release(&memory);
}

static void test_memory_above_the_hole(void **state)
{
	struct memory memory;
	uint64_t size = MEMORY_LOW_END + 2 * MIB;

	(void)state;
	assert_int_equal(memory_init(&memory, size, NULL), 0);
	assert_int_equal(memory.count, 2);
	assert_non_null(memory_at(&memory, gpa_make(MEMORY_LOW_END - 1), 1));
	assert_null(memory_at(&memory, gpa_make(MEMORY_LOW_END - 1), 2));
	assert_null(memory_at(&memory, gpa_make(MEMORY_LOW_END), 1));
	assert_null(memory_at(&memory, gpa_make(MEMORY_HIGH_START - 1), 1));
	assert_non_null(
		memory_at(&memory, gpa_make(MEMORY_HIGH_START), 2 * MIB));
	assert_null(
		memory_at(&memory, gpa_make(MEMORY_HIGH_START), 2 * MIB + 1));
	memory_release(&memory);
}

static void test_memory_sizes(void **state)
{
	struct memory memory;

	(void)state;
	assert_int_equal(memory_init(&memory, 0, NULL), -EINVAL);
	assert_int_equal(memory_init(&memory, MIB, NULL), -EINVAL);
	assert_int_equal(memory_init(&memory, 4 * MIB + 4096, NULL), -EINVAL);
	assert_int_equal(memory_init(&memory, 32 * TIB, NULL), -EINVAL);
}

/* The whole pages among the bytes, and nothing beside them. */
static void test_discard(void **state)
{
	struct memory memory;
	uint8_t *ram;

	(void)state;
	assert_int_equal(memory_init(&memory, 2 * MIB, NULL), 0);
	ram = memory_at(&memory, gpa_make(0), 2 * MIB);
	memset(ram, 1, 2 * MIB);
	assert_int_equal(memory_discard(&memory, ram + 4095, 4097), 0);
	assert_int_equal(ram[4095], 1);
	assert_int_equal(ram[4096], 0);
	assert_int_equal(ram[8191], 0);
	assert_int_equal(ram[8192], 1);
	assert_int_equal(memory_discard(&memory, ram + 8193, 4095 + 4095), 0);
	assert_int_equal(memory_discard(&memory, ram + 8192, 1), 0);
	assert_int_equal(memory_discard(&memory, ram + 8193, 1), 0);
	assert_int_equal(ram[8192], 1);
	assert_int_equal(ram[12288], 1);
	assert_int_equal(memory_discard(&memory, ram, 2 * MIB), 0);
	assert_int_equal(ram[0], 0);
	assert_int_equal(ram[2 * MIB - 1], 0);
	memory_release(&memory);
}

/* ---- buses ---- */

struct port {
	uint64_t offset;
	unsigned length;
	uint8_t value;
	struct bus *bus; /* to move on a write */
	uint64_t to;
};

static void port_read(void *device, uint64_t offset, void *data,
		      unsigned length)
{
	struct port *port = device;

	port->offset = offset;
	port->length = length;
	memset(data, port->value, length);
}

static void port_write(void *device, uint64_t offset, const void *data,
		       unsigned length);

static const struct bus_ops port_ops = { port_read, port_write };

static void port_write(void *device, uint64_t offset, const void *data,
		       unsigned length)
{
	struct port *port = device;

	port->offset = offset;
	port->length = length;
	port->value = *(const uint8_t *)data;
	if (!port->bus)
		return;
	bus_remove(port->bus, 0x100);
	assert_int_equal(bus_add(port->bus, port->to, 8, &port_ops, port, NULL),
			 0);
}

static void test_bus_edges(void **state)
{
	struct port port = { .value = 0x5a };
	struct bus bus;
	uint32_t value;

	(void)state;
	assert_int_equal(bus_init(&bus, BUS_PORTS_END, NULL), 0);
	assert_int_equal(bus_add(&bus, 0x100, 8, &port_ops, &port, NULL), 0);
	assert_int_equal(bus_add(&bus, 0x107, 1, &port_ops, &port, NULL),
			 -EEXIST);
	assert_int_equal(bus_add(&bus, 0xff, 2, &port_ops, &port, NULL),
			 -EEXIST);
	assert_int_equal(bus_add(&bus, 0xffff, 2, &port_ops, &port, NULL),
			 -EINVAL);
	assert_int_equal(bus_add(&bus, 0x200, 0, &port_ops, &port, NULL),
			 -EINVAL);
	assert_int_equal(bus_add(&bus, 0xff, 1, &port_ops, &port, NULL), 0);
	assert_true(bus_read(&bus, 0x104, &value, 4));
	assert_int_equal(value, 0x5a5a5a5a);
	assert_int_equal(port.offset, 4);
	/* Over its end: nobody. */
	assert_false(bus_read(&bus, 0x105, &value, 4));
	assert_int_equal(value, 0xffffffff);
	assert_false(bus_read(&bus, 0x108, &value, 1));
	assert_false(bus_read(&bus, 0x50, &value, 1));
	bus_remove(&bus, 0x101);
	assert_int_equal(bus.count, 2);
	bus_remove(&bus, 0x100);
	assert_false(bus_write(&bus, 0x100, &value, 1));
	bus_release(&bus);
}

static void test_bus_moves_from_within(void **state)
{
	struct port port = { .to = 0x4000 };
	uint8_t value = 3;
	struct bus bus;

	(void)state;
	assert_int_equal(bus_init(&bus, BUS_PORTS_END, NULL), 0);
	port.bus = &bus;
	assert_int_equal(bus_add(&bus, 0x100, 8, &port_ops, &port, NULL), 0);
	assert_true(bus_write(&bus, 0x100, &value, 1));
	assert_false(bus_read(&bus, 0x100, &value, 1));
	assert_true(bus_read(&bus, 0x4000, &value, 1));
	assert_int_equal(value, 3);
	bus_release(&bus);
}

static void test_bus_is_bounded(void **state)
{
	struct port port = { 0 };
	struct bus bus;

	(void)state;
	assert_int_equal(bus_init(&bus, BUS_PORTS_END, NULL), 0);
	for (unsigned i = BUS_RANGES_MAX; i > 0; i--)
		assert_int_equal(
			bus_add(&bus, 8 * i, 8, &port_ops, &port, NULL), 0);
	assert_int_equal(bus_add(&bus, 0x8000, 8, &port_ops, &port, NULL),
			 -ENOSPC);
	bus_release(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_low_memory),
		cmocka_unit_test(test_memory_above_the_hole),
		cmocka_unit_test(test_memory_sizes),
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_bus_edges),
		cmocka_unit_test(test_bus_moves_from_within),
		cmocka_unit_test(test_bus_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
