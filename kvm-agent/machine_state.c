/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's state into sections and out of them, spec/state.md: its shape,
 * its vCPUs, KVM's part, its board. In the order in which a restore needs them.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "kvm-agent/machine_private.h"
#include "kvm-agent/vm/vcpu_state.h"
#include "kvm-agent/vm/vm_state.h"

#define MACHINE_SECTION "machine"
#define MACHINE_VERSION 1u

static void save_shape(const struct machine *machine, struct state_writer *out)
{
	section_begin(out, MACHINE_SECTION, 0, MACHINE_VERSION);
	section_put_u32(out, machine->cpus);
	section_put_u64(out, machine->board.memory.size_bytes);
	section_end(out);
}

static int save_vcpus(struct machine *machine, struct state_writer *out,
		      struct err *err)
{
	struct vcpu_image image;
	int r = vcpu_image_init(&image, err);

	if (r < 0)
		return r;
	for (unsigned i = 0; r == 0 && i < machine->cpus; i++) {
		r = vcpu_image_read(&image, &machine->vm, &machine->vcpus[i],
				    err);
		if (r == 0)
			vcpu_state_put(&image, i, out);
	}
	vcpu_image_release(&image);
	return r;
}

int machine_save(struct machine *machine, struct state_writer *out,
		 struct err *err)
{
	int r;

	if (machine->state != MACHINE_PAUSED)
		return err_set(err, -EBUSY, "the machine is %s",
			       machine_state_name(machine->state));
	machine_set_state(machine, MACHINE_SAVING);
	save_shape(machine, out);
	r = save_vcpus(machine, out, err);
	if (r == 0)
		r = vm_state_save(&machine->vm, out, err);
	if (r == 0)
		board_save(&machine->board, out);
	machine_set_state(machine, MACHINE_PAUSED);
	return r;
}

/* Each section has its reader, and each reader finds one: so if the counts are
 * the same, none is left over. */
static int check_shape(const struct machine *machine, const struct state *state,
		       struct err *err)
{
	unsigned known = 1 + machine->cpus + VM_STATE_SECTIONS +
			 machine->board.device_count;
	uint64_t memory_bytes;
	struct section_reader in;
	uint32_t cpus;
	int r = state_find(state, MACHINE_SECTION, 0, MACHINE_VERSION, &in,
			   err);

	if (r < 0)
		return r;
	cpus = section_get_u32(&in);
	memory_bytes = section_get_u64(&in);
	r = section_done(&in, err);
	if (r < 0)
		return r;
	if (cpus != machine->cpus ||
	    memory_bytes != machine->board.memory.size_bytes)
		return err_set(
			err, -EBADMSG,
			"the saved machine has %u CPUs and %llu bytes "
			"of RAM, and this one is made for %u and %llu",
			cpus, (unsigned long long)memory_bytes, machine->cpus,
			(unsigned long long)machine->board.memory.size_bytes);
	if (state->count != known)
		return err_set(err, -EBADMSG,
			       "the saved machine has %u sections, and this "
			       "one %u: they have different devices",
			       state->count, known);
	return 0;
}

static int restore_vcpu(struct machine *machine, unsigned index,
			struct vcpu_image *image, const struct kvm_cpuid2 *host,
			const struct state *state, struct err *err)
{
	int r = vcpu_state_get(image, index, state, err);

	if (r == 0)
		r = cpuid_check_host(image->cpuid, host, err);
	if (r == 0)
		r = vcpu_image_write(image, &machine->vm,
				     &machine->vcpus[index], err);
	return r < 0 ? err_prefix(err, "vCPU %u", index) : 0;
}

static int restore_vcpus(struct machine *machine, const struct state *state,
			 struct err *err)
{
	autofree struct kvm_cpuid2 *host = NULL;
	struct vcpu_image image;
	int r = cpuid_of_host(&machine->vm, &host, err);

	if (r == 0)
		r = vcpu_image_init(&image, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; r == 0 && i < machine->cpus; i++)
		r = restore_vcpu(machine, i, &image, host, state, err);
	vcpu_image_release(&image);
	return r;
}

/* A guest's watchdog shall not take the time between for a hang. Fails where
 * the guest has no kvmclock: it has no such watchdog of ours either. */
static void tell_paused(struct machine *machine)
{
	for (unsigned i = 0; i < machine->cpus; i++)
		(void)ioctl(machine->vcpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
}

int machine_restore(struct machine *machine, const struct state *state,
		    struct err *err)
{
	int r;

	if (machine->state != MACHINE_CREATED)
		return err_set(err, -EBUSY, "the machine is %s",
			       machine_state_name(machine->state));
	/* Until it is resumed: what waits in a restored queue is not begun. */
	board_quiesce(&machine->board, NULL, NULL);
	board_await_still(&machine->board);
	r = check_shape(machine, state, err);
	if (r == 0)
		r = restore_vcpus(machine, state, err);
	if (r == 0)
		r = vm_state_restore(&machine->vm, state, err);
	if (r == 0)
		r = board_restore(&machine->board, state, err);
	if (r == 0)
		tell_paused(machine);
	return r;
}
