/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsnap console: the first serial port, on this terminal. Ctrl-] leaves and
 * the machine goes on. What the guest prints is shown as it is: this is a
 * terminal's line, and who attaches to it trusts the guest with the screen.
 *
 * Either side may be slow: a guest that takes a large paste byte by byte, a
 * terminal that was halted. So nothing here waits but poll(), and between the
 * two stand two rings. That of what was typed is large, as Ctrl-] is only seen
 * once all that was typed before it is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>

#include "cli/cli.h"
#include "cli/machine.h"
#include "cli/progress.h"
#include "cli/report.h"

#define DETACH    0x1d /* Ctrl-] */
#define LOOK_MS   500  /* a signal may come just before a wait */
#define TYPED_MAX ((size_t)4 * MIB)
#define SHOWN_MAX ((size_t)64 * KIB)
#define WRITE_MAX 4096u /* PIPE_BUF: taken whole by a ready pipe */

struct ring {
	char *data; /* owned */
	size_t capacity, start, count;
};

struct screen {
	int socket;
	const struct vms_progress *progress; /* a signal stops it */
	bool raw; /* the terminal is to be put back */
	struct termios before;
	bool input_ended, socket_ended, left;
	bool deaf; /* the other side takes no more */
	int output;
	size_t write_max;
	struct ring typed, shown;
};

/* ---- rings ---- */

static int ring_init(struct ring *ring, size_t capacity, struct err *err)
{
	*ring = (struct ring){ .capacity = capacity };
	return alloc_array(&ring->data, capacity, 1, err);
}

/* The next free bytes that stand together, and the next filled ones. */
static char *ring_room(const struct ring *ring, size_t *size)
{
	size_t at = (ring->start + ring->count) % ring->capacity;

	*size = min_u64(ring->capacity - ring->count, ring->capacity - at);
	return ring->data + at;
}

static const char *ring_ready(const struct ring *ring, size_t *size)
{
	*size = min_u64(ring->count, ring->capacity - ring->start);
	return ring->data + ring->start;
}

static void ring_drop(struct ring *ring, size_t size)
{
	ring->start = (ring->start + size) % ring->capacity;
	ring->count -= size;
}

static bool ring_is_full(const struct ring *ring)
{
	return ring->count == ring->capacity;
}

/* ---- the terminal ---- */

/* From here on a signal ends the loop: a raw terminal is put back first. */
static void screen_raw(struct cli *cli, struct screen *screen)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) ||
	    tcgetattr(STDIN_FILENO, &screen->before) < 0)
		return;
	progress_catch(cli);
	raw = screen->before;
	cfmakeraw(&raw);
	screen->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	if (!screen->raw)
		progress_release();
}

static void screen_put_back(struct screen *screen)
{
	if (!screen->raw)
		return;
	tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
	fputc('\n', stderr);
	progress_release();
}

/*
 * A terminal takes less than it is given, and has the writer wait for the rest:
 * it is opened once more, not to be waited for, as it would not be ours alone
 * to change. One that can't be opened gets its bytes one by one.
 */
static void open_output(struct screen *screen)
{
	char path[32];
	int own;

	screen->output = STDOUT_FILENO;
	screen->write_max = WRITE_MAX;
	if (!isatty(STDOUT_FILENO))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", STDOUT_FILENO);
	own = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (own >= 0)
		screen->output = own;
	else
		screen->write_max = 1;
}

static int screen_init(struct screen *screen, struct err *err)
{
	int r = ring_init(&screen->typed, TYPED_MAX, err);

	if (!r)
		r = ring_init(&screen->shown, SHOWN_MAX, err);
	if (!r)
		open_output(screen);
	return r;
}

static void screen_release(struct screen *screen)
{
	if (screen->output > STDERR_FILENO)
		close(screen->output);
	free(screen->typed.data);
	free(screen->shown.data);
	close(screen->socket);
}

/* ---- the four ways ---- */

