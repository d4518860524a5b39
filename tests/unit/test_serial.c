/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port: as a driver finds it, its interrupts, and its state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "kvm-agent/devices/serial.h"
#include "tests/rig/device_state.h"

struct rig {
	struct interrupts interrupts;
	struct serial_line line;
	struct serial serial;
	bool level;
	unsigned edges, rooms;
	uint8_t sent[64];
	size_t sent_size;
};

static void set_line(struct interrupts *interrupts, unsigned gsi, bool level)
{
	struct rig *rig = container_of(interrupts, struct rig, interrupts);

	assert_int_equal(gsi, 4);
	assert_true(level != rig->level);
	rig->level = level;
	rig->edges++;
}

static void on_output(struct serial_line *line, const uint8_t *data,
		      size_t size)
{
	struct rig *rig = container_of(line, struct rig, line);

	assert_true(size <= sizeof(rig->sent) - rig->sent_size);
	memcpy(rig->sent + rig->sent_size, data, size);
	rig->sent_size += size;
}

static void on_room(struct serial_line *line)
{
	container_of(line, struct rig, line)->rooms++;
}

static void rig_init(struct rig *rig)
{
	*rig = (struct rig){ .interrupts = { .line = set_line },
			     .line = { on_output, on_room } };
	serial_init(&rig->serial, &rig->interrupts, 4, &rig->line);
}

static uint8_t get(struct rig *rig, unsigned reg)
{
	uint8_t value = 0;

	serial_ops.read(&rig->serial, reg, &value, 1);
	return value;
}

static void set(struct rig *rig, unsigned reg, uint8_t value)
{
	serial_ops.write(&rig->serial, reg, &value, 1);
}

static void test_probe(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	/* The scratch register; what isn't there reads as nothing. */
	set(&rig, 7, 0x5a);
	assert_int_equal(get(&rig, 7), 0x5a);
	set(&rig, 1, 0xff);
	assert_int_equal(get(&rig, 1), 0x0f);
	set(&rig, 1, 0);
	/* A FIFO that works is a 16550A's. */
	assert_int_equal(get(&rig, 2), 0x01);
	set(&rig, 2, 0x01);
	assert_int_equal(get(&rig, 2), 0xc1);
	/* The divisor has an address of its own. */
	set(&rig, 3, 0x83);
	set(&rig, 0, 0x34);
	set(&rig, 1, 0x12);
	assert_int_equal(get(&rig, 0), 0x34);
	assert_int_equal(get(&rig, 1), 0x12);
	set(&rig, 3, 0x03);
	assert_int_equal(get(&rig, 1), 0);
	assert_int_equal(rig.serial.divisor, 0x1234);
	assert_int_equal(rig.sent_size, 0);
	/* The modem's lines, plain and looped. */
	assert_int_equal(get(&rig, 6), 0xb0);
	set(&rig, 4, 0x1a);
	assert_int_equal(get(&rig, 6) & 0xf0, 0x90);
	serial_release(&rig.serial);
}

static void test_bytes(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	set(&rig, 0, 'h');
	set(&rig, 0, 'i');
	assert_int_equal(rig.sent_size, 2);
	assert_memory_equal(rig.sent, "hi", 2);
	assert_int_equal(get(&rig, 5), 0x60);
	/* Without a FIFO there is room for one. */
	assert_int_equal(serial_input(&rig.serial, (void *)"abc", 3), 1);
	assert_int_equal(rig.rooms, 0);
	assert_int_equal(get(&rig, 5), 0x61);
	assert_int_equal(get(&rig, 0), 'a');
	assert_int_equal(rig.rooms, 1);
	assert_int_equal(get(&rig, 5), 0x60);
	/* Nothing there: the last one again. */
	assert_int_equal(get(&rig, 0), 'a');
	set(&rig, 2, 0x01);
	assert_int_equal(
		serial_input(&rig.serial, (void *)"0123456789abcdefgh", 18),
		16);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(get(&rig, 0), "0123456789abcdef"[i]);
	assert_int_equal(rig.rooms, 2);
	/* The loop: nothing leaves; more than fits is an overrun, told once. */
	set(&rig, 4, 0x10);
	for (unsigned i = 0; i < 17; i++)
		set(&rig, 0, (uint8_t)i);
	assert_int_equal(rig.sent_size, 2);
	assert_int_equal(get(&rig, 5), 0x63);
	assert_int_equal(get(&rig, 5), 0x61);
	assert_int_equal(get(&rig, 0), 0);
	/* Nobody's input gets in there. */
	assert_int_equal(serial_input(&rig.serial, (void *)"x", 1), 0);
	/* Cleared. */
	set(&rig, 2, 0x03);
	assert_int_equal(get(&rig, 5), 0x60);
	serial_release(&rig.serial);
}

