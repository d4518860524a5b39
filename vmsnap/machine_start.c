/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting an agent. Everything it needs of the machine's directory is opened
 * here and handed over as descriptors with fixed numbers, so that it can live
 * without that directory; the lock is among them and goes when it goes. What it
 * says goes to agent.log; it writes a line to the ready pipe when the guest
 * runs, and its end without that is a failed start.
 */
#include "vmsnap/machine_home.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "vmsnap/control.h"
#include "vmsnap/descriptors.h"
#include "vmsnap/disk_server.h"
#include "vmsnap/machine_keeper.h"
#include "vmsnap/machine_limits.h"
#include "vmsnap/machine_net.h"

/* Their numbers in the agent: kvm-agent/main.c takes them by option. */
enum agent_fd {
	FD_CONTROL = 3,
	FD_CONSOLE,
	FD_CONSOLE_LOG,
	FD_END,
	FD_LOCK,
	FD_AGENT,
	FD_NET,
	FD_GRANTS,
	FD_VSOCK,
	FD_READY, /* last: not always there */
	FD_COUNT,
};

static const char *const fd_options[FD_COUNT] = {
	[FD_CONTROL] = "--control-fd", [FD_CONSOLE] = "--console-fd",
	[FD_CONSOLE_LOG] = "--log-fd", [FD_END] = "--end-fd",
	[FD_LOCK] = "--lock-fd",       [FD_AGENT] = "--agent-fd",
	[FD_GRANTS] = "--grants-fd",   [FD_VSOCK] = "--vsock-fd",
	[FD_READY] = "--ready-fd",
};

#define WORDS_MAX 128
#define END_ROOM  8192

struct start {
	const struct vms_machine *machine;
	const struct vms_machine_start *how;
	int directory;
	int fds[FD_COUNT];      /* -1: none */
	int log;                /* agent.log */
	struct machine_net net; /* its descriptor is among them */
	const char *words[WORDS_MAX];
	unsigned word_count;
	char memory[32], cpus[16], user[16], mtu[16], numbers[FD_COUNT][8];
	uint32_t user_number;  /* 0: who started it */
	int group;             /* cgroup.procs; -1: none */
	char folder[PATH_MAX]; /* the machine's directory */
	struct disk_server servers[VMS_MACHINE_DISKS_MAX];
	char sockets[VMS_MACHINE_DISKS_MAX][64];
};

static void start_release(struct start *start, bool failed)
{
	machine_net_release(&start->net);
	for (size_t i = 0; i < VMS_MACHINE_DISKS_MAX; i++)
		disk_server_release(&start->servers[i], failed);
	for (int i = FD_CONTROL; i < FD_COUNT; i++) {
		if (start->fds[i] >= 0)
			close(start->fds[i]);
	}
	if (start->log >= 0)
		close(start->log);
	if (start->group >= 0)
		close(start->group);
	if (start->directory >= 0)
		close(start->directory);
}

static void add(struct start *start, const char *option, const char *value)
{
	start->words[start->word_count++] = option;
	start->words[start->word_count++] = value;
}

static void add_disks(struct start *start)
{
	const struct vms_machine *machine = start->machine;

	for (size_t i = 0; i < machine->disk_count; i++) {
		const struct vms_machine_disk *disk = &machine->disks[i];
		const char *option = "--disk";

		if (disk->read_only)
			option = "--disk-ro";
		else if (start->servers[i].process)
			option = "--disk-fd";
		else if (disk->temporary)
			option = "--disk-temporary";
		add(start, option,
		    start->servers[i].process ? start->sockets[i] : disk->path);
	}
	add(start, "--layer-folder", start->folder);
}

