/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chips' registers are those of their data sheets, as KVM gives them. The
 * clock is what guests see as kvmclock: it goes on from where it stood, and
 * the time between is not in it. When a count of the PIT began is a time of
 * that host's boot, and means nothing elsewhere: it begins anew.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm-agent/state/fields.h"
#include "kvm-agent/vm/vm_state.h"

#define PIC_VERSION    1u
#define IOAPIC_VERSION 1u
#define PIT_VERSION    1u
#define CLOCK_VERSION  1u

/* Also KVM's, and not in every header. */
#define CLOCK_STABLE 2u

static void pic_fields(struct fields *fields, struct kvm_pic_state *pic)
{
	field_u8(fields, &pic->last_irr);
	field_u8(fields, &pic->irr);
	field_u8(fields, &pic->imr);
	field_u8(fields, &pic->isr);
	field_u8(fields, &pic->priority_add);
	field_u8(fields, &pic->irq_base);
	field_u8(fields, &pic->read_reg_select);
	field_u8(fields, &pic->poll);
	field_u8(fields, &pic->special_mask);
	field_u8(fields, &pic->init_state);
	field_u8(fields, &pic->auto_eoi);
	field_u8(fields, &pic->rotate_on_auto_eoi);
	field_u8(fields, &pic->special_fully_nested_mode);
	field_u8(fields, &pic->init4);
	field_u8(fields, &pic->elcr);
	field_u8(fields, &pic->elcr_mask);
}

static void ioapic_fields(struct fields *fields,
			  struct kvm_ioapic_state *ioapic)
{
	field_u64(fields, &ioapic->base_address);
	field_u32(fields, &ioapic->ioregsel);
	field_u32(fields, &ioapic->id);
	field_u32(fields, &ioapic->irr);
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
		unsigned long long bits = ioapic->redirtbl[i].bits;

		field_u64(fields, &bits);
		ioapic->redirtbl[i].bits = bits;
	}
}

static void channel_fields(struct fields *fields,
			   struct kvm_pit_channel_state *channel)
{
	field_u32(fields, &channel->count);
	field_u16(fields, &channel->latched_count);
	field_u8(fields, &channel->count_latched);
	field_u8(fields, &channel->status_latched);
	field_u8(fields, &channel->status);
	field_u8(fields, &channel->read_state);
	field_u8(fields, &channel->write_state);
	field_u8(fields, &channel->write_latch);
	field_u8(fields, &channel->rw_mode);
	field_u8(fields, &channel->mode);
	field_u8(fields, &channel->bcd);
	field_u8(fields, &channel->gate);
}

static void pit_fields(struct fields *fields, struct kvm_pit_state2 *pit)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pit->channels); i++)
		channel_fields(fields, &pit->channels[i]);
	field_u32(fields, &pit->flags);
}

/* ---- out of KVM ---- */

static int get_chip(const struct vm *vm, uint32_t id, struct kvm_irqchip *chip,
		    struct err *err)
{
	*chip = (struct kvm_irqchip){ .chip_id = id };
	if (ioctl(vm->fd, KVM_GET_IRQCHIP, chip) < 0)
		return err_sys(err, -errno, "KVM_GET_IRQCHIP %u", id);
	return 0;
}

static int save_chips(const struct vm *vm, struct state_writer *out,
		      struct err *err)
{
	struct fields fields = { .out = out };
	struct kvm_irqchip chip;
	int r;

	for (uint32_t i = KVM_IRQCHIP_PIC_MASTER; i <= KVM_IRQCHIP_PIC_SLAVE;
	     i++) {
		r = get_chip(vm, i, &chip, err);
		if (r < 0)
			return r;
		section_begin(out, "pic", i, PIC_VERSION);
		pic_fields(&fields, &chip.chip.pic);
		section_end(out);
	}
	r = get_chip(vm, KVM_IRQCHIP_IOAPIC, &chip, err);
	if (r < 0)
		return r;
	section_begin(out, "ioapic", 0, IOAPIC_VERSION);
	ioapic_fields(&fields, &chip.chip.ioapic);
	section_end(out);
	return 0;
}

