/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field by field, so that no structure of a kernel's version is ever written.
 * What is checked here is what this program could trip over: counts and sizes.
 * Which values a processor can have is KVM's to judge.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/state/fields.h"
#include "kvm-agent/vm/vcpu_state.h"

#define VCPU_VERSION     1u
#define XSAVE_MINIMUM    576u /* its legacy part and its header */
#define LAPIC_REGISTERS  64u  /* of 32 bits, 16 bytes apart */
#define EVENT_FLAGS      0x3fu
#define CPUID_INDEX_FLAG KVM_CPUID_FLAG_SIGNIFCANT_INDEX

static int damaged(const char *what, struct err *err)
{
	return err_set(err, -EBADMSG, "a saved vCPU is damaged: its %s", what);
}

/* False: one is impossible. */
static bool cpuid_fields(struct fields *fields, struct vcpu_image *image)
{
	struct kvm_cpuid2 *cpuid = image->cpuid;
	bool good = true;

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		uint8_t indexed = entry->flags & CPUID_INDEX_FLAG ? 1 : 0;

		field_u32(fields, &entry->function);
		field_u32(fields, &entry->index);
		field_u8(fields, &indexed);
		field_u32(fields, &entry->eax);
		field_u32(fields, &entry->ebx);
		field_u32(fields, &entry->ecx);
		field_u32(fields, &entry->edx);
		entry->flags = indexed ? CPUID_INDEX_FLAG : 0;
		good &= indexed <= 1;
	}
	return good;
}

static void regs_fields(struct fields *fields, struct kvm_regs *regs)
{
	field_u64(fields, &regs->rax);
	field_u64(fields, &regs->rbx);
	field_u64(fields, &regs->rcx);
	field_u64(fields, &regs->rdx);
	field_u64(fields, &regs->rsi);
	field_u64(fields, &regs->rdi);
	field_u64(fields, &regs->rsp);
	field_u64(fields, &regs->rbp);
	field_u64(fields, &regs->r8);
	field_u64(fields, &regs->r9);
	field_u64(fields, &regs->r10);
	field_u64(fields, &regs->r11);
	field_u64(fields, &regs->r12);
	field_u64(fields, &regs->r13);
	field_u64(fields, &regs->r14);
	field_u64(fields, &regs->r15);
	field_u64(fields, &regs->rip);
	field_u64(fields, &regs->rflags);
}

static void segment_fields(struct fields *fields, struct kvm_segment *segment)
{
	field_u64(fields, &segment->base);
	field_u32(fields, &segment->limit);
	field_u16(fields, &segment->selector);
	field_u8(fields, &segment->type);
	field_u8(fields, &segment->present);
	field_u8(fields, &segment->dpl);
	field_u8(fields, &segment->db);
	field_u8(fields, &segment->s);
	field_u8(fields, &segment->l);
	field_u8(fields, &segment->g);
	field_u8(fields, &segment->avl);
	field_u8(fields, &segment->unusable);
}

static void table_fields(struct fields *fields, struct kvm_dtable *table)
{
	field_u64(fields, &table->base);
	field_u16(fields, &table->limit);
}

static void sregs_fields(struct fields *fields, struct kvm_sregs2 *sregs)
{
	segment_fields(fields, &sregs->cs);
	segment_fields(fields, &sregs->ds);
	segment_fields(fields, &sregs->es);
	segment_fields(fields, &sregs->fs);
	segment_fields(fields, &sregs->gs);
	segment_fields(fields, &sregs->ss);
	segment_fields(fields, &sregs->tr);
	segment_fields(fields, &sregs->ldt);
	table_fields(fields, &sregs->gdt);
	table_fields(fields, &sregs->idt);
	field_u64(fields, &sregs->cr0);
	field_u64(fields, &sregs->cr2);
	field_u64(fields, &sregs->cr3);
	field_u64(fields, &sregs->cr4);
	field_u64(fields, &sregs->cr8);
	field_u64(fields, &sregs->efer);
	field_u64(fields, &sregs->apic_base);
	field_u64(fields, &sregs->flags);
	for (unsigned i = 0; i < ARRAY_SIZE(sregs->pdptrs); i++)
		field_u64(fields, &sregs->pdptrs[i]);
}

static void debug_fields(struct fields *fields, struct kvm_debugregs *debug)
{
	for (unsigned i = 0; i < ARRAY_SIZE(debug->db); i++)
		field_u64(fields, &debug->db[i]);
	field_u64(fields, &debug->dr6);
	field_u64(fields, &debug->dr7);
}

