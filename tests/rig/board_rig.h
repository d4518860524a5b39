/* SPDX-License-Identifier: Apache-2.0 */
/* The board's small devices on a bus of ports, with clocks that a test sets and
 * a record of what left them. */
#ifndef TESTS_RIG_BOARD_RIG_H
#define TESTS_RIG_BOARD_RIG_H

#include "kvm-agent/devices/acpi_pm.h"
#include "kvm-agent/devices/i8042.h"
#include "kvm-agent/devices/pvpanic.h"
#include "kvm-agent/devices/rtc.h"
#include "kvm-agent/devices/vmgenid.h"
#include "kvm-agent/vm/layout.h"

#define BOARD_DEVICES 5

struct board_rig {
	struct interrupts interrupts;
	struct guest_events guest;
	struct clock clock;
	int64_t wall_ns, steady_ns;
	bool lines[LAYOUT_IRQ_COUNT];
	unsigned edges[LAYOUT_IRQ_COUNT]; /* changes, either way */
	unsigned events[GUEST_CRASH_LOADED + 1];
	struct memory memory;
	struct bus ports;
	struct acpi_pm pm;
	struct i8042 keyboard;
	struct pvpanic panic;
	struct rtc rtc;
	struct vmgenid genid;
	/* All of them, in an order that restores: vmgenid after acpi_pm. */
	struct device *devices[BOARD_DEVICES];
};

/* 2020-02-29 23:59:58 UTC, a Saturday, and half a second. */
#define BOARD_RIG_TIME_S 1583020798LL

void board_rig_init(struct board_rig *rig);
void board_rig_release(struct board_rig *rig);

/* Both clocks go on, and no timer runs. */
void board_rig_pass(struct board_rig *rig, int64_t ns);
/* `length` bytes, at most 4; all ones where nobody is. */
uint32_t board_rig_in(struct board_rig *rig, unsigned port, unsigned length);
void board_rig_out(struct board_rig *rig, unsigned port, uint32_t value,
		   unsigned length);

/* The state of all devices; the caller releases it. */
void board_rig_save(struct board_rig *rig, struct state_writer *out);

#endif
