/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeps without an end, and without a way to be woken. */
#include "tests/kvm/guest/guest.h"

void guest_main(const struct start_info *info)
{
	(void)info;
	say("idle");
	for (;;)
		__asm__ volatile("cli; hlt");
}
