/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is set up once for a VM. Each capability that the agent relies on is
 * asked for by name before anything is made, so that an old kernel is told of
 * in words and not by some call that fails later, with a guest in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm-agent/vm/layout.h"
#include "kvm-agent/vm/vm.h"

#define KVM_DEVICE    "/dev/kvm"
#define XSAVE_MINIMUM 4096

static const struct {
	unsigned number;
	const char *name;
} needed[] = {
	{ KVM_CAP_IRQCHIP, "IRQCHIP" },
	{ KVM_CAP_USER_MEMORY, "USER_MEMORY" },
	{ KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_EXT_CPUID, "EXT_CPUID" },
	{ KVM_CAP_PIT2, "PIT2" },
	{ KVM_CAP_PIT_STATE2, "PIT_STATE2" },
	{ KVM_CAP_MP_STATE, "MP_STATE" },
	{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT" },
	{ KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING" },
	{ KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI" },
	{ KVM_CAP_IOEVENTFD, "IOEVENTFD" },
	{ KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS" },
	{ KVM_CAP_DEBUGREGS, "DEBUGREGS" },
	{ KVM_CAP_XSAVE, "XSAVE" },
	{ KVM_CAP_XCRS, "XCRS" },
	{ KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK" },
	{ KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ" },
};

int vm_capability(const struct vm *vm, unsigned capability)
{
	int fd = vm->fd >= 0 ? vm->fd : vm->kvm_fd;
	int value = ioctl(fd, KVM_CHECK_EXTENSION, capability);

	return value > 0 ? value : 0;
}

static int open_kvm(struct vm *vm, struct err *err)
{
	vm->kvm_fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd >= 0)
		return 0;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return err_set(err, -ENODEV,
			       "this host has no " KVM_DEVICE
			       ": switch virtualization on in its firmware, "
			       "and load the module kvm_intel or kvm_amd");
	case EACCES:
	case EPERM:
		return err_set(err, -EACCES,
			       "no right to open " KVM_DEVICE
			       ": add this user to its group (kvm)");
	default:
		return err_sys(err, -errno, "open " KVM_DEVICE);
	}
}

static int check_kvm(struct vm *vm, struct err *err)
{
	int version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	int size;

	if (version != KVM_API_VERSION)
		return err_set(err, -EOPNOTSUPP,
			       KVM_DEVICE " has version %d of its interface "
					  "and not %d: it is no KVM of Linux",
			       version, KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (!vm_capability(vm, needed[i].number))
			return err_set(err, -EOPNOTSUPP,
				       "the KVM of this host lacks %s: use a "
				       "kernel of 6.1 or later",
				       needed[i].name);
	}
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(err, -EOPNOTSUPP,
			       KVM_DEVICE " shares %d bytes a vCPU, too few",
			       size);
	vm->run_bytes = (size_t)size;
	return 0;
}

/* What to do about it; the kernel's own words stand in front. */
static const char *remedy(int code)
{
	switch (code) {
	case -ENOMEM:
		return "this host is out of memory; end something else";
	case -EBUSY:
		return "something else has the processor's virtualization; end "
		       "it (VirtualBox, VMware)";
	case -EPERM:
	case -EACCES:
		return "a rule of this host forbids it; see what confines this "
		       "user (a container's seccomp, SELinux, AppArmor)";
	case -EMFILE:
	case -ENFILE:
		return "too many files are open; end something else, or raise "
		       "the limit";
	default:
		return "see the kernel's log (dmesg)";
	}
}

/* Whatever it says, it is this host that can't. */
static int create_vm(struct vm *vm, struct err *err)
{
	int code;

	/* The kernel gives up a creation at a signal, whoever it is for. */
	do {
		vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd >= 0)
		return 0;
	code = -errno;
	return err_set(err, -EOPNOTSUPP, "KVM makes no virtual machine: %s: %s",
		       strerror(-code), remedy(code));
}

/* The next route is from a wire to a pin of a chip. */
static void add_route(struct kvm_irq_routing *table, unsigned gsi,
		      unsigned chip, unsigned pin)
{
	table->entries[table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

/* As a PC is wired: the PIT is at pin 2 of the IOAPIC, where the second PIC
 * would be. KVM's own table has it at pin 0. */
static int set_routes(struct vm *vm, struct err *err)
{
	autofree struct kvm_irq_routing *table = NULL;
	int r;

	r = alloc_array(&table, 1,
			sizeof(*table) + 2ull * LAYOUT_IRQ_COUNT *
						 sizeof(table->entries[0]),
			err);
	if (r < 0)
		return r;
	for (unsigned gsi = 0; gsi < LAYOUT_IRQ_COUNT; gsi++) {
		if (gsi == LAYOUT_PIT_PIN)
			continue;
		if (gsi < 8)
			add_route(table, gsi, KVM_IRQCHIP_PIC_MASTER, gsi);
		else if (gsi < 16)
			add_route(table, gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - 8);
		add_route(table, gsi, KVM_IRQCHIP_IOAPIC,
			  gsi == LAYOUT_IRQ_PIT ? LAYOUT_PIT_PIN : gsi);
	}
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0)
		return err_sys(err, -errno, "KVM_SET_GSI_ROUTING");
	return 0;
}

static int create_board(struct vm *vm, struct err *err)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity_map = LAYOUT_KVM_IDENTITY;

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
		return err_sys(err, -errno, "KVM_SET_IDENTITY_MAP_ADDR");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, LAYOUT_KVM_TSS) < 0)
		return err_sys(err, -errno, "KVM_SET_TSS_ADDR");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(err, -errno, "KVM_CREATE_IRQCHIP");
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return err_sys(err, -errno, "KVM_CREATE_PIT2");
	return set_routes(vm, err);
}

static void set_line(struct interrupts *interrupts, unsigned gsi, bool level)
{
	struct vm *vm = container_of(interrupts, struct vm, interrupts);
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	/* Fails for a wire that isn't there, as a real one would. */
	(void)ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

static void send_message(struct interrupts *interrupts, uint64_t address,
			 uint32_t data)
{
	struct vm *vm = container_of(interrupts, struct vm, interrupts);
	struct kvm_msi message = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
	};

	/* Fails where a guest sends it to no LAPIC: it is lost, as on a bus. */
	(void)ioctl(vm->fd, KVM_SIGNAL_MSI, &message);
}

int vm_open(struct vm *vm, struct err *err)
{
	int r, size;

	*vm = (struct vm){ .interrupts = { set_line, send_message },
			   .kvm_fd = -1,
			   .fd = -1 };
	r = open_kvm(vm, err);
	if (r == 0)
		r = check_kvm(vm, err);
	if (r == 0)
		r = create_vm(vm, err);
	if (r == 0)
		r = create_board(vm, err);
	if (r < 0) {
		vm_close(vm);
		return r;
	}
	size = vm_capability(vm, KVM_CAP_XSAVE2);
	vm->xsave_bytes = size > XSAVE_MINIMUM ? (size_t)size : XSAVE_MINIMUM;
	return 0;
}

int vm_reopen(struct vm *vm, struct err *err)
{
	int r;

	close(fd_steal(&vm->fd));
	r = create_vm(vm, err);
	return r == 0 ? create_board(vm, err) : r;
}

void vm_close(struct vm *vm)
{
	if (!vm->interrupts.line)
		return;
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	*vm = (struct vm){ .kvm_fd = -1, .fd = -1 };
}

int vm_set_memory(struct vm *vm, const struct memory *memory, struct err *err)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = region->start,
			.memory_size = region->size_bytes,
			.userspace_addr = (uintptr_t)region->host,
		};

		if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return err_sys(err, -errno,
				       "KVM takes no RAM of %" PRIu64
				       " bytes at 0x%" PRIx64,
				       region->size_bytes, region->start);
	}
	return 0;
}

static int set_ioevent(struct vm *vm, uint64_t address, unsigned length,
		       int event_fd, uint32_t flags)
{
	struct kvm_ioeventfd event = {
		.addr = address,
		.len = length,
		.fd = event_fd,
		.flags = flags,
	};

	return ioctl(vm->fd, KVM_IOEVENTFD, &event) < 0 ? -errno : 0;
}

int vm_add_ioevent(struct vm *vm, uint64_t address, unsigned length,
		   int event_fd, struct err *err)
{
	int r = set_ioevent(vm, address, length, event_fd, 0);

	if (r < 0)
		return err_sys(err, r, "an event of KVM at 0x%" PRIx64,
			       address);
	return 0;
}

void vm_remove_ioevent(struct vm *vm, uint64_t address, unsigned length,
		       int event_fd)
{
	(void)set_ioevent(vm, address, length, event_fd,
			  KVM_IOEVENTFD_FLAG_DEASSIGN);
}
