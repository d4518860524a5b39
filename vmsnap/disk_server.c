/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu-nbd with a listening socket that is connected to before it runs: so it
 * ends with the last of these connections, whichever process has them, and
 * however that ends, and nobody else can reach it, as the socket's name is gone
 * by then.
 *
 * It is code of others at files of others: it gets the file's path, read-only,
 * no other descriptor, and no privileges by execution.
 */
#include "vmsnap/disk_server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "vmsnap/control.h"

#define PROGRAM    "qemu-nbd"
#define ANSWER_MS  60000
#define LISTEN_FD  3 /* where socket activation has it */
#define NO_PROGRAM 127
/* Above the numbers that an agent's own descriptors are put at. */
#define SOCKETS_FROM 64

extern char **environ;

void disk_server_release(struct disk_server *server, bool end)
{
	if (!server->process)
		return;
	for (unsigned i = 0; i < DISK_SERVER_SOCKETS; i++) {
		if (server->sockets[i] >= 0)
			close(server->sockets[i]);
	}
	/* It has nothing that could be lost. */
	if (end)
		kill(server->process, SIGKILL);
	while (end && waitpid(server->process, NULL, 0) < 0 && errno == EINTR)
		;
	*server = (struct disk_server){ 0 };
}

/* ---- the child ---- */

struct child {
	int listener, log;
	const char *words[10];
	char **environment; /* ours, and what tells of the listener */
	char process[32];
};

static void put_process(char *text)
{
	pid_t process = getpid();
	size_t at = strlen(text);

	/* Over the zeros that stand there. */
	for (; process; process /= 10)
		text[--at] = (char)('0' + process % 10);
}

/* Async-signal-safe calls only. */
static void __attribute__((noreturn)) run_child(struct child *child)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* Above all numbers that are placed. */
	const int listener = fcntl(child->listener, F_DUPFD_CLOEXEC, 16);
	const int log = fcntl(child->log, F_DUPFD_CLOEXEC, 16);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	put_process(child->process);
	if (null >= 0 && listener >= 0 && log >= 0 && dup2(null, 0) >= 0 &&
	    dup2(null, 1) >= 0 && dup2(log, 2) >= 0 &&
	    dup2(listener, LISTEN_FD) >= 0 &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	    close_range(LISTEN_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
		execvpe(PROGRAM, (char *const *)(uintptr_t)child->words,
			child->environment);
	_exit(errno == ENOENT ? NO_PROGRAM : 126);
}

static int make_environment(struct child *child, struct err *err)
{
	static char fds[] = "LISTEN_FDS=1";
	size_t count = 0, kept = 0;
	int r;

	while (environ[count])
		count++;
	r = alloc_array(&child->environment, count + 3, sizeof(char *), err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		if (strncmp(environ[i], "LISTEN_", 7) != 0)
			child->environment[kept++] = environ[i];
	}
	strcpy(child->process, "LISTEN_PID=0000000000");
	child->environment[kept++] = child->process;
	child->environment[kept] = fds;
	return 0;
}

static int start_child(const struct vms_machine_disk *disk, int listener,
		       int log, struct err *err)
{
	char format[32], shared[32];
	struct child child = {
		.listener = listener,
		.log = log,
		.words = { PROGRAM, "--read-only", format, shared, "--",
			   disk->path },
	};
	int r = make_environment(&child, err);
	pid_t process;

	if (r < 0)
		return r;
	snprintf(format, sizeof(format), "--format=%s",
		 vms_disk_format_name(disk->format));
	snprintf(shared, sizeof(shared), "--shared=%u", DISK_SERVER_SOCKETS);
	process = fork();
	if (process < 0)
		r = err_sys(err, -errno, "can't start " PROGRAM);
	if (!process)
		run_child(&child);
	free(child.environment);
	return r < 0 ? r : (int)process;
}

/* ---- the parent ---- */

/* The last lines of what is in its log from `start` on. */
static void read_words(int log, off_t start, char out[ERR_TEXT_MAX])
{
	char text[ERR_TEXT_MAX];
	ssize_t n = pread(log, text, sizeof(text) - 1, start);

	text[n > 0 ? n : 0] = 0;
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = 0;
	for (char *at = text; *at; at++) {
		if (*at == '\n')
			*at = ' ';
	}
	escape_name(out, ERR_TEXT_MAX,
		    strncmp(text, PROGRAM ": ", strlen(PROGRAM ": ")) != 0
			    ? text
			    : text + strlen(PROGRAM ": "));
}

static int failed(const struct disk_server *server,
		  const struct vms_machine_disk *disk, int log, off_t start,
		  struct err *err)
{
	const char *format = vms_disk_format_name(disk->format);
	char words[ERR_TEXT_MAX];
	int status = 0;

	while (waitpid(server->process, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PROGRAM)
		return err_set(err, -EOPNOTSUPP,
			       "disk '%s' is a %s file, and there is no "
			       "qemu-nbd to read it: install the package "
			       "qemu-utils",
			       disk->path, format);
	read_words(log, start, words);
	return err_set(
		err, strstr(words, "Is another process using") ? -EBUSY : -EIO,
		"disk '%s', a %s file: qemu-nbd: %s", disk->path, format,
		*words ? words : "ended without a word");
}

/* Its greeting stays to be read. */
static bool answers(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char byte;
	int n;

	do
		n = poll(&poll_fd, 1, ANSWER_MS);
	while (n < 0 && errno == EINTR);
	return n == 1 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static int connect_all(struct disk_server *server, const char *socket,
		       struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < DISK_SERVER_SOCKETS; i++)
		server->sockets[i] = -1;
	for (unsigned i = 0; r >= 0 && i < DISK_SERVER_SOCKETS; i++) {
		autofd int fd = control_connect_to(socket, err);

		r = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, SOCKETS_FROM);
		if (fd >= 0 && r < 0)
			r = err_sys(err, -errno, "a socket");
		server->sockets[i] = r;
	}
	return r < 0 ? r : 0;
}

int disk_server_start(struct disk_server *out, const char *socket,
		      const struct vms_machine_disk *disk, int log,
		      struct err *err)
{
	autofd int listener = control_bind(socket, err);
	struct disk_server server = { .process = 1 };
	off_t start = lseek(log, 0, SEEK_END);
	int r = listener;

	if (r >= 0) {
		r = connect_all(&server, socket, err);
		control_unbind(socket);
	}
	if (r == 0)
		r = start_child(disk, listener, log, err);
	if (r < 0) {
		if (listener >= 0)
			disk_server_release(&server, false);
		return r;
	}
	server.process = (pid_t)r;
	close(fd_steal(&listener));
	if (!answers(server.sockets[0])) {
		kill(server.process, SIGKILL);
		r = failed(&server, disk, log, start, err);
		disk_server_release(&server, false);
		return r;
	}
	*out = server;
	return 0;
}
