/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run loop. How a pause gets through: the asker writes its wish, then sets
 * immediate_exit and sends a signal. A vCPU in the guest, or asleep in HLT,
 * leaves by the signal; one on its way into KVM_RUN finds immediate_exit; one
 * that serves an exit finds the wish. So none is missed, whatever the moment.
 *
 * After an exit for I/O the instruction is finished by KVM at the next entry
 * only. Before a pause counts as done there is one more entry, with
 * immediate_exit: it finishes, and runs nothing. An access of many parts leaves
 * again with the next one, until none is left.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "format/base/thread.h"
#include "kvm-agent/sandbox/sandbox.h"
#include "kvm-agent/vm/vcpu.h"

#define WORDS_MAX 256

static void on_kick(int number)
{
	(void)number;
}

/* ---- exits ---- */

static void serve_port(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)vcpu->run + run->io.data_offset;
	unsigned size = run->io.size;

	/* A string of them (INS, OUTS) is one exit. */
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			bus_read(vcpu->ports, run->io.port, data, size);
		else
			bus_write(vcpu->ports, run->io.port, data, size);
	}
}

static void serve_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.len > sizeof(run->mmio.data))
		return;
	if (run->mmio.is_write)
		bus_write(vcpu->mmio, run->mmio.phys_addr, run->mmio.data,
			  run->mmio.len);
	else
		bus_read(vcpu->mmio, run->mmio.phys_addr, run->mmio.data,
			 run->mmio.len);
}

static void end(struct vcpu *vcpu, enum vcpu_end why, const char *what)
{
	struct kvm_regs regs = { 0 };
	char words[WORDS_MAX];

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		snprintf(words, sizeof(words), "vCPU %u: %s", vcpu->index,
			 what);
	else
		snprintf(words, sizeof(words), "vCPU %u: %s, at rip 0x%llx",
			 vcpu->index, what, regs.rip);
	pthread_mutex_lock(&vcpu->lock);
	vcpu->state = VCPU_STOPPED;
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(&vcpu->lock);
	vcpu->hooks->ended(vcpu->hooks, vcpu, why, words);
}

static void end_internal_error(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	char words[WORDS_MAX / 2];
	int used;

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		snprintf(words, sizeof(words), "internal error %u of KVM",
			 run->internal.suberror);
		end(vcpu, VCPU_FAILED, words);
		return;
	}
	used = snprintf(words, sizeof(words),
			"KVM can't emulate an instruction");
	if (run->emulation_failure.ndata >= 3 &&
	    run->emulation_failure.flags &
		    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES &&
	    run->emulation_failure.insn_size <=
		    sizeof(run->emulation_failure.insn_bytes)) {
		used += snprintf(words + used, sizeof(words) - (size_t)used,
				 " (");
		for (unsigned i = 0; i < run->emulation_failure.insn_size; i++)
			used += snprintf(words + used,
					 sizeof(words) - (size_t)used, "%02x",
					 run->emulation_failure.insn_bytes[i]);
		snprintf(words + used, sizeof(words) - (size_t)used, " ...)");
	}
	end(vcpu, VCPU_FAILED, words);
}

/* False: the vCPU has ended. */
static bool serve_exit(struct vcpu *vcpu)
{
	char words[WORDS_MAX / 2];

	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		serve_port(vcpu);
		vcpu->unfinished = true;
		return true;
	case KVM_EXIT_MMIO:
		serve_mmio(vcpu);
		vcpu->unfinished = true;
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN:
		end(vcpu, VCPU_TRIPLE_FAULT, "triple fault");
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		end_internal_error(vcpu);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(words, sizeof(words),
			 "the processor refuses to enter the guest (reason "
			 "0x%llx)",
			 vcpu->run->fail_entry.hardware_entry_failure_reason);
		end(vcpu, VCPU_FAILED, words);
		return false;
	default:
		snprintf(words, sizeof(words), "exit %u of KVM, unknown here",
			 vcpu->run->exit_reason);
		end(vcpu, VCPU_FAILED, words);
		return false;
	}
}

/* ---- the thread ---- */

static bool may_run(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->wish, __ATOMIC_ACQUIRE) == VCPU_WISH_RUN;
}

/* With the lock, always after the wish: so that the two never disagree. */
static void follow_wish(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit,
			 vcpu->wish != VCPU_WISH_RUN, __ATOMIC_SEQ_CST);
}

/* One entry. 0: an exit to serve; -EINTR: none. */
static int enter(struct vcpu *vcpu)
{
	int r = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? -errno : 0;

	vcpu->unfinished = false;
	/* A processor that waits for INIT answers so when that has come. */
	return r == -EAGAIN ? -EINTR : r;
}

/* Until somebody wishes otherwise. False: the vCPU has ended. */
static bool run_guest(struct vcpu *vcpu)
{
	char words[WORDS_MAX / 2];
	int r;

	while (may_run(vcpu) || vcpu->unfinished) {
		if (!may_run(vcpu)) {
			/* Who wished so is about to set immediate_exit. */
			pthread_mutex_lock(&vcpu->lock);
			pthread_mutex_unlock(&vcpu->lock);
		}
		r = enter(vcpu);
		if (r == -EINTR)
			continue;
		if (r < 0) {
			snprintf(words, sizeof(words), "KVM_RUN: %s",
				 strerror(-r));
			end(vcpu, VCPU_FAILED, words);
			return false;
		}
		if (!serve_exit(vcpu))
			return false;
	}
	return true;
}

