/* SPDX-License-Identifier: Apache-2.0 */
/* The segments that every boot protocol asks for: flat, of 4 GiB. */
#ifndef KVM_AGENT_BOOT_SEGMENTS_H
#define KVM_AGENT_BOOT_SEGMENTS_H

#include <linux/kvm.h>
#include <stdint.h>

/* Code of 32 bits at `selector`, data at the next one, a busy TSS behind it.
 * KVM takes them as they are: no descriptor is read for them. */
void segments_set_flat(struct kvm_sregs *sregs, uint16_t selector);

#endif
