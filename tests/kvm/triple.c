/* SPDX-License-Identifier: Apache-2.0 */
/* A trap with nobody to take it. */
#include "tests/kvm/guest/guest.h"

void guest_main(const struct start_info *info)
{
	(void)info;
	say("here it comes");
	guest_shut_down();
}
