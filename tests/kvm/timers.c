/* SPDX-License-Identifier: Apache-2.0 */
/* HLT wakes: by the PIT through the IOAPIC, by the LAPIC's timer, in its three
 * ways, and by an interrupt to oneself. */
#include "tests/kvm/guest/guest.h"

#define PIT_VECTOR     0x50
#define TIMER_VECTOR   0x51
#define SELF_VECTOR    0x52
#define WAKES          5u
#define PIT_PIN        2
#define IA32_DEADLINE  0x6e0
#define DEADLINE_BIT   (1u << 24)
#define LAPIC_DEADLINE (2u << 17)

static volatile unsigned pit, timer, self;

static void on_pit(struct frame *frame)
{
	(void)frame;
	pit++;
	lapic_eoi();
}

static void on_timer(struct frame *frame)
{
	(void)frame;
	timer++;
	lapic_eoi();
}

static void on_self(struct frame *frame)
{
	(void)frame;
	self++;
	lapic_eoi();
}

static void by_pit(void)
{
	ioapic_route(PIT_PIN, PIT_VECTOR);
	pit_start(200);
	while (pit < WAKES)
		irq_wait();
	ioapic_route(PIT_PIN, IOAPIC_MASKED);
	say("pit: woke");
}

static void by_lapic(void)
{
	lapic_timer(LAPIC_PERIODIC | TIMER_VECTOR, 100000);
	while (timer < WAKES)
		irq_wait();
	lapic_timer(LAPIC_MASKED, 0);
	say("lapic, periodic: woke");
	for (unsigned i = 0; i < WAKES; i++) {
		timer = 0;
		lapic_timer(TIMER_VECTOR, 100000);
		while (!timer)
			irq_wait();
		CHECK(timer == 1);
	}
	say("lapic, once: woke");
}

static void by_deadline(void)
{
	if (!(cpuid(1, 0).ecx & DEADLINE_BIT)) {
		say("lapic, deadline: none here");
		return;
	}
	lapic_timer(LAPIC_DEADLINE | TIMER_VECTOR, 0);
	for (unsigned i = 0; i < WAKES; i++) {
		uint64_t deadline = read_tsc() + 1000000;

		timer = 0;
		write_msr(IA32_DEADLINE, deadline);
		while (!timer)
			irq_wait();
		CHECK(read_tsc() >= deadline);
	}
	say("lapic, deadline: woke");
}

static void by_self(void)
{
	/* Shorthand "self", fixed. */
	mmio_write32(LAPIC + LAPIC_ICR, 1u << 18 | 1u << 14 | SELF_VECTOR);
	while (!self)
		irq_wait();
	say("itself: woke");
}

void guest_main(const struct start_info *info)
{
	(void)info;
	lapic_init();
	trap_set(PIT_VECTOR, on_pit);
	trap_set(TIMER_VECTOR, on_timer);
	trap_set(SELF_VECTOR, on_self);
	by_pit();
	by_lapic();
	by_deadline();
	by_self();
	guest_end_well();
}
