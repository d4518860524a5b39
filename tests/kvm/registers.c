/* SPDX-License-Identifier: Apache-2.0 */
/* Registers, x87 and SSE of ring 3 outlive interrupts, however they come. */
#include "tests/kvm/guest/guest.h"
#include "tests/kvm/guest/hold.h"

#define VECTOR 0x40
#define TICKS  50u
#define ROUNDS 3000000u

static volatile uint64_t ticks;

static void on_tick(struct frame *frame)
{
	(void)frame;
	ticks++;
	lapic_eoi();
}

void guest_main(const struct start_info *info)
{
	uint64_t wrong, rounds = 0;

	(void)info;
	lapic_init();
	trap_set(VECTOR, on_tick);
	lapic_timer(LAPIC_PERIODIC | VECTOR, 1000000);
	while (ticks < TICKS) {
		wrong = run_user(hold_registers, ROUNDS);
		if (wrong)
			guest_fail("registers changed: 0x%lx", wrong);
		rounds++;
	}
	say("held through %u ticks and more", TICKS);
	CHECK(rounds);
	guest_end_well();
}
