/* SPDX-License-Identifier: Apache-2.0 */
/* Lives until it is told to end: sleeps, counts ticks, and answers to bytes at
 * its serial port. 't': ticks; 'q': ends; 'p': talks much; 'm': writes to all of its
 * RAM; others: said back. The power button ends it too, but for one whose command
 * line says "deaf". */
#include "tests/kvm/guest/guest.h"

#define COM1       0x3f8
#define COM1_FCR   0x3fa
#define COM1_LSR   0x3fd
#define PM1_STATUS 0x600
#define BUTTON     0x100
#define VECTOR     0x40
#define LINES_MUCH 40u

static volatile uint64_t ticks;
static const struct start_info *start;

static void on_tick(struct frame *frame)
{
	(void)frame;
	ticks++;
	lapic_eoi();
}

static uint64_t fill(uint64_t range)
{
	const struct start_range *ram = (const void *)range;
	uint64_t at = ram->start, end = ram->start + ram->size;

	if (at < (uint64_t)guest_end)
		at = (uint64_t)guest_end;
	for (; at + 8 <= end; at += 4096)
		*(volatile uint64_t *)at = at;
	return 0;
}

static void fill_all(void)
{
	const struct start_range *ranges = (const void *)start->map;

	for (uint32_t i = 0; i < start->map_count; i++) {
		if (ranges[i].kind == 1)
			run_user(fill, (uint64_t)&ranges[i]);
	}
	say("all RAM is in use");
}

static void answer(char c)
{
	switch (c) {
	case 't':
		say("ticks %lu", ticks);
		break;
	case 'q':
		guest_end_well();
	case 'p':
		for (uint32_t i = 0; i < LINES_MUCH; i++)
			say("line %u of much to say, so that it takes its room",
			    i);
		break;
	case 'm':
		fill_all();
		break;
	default:
		say("got %x", (uint32_t)c);
	}
}

void guest_main(const struct start_info *info)
{
	const bool deaf = cmdline_has(info, "deaf");

	start = info;
	lapic_init();
	trap_set(VECTOR, on_tick);
	ioapic_route(2, VECTOR);
	pit_start(100);
	out8(COM1_FCR, 1); /* its FIFO: 16 bytes a tick */
	say("up");
	for (;;) {
		while (in8(COM1_LSR) & 1)
			answer((char)in8(COM1));
		if (!deaf && (in8(PM1_STATUS + 1) & BUTTON >> 8))
			guest_end_well();
		irq_wait();
	}
}
