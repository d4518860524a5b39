/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A namespace of users is had from a process that is in it: one that does
 * nothing, as long as it takes to open it.
 */
#include "kvm-agent/sandbox/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ID_MAX UINT32_MAX /* which is no id itself */

static void add_line(char *text, size_t size, uint32_t inside, uint32_t outside,
		     uint32_t count)
{
	size_t used = strlen(text);

	if (count)
		snprintf(text + used, size - used, "%u %u %u\n", inside,
			 outside, count);
}

static int write_map(pid_t process, const char *file, uint32_t a, uint32_t b)
{
	uint32_t low = a < b ? a : b, high = a < b ? b : a;
	char path[64], text[256] = "";
	int fd, r = 0;

	add_line(text, sizeof(text), 0, 0, low);
	add_line(text, sizeof(text), low, high, 1);
	if (high > low) {
		add_line(text, sizeof(text), low + 1, low + 1, high - low - 1);
		add_line(text, sizeof(text), high, low, 1);
	}
	add_line(text, sizeof(text), high + 1, high + 1, ID_MAX - high - 1);
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)process, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

int idmap_open(uid_t owner, gid_t group, uid_t user)
{
	pid_t child =
		(pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	char path[64];
	int r;

	if (child < 0)
		return -errno;
	if (!child) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	r = write_map(child, "uid_map", owner, user);
	if (r == 0)
		r = write_map(child, "gid_map", group, user);
	if (r == 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)child);
		r = open(path, O_RDONLY | O_CLOEXEC);
		if (r < 0)
			r = -errno;
	}
	(void)kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}
