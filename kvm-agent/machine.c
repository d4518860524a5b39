/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a machine together and takes it through its states. What the guest asks
 * for (a reset, power off) and what befalls a vCPU come in on other threads;
 * they are noted under a lock and done on the control thread.
 *
 * A pause and a reset take a while: the vCPUs leave the guest, then the
 * requests of its devices end, which on a disk that hangs is never. So they are
 * steps that others' events carry on, and the control thread waits for nobody:
 * it goes on answering, and can switch the machine off at any moment.
 *
 * A reset makes KVM's part anew: a fresh VM knows nothing of the old one, and
 * no list of registers has to be kept for it. RAM is cleared, which takes long
 * where there is much of it, and the kernel is read again, by a thread that has
 * nothing else to do: it may come from the disk that hangs.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "format/base/thread.h"
#include "kvm-agent/machine_private.h"
#include "kvm-agent/sandbox/sandbox.h"
#include "kvm-agent/vm/vcpu_kvm.h"

#define ASKED "a client asked for it"

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
void machine_set_state(struct machine *machine, enum machine_state state)
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

int machine_cpuid(const struct vm *vm, const struct machine_options *options,
		  unsigned cpus, struct kvm_cpuid2 **out,
		  uint64_t *capabilities, struct err *err)
{
	autofree struct kvm_cpuid2 *cpuid = NULL;
	uint64_t host = cpu_capabilities_of_host(vm);
	int r = cpuid_of_host(vm, &cpuid, err);

	if (r == 0 && options->cpu == CPU_FILE)
		r = cpuid_apply_baseline(cpuid, host, &options->cpu_baseline,
					 cpus, err);
	else if (r == 0)
		r = cpuid_apply_model(cpuid, options->cpu, cpus, err);
	if (r < 0)
		return r;
	/* The levels have none of them. */
	*capabilities = options->cpu == CPU_HOST
				? host
				: options->cpu_baseline.capabilities;
	*out = ptr_steal(&cpuid);
	return 0;
}

static void close_vcpus(struct machine *machine)
{
	for (unsigned i = 0; i < machine->cpus; i++)
		vcpu_close(&machine->vcpus[i]);
}

static void ask_vcpus_to_leave(struct machine *machine)
{
	for (unsigned i = 0; i < machine->cpus; i++)
		vcpu_ask_pause(&machine->vcpus[i]);
}

static bool have_vcpus_left(struct machine *machine)
{
	for (unsigned i = 0; i < machine->cpus; i++) {
		if (vcpu_state(&machine->vcpus[i]) == VCPU_RUNNING)
			return false;
	}
	return true;
}

