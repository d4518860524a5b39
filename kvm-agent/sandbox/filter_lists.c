/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls each kind of thread makes. A thread can't have more than
 * the one that starts it: the I/O thread starts an image's helpers, and the
 * control thread everything else, so their lists hold those of the others. A
 * call that opens, connects or changes a name reaches what stands in the
 * sandbox's root and network, no further.
 *
 * Whoever adds a call says for which kind, and that its arguments can't make
 * code of data, make a process, or reach another one.
 */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm-agent/sandbox/private.h"
#include "kvm-agent/vm/vcpu.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* younger than the C library */
#endif

#define SIGNAL_OF_LIBRARY (__SIGRTMIN + 1)

/* Marks of a call: who makes it. */
enum mark {
	EVERY = 1,
	VCPU = 2,
	IO = 4,
	FILES = 8, /* of a disk */
	KEEPER = 16,
	CONTROL = 32,
	OPENING = 64, /* until the guest runs */
};

static const struct {
	const char *name;
	unsigned marks; /* of the calls that it makes */
} kinds[SANDBOX_KINDS] = {
	[SANDBOX_OPENING] = { "opening", EVERY | VCPU | IO | FILES | KEEPER |
						 CONTROL | OPENING },
	[SANDBOX_CONTROL] = { "control",
			      EVERY | VCPU | IO | FILES | KEEPER | CONTROL },
	[SANDBOX_VCPU] = { "vCPU", EVERY | VCPU },
	[SANDBOX_IO] = { "I/O", EVERY | IO | FILES | KEEPER },
	[SANDBOX_FILES] = { "files", EVERY | FILES },
	[SANDBOX_KEEPER] = { "keeper", EVERY | KEEPER },
};

const char *sandbox_kind_name(enum sandbox_kind kind)
{
	return kinds[kind].name;
}

