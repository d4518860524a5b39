/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an agent that does not answer. A number in a file may be another
 * process by now: the one meant is the one that has this machine's lock open,
 * and a descriptor of the process is held from before that look to the signal.
 * An agent shows its descriptors to root alone; for others it is the process
 * that began when this machine's agent did.
 */
#include "vmsnap/machine_home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

static int read_number(int directory, const char *file, uint64_t *out,
		       struct err *err)
{
	autofree char *text = NULL;
	ssize_t size = machine_read_file(directory, file, 32, &text, err);
	char *end;

	if (size < 0)
		return (int)size;
	text[size] = 0;
	errno = 0;
	*out = strtoull(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end != '\n')
		return err_set(err, -EBADMSG, "%s is damaged", file);
	return 0;
}

static int read_pid(int directory, struct err *err)
{
	uint64_t process;
	int r = read_number(directory, "agent.pid", &process, err);

	if (r < 0)
		return r;
	if (process <= 1 || process > INT32_MAX)
		return err_set(err, -EBADMSG, "agent.pid is damaged");
	return (int)process;
}

int machine_process_start(int process, uint64_t *out, struct err *err)
{
	char path[64], text[1024], *at;
	ssize_t size = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", process);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		size = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (size <= 0)
		return err_sys(err, size < 0 ? -errno : -ESRCH, "'%s'", path);
	text[size] = 0;
	/* The name, in parentheses, may be anything; it is field 2 of them. */
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return err_set(err, -EBADMSG, "'%s' is cut off", path);
	*out = strtoull(at + 1, NULL, 10);
	return 0;
}

static bool began_then(int directory, int process)
{
	uint64_t wanted, is;

	return read_number(directory, "agent.start", &wanted, NULL) == 0 &&
	       machine_process_start(process, &is, NULL) == 0 && wanted == is;
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
		return machine_not_running(name, err);
	process = read_pid(directory, err);
	if (process < 0)
		return err_prefix(err, "machine '%s'", name);
	handle = (int)syscall(SYS_pidfd_open, process, 0);
	if (handle < 0 || (!has_open(process, &lock) &&
			   !(geteuid() && began_then(directory, process))))
		return err_set(
			err, -EIO,
			"machine '%s' is locked by a process that is not "
			"its agent",
			name);
	if (syscall(SYS_pidfd_send_signal, handle, SIGKILL, NULL, 0) < 0)
		return err_sys(err, -errno, "machine '%s'", name);
	return 0;
}
