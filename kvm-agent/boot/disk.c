/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of the socket, and the walls around the child. The parent trusts no
 * length and no order of notes: each is bounded, and so are their sums and the
 * time of a look. A child that breaks a rule is killed, not argued with.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "format/base/socket.h"
#include "kvm-agent/boot/disk_private.h"
#include "kvm-agent/sandbox/private.h"

#define LOOK_NS_MAX     300000000000LL /* a slow host needs a minute */
#define CUT_MS          100            /* until it is seen that one is cut */
#define CHILD_BYTES_MAX (1 * GIB)
#define CHILD_FD        3 /* the socket; the memfd is the next */

/* ---- the child ---- */

static int limit(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit limits = { value, value };

	return setrlimit(resource, &limits) < 0 ? -errno : 0;
}

static int set_limits(void)
{
	int r = limit(RLIMIT_CORE, 0);

	if (r == 0)
		r = limit(RLIMIT_NOFILE, CHILD_FD + 2);
#ifndef SANITIZED /* shadow memory has no such limit */
	if (r == 0)
		r = limit(RLIMIT_AS, CHILD_BYTES_MAX);
#endif
	return r;
}

/* Nothing that opens, connects, forks, or maps code. */
static int set_filter(void)
{
	static const int calls[] = {
		SCMP_SYS(read),           SCMP_SYS(write),
		SCMP_SYS(sendto),         SCMP_SYS(recvfrom),
		SCMP_SYS(pread64),        SCMP_SYS(pwrite64),
		SCMP_SYS(lseek),          SCMP_SYS(fstat),
		SCMP_SYS(newfstatat),     SCMP_SYS(ftruncate),
		SCMP_SYS(fadvise64),      SCMP_SYS(brk),
		SCMP_SYS(munmap),         SCMP_SYS(mremap),
		SCMP_SYS(madvise),        SCMP_SYS(futex),
		SCMP_SYS(getrandom),      SCMP_SYS(clock_gettime),
		SCMP_SYS(exit_group),     SCMP_SYS(rt_sigreturn),
		SCMP_SYS(rt_sigprocmask),
	};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = filter ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < ARRAY_SIZE(calls); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

static int close_all_but(int fd)
{
	/* The socket becomes CHILD_FD; all above it goes. */
	if (fd != CHILD_FD && dup2(fd, CHILD_FD) < 0)
		return -errno;
	if (close_range(CHILD_FD + 1, ~0u, 0) < 0)
		return -errno;
	for (int i = 0; i < CHILD_FD; i++)
		(void)close(i);
	return 0;
}

static void tell_failure(struct disk_look *look, int code,
			 const struct err *err)
{
	struct disk_note note = { .kind = DISK_NOTE_FAILED,
				  .length = (uint32_t)strlen(err->text),
				  .offset = (uint64_t)-code };

	if (socket_send_all(look->fd, &note, sizeof(note)) == 0)
		(void)socket_send_all(look->fd, err->text, note.length);
}

static void serve_looks(int memfd)
{
	struct disk_look look = { .fd = CHILD_FD };
	struct disk_answer begin;

	while (socket_receive_all(look.fd, &begin, sizeof(begin)) == 0) {
		struct err err = { 0 };
		int r;

		look.size_bytes = begin.size_bytes;
		/* Empty again, and then all holes. */
		if (ftruncate(memfd, 0) < 0 ||
		    ftruncate(memfd, (off_t)begin.size_bytes) < 0)
			r = err_sys(&err, -errno, "the disk's outline");
		else
			r = disk_look_run(&look, memfd, &err);
		if (r < 0)
			tell_failure(&look, r, &err);
		else
			(void)disk_look_give(&look, DISK_NOTE_DONE, NULL, 0);
	}
}

static void __attribute__((noreturn)) run_child(int fd)
{
	int memfd;

	/* With its parent gone there is nobody to look for; that is forgotten
	 * when a process becomes another user. */
	if (privileges_drop() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || close_all_but(fd) < 0)
		_exit(1);
	memfd = memfd_create("disk", MFD_CLOEXEC);
	if (memfd != 0 || dup2(memfd, CHILD_FD + 1) < 0)
		_exit(1);
	(void)close(memfd);
	if (set_limits() < 0 || set_filter() < 0)
		_exit(1);
	serve_looks(CHILD_FD + 1);
	_exit(0);
}

int disk_look_read(struct disk_look *look, uint64_t offset, void *buffer,
		   size_t size)
{
	uint8_t *to = buffer;

	while (size) {
		struct disk_note note = {
			.kind = DISK_NOTE_READ,
			.length = (uint32_t)min_u64(size, DISK_PIECE_MAX),
			.offset = offset,
		};
		struct disk_answer answer;
		int r = socket_send_all(look->fd, &note, sizeof(note));

		if (r == 0)
			r = socket_receive_all(look->fd, &answer,
					       sizeof(answer));
		if (r == 0)
			r = answer.code;
		if (r == 0)
			r = socket_receive_all(look->fd, to, note.length);
		if (r < 0)
			return r;
		to += note.length;
		offset += note.length;
		size -= note.length;
	}
	return 0;
}

int disk_look_give(struct disk_look *look, enum disk_note_kind kind,
		   const void *data, size_t size)
{
	struct disk_note note = { .kind = kind, .length = (uint32_t)size };
	int r = socket_send_all(look->fd, &note, sizeof(note));

	return r == 0 && size ? socket_send_all(look->fd, data, size) : r;
}

/* ---- the parent ---- */

int disk_finder_start(struct disk_finder *finder, struct err *err)
{
	int fds[2], pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, -errno, "a socket to look at the disk");
	pid = fork();
	if (pid == 0)
		run_child(fds[1]);
	close(fds[1]);
	if (pid < 0) {
		int code = -errno;

		close(fds[0]);
		return err_sys(err, code, "a process to look at the disk");
	}
	finder->pid = pid;
	finder->fd = fds[0];
	return 0;
}

