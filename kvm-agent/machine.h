/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One machine: KVM's VM, its vCPUs, its board, its I/O thread. All calls are
 * the control thread's, whose loop the caller runs; the hooks are called there.
 */
#ifndef KVM_AGENT_MACHINE_H
#define KVM_AGENT_MACHINE_H

#include "kvm-agent/board.h"
#include "kvm-agent/boot/boot.h"
#include "kvm-agent/vm/cpuid.h"
#include "kvm-agent/vm/vcpu.h"

enum machine_state {
	MACHINE_CREATED, /* never ran */
	MACHINE_RUNNING,
	MACHINE_PAUSED,
	MACHINE_SAVING,  /* paused, and its state is being read */
	MACHINE_STOPPED, /* switched off */
	MACHINE_CRASHED, /* it can't go on */
};

const char *machine_state_name(enum machine_state state);

struct machine_hooks {
	/*
	 * Puts a kernel into RAM: at the start, and at each reset, after which
	 * RAM is zero again. At a reset on a thread of its own, because files
	 * and disks may hang.
	 */
	int (*boot)(struct machine_hooks *hooks, const struct memory *memory,
		    struct boot_start *start, struct err *err);
	/* The machine ends: such a boot is to fail soon; may be NULL. */
	void (*cut_boot)(struct machine_hooks *hooks);
	/* The guest told something that changes no state. */
	void (*told)(struct machine_hooks *hooks, enum guest_event event);
	/* The guest or a failure has changed the state, or a pause is done;
	 * words or NULL. Stopped and crashed are the last. */
	void (*changed)(struct machine_hooks *hooks, enum machine_state state,
			const char *words);
	/* Something befell a device, as often as news.h says; may be NULL. */
	void (*befell)(struct machine_hooks *hooks,
		       const struct news_item *item);
};

struct machine_options {
	struct board_options board;
	enum cpu_model cpu;
	struct cpu_baseline cpu_baseline; /* of CPU_FILE */
	struct machine_hooks *hooks;
	bool is_restored; /* no kernel is booted: machine_restore() follows */
};

struct machine;

/* What the processors of such a machine are on this host, all `cpus` alike, and
 * their IA32_ARCH_CAPABILITIES. The caller frees it. -EOPNOTSUPP. */
int machine_cpuid(const struct vm *vm, const struct machine_options *options,
		  unsigned cpus, struct kvm_cpuid2 **out,
		  uint64_t *capabilities, struct err *err);

/* Created, its vCPUs paused at the kernel's first instruction. `options` and
 * `control` outlive it. The errors of vm_open() and boot_load(). */
int machine_new(struct machine **out, const struct machine_options *options,
		struct loop *control, struct err *err);
/* From any state; NULL is ignored. Not from a hook. */
void machine_free(struct machine *machine);

enum machine_state machine_state(const struct machine *machine);
/* From created or paused, or before a pause is done. -EBUSY: from another. */
int machine_resume(struct machine *machine, struct err *err);
/* From created to paused: it is not run at once. */
int machine_hold(struct machine *machine, struct err *err);
/*
 * Begins a pause; the hook `changed` tells that it is done: no vCPU is in the
 * guest, no request of it under way. Until then it counts as running, other
 * calls don't wait, and a resume takes the pause back. -EBUSY: it does not run.
 */
int machine_pause(struct machine *machine, struct err *err);
/* Words, for people, on what a pause or a reset waits for; NULL: none does. */
const char *machine_waits_for(const struct machine *machine);
/* Switched off, as by pulling the plug: from any state but crashed, and at
 * once. */
void machine_stop(struct machine *machine);

/* All of it but RAM and disks. It is paused: -EBUSY; the caller has state_begun
 * the writer, and finishes it. */
int machine_save(struct machine *machine, struct state_writer *out,
		 struct err *err);
/*
 * Into one that was made for it and never ran, and whose RAM is there already:
 * what a restore tells the guest stands in RAM too.
 * A section that is missing or too many is a different machine: -EBADMSG,
 * -ENOENT. -EOPNOTSUPP: this host can't be that machine. After a failure it
 * can only be freed.
 */
int machine_restore(struct machine *machine, const struct state *state,
		    struct err *err);

/* As by its reset line: done soon, on the control thread. -EBUSY: it does not
 * run. */
int machine_reset(struct machine *machine, struct err *err);
/* -EBUSY: it does not run. */
int machine_press_power_button(struct machine *machine, struct err *err);
/* The guest is asked to keep so much of its RAM; -EINVAL: it has less. */
int machine_set_balloon(struct machine *machine, uint64_t target_bytes,
			struct err *err);

struct board *machine_board(struct machine *machine);

#endif
