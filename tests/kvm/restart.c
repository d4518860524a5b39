/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wants a reset, asks for it, and has no patience, as kernels do. By a counter
 * of the test's it knows which time this is: the first time it goes on to a
 * triple fault, which is another way to a reset; then to where there is no RAM,
 * which is none.
 */
#include "tests/kvm/guest/guest.h"

#define COUNTER_PORT 0x2e0
#define I8042        0x64
#define RESET        0xfe
#define NOWHERE      0xd2000000ull

void guest_main(const struct start_info *info)
{
	void (*nowhere)(void) = (void (*)(void))NOWHERE;
	const uint32_t time = in32(COUNTER_PORT);

	(void)info;
	say("time %u", time);
	map_memory(NOWHERE, NOWHERE + 0x200000);
	if (time <= 2)
		out8(I8042, RESET);
	if (time == 1)
		guest_shut_down();
	if (time == 2)
		nowhere();
	guest_end_well();
}
