/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor types are those of the Intel SDM, volume 3, 3.4.5.1 and 3.5. */
#include "kvm-agent/boot/segments.h"

void segments_set_flat(struct kvm_sregs *sregs, uint16_t selector)
{
	struct kvm_segment data = {
		.limit = UINT32_MAX,
		.selector = (uint16_t)(selector + 8),
		.type = 3, /* writable, accessed */
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_segment code = data;

	code.selector = selector;
	code.type = 11; /* readable, accessed */
	sregs->cs = code;
	sregs->ds = sregs->es = sregs->ss = data;
	sregs->fs = sregs->gs = data;
	sregs->tr = (struct kvm_segment){
		.limit = 0x67,
		.selector = (uint16_t)(selector + 16),
		.type = 11, /* busy TSS */
		.present = 1,
	};
}