void disk_finder_stop(struct disk_finder *finder)
{
	if (!finder->pid)
		return;
	close(finder->fd);
	kill(finder->pid, SIGKILL);
	while (waitpid(finder->pid, NULL, 0) < 0 && errno == EINTR)
		;
	finder->pid = 0;
	finder->fd = -1;
}

void disk_finder_cut(struct disk_finder *finder)
{
	__atomic_store_n(&finder->cut, true, __ATOMIC_RELAXED);
}

void disk_boot_release(struct disk_boot *boot)
{
	bytes_release(&boot->kernel);
	bytes_release(&boot->initrd);
}

/* A look as the parent goes through it. */
struct watch {
	int fd;
	const bool *cut;
	int64_t end_ns;
	struct disk_reader *reader;
	struct disk_boot found;
	uint8_t piece[DISK_PIECE_MAX];
	struct err *err;
};

static int misbehaves(struct watch *watch, const char *how)
{
	return err_set(watch->err, -EPROTO,
		       "the process that looks at the disk %s: the disk may be "
		       "damaged, or made to do harm",
		       how);
}

/* As the talk's functions, until the look's time is up: 0 when `n` says that
 * there was something, -EAGAIN when it is to be tried again. */
static int check_step(struct watch *watch, ssize_t n)
{
	if (n > 0)
		return 0;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return -EAGAIN;
	return misbehaves(watch, "has died");
}

static int check_end(struct watch *watch)
{
	if (__atomic_load_n(watch->cut, __ATOMIC_RELAXED))
		return err_set(watch->err, -ECANCELED,
			       "the look at the disk was cut off");
	if (time_monotonic_ns() >= watch->end_ns)
		return err_set(watch->err, -ETIMEDOUT,
			       "the look at the disk took too long");
	return 0;
}

static int wait_for(struct watch *watch, short events)
{
	struct pollfd poll_fd = { watch->fd, events, 0 };
	int r = check_end(watch);

	if (r == 0)
		(void)poll(&poll_fd, 1, CUT_MS);
	return r;
}

