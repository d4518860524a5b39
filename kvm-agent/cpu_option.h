/* SPDX-License-Identifier: Apache-2.0 */
/* --cpu: a model by its name, or a file that lists what it has. */
#ifndef KVM_AGENT_CPU_OPTION_H
#define KVM_AGENT_CPU_OPTION_H

#include "kvm-agent/machine.h"

#define CPU_OPTION_WORDS "host, x86-64-v2, x86-64-v3, or a file"

/* Reads the file. -EINVAL: no such name; -ENOENT; the errors of
 * cpu_baseline_parse(). */
int cpu_option_take(const char *text, struct machine_options *options,
		    struct err *err);
/* What such a processor has on this host, to standard output. The errors of
 * vm_open() and of those that apply it. */
int cpu_option_print(const struct machine_options *options, struct err *err);

#endif