static void make_words(struct start *start)
{
	const struct vms_machine *machine = start->machine;

	start->words[start->word_count++] = start->how->agent;
	add(start, "--name", machine->name);
	snprintf(start->memory, sizeof(start->memory), "%" PRIu64,
		 machine->memory_bytes);
	add(start, "--memory", start->memory);
	snprintf(start->cpus, sizeof(start->cpus), "%u", machine->cpus);
	add(start, "--cpus", start->cpus);
	add(start, "--cpu", machine->cpu);
	if (*machine->kernel)
		add(start, "--kernel", machine->kernel);
	if (*machine->initrd)
		add(start, "--initrd", machine->initrd);
	if (*machine->append)
		add(start, "--append", machine->append);
	add_disks(start);
	if (machine->net.kind != VMS_NET_NONE)
		add(start, "--net-mac", machine->net.mac);
	if (start->how->keeper)
		add(start, "--keeper", vms_keeper_agents(start->how->keeper));
	if (start->net.mtu) {
		snprintf(start->mtu, sizeof(start->mtu), "%u", start->net.mtu);
		add(start, "--net-mtu", start->mtu);
	}
	if (start->user_number) {
		snprintf(start->user, sizeof(start->user), "%u",
			 start->user_number);
		add(start, "--user", start->user);
	}
	for (int i = FD_CONTROL; i < FD_COUNT; i++) {
		const char *option = fd_options[i];

		if (start->fds[i] < 0)
			continue;
		if (i == FD_NET)
			option = machine->net.kind == VMS_NET_TAP
					 ? "--net-tap-fd"
					 : "--net-passt-fd";
		snprintf(start->numbers[i], sizeof(start->numbers[i]), "%d", i);
		add(start, option, start->numbers[i]);
	}
}

static int open_file(const struct start *start, const char *name, int flags,
		     struct err *err)
{
	int fd =
		openat(start->directory, name,
		       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);

	return fd < 0 ? err_sys(err, -errno, "machine '%s': '%s'",
				start->machine->name, name)
		      : fd;
}

static int make_file(const struct start *start, const char *name,
		     struct err *err)
{
	autofd int fd = open_file(start, name, 0, err);

	return fd < 0 ? fd : 0;
}

static int open_sockets(struct start *start, const char *home, struct err *err)
{
	static const struct {
		enum agent_fd fd;
		const char *name;
	} sockets[] = { { FD_CONTROL, "control" },
			{ FD_CONSOLE, "console" },
			{ FD_AGENT, "agent" },
			{ FD_VSOCK, "vsock" } };
	char path[PATH_MAX];
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(sockets); i++) {
		r = machine_path(home, start->machine->name, sockets[i].name,
				 path, err);
		if (!r)
			r = start->fds[sockets[i].fd] = control_bind(path, err);
	}
	return r < 0 ? r : 0;
}

static int open_net(struct start *start, struct err *err)
{
	int r = machine_net_open(&start->net, &start->machine->net, err);

	start->fds[FD_NET] = fd_steal(&start->net.fd);
	return r;
}

/* What reads disks in formats of others. */
static int start_servers(struct start *start, const char *home, struct err *err)
{
	const struct vms_machine *machine = start->machine;
	char path[PATH_MAX];
	int r = machine_path(home, machine->name, "disk", path, err);

	for (size_t i = 0; !r && i < machine->disk_count; i++) {
		struct disk_server *server = &start->servers[i];
		size_t used = 0;

		if (machine->disks[i].format <= VMS_DISK_IMAGE)
			continue;
		r = vms_disk_format_check(machine->disks[i].path,
					  machine->disks[i].format, err);
		if (!r)
			r = disk_server_start(server, path, &machine->disks[i],
					      start->log, err);
		for (unsigned n = 0; !r && n < DISK_SERVER_SOCKETS; n++)
			used += (size_t)snprintf(
				start->sockets[i] + used,
				sizeof(start->sockets[i]) - used, "%s%d",
				n ? "," : "", server->sockets[n]);
	}
	return r;
}

/* The agent's is the same lock: there is no moment without it. */
static int take_lock(const struct start *start, struct err *err)
{
	int fd = fcntl(start->how->held, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? err_sys(err, -errno, "the lock of machine '%s'",
				start->machine->name)
		      : fd;
}

/* With room for its words: a disk that fills up must not make a crash of a
 * machine that was shut down. Where that can't be had, it starts all the same. */
static int open_end(const struct start *start, struct err *err)
{
	int fd = open_file(start, "end.json", O_TRUNC, err);

	if (fd >= 0)
		(void)!fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, END_ROOM);
	return fd;
}