static const struct {
	int number;
	unsigned marks;
} calls[] = {
	/* Memory, locks, time, the thread itself. */
	{ SCMP_SYS(brk), EVERY },
	{ SCMP_SYS(capset), EVERY }, /* which takes, and never gives */
	{ SCMP_SYS(clock_getres), EVERY },
	{ SCMP_SYS(clock_gettime), EVERY },
	{ SCMP_SYS(clock_nanosleep), EVERY },
	{ SCMP_SYS(exit), EVERY },
	{ SCMP_SYS(exit_group), EVERY },
	{ SCMP_SYS(futex), EVERY },
	{ SCMP_SYS(getpid), EVERY },
	{ SCMP_SYS(getrandom), EVERY },
	{ SCMP_SYS(gettid), EVERY },
	{ SCMP_SYS(gettimeofday), EVERY },
	{ SCMP_SYS(madvise), EVERY },
	{ SCMP_SYS(mremap), EVERY },
	{ SCMP_SYS(munmap), EVERY },
	{ SCMP_SYS(restart_syscall), EVERY },
	{ SCMP_SYS(rseq), EVERY },
	{ SCMP_SYS(rt_sigprocmask), EVERY },
	{ SCMP_SYS(rt_sigreturn), EVERY },
	{ SCMP_SYS(sched_yield), EVERY },
	{ SCMP_SYS(set_robust_list), EVERY },

	/* Descriptors that are there. */
	{ SCMP_SYS(close), EVERY },
	{ SCMP_SYS(fstat), EVERY },
	{ SCMP_SYS(newfstatat), EVERY },
	{ SCMP_SYS(poll), EVERY },
	{ SCMP_SYS(pread64), EVERY },
	{ SCMP_SYS(pwrite64), EVERY },
	{ SCMP_SYS(read), EVERY },
	{ SCMP_SYS(readv), EVERY },
	{ SCMP_SYS(timerfd_settime), EVERY },
	{ SCMP_SYS(write), EVERY },
	{ SCMP_SYS(writev), EVERY },
	{ SCMP_SYS(epoll_ctl), VCPU | IO | KEEPER },
	{ SCMP_SYS(epoll_pwait), IO | KEEPER },
	{ SCMP_SYS(epoll_wait), IO | KEEPER },
	/* A helper's as well: what is beneath a throw-away layer is an image. */
	{ SCMP_SYS(io_uring_enter), IO | FILES },
	{ SCMP_SYS(ppoll), IO | KEEPER },

	/* Files. */
	{ SCMP_SYS(access), FILES },
	{ SCMP_SYS(fadvise64), FILES },
	{ SCMP_SYS(fallocate), FILES },
	{ SCMP_SYS(fcntl), FILES | KEEPER },
	{ SCMP_SYS(fdatasync), FILES },
	{ SCMP_SYS(fsync), FILES },
	{ SCMP_SYS(ftruncate), FILES | KEEPER },
	{ SCMP_SYS(getdents64), FILES },
	{ SCMP_SYS(link), FILES },
	{ SCMP_SYS(linkat), FILES },
	{ SCMP_SYS(lseek), FILES },
	{ SCMP_SYS(openat), FILES },
	{ SCMP_SYS(preadv), FILES },
	{ SCMP_SYS(pwritev), FILES },
	{ SCMP_SYS(rename), FILES },
	{ SCMP_SYS(renameat2), FILES },
	{ SCMP_SYS(sync_file_range), FILES },
	{ SCMP_SYS(sysinfo), FILES }, /* the library's, to sort */
	{ SCMP_SYS(unlink), FILES },
	{ SYS_cachestat, FILES },

	/* Sockets: a peer's, a keeper's, passt's, those beside the machine. Who
	 * reads an image asks the keeper, or an NBD server, itself. */
	{ SCMP_SYS(accept4), IO },
	{ SCMP_SYS(connect), IO | KEEPER },
	{ SCMP_SYS(geteuid), IO }, /* who is at the other end? */
	{ SCMP_SYS(getpeername), IO },
	{ SCMP_SYS(getsockopt), IO | KEEPER },
	{ SCMP_SYS(recvfrom), IO | KEEPER | FILES },
	{ SCMP_SYS(recvmsg), IO | KEEPER },
	{ SCMP_SYS(sendmsg), IO | KEEPER | FILES },
	{ SCMP_SYS(sendto), IO | KEEPER | FILES },
	{ SCMP_SYS(setsockopt), IO | KEEPER },
	{ SCMP_SYS(shutdown), IO | KEEPER | FILES },

	/* The machine as a whole. */
	{ SCMP_SYS(bind), CONTROL },
	{ SCMP_SYS(epoll_create1), CONTROL },
	{ SCMP_SYS(eventfd2), CONTROL },
	{ SCMP_SYS(getrusage), CONTROL },
	{ SCMP_SYS(getuid), CONTROL },
	{ SCMP_SYS(listen), CONTROL },
	{ SCMP_SYS(memfd_create), CONTROL | KEEPER },
	{ SCMP_SYS(sched_getaffinity), CONTROL },
	{ SCMP_SYS(signalfd4), CONTROL },
	{ SCMP_SYS(timerfd_create), CONTROL },
	{ SCMP_SYS(wait4), CONTROL },

	/* The sockets that the guest's connections go to. */
	{ SCMP_SYS(chdir), OPENING },
	{ SCMP_SYS(fchdir), OPENING }, /* of the keeper's thread */

	/* The folder of a layer that is thrown away. */
	{ SCMP_SYS(mkdir), OPENING },
	{ SCMP_SYS(rmdir), OPENING },

	/* A ring that is made later could do what no list here allows. */
	{ SCMP_SYS(io_uring_register), OPENING },
	{ SCMP_SYS(io_uring_setup), OPENING },
};

