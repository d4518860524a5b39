/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the vCPU's thread, which leaves bytes in a ring, and the control
 * thread, which writes them out. Descriptors of others are not made
 * non-blocking, which would change them for everybody who has them: a write
 * is of no more than a pipe takes at once, after poll() has said that it does.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <termios.h>

#include "kvm-agent/terminal.h"

#define WRITE_MAX      4096 /* PIPE_BUF: taken whole by a ready pipe */
#define INPUT_MAX      256
#define LAST_WORDS_MS  1000
#define QUIT_CHARACTER 0x1d /* Ctrl-] */

struct terminal {
	struct serial_line line;
	struct loop *loop;
	struct loop_work flush, refill;
	struct loop_watch in, out;
	bool in_watched, out_watched, in_ended;
	bool in_is_file; /* always ready, and no epoll for it */
	bool is_tty;
	struct termios saved;
	void (*quit)(void *arg);
	void *quit_arg;
	struct serial *serial;
	uint8_t input[INPUT_MAX]; /* read, and not yet taken */
	size_t input_count;

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

/* Out of the ring, into a copy; how many. */
static size_t take(struct terminal *terminal, uint8_t *to, size_t max)
{
	size_t size = 0;

	pthread_mutex_lock(&terminal->lock);
	while (size < max && terminal->count) {
		to[size++] = terminal->ring[terminal->start];
		terminal->start = (terminal->start + 1) % TERMINAL_KEPT;
		terminal->count--;
	}
	pthread_mutex_unlock(&terminal->lock);
	return size;
}

static bool is_ready(int fd, int timeout_ms)
{
	struct pollfd poller = { .fd = fd, .events = POLLOUT };

	return poll(&poller, 1, timeout_ms) > 0;
}

/* False: nobody is there any more. */
static bool write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t written = write(fd, data, size);

		if (written < 0 && errno != EINTR && errno != EAGAIN)
			return false;
		if (written < 0 && errno == EAGAIN &&
		    !is_ready(fd, LAST_WORDS_MS))
			return false;
		if (written > 0) {
			data += written;
			size -= (size_t)written;
		}
	}
	return true;
}

static bool has_output(struct terminal *terminal)
{
	bool has;

	pthread_mutex_lock(&terminal->lock);
	has = terminal->count;
	pthread_mutex_unlock(&terminal->lock);
	return has;
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

/* Until it is empty, or the other side is slower. */
static void flush(struct terminal *terminal, int timeout_ms)
{
	uint8_t data[WRITE_MAX];

	while (has_output(terminal)) {
		if (!is_ready(terminal->out.fd, timeout_ms)) {
			watch_out(terminal, true);
			return;
		}
		/* Nobody reads any more: the guest goes on talking. */
		(void)write_all(terminal->out.fd, data,
				take(terminal, data, sizeof(data)));
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
	terminal->out =
		(struct loop_watch){ out_fd, EPOLLOUT, on_out_ready, terminal };
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
