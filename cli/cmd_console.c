/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsnap console: the first serial port, on this terminal. Ctrl-] leaves and
 * the machine goes on. What the guest prints is shown as it is: this is a
 * terminal's line, and who attaches to it trusts the guest with the screen.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>

#include "cli/cli.h"
#include "cli/machine.h"
#include "cli/report.h"

#define DETACH 0x1d /* Ctrl-] */

struct screen {
	int socket;
	bool raw; /* the terminal is to be put back */
	struct termios before;
	bool input_ended;
};

static void screen_raw(struct screen *screen)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) ||
	    tcgetattr(STDIN_FILENO, &screen->before) < 0)
		return;
	raw = screen->before;
	cfmakeraw(&raw);
	screen->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static int write_all(int fd, const char *data, size_t size, struct err *err)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "standard output");
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/* 1: it ended. */
static int show(struct screen *screen, struct err *err)
{
	char data[4096];
	ssize_t n = recv(screen->socket, data, sizeof(data), 0);

	if (n < 0)
		return errno == EINTR ? 0 : 1;
	return n ? write_all(STDOUT_FILENO, data, (size_t)n, err) : 1;
}

/* 1: detached. */
static int type(struct screen *screen)
{
	char data[4096];
	ssize_t n = read(STDIN_FILENO, data, sizeof(data));
	size_t size = n > 0 ? (size_t)n : 0, done = 0;
	const char *leave = NULL;

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		screen->input_ended = true;
	if (screen->raw && size)
		leave = memchr(data, DETACH, size);
	if (leave)
		size = (size_t)(leave - data);
	while (done < size) {
		n = send(screen->socket, data + done, size - done,
			 MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return 0; /* its end is seen at the other side */
		done += n > 0 ? (size_t)n : 0;
	}
	return leave != NULL;
}

static int run(struct screen *screen, struct err *err)
{
	for (;;) {
		struct pollfd fds[2] = {
			{ screen->socket, POLLIN, 0 },
			{ screen->input_ended ? -1 : STDIN_FILENO, POLLIN, 0 },
		};
		int r = 0;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return err_sys(err, -errno, "poll");
		if (fds[0].revents)
			r = show(screen, err);
		if (!r && fds[1].revents)
			r = type(screen);
		if (r)
			return r;
	}
}

int cmd_console(struct cli *cli, struct err *err)
{
	struct screen screen = { 0 };
	const char *name = cli->options.arguments[0];
	char home[PATH_MAX];
	int r = cli_home(cli, home, err);

	if (r)
		return r;
	screen.socket = vms_machine_console(home, name, err);
	if (screen.socket < 0)
		return screen.socket;
	screen_raw(&screen);
	if (screen.raw && cli_talks(cli))
		fprintf(stderr, "console of '%s'; Ctrl-] leaves it\r\n", name);
	r = run(&screen, err);
	if (screen.raw) {
		tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
		fputc('\n', stderr);
	}
	close(screen.socket);
	return r < 0 ? r : 0;
}