static int receive(struct watch *watch, void *data, size_t size)
{
	uint8_t *at = data;

	while (size) {
		ssize_t n = recv(watch->fd, at, size, MSG_DONTWAIT);
		int r = check_step(watch, n);

		if (r == -EAGAIN)
			r = wait_for(watch, POLLIN);
		else if (r == 0) {
			at += n;
			size -= (size_t)n;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int transmit(struct watch *watch, const void *data, size_t size)
{
	const uint8_t *at = data;

	while (size) {
		ssize_t n =
			send(watch->fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		int r = check_step(watch, n);

		if (r == -EAGAIN)
			r = wait_for(watch, POLLOUT);
		else if (r == 0) {
			at += n;
			size -= (size_t)n;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int answer_read(struct watch *watch, const struct disk_note *note)
{
	struct disk_answer answer = { 0 };
	int r;

	if (!note->length || note->length > sizeof(watch->piece) ||
	    note->offset > watch->reader->size_bytes ||
	    note->length > watch->reader->size_bytes - note->offset)
		return misbehaves(watch, "reads past the disk's end");
	/* What the host can't read is the host's failure, and ends the look. */
	r = watch->reader->read(watch->reader, note->offset, watch->piece,
				note->length, watch->err);
	if (r < 0)
		return r;
	r = transmit(watch, &answer, sizeof(answer));
	return r == 0 ? transmit(watch, watch->piece, note->length) : r;
}

static int take_bytes(struct watch *watch, const struct disk_note *note,
		      struct bytes *to, uint64_t max)
{
	int r;

	if (note->length > sizeof(watch->piece) ||
	    note->length > max - to->size)
		return misbehaves(watch, "gives too much");
	r = receive(watch, watch->piece, note->length);
	if (r < 0)
		return r;
	return bytes_append(to, watch->piece, note->length, watch->err);
}

static int take_cmdline(struct watch *watch, const struct disk_note *note)
{
	int r;

	if (note->length > DISK_CMDLINE_MAX)
		return misbehaves(watch, "gives too much");
	r = receive(watch, watch->piece, note->length);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < note->length; i++) {
		if (watch->piece[i] < ' ' || watch->piece[i] > '~')
			return misbehaves(watch, "gives no text");
	}
	memcpy(watch->found.cmdline, watch->piece, note->length);
	watch->found.cmdline[note->length] = 0;
	return 0;
}

/* 1: and it has ended well enough to look again. */
static int take_failure(struct watch *watch, const struct disk_note *note)
{
	char text[ERR_TEXT_MAX], safe[ERR_TEXT_MAX];
	int r;

	if (note->length >= sizeof(text) || !note->offset ||
	    note->offset > 4095)
		return misbehaves(watch, "fails in an odd way");
	r = receive(watch, text, note->length);
	if (r < 0)
		return r;
	text[note->length] = 0;
	(void)err_set(watch->err, -(int)note->offset, "%s",
		      escape_name(safe, sizeof(safe), text));
	return 1;
}

/* 0: more comes. 1: done. 2: it failed in order. */
static int take_note(struct watch *watch)
{
	struct disk_note note;
	int r = check_end(watch);

	if (r == 0)
		r = receive(watch, &note, sizeof(note));
	if (r < 0)
		return r;
	switch (note.kind) {
	case DISK_NOTE_READ:
		return answer_read(watch, &note);
	case DISK_NOTE_KERNEL:
		return take_bytes(watch, &note, &watch->found.kernel,
				  DISK_KERNEL_MAX);
	case DISK_NOTE_INITRD:
		return take_bytes(watch, &note, &watch->found.initrd,
				  DISK_INITRD_MAX);
	case DISK_NOTE_CMDLINE:
		return take_cmdline(watch, &note);
	case DISK_NOTE_FAILED:
		r = take_failure(watch, &note);
		return r < 0 ? r : 2;
	case DISK_NOTE_DONE:
		return watch->found.kernel.size
			       ? 1
			       : misbehaves(watch, "gives no kernel");
	default:
		return misbehaves(watch, "says what can't be understood");
	}
}

int disk_finder_look(struct disk_finder *finder, struct disk_reader *reader,
		     struct disk_boot *out, struct err *err)
{
	struct disk_answer begin = { .size_bytes = reader->size_bytes };
	autofree struct watch *watch = NULL;
	struct err own;
	int r;

	if (!err)
		err = &own;
	if (!finder->pid)
		return err_set(err, -EPROTO,
			       "the process that looks at the disk is gone");
	r = alloc_array(&watch, 1, sizeof(*watch), err);
	if (r < 0)
		return r;
	watch->fd = finder->fd;
	watch->cut = &finder->cut;
	watch->end_ns = time_monotonic_ns() + LOOK_NS_MAX;
	watch->reader = reader;
	watch->err = err;
	r = transmit(watch, &begin, sizeof(begin));
	while (r == 0)
		r = take_note(watch);
	if (r == 1) {
		*out = watch->found;
		return 0;
	}
	disk_boot_release(&watch->found);
	if (r == 2)
		return err->code;
	disk_finder_stop(finder);
	return r;
}