int vm_state_save(const struct vm *vm, struct state_writer *out,
		  struct err *err)
{
	struct fields fields = { .out = out };
	struct kvm_pit_state2 pit = { 0 };
	struct kvm_clock_data clock = { 0 };
	int r = save_chips(vm, out, err);

	if (r < 0)
		return r;
	if (ioctl(vm->fd, KVM_GET_PIT2, &pit) < 0)
		return err_sys(err, -errno, "KVM_GET_PIT2");
	if (ioctl(vm->fd, KVM_GET_CLOCK, &clock) < 0)
		return err_sys(err, -errno, "KVM_GET_CLOCK");
	section_begin(out, "pit", 0, PIT_VERSION);
	pit_fields(&fields, &pit);
	section_end(out);
	section_begin(out, "clock", 0, CLOCK_VERSION);
	section_put_u64(out, clock.clock);
	section_put_u8(out, clock.flags & CLOCK_STABLE ? 1 : 0);
	section_end(out);
	return 0;
}

/* ---- into KVM ---- */

struct chips {
	struct kvm_irqchip pics[2], ioapic;
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock;
};

static int parse_chips(struct chips *chips, const struct state *state,
		       struct err *err)
{
	struct section_reader in;
	struct fields fields = { .in = &in };
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < ARRAY_SIZE(chips->pics); i++) {
		r = state_find(state, "pic", i, PIC_VERSION, &in, err);
		if (r < 0)
			return r;
		chips->pics[i].chip_id = i;
		pic_fields(&fields, &chips->pics[i].chip.pic);
		r = section_done(&in, err);
	}
	if (r == 0)
		r = state_find(state, "ioapic", 0, IOAPIC_VERSION, &in, err);
	if (r < 0)
		return r;
	chips->ioapic.chip_id = KVM_IRQCHIP_IOAPIC;
	ioapic_fields(&fields, &chips->ioapic.chip.ioapic);
	return section_done(&in, err);
}

static int parse_times(struct chips *chips, const struct state *state,
		       struct err *err)
{
	struct section_reader in;
	struct fields fields = { .in = &in };
	uint8_t stable;
	int r = state_find(state, "pit", 0, PIT_VERSION, &in, err);

	if (r < 0)
		return r;
	pit_fields(&fields, &chips->pit);
	r = section_done(&in, err);
	if (r == 0)
		r = state_find(state, "clock", 0, CLOCK_VERSION, &in, err);
	if (r < 0)
		return r;
	chips->clock.clock = section_get_u64(&in);
	stable = section_get_u8(&in);
	r = section_done(&in, err);
	if (r == 0 && stable > 1)
		r = err_set(err, -EBADMSG, "a saved clock is damaged");
	return r;
}

int vm_state_restore(const struct vm *vm, const struct state *state,
		     struct err *err)
{
	struct chips chips = { 0 };
	int r = parse_chips(&chips, state, err);

	if (r == 0)
		r = parse_times(&chips, state, err);
	if (r < 0)
		return r;
	if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chips.pics[0]) < 0 ||
	    ioctl(vm->fd, KVM_SET_IRQCHIP, &chips.pics[1]) < 0 ||
	    ioctl(vm->fd, KVM_SET_IRQCHIP, &chips.ioapic) < 0)
		return err_sys(err, -errno, "KVM_SET_IRQCHIP");
	if (ioctl(vm->fd, KVM_SET_PIT2, &chips.pit) < 0)
		return err_sys(err, -errno, "KVM_SET_PIT2");
	if (ioctl(vm->fd, KVM_SET_CLOCK, &chips.clock) < 0)
		return err_sys(err, -errno, "KVM_SET_CLOCK");
	return 0;
}
