/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a restore is what KVM's own dependencies ask for: CPUID decides
 * which registers there are, the mode (sregs) how the rest is understood, the
 * LAPIC which of its timers runs, and the deadline of that timer is compared
 * with a TSC that must be right by then. Events come after all that could
 * make some.
 *
 * MSRs are those that KVM lists, and the memory types and machine-check banks,
 * which it keeps and does not list.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm-agent/vm/vcpu_kvm.h"

#define MSR_TSC             0x10u
#define MSR_FEATURE_CONTROL 0x3au
#define MSR_MICROCODE       0x8bu
#define MSR_PLATFORM_INFO   0xceu
#define MSR_ARCHITECTURE    0x10au
#define MSR_MISC_ENABLE     0x1a0u
#define MSR_MTRR_BASE       0x200u
#define MSR_MTRR_COUNT      16u
#define MSR_PERF_FEATURES   0x345u
#define MSR_BANKS           0x400u
#define MSR_BANKS_COUNT     128u
#define MSR_TSC_DEADLINE    0x6e0u
#define MSR_ASYNC_PF_ENABLE 0x4b564d02u
#define MSR_ASYNC_PF_VECTOR 0x4b564d06u

/* A difference that a guest's clock does not notice: KVM's own tolerance. */
#define TSC_TOLERANCE_PPM 250u

static const uint32_t fixed_mtrrs[] = {
	0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
	0x26b, 0x26c, 0x26d, 0x26e, 0x26f, 0x2ff,
};

int vcpu_image_init(struct vcpu_image *image, struct err *err)
{
	int r;

	*image = (struct vcpu_image){ 0 };
	r = alloc_array(&image->cpuid, 1,
			sizeof(*image->cpuid) +
				CPUID_ENTRIES_MAX *
					sizeof(image->cpuid->entries[0]),
			err);
	if (r == 0)
		r = alloc_array(&image->msrs, VCPU_MSRS_MAX,
				sizeof(image->msrs[0]), err);
	if (r == 0)
		r = alloc_array(&image->xsave, VCPU_XSAVE_MAX, 1, err);
	if (r < 0)
		vcpu_image_release(image);
	return r;
}

void vcpu_image_release(struct vcpu_image *image)
{
	/* A guest's registers may hold its keys. */
	if (image->xsave)
		wipe(image->xsave, VCPU_XSAVE_MAX);
	if (image->msrs)
		wipe(image->msrs, VCPU_MSRS_MAX * sizeof(image->msrs[0]));
	free(image->xsave);
	free(image->msrs);
	free(image->cpuid);
	wipe(image, sizeof(*image));
}

/* ---- MSRs ---- */

union msr_buffer {
	struct kvm_msrs head;
	uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

/* One by one: what is refused is known by its number. */
static bool read_msr(int fd, uint32_t index, uint64_t *value)
{
	union msr_buffer buffer = { .head.nmsrs = 1 };

	buffer.head.entries[0] = (struct kvm_msr_entry){ .index = index };
	if (ioctl(fd, KVM_GET_MSRS, &buffer) != 1)
		return false;
	*value = buffer.head.entries[0].data;
	return true;
}

static bool write_msr(int fd, uint32_t index, uint64_t value)
{
	union msr_buffer buffer = { .head.nmsrs = 1 };

	buffer.head.entries[0] =
		(struct kvm_msr_entry){ .index = index, .data = value };
	return ioctl(fd, KVM_SET_MSRS, &buffer) == 1;
}

int vcpu_set_features(const struct vcpu *vcpu, uint64_t capabilities,
		      struct err *err)
{
	const struct vcpu_msr wanted[] = {
		{ MSR_ARCHITECTURE, capabilities },
		{ MSR_PERF_FEATURES, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		uint64_t has = 0;

		/* What isn't there is 0. */
		if (write_msr(vcpu->fd, wanted[i].index, wanted[i].value) ||
		    (!read_msr(vcpu->fd, wanted[i].index, &has) &&
		     !wanted[i].value) ||
		    has == wanted[i].value)
			continue;
		return err_set(err, -EOPNOTSUPP,
			       "this host's KVM does not set MSR 0x%x to "
			       "0x%" PRIx64 ", as --cpu has it",
			       wanted[i].index, wanted[i].value);
	}
	return 0;
}

static void add_msr(struct vcpu_image *image, int fd, uint32_t index)
{
	uint64_t value;

	for (uint32_t i = 0; i < image->msr_count; i++) {
		if (image->msrs[i].index == index)
			return;
	}
	/* Not there on this host, for this guest: nothing to save. */
	if (image->msr_count == VCPU_MSRS_MAX || !read_msr(fd, index, &value))
		return;
	image->msrs[image->msr_count++] = (struct vcpu_msr){ index, value };
}

static int read_msrs(struct vcpu_image *image, const struct vm *vm, int fd,
		     struct err *err)
{
	autofree struct kvm_msr_list *list = NULL;
	int r = alloc_array(
		&list, 1,
		sizeof(*list) + VCPU_MSRS_MAX * sizeof(list->indices[0]), err);

