/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last words of an agent that made a system call that it must not. The
 * kernel skips the call and sends SIGSYS; the handler runs at most once in the
 * life of the process (SA_RESETHAND, and no thread may set another), says what
 * it was, and ends the process by the same signal. A filter that kills at once
 * would leave nobody who knows why: the agent is no child of who asks later.
 *
 * What it does can't be turned to harm: it is two writes to descriptors that
 * the process has anyway.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "kvm-agent/sandbox/private.h"

static int end_fd = -1;
static __thread enum sandbox_kind kind_here;

/* Async-signal-safe, and it fits. */
static void append(char *text, size_t size, const char *more)
{
	size_t at = strlen(text);

	while (*more && at + 1 < size)
		text[at++] = *more++;
	text[at] = 0;
}

static void append_number(char *text, size_t size, unsigned number)
{
	char digits[12];
	unsigned at = sizeof(digits) - 1;

	digits[at] = 0;
	do
		digits[--at] = (char)('0' + number % 10);
	while ((number /= 10));
	append(text, size, digits + at);
}

static void on_violation(int number, siginfo_t *info, void *context)
{
	static const char front[] = "{\"state\": \"crashed\", \"text\": \"";
	char words[160] = "ended by seccomp: the ", line[240] = "kvm-agent: ";

	(void)context;
	append(words, sizeof(words), sandbox_kind_name(kind_here));
	append(words, sizeof(words), " thread made system call ");
	append_number(words, sizeof(words), (unsigned)info->si_syscall);
	append(words, sizeof(words), ", which it must not make");

	append(line, sizeof(line), words);
	append(line, sizeof(line), "\n");
	(void)!write(STDERR_FILENO, line, strlen(line));
	*line = 0;
	append(line, sizeof(line), front);
	append(line, sizeof(line), words);
	append(line, sizeof(line), "\"}");
	if (end_fd >= 0)
		(void)!pwrite(end_fd, line, strlen(line), 0);
	/* Its default now. */
	(void)syscall(SYS_tgkill, getpid(), gettid(), number);
}

int violation_watch(int end)
{
	struct sigaction action = {
		.sa_sigaction = on_violation,
		.sa_flags = SA_SIGINFO | (int)SA_RESETHAND | SA_NODEFER,
	};

	end_fd = end;
	return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}

void violation_set_kind(enum sandbox_kind kind)
{
	sigset_t set;

	kind_here = kind;
	/* Blocked, it would kill without words. */
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
