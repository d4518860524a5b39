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
#include "cli/progress.h"
#include "cli/report.h"

#define DETACH  0x1d /* Ctrl-] */
#define LOOK_MS 500  /* a signal may come just before a wait */

struct screen {
	int socket;
	const struct vms_progress *progress; /* a signal stops it */
	bool raw; /* the terminal is to be put back */
	struct termios before;
	bool input_ended;
};

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

static int write_all(const struct screen *screen, int fd, const char *data,
		     size_t size, struct err *err)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR) {
			int r = progress_check(screen->progress, err);

			if (r)
				return r;
			continue;
		}
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
	return n ? write_all(screen, STDOUT_FILENO, data, (size_t)n, err) : 1;
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
		/* Its end, and a signal, are seen elsewhere. */
		if (n < 0 &&
		    (errno != EINTR || progress_check(screen->progress, NULL)))
			return 0;
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
		int r;

		if (poll(fds, 2, LOOK_MS) < 0 && errno != EINTR)
			return err_sys(err, -errno, "poll");
		r = progress_check(screen->progress, err);
		if (!r && fds[0].revents)
			r = show(screen, err);
		if (!r && fds[1].revents)
			r = type(screen);
		if (r)
			return r;
	}
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
	screen_raw(cli, &screen);
	if (screen.raw && cli_talks(cli))
		fprintf(stderr, "console of '%s'; Ctrl-] leaves it\r\n", name);
	r = run(&screen, err);
	screen_put_back(&screen);
	close(screen.socket);
	return r < 0 ? r : 0;
}
