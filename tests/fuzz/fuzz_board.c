/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board's small devices under a guest that does anything: accesses of any
 * port and width, clocks that jump, timers that run early, resets, and states
 * from bytes. What they are left in can be saved and restored the same.
 */
#include "format/base/bytes.h"
#include "tests/fuzz/fix.h"
#include "tests/rig/board_rig.h"

static const uint16_t ports[] = {
	LAYOUT_I8042_DATA, LAYOUT_I8042_COMMAND, LAYOUT_RTC,
	LAYOUT_RTC + 1,    LAYOUT_PVPANIC,       LAYOUT_PM,
};

static uint64_t take(struct reader *in, size_t size)
{
	const void *at = reader_take(in, size);
	uint64_t value = 0;

	if (at)
		memcpy(&value, at, size);
	return value;
}

/* A port of ours, or near to one; and one to eight bytes of it. */
static uint16_t take_port(struct reader *in)
{
	uint64_t which = take(in, 1);
	uint16_t port = ports[which % ARRAY_SIZE(ports)];

	if (port == LAYOUT_PM)
		port = (uint16_t)(port + which / ARRAY_SIZE(ports));
	return port;
}

static void access_port(struct board_rig *rig, struct reader *in, bool write)
{
	uint16_t port = take_port(in);
	unsigned length = (unsigned)take(in, 1) % 8 + 1;
	uint64_t value;

	if (write) {
		value = take(in, length);
		(void)bus_write(&rig->ports, port, &value, length);
	} else {
		(void)bus_read(&rig->ports, port, &value, length);
	}
}

/* Both clocks within what a host's may be; the steady one doesn't go back. */
static void turn_clocks(struct board_rig *rig, struct reader *in)
{
	uint64_t ns = take(in, 8);

	rig->steady_ns += (int64_t)(ns >> 12);
	if (rig->steady_ns < 0)
		rig->steady_ns = INT64_MAX;
	rig->wall_ns = (int64_t)(take(in, 8) >> 1);
}

static void save_and_restore(struct board_rig *rig)
{
	struct state_writer first, second;
	struct state state;
	struct err err;

	board_rig_save(rig, &first);
	must(state_open(&state, first.bytes.data, first.bytes.size, &err) == 0);
	for (unsigned i = 0; i < BOARD_DEVICES - 1; i++)
		must(device_restore(rig->devices[i], &state, &err) == 0);
	board_rig_save(rig, &second);
	must(first.bytes.size == second.bytes.size);
	must(memcmp(first.bytes.data, second.bytes.data, first.bytes.size) ==
	     0);
	state_release(&first);
	state_release(&second);
}

static void restore_bytes(struct board_rig *rig, struct reader *in)
{
	struct device *device = rig->devices[take(in, 1) % BOARD_DEVICES];
	struct section_reader section = { .bytes.left = take(in, 1) };
	struct err err;

	section.bytes.at = reader_take(in, section.bytes.left);
	if (!section.bytes.at)
		section.bytes.left = 0;
	(void)device->ops->restore(device, &section, &err);
}

static void one_step(struct board_rig *rig, struct reader *in)
{
	unsigned what = (unsigned)take(in, 1);

	switch (what % 11) {
	case 0:
		turn_clocks(rig, in);
		break;
	case 1:
		rig->rtc.timer.run(&rig->rtc.timer);
		rig->pm.timer.run(&rig->pm.timer);
		break;
	case 2:
		acpi_pm_power_button(&rig->pm);
		break;
	case 3:
		acpi_pm_raise(&rig->pm, what / 11 % 16);
		break;
	case 4:
		save_and_restore(rig);
		break;
	case 5:
		restore_bytes(rig, in);
		break;
	case 6:
		for (unsigned i = 0; i < BOARD_DEVICES; i++)
			rig->devices[i]->ops->reset(rig->devices[i]);
		break;
	case 7:
	case 8:
		access_port(rig, in, false);
		break;
	default:
		access_port(rig, in, true);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = { data, size };
	struct board_rig rig;

	board_rig_init(&rig);
	while (in.left)
		one_step(&rig, &in);
	save_and_restore(&rig);
	board_rig_release(&rig);
	return 0;
}
