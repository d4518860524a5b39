/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices a machine has, and where. Parts are made in the order of the
 * list, which a saved machine does not depend on: sections have names.
 */
#include <errno.h>

#include "kvm-agent/board.h"
#include "kvm-agent/vm/layout.h"

static int make_serial(struct board *board, struct err *err)
{
	int r;

	serial_init(&board->serial, board->interrupts, LAYOUT_IRQ_COM1,
		    board->options->console);
	r = board_attach(board, &board->serial.device, err);
	if (r == 0)
		r = bus_add(&board->ports, LAYOUT_COM1, LAYOUT_COM1_SIZE,
			    &serial_ops, &board->serial, err);
	return r;
}

static void drop_serial(struct board *board)
{
	serial_release(&board->serial);
}

/* `drop` is called also where `make` has failed. */
static const struct part {
	int (*make)(struct board *board, struct err *err);
	void (*drop)(struct board *board);
} parts[] = {
	{ make_serial, drop_serial },
};

int board_attach(struct board *board, struct device *device, struct err *err)
{
	if (board->device_count == BOARD_DEVICES_MAX)
		return err_set(err, -ENOSPC, "more than %u devices",
			       BOARD_DEVICES_MAX);
	board->devices[board->device_count++] = device;
	return 0;
}

static int init_buses(struct board *board, struct err *err)
{
	int r = bus_init(&board->ports, BUS_PORTS_END, err);

	if (r < 0)
		return r;
	r = bus_init(&board->mmio, BUS_MEMORY_END, err);
	if (r < 0)
		bus_release(&board->ports);
	return r;
}

int board_init(struct board *board, struct err *err)
{
	int r = memory_init(&board->memory, board->options->memory_bytes, err);

	if (r < 0)
		return r;
	r = init_buses(board, err);
	if (r < 0) {
		memory_release(&board->memory);
		return r;
	}
	while (r == 0 && board->parts_made < ARRAY_SIZE(parts))
		r = parts[board->parts_made++].make(board, err);
	if (r < 0)
		board_release(board);
	return r;
}

void board_release(struct board *board)
{
	if (!board->memory.count)
		return;
	while (board->parts_made)
		parts[--board->parts_made].drop(board);
	board->device_count = 0;
	bus_release(&board->mmio);
	bus_release(&board->ports);
	memory_release(&board->memory);
}

void board_reset(struct board *board)
{
	for (unsigned i = 0; i < board->device_count; i++)
		board->devices[i]->ops->reset(board->devices[i]);
}

void board_save(struct board *board, struct state_writer *out)
{
	for (unsigned i = 0; i < board->device_count; i++)
		device_save(board->devices[i], out);
}

int board_restore(struct board *board, const struct state *state,
		  struct err *err)
{
	for (unsigned i = 0; i < board->device_count; i++) {
		int r = device_restore(board->devices[i], state, err);

		if (r < 0)
			return r;
	}
	return 0;
}