static int open_all(struct start *start, const char *home, struct err *err)
{
	const char *name = start->machine->name;
	int r = machine_path(home, name, "", start->folder, err);

	if (!r)
		r = start->directory = machine_open(home, name, err);
	if (r >= 0)
		r = start->fds[FD_LOCK] = take_lock(start, err);
	if (r >= 0)
		r = start->fds[FD_CONSOLE_LOG] =
			open_file(start, "console.log", 0, err);
	if (r >= 0)
		r = start->fds[FD_END] = open_end(start, err);
	if (r >= 0)
		r = start->log =
			open_file(start, "agent.log", O_TRUNC | O_APPEND, err);
	/* The agent shuts itself off from those, which takes that they are
	 * there. */
	if (r >= 0)
		r = make_file(start, "agent.pid", err);
	if (r >= 0)
		r = make_file(start, "agent.start", err);
	if (r >= 0 && start->how->keeper)
		r = start->fds[FD_GRANTS] =
			machine_grants(start->machine, start->how->keeper, err);
	if (r >= 0)
		r = machine_user(start->directory, &start->user_number, err);
	if (r >= 0 && machine_limits_any(&start->machine->limits))
		r = start->group = machine_group_open(
			start->directory, name, &start->machine->limits, err);
	if (r >= 0)
		r = open_sockets(start, home, err);
	if (r >= 0)
		r = open_net(start, err);
	return r < 0 ? r : start_servers(start, home, err);
}

static int write_number(const struct start *start, const char *file,
			uint64_t number, struct err *err)
{
	autofd int fd = open_file(start, file, O_TRUNC, err);

	if (fd < 0)
		return fd;
	return dprintf(fd, "%" PRIu64 "\n", number) < 0
		       ? err_sys(err, -errno, "'%s'", file)
		       : 0;
}

/* Which process it is, and when that began: who else could have its number? */
static int write_pid(const struct start *start, pid_t process, struct err *err)
{
	uint64_t began;
	int r = machine_process_start(process, &began, err);

	if (r == 0)
		r = write_number(start, "agent.start", began, err);
	return r == 0 ? write_number(start, "agent.pid", (uint64_t)process, err)
		      : r;
}

/* ---- the child ---- */

/* To their numbers; those of disk servers keep theirs. */
static bool place_fds(const struct start *start)
{
	if (!descriptors_place(start->fds, FD_CONTROL, FD_COUNT))
		return false;
	for (size_t i = 0; i < start->machine->disk_count; i++) {
		for (unsigned n = 0;
		     start->servers[i].process && n < DISK_SERVER_SOCKETS; n++)
			fcntl(start->servers[i].sockets[n], F_SETFD, 0);
	}
	return true;
}

static bool join_group(const struct start *start)
{
	return start->group < 0 || write(start->group, "0", 1) == 1;
}

static void exec_agent(const struct start *start)
{
	execv(start->how->agent, (char *const *)(uintptr_t)start->words);
}

/* Async-signal-safe calls only. */
static bool prepare_child(const struct start *start)
{
	int null;

	setsid();
	signal(SIGPIPE, SIG_DFL);
	/* First, to be heard; and as agent.log may be among the numbers that
	 * are overwritten below. */
	if (dup2(start->log, 2) < 0 || !join_group(start))
		return false;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	return null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 &&
	       place_fds(start);
}

static void run_child(const struct start *start)
{
	static const char words[] = "kvm-agent: can't be started\n";
	static const char full[] =
		"kvm-agent: can't be started: " ERR_TOO_MANY_FILES "\n";
	ssize_t n;

	if (prepare_child(start))
		exec_agent(start);
	n = errno == EMFILE ? write(2, full, sizeof(full) - 1)
			    : write(2, words, sizeof(words) - 1);
	_exit(n < 0 ? 126 : 127);
}

/* ---- the parent ---- */

