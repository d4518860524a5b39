/* SPDX-License-Identifier: Apache-2.0 */
/*
 * continuity.elf through many lives: paused at any moment, saved, restored into
 * a fresh VM with a copy of its RAM, and on. Its rounds must follow each other
 * as if nothing had happened. Usage: checkpoint KERNEL CPUS LIVES.
 */
#include <stdio.h>
#include <string.h>

#include "kvm-agent/vm/vcpu_state.h"
#include "tests/kvm/host/rig.h"

#define MEMORY (16 * MIB)

static unsigned long wanted;

/* The number of the last whole round, with the rig's lock; -1: "done". */
static long last_round(const struct rig *rig)
{
	const char *at = rig->text, *end = rig->text + rig->size, *line_end;
	long round = 0, found;

	while ((line_end = memchr(at, '\n', (size_t)(end - at)))) {
		if (sscanf(at, "round %ld", &found) == 1) {
			rig_must(found == round + 1, "a round is missing",
				 NULL);
			round = found;
		}
		rig_must(strncmp(at, "FAILED", 6) != 0, line_end, NULL);
		if (!strncmp(at, "done\n", 5))
			return -1;
		at = line_end + 1;
	}
	return round;
}

static bool has_round(struct rig *rig)
{
	long round = last_round(rig);

	return round >= 0 && (unsigned long)round >= wanted;
}

static bool is_done(struct rig *rig)
{
	return last_round(rig) < 0;
}

/* A section's fields are the same in both. */
static void same_section(const struct state *a, const struct state *b,
			 const char *name, unsigned instance)
{
	struct section_reader in_a, in_b;
	struct err err;

	rig_must(state_find(a, name, instance, UINT32_MAX, &in_a, &err) == 0,
		 "section", &err);
	rig_must(state_find(b, name, instance, UINT32_MAX, &in_b, &err) == 0,
		 "section", &err);
	rig_must(in_a.bytes.left == in_b.bytes.left &&
			 !memcmp(in_a.bytes.at, in_b.bytes.at, in_a.bytes.left),
		 name, NULL);
}

static uint64_t msr_of(const struct vcpu_image *image, uint32_t index)
{
	for (uint32_t i = 0; i < image->msr_count; i++) {
		if (image->msrs[i].index == index)
			return image->msrs[i].value;
	}
	return 0;
}

/* Without payloads KVM tells a pending exception as injected too, and takes it
 * as injected: it is delivered all the same. */
static void settle_exception(struct kvm_vcpu_events *events)
{
	if (!(events->flags & KVM_VCPUEVENT_VALID_PAYLOAD) &&
	    events->exception.injected)
		events->exception.pending = 0;
}

/* All but what goes on while it is paused: TSC, and what counts with it. */
static void same_vcpu(const struct state *a, const struct state *b,
		      unsigned index)
{
	struct vcpu_image x, y;
	struct err err;

	rig_must(vcpu_image_init(&x, &err) == 0, "image", &err);
	rig_must(vcpu_image_init(&y, &err) == 0, "image", &err);
	rig_must(vcpu_state_get(&x, index, a, &err) == 0, "vCPU", &err);
	rig_must(vcpu_state_get(&y, index, b, &err) == 0, "vCPU", &err);
	rig_must(!memcmp(&x.regs, &y.regs, sizeof(x.regs)), "regs", NULL);
	rig_must(!memcmp(&x.sregs, &y.sregs, sizeof(x.sregs)), "sregs", NULL);
	rig_must(!memcmp(&x.xcrs, &y.xcrs, sizeof(x.xcrs)), "xcrs", NULL);
	rig_must(!memcmp(&x.debug, &y.debug, sizeof(x.debug)), "debug", NULL);
	rig_must(x.xsave_bytes == y.xsave_bytes &&
			 !memcmp(x.xsave, y.xsave, x.xsave_bytes),
		 "xsave", NULL);
	settle_exception(&x.events);
	settle_exception(&y.events);
	rig_must(!memcmp(&x.events, &y.events, sizeof(x.events)), "events",
		 NULL);
	rig_must(x.mp.mp_state == y.mp.mp_state, "mp", NULL);
	rig_must(x.msr_count == y.msr_count, "count of MSRs", NULL);
	for (uint32_t i = 0; i < x.msr_count; i++) {
		uint32_t msr = x.msrs[i].index;
		uint64_t value = msr_of(&y, msr);

		if (msr == 0x10)
			rig_must(value >= x.msrs[i].value, "TSC", NULL);
		else
			rig_must(value == x.msrs[i].value, "an MSR", NULL);
	}
	vcpu_image_release(&x);
	vcpu_image_release(&y);
}

