/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port under a guest that does anything: accesses of any register
 * and width, input, resets, states from bytes. What it is left in can be saved
 * and restored the same.
 */
#include "kvm-agent/devices/serial.h"
#include "tests/fuzz/fix.h"

struct rig {
	struct interrupts interrupts;
	struct serial_line line;
	struct serial serial;
	bool level;
};

static void set_line(struct interrupts *interrupts, unsigned gsi, bool level)
{
	struct rig *rig = container_of(interrupts, struct rig, interrupts);

	(void)gsi;
	rig->level = level;
}

static void on_output(struct serial_line *line, const uint8_t *data,
		      size_t size)
{
	(void)line;
	must(data && size == 1);
}

static uint8_t take(struct reader *in)
{
	const uint8_t *at = reader_take(in, 1);

	return at ? *at : 0;
}

static void save(struct rig *rig, struct state_writer *out)
{
	struct err err;

	must(state_begin(out, &err) == 0);
	device_save(&rig->serial.device, out);
	must(state_finish(out, &err) == 0);
}

static void save_and_restore(struct rig *rig)
{
	struct state_writer first, second;
	struct state state;
	struct err err;

	save(rig, &first);
	must(state_open(&state, first.bytes.data, first.bytes.size, &err) == 0);
	must(device_restore(&rig->serial.device, &state, &err) == 0);
	save(rig, &second);
	must(first.bytes.size == second.bytes.size);
	must(!memcmp(first.bytes.data, second.bytes.data, first.bytes.size));
	state_release(&first);
	state_release(&second);
}

static void restore_bytes(struct rig *rig, struct reader *in)
{
	struct section_reader section = { .bytes.left = take(in) };
	struct err err;

	section.bytes.at = reader_take(in, section.bytes.left);
	if (!section.bytes.at)
		section.bytes.left = 0;
	(void)rig->serial.device.ops->restore(&rig->serial.device, &section,
					      &err);
}

static void one_step(struct rig *rig, struct reader *in)
{
	uint8_t what = take(in), data[8] = { 0 };
	unsigned offset = what & 7, length = take(in) % 8 + 1;

	switch (what >> 3 & 7) {
	case 0:
		for (unsigned i = 0; i < length; i++)
			data[i] = take(in);
		must(serial_input(&rig->serial, data, length) <= length);
		break;
	case 1:
		save_and_restore(rig);
		break;
	case 2:
		restore_bytes(rig, in);
		break;
	case 3:
		rig->serial.device.ops->reset(&rig->serial.device);
		break;
	case 4:
	case 5:
		serial_ops.read(&rig->serial, offset, data, length);
		break;
	default:
		for (unsigned i = 0; i < length; i++)
			data[i] = take(in);
		serial_ops.write(&rig->serial, offset, data, length);
	}
	must(rig->serial.input_count <= SERIAL_FIFO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rig rig = { .interrupts = { .line = set_line },
			   .line = { .output = on_output } };
	struct reader in = { data, size };

	serial_init(&rig.serial, &rig.interrupts, 4, &rig.line);
	while (in.left)
		one_step(&rig, &in);
	save_and_restore(&rig);
	serial_release(&rig.serial);
	return 0;
}
