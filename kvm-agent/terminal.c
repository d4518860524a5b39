/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the vCPU's thread, which leaves bytes in a ring, and the control
 * thread, which writes them out. Descriptors of others are not made
 * non-blocking, which would change them for everybody who has them: a write
 * is of no more than a pipe takes at once, after poll() has said that it does.
 * A terminal takes less than that when it says so, and has the writer wait for
 * the rest: it is opened once more, not to be waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include "kvm-agent/terminal.h"

#define WRITE_MAX      4096 /* PIPE_BUF: taken whole by a ready pipe */
#define INPUT_MAX      256
#define WRITES_A_TURN  64
#define LAST_WORDS_MS  1000
#define QUIT_CHARACTER 0x1d /* Ctrl-] */

struct terminal {
	struct serial_line line;
	struct loop *loop;
	struct loop_work flush, refill;
	struct loop_watch in, out;
	int own_out; /* the same terminal as `out`; -1: it is not ours */
	size_t write_max;
	bool in_watched, out_watched, in_ended;
	bool in_is_file; /* always ready, and no epoll for it */
	bool is_tty;
	struct termios saved;
	void (*quit)(void *arg);
	void *quit_arg;
	struct serial *serial;
	uint8_t input[INPUT_MAX]; /* read, and not yet taken */
	size_t input_count;
	uint8_t output[WRITE_MAX]; /* out of the ring, and not written yet */
	size_t output_at, output_end;

	pthread_mutex_t lock; /* of what follows */
	uint8_t *ring;
	size_t start, count;
	uint64_t lost;
};

/* ---- out ---- */

/* On a vCPU's thread. */
static void keep(struct serial_line *line, const uint8_t *data, size_t size)
{
	struct terminal *terminal = container_of(line, struct terminal, line);
	bool was_empty;

	pthread_mutex_lock(&terminal->lock);
	was_empty = !terminal->count;
	for (size_t i = 0; i < size; i++) {
		size_t at = (terminal->start + terminal->count) % TERMINAL_KEPT;

		terminal->ring[at] = data[i];
		if (terminal->count < TERMINAL_KEPT) {
			terminal->count++;
		} else {
			terminal->start = (terminal->start + 1) % TERMINAL_KEPT;
			terminal->lost++;
		}
	}
	pthread_mutex_unlock(&terminal->lock);
	if (was_empty)
		loop_post(terminal->loop, &terminal->flush);
}

/* False: all is written that was printed. */
static bool take_output(struct terminal *terminal)
{
	if (terminal->output_at < terminal->output_end)
		return true;
	terminal->output_at = terminal->output_end = 0;
	pthread_mutex_lock(&terminal->lock);
	while (terminal->output_end < WRITE_MAX && terminal->count) {
		terminal->output[terminal->output_end++] =
			terminal->ring[terminal->start];
		terminal->start = (terminal->start + 1) % TERMINAL_KEPT;
		terminal->count--;
	}
	pthread_mutex_unlock(&terminal->lock);
	return terminal->output_end > 0;
}

static bool is_ready(int fd, int timeout_ms)
{
	struct pollfd poller = { .fd = fd, .events = POLLOUT };

	return poll(&poller, 1, timeout_ms) > 0;
}

/* False: it takes no more now. */
static bool write_output(struct terminal *terminal)
{
	size_t size = min_u64(terminal->output_end - terminal->output_at,
			      terminal->write_max);
	ssize_t written = write(terminal->out.fd,
				terminal->output + terminal->output_at, size);

	if (written < 0 && errno == EAGAIN)
		return false;
	/* Nobody reads any more: the guest goes on talking. */
	if (written < 0 && errno != EINTR)
		terminal->output_at = terminal->output_end;
	if (written > 0)
		terminal->output_at += (size_t)written;
	return true;
}

static void watch_out(struct terminal *terminal, bool on)
{
	if (on == terminal->out_watched)
		return;
	if (on && loop_add(terminal->loop, &terminal->out, NULL) < 0)
		return;
	if (!on)
		loop_remove(terminal->loop, &terminal->out);
	terminal->out_watched = on;
}

/* Until it is empty, the other side is slower, or others have their turn. */
static void flush(struct terminal *terminal, int timeout_ms)
{
	for (unsigned writes = 0; take_output(terminal); writes++) {
		if (!is_ready(terminal->out.fd, timeout_ms) ||
		    !write_output(terminal)) {
			watch_out(terminal, true);
			return;
		}
		if (writes == WRITES_A_TURN && !timeout_ms) {
			loop_post(terminal->loop, &terminal->flush);
			return;
		}
	}
	watch_out(terminal, false);
}

static void on_flush(struct loop_work *work)
{
	flush(container_of(work, struct terminal, flush), 0);
}

static void on_out_ready(struct loop_watch *watch, uint32_t events)
{
	(void)events;
	flush(watch->owner, 0);
}

/* ---- in ---- */

/* On a vCPU's thread. */
static void on_room(struct serial_line *line)
{
	struct terminal *terminal = container_of(line, struct terminal, line);

	loop_post(terminal->loop, &terminal->refill);
}

