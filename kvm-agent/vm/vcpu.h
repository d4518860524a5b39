/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual processor and the thread that runs it.
 *
 * It starts paused. Any other thread asks it to run or to pause; the asker of
 * a pause waits until it has left the guest, and then its state is whole: an
 * access to a device that the guest had begun is finished. A vCPU that can't go
 * on says so once, by vcpu_hooks, and is stopped from then on.
 */
#ifndef KVM_AGENT_VM_VCPU_H
#define KVM_AGENT_VM_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>

#include "kvm-agent/vm/bus.h"
#include "kvm-agent/vm/vm.h"

/* The signal that gets it out of the guest. Not SIGUSR1: a user may send that
 * one by hand. */
#define VCPU_KICK (SIGRTMIN + 1)

enum vcpu_state {
	VCPU_PAUSED,
	VCPU_RUNNING,
	VCPU_STOPPED, /* it can't go on */
};

enum vcpu_end {
	VCPU_TRIPLE_FAULT, /* or another way for a processor to shut down */
	VCPU_FAILED,       /* KVM can't go on with it */
};

struct vcpu;

/* On the vCPU's thread, without a lock: pass it on, and return. */
struct vcpu_hooks {
	void (*ended)(struct vcpu_hooks *hooks, struct vcpu *vcpu,
		      enum vcpu_end end, const char *words);
	/* It is paused, as it was asked to; may be NULL. */
	void (*paused)(struct vcpu_hooks *hooks, struct vcpu *vcpu);
};

enum vcpu_wish {
	VCPU_WISH_PAUSE,
	VCPU_WISH_RUN,
	VCPU_WISH_QUIT,
};

struct vcpu {
	unsigned index; /* its APIC id too */
	int fd;
	struct kvm_run *run;
	/* What it was given. KVM itself may tell more: some show a guest
	 * features that they did not list. */
	struct kvm_cpuid2 *cpuid;
	size_t run_bytes;
	struct bus *ports, *mmio;
	struct vcpu_hooks *hooks;

	pthread_t thread;
	bool has_thread;
	bool unfinished; /* its thread's: an access that KVM must complete */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	enum vcpu_wish wish; /* written with the lock, read also without */
	enum vcpu_state state;
};

/* The vCPU, paused, with its thread; `cpuid` is copied. */
int vcpu_open(struct vcpu *vcpu, const struct vm *vm, unsigned index,
	      const struct kvm_cpuid2 *cpuid, struct bus *ports,
	      struct bus *mmio, struct vcpu_hooks *hooks, struct err *err);
/* Another one in place of it; it never ran. */
int vcpu_set_cpuid(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid,
		   struct err *err);
/* Ends its thread. One that was zeroed is left alone. */
void vcpu_close(struct vcpu *vcpu);

void vcpu_resume(struct vcpu *vcpu);
/* Asks; vcpu_hooks.paused tells that it is, and vcpu_await_pause() waits. So
 * that many leave at once. */
void vcpu_ask_pause(struct vcpu *vcpu);
void vcpu_await_pause(struct vcpu *vcpu);
enum vcpu_state vcpu_state(struct vcpu *vcpu);
/* A stopped one, whose registers have been set anew, is a paused one. */
void vcpu_revive(struct vcpu *vcpu);

#endif
