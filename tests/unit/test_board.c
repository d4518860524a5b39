/* SPDX-License-Identifier: Apache-2.0 */
/* The board's small devices: registers, what leaves them, and their state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "tests/rig/board_rig.h"
#include "tests/rig/device_state.h"

#define PM(offset) (LAYOUT_PM + LAYOUT_##offset)
#define SECOND     1000000000LL

static uint8_t cmos(struct board_rig *rig, uint8_t index)
{
	board_rig_out(rig, LAYOUT_RTC, index, 1);
	return (uint8_t)board_rig_in(rig, LAYOUT_RTC + 1, 1);
}

static void cmos_set(struct board_rig *rig, uint8_t index, uint8_t value)
{
	board_rig_out(rig, LAYOUT_RTC, index, 1);
	board_rig_out(rig, LAYOUT_RTC + 1, value, 1);
}

/* Seconds, minutes, hours, weekday, day, month, year, century. */
static void check_time(struct board_rig *rig, const char *expected)
{
	static const uint8_t regs[] = { 0, 2, 4, 6, 7, 8, 9, RTC_CENTURY };
	uint8_t bytes[sizeof(regs)];
	char text[2 * sizeof(regs) + 1];

	for (unsigned i = 0; i < sizeof(regs); i++)
		bytes[i] = cmos(rig, regs[i]);
	hex_encode(text, bytes, sizeof(bytes));
	assert_string_equal(text, expected);
}

static void test_rtc_time(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	check_time(&rig, "5859230729022020");
	board_rig_pass(&rig, 2 * SECOND);
	check_time(&rig, "0000000101032020");
	/* Binary; then twelve hours, in which midnight is 12 AM. */
	cmos_set(&rig, 11, 0x06);
	check_time(&rig, "0000000101031414");
	cmos_set(&rig, 11, 0x00);
	check_time(&rig, "0000120101032020");
	board_rig_pass(&rig, (12 * 3600 + 59) * SECOND);
	check_time(&rig, "5900920101032020");
	/* Not a register: the index is not read back. */
	assert_int_equal(board_rig_in(&rig, LAYOUT_RTC, 1), 0xff);
	assert_int_equal(cmos(&rig, 13), 0x80);
	board_rig_release(&rig);
}

static void test_rtc_is_set(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	cmos_set(&rig, 11, 0x82);
	board_rig_pass(&rig, 5 * SECOND);
	check_time(&rig, "5859230729022020");
	cmos_set(&rig, 0, 0x58);
	cmos_set(&rig, 2, 0x59);
	cmos_set(&rig, 4, 0x23);
	cmos_set(&rig, 7, 0x31);
	cmos_set(&rig, 8, 0x12);
	cmos_set(&rig, 9, 0x99);
	check_time(&rig, "5859230731129920");
	cmos_set(&rig, 11, 0x02);
	/* The weekday is the calendar's. */
	check_time(&rig, "5859230531129920");
	board_rig_pass(&rig, SECOND / 2 - 1);
	check_time(&rig, "5859230531129920");
	board_rig_pass(&rig, 1);
	check_time(&rig, "5959230531129920");
	board_rig_pass(&rig, SECOND);
	check_time(&rig, "0000000601010021");
	/* On the run, one register; and days that no month has. */
	cmos_set(&rig, 2, 0x30);
	check_time(&rig, "0030000601010021");
	cmos_set(&rig, 7, 0x32);
	check_time(&rig, "0030000201020021");
	/* The host's clock is set: the guest's goes with it. */
	rig.wall_ns += 3600 * SECOND;
	check_time(&rig, "0030010201020021");
	board_rig_release(&rig);
}