	if (r < 0)
		return r;
	list->nmsrs = VCPU_MSRS_MAX;
	if (ioctl(vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0)
		return err_sys(err, -errno, "KVM_GET_MSR_INDEX_LIST");
	image->msr_count = 0;
	for (uint32_t i = 0; i < list->nmsrs; i++)
		add_msr(image, fd, list->indices[i]);
	for (uint32_t i = 0; i < MSR_MTRR_COUNT; i++)
		add_msr(image, fd, MSR_MTRR_BASE + i);
	for (size_t i = 0; i < ARRAY_SIZE(fixed_mtrrs); i++)
		add_msr(image, fd, fixed_mtrrs[i]);
	for (uint32_t i = 0; i < MSR_BANKS_COUNT; i++)
		add_msr(image, fd, MSR_BANKS + i);
	return 0;
}

/* When it is set: before the mode, with the others, or behind what it needs. */
enum msr_turn {
	TURN_EARLY,
	TURN_NORMAL,
	TURN_LATE,
};

static enum msr_turn turn_of(uint32_t index)
{
	switch (index) {
	case MSR_FEATURE_CONTROL:
	case MSR_MICROCODE:
	case MSR_PLATFORM_INFO:
	case MSR_ARCHITECTURE:
	case MSR_MISC_ENABLE:
	case MSR_PERF_FEATURES:
		return TURN_EARLY;
	case MSR_TSC_DEADLINE:    /* behind TSC and LAPIC */
	case MSR_ASYNC_PF_ENABLE: /* behind its vector */
		return TURN_LATE;
	default:
		return TURN_NORMAL;
	}
}

static int write_msrs(const struct vcpu_image *image, int fd,
		      enum msr_turn turn, struct err *err)
{
	for (uint32_t i = 0; i < image->msr_count; i++) {
		const struct vcpu_msr *msr = &image->msrs[i];
		uint64_t fresh;

		if (turn_of(msr->index) != turn ||
		    write_msr(fd, msr->index, msr->value))
			continue;
		/* Some that KVM lists it can't set, as its own host's. */
		if (read_msr(fd, msr->index, &fresh) && fresh == msr->value)
			continue;
		return err_set(err, -EOPNOTSUPP,
			       "this host's KVM does not set MSR 0x%x to "
			       "0x%" PRIx64 ", as it was",
			       msr->index, msr->value);
	}
	return 0;
}

/* ---- out of KVM ---- */

static void read_cpuid(struct vcpu_image *image, const struct vcpu *vcpu)
{
	image->cpuid->nent = vcpu->cpuid->nent;
	memcpy(image->cpuid->entries, vcpu->cpuid->entries,
	       vcpu->cpuid->nent * sizeof(vcpu->cpuid->entries[0]));
}

static int read_sregs(struct vcpu_image *image, const struct vm *vm, int fd,
		      struct err *err)
{
	struct kvm_sregs sregs;

