/* SPDX-License-Identifier: Apache-2.0 */
/* What this processor says that it has: words of CPUID, and the MSR of features
 * where CPUID says that there is one. */
#include "tests/kvm/guest/guest.h"

#define MSR_CAPABILITIES 0x10au

void guest_main(const struct start_info *info)
{
	struct cpuid first = cpuid(1, 0), second = cpuid(7, 0);

	(void)info;
	say("1: %x %x %x", first.eax, first.ecx & ~(1u << 27), first.edx);
	say("7: %x %x %x", second.ebx, second.ecx, second.edx);
	say("kvm: %x", cpuid(0x40000001, 0).eax);
	say("brand: %x", cpuid(0x80000002, 0).eax);
	if (second.edx & 1u << 29)
		say("capabilities: %lx", read_msr(MSR_CAPABILITIES));
	guest_end_well();
}
