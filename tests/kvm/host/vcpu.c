/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's image that no guest of ours would show: each part is changed, put
 * into a vCPU of another VM, and read back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/kvm/host/rig.h"
#include "kvm-agent/vm/vcpu_kvm.h"

#define MSR_LSTAR    0xc0000082u
#define MSR_MTRR_DEF 0x2ffu

struct one {
	struct vm vm;
	struct memory memory;
	struct bus ports, mmio;
	struct vcpu_hooks hooks;
	struct vcpu vcpu;
	struct kvm_cpuid2 *cpuid;
};

static void ended(struct vcpu_hooks *hooks, struct vcpu *vcpu,
		  enum vcpu_end end, const char *words)
{
	(void)hooks;
	(void)vcpu;
	(void)end;
	rig_must(false, words, NULL);
}

static void make(struct one *one)
{
	struct err err;

	memset(one, 0, sizeof(*one));
	one->hooks.ended = ended;
	rig_must(vm_open(&one->vm, &err) == 0, "vm", &err);
	rig_must(memory_init(&one->memory, 2 * MIB, &err) == 0, "ram", &err);
	rig_must(vm_set_memory(&one->vm, &one->memory, &err) == 0, "ram", &err);
	rig_must(bus_init(&one->ports, BUS_PORTS_END, &err) == 0, "bus", &err);
	rig_must(bus_init(&one->mmio, BUS_MEMORY_END, &err) == 0, "bus", &err);
	rig_must(cpuid_of_host(&one->vm, &one->cpuid, &err) == 0, "cpuid",
		 &err);
	rig_must(cpuid_apply_model(one->cpuid, CPU_HOST, 1, &err) == 0, "cpuid",
		 &err);
	rig_must(vcpu_open(&one->vcpu, &one->vm, 0, one->cpuid, &one->ports,
			   &one->mmio, &one->hooks, &err) == 0,
		 "vcpu", &err);
}

static void drop(struct one *one)
{
	vcpu_close(&one->vcpu);
	vm_close(&one->vm);
	bus_release(&one->ports);
	bus_release(&one->mmio);
	memory_release(&one->memory);
	free(one->cpuid);
}

static struct vcpu_msr *msr_of(struct vcpu_image *image, uint32_t index)
{
	for (uint32_t i = 0; i < image->msr_count; i++) {
		if (image->msrs[i].index == index)
			return &image->msrs[i];
	}
	rig_must(false, "an MSR is not saved", NULL);
	return NULL;
}

static void change(struct vcpu_image *image)
{
	image->regs.rax = 0x1122334455667788;
	image->regs.r15 = 0x8877665544332211;
	image->regs.rip = 0x1234;
	image->sregs.cr2 = 0xabcdef;
	image->sregs.fs.base = 0x5000;
	image->sregs.idt.limit = 0x123;
	image->debug.db[2] = 0x4321;
	image->xsave[40] = 0x5a; /* of x87: the first data register */
	image->xsave[512] |= 1;  /* and it is in use */
	image->events.nmi.masked = 1;
	image->events.nmi.pending = 1;
	image->events.interrupt.injected = 1;
	image->events.interrupt.nr = 0x99;
	image->mp.mp_state = KVM_MP_STATE_HALTED;
	/* The LAPIC's task priority and its timer's vector. */
	image->lapic.regs[0x80] = 0x20;
	image->lapic.regs[0x320] = 0x77;
	msr_of(image, MSR_LSTAR)->value = 0x7fff12345678;
	msr_of(image, MSR_MTRR_DEF)->value = 0xc06;
}

static void check(const struct vcpu_image *a, struct vcpu_image *b)
{
	rig_must(!memcmp(&a->regs, &b->regs, sizeof(a->regs)), "regs", NULL);
	rig_must(b->sregs.cr2 == 0xabcdef, "cr2", NULL);
	rig_must(b->sregs.fs.base == 0x5000, "fs", NULL);
	rig_must(b->sregs.idt.limit == 0x123, "idt", NULL);
	rig_must(b->debug.db[2] == 0x4321, "debug", NULL);
	rig_must(b->xsave[40] == 0x5a, "x87", NULL);
	rig_must(b->events.nmi.masked == 1, "NMI masked", NULL);
	rig_must(b->events.nmi.pending == 1, "NMI pending", NULL);
	rig_must(b->events.interrupt.injected == 1, "interrupt", NULL);
	rig_must(b->events.interrupt.nr == 0x99, "its vector", NULL);
	rig_must(b->mp.mp_state == KVM_MP_STATE_HALTED, "HLT", NULL);
	rig_must(b->lapic.regs[0x80] == 0x20, "priority", NULL);
	rig_must(b->lapic.regs[0x320] == 0x77, "timer", NULL);
	rig_must(msr_of(b, MSR_LSTAR)->value == 0x7fff12345678, "LSTAR", NULL);
	rig_must(msr_of(b, MSR_MTRR_DEF)->value == 0xc06, "MTRR", NULL);
}

int main(void)
{
	struct vcpu_image a, b;
	struct one from, to;
	struct err err;

	make(&from);
	make(&to);
	rig_must(vcpu_image_init(&a, &err) == 0, "image", &err);
	rig_must(vcpu_image_init(&b, &err) == 0, "image", &err);
	rig_must(vcpu_image_read(&a, &from.vm, &from.vcpu, &err) == 0, "read",
		 &err);
	change(&a);
	rig_must(vcpu_image_write(&a, &to.vm, &to.vcpu, &err) == 0, "write",
		 &err);
	rig_must(vcpu_image_read(&b, &to.vm, &to.vcpu, &err) == 0, "read",
		 &err);
	check(&a, &b);
	/* What a host can't set is told by its number. */
	msr_of(&a, MSR_LSTAR)->index = 0x12345678;
	rig_must(vcpu_image_write(&a, &to.vm, &to.vcpu, &err) == -EOPNOTSUPP,
		 "an MSR that nobody has was set", NULL);
	rig_must(strstr(err.text, "MSR 0x12345678") != NULL, err.text, NULL);
	vcpu_image_release(&a);
	vcpu_image_release(&b);
	drop(&from);
	drop(&to);
	puts("a vCPU in another VM is the same");
	return 0;
}
