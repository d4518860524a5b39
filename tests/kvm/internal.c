/* SPDX-License-Identifier: Apache-2.0 */
/* Runs into an address where there is no RAM: KVM can't emulate what is not
 * there, and says so. */
#include "tests/kvm/guest/guest.h"

#define NOWHERE 0xd2000000ull

void guest_main(const struct start_info *info)
{
	void (*nowhere)(void) = (void (*)(void))NOWHERE;

	(void)info;
	map_memory(NOWHERE, NOWHERE + 0x200000);
	say("here it comes");
	nowhere();
	guest_end_well();
}
