/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that asked for a reset goes on until the control thread comes, which
 * here is not before it has done its worst: a triple fault is then no crash, and
 * what no reset undoes is one. RAM is cleared meanwhile, by a thread that holds
 * nobody up. Argument: restart.elf.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kvm-agent/machine_private.h"
#include "tests/kvm/host/rig.h"

#define LIMIT_NS 300000000000ll
#define MEMORY   (16 * MIB)

static struct rig rig;
static unsigned resets;
static atomic_uint clears, clears_by_control;

/* In place of the library's. The main thread is the control thread here. */
int madvise(void *at, size_t size, int advice)
{
	if (advice == MADV_DONTNEED && size == MEMORY) {
		clears++;
		clears_by_control += getpid() == gettid();
	}
	return (int)syscall(SYS_madvise, at, size, advice);
}

/* The machine runs when this is back, and nobody listens to it. */
static void told(struct machine_hooks *hooks, enum guest_event event)
{
	(void)hooks;
	resets += event == GUEST_RESET;
	loop_stop(rig.loop);
}

/* The loop doesn't run. */
static void await_fault(void)
{
	const int64_t end_ns = time_monotonic_ns() + LIMIT_NS;

	while (vcpu_state(&rig.machine->vcpus[0]) != VCPU_STOPPED) {
		rig_must(time_monotonic_ns() < end_ns, "no fault", NULL);
		sched_yield();
	}
}

int main(int argc, char **argv)
{
	struct err err;

	rig_must(argc == 2, "one argument: restart.elf", NULL);
	rig_init(&rig, argv[1], 1, MEMORY);
	rig.hooks.told = told;
	rig_make(&rig, false);
	rig_must(machine_resume(rig.machine, &err) == 0, "run", &err);
	await_fault();
	rig_must(loop_run(rig.loop, &err) == 0, "loop", &err);
	rig_must(rig.ended == MACHINE_CREATED, rig.words, NULL);
	rig_must(resets == 1, "no reset", NULL);
	puts("a triple fault behind it is no crash");
	rig_must(clears == 1, "RAM was not cleared once", NULL);
	rig_must(!clears_by_control, "the control thread cleared it", NULL);
	puts("RAM is cleared, by nobody who is waited for");

	await_fault();
	rig_run_to_end(&rig);
	rig_must(rig.ended == MACHINE_CRASHED && resets == 1, rig.text, NULL);
	rig_must(strstr(rig.words, "rip 0xd2000000"), rig.words, NULL);
	puts("what no reset undoes is one");
	rig_release(&rig);
	return 0;
}