static void watch_in(struct terminal *terminal, bool on)
{
	if (on == terminal->in_watched || terminal->in_is_file ||
	    terminal->in_ended)
		return;
	if (on && loop_add(terminal->loop, &terminal->in, NULL) < 0)
		terminal->in_is_file = true;
	else if (!on)
		loop_remove(terminal->loop, &terminal->in);
	terminal->in_watched = on && !terminal->in_is_file;
}

/* Gives the port what it takes of what was read. */
static void offer(struct terminal *terminal)
{
	size_t taken = serial_input(terminal->serial, terminal->input,
				    terminal->input_count);

	terminal->input_count -= taken;
	memmove(terminal->input, terminal->input + taken,
		terminal->input_count);
}

static void end_input(struct terminal *terminal)
{
	watch_in(terminal, false);
	terminal->in_ended = true;
}

static void read_input(struct terminal *terminal)
{
	ssize_t size = read(terminal->in.fd, terminal->input, INPUT_MAX);
	const uint8_t *quit;

	if (size < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (size <= 0) {
		end_input(terminal);
		return;
	}
	terminal->input_count = (size_t)size;
	quit = memchr(terminal->input, QUIT_CHARACTER, (size_t)size);
	if (quit && terminal->is_tty) {
		end_input(terminal);
		terminal->input_count = 0;
		terminal->quit(terminal->quit_arg);
	}
}

/* Reads only when all that was read before is taken. */
static void refill(struct terminal *terminal)
{
	if (!terminal->serial)
		return;
	if (terminal->input_count)
		offer(terminal);
	while (terminal->in_is_file && !terminal->input_count &&
	       !terminal->in_ended) {
		read_input(terminal);
		if (terminal->input_count)
			offer(terminal);
	}
	watch_in(terminal, !terminal->input_count);
}

static void on_refill(struct loop_work *work)
{
	refill(container_of(work, struct terminal, refill));
}

static void on_in_ready(struct loop_watch *watch, uint32_t events)
{
	struct terminal *terminal = watch->owner;

	(void)events;
	if (!terminal->input_count)
		read_input(terminal);
	refill(terminal);
}

/* ---- the whole ---- */

static void make_raw(struct terminal *terminal)
{
	struct termios raw;

	if (terminal->in.fd < 0 || !isatty(terminal->in.fd) ||
	    tcgetattr(terminal->in.fd, &terminal->saved) < 0)
		return;
	raw = terminal->saved;
	cfmakeraw(&raw);
	if (tcsetattr(terminal->in.fd, TCSANOW, &raw) == 0)
		terminal->is_tty = true;
}

/* One that can't be opened gets its bytes one by one: there is room for one. */
static void open_own(struct terminal *terminal, int out_fd)
{
	char path[32];

	terminal->own_out = -1;
	terminal->write_max = WRITE_MAX;
	if (!isatty(out_fd))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", out_fd);
	terminal->own_out =
		open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (terminal->own_out < 0)
		terminal->write_max = 1;
}

int terminal_new(struct terminal **out, int in, int out_fd, struct loop *loop,
		 void (*quit)(void *arg), void *arg, struct err *err)
{
	autofree struct terminal *terminal = NULL;
	int r = alloc_array(&terminal, 1, sizeof(*terminal), err);

	if (r == 0)
		r = alloc_array(&terminal->ring, TERMINAL_KEPT, 1, err);
	if (r < 0)
		return r;
	terminal->line = (struct serial_line){ keep, on_room };
	terminal->loop = loop;
	terminal->flush.run = on_flush;
	terminal->refill.run = on_refill;
	terminal->in =
		(struct loop_watch){ in, EPOLLIN, on_in_ready, terminal };
	open_own(terminal, out_fd);
	terminal->out =
		(struct loop_watch){ terminal->own_out < 0 ? out_fd
							   : terminal->own_out,
				     EPOLLOUT, on_out_ready, terminal };
	terminal->in_ended = in < 0;
	terminal->quit = quit;
	terminal->quit_arg = arg;
	pthread_mutex_init(&terminal->lock, NULL);
	make_raw(terminal);
	*out = ptr_steal(&terminal);
	return 0;
}

void terminal_free(struct terminal *terminal)
{
	if (!terminal)
		return;
	terminal_disconnect(terminal);
	flush(terminal, LAST_WORDS_MS);
	watch_out(terminal, false);
	loop_cancel(terminal->loop, &terminal->flush);
	loop_cancel(terminal->loop, &terminal->refill);
	if (terminal->is_tty)
		tcsetattr(terminal->in.fd, TCSANOW, &terminal->saved);
	autofd_run(&terminal->own_out);
	pthread_mutex_destroy(&terminal->lock);
	free(terminal->ring);
	free(terminal);
}

struct serial_line *terminal_line(struct terminal *terminal)
{
	return &terminal->line;
}

void terminal_connect(struct terminal *terminal, struct serial *serial)
{
	terminal->serial = serial;
	loop_post(terminal->loop, &terminal->refill);
}

void terminal_disconnect(struct terminal *terminal)
{
	watch_in(terminal, false);
	terminal->serial = NULL;
}

uint64_t terminal_lost(struct terminal *terminal)
{
	uint64_t lost;

	pthread_mutex_lock(&terminal->lock);
	lost = terminal->lost;
	pthread_mutex_unlock(&terminal->lock);
	return lost;
}
