/* SPDX-License-Identifier: Apache-2.0 */
/* The first processor starts the second by INIT and SIPI; both count in one
 * word, and interrupt each other. */
#include "tests/kvm/guest/guest.h"

#define VECTOR 0x60
#define COUNT  2000u

static volatile uint32_t started, counter, finished;
static volatile unsigned called;
static volatile uint32_t other_id;

static void add(void)
{
	for (unsigned i = 0; i < COUNT; i++)
		__asm__ volatile("lock incl %0" : "+m"(counter));
}

void guest_other_main(void)
{
	other_id = cpuid(0xb, 0).edx;
	mmio_write32(LAPIC + LAPIC_SPURIOUS, 0x1ff);
	started = 1;
	add();
	finished = 1;
	/* Calls the first, which sleeps. */
	lapic_send(0, VECTOR);
	while (finished != 2)
		;
}

static void on_call(struct frame *frame)
{
	(void)frame;
	called++;
	lapic_eoi();
}

void guest_main(const struct start_info *info)
{
	(void)info;
	lapic_init();
	trap_set(VECTOR, on_call);
	CHECK(mmio_read32(LAPIC + LAPIC_ID) >> 24 == 0);
	lapic_start_other(1);
	while (!started)
		;
	add();
	while (!called)
		irq_wait();
	CHECK(finished == 1);
	CHECK(other_id == 1);
	say("counted to %u by two", counter);
	finished = 2;
	guest_end_well();
}
