/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual machine as KVM has it: the VM's descriptor, its in-kernel
 * interrupt controllers and timer, its RAM. vCPUs are in vcpu.h.
 *
 * vm_open() before any other call; the rest by any thread.
 */
#ifndef KVM_AGENT_VM_VM_H
#define KVM_AGENT_VM_VM_H

#include "format/base/base.h"
#include "kvm-agent/vm/interrupts.h"
#include "kvm-agent/vm/memory.h"

struct vm {
	struct interrupts interrupts; /* into this VM */
	int kvm_fd;
	int fd;
	size_t run_bytes;   /* a vCPU's area that is shared with KVM */
	size_t xsave_bytes; /* a vCPU's extended state */
};

/*
 * A VM without RAM and vCPUs. -ENODEV: this host has no KVM. -EACCES: no right
 * to it. -EOPNOTSUPP: it lacks what is needed, which is named. `vm` may then
 * be closed all the same.
 */
int vm_open(struct vm *vm, struct err *err);
/* A fresh VM in place of this one, whose vCPUs are closed. */
int vm_reopen(struct vm *vm, struct err *err);
/* After its vCPUs. One that was zeroed or not opened is left alone. */
void vm_close(struct vm *vm);

/* The guest's RAM, once; `memory` outlives the VM. */
int vm_set_memory(struct vm *vm, const struct memory *memory, struct err *err);

/*
 * A write of `length` bytes (0: of any) at a memory address signals `event_fd`
 * in the kernel, and no bus sees it. The same arguments take it back.
 */
int vm_add_ioevent(struct vm *vm, uint64_t address, unsigned length,
		   int event_fd, struct err *err);
void vm_remove_ioevent(struct vm *vm, uint64_t address, unsigned length,
		       int event_fd);

/* Of a capability; 0: it is not there. */
int vm_capability(const struct vm *vm, unsigned capability);

#endif