static const struct {
	unsigned request;
	unsigned marks;
} requests[] = {
	{ KVM_RUN, VCPU },
	{ KVM_IRQ_LINE, VCPU | IO },
	{ KVM_SIGNAL_MSI, VCPU | IO },
	{ KVM_IOEVENTFD, VCPU | IO },
	{ KVM_GET_REGS, VCPU },

	{ KVM_CHECK_EXTENSION, CONTROL },
	{ KVM_CREATE_IRQCHIP, CONTROL },
	{ KVM_CREATE_PIT2, CONTROL },
	{ KVM_CREATE_VCPU, CONTROL },
	{ KVM_CREATE_VM, CONTROL },
	{ KVM_GET_API_VERSION, CONTROL },
	{ KVM_GET_CLOCK, CONTROL },
	{ KVM_GET_DEBUGREGS, CONTROL },
	{ KVM_GET_IRQCHIP, CONTROL },
	{ KVM_GET_LAPIC, CONTROL },
	{ KVM_GET_MP_STATE, CONTROL },
	{ KVM_GET_MSRS, CONTROL },
	{ KVM_GET_MSR_INDEX_LIST, CONTROL },
	{ KVM_GET_PIT2, CONTROL },
	{ KVM_GET_SREGS, CONTROL },
	{ KVM_GET_SREGS2, CONTROL },
	{ KVM_GET_SUPPORTED_CPUID, CONTROL },
	{ KVM_GET_TSC_KHZ, CONTROL },
	{ KVM_GET_VCPU_EVENTS, CONTROL },
	{ KVM_GET_VCPU_MMAP_SIZE, CONTROL },
	{ KVM_GET_XCRS, CONTROL },
	{ KVM_GET_XSAVE, CONTROL },
	{ KVM_GET_XSAVE2, CONTROL },
	{ KVM_KVMCLOCK_CTRL, CONTROL },
	{ KVM_SET_CLOCK, CONTROL },
	{ KVM_SET_CPUID2, CONTROL },
	{ KVM_SET_DEBUGREGS, CONTROL },
	{ KVM_SET_GSI_ROUTING, CONTROL },
	{ KVM_SET_IDENTITY_MAP_ADDR, CONTROL },
	{ KVM_SET_IRQCHIP, CONTROL },
	{ KVM_SET_LAPIC, CONTROL },
	{ KVM_SET_MP_STATE, CONTROL },
	{ KVM_SET_MSRS, CONTROL },
	{ KVM_SET_PIT2, CONTROL },
	{ KVM_SET_REGS, CONTROL },
	{ KVM_SET_SREGS, CONTROL },
	{ KVM_SET_SREGS2, CONTROL },
	{ KVM_SET_TSC_KHZ, CONTROL },
	{ KVM_SET_TSS_ADDR, CONTROL },
	{ KVM_SET_USER_MEMORY_REGION, CONTROL },
	{ KVM_SET_VCPU_EVENTS, CONTROL },
	{ KVM_SET_XCRS, CONTROL },
	{ KVM_SET_XSAVE, CONTROL },

	{ BLKGETSIZE64, FILES },
	{ BLKZEROOUT, FILES },
	{ TUNSETOFFLOAD, VCPU | IO },
	{ TCGETS, CONTROL },
	{ TCSETS, CONTROL },
};

static struct scmp_arg_cmp is(unsigned argument, uint64_t value)
{
	return (struct scmp_arg_cmp){ argument, SCMP_CMP_EQ, value, 0 };
}

static struct scmp_arg_cmp has_bits(unsigned argument, uint64_t mask,
				    uint64_t value)
{
	return (struct scmp_arg_cmp){ argument, SCMP_CMP_MASKED_EQ, mask,
				      value };
}

/* With conditions: allowed where all of them hold. */
#define WHEN(filter, call, ...)                                       \
	seccomp_rule_add_array(                                       \
		filter, SCMP_ACT_ALLOW, call,                         \
		ARRAY_SIZE(((struct scmp_arg_cmp[]){ __VA_ARGS__ })), \
		(struct scmp_arg_cmp[]){ __VA_ARGS__ })

#define NEW_NAMESPACES                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
	 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define THREAD \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

