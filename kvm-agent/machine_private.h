/* SPDX-License-Identifier: Apache-2.0 */
/* What machine.c and machine_state.c share. */
#ifndef KVM_AGENT_MACHINE_PRIVATE_H
#define KVM_AGENT_MACHINE_PRIVATE_H

#include "kvm-agent/machine.h"

#define WORDS_MAX 256

/* On the way of a running machine to a pause, or through a reset. */
enum machine_step {
	STEP_NONE,
	STEP_CPUS,    /* the vCPUs leave the guest */
	STEP_DEVICES, /* what is under way in devices ends */
	STEP_BOOT,    /* a reset has come about, but for RAM */
};

struct machine {
	const struct machine_options *options;
	enum machine_state state;
	enum machine_step step;
	bool to_reset, to_pause; /* what the step is for; both may be */
	unsigned noted;          /* of `told`, and not done yet */
	struct board board;
	struct vm vm;
	struct vcpu *vcpus;
	unsigned cpus;
	struct kvm_cpuid2 *cpuid;
	uint64_t capabilities; /* IA32_ARCH_CAPABILITIES */

	struct loop *control;
	struct loop *io_loop;
	pthread_t io_thread;
	bool has_io_thread;

	/* Of a reset: clears RAM, and reads the kernel. */
	pthread_t boot_thread;
	bool has_boot_thread;
	bool booted; /* atomic; what follows is its own until then */
	int boot_result;
	struct boot_start boot_start;
	struct err boot_err;

	struct news news;
	struct news_limit panics;
	struct guest_events guest;
	struct vcpu_hooks vcpu_hooks;
	struct loop_work work;
	pthread_mutex_t lock; /* of what follows */
	unsigned told;        /* bits of enum guest_event */
	bool failed;
	bool broken;           /* in a way that no reset undoes */
	char words[WORDS_MAX]; /* of the first failure */
};

/* The move is legal. */
void machine_set_state(struct machine *machine, enum machine_state state);

#endif