static void test_rtc_nonsense(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	for (unsigned value = 0; value < 256; value++) {
		cmos_set(&rig, 11, value & 1 ? 0x86 : 0x82);
		for (uint8_t reg = 0; reg < 10; reg++)
			cmos_set(&rig, reg, (uint8_t)value);
		cmos_set(&rig, RTC_CENTURY, (uint8_t)value);
		cmos_set(&rig, 11, 0x06);
		assert_in_range(cmos(&rig, 0), 0, 59);
		assert_in_range(cmos(&rig, 2), 0, 59);
		assert_in_range(cmos(&rig, 4), 0, 23);
		assert_in_range(cmos(&rig, 6), 1, 7);
		assert_in_range(cmos(&rig, 7), 1, 31);
		assert_in_range(cmos(&rig, 8), 1, 12);
		assert_in_range(cmos(&rig, 9), 0, 99);
		assert_in_range(cmos(&rig, RTC_CENTURY), 19, 22);
	}
	board_rig_release(&rig);
}

/* Every day from 1970 to 2199, against a plain count. */
static void test_rtc_calendar(void **state)
{
	static const unsigned lengths[] = { 31, 28, 31, 30, 31, 30,
					    31, 31, 30, 31, 30, 31 };
	unsigned year = 1970, month = 1, day = 1;
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	cmos_set(&rig, 11, 0x06);
	rig.wall_ns = 0;
	for (unsigned n = 0; year < 2200; n++) {
		unsigned leap =
			(year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

		assert_int_equal(cmos(&rig, 7), day);
		assert_int_equal(cmos(&rig, 8), month);
		assert_int_equal(cmos(&rig, 9), year % 100);
		assert_int_equal(cmos(&rig, RTC_CENTURY), year / 100);
		assert_int_equal(cmos(&rig, 6), (n + 4) % 7 + 1);
		if (++day > lengths[month - 1] + (month == 2 ? leap : 0)) {
			day = 1;
			if (++month > 12) {
				month = 1;
				year++;
			}
		}
		board_rig_pass(&rig, 86400 * SECOND);
	}
	board_rig_release(&rig);
}

static void test_rtc_update(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	assert_int_equal(cmos(&rig, 10), 0x26);
	board_rig_pass(&rig, SECOND / 2 - 244000);
	assert_int_equal(cmos(&rig, 10), 0xa6);
	board_rig_pass(&rig, 244000);
	assert_int_equal(cmos(&rig, 10), 0x26);
	assert_int_equal(cmos(&rig, 12), 0x50);
	assert_int_equal(cmos(&rig, 12), 0);
	assert_int_equal(rig.rtc.timer.wait_ns, 0);
	cmos_set(&rig, 11, 0x12);
	assert_int_equal(rig.rtc.timer.wait_ns, SECOND);
	assert_false(rig.lines[LAYOUT_IRQ_RTC]);
	board_rig_pass(&rig, SECOND);
	rig.rtc.timer.run(&rig.rtc.timer);
	assert_true(rig.lines[LAYOUT_IRQ_RTC]);
	/* Nothing is awaited until it is read. */
	assert_int_equal(rig.rtc.timer.wait_ns, 0);
	assert_int_equal(cmos(&rig, 12) & 0x90, 0x90);
	assert_false(rig.lines[LAYOUT_IRQ_RTC]);
	assert_int_equal(rig.rtc.timer.wait_ns, SECOND);
	/* Setting the time turns it off. */
	cmos_set(&rig, 11, 0x92);
	assert_int_equal(cmos(&rig, 11), 0x82);
	assert_int_equal(rig.rtc.timer.wait_ns, 0);
	board_rig_release(&rig);
}

static void test_rtc_periodic(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	cmos_set(&rig, 10, 0x2f);
	(void)cmos(&rig, 12);
	cmos_set(&rig, 11, 0x42);
	/* Twice a second. */
	assert_int_equal(rig.rtc.timer.wait_ns, SECOND / 2);
	board_rig_pass(&rig, SECOND / 2);
	rig.rtc.timer.run(&rig.rtc.timer);
	assert_true(rig.lines[LAYOUT_IRQ_RTC]);
	assert_int_equal(cmos(&rig, 12) & 0xc0, 0xc0);
	assert_false(rig.lines[LAYOUT_IRQ_RTC]);
	cmos_set(&rig, 10, 0x20);
	assert_int_equal(rig.rtc.timer.wait_ns, 0);
	board_rig_release(&rig);
}

static void test_rtc_alarm(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	/* At 00:00:30, which is tomorrow. */
	cmos_set(&rig, 1, 0x30);
	cmos_set(&rig, 3, 0x00);
	cmos_set(&rig, 5, 0x00);
	cmos_set(&rig, 11, 0x22);
	assert_int_equal(rig.rtc.timer.wait_ns, 31 * SECOND + SECOND / 2);
	board_rig_pass(&rig, 31 * SECOND);
	rig.rtc.timer.run(&rig.rtc.timer);
	assert_false(rig.lines[LAYOUT_IRQ_RTC]);
	assert_int_equal(rig.rtc.timer.wait_ns, SECOND / 2);
	board_rig_pass(&rig, SECOND / 2);
	rig.rtc.timer.run(&rig.rtc.timer);
	assert_true(rig.lines[LAYOUT_IRQ_RTC]);
	assert_int_equal(cmos(&rig, 12) & 0xa0, 0xa0);
	/* A day ahead: it looks again before, for the host's clock may jump. */
	assert_int_equal(rig.rtc.timer.wait_ns, 60 * SECOND);
	rig.wall_ns += 86400 * SECOND;
	rig.rtc.timer.run(&rig.rtc.timer);
	assert_int_equal(cmos(&rig, 12) & 0xa0, 0xa0);
	/* Any hour, any minute: each minute. */
	cmos_set(&rig, 3, 0xff);
	cmos_set(&rig, 5, 0xc0);
	board_rig_pass(&rig, 59 * SECOND);
	assert_int_equal(cmos(&rig, 12) & 0x20, 0);
	board_rig_pass(&rig, SECOND);
	assert_int_equal(cmos(&rig, 12) & 0x20, 0x20);
	/* One that no clock shows never comes. */
	cmos_set(&rig, 1, 0x61);
	assert_int_equal(rig.rtc.timer.wait_ns, 0);
	board_rig_release(&rig);
}

static void test_rtc_memory(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	for (uint8_t i = 14; i < RTC_CMOS_SIZE; i++) {
		if (i != RTC_CENTURY)
			cmos_set(&rig, i, (uint8_t)(i ^ 0x5a));
	}
	cmos_set(&rig, 11, 0x72);
	rig.devices[3]->ops->reset(rig.devices[3]);
	for (uint8_t i = 14; i < RTC_CMOS_SIZE; i++) {
		if (i != RTC_CENTURY)
			assert_int_equal(cmos(&rig, i | 0x80), i ^ 0x5a);
	}
	assert_int_equal(cmos(&rig, 11), 0x02);
	board_rig_release(&rig);
}

/* ---- ACPI ---- */

static void test_pm_timer(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	assert_int_equal(board_rig_in(&rig, PM(PM_TIMER), 4), 0);
	board_rig_pass(&rig, SECOND);
	assert_int_equal(board_rig_in(&rig, PM(PM_TIMER), 4), 3579545);
	assert_int_equal(board_rig_in(&rig, PM(PM_TIMER) + 1, 1),
			 3579545 >> 8 & 0xff);
	/* The top bit changes after 599 s. */
	board_rig_out(&rig, PM(PM1_EVENT) + 2, 1, 2);
	board_rig_pass(&rig, (int64_t)rig.pm.timer.wait_ns - 1000);
	rig.pm.timer.run(&rig.pm.timer);
	assert_false(rig.lines[LAYOUT_IRQ_SCI]);
	board_rig_pass(&rig, 1000);
	rig.pm.timer.run(&rig.pm.timer);
	assert_true(rig.lines[LAYOUT_IRQ_SCI]);
	assert_int_equal(board_rig_in(&rig, PM(PM_TIMER), 4), 0x80000000);
	assert_int_equal(board_rig_in(&rig, PM(PM1_EVENT), 2), 1);
	assert_int_equal(rig.pm.timer.wait_ns, 0);
	board_rig_out(&rig, PM(PM1_EVENT), 1, 2);
	assert_false(rig.lines[LAYOUT_IRQ_SCI]);
	assert_in_range(rig.pm.timer.wait_ns, 599 * SECOND, 600 * SECOND);
	board_rig_release(&rig);
}

static void test_power_button(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	acpi_pm_power_button(&rig.pm);
	assert_false(rig.lines[LAYOUT_IRQ_SCI]);
	/* The enable's upper byte alone. */
	board_rig_out(&rig, PM(PM1_EVENT) + 3, 0x01, 1);
	assert_true(rig.lines[LAYOUT_IRQ_SCI]);
	assert_int_equal(board_rig_in(&rig, PM(PM1_EVENT), 4), 0x01000100);
	/* Zeros clear nothing. */
	board_rig_out(&rig, PM(PM1_EVENT), 0, 2);
	assert_true(rig.lines[LAYOUT_IRQ_SCI]);
	board_rig_out(&rig, PM(PM1_EVENT), 0x0100, 2);
	assert_false(rig.lines[LAYOUT_IRQ_SCI]);
	assert_int_equal(rig.edges[LAYOUT_IRQ_SCI], 2);
	board_rig_release(&rig);
}

static void test_gpe(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	board_rig_out(&rig, PM(PM_GPE0) + 2, 0xffff, 2);
	acpi_pm_raise(&rig.pm, 3);
	acpi_pm_raise(&rig.pm, 9);
	assert_int_equal(board_rig_in(&rig, PM(PM_GPE0), 4), 0xffff0208);
	board_rig_out(&rig, PM(PM_GPE0), 0x08, 1);
	assert_true(rig.lines[LAYOUT_IRQ_SCI]);
	board_rig_out(&rig, PM(PM_GPE0) + 1, 0x02, 1);
	assert_false(rig.lines[LAYOUT_IRQ_SCI]);
	board_rig_release(&rig);
}

static void test_sleep_and_reset(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	/* ACPI mode is on, and can't be turned off. */
	assert_int_equal(board_rig_in(&rig, PM(PM1_CONTROL), 2), 1);
	board_rig_out(&rig, PM(PM1_CONTROL), 0, 2);
	assert_int_equal(board_rig_in(&rig, PM(PM1_CONTROL), 2), 1);
	/* S3 is not there; and a type alone is no sleep. */
	board_rig_out(&rig, PM(PM1_CONTROL), 3 << 10 | 1 << 13, 2);
	board_rig_out(&rig, PM(PM1_CONTROL), LAYOUT_S5_TYPE << 10, 2);
	assert_int_equal(rig.events[GUEST_POWER_OFF], 0);
	assert_int_equal(board_rig_in(&rig, PM(PM1_CONTROL), 2),
			 LAYOUT_S5_TYPE << 10 | 1);
	board_rig_out(&rig, PM(PM1_CONTROL), LAYOUT_S5_TYPE << 10 | 1 << 13, 2);
	assert_int_equal(rig.events[GUEST_POWER_OFF], 1);
	board_rig_out(&rig, PM(PM_RESET), 0, 1);
	assert_int_equal(rig.events[GUEST_RESET], 0);
	board_rig_out(&rig, PM(PM_RESET), LAYOUT_PM_RESET_VALUE, 1);
	assert_int_equal(rig.events[GUEST_RESET], 1);
	board_rig_release(&rig);
}

/* ---- keyboard controller, panic, generation ID ---- */

static void test_i8042(void **state)
{
	const unsigned data = LAYOUT_I8042_DATA, command = LAYOUT_I8042_COMMAND;
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	assert_int_equal(board_rig_in(&rig, command, 1), 0x14);
	board_rig_out(&rig, command, 0xaa, 1);
	assert_int_equal(board_rig_in(&rig, command, 1), 0x15);
	assert_int_equal(board_rig_in(&rig, data, 1), 0x55);
	assert_int_equal(board_rig_in(&rig, command, 1), 0x14);
	board_rig_out(&rig, command, 0x60, 1);
	assert_int_equal(board_rig_in(&rig, command, 1), 0x1c);
	board_rig_out(&rig, data, 0x47, 1);
	board_rig_out(&rig, command, 0xad, 1);
	board_rig_out(&rig, command, 0x20, 1);
	assert_int_equal(board_rig_in(&rig, data, 1), 0x57);
	/* To the keyboard: no answer. */
	board_rig_out(&rig, data, 0xff, 1);
	assert_int_equal(board_rig_in(&rig, command, 1) & 1, 0);
	/* Of the lines that can be pulsed only one resets. */
	board_rig_out(&rig, command, 0xfd, 1);
	assert_int_equal(rig.events[GUEST_RESET], 0);
	board_rig_out(&rig, command, 0xfe, 1);
	assert_int_equal(rig.events[GUEST_RESET], 1);
	board_rig_out(&rig, command, 0xd1, 1);
	board_rig_out(&rig, data, 0x03, 1);
	assert_int_equal(rig.events[GUEST_RESET], 1);
	board_rig_out(&rig, command, 0xd1, 1);
	board_rig_out(&rig, data, 0x02, 1);
	assert_int_equal(rig.events[GUEST_RESET], 2);
	board_rig_release(&rig);
}

static void test_pvpanic(void **state)
{
	struct board_rig rig;

	(void)state;
	board_rig_init(&rig);
	assert_int_equal(board_rig_in(&rig, LAYOUT_PVPANIC, 1), 3);
	board_rig_out(&rig, LAYOUT_PVPANIC, 0xfc, 1);
	assert_int_equal(rig.events[GUEST_PANICKED], 0);
	board_rig_out(&rig, LAYOUT_PVPANIC, 1, 1);
	board_rig_out(&rig, LAYOUT_PVPANIC, 2, 1);
	assert_int_equal(rig.events[GUEST_PANICKED], 1);
	assert_int_equal(rig.events[GUEST_CRASH_LOADED], 1);
	board_rig_release(&rig);
}

static void restore_all(struct board_rig *rig, const struct state_writer *from)
{
	struct state opened;

	assert_int_equal(
		state_open(&opened, from->bytes.data, from->bytes.size, NULL),
		0);
	for (unsigned i = 0; i < BOARD_DEVICES; i++)
		assert_int_equal(device_restore(rig->devices[i], &opened, NULL),
				 0);
}

static void read_id(struct board_rig *rig, uint8_t id[VMGENID_SIZE])
{
	assert_int_equal(memory_read(&rig->memory, gpa_make(LAYOUT_VMGENID), id,
				     VMGENID_SIZE),
			 0);
}

static void test_vmgenid(void **state)
{
	uint8_t ids[3][VMGENID_SIZE], zero[VMGENID_SIZE] = { 0 };
	struct board_rig rig, other;
	struct state_writer saved;

	(void)state;
	board_rig_init(&rig);
	board_rig_out(&rig, PM(PM_GPE0) + 2, 1 << LAYOUT_GPE_VMGENID, 2);
	read_id(&rig, ids[0]);
	assert_memory_not_equal(ids[0], zero, VMGENID_SIZE);
	/* A reset is no clone. */
	memory_write(&rig.memory, gpa_make(LAYOUT_VMGENID), zero, 16);
	rig.devices[4]->ops->reset(rig.devices[4]);
	assert_int_equal(vmgenid_publish(&rig.genid, NULL), 0);
	read_id(&rig, ids[1]);
	assert_memory_equal(ids[0], ids[1], VMGENID_SIZE);
	assert_false(rig.lines[LAYOUT_IRQ_SCI]);
	/* The same state twice: two more IDs, and the guest is told. */
	board_rig_save(&rig, &saved);
	restore_all(&rig, &saved);
	read_id(&rig, ids[1]);
	assert_true(rig.lines[LAYOUT_IRQ_SCI]);
	restore_all(&rig, &saved);
	read_id(&rig, ids[2]);
	assert_memory_not_equal(ids[0], ids[1], VMGENID_SIZE);
	assert_memory_not_equal(ids[0], ids[2], VMGENID_SIZE);
	assert_memory_not_equal(ids[1], ids[2], VMGENID_SIZE);
	/* And another one in another process. */
	board_rig_init(&other);
	restore_all(&other, &saved);
	read_id(&other, ids[0]);
	assert_memory_not_equal(ids[0], ids[1], VMGENID_SIZE);
	assert_memory_not_equal(ids[0], ids[2], VMGENID_SIZE);
	state_release(&saved);
	board_rig_release(&other);
	board_rig_release(&rig);
}

/* ---- state ---- */

/* Something in every field. */
static void use_everything(struct board_rig *rig)
{
	board_rig_out(rig, LAYOUT_I8042_COMMAND, 0x60, 1);
	board_rig_out(rig, LAYOUT_I8042_DATA, 0x65, 1);
	board_rig_out(rig, LAYOUT_I8042_COMMAND, 0xd2, 1);
	board_rig_out(rig, LAYOUT_I8042_DATA, 0x99, 1);
	board_rig_out(rig, LAYOUT_I8042_COMMAND, 0xd1, 1);
	board_rig_pass(rig, 700 * SECOND + 12345);
	board_rig_out(rig, PM(PM1_EVENT) + 2, 0x0120, 2);
	board_rig_out(rig, PM(PM1_CONTROL), 2 | 6 << 10, 2);
	acpi_pm_power_button(&rig->pm);
	acpi_pm_raise(&rig->pm, 5);
	board_rig_out(rig, PM(PM_GPE0) + 2, 0x1221, 2);
	cmos_set(rig, 2, 0x44);
	for (uint8_t i = 1; i < 6; i += 2)
		cmos_set(rig, i, i);
	cmos_set(rig, 0x50, 0xab);
	cmos_set(rig, 10, 0x2a);
	cmos_set(rig, 11, 0x72);
	board_rig_pass(rig, 3 * SECOND);
	board_rig_out(rig, LAYOUT_RTC, 0x44, 1);
}

/* Of all but the ID, which is another one by intention. */
static void compare(struct board_rig *a, struct board_rig *b)
{
	for (unsigned i = 0; i < BOARD_DEVICES - 1; i++) {
		struct state_writer first, second;

		device_state_save(a->devices[i], &first);
		device_state_save(b->devices[i], &second);
		device_state_same(&first, &second);
		state_release(&first);
		state_release(&second);
	}
}

static void test_restore_is_the_same(void **state)
{
	struct board_rig rig, other;
	struct state_writer saved;

	(void)state;
	board_rig_init(&rig);
	board_rig_init(&other);
	use_everything(&rig);
	assert_true(rig.lines[LAYOUT_IRQ_RTC]);
	assert_true(rig.lines[LAYOUT_IRQ_SCI]);
	/* Its steady clock began elsewhere; the wall clock is everybody's. */
	other.steady_ns = 3;
	other.wall_ns = rig.wall_ns;
	board_rig_save(&rig, &saved);
	restore_all(&other, &saved);
	assert_true(other.lines[LAYOUT_IRQ_RTC]);
	assert_true(other.lines[LAYOUT_IRQ_SCI]);
	assert_int_equal(board_rig_in(&rig, PM(PM_TIMER), 4),
			 board_rig_in(&other, PM(PM_TIMER), 4));
	board_rig_out(&other, PM(PM_GPE0), 1 << LAYOUT_GPE_VMGENID, 2);
	compare(&rig, &other);
	/* And from then on, too. */
	board_rig_pass(&rig, 99 * SECOND);
	board_rig_pass(&other, 99 * SECOND);
	compare(&rig, &other);
	/* A reset brings the first state back, but for time and memory. */
	for (unsigned i = 0; i < BOARD_DEVICES; i++)
		other.devices[i]->ops->reset(other.devices[i]);
	assert_false(other.lines[LAYOUT_IRQ_RTC]);
	assert_false(other.lines[LAYOUT_IRQ_SCI]);
	assert_int_equal(board_rig_in(&other, PM(PM_TIMER), 4), 0);
	assert_int_equal(board_rig_in(&other, LAYOUT_I8042_COMMAND, 1), 0x14);
	assert_int_equal(cmos(&other, 0x50), 0xab);
	state_release(&saved);
	board_rig_release(&other);
	board_rig_release(&rig);
}

/* A stopped clock stands over a restore, and its wires go down. */
static void test_restore_a_stopped_clock(void **state)
{
	struct board_rig rig, other;
	struct state_writer saved;

	(void)state;
	board_rig_init(&rig);
	board_rig_init(&other);
	/* What the interrupt controllers believe is not the devices' own. */
	other.lines[LAYOUT_IRQ_RTC] = true;
	other.lines[LAYOUT_IRQ_SCI] = true;
	cmos_set(&rig, 11, 0x82);
	cmos_set(&rig, 4, 0x17);
	board_rig_save(&rig, &saved);
	restore_all(&other, &saved);
	assert_false(other.lines[LAYOUT_IRQ_RTC]);
	assert_false(other.lines[LAYOUT_IRQ_SCI]);
	check_time(&other, "5859170729022020");
	state_release(&saved);
	board_rig_release(&other);
	board_rig_release(&rig);
}

/* Each field that is checked, wrong; and nothing has changed. */
static void test_restore_refuses(void **state)
{
	static const struct {
		unsigned device, field;
		uint8_t value;
	} lies[] = {
		{ 0, 0, 0x20 },      { 0, 1, 0x80 },   { 0, 3, 0x80 },
		{ 0, 4, 1 },         { 0, 5, 0x20 },   { 0, 17, 0x40 },
		{ 1, 1, 0 },         { 1, 4, 2 },      { 3, 0, 0x80 },
		{ 3, 1 + 10, 0x80 }, { 3, 1 + 12, 1 }, { 3, 1 + 13, 0 },
		{ 3, 144, 0x7f },    { 3, 144, 0x80 },
	};
	struct board_rig rig, same;

	(void)state;
	board_rig_init(&rig);
	board_rig_init(&same);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct device *device = rig.devices[lies[i].device];
		struct section_reader in = { 0 };
		struct state_writer saved;
		struct err err;

		assert_int_equal(state_begin(&saved, NULL), 0);
		device_save(device, &saved);
		/* Behind the heads of the state and of the section. */
		in.bytes.at = saved.bytes.data + 48;
		in.bytes.left = saved.bytes.size - 48;
		saved.bytes.data[48 + lies[i].field] = lies[i].value;
		assert_int_equal(device->ops->restore(device, &in, &err),
				 -EBADMSG);
		in.bytes.at = saved.bytes.data + 48;
		in.bytes.left = saved.bytes.size - 49;
		in.overrun = false;
		assert_int_equal(device->ops->restore(device, &in, &err),
				 -EBADMSG);
		state_release(&saved);
	}
	compare(&rig, &same);
	board_rig_release(&same);
	board_rig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rtc_time),
		cmocka_unit_test(test_rtc_is_set),
		cmocka_unit_test(test_rtc_nonsense),
		cmocka_unit_test(test_rtc_calendar),
		cmocka_unit_test(test_rtc_update),
		cmocka_unit_test(test_rtc_periodic),
		cmocka_unit_test(test_rtc_alarm),
		cmocka_unit_test(test_rtc_memory),
		cmocka_unit_test(test_pm_timer),
		cmocka_unit_test(test_power_button),
		cmocka_unit_test(test_gpe),
		cmocka_unit_test(test_sleep_and_reset),
		cmocka_unit_test(test_i8042),
		cmocka_unit_test(test_pvpanic),
		cmocka_unit_test(test_vmgenid),
		cmocka_unit_test(test_restore_is_the_same),
		cmocka_unit_test(test_restore_a_stopped_clock),
		cmocka_unit_test(test_restore_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