static void compare(const struct state_writer *before,
		    const struct state_writer *after, unsigned cpus)
{
	struct state a, b;

	rig_open_state(&a, before);
	rig_open_state(&b, after);
	rig_must(a.count == b.count, "count of sections", NULL);
	for (unsigned i = 0; i < cpus; i++)
		same_vcpu(&a, &b, i);
	same_section(&a, &b, "machine", 0);
	same_section(&a, &b, "serial", 0);
	same_section(&a, &b, "pic", 0);
	same_section(&a, &b, "pic", 1);
	same_section(&a, &b, "ioapic", 0);
	same_section(&a, &b, "pit", 0);
}

/* The machine goes into a state, and a fresh one comes out of it. */
static void live_again(struct rig *rig)
{
	struct machine *old = rig->machine;
	struct state_writer before;
	struct state state;
	struct err err;

	rig_pause(rig);
	rig_save(rig, &before);
	rig_open_state(&state, &before);
	rig_make(rig, true);
	memcpy(machine_board(rig->machine)->memory.regions[0].host,
	       machine_board(old)->memory.regions[0].host, MEMORY);
	machine_free(old);
	rig_must(machine_restore(rig->machine, &state, &err) == 0, "restore",
		 &err);
	rig_must(machine_resume(rig->machine, &err) == 0, "resume", &err);
	state_release(&before);
}

/* restore(save(x)) is x: what a restored machine saves at once. */
static void check_same(struct rig *rig)
{
	struct machine *old = rig->machine;
	struct state_writer before, after;
	struct state state;
	struct err err;

	rig_pause(rig);
	rig_save(rig, &before);
	rig_open_state(&state, &before);
	rig_make(rig, true);
	rig_must(machine_restore(rig->machine, &state, &err) == 0, "restore",
		 &err);
	rig_must(machine_hold(rig->machine, &err) == 0, "hold", &err);
	rig_save(rig, &after);
	compare(&before, &after, rig->options.board.cpus);
	machine_free(rig->machine);
	rig->machine = old;
	rig_must(machine_resume(old, &err) == 0, "resume", &err);
	state_release(&before);
	state_release(&after);
}

/* By port, or by memory: every second read. */
static void into_read(struct rig *rig, bool odd)
{
	do
		rig_run_into_read(rig);
	while (rig->reads % 2 != odd);
}

int main(int argc, char **argv)
{
	static struct rig rig;
	struct err err;
	unsigned lives;

	rig_must(argc == 4, "usage: checkpoint KERNEL CPUS LIVES", NULL);
	rig_init(&rig, argv[1], (unsigned)atoi(argv[2]), MEMORY);
	lives = (unsigned)atoi(argv[3]);
	rig_make(&rig, false);
	rig_must(machine_resume(rig.machine, &err) == 0, "resume", &err);
	for (unsigned i = 1; i <= lives; i++) {
		wanted += 3;
		rig_run_until(&rig, has_round);
		/* Any moment of a round; and within an access. */
		if (i % 3)
			rig_run_for(&rig, 1 + i * 1234567ull % 20000000);
		else
			into_read(&rig, i % 2);
		if (i % 2)
			check_same(&rig);
		live_again(&rig);
	}
	wanted += 3;
	rig_run_until(&rig, has_round);
	rig_must(serial_input(&machine_board(rig.machine)->serial,
			      (const uint8_t *)"q", 1) == 1,
		 "input", NULL);
	rig_run_until(&rig, is_done);
	printf("%u lives, %zu bytes said\n", lives, rig.size);
	rig_release(&rig);
	return 0;
}
