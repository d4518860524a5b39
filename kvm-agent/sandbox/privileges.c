/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process is no longer allowed, whatever user it runs as.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "kvm-agent/sandbox/private.h"

#define DESCRIPTORS_MAX 4096
/* For io_uring's rings, 100 KiB a disk, which Linux 6.18 counts here and 6.1
 * does not; to lock memory itself is not among the process' system calls. */
#define LOCKED_MAX (8 * MIB)

static int limit(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit limits;

	if (getrlimit(resource, &limits) < 0)
		return -errno;
	if (limits.rlim_max < value)
		value = limits.rlim_max;
	limits = (struct rlimit){ value, value };
	return setrlimit(resource, &limits) < 0 ? -errno : 0;
}

/* RAM and disks have no limit here: they are as large as they are. */
static int set_limits(struct err *err)
{
	int r = limit(RLIMIT_CORE, 0);

	if (r == 0)
		r = limit(RLIMIT_NOFILE, DESCRIPTORS_MAX);
	if (r == 0)
		r = limit(RLIMIT_MEMLOCK, LOCKED_MAX);
	if (r == 0)
		r = limit(RLIMIT_MSGQUEUE, 0);
	return r < 0 ? err_sys(err, r, "a resource limit") : 0;
}

/* Of root, to open what it was told to, whoever's it is. */
#define TO_OPEN (1u << CAP_DAC_OVERRIDE)
/* To become the machine's own user; and to end a process that already is. */
#define TO_CHANGE (1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL)

static uid_t own_user; /* 0: it stays who it is */

static int get_permitted(uint32_t *out)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, now) < 0)
		return -errno;
	*out = now[0].permitted;
	return 0;
}

static int set_capabilities(uint32_t kept)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct only[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = kept, .permitted = kept },
	};

	return syscall(SYS_capset, &header, only) < 0 ? -errno : 0;
}

uid_t privileges_user(void)
{
	return own_user;
}

/* By the kernel's calls, which are the calling thread's; the C library's would
 * ask all threads. */
static int become_user(void)
{
	if (syscall(SYS_setresgid, own_user, own_user, own_user) < 0 ||
	    syscall(SYS_setresuid, own_user, own_user, own_user) < 0)
		return -errno;
#ifndef SANITIZED
	/* A host may be set to make who changes its user dumpable. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
#endif
	return 0;
}

int privileges_drop(void)
{
	int r = own_user ? become_user() : 0;

	return r == 0 ? set_capabilities(0) : r;
}

static int drop_most(struct err *err)
{
	uint32_t permitted = 0;
	int r = get_permitted(&permitted);

	/* A user id is a number from here on, root's too. Both need a
	 * capability, and who has none has nothing to lose. */
	(void)prctl(
		PR_SET_SECUREBITS,
		SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
			SECBIT_NO_SETUID_FIXUP_LOCKED |
			SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
			SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
		0, 0, 0);
	for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	if (r == 0 && own_user && setgroups(0, NULL) < 0)
		r = -errno;
	if (r == 0)
		r = set_capabilities(
			permitted & (own_user ? TO_OPEN | TO_CHANGE : TO_OPEN));
	return r < 0 ? err_sys(err, r, "capabilities") : 0;
}

int privileges_reduce(uid_t user, struct err *err)
{
	int r = set_limits(err);

	own_user = user;
	if (r == 0)
		r = drop_most(err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "no new privileges");
#ifndef SANITIZED /* LeakSanitizer needs ptrace on its own process */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, -errno, "no core, no tracer");
#endif
	return 0;
}
