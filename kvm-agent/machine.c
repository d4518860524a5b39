/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a machine together and takes it through its states. What the guest asks
 * for (a reset, power off) and what befalls a vCPU come in on other threads;
 * they are noted under a lock and done on the control thread.
 *
 * A reset makes KVM's part anew: a fresh VM knows nothing of the old one, and
 * no list of registers has to be kept for it.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kvm-agent/machine.h"
#include "kvm-agent/sandbox/sandbox.h"
#include "kvm-agent/vm/vcpu_state.h"
#include "kvm-agent/vm/vm_state.h"

#define WORDS_MAX       256
#define MACHINE_SECTION "machine"
#define MACHINE_VERSION 1u

struct machine {
	const struct machine_options *options;
	enum machine_state state;
	struct board board;
	struct vm vm;
	struct vcpu *vcpus;
	unsigned cpus;
	struct kvm_cpuid2 *cpuid;

	struct loop *control;
	struct loop *io_loop;
	pthread_t io_thread;
	bool has_io_thread;

	struct guest_events guest;
	struct vcpu_hooks vcpu_hooks;
	struct loop_work work;
	pthread_mutex_t lock; /* of what follows */
	unsigned told;        /* bits of enum guest_event */
	bool failed;
	char words[WORDS_MAX]; /* of the first failure */
};

/* ---- states ---- */

static const char *const state_names[] = {
	[MACHINE_CREATED] = "created", [MACHINE_RUNNING] = "running",
	[MACHINE_PAUSED] = "paused",   [MACHINE_SAVING] = "saving",
	[MACHINE_STOPPED] = "stopped", [MACHINE_CRASHED] = "crashed",
};

const char *machine_state_name(enum machine_state state)
{
	return state_names[state];
}

#define TO(state) (1u << (state))

static bool is_legal(enum machine_state from, enum machine_state to)
{
	static const unsigned next[] = {
		[MACHINE_CREATED] = TO(MACHINE_RUNNING) | TO(MACHINE_PAUSED) |
				    TO(MACHINE_STOPPED) | TO(MACHINE_CRASHED),
		[MACHINE_RUNNING] = TO(MACHINE_PAUSED) | TO(MACHINE_STOPPED) |
				    TO(MACHINE_CRASHED),
		[MACHINE_PAUSED] = TO(MACHINE_RUNNING) | TO(MACHINE_SAVING) |
				   TO(MACHINE_STOPPED) | TO(MACHINE_CRASHED),
		[MACHINE_SAVING] = TO(MACHINE_PAUSED),
		[MACHINE_STOPPED] = 0,
		[MACHINE_CRASHED] = 0,
	};

	return next[from] & TO(to);
}

/* The only place where it changes. */
static void set_state(struct machine *machine, enum machine_state state)
{
	assert(is_legal(machine->state, state));
	machine->state = state;
}

enum machine_state machine_state(const struct machine *machine)
{
	return machine->state;
}

struct board *machine_board(struct machine *machine)
{
	return &machine->board;
}

/* ---- vCPUs ---- */

static void close_vcpus(struct machine *machine)
{
	for (unsigned i = 0; i < machine->cpus; i++)
		vcpu_close(&machine->vcpus[i]);
}

static void pause_vcpus(struct machine *machine)
{
	for (unsigned i = 0; i < machine->cpus; i++)
		vcpu_ask_pause(&machine->vcpus[i]);
	for (unsigned i = 0; i < machine->cpus; i++)
		vcpu_await_pause(&machine->vcpus[i]);
}

static int open_vcpus(struct machine *machine, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < machine->cpus; i++) {
		cpuid_set_processor(machine->cpuid, i, machine->cpus);
		r = vcpu_open(&machine->vcpus[i], &machine->vm, i,
			      machine->cpuid, &machine->board.ports,
			      &machine->board.mmio, &machine->vcpu_hooks, err);
	}
	return r;
}

/* The first starts the kernel; the others wait to be started by it. */
static int set_start(struct machine *machine, const struct boot_start *start,
		     struct err *err)
{
	int fd = machine->vcpus[0].fd;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0 ||
	    ioctl(fd, KVM_GET_REGS, &regs) < 0)
		return err_sys(err, -errno, "read a vCPU's registers");
	boot_set_registers(start, &regs, &sregs);
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 ||
	    ioctl(fd, KVM_SET_REGS, &regs) < 0)
		return err_sys(err, -errno, "set a vCPU's registers");
	return 0;
}

/* ---- KVM's part ---- */

static int open_kvm(struct machine *machine, bool boots, struct err *err)
{
	struct machine_hooks *hooks = machine->options->hooks;
	struct boot_start start;
	int r;

	r = vm_set_memory(&machine->vm, &machine->board.memory, err);
	if (r == 0)
		r = open_vcpus(machine, err);
	if (r < 0 || !boots)
		return r;
	r = board_fill_memory(&machine->board, err);
	if (r == 0)
		r = hooks->boot(hooks, &machine->board.memory, &start, err);
	return r == 0 ? set_start(machine, &start, err) : r;
}