static void lapic_fields(struct fields *fields, struct kvm_lapic_state *lapic)
{
	for (unsigned i = 0; i < LAPIC_REGISTERS; i++) {
		uint32_t value;

		memcpy(&value, lapic->regs + 16 * i, sizeof(value));
		field_u32(fields, &value);
		memcpy(lapic->regs + 16 * i, &value, sizeof(value));
	}
}

static void events_fields(struct fields *fields, struct kvm_vcpu_events *events)
{
	field_u32(fields, &events->flags);
	field_u8(fields, &events->exception.injected);
	field_u8(fields, &events->exception.pending);
	field_u8(fields, &events->exception.nr);
	field_u8(fields, &events->exception.has_error_code);
	field_u32(fields, &events->exception.error_code);
	field_u8(fields, &events->exception_has_payload);
	field_u64(fields, &events->exception_payload);
	field_u8(fields, &events->interrupt.injected);
	field_u8(fields, &events->interrupt.nr);
	field_u8(fields, &events->interrupt.soft);
	field_u8(fields, &events->interrupt.shadow);
	field_u8(fields, &events->nmi.injected);
	field_u8(fields, &events->nmi.pending);
	field_u8(fields, &events->nmi.masked);
	field_u32(fields, &events->sipi_vector);
	field_u8(fields, &events->smi.smm);
	field_u8(fields, &events->smi.pending);
	field_u8(fields, &events->smi.smm_inside_nmi);
	field_u8(fields, &events->smi.latched_init);
	field_u8(fields, &events->triple_fault.pending);
}

static void xcrs_fields(struct fields *fields, struct kvm_xcrs *xcrs)
{
	for (uint32_t i = 0; i < xcrs->nr_xcrs; i++) {
		field_u32(fields, &xcrs->xcrs[i].xcr);
		field_u64(fields, &xcrs->xcrs[i].value);
	}
}

static void msrs_fields(struct fields *fields, struct vcpu_image *image)
{
	for (uint32_t i = 0; i < image->msr_count; i++) {
		unsigned long long value = image->msrs[i].value;

		field_u32(fields, &image->msrs[i].index);
		field_u64(fields, &value);
		image->msrs[i].value = value;
	}
}

/* All of them, in order; each count is checked before it is used. */
static int all_fields(struct fields *fields, struct vcpu_image *image,
		      struct err *err)
{
	field_u32(fields, &image->cpuid->nent);
	if (image->cpuid->nent > CPUID_ENTRIES_MAX ||
	    !cpuid_fields(fields, image))
		return damaged("CPUID", err);
	field_u32(fields, &image->tsc_khz);
	field_u32(fields, &image->mp.mp_state);
	regs_fields(fields, &image->regs);
	sregs_fields(fields, &image->sregs);
	debug_fields(fields, &image->debug);
	field_u32(fields, &image->xcrs.nr_xcrs);
	if (image->xcrs.nr_xcrs > KVM_MAX_XCRS)
		return damaged("XCRs", err);
	xcrs_fields(fields, &image->xcrs);
	field_u32(fields, &image->xsave_bytes);
	if (image->xsave_bytes < XSAVE_MINIMUM ||
	    image->xsave_bytes > VCPU_XSAVE_MAX)
		return damaged("extended state", err);
	field_bytes(fields, image->xsave, image->xsave_bytes);
	lapic_fields(fields, &image->lapic);
	events_fields(fields, &image->events);
	field_u32(fields, &image->msr_count);
	if (image->msr_count > VCPU_MSRS_MAX)
		return damaged("MSRs", err);
	msrs_fields(fields, image);
	return 0;
}

static int check(const struct vcpu_image *image, struct err *err)
{
	if (image->mp.mp_state > KVM_MP_STATE_SIPI_RECEIVED)
		return damaged("state of running", err);
	if (image->events.flags & ~EVENT_FLAGS)
		return damaged("events", err);
	if (!image->tsc_khz)
		return damaged("clock rate", err);
	return 0;
}

void vcpu_state_put(struct vcpu_image *image, unsigned index,
		    struct state_writer *out)
{
	struct fields fields = { .out = out };

	section_begin(out, VCPU_SECTION, index, VCPU_VERSION);
	(void)all_fields(&fields, image, NULL);
	section_end(out);
}

int vcpu_state_get(struct vcpu_image *image, unsigned index,
		   const struct state *state, struct err *err)
{
	struct section_reader in;
	struct fields fields = { .in = &in };
	int r;

	r = state_find(state, VCPU_SECTION, index, VCPU_VERSION, &in, err);
	if (r == 0)
		r = all_fields(&fields, image, err);
	if (r == 0)
		r = section_done(&in, err);
	return r == 0 ? check(image, err) : r;
}
