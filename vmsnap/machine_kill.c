/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an agent that does not answer. A number in a file may be another
 * process by now: the one meant is the one that has this machine's lock open,
 * and a descriptor of the process is held from before that look to the signal.
 */
#include "vmsnap/machine_home.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static bool has_open(int process, const struct stat *lock)
{
	char path[64];
	const struct dirent *entry;
	bool found = false;
	DIR *list;

	snprintf(path, sizeof(path), "/proc/%d/fd", process);
	list = opendir(path);
	while (list && !found && (entry = readdir(list))) {
		struct stat st;

		found = fstatat(dirfd(list), entry->d_name, &st, 0) == 0 &&
			st.st_dev == lock->st_dev && st.st_ino == lock->st_ino;
	}
	if (list)
		closedir(list);
	return found;
}

static int read_pid(int directory, struct err *err)
{
	autofree char *text = NULL;
	ssize_t size =
		machine_read_file(directory, "agent.pid", 32, &text, err);
	long process = 0;

	if (size < 0)
		return (int)size;
	text[size] = 0;
	process = strtol(text, NULL, 10);
	if (process <= 1 || process > INT32_MAX)
		return err_set(err, -EBADMSG, "agent.pid is damaged");
	return (int)process;
}

int vms_machine_kill(const char *home, const char *name, struct err *err)
{
	autofd int directory = machine_open(home, name, err);
	autofd int handle = -1;
	struct stat lock;
	int process, r;

	if (directory < 0)
		return directory;
	r = machine_is_locked(directory, err);
	if (r < 0)
		return r;
	if (!r || fstatat(directory, "lock", &lock, 0) < 0)
		return err_set(err, -ESRCH, "machine '%s' is not running",
			       name);
	process = read_pid(directory, err);
	if (process < 0)
		return err_prefix(err, "machine '%s'", name);
	handle = (int)syscall(SYS_pidfd_open, process, 0);
	if (handle < 0 || !has_open(process, &lock))
		return err_set(
			err, -EIO,
			"machine '%s' is locked by a process that is not "
			"its agent",
			name);
	if (syscall(SYS_pidfd_send_signal, handle, SIGKILL, NULL, 0) < 0)
		return err_sys(err, -errno, "machine '%s'", name);
	return 0;
}
