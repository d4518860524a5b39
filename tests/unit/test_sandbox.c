/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists of system calls: for each kind of thread, calls that it must not
 * make end the process by SIGSYS, and what it needs goes through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "kvm-agent/sandbox/private.h"
#include "kvm-agent/vm/vcpu.h"

typedef void act_fn(void);

/* ---- what nobody may ---- */

static void do_execve(void)
{
	char *argv[] = { "true", NULL };

	execve("/bin/true", argv, NULL);
}

static void do_fork(void)
{
	if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0) == 0)
		_exit(0);
}

static void do_vfork(void)
{
	if (syscall(SYS_vfork) == 0)
		_exit(0);
}

static void do_ptrace(void)
{
	ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static void do_peek(void)
{
	struct iovec iov = { 0 };

	syscall(SYS_process_vm_readv, getppid(), &iov, 1, &iov, 1, 0);
}

static void do_kill(void)
{
	kill(getppid(), 0);
}

static void do_tgkill(void)
{
	syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static void do_internet(void)
{
	(void)socket(AF_INET, SOCK_STREAM, 0);
}

static void do_netlink(void)
{
	(void)socket(AF_NETLINK, SOCK_RAW, 0);
}

static void do_map_code(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void do_make_code(void)
{
	static uint8_t page[8192] __attribute__((aligned(4096)));

	(void)mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void do_unshare(void)
{
	(void)unshare(CLONE_NEWUSER);
}

static void do_namespace(void)
{
	syscall(SYS_clone, CLONE_VM | CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL,
		0);
}

static void do_mount(void)
{
	(void)mount("none", "/tmp", "tmpfs", 0, NULL);
}

static void do_chroot(void)
{
	(void)!chroot("/");
}

static void do_setuid(void)
{
	syscall(SYS_setuid, 0);
}

static void do_bpf(void)
{
	syscall(SYS_bpf, 0, NULL, 0);
}

static void do_keys(void)
{
	syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}

static void do_userfault(void)
{
	syscall(SYS_userfaultfd, 0);
}

static void do_limit(void)
{
	struct rlimit limits = { 0, 0 };

	setrlimit(RLIMIT_FSIZE, &limits);
}

/* Its handler would be what says what was refused. */
static void do_handler(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	sigaction(SIGSYS, &action, NULL);
}

static void do_handler_high_bits(void)
{
	syscall(SYS_rt_sigaction, (1L << 32) | SIGSYS, NULL, NULL, 8);
}

static void do_other_abi(void)
{
	syscall(0x40000000 | SYS_getpid); /* x32 */
}

static void do_debug_registers(void)
{
	ioctl(-1, KVM_SET_GUEST_DEBUG, NULL);
}

static void do_kvm_device(void)
{
	ioctl(-1, KVM_CREATE_DEVICE, NULL);
}

static void do_type_into_terminal(void)
{
	ioctl(-1, TIOCSTI, "x");
}

static const struct {
	const char *name;
	act_fn *act;
} never[] = {
	{ "execve", do_execve },
	{ "fork", do_fork },
	{ "vfork", do_vfork },
	{ "ptrace", do_ptrace },
	{ "process_vm_readv", do_peek },
	{ "kill", do_kill },
	{ "tgkill of another", do_tgkill },
	{ "an internet socket", do_internet },
	{ "a netlink socket", do_netlink },
	{ "mmap of code", do_map_code },
	{ "mprotect to code", do_make_code },
	{ "unshare", do_unshare },
	{ "clone of a namespace", do_namespace },
	{ "mount", do_mount },
	{ "chroot", do_chroot },
	{ "setuid", do_setuid },
	{ "bpf", do_bpf },
	{ "keyctl", do_keys },
	{ "userfaultfd", do_userfault },
	{ "setrlimit", do_limit },
	{ "sigaction of SIGSYS", do_handler },
	{ "the same with a high bit", do_handler_high_bits },
	{ "KVM_SET_GUEST_DEBUG", do_debug_registers },
	{ "KVM_CREATE_DEVICE", do_kvm_device },
	{ "TIOCSTI", do_type_into_terminal },
};

/* ---- what some may ---- */

static void do_nothing(void)
{
}

static void do_open(void)
{
	(void)!open("/", O_RDONLY | O_DIRECTORY);
}

static void do_unlink(void)
{
	unlink("/nothing/at/all");
}

static void do_unix(void)
{
	(void)socket(AF_UNIX, SOCK_STREAM, 0);
}

static void do_run(void)
{
	ioctl(-1, KVM_RUN, 0);
}

static void do_registers(void)
{
	ioctl(-1, KVM_SET_REGS, NULL);
}

static void do_create_vm(void)
{
	ioctl(-1, KVM_CREATE_VM, 0);
}

static void do_interrupt(void)
{
	ioctl(-1, KVM_SIGNAL_MSI, NULL);
}

static void do_ring(void)
{
	syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0);
}

static void *thread_of_thread(void *arg)
{
	return arg;
}

static void do_thread(void)
{
	pthread_t thread;

	/* Where it is refused: before the library blocks all signals. */
	syscall(SYS_clone3, NULL, 0);
	if (pthread_create(&thread, NULL, thread_of_thread, NULL))
		_exit(3);
	pthread_join(thread, NULL);
}

static void do_accept(void)
{
	(void)accept4(-1, NULL, NULL, 0);
}

static void do_eventfd(void)
{
	syscall(SYS_eventfd2, 0, 0);
}

/* The library's qsort() does, with as many as a large discard gives up. */
static void do_memory(void)
{
	struct sysinfo info;

	syscall(SYS_sysinfo, &info);
}

/* Refused in a way that those who ask can live with. */
static void do_new_ring(void)
{
	if (syscall(SYS_io_uring_setup, 1, NULL) != -1 || errno != EPERM)
		_exit(3);
}

#define BIT(kind) (1u << SANDBOX_##kind)
#define EVERYBODY \
	(BIT(CONTROL) | BIT(VCPU) | BIT(IO) | BIT(FILES) | BIT(KEEPER))

static const struct {
	const char *name;
	act_fn *act;
	unsigned kinds; /* that may */
} some[] = {
	{ "nothing", do_nothing, EVERYBODY },
	{ "open", do_open, BIT(CONTROL) | BIT(IO) | BIT(FILES) },
	{ "unlink", do_unlink, BIT(CONTROL) | BIT(IO) | BIT(FILES) },
	{ "a Unix socket", do_unix, BIT(CONTROL) | BIT(IO) | BIT(KEEPER) },
	{ "KVM_RUN", do_run, BIT(CONTROL) | BIT(VCPU) },
	{ "KVM_SET_REGS", do_registers, BIT(CONTROL) },
	{ "KVM_CREATE_VM", do_create_vm, BIT(CONTROL) },
	{ "KVM_SIGNAL_MSI", do_interrupt, BIT(CONTROL) | BIT(VCPU) | BIT(IO) },
	{ "io_uring_enter", do_ring, BIT(CONTROL) | BIT(IO) | BIT(FILES) },
	{ "sysinfo", do_memory, BIT(CONTROL) | BIT(IO) | BIT(FILES) },
	{ "a thread", do_thread, BIT(CONTROL) | BIT(IO) },
	{ "accept", do_accept, BIT(CONTROL) | BIT(IO) },
	{ "eventfd", do_eventfd, BIT(CONTROL) },
	{ "io_uring_setup", do_new_ring, EVERYBODY },
};

/* ---- a process behind the walls ---- */

static char end_path[] = "/tmp/test_sandbox.XXXXXX";
static int end_fd;

static enum sandbox_kind kind_now;
static act_fn *act_now;

static void *act_main(void *arg)
{
	sandbox_thread(kind_now);
	act_now();
	return arg;
}

static void __attribute__((noreturn)) run_child(void)
{
	const struct sandbox_filter filter = { .end = end_fd };
	const int null = open("/dev/null", O_RDWR);
	struct err err;
	pthread_t thread;

	dup2(null, STDERR_FILENO);
	if (privileges_reduce(0, &err) < 0 || sandbox_filter(&filter, &err) < 0)
		_exit(2);
	if (pthread_create(&thread, NULL, act_main, NULL))
		_exit(2);
	pthread_join(thread, NULL);
	_exit(0);
}

static int status_of(enum sandbox_kind kind, act_fn *act)
{
	int status = 0;
	pid_t child;

	assert_return_code(ftruncate(end_fd, 0), errno);
	kind_now = kind;
	act_now = act;
	child = fork();
	if (!child)
		run_child();
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void check_ended(enum sandbox_kind kind, const char *what, int status)
{
	char text[256] = "", wanted[128];

	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
		fail_msg("%s by the %s thread: status 0x%x", what,
			 sandbox_kind_name(kind), (unsigned)status);
	if (pread(end_fd, text, sizeof(text) - 1, 0) <= 0)
		fail_msg("%s by the %s thread: no words", what,
			 sandbox_kind_name(kind));
	snprintf(wanted, sizeof(wanted),
		 "{\"state\": \"crashed\", \"text\": \"ended by seccomp: the "
		 "%s thread made system call ",
		 sandbox_kind_name(kind));
	if (strncmp(text, wanted, strlen(wanted)) != 0)
		fail_msg("%s: end.json has '%s'", what, text);
}

/* With sanitizers nothing is refused, and there is nothing to see. */
#ifdef SANITIZED
#define REFUSES false
#else
#define REFUSES true
#endif

static void test_never(void **state)
{
	(void)state;
	if (!REFUSES)
		return;
	for (unsigned kind = SANDBOX_OPENING; kind < SANDBOX_KINDS; kind++) {
		for (size_t i = 0; i < ARRAY_SIZE(never); i++)
			check_ended((enum sandbox_kind)kind, never[i].name,
				    status_of((enum sandbox_kind)kind,
					      never[i].act));
	}
}

static void test_some(void **state)
{
	(void)state;
	if (!REFUSES)
		return;
	for (unsigned kind = SANDBOX_CONTROL; kind < SANDBOX_KINDS; kind++) {
		for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
			int status =
				status_of((enum sandbox_kind)kind, some[i].act);

			if (!(some[i].kinds & 1u << kind))
				check_ended((enum sandbox_kind)kind,
					    some[i].name, status);
			else if (status)
				fail_msg("%s by the %s thread: status 0x%x",
					 some[i].name,
					 sandbox_kind_name(
						 (enum sandbox_kind)kind),
					 (unsigned)status);
		}
	}
}

/* Killed at once: who makes such a call knows what it does. */
static void test_other_abi(void **state)
{
	(void)state;
	if (!REFUSES)
		return;
	for (unsigned kind = SANDBOX_OPENING; kind < SANDBOX_KINDS; kind++) {
		int status = status_of((enum sandbox_kind)kind, do_other_abi);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

/* An assertion that fails still ends the process by its own signal. */
static void test_abort(void **state)
{
	(void)state;
	for (unsigned kind = SANDBOX_OPENING; kind < SANDBOX_KINDS; kind++) {
		int status = status_of((enum sandbox_kind)kind, abort);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
	}
}

/* Its vCPUs' signal, and the child that looks at the disk. */
static pid_t looker;

static void do_own_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	if (sigaction(VCPU_KICK, &action, NULL) < 0 ||
	    kill(looker, SIGKILL) < 0)
		_exit(3);
}

static void do_other_signal(void)
{
	kill(looker, SIGTERM);
}

static void run_with_child(act_fn *act)
{
	struct sandbox_filter filter = { .end = end_fd };
	const int null = open("/dev/null", O_RDWR);
	struct err err;

	dup2(null, STDERR_FILENO);
	looker = fork();
	if (!looker) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	filter.child = looker;
	if (privileges_reduce(0, &err) < 0 || sandbox_filter(&filter, &err) < 0)
		_exit(2);
	sandbox_thread(SANDBOX_CONTROL);
	act();
	_exit(0);
}

static void test_child(void **state)
{
	static act_fn *const acts[] = { do_own_signals, do_other_signal };

	(void)state;
	if (!REFUSES)
		return;
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();
		int status = 0;

		if (!child)
			run_with_child(acts[i]);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (i)
			check_ended(SANDBOX_CONTROL, "kill", status);
		else
			assert_int_equal(status, 0);
	}
}

static int make_end(void **state)
{
	(void)state;
	end_fd = mkstemp(end_path);
	return end_fd < 0;
}

static int remove_end(void **state)
{
	(void)state;
	close(end_fd);
	return unlink(end_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never),     cmocka_unit_test(test_some),
		cmocka_unit_test(test_other_abi), cmocka_unit_test(test_abort),
		cmocka_unit_test(test_child),
	};

	return cmocka_run_group_tests(tests, make_end, remove_end);
}
