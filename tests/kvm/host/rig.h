/* SPDX-License-Identifier: Apache-2.0 */
/* A machine with a tiny guest, in this process, whose lines are kept. */
#ifndef TESTS_KVM_HOST_RIG_H
#define TESTS_KVM_HOST_RIG_H

#include "kvm-agent/machine.h"

#define RIG_TEXT_MAX (1024 * KIB)

struct rig {
	struct machine_options options;
	struct machine_hooks hooks;
	struct serial_line line;
	struct loop *loop;
	struct loop_work look;
	struct machine *machine;
	const char *kernel;
	int timer;
	struct loop_watch limit;

	pthread_mutex_t lock; /* of what the guest said: */
	bool stops_in_read;
	uint32_t reads; /* of continuity.c's counter */
	char text[RIG_TEXT_MAX];
	size_t size;

	bool (*until)(struct rig *rig); /* or NULL */
	enum machine_state ended;       /* stopped or crashed; else created */
	char words[256];
};

/* All that fails ends the program, with words: a test has no way on. */
void rig_init(struct rig *rig, const char *kernel, unsigned cpus,
	      uint64_t memory_bytes);
void rig_release(struct rig *rig);
void rig_make(struct rig *rig, bool is_restored);
/* Runs the control loop until it is true; looked at after each output. A
 * machine that ends before, or five minutes, are a failure. */
void rig_run_until(struct rig *rig, bool (*until)(struct rig *rig));
/* Runs it until the machine has ended by itself. */
void rig_run_to_end(struct rig *rig);
/* Runs it into a read of the counter by the guest, which lingers there: a pause
 * that comes next finds an exit that is served, and not yet finished. */
void rig_run_into_read(struct rig *rig);
/* Pauses the machine, and runs the loop until it is. */
void rig_pause(struct rig *rig);
/* The state of a paused machine, and a look into it. */
void rig_save(struct rig *rig, struct state_writer *out);
void rig_open_state(struct state *state, const struct state_writer *writer);
/* Runs the loop for so long. */
void rig_run_for(struct rig *rig, uint64_t ns);

void rig_must(bool truth, const char *what, const struct err *err);

#endif