static void become_paused(struct vcpu *vcpu)
{
	bool ran;

	pthread_mutex_lock(&vcpu->lock);
	ran = vcpu->state == VCPU_RUNNING;
	if (ran)
		vcpu->state = VCPU_PAUSED;
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(&vcpu->lock);
	if (ran && vcpu->hooks->paused)
		vcpu->hooks->paused(vcpu->hooks, vcpu);
}

/* Wait for a wish that there is something to do about. */
static enum vcpu_wish await_wish(struct vcpu *vcpu)
{
	enum vcpu_wish wish;

	become_paused(vcpu);
	pthread_mutex_lock(&vcpu->lock);
	while (vcpu->wish == VCPU_WISH_PAUSE ||
	       (vcpu->wish == VCPU_WISH_RUN && vcpu->state == VCPU_STOPPED))
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	wish = vcpu->wish;
	if (wish == VCPU_WISH_RUN)
		vcpu->state = VCPU_RUNNING;
	pthread_mutex_unlock(&vcpu->lock);
	return wish;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu %u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	sandbox_thread(SANDBOX_VCPU);
	while (await_wish(vcpu) == VCPU_WISH_RUN)
		(void)run_guest(vcpu);
	return NULL;
}

/* All signals but the kick are for other threads. */
static int start_thread(struct vcpu *vcpu, struct err *err)
{
	struct sigaction action = { .sa_handler = on_kick };
	sigset_t all, old;
	int r;

	/* No SA_RESTART: KVM_RUN must come back. */
	if (sigaction(VCPU_KICK, &action, NULL) < 0)
		return err_sys(err, -errno, "the signal of vCPUs");
	sigfillset(&all);
	sigdelset(&all, VCPU_KICK);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return thread_failed(err, -r, "the thread of a vCPU");
	vcpu->has_thread = true;
	return 0;
}

/* ---- for other threads ---- */

int vcpu_set_cpuid(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid,
		   struct err *err)
{
	size_t size = sizeof(*cpuid) + cpuid->nent * sizeof(cpuid->entries[0]);
	struct kvm_cpuid2 *copy;
	int r = alloc_array(&copy, 1, size, err);

	if (r < 0)
		return r;
	memcpy(copy, cpuid, size);
	free(vcpu->cpuid);
	vcpu->cpuid = copy;
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
		return err_sys(err, -errno, "KVM takes no such CPUID");
	return 0;
}

static int create(struct vcpu *vcpu, const struct vm *vm,
		  const struct kvm_cpuid2 *cpuid, struct err *err)
{
	void *run;

	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)vcpu->index);
	if (vcpu->fd < 0)
		return err_sys(err, -errno, "KVM makes no vCPU %u",
			       vcpu->index);
	run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu->fd, 0);
	if (run == MAP_FAILED)
		return err_sys(err, -errno, "map the area of vCPU %u",
			       vcpu->index);
	vcpu->run = run;
	vcpu->run_bytes = vm->run_bytes;
	return vcpu_set_cpuid(vcpu, cpuid, err);
}

int vcpu_open(struct vcpu *vcpu, const struct vm *vm, unsigned index,
	      const struct kvm_cpuid2 *cpuid, struct bus *ports,
	      struct bus *mmio, struct vcpu_hooks *hooks, struct err *err)
{
	int r;

	*vcpu = (struct vcpu){
		.index = index,
		.fd = -1,
		.ports = ports,
		.mmio = mmio,
		.hooks = hooks,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	r = create(vcpu, vm, cpuid, err);
	if (r == 0)
		r = start_thread(vcpu, err);
	if (r < 0)
		vcpu_close(vcpu);
	return r;
}

static void wish(struct vcpu *vcpu, enum vcpu_wish what)
{
	pthread_mutex_lock(&vcpu->lock);
	__atomic_store_n(&vcpu->wish, what, __ATOMIC_RELEASE);
	follow_wish(vcpu);
	if (what != VCPU_WISH_RUN && vcpu->state == VCPU_RUNNING)
		pthread_kill(vcpu->thread, VCPU_KICK);
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(&vcpu->lock);
}

void vcpu_close(struct vcpu *vcpu)
{
	if (!vcpu->hooks)
		return;
	if (vcpu->has_thread) {
		wish(vcpu, VCPU_WISH_QUIT);
		pthread_join(vcpu->thread, NULL);
	}
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_bytes);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	free(vcpu->cpuid);
	pthread_cond_destroy(&vcpu->changed);
	pthread_mutex_destroy(&vcpu->lock);
	*vcpu = (struct vcpu){ .fd = -1 };
}

void vcpu_resume(struct vcpu *vcpu)
{
	wish(vcpu, VCPU_WISH_RUN);
}

void vcpu_ask_pause(struct vcpu *vcpu)
{
	wish(vcpu, VCPU_WISH_PAUSE);
}

void vcpu_await_pause(struct vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	assert(vcpu->wish == VCPU_WISH_PAUSE);
	while (vcpu->state == VCPU_RUNNING)
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	pthread_mutex_unlock(&vcpu->lock);
}

enum vcpu_state vcpu_state(struct vcpu *vcpu)
{
	enum vcpu_state state;

	pthread_mutex_lock(&vcpu->lock);
	state = vcpu->state;
	pthread_mutex_unlock(&vcpu->lock);
	return state;
}

void vcpu_revive(struct vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	if (vcpu->state == VCPU_STOPPED)
		vcpu->state = VCPU_PAUSED;
	pthread_mutex_unlock(&vcpu->lock);
}
