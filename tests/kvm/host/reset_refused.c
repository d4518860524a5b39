/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reset makes the machine's part of KVM anew, on a host that may have changed:
 * each call of it is refused in turn. The machine has crashed then, with words,
 * and can be taken down; refused nothing, it begins again. Argument: echo.elf.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/kvm/host/rig.h"

#define MEMORY (16 * MIB)
#define CPUS   3u

static const struct {
	const char *words;
	uint64_t request; /* 0: none */
	unsigned argument_is;
	uint64_t argument;
} refusals[] = {
	{ NULL, 0, 0, 0 },
	{ "KVM makes no virtual machine: Cannot allocate memory", KVM_CREATE_VM,
	  0, 0 },
	{ "KVM_CREATE_IRQCHIP: ", KVM_CREATE_IRQCHIP, 0, 0 },
	{ "KVM_CREATE_PIT2: ", KVM_CREATE_PIT2, 0, 0 },
	{ "KVM_SET_GSI_ROUTING: ", KVM_SET_GSI_ROUTING, 0, 0 },
	{ "KVM takes no RAM", KVM_SET_USER_MEMORY_REGION, 0, 0 },
	{ "KVM makes no vCPU 0: ", KVM_CREATE_VCPU, 0, 0 },
	{ "KVM makes no vCPU 2: ", KVM_CREATE_VCPU, 1, 2 },
	{ "KVM takes no such CPUID: ", KVM_SET_CPUID2, 0, 0 },
	{ "set a vCPU's registers: ", KVM_SET_REGS, 0, 0 },
};

static unsigned wanted;

static bool is_up(struct rig *rig)
{
	const char *at = rig->text;
	unsigned count = 0;

	while ((at = memmem(at, rig->size - (size_t)(at - rig->text), "up\n",
			    3))) {
		at += 3;
		count++;
	}
	return count >= wanted;
}

/* For this thread, which makes the machine; its others run on. */
static void refuse(unsigned index)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	rig_must(filter, "seccomp", NULL);
	rig_must(seccomp_rule_add(
			 filter, SCMP_ACT_ERRNO(ENOMEM), SCMP_SYS(ioctl),
			 1 + refusals[index].argument_is,
			 SCMP_A1(SCMP_CMP_EQ, refusals[index].request, 0),
			 SCMP_A2(SCMP_CMP_EQ, refusals[index].argument, 0)) ==
			 0,
		 "seccomp", NULL);
	rig_must(seccomp_load(filter) == 0, "seccomp", NULL);
	seccomp_release(filter);
}

static void play(const char *kernel, unsigned index)
{
	static struct rig rig;
	struct err err;

	rig_init(&rig, kernel, CPUS, MEMORY);
	rig_make(&rig, false);
	rig_must(machine_resume(rig.machine, &err) == 0, "resume", &err);
	wanted = 1;
	rig_run_until(&rig, is_up);
	if (refusals[index].request)
		refuse(index);
	rig_must(machine_reset(rig.machine, &err) == 0, "reset", &err);
	if (refusals[index].request) {
		rig_run_to_end(&rig);
		rig_must(rig.ended == MACHINE_CRASHED, "it is no crash", NULL);
		rig_must(!strncmp(rig.words, refusals[index].words,
				  strlen(refusals[index].words)),
			 rig.words, NULL);
		rig_must(machine_pause(rig.machine, &err) == -EBUSY &&
				 machine_resume(rig.machine, &err) == -EBUSY,
			 "it goes on", NULL);
	} else {
		wanted = 2;
		rig_run_until(&rig, is_up);
	}
	rig_release(&rig);
}

int main(int argc, char **argv)
{
	rig_must(argc == 2, "usage: reset_refused KERNEL", NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
		pid_t child = fork();
		int status;

		rig_must(child >= 0, "fork", NULL);
		if (!child) {
			play(argv[1], i);
			return 0;
		}
		rig_must(waitpid(child, &status, 0) == child && !status,
			 refusals[i].words ? refusals[i].words
					   : "nothing is refused",
			 NULL);
	}
	printf("%zu resets\n", ARRAY_SIZE(refusals));
	return 0;
}
