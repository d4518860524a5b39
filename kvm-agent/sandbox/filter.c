/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists as programs of the kernel. All of them are made at the start: a
 * thread that begins later only loads its own, by a call for which no library,
 * no memory and no file is needed.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "format/base/thread.h"
#include "kvm-agent/sandbox/private.h"

/* Sanitizers make calls of their own, in a process that is no wall anyway: what
 * is refused is then only written to the kernel's log. */
#ifdef SANITIZED
#define REFUSED SCMP_ACT_LOG
#else
#define REFUSED SCMP_ACT_TRAP
#endif

static void library_thread(enum thread_kind kind)
{
	switch (kind) {
	case THREAD_FILES:
		sandbox_thread(SANDBOX_FILES);
		return;
	case THREAD_KEEPER:
		sandbox_thread(SANDBOX_KEEPER);
		return;
	}
}

static struct sock_fprog programs[SANDBOX_KINDS]; /* for good */

static int export_program(scmp_filter_ctx filter, struct sock_fprog *out)
{
	autofd int fd = memfd_create("filter", MFD_CLOEXEC);
	autofree void *code = NULL;
	off_t size;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(filter, fd);
	if (r < 0)
		return r;
	size = lseek(fd, 0, SEEK_END);
	if (size <= 0 || size % (off_t)sizeof(struct sock_filter) ||
	    size > BPF_MAXINSNS * (off_t)sizeof(struct sock_filter))
		return -EINVAL;
	code = malloc((size_t)size);
	if (!code)
		return -ENOMEM;
	if (pread(fd, code, (size_t)size, 0) != size)
		return -EIO;
	out->len = (unsigned short)((size_t)size / sizeof(struct sock_filter));
	out->filter = ptr_steal(&code);
	return 0;
}

static int make_program(enum sandbox_kind kind,
			const struct sandbox_filter *options)
{
	scmp_filter_ctx filter = seccomp_init(REFUSED);
	int r = filter ? 0 : -ENOMEM;

	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
				     SCMP_ACT_KILL_PROCESS);
	/* The call that is made most comes first. */
	if (r == 0)
		r = seccomp_syscall_priority(filter, SCMP_SYS(ioctl),
					     UINT8_MAX);
	if (r == 0)
		r = filter_add_rules(filter, kind, options);
	if (r == 0)
		r = export_program(filter, &programs[kind]);
	seccomp_release(filter);
	return r;
}

static int load(enum sandbox_kind kind)
{
	violation_set_kind(kind);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0,
		       &programs[kind]) < 0
		       ? -errno
		       : 0;
}

int sandbox_filter(const struct sandbox_filter *options, struct err *err)
{
	int r = 0;

	for (unsigned kind = 0; r == 0 && kind < SANDBOX_KINDS; kind++)
		r = make_program((enum sandbox_kind)kind, options);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0)
		r = violation_watch(options->end);
	if (r == 0) {
		thread_on_start(library_thread);
		r = load(SANDBOX_OPENING);
	}
	if (r == -EINVAL || r == -ENOSYS)
		return err_set(err, -EOPNOTSUPP,
			       "this kernel can't filter system calls: it "
			       "lacks CONFIG_SECCOMP_FILTER");
	return r < 0 ? err_sys(err, r, "the filter of system calls") : 0;
}

void sandbox_thread(enum sandbox_kind kind)
{
	static const char words[] =
		"kvm-agent: a thread can't be held to its rights\n";

	if (!programs[kind].filter ||
	    (privileges_drop() == 0 && load(kind) == 0))
		return;
	(void)!write(STDERR_FILENO, words, sizeof(words) - 1);
	_exit(1);
}