static int open_vcpus(struct machine *machine, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < machine->cpus; i++) {
		cpuid_set_processor(machine->cpuid, i, machine->cpus);
		r = vcpu_open(&machine->vcpus[i], &machine->vm, i,
			      machine->cpuid, &machine->board.ports,
			      &machine->board.mmio, &machine->vcpu_hooks, err);
		if (r == 0 && machine->options->cpu != CPU_HOST)
			r = vcpu_set_features(&machine->vcpus[i],
					      machine->capabilities, err);
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

static int open_kvm(struct machine *machine, struct err *err)
{
	int r = vm_set_memory(&machine->vm, &machine->board.memory, err);

	return r == 0 ? open_vcpus(machine, err) : r;
}

/* Into RAM that is zero. */
static int boot(struct machine *machine, struct boot_start *start,
		struct err *err)
{
	struct machine_hooks *hooks = machine->options->hooks;
	int r = board_fill_memory(&machine->board, err);

	return r == 0 ? hooks->boot(hooks, &machine->board.memory, start, err)
		      : r;
}

static int boot_first(struct machine *machine, struct err *err)
{
	struct boot_start start;
	int r = boot(machine, &start, err);

	return r == 0 ? set_start(machine, &start, err) : r;
}

/* As after power-on, but for RAM; no vCPU runs, and the board is still. */
static int reset(struct machine *machine, struct err *err)
{
	int r;

	close_vcpus(machine);
	/* Nobody tells any more: what was told is of the machine before. */
	pthread_mutex_lock(&machine->lock);
	machine->failed = machine->broken = false;
	machine->told &= ~(1u << GUEST_RESET);
	pthread_mutex_unlock(&machine->lock);
	machine->noted &= ~(1u << GUEST_RESET);
	board_reset(&machine->board);
	r = vm_reopen(&machine->vm, err);
	return r == 0 ? open_kvm(machine, err) : r;
}

/* ---- threads ---- */

static int start_thread(pthread_t *out, void *(*run)(void *),
			struct machine *machine, struct err *err)
{
	int r = thread_make(out, run, machine);

	return r ? thread_failed(err, r, "a thread") : 0;
}

static void *io_thread(void *arg)
{
	struct machine *machine = arg;

	pthread_setname_np(pthread_self(), "io");
	sandbox_thread(SANDBOX_IO);
	(void)loop_run(machine->io_loop, NULL);
	return NULL;
}

static void *boot_thread(void *arg)
{
	struct machine *machine = arg;
	struct err *err = &machine->boot_err;
	int r;

	pthread_setname_np(pthread_self(), "boot");
	sandbox_thread(SANDBOX_CONTROL);
	r = memory_clear(&machine->board.memory, err);
	if (r == 0)
		r = boot(machine, &machine->boot_start, err);
	machine->boot_result = r;
	__atomic_store_n(&machine->booted, true, __ATOMIC_RELEASE);
	loop_post(machine->control, &machine->work);
	return NULL;
}

static int start_boot(struct machine *machine, struct err *err)
{
	int r;

	machine->booted = false;
	r = start_thread(&machine->boot_thread, boot_thread, machine, err);
	machine->has_boot_thread = r == 0;
	return r;
}

static int join_boot(struct machine *machine, struct err *err)
{
	pthread_join(machine->boot_thread, NULL);
	machine->has_boot_thread = false;
	if (machine->boot_result < 0)
		*err = machine->boot_err;
	return machine->boot_result;
}

static void cut_boot(struct machine *machine)
{
	struct machine_hooks *hooks = machine->options->hooks;

	if (machine->has_boot_thread && hooks->cut_boot)
		hooks->cut_boot(hooks);
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
	pthread_mutex_lock(&machine->lock);
	/* A reset undoes that one. */
	machine->broken |= end != VCPU_TRIPLE_FAULT;
	if (!machine->failed) {
		machine->failed = true;
		memccpy(machine->words, words, 0, sizeof(machine->words) - 1);
	}
	pthread_mutex_unlock(&machine->lock);
	loop_post(machine->control, &machine->work);
}

static void on_vcpu_paused(struct vcpu_hooks *hooks, struct vcpu *vcpu)
{
	struct machine *machine =
		container_of(hooks, struct machine, vcpu_hooks);

	(void)vcpu;
	loop_post(machine->control, &machine->work);
}

/* By the I/O thread. */
static void on_still(void *arg)
{
	struct machine *machine = arg;

	loop_post(machine->control, &machine->work);
}

/* ---- on the control thread ---- */

static void change(struct machine *machine, enum machine_state state,
		   const char *words)
{
	struct machine_hooks *hooks = machine->options->hooks;

	machine_set_state(machine, state);
	hooks->changed(hooks, state, words);
}

/* From a pause, a reset, or the way there. */
static void run_vcpus(struct machine *machine)
{
	board_go_on(&machine->board);
	for (unsigned i = 0; i < machine->cpus; i++)
		vcpu_resume(&machine->vcpus[i]);
}

/* It stops here, whatever is under way: nothing is waited for. */
static void leave(struct machine *machine)
{
	ask_vcpus_to_leave(machine);
	cut_boot(machine);
	machine->step = STEP_NONE;
	machine->to_reset = machine->to_pause = false;
}

static void end(struct machine *machine, enum machine_state state,
		const char *words)
{
	leave(machine);
	change(machine, state, words);
}

static void begin(struct machine *machine)
{
	assert(machine->to_reset || machine->to_pause);
	if (machine->step != STEP_NONE)
		return;
	machine->step = STEP_CPUS;
	ask_vcpus_to_leave(machine);
	/* Those that have ended by themselves tell nothing more. */
	loop_post(machine->control, &machine->work);
}

static void finish(struct machine *machine)
{
	machine->step = STEP_NONE;
	if (machine->to_pause) {
		machine->to_pause = false;
		change(machine, MACHINE_PAUSED, ASKED);
	} else {
		run_vcpus(machine);
	}
}

/* Of its vCPUs some may be gone. */
static void fail_reset(struct machine *machine, const struct err *err)
{
	machine->step = STEP_NONE;
	machine->to_reset = machine->to_pause = false;
	change(machine, MACHINE_CRASHED, err->text);
}

static void begin_reset(struct machine *machine)
{
	struct err err;
	int r = reset(machine, &err);

	if (r == 0)
		r = start_boot(machine, &err);
	if (r < 0)
		fail_reset(machine, &err);
	else
		machine->step = STEP_BOOT;
}

/* What was asked for meanwhile is this one. */
static void finish_reset(struct machine *machine)
{
	struct machine_hooks *hooks = machine->options->hooks;
	struct err err;
	int r = join_boot(machine, &err);

	if (r == 0)
		r = set_start(machine, &machine->boot_start, &err);
	if (r < 0) {
		fail_reset(machine, &err);
		return;
	}
	machine->to_reset = false;
	hooks->told(hooks, GUEST_RESET);
	finish(machine);
}

static void advance(struct machine *machine)
{
	switch (machine->step) {
	case STEP_NONE:
		return;
	case STEP_CPUS:
		if (!have_vcpus_left(machine))
			return;
		/* What is under way still writes to RAM and raises interrupts:
		 * what is read of a paused machine would not fit together. */
		machine->step = STEP_DEVICES;
		board_quiesce(&machine->board, on_still, machine);
		if (machine->to_reset)
			board_cut(&machine->board);
		return;
	case STEP_DEVICES:
		/* It may have come to a pause. */
		if (machine->to_reset)
			board_cut(&machine->board);
		if (!board_is_still(&machine->board))
			return;
		if (machine->to_reset)
			begin_reset(machine);
		else
			finish(machine);
		return;
	case STEP_BOOT:
		if (__atomic_load_n(&machine->booted, __ATOMIC_ACQUIRE))
			finish_reset(machine);
		return;
	}
}

static bool is_told(unsigned told, enum guest_event event)
{
	return told & 1u << event;
}

/* Of panics, which a guest may tell of for ever. */
static void pass_on(struct machine *machine, enum guest_event event)
{
	struct machine_hooks *hooks = machine->options->hooks;

	if (is_told(machine->noted, event) &&
	    news_limit_take(&machine->panics, time_monotonic_ns()))
		hooks->told(hooks, event);
	machine->noted &= ~(1u << event);
}

/* True: a vCPU has failed. One that asked for a reset goes on meanwhile, and may
 * try harder ways to get it, of which a triple fault is the last. */
static bool take_told(struct machine *machine)
{
	bool failed;

	pthread_mutex_lock(&machine->lock);
	machine->noted |= machine->told;
	failed = machine->failed &&
		 (machine->broken ||
		  !(machine->to_reset || is_told(machine->noted, GUEST_RESET)));
	machine->told = 0;
	pthread_mutex_unlock(&machine->lock);
	return failed;
}

static void on_news(void *arg, const struct news_item *item)
{
	struct machine *machine = arg;
	struct machine_hooks *hooks = machine->options->hooks;

	if (hooks->befell)
		hooks->befell(hooks, item);
}

/* What was noted, and what the step at hand waits for. */
static void on_work(struct loop_work *work)
{
	struct machine *machine = container_of(work, struct machine, work);
	bool failed;

	/* Paused: it is seen to when the machine goes on. */
	if (machine->state != MACHINE_RUNNING)
		return;
	failed = take_told(machine);
	pass_on(machine, GUEST_PANICKED);
	pass_on(machine, GUEST_CRASH_LOADED);
	/* Several at once: the one that the guest can't be meaning to
	 * survive. */
	if (is_told(machine->noted, GUEST_POWER_OFF)) {
		end(machine, MACHINE_STOPPED, NULL);
		return;
	}
	if (failed) {
		end(machine, MACHINE_CRASHED, machine->words);
		return;
	}
	if (is_told(machine->noted, GUEST_RESET)) {
		machine->noted &= ~(1u << GUEST_RESET);
		machine->to_reset = true;
		begin(machine);
	}
	advance(machine);
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
		r = machine_cpuid(&machine->vm, machine->options, machine->cpus,
				  &machine->cpuid, &machine->capabilities, err);
	if (r < 0)
		return r;
	machine->board = (struct board){
		.options = &machine->options->board,
		.guest = &machine->guest,
		.vm = &machine->vm,
		.io_loop = machine->io_loop,
		.control = machine->control,
		.news = &machine->news,
		.interrupts = &machine->vm.interrupts,
	};
	r = board_init(&machine->board, err);
	if (r == 0)
		r = start_thread(&machine->io_thread, io_thread, machine, err);
	machine->has_io_thread = r == 0;
	if (r == 0)
		r = open_kvm(machine, err);
	if (r == 0 && !machine->options->is_restored)
		r = boot_first(machine, err);
	return r;
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
	machine->vcpu_hooks.paused = on_vcpu_paused;
	machine->work.run = on_work;
	news_init(&machine->news, control, &clock_host, on_news, machine);
	news_limit_init(&machine->panics, time_monotonic_ns());
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
	cut_boot(machine);
	if (machine->has_boot_thread)
		(void)join_boot(machine, &(struct err){ 0 });
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
	news_release(&machine->news);
	pthread_mutex_destroy(&machine->lock);
	free(machine->cpuid);
	free(machine->vcpus);
	free(machine);
}

/* Before the pause has come about. */
static void take_back_pause(struct machine *machine)
{
	machine->to_pause = false;
	if (!machine->to_reset) {
		machine->step = STEP_NONE;
		run_vcpus(machine);
	}
	/* A reset may have waited. */
	loop_post(machine->control, &machine->work);
}

int machine_resume(struct machine *machine, struct err *err)
{
	if (machine->state == MACHINE_RUNNING && machine->to_pause) {
		take_back_pause(machine);
		return 0;
	}
	if (machine->state != MACHINE_CREATED &&
	    machine->state != MACHINE_PAUSED)
		return err_set(err, -EBUSY, "the machine is %s",
			       machine_state_name(machine->state));
	machine_set_state(machine, MACHINE_RUNNING);
	run_vcpus(machine);
	loop_post(machine->control, &machine->work);
	return 0;
}

int machine_hold(struct machine *machine, struct err *err)
{
	if (machine->state != MACHINE_CREATED)
		return err_set(err, -EBUSY, "the machine is %s",
			       machine_state_name(machine->state));
	machine_set_state(machine, MACHINE_PAUSED);
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
	machine->to_pause = true;
	begin(machine);
	return 0;
}

const char *machine_waits_for(const struct machine *machine)
{
	switch (machine->step) {
	case STEP_NONE:
		break;
	case STEP_CPUS:
		return "its vCPUs are to leave the guest";
	case STEP_DEVICES:
		return "requests to its disks or network have to end first";
	case STEP_BOOT:
		return "its kernel is being read";
	}
	return NULL;
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
	leave(machine);
	machine_set_state(machine, MACHINE_STOPPED);
}