static int prepare_cpuid(struct machine *machine, struct err *err)
{
	int r = cpuid_of_host(&machine->vm, &machine->cpuid, err);

	if (r < 0)
		return r;
	return cpuid_apply_model(machine->cpuid, machine->options->cpu,
				 machine->cpus, err);
}

/* As after power-on; no vCPU runs. */
static int reset(struct machine *machine, struct err *err)
{
	int r;

	close_vcpus(machine);
	board_quiesce(&machine->board);
	board_reset(&machine->board);
	r = vm_reopen(&machine->vm, err);
	if (r == 0)
		r = memory_clear(&machine->board.memory, err);
	if (r == 0)
		r = open_kvm(machine, true, err);
	board_go_on(&machine->board);
	return r;
}

/* ---- what other threads ask for ---- */

static void on_told(struct guest_events *guest, enum guest_event event)
{
	struct machine *machine = container_of(guest, struct machine, guest);

	pthread_mutex_lock(&machine->lock);
	machine->told |= 1u << event;
	pthread_mutex_unlock(&machine->lock);
	loop_post(machine->control, &machine->work);
}

static void on_vcpu_ended(struct vcpu_hooks *hooks, struct vcpu *vcpu,
			  enum vcpu_end end, const char *words)
{
	struct machine *machine =
		container_of(hooks, struct machine, vcpu_hooks);

	(void)vcpu;
	(void)end;
	pthread_mutex_lock(&machine->lock);
	if (!machine->failed) {
		machine->failed = true;
		memccpy(machine->words, words, 0, sizeof(machine->words) - 1);
	}
	pthread_mutex_unlock(&machine->lock);
	loop_post(machine->control, &machine->work);
}

static void change(struct machine *machine, enum machine_state state,
		   const char *words)
{
	struct machine_hooks *hooks = machine->options->hooks;

	set_state(machine, state);
	hooks->changed(hooks, state, words);
}

static void do_reset(struct machine *machine)
{
	struct machine_hooks *hooks = machine->options->hooks;
	struct err err;

	if (reset(machine, &err) < 0) {
		change(machine, MACHINE_CRASHED, err.text);
		return;
	}
	hooks->told(hooks, GUEST_RESET);
	for (unsigned i = 0; i < machine->cpus; i++)
		vcpu_resume(&machine->vcpus[i]);
}

static bool is_told(unsigned told, enum guest_event event)
{
	return told & 1u << event;
}

static void pass_on(struct machine *machine, unsigned told)
{
	struct machine_hooks *hooks = machine->options->hooks;

	if (is_told(told, GUEST_PANICKED))
		hooks->told(hooks, GUEST_PANICKED);
	if (is_told(told, GUEST_CRASH_LOADED))
		hooks->told(hooks, GUEST_CRASH_LOADED);
}

/* On the control thread: what was noted. */
static void on_work(struct loop_work *work)
{
	struct machine *machine = container_of(work, struct machine, work);
	unsigned told;
	bool failed;

	/* Paused: it is seen to when the machine goes on. */
	if (machine->state != MACHINE_RUNNING)
		return;
	pthread_mutex_lock(&machine->lock);
	told = machine->told;
	failed = machine->failed;
	machine->told = 0;
	pthread_mutex_unlock(&machine->lock);

	pass_on(machine, told);
	if (!failed && !is_told(told, GUEST_RESET) &&
	    !is_told(told, GUEST_POWER_OFF))
		return;
	pause_vcpus(machine);
	/* Several at once: the one that the guest can't be meaning to
	 * survive. */
	if (is_told(told, GUEST_POWER_OFF))
		change(machine, MACHINE_STOPPED, NULL);
	else if (failed)
		change(machine, MACHINE_CRASHED, machine->words);
	else
		do_reset(machine);
}

/* ---- the I/O thread ---- */

static void *io_thread(void *arg)
{
	struct machine *machine = arg;

	pthread_setname_np(pthread_self(), "io");
	sandbox_thread(SANDBOX_IO);
	(void)loop_run(machine->io_loop, NULL);
	return NULL;
}

static int start_io_thread(struct machine *machine, struct err *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&machine->io_thread, NULL, io_thread, machine);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return err_sys(err, -r, "the I/O thread");
	machine->has_io_thread = true;
	return 0;
}

/* ---- the machine as a whole ---- */