static int code_of_exit(int status)
{
	if (!WIFEXITED(status))
		return -EIO;
	switch (WEXITSTATUS(status)) {
	case 2:
		return -EINVAL;
	case 3:
		return -EBADMSG;
	case 4:
		return -ENOENT;
	case 5:
		return -EBUSY;
	case 6:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

/* Its last line, without the name in front. */
static void last_words(int directory, char out[ERR_TEXT_MAX])
{
	static const char front[] = "kvm-agent: ";
	autofree char *text = NULL;
	ssize_t size =
		machine_read_file(directory, "agent.log", MIB, &text, NULL);
	const char *line = text;

	*out = 0;
	if (size <= 0)
		return;
	while (size && text[size - 1] == '\n')
		text[--size] = 0;
	text[size] = 0;
	if (strrchr(text, '\n'))
		line = strrchr(text, '\n') + 1;
	if (!strncmp(line, front, strlen(front)))
		line += strlen(front);
	escape_name(out, ERR_TEXT_MAX, line);
}

static int failed_start(const struct start *start, pid_t child, struct err *err)
{
	char words[ERR_TEXT_MAX];
	int status = 0;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status) && start->group >= 0 &&
	    machine_group_ran_out(start->directory, start->machine->name))
		return err_set(err, -EIO, MACHINE_RAN_OUT);
	last_words(start->directory, words);
	if (WIFSIGNALED(status))
		return err_set(
			err, -EIO,
			"the agent of machine '%s' died by signal %d%s%s",
			start->machine->name, WTERMSIG(status),
			*words ? ": " : "", words);
	if (!*words)
		snprintf(words, sizeof(words),
			 "the agent of machine '%s' ended with status %d",
			 start->machine->name, WEXITSTATUS(status));
	return err_set(err, code_of_exit(status), "%s", words);
}

static int wait_ready(const struct start *start, int ready, pid_t child,
		      struct err *err)
{
	char byte;
	ssize_t n;
	int r = 0;

	while (!r)
		r = progress_wait(start->how->progress, ready, INT32_MAX, err);
	if (r < 0)
		return r;
	do
		n = read(ready, &byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : failed_start(start, child, err);
}

static int start_child(struct start *start, struct err *err)
{
	autofd int ready = -1;
	int ends[2], r;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "a pipe");
	ready = ends[0];
	start->fds[FD_READY] = ends[1];
	make_words(start);
	child = fork();
	if (child < 0)
		return err_sys(err, -errno, "can't start '%s'",
			       start->how->agent);
	if (!child)
		run_child(start);
	close(ends[1]);
	start->fds[FD_READY] = -1;
	r = write_pid(start, child, err);
	if (!r) {
		r = wait_ready(start, ready, child, err);
		if (r && r != -ECANCELED)
			return r; /* it has ended */
	}
	if (!r)
		r = machine_net_await(&start->net, err);
	if (r) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	return r;
}

static int begin(struct start *start, const char *home,
		 const struct vms_machine *machine,
		 const struct vms_machine_start *how, struct err *err)
{
	*start = (struct start){ .machine = machine,
				 .how = how,
				 .directory = -1,
				 .group = -1,
				 .log = -1,
				 .net = { .fd = -1, .words = -1 } };
	for (int i = 0; i < FD_COUNT; i++)
		start->fds[i] = -1;
	return open_all(start, home, err);
}

int vms_machine_start(const char *home, const struct vms_machine *machine,
		      const struct vms_machine_start *how, struct err *err)
{
	struct start start;
	int r = begin(&start, home, machine, how, err);

	if (!r)
		r = start_child(&start, err);
	start_release(&start, r < 0);
	return r;
}

int vms_machine_exec(const char *home, const struct vms_machine *machine,
		     const struct vms_machine_start *how, struct err *err)
{
	struct start start;
	int r = begin(&start, home, machine, how, err);

	if (!r)
		r = machine_net_await(&start.net, err);
	if (!r)
		r = write_pid(&start, getpid(), err);
	if (!r)
		r = progress_check(how->progress, err);
	if (!r) {
		make_words(&start);
		start.words[start.word_count++] = "--foreground";
		if (join_group(&start) && place_fds(&start))
			exec_agent(&start);
		r = err_sys(err, -errno, "can't start '%s'", how->agent);
	}
	start_release(&start, true);
	return r;
}
