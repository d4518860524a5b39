/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm-agent/cpu_option.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int read_list(int fd, const char *quoted, struct cpu_baseline *out,
		     struct err *err)
{
	autofree char *text = NULL;
	size_t size = 0;
	int r = alloc_array(&text, CPU_FILE_MAX + 1, 1, err);

	if (r < 0)
		return r;
	while (size <= CPU_FILE_MAX) {
		ssize_t n = read(fd, text + size, CPU_FILE_MAX + 1 - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "--cpu '%s'", quoted);
		if (!n)
			break;
		size += (size_t)n;
	}
	return cpu_baseline_parse(text, size, out, err);
}

int cpu_option_take(const char *text, struct machine_options *options,
		    struct err *err)
{
	autofd int fd = -1;
	char quoted[256];
	int r;

	if (cpu_model_parse(text, &options->cpu))
		return 0;
	escape_name(quoted, sizeof(quoted), text);
	fd = open(text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT && !strchr(text, '/'))
		return err_set(err, -EINVAL,
			       "no CPU is called '%s': it is " CPU_OPTION_WORDS,
			       quoted);
	/* -EACCES is KVM's, for the exit status. */
	if (fd < 0)
		return err_sys(err, errno == EACCES ? -EPERM : -errno,
			       "--cpu '%s'", quoted);
	r = read_list(fd, quoted, &options->cpu_baseline, err);
	if (r == 0)
		options->cpu = CPU_FILE;
	return r;
}

int cpu_option_print(const struct machine_options *options, struct err *err)
{
	autofree struct kvm_cpuid2 *cpuid = NULL;
	autofree char *text = NULL;
	struct cpu_baseline found;
	uint64_t capabilities = 0;
	struct vm vm;
	int r = vm_open(&vm, err);

	if (r < 0)
		return r;
	r = machine_cpuid(&vm, options, 1, &cpuid, &capabilities, err);
	vm_close(&vm);
	if (r < 0)
		return r;
	cpu_baseline_of(cpuid, capabilities, &found);
	r = cpu_baseline_print(&found, &text, err);
	if (r == 0 && (fputs(text, stdout) < 0 || fflush(stdout)))
		r = err_sys(err, -errno, "standard output");
	return r;
}
