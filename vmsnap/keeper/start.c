/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a keeper. Who gets the lock starts it, and hands the lock on: so of
 * any number that begin at once one does, and the others find what it started.
 * What the new one says first comes through a pipe: that it is ready, or why
 * not.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "vmsnap/descriptors.h"
#include "vmsnap/keeper/home.h"

/* Their numbers in the keeper: vmsnap/keeper/main.c takes them by option. */
enum keeper_fd {
	FD_DIRECTORY = 3,
	FD_LOCK,
	FD_READY,
	FD_PASSPHRASE, /* last: not always there */
	FD_COUNT,
};

#define TRIES    3000u /* for one that another starts, or that is ending */
#define RETRY_NS 20000000

struct start {
	const struct vms_keeper_start *how;
	int fds[FD_COUNT]; /* the passphrase's is the caller's */
	int log;
	char hex[STORE_HEX_SIZE], location[PATH_MAX];
	const char *words[24];
};

static void start_release(struct start *start)
{
	for (int i = FD_DIRECTORY; i < FD_PASSPHRASE; i++)
		autofd_run(&start->fds[i]);
	autofd_run(&start->log);
}

static void make_words(struct start *start)
{
	const char *const words[] = {
		start->how->program,
		"--store",
		start->location,
		"--id",
		start->hex,
		"--directory-fd",
		"3",
		"--lock-fd",
		"4",
		"--ready-fd",
		"5",
		"--passphrase-fd",
		"6",
		NULL,
	};

	memcpy(start->words, words, sizeof(words));
	if (start->fds[FD_PASSPHRASE] < 0)
		start->words[ARRAY_SIZE(words) - 3] = NULL;
}

/* What this process was given beside them is not the keeper's, which lives on:
 * somebody may wait for its end. */
static void leave_others(const struct start *start)
{
	unsigned first =
		start->fds[FD_PASSPHRASE] < 0 ? FD_PASSPHRASE : FD_COUNT;

	(void)close_range(first, ~0u, CLOSE_RANGE_CLOEXEC);
}

static bool prepare_child(const struct start *start)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	return null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 &&
	       dup2(start->log, 2) >= 0 && chdir("/") == 0 &&
	       descriptors_place(start->fds, FD_DIRECTORY, FD_COUNT);
}

/* Async-signal-safe calls only. A child of a child: nobody's to wait for. */
static void run_child(const struct start *start)
{
	static const char words[] = "can't run it\n";
	static const char full[] = ERR_TOO_MANY_FILES "\n";
	int ready = fcntl(start->fds[FD_READY], F_DUPFD_CLOEXEC, FD_COUNT);
	ssize_t n;

	if (ready < 0)
		ready = start->fds[FD_READY];
	setsid();
	if (fork())
		_exit(0);
	signal(SIGPIPE, SIG_DFL);
	if (prepare_child(start)) {
		leave_others(start);
		execv(start->how->program,
		      (char *const *)(uintptr_t)start->words);
	}
	n = errno == EMFILE ? write(ready, full, sizeof(full) - 1)
			    : write(ready, words, sizeof(words) - 1);
	_exit(n < 0 ? 126 : 127);
}

/* "ok", or a code and words. */
static int take_line(char *line, struct err *err)
{
	char *words = NULL;
	long code;

	line[strcspn(line, "\n")] = 0;
	if (!strcmp(line, "ok"))
		return 0;
	code = strtol(line, &words, 10);
	if (code >= 0 || code < -4095 || *words != ' ')
		return err_set(err, -EIO,
			       "the keeper of the store could not be started%s"
			       "%s (keeper.log)",
			       *line ? ": " : "", line);
	return err_set(err, (int)code, "%s", words + 1);
}

static int wait_ready(const struct start *start, int fd, struct err *err)
{
	char line[ERR_TEXT_MAX + 32] = "";
	size_t size = 0;

	while (size < sizeof(line) - 1 && !memchr(line, '\n', size)) {
		int r = progress_wait(start->how->progress, fd, INT32_MAX, err);
		ssize_t n;

		if (r < 0)
			return r;
		if (!r)
			continue;
		n = read(fd, line + size, sizeof(line) - 1 - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		size += (size_t)n;
	}
	line[size] = 0;
	return take_line(line, err);
}

static int launch(struct start *start, struct err *err)
{
	autofd int ready = -1;
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "a pipe");
	ready = ends[0];
	start->fds[FD_READY] = ends[1];
	make_words(start);
	child = fork();
	if (child < 0)
		return err_sys(err, -errno, "can't start '%s'",
			       start->how->program);
	if (!child)
		run_child(start);
	/* All that the new one is to hold alone. */
	autofd_run(&start->fds[FD_READY]);
	start->fds[FD_READY] = -1;
	autofd_run(&start->fds[FD_LOCK]);
	start->fds[FD_LOCK] = -1;
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return wait_ready(start, ready, err);
}

static int open_log(struct start *start, struct err *err)
{
	start->log = openat(start->fds[FD_DIRECTORY], "keeper.log",
			    O_WRONLY | O_CREAT | O_TRUNC | O_APPEND |
				    O_CLOEXEC | O_NOFOLLOW,
			    0600);
	return start->log < 0 ? err_sys(err, -errno, "'keeper.log'") : 0;
}

/* -EBUSY: one runs, or is being started, or is ending. */
static int try_start(const struct vms_keeper_start *how, struct err *err)
{
	struct start start = { .how = how, .log = -1 };
	int r;

	for (int i = 0; i < FD_COUNT; i++)
		start.fds[i] = -1;
	start.fds[FD_PASSPHRASE] = how->passphrase;
	hex_encode(start.hex, how->store, VMS_STORE_ID_SIZE);
	/* It leaves this directory. What is no path stays as it is. */
	if (!realpath(how->location, start.location) &&
	    snprintf(start.location, PATH_MAX, "%s", how->location) >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "the store's path");
	if (how->passphrase >= 0)
		fcntl(how->passphrase, F_SETFD, FD_CLOEXEC);
	r = start.fds[FD_DIRECTORY] =
		keeper_home_open(how->home, how->store, true, err);
	if (r >= 0)
		r = start.fds[FD_LOCK] =
			keeper_home_lock(start.fds[FD_DIRECTORY], err);
	if (r >= 0)
		r = open_log(&start, err);
	if (!r)
		r = launch(&start, err);
	start_release(&start);
	return r;
}

static int open_it(struct vms_keeper **out, const struct vms_keeper_start *how,
		   struct err *err)
{
	return vms_keeper_open(out, how->home, how->store,
			       VMS_KEEPER_PATIENCE_MS, how->progress, err);
}

int vms_keeper_start(struct vms_keeper **out,
		     const struct vms_keeper_start *how, struct err *err)
{
	const struct timespec a_while = { 0, RETRY_NS };
	int r = -EBUSY;

	for (unsigned tries = 0; r == -EBUSY && tries < TRIES; tries++) {
		r = progress_check(how->progress, err);
		if (r)
			return r;
		r = open_it(out, how, err);
		if (r != -ESRCH)
			return r;
		r = try_start(how, err);
		if (!r)
			return open_it(out, how, err);
		if (r == -EBUSY)
			nanosleep(&a_while, NULL);
	}
	return r;
}