static int make(struct machine *machine, struct err *err)
{
	int r;

	r = alloc_array(&machine->vcpus, machine->cpus,
			sizeof(machine->vcpus[0]), err);
	if (r == 0)
		r = loop_new(&machine->io_loop, err);
	if (r == 0)
		r = vm_open(&machine->vm, err);
	if (r == 0)
		r = prepare_cpuid(machine, err);
	if (r < 0)
		return r;
	machine->board = (struct board){
		.options = &machine->options->board,
		.guest = &machine->guest,
		.vm = &machine->vm,
		.io_loop = machine->io_loop,
		.control = machine->control,
		.interrupts = &machine->vm.interrupts,
	};
	r = board_init(&machine->board, err);
	if (r == 0)
		r = start_io_thread(machine, err);
	return r == 0 ? open_kvm(machine, !machine->options->is_restored, err)
		      : r;
}

int machine_new(struct machine **out, const struct machine_options *options,
		struct loop *control, struct err *err)
{
	struct machine *machine;
	int r = alloc_array(&machine, 1, sizeof(*machine), err);

	if (r < 0)
		return r;
	machine->options = options;
	machine->cpus = options->board.cpus;
	machine->control = control;
	machine->guest.tell = on_told;
	machine->vcpu_hooks.ended = on_vcpu_ended;
	machine->work.run = on_work;
	pthread_mutex_init(&machine->lock, NULL);
	r = make(machine, err);
	if (r < 0) {
		machine_free(machine);
		return r;
	}
	*out = machine;
	return 0;
}

void machine_free(struct machine *machine)
{
	if (!machine)
		return;
	if (machine->vcpus)
		close_vcpus(machine);
	if (machine->has_io_thread) {
		loop_stop(machine->io_loop);
		pthread_join(machine->io_thread, NULL);
	}
	board_release(&machine->board);
	vm_close(&machine->vm);
	loop_free(machine->io_loop);
	loop_cancel(machine->control, &machine->work);
	pthread_mutex_destroy(&machine->lock);
	free(machine->cpuid);
	free(machine->vcpus);
	free(machine);
}

int machine_resume(struct machine *machine, struct err *err)
{
	if (machine->state != MACHINE_CREATED &&
	    machine->state != MACHINE_PAUSED)
		return err_set(err, -EBUSY, "the machine is %s",
			       machine_state_name(machine->state));
	set_state(machine, MACHINE_RUNNING);
	board_go_on(&machine->board);
	for (unsigned i = 0; i < machine->cpus; i++)
		vcpu_resume(&machine->vcpus[i]);
	loop_post(machine->control, &machine->work);
	return 0;
}

int machine_hold(struct machine *machine, struct err *err)
{
	if (machine->state != MACHINE_CREATED)
		return err_set(err, -EBUSY, "the machine is %s",
			       machine_state_name(machine->state));
	set_state(machine, MACHINE_PAUSED);
	return 0;
}

static int must_run(const struct machine *machine, struct err *err)
{
	if (machine->state == MACHINE_RUNNING)
		return 0;
	return err_set(err, -EBUSY, "the machine is %s",
		       machine_state_name(machine->state));
}

int machine_pause(struct machine *machine, struct err *err)
{
	int r = must_run(machine, err);

	if (r < 0)
		return r;
	pause_vcpus(machine);
	/* What is under way still writes to RAM and raises interrupts: what is
	 * read of a paused machine would not fit together. */
	board_quiesce(&machine->board);
	set_state(machine, MACHINE_PAUSED);
	return 0;
}

int machine_reset(struct machine *machine, struct err *err)
{
	int r = must_run(machine, err);

	if (r == 0)
		guest_events_tell(&machine->guest, GUEST_RESET);
	return r;
}

int machine_press_power_button(struct machine *machine, struct err *err)
{
	int r = must_run(machine, err);

	if (r == 0)
		acpi_pm_power_button(&machine->board.pm);
	return r;
}

int machine_set_balloon(struct machine *machine, uint64_t target_bytes,
			struct err *err)
{
	int r = must_run(machine, err);

	if (r < 0)
		return r;
	if (target_bytes > machine->board.memory.size_bytes)
		return err_set(
			err, -EINVAL, "the machine has %llu bytes of RAM",
			(unsigned long long)machine->board.memory.size_bytes);
	balloon_set_target(&machine->board.balloon, target_bytes);
	return 0;
}

void machine_stop(struct machine *machine)
{
	if (machine->state == MACHINE_STOPPED ||
	    machine->state == MACHINE_CRASHED)
		return;
	pause_vcpus(machine);
	set_state(machine, MACHINE_STOPPED);
}

/* ---- its state ---- */

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
	set_state(machine, MACHINE_SAVING);
	save_shape(machine, out);
	r = save_vcpus(machine, out, err);
	if (r == 0)
		r = vm_state_save(&machine->vm, out, err);
	if (r == 0)
		board_save(&machine->board, out);
	set_state(machine, MACHINE_PAUSED);
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
	board_quiesce(&machine->board);
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