	if (vm_capability(vm, KVM_CAP_SREGS2)) {
		if (ioctl(fd, KVM_GET_SREGS2, &image->sregs) < 0)
			return err_sys(err, -errno, "KVM_GET_SREGS2");
		return 0;
	}
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return err_sys(err, -errno, "KVM_GET_SREGS");
	/* The same up to there; what is pending is in the events too. */
	image->sregs = (struct kvm_sregs2){ 0 };
	memcpy(&image->sregs, &sregs, offsetof(struct kvm_sregs2, flags));
	return 0;
}

static int read_xsave(struct vcpu_image *image, const struct vm *vm, int fd,
		      struct err *err)
{
	bool large = vm->xsave_bytes > sizeof(struct kvm_xsave);

	if (vm->xsave_bytes > VCPU_XSAVE_MAX)
		return err_set(err, -EOPNOTSUPP,
			       "extended state of %zu bytes: %u at most",
			       vm->xsave_bytes, VCPU_XSAVE_MAX);
	image->xsave_bytes = (uint32_t)vm->xsave_bytes;
	if (ioctl(fd, large ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, image->xsave) < 0)
		return err_sys(err, -errno, "KVM_GET_XSAVE");
	return 0;
}

static int read_simple(struct vcpu_image *image, int fd, struct err *err)
{
	int khz;

	if (ioctl(fd, KVM_GET_MP_STATE, &image->mp) < 0)
		return err_sys(err, -errno, "KVM_GET_MP_STATE");
	if (ioctl(fd, KVM_GET_REGS, &image->regs) < 0)
		return err_sys(err, -errno, "KVM_GET_REGS");
	if (ioctl(fd, KVM_GET_XCRS, &image->xcrs) < 0)
		return err_sys(err, -errno, "KVM_GET_XCRS");
	if (ioctl(fd, KVM_GET_DEBUGREGS, &image->debug) < 0)
		return err_sys(err, -errno, "KVM_GET_DEBUGREGS");
	if (ioctl(fd, KVM_GET_LAPIC, &image->lapic) < 0)
		return err_sys(err, -errno, "KVM_GET_LAPIC");
	khz = ioctl(fd, KVM_GET_TSC_KHZ, 0);
	if (khz < 0)
		return err_sys(err, -errno, "KVM_GET_TSC_KHZ");
	image->tsc_khz = (uint32_t)khz;
	return 0;
}

int vcpu_image_read(struct vcpu_image *image, const struct vm *vm,
		    const struct vcpu *vcpu, struct err *err)
{
	int fd = vcpu->fd, r;

	/* MP state first: KVM takes in what is pending (INIT, SIPI) there. */
	r = read_simple(image, fd, err);
	read_cpuid(image, vcpu);
	if (r == 0)
		r = read_sregs(image, vm, fd, err);
	if (r == 0)
		r = read_xsave(image, vm, fd, err);
	if (r == 0)
		r = read_msrs(image, vm, fd, err);
	if (r < 0)
		return r;
	if (ioctl(fd, KVM_GET_VCPU_EVENTS, &image->events) < 0)
		return err_sys(err, -errno, "KVM_GET_VCPU_EVENTS");
	return 0;
}

/* ---- into KVM ---- */

static int write_tsc_rate(const struct vcpu_image *image, const struct vm *vm,
			  int fd, struct err *err)
{
	int khz = ioctl(fd, KVM_GET_TSC_KHZ, 0);
	uint64_t here = khz < 0 ? 0 : (uint64_t)khz, off;

	if (image->tsc_khz == here)
		return 0;
	if (vm_capability(vm, KVM_CAP_TSC_CONTROL) &&
	    ioctl(fd, KVM_SET_TSC_KHZ, (unsigned long)image->tsc_khz) == 0)
		return 0;
	off = image->tsc_khz > here ? image->tsc_khz - here
				    : here - image->tsc_khz;
	if (off * 1000000 <= here * TSC_TOLERANCE_PPM)
		return 0;
	return err_set(err, -EOPNOTSUPP,
		       "the TSC ran at %u kHz, and this host's runs at %" PRIu64
		       " and can't be scaled",
		       image->tsc_khz, here);
}

static int write_sregs(const struct vcpu_image *image, const struct vm *vm,
		       int fd, struct err *err)
{
	struct kvm_sregs2 sregs2 = image->sregs;
	struct kvm_sregs sregs = { 0 };

	if (vm_capability(vm, KVM_CAP_SREGS2)) {
		if (ioctl(fd, KVM_SET_SREGS2, &sregs2) < 0)
			return err_sys(err, -errno, "KVM_SET_SREGS2");
		return 0;
	}
	memcpy(&sregs, &sregs2, offsetof(struct kvm_sregs2, flags));
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0)
		return err_sys(err, -errno, "KVM_SET_SREGS");
	return 0;
}

static int write_xsave(const struct vcpu_image *image, const struct vm *vm,
		       int fd, struct err *err)
{
	if (vm->xsave_bytes > VCPU_XSAVE_MAX ||
	    (image->xsave_bytes > vm->xsave_bytes &&
	     !bytes_are_zero(image->xsave + vm->xsave_bytes,
			     image->xsave_bytes - vm->xsave_bytes)))
		return err_set(err, -EOPNOTSUPP,
			       "extended state of %u bytes, and this host's "
			       "KVM has %zu",
			       image->xsave_bytes, vm->xsave_bytes);
	if (ioctl(fd, KVM_SET_XSAVE, image->xsave) < 0)
		return err_sys(err, -errno, "KVM_SET_XSAVE");
	return 0;
}

static int write_mode(const struct vcpu_image *image, const struct vm *vm,
		      struct vcpu *vcpu, struct err *err)
{
	int fd = vcpu->fd, r = vcpu_set_cpuid(vcpu, image->cpuid, err);

