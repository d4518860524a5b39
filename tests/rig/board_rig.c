/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tests/rig/board_rig.h"

static void need(bool truth)
{
	if (!truth)
		abort();
}

static void note_line(struct interrupts *interrupts, unsigned gsi, bool level)
{
	struct board_rig *rig =
		container_of(interrupts, struct board_rig, interrupts);

	need(gsi < LAYOUT_IRQ_COUNT);
	rig->edges[gsi] += rig->lines[gsi] != level;
	rig->lines[gsi] = level;
}

static void note_event(struct guest_events *guest, enum guest_event event)
{
	struct board_rig *rig = container_of(guest, struct board_rig, guest);

	rig->events[event]++;
}

static int64_t wall_ns(struct clock *clock)
{
	return container_of(clock, struct board_rig, clock)->wall_ns;
}

static int64_t steady_ns(struct clock *clock)
{
	return container_of(clock, struct board_rig, clock)->steady_ns;
}

static void add(struct board_rig *rig, unsigned port, unsigned count,
		const struct bus_ops *ops, void *device)
{
	need(bus_add(&rig->ports, port, count, ops, device, NULL) == 0);
}

void board_rig_init(struct board_rig *rig)
{
	*rig = (struct board_rig){
		.interrupts = { .line = note_line },
		.guest = { note_event },
		.clock = { wall_ns, steady_ns },
		.wall_ns = BOARD_RIG_TIME_S * 1000000000 + 500000000,
		.steady_ns = 77,
	};
	need(memory_init(&rig->memory, 2 * MIB, NULL) == 0);
	need(bus_init(&rig->ports, BUS_PORTS_END, NULL) == 0);
	need(acpi_pm_init(&rig->pm, NULL, &rig->clock, &rig->interrupts,
			  &rig->guest, NULL) == 0);
	need(i8042_init(&rig->keyboard, &rig->guest, NULL) == 0);
	pvpanic_init(&rig->panic, &rig->guest);
	need(rtc_init(&rig->rtc, NULL, &rig->clock, &rig->interrupts, NULL) ==
	     0);
	need(vmgenid_init(&rig->genid, &rig->memory, &rig->pm, NULL) == 0);
	need(vmgenid_publish(&rig->genid, NULL) == 0);
	add(rig, LAYOUT_PM, LAYOUT_PM_SIZE, &acpi_pm_ports, &rig->pm);
	add(rig, LAYOUT_I8042_DATA, 1, &i8042_data_port, &rig->keyboard);
	add(rig, LAYOUT_I8042_COMMAND, 1, &i8042_command_port, &rig->keyboard);
	add(rig, LAYOUT_PVPANIC, 1, &pvpanic_port, &rig->panic);
	add(rig, LAYOUT_RTC, LAYOUT_RTC_SIZE, &rtc_ports, &rig->rtc);
	rig->devices[0] = &rig->pm.device;
	rig->devices[1] = &rig->keyboard.device;
	rig->devices[2] = &rig->panic.device;
	rig->devices[3] = &rig->rtc.device;
	rig->devices[4] = &rig->genid.device;
}

void board_rig_release(struct board_rig *rig)
{
	bus_release(&rig->ports);
	vmgenid_release(&rig->genid);
	rtc_release(&rig->rtc);
	i8042_release(&rig->keyboard);
	acpi_pm_release(&rig->pm);
	memory_release(&rig->memory);
}

void board_rig_pass(struct board_rig *rig, int64_t ns)
{
	rig->wall_ns += ns;
	rig->steady_ns += ns;
}

uint32_t board_rig_in(struct board_rig *rig, unsigned port, unsigned length)
{
	uint32_t value = 0;

	need(length <= sizeof(value));
	(void)bus_read(&rig->ports, port, &value, length);
	return value;
}

void board_rig_out(struct board_rig *rig, unsigned port, uint32_t value,
		   unsigned length)
{
	need(length <= sizeof(value));
	(void)bus_write(&rig->ports, port, &value, length);
}

void board_rig_save(struct board_rig *rig, struct state_writer *out)
{
	need(state_begin(out, NULL) == 0);
	for (unsigned i = 0; i < BOARD_DEVICES; i++)
		device_save(rig->devices[i], out);
	need(state_finish(out, NULL) == 0);
}
