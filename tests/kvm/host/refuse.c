/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command on a host that is worse than this one: its kernel refuses what
 * the rules say, by a filter of seccomp, which the command's children inherit.
 * Usage: refuse RULE... -- COMMAND...
 *
 *   CALL=ERRNO   a call of KVM (CREATE_VM, ...) fails so
 *   without=CAP  KVM lacks the capability (PIT2, ...)
 *   mmap=N       no mapping of N to N + 1 GiB can be had
 *
 * Without rules, "refuse --capabilities" names those that it knows of, a line
 * each.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/kvm/host/rig.h"

struct name {
	const char *text;
	uint64_t number;
};

static const struct name calls[] = {
	{ "CREATE_VM", KVM_CREATE_VM },
	{ "CREATE_IRQCHIP", KVM_CREATE_IRQCHIP },
	{ "CREATE_PIT2", KVM_CREATE_PIT2 },
	{ "CREATE_VCPU", KVM_CREATE_VCPU },
	{ "SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION },
	{ "SET_CPUID2", KVM_SET_CPUID2 },
	{ "RUN", KVM_RUN },
};

#define CAPABILITY(name)              \
	{                             \
#name, KVM_CAP_##name \
	}

static const struct name capabilities[] = {
	CAPABILITY(IRQCHIP),
	CAPABILITY(USER_MEMORY),
	CAPABILITY(SET_TSS_ADDR),
	CAPABILITY(SET_IDENTITY_MAP_ADDR),
	CAPABILITY(EXT_CPUID),
	CAPABILITY(PIT2),
	CAPABILITY(PIT_STATE2),
	CAPABILITY(MP_STATE),
	CAPABILITY(IMMEDIATE_EXIT),
	CAPABILITY(IRQ_ROUTING),
	CAPABILITY(SIGNAL_MSI),
	CAPABILITY(IOEVENTFD),
	CAPABILITY(VCPU_EVENTS),
	CAPABILITY(DEBUGREGS),
	CAPABILITY(XSAVE),
	CAPABILITY(XCRS),
	CAPABILITY(ADJUST_CLOCK),
	CAPABILITY(GET_TSC_KHZ),
	CAPABILITY(SREGS2),
	CAPABILITY(TSC_CONTROL),
	CAPABILITY(TSC_DEADLINE_TIMER),
	CAPABILITY(XSAVE2),
};

static uint64_t number_of(const struct name *names, size_t count,
			  const char *text, size_t length)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(names[i].text) == length &&
		    !memcmp(names[i].text, text, length))
			return names[i].number;
	}
	rig_must(false, text, NULL);
	return 0;
}

static uint32_t error_of(const char *text)
{
	for (int i = 1; i < 200; i++) {
		const char *name = strerrorname_np(i);

		if (name && !strcmp(name, text))
			return (uint32_t)i;
	}
	rig_must(false, text, NULL);
	return 0;
}

static void add(scmp_filter_ctx filter, const char *rule)
{
	const char *value = strchr(rule, '=');
	size_t length;
	int r;

	rig_must(value, rule, NULL);
	length = (size_t)(value++ - rule);
	if (!strncmp(rule, "without=", length))
		r = seccomp_rule_add(
			filter, SCMP_ACT_ERRNO(0), SCMP_SYS(ioctl), 2,
			SCMP_A1(SCMP_CMP_EQ, KVM_CHECK_EXTENSION, 0),
			SCMP_A2(SCMP_CMP_EQ,
				number_of(capabilities,
					  ARRAY_SIZE(capabilities), value,
					  strlen(value)),
				0));
	else if (!strncmp(rule, "mmap=", length))
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOMEM),
				     SCMP_SYS(mmap), 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, ~(GIB - 1),
					     strtoull(value, NULL, 10) * GIB));
	else
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(error_of(value)),
				     SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_EQ,
					     number_of(calls, ARRAY_SIZE(calls),
						       rule, length),
					     0));
	rig_must(r == 0, rule, NULL);
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter;
	int at = 1;

	if (argc == 2 && !strcmp(argv[1], "--capabilities")) {
		for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
			puts(capabilities[i].text);
		return 0;
	}
	filter = seccomp_init(SCMP_ACT_ALLOW);
	rig_must(filter, "seccomp", NULL);
	while (at < argc && strcmp(argv[at], "--") != 0)
		add(filter, argv[at++]);
	rig_must(at + 1 < argc, "usage: refuse RULE... -- COMMAND...", NULL);
	/* What the command may do is otherwise as it was: root keeps that. */
	rig_must(seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP,
				  geteuid() != 0) == 0,
		 "seccomp", NULL);
	rig_must(seccomp_load(filter) == 0, "seccomp", NULL);
	seccomp_release(filter);
	execv(argv[at + 1], argv + at + 1);
	rig_must(false, argv[at + 1], NULL);
}
