/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board's small devices from within: clock and its interrupts, ACPI's root,
 * the generation ID; resets by the keyboard controller and by ACPI's register,
 * which the clock's memory counts; and power off by S5.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/guest.h"

#define VECTOR      0x40
#define BOOT_COUNT  0x50
#define ID_COPY     0x60 /* 16 bytes of CMOS */
#define UPDATE      0x10
#define PERIODIC    0x40
#define HOURS_24    0x02
#define RATE_1024HZ 0x26

static volatile unsigned interrupts; /* of the kind that is awaited */
static volatile uint8_t awaited;

static uint8_t cmos(uint8_t index)
{
	out8(LAYOUT_RTC, index);
	return in8(LAYOUT_RTC + 1);
}

static void cmos_set(uint8_t index, uint8_t value)
{
	out8(LAYOUT_RTC, index);
	out8(LAYOUT_RTC + 1, value);
}

static void on_interrupt(struct frame *frame)
{
	(void)frame;
	/* One that was on its way when its kind was switched off still comes. */
	if (cmos(12) & awaited)
		interrupts++;
	lapic_eoi();
}

static void check_acpi(const struct start_info *info)
{
	const uint8_t *rsdp = (const void *)info->rsdp;
	uint8_t sum = 0;

	CHECK(info->rsdp == LAYOUT_RSDP);
	for (unsigned i = 0; i < 36; i++)
		sum = (uint8_t)(sum + rsdp[i]);
	CHECK(sum == 0 && rsdp[0] == 'R' && rsdp[1] == 'S');
}

/* The same ID after a reset; it was kept in the clock's memory. */
static void check_id(unsigned boots)
{
	const uint8_t *id = (const void *)LAYOUT_VMGENID;
	uint8_t any = 0;

	for (uint8_t i = 0; i < 16; i++) {
		any |= id[i];
		if (!boots)
			cmos_set((uint8_t)(ID_COPY + i), id[i]);
		CHECK(cmos((uint8_t)(ID_COPY + i)) == id[i]);
	}
	CHECK(any);
}

static void wait_for(unsigned count, uint8_t flag)
{
	interrupts = 0;
	awaited = flag;
	while (interrupts < count)
		irq_wait();
}

static void check_clock(void)
{
	say("date %x-%x-%x", cmos(9), cmos(8), cmos(7));
	trap_set(VECTOR, on_interrupt);
	lapic_init();
	ioapic_route(LAYOUT_IRQ_RTC, VECTOR);
	(void)cmos(12);
	cmos_set(10, RATE_1024HZ);
	cmos_set(11, PERIODIC | HOURS_24);
	wait_for(20, PERIODIC);
	cmos_set(11, UPDATE | HOURS_24);
	(void)cmos(12);
	wait_for(1, UPDATE);
	cmos_set(11, HOURS_24);
	(void)cmos(12);
}

static void check_pm_timer(void)
{
	uint32_t first = in32(LAYOUT_PM + LAYOUT_PM_TIMER);

	while (in32(LAYOUT_PM + LAYOUT_PM_TIMER) - first < 1000)
		;
}

static void __attribute__((noreturn)) forever(void)
{
	for (;;)
		;
}

void guest_main(const struct start_info *info)
{
	const uint16_t control = LAYOUT_PM + LAYOUT_PM1_CONTROL;
	uint8_t boots = cmos(BOOT_COUNT);

	say("boot %u", boots);
	check_acpi(info);
	check_id(boots);
	cmos_set(BOOT_COUNT, (uint8_t)(boots + 1));
	switch (boots) {
	case 0:
		check_clock();
		check_pm_timer();
		CHECK(in8(LAYOUT_PVPANIC) == 3);
		out8(LAYOUT_PVPANIC, 1);
		out8(LAYOUT_I8042_COMMAND, 0xfe);
		forever();
	case 1:
		out8(LAYOUT_PM + LAYOUT_PM_RESET, LAYOUT_PM_RESET_VALUE);
		forever();
	default:
		say("done");
		out8(control, 1);
		out8(control + 1, LAYOUT_S5_TYPE << 2 | 0x20);
		forever();
	}
}