/* Each thread does it once for itself. */
static int add_own_user(scmp_filter_ctx filter)
{
	const uid_t user = privileges_user();
	int r = WHEN(filter, SCMP_SYS(setresgid), is(0, user), is(1, user),
		     is(2, user));

	if (r == 0)
		r = WHEN(filter, SCMP_SYS(setresuid), is(0, user), is(1, user),
			 is(2, user));
	if (r == 0)
		r = WHEN(filter, SCMP_SYS(prctl), is(0, PR_SET_DUMPABLE),
			 is(1, 0));
	return r;
}

static int add_every(scmp_filter_ctx filter)
{
	const unsigned pid = (unsigned)getpid();
	int r;

	/* No code is made of data. */
	r = WHEN(filter, SCMP_SYS(mmap), has_bits(2, PROT_EXEC, 0));
	if (r == 0)
		r = WHEN(filter, SCMP_SYS(mprotect), has_bits(2, PROT_EXEC, 0));
	/* Signals for its own threads only: abort(). */
	if (r == 0)
		r = WHEN(filter, SCMP_SYS(tgkill), is(0, pid));
	if (r == 0)
		r = WHEN(filter, SCMP_SYS(prctl), is(0, PR_SET_NAME));
	if (r == 0 && privileges_user())
		r = add_own_user(filter);
	return r;
}

/* Those who start threads, which then take rights from themselves. */
static int add_thread_calls(scmp_filter_ctx filter)
{
	int r;

	r = WHEN(filter, SCMP_SYS(clone),
		 has_bits(0, THREAD | NEW_NAMESPACES, THREAD));
	/* Its flags lie in memory, where no filter sees them: the C library
	 * then takes the other one. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
				     SCMP_SYS(clone3), 0);
	if (r == 0)
		r = WHEN(filter, SCMP_SYS(seccomp),
			 is(0, SECCOMP_SET_MODE_FILTER));
	return r;
}

static int add_socket(scmp_filter_ctx filter)
{
	return WHEN(filter, SCMP_SYS(socket), is(0, AF_UNIX));
}

static int add_control_calls(scmp_filter_ctx filter,
			     const struct sandbox_filter *options)
{
	/* Each vCPU's start sets its own, and the C library one of its own
	 * with the first thread. Nobody sets that of SIGSYS, which says what
	 * was refused. */
	int r = WHEN(filter, SCMP_SYS(rt_sigaction),
		     is(0, (unsigned)VCPU_KICK));

	if (r == 0)
		r = WHEN(filter, SCMP_SYS(rt_sigaction),
			 is(0, SIGNAL_OF_LIBRARY));
	if (r == 0 && options->child)
		r = WHEN(filter, SCMP_SYS(kill),
			 is(0, (unsigned)options->child), is(1, SIGKILL));
	return r;
}

static int add_requests(scmp_filter_ctx filter, unsigned marks)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(requests); i++) {
		if (requests[i].marks & marks)
			r = WHEN(filter, SCMP_SYS(ioctl),
				 has_bits(1, UINT32_MAX, requests[i].request));
	}
	return r;
}

int filter_add_rules(scmp_filter_ctx filter, enum sandbox_kind kind,
		     const struct sandbox_filter *options)
{
	const unsigned marks = kinds[kind].marks;
	int r = add_every(filter);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(calls); i++) {
		if (calls[i].marks & marks)
			r = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
					     calls[i].number, 0);
	}
	if (r == 0)
		r = add_requests(filter, marks);
	if (r == 0 && marks & (IO | KEEPER))
		r = add_socket(filter);
	if (r == 0 && marks & IO)
		r = add_thread_calls(filter);
	if (r == 0 && marks & CONTROL)
		r = add_control_calls(filter, options);
	/* A current folder of its own: no namespace. */
	if (r == 0 && marks & OPENING)
		r = WHEN(filter, SCMP_SYS(unshare), is(0, CLONE_FS));
	/* It is asked for where it may be had, and done without where not. */
	if (r == 0 && !(marks & OPENING))
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM),
				     SCMP_SYS(io_uring_setup), 0);
	return r;
}