	if (r == 0)
		r = write_tsc_rate(image, vm, fd, err);
	if (r == 0)
		r = write_msrs(image, fd, TURN_EARLY, err);
	if (r == 0)
		r = write_sregs(image, vm, fd, err);
	if (r < 0)
		return r;
	if (ioctl(fd, KVM_SET_XCRS, &image->xcrs) < 0)
		return err_sys(err, -errno, "KVM_SET_XCRS");
	return write_xsave(image, vm, fd, err);
}

static int write_events(const struct vcpu_image *image, int fd, struct err *err)
{
	struct kvm_vcpu_events events = image->events;

	/* KVM gives this one and does not say that it is valid. */
	if (image->mp.mp_state == KVM_MP_STATE_SIPI_RECEIVED)
		events.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	if (ioctl(fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return err_sys(err, -errno, "KVM_SET_VCPU_EVENTS");
	if (ioctl(fd, KVM_SET_MP_STATE, &image->mp) < 0)
		return err_sys(err, -errno, "KVM_SET_MP_STATE");
	return 0;
}

int vcpu_image_write(const struct vcpu_image *image, const struct vm *vm,
		     struct vcpu *vcpu, struct err *err)
{
	int fd = vcpu->fd, r = write_mode(image, vm, vcpu, err);

	if (r < 0)
		return r;
	if (ioctl(fd, KVM_SET_REGS, &image->regs) < 0)
		return err_sys(err, -errno, "KVM_SET_REGS");
	if (ioctl(fd, KVM_SET_DEBUGREGS, &image->debug) < 0)
		return err_sys(err, -errno, "KVM_SET_DEBUGREGS");
	if (ioctl(fd, KVM_SET_LAPIC, &image->lapic) < 0)
		return err_sys(err, -errno, "KVM_SET_LAPIC");
	r = write_msrs(image, fd, TURN_NORMAL, err);
	if (r == 0)
		r = write_msrs(image, fd, TURN_LATE, err);
	return r == 0 ? write_events(image, fd, err) : r;
}