static void test_interrupts(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	set(&rig, 2, 0x81); /* a FIFO, trigger at 8 */
	set(&rig, 1, 0x03);
	/* Not without OUT2. */
	assert_false(rig.level);
	set(&rig, 4, 0x08);
	assert_true(rig.level);
	/* Sent: reading IIR ends it, the next byte begins it again. */
	assert_int_equal(get(&rig, 2), 0xc2);
	assert_false(rig.level);
	assert_int_equal(get(&rig, 2), 0xc1);
	set(&rig, 0, 'x');
	assert_true(rig.level);
	assert_int_equal(get(&rig, 2), 0xc2);
	/* Received: a time-out below the trigger. It comes first. */
	set(&rig, 0, 'x');
	assert_int_equal(serial_input(&rig.serial, (void *)"1234567", 7), 7);
	assert_int_equal(get(&rig, 2), 0xcc);
	assert_int_equal(serial_input(&rig.serial, (void *)"8", 1), 1);
	assert_int_equal(get(&rig, 2), 0xc4);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(rig.level);
		get(&rig, 0);
	}
	assert_int_equal(get(&rig, 2), 0xc2);
	assert_false(rig.level);
	/* The modem's lines. */
	set(&rig, 1, 0x08);
	set(&rig, 4, 0x18);
	set(&rig, 4, 0x08);
	assert_true(rig.level);
	assert_int_equal(get(&rig, 2), 0xc0);
	assert_int_equal(get(&rig, 6) & 0x0b, 0x0b & (0xb0 >> 4 ^ 0x08));
	assert_false(rig.level);
	/* A reset takes it back. */
	set(&rig, 1, 0x02);
	assert_true(rig.level);
	rig.serial.device.ops->reset(&rig.serial.device);
	assert_false(rig.level);
	assert_int_equal(get(&rig, 1), 0);
	serial_release(&rig.serial);
}

static void save(struct rig *rig, struct state_writer *out)
{
	device_state_save(&rig->serial.device, out);
}

static void test_state(void **state)
{
	struct state_writer first, second;
	struct rig rig, other;
	struct state saved;
	struct err err;

	(void)state;
	rig_init(&rig);
	rig_init(&other);
	set(&rig, 3, 0x83);
	set(&rig, 0, 0x34);
	set(&rig, 3, 0x03);
	set(&rig, 2, 0xc1);
	set(&rig, 1, 0x0d);
	set(&rig, 4, 0x0b);
	set(&rig, 7, 0x77);
	assert_int_equal(serial_input(&rig.serial, (void *)"12345", 5), 5);
	get(&rig, 0);
	save(&rig, &first);
	assert_int_equal(
		state_open(&saved, first.bytes.data, first.bytes.size, &err),
		0);
	assert_int_equal(device_restore(&other.serial.device, &saved, &err), 0);
	save(&other, &second);
	device_state_same(&first, &second);
	/* Its wire is as it was, and falls when the reason goes. */
	assert_int_equal(other.edges, 0);
	other.level = true;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(get(&other, 0), "2345"[i]);
	assert_false(other.level);
	state_release(&first);
	state_release(&second);
	serial_release(&rig.serial);
	serial_release(&other.serial);
}

/* The fields of a section, from hex: 12 bytes and the input. */
static int restore_hex(struct rig *rig, const char *hex)
{
	uint8_t bytes[64];
	struct section_reader in = { .name = "serial" };
	struct err err;

	in.bytes = (struct reader){ bytes, strlen(hex) / 2 };
	assert_int_equal(hex_decode(bytes, in.bytes.left, hex, strlen(hex)), 0);
	return rig->serial.device.ops->restore(&rig->serial.device, &in, &err);
}

static void test_bad_state(void **state)
{
	static const char *const bad[] = {
		"",                             /* too short */
		"000000000000000000000000ff",   /* too long */
		"100000000000000000000000",     /* IER */
		"003000000000000000000000",     /* FCR */
		"00c000000000000000000000",     /* FCR without its FIFO */
		"000000200000000000000000",     /* MCR */
		"000000000004000000000000",     /* LSR */
		"000000000000100000000000",     /* MSR */
		"000000000000000200000000",     /* sent */
		"0000000000000000000000026162", /* more than its FIFO */
		"0001000000000000000000116162636465666768696a6b6c6d6e6f7071",
		"000100000000000000000005616263", /* less than it says */
	};
	struct rig rig;

	(void)state;
	rig_init(&rig);
	set(&rig, 7, 0x42);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(restore_hex(&rig, bad[i]), -EBADMSG);
		assert_int_equal(get(&rig, 7), 0x42);
	}
	assert_int_equal(restore_hex(&rig, "000100001100000034120003"
					   "6162"),
			 -EBADMSG);
	assert_int_equal(restore_hex(&rig, "000100001100000034120003616263"),
			 0);
	assert_int_equal(get(&rig, 7), 0x11);
	assert_int_equal(get(&rig, 0), 'a');
	serial_release(&rig.serial);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe),      cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_interrupts), cmocka_unit_test(test_state),
		cmocka_unit_test(test_bad_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
