/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices a machine has, and where. Parts are made, saved and restored
 * in the order of the list; a saved machine does not depend on it, since its
 * sections have names.
 */
#include <errno.h>

#include "kvm-agent/acpi/tables.h"
#include "kvm-agent/board_virtio.h"
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

static int make_pm(struct board *board, struct err *err)
{
	int r = acpi_pm_init(&board->pm, board->io_loop, &clock_host,
			     board->interrupts, board->guest, err);

	if (r == 0)
		r = board_attach(board, &board->pm.device, err);
	if (r == 0)
		r = bus_add(&board->ports, LAYOUT_PM, LAYOUT_PM_SIZE,
			    &acpi_pm_ports, &board->pm, err);
	return r;
}

static void drop_pm(struct board *board)
{
	acpi_pm_release(&board->pm);
}

static int make_keyboard(struct board *board, struct err *err)
{
	int r = i8042_init(&board->keyboard, board->guest, err);

	if (r == 0)
		r = board_attach(board, &board->keyboard.device, err);
	if (r == 0)
		r = bus_add(&board->ports, LAYOUT_I8042_DATA, 1,
			    &i8042_data_port, &board->keyboard, err);
	if (r == 0)
		r = bus_add(&board->ports, LAYOUT_I8042_COMMAND, 1,
			    &i8042_command_port, &board->keyboard, err);
	return r;
}

static void drop_keyboard(struct board *board)
{
	i8042_release(&board->keyboard);
}

static int make_panic(struct board *board, struct err *err)
{
	int r;

	pvpanic_init(&board->panic, board->guest);
	r = board_attach(board, &board->panic.device, err);
	if (r == 0)
		r = bus_add(&board->ports, LAYOUT_PVPANIC, 1, &pvpanic_port,
			    &board->panic, err);
	return r;
}

static void drop_panic(struct board *board)
{
	(void)board;
}

static int make_rtc(struct board *board, struct err *err)
{
	int r = rtc_init(&board->rtc, board->io_loop, &clock_host,
			 board->interrupts, err);

	if (r == 0)
		r = board_attach(board, &board->rtc.device, err);
	if (r == 0)
		r = bus_add(&board->ports, LAYOUT_RTC, LAYOUT_RTC_SIZE,
			    &rtc_ports, &board->rtc, err);
	return r;
}

static void drop_rtc(struct board *board)
{
	rtc_release(&board->rtc);
}

/* After acpi_pm, by which it tells the guest: restore, too, has this order. */
static int make_genid(struct board *board, struct err *err)
{
	int r = vmgenid_init(&board->genid, &board->memory, &board->pm, err);

	return r == 0 ? board_attach(board, &board->genid.device, err) : r;
}

static void drop_genid(struct board *board)
{
	vmgenid_release(&board->genid);
}

/* `drop` is called also where `make` has failed. */
static const struct part {
	int (*make)(struct board *board, struct err *err);
	void (*drop)(struct board *board);
} parts[] = {
	{ make_serial, drop_serial },
	{ make_pm, drop_pm },
	{ make_keyboard, drop_keyboard },
	{ make_panic, drop_panic },
	{ make_rtc, drop_rtc },
	{ make_genid, drop_genid },
	{ board_make_pci, board_drop_pci },
	{ board_make_rng, board_drop_rng },
	/* Before the disks: its slot is in its name in the guest. */
	{ board_make_net, board_drop_net },
	{ board_make_disks, board_drop_disks },
	{ board_make_console, board_drop_console },
	{ board_make_balloon, board_drop_balloon },
	{ board_make_vsock, board_drop_vsock },
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
	pthread_mutex_init(&board->still_lock, NULL);
	pthread_cond_init(&board->still_wake, NULL);
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
	board->device_count = board->virtio_count = 0;
	bus_release(&board->mmio);
	bus_release(&board->ports);
	memory_release(&board->memory);
	pthread_mutex_destroy(&board->still_lock);
	pthread_cond_destroy(&board->still_wake);
}

void board_reset(struct board *board)
{
	for (unsigned i = 0; i < board->device_count; i++)
		board->devices[i]->ops->reset(board->devices[i]);
}

int board_fill_memory(struct board *board, struct err *err)
{
	int r = acpi_write_tables(&board->memory, board->options->cpus, err);

	return r == 0 ? vmgenid_publish(&board->genid, err) : r;
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