static bool again(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void receive(struct screen *screen)
{
	size_t size;
	char *room = ring_room(&screen->shown, &size);
	ssize_t n = recv(screen->socket, room, size, MSG_DONTWAIT);

	if (n > 0)
		screen->shown.count += (size_t)n;
	else if (!n || !again())
		screen->socket_ended = true;
}

static int show(struct screen *screen, struct err *err)
{
	size_t size;
	const char *data = ring_ready(&screen->shown, &size);
	ssize_t n =
		write(screen->output, data, min_u64(size, screen->write_max));

	if (n < 0)
		return again() ? 0 : err_sys(err, -errno, "standard output");
	ring_drop(&screen->shown, (size_t)n);
	return 0;
}

static void type(struct screen *screen)
{
	size_t size;
	char *room = ring_room(&screen->typed, &size);
	ssize_t n = read(STDIN_FILENO, room, size);
	const char *leave = NULL;

	if (n < 0 && again())
		return;
	if (n <= 0) {
		screen->input_ended = true;
		return;
	}
	if (screen->raw)
		leave = memchr(room, DETACH, (size_t)n);
	screen->left = leave != NULL;
	screen->typed.count += leave ? (size_t)(leave - room) : (size_t)n;
}

/* As much as goes without waiting. */
static void send_typed(struct screen *screen)
{
	while (screen->typed.count && !screen->deaf) {
		size_t size;
		const char *data = ring_ready(&screen->typed, &size);
		ssize_t n = send(screen->socket, data, size,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && again())
			return;
		if (n < 0)
			screen->deaf = true;
		else
			ring_drop(&screen->typed, (size_t)n);
	}
	/* Its end is seen where it is read from. */
	if (screen->deaf)
		ring_drop(&screen->typed, screen->typed.count);
}

/* ---- all of them ---- */

/* What nothing is wanted of is not looked at: a hang-up would wake us for ever.
 */
static struct pollfd want(int fd, bool in, bool out)
{
	return (struct pollfd){
		in || out ? fd : -1,
		(short)((in ? POLLIN : 0) | (out ? POLLOUT : 0)), 0
	};
}

static int turn(struct screen *screen, struct err *err)
{
	struct pollfd fds[] = {
		want(screen->socket,
		     !screen->socket_ended && !ring_is_full(&screen->shown),
		     screen->typed.count),
		want(STDIN_FILENO,
		     !screen->input_ended && !ring_is_full(&screen->typed),
		     false),
		want(screen->output, false, screen->shown.count),
	};

	if (poll(fds, ARRAY_SIZE(fds), LOOK_MS) < 0)
		return errno == EINTR ? 0 : err_sys(err, -errno, "poll");
	if (fds[1].revents)
		type(screen);
	if (fds[0].revents & (POLLOUT | POLLERR | POLLHUP) || fds[1].revents)
		send_typed(screen);
	if (fds[0].events & POLLIN && fds[0].revents)
		receive(screen);
	return fds[2].revents ? show(screen, err) : 0;
}

/* Until somebody leaves, or the machine has and all that it said is shown. */
static int run(struct screen *screen, struct err *err)
{
	int r = 0;

	while (!r && !screen->left &&
	       !(screen->socket_ended && !screen->shown.count)) {
		r = turn(screen, err);
		if (!r)
			r = progress_check(screen->progress, err);
	}
	return r;
}

static void tell_lost(struct cli *cli, const struct screen *screen)
{
	if (screen->typed.count && !screen->socket_ended)
		report_warning(cli,
			       "the guest has not taken all that was typed: "
			       "%zu bytes or more did not get to it",
			       screen->typed.count);
}

int cmd_console(struct cli *cli, struct err *err)
{
	struct screen screen = { .progress = &cli->progress };
	const char *name = cli->options.arguments[0];
	char home[PATH_MAX];
	int r = cli_home(cli, home, err);

	if (r)
		return r;
	screen.socket = vms_machine_console(home, name, err);
	if (screen.socket < 0)
		return screen.socket;
	r = screen_init(&screen, err);
	if (!r) {
		screen_raw(cli, &screen);
		if (screen.raw && cli_talks(cli))
			fprintf(stderr, "console of '%s'; Ctrl-] leaves it\r\n",
				name);
		r = run(&screen, err);
		screen_put_back(&screen);
		tell_lost(cli, &screen);
	}
	screen_release(&screen);
	return r;
}
