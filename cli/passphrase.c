/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passphrases pass through no stdio buffer, and each copy made here is wiped.
 * A prompt needs a terminal: /dev/tty, never standard input, which may be the
 * disk that is backed up.
 */
#include "cli/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>

#include "cli/progress.h"
#include "vmsnap/vmsnap.h"

#define HOW                                            \
	"set VMSNAP_PASSPHRASE, --passphrase-file or " \
	"VMSNAP_PASSPHRASE_COMMAND"
#define HOW_NEW "set VMSNAP_NEW_PASSPHRASE or --new-passphrase-file"

void passphrase_free(char *passphrase, size_t size)
{
	if (passphrase)
		wipe(passphrase, size);
	free(passphrase);
}

static int take(const char *name, char **out, struct err *err)
{
	char *text = getenv(name);
	char *copy;

	if (!text)
		return 0;
	copy = strdup(text);
	if (!copy)
		return err_set(err, -ENOMEM, "out of memory");
	/* /proc/PID/environ shows this very memory. */
	wipe(text, strlen(text));
	unsetenv(name);
	*out = copy;
	return 0;
}

int passphrases_take(struct passphrases *out, struct err *err)
{
	int r = take("VMSNAP_PASSPHRASE", &out->current, err);

	if (r < 0)
		return r;
	out->command = getenv("VMSNAP_PASSPHRASE_COMMAND");
	return take("VMSNAP_NEW_PASSPHRASE", &out->new, err);
}

void passphrases_release(struct passphrases *passphrases)
{
	if (passphrases->current)
		passphrase_free(passphrases->current,
				strlen(passphrases->current));
	if (passphrases->new)
		passphrase_free(passphrases->new, strlen(passphrases->new));
	passphrases->current = passphrases->new = NULL;
}

bool passphrases_given(const struct passphrases *passphrases)
{
	return passphrases->file || passphrases->current ||
	       passphrases->command;
}

/* All of a descriptor; one newline at the end is cut off. */
static int read_all(int fd, const char *what, char **out, size_t *size,
		    struct err *err)
{
	size_t at = 0;
	ssize_t n;
	char *buffer = malloc(PASSPHRASE_MAX + 1);

	if (!buffer)
		return err_set(err, -ENOMEM, "out of memory");
	do {
		n = read(fd, buffer + at, PASSPHRASE_MAX + 1 - at);
		if (n > 0)
			at += (size_t)n;
	} while ((n > 0 && at <= PASSPHRASE_MAX) || (n < 0 && errno == EINTR));
	if (n < 0) {
		int code = -errno;

		passphrase_free(buffer, at);
		return err_sys(err, code, "%s", what);
	}
	if (at > PASSPHRASE_MAX) {
		passphrase_free(buffer, at);
		return err_set(err, -EKEYREJECTED,
			       "%s: longer than %u bytes, no passphrase", what,
			       PASSPHRASE_MAX);
	}
	if (at && buffer[at - 1] == '\n')
		at--;
	*out = buffer;
	*size = at;
	return 0;
}

static int from_file(const char *path, char **out, size_t *size,
		     struct err *err)
{
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, -errno, "passphrase file '%s'", path);
	return read_all(fd, "passphrase file", out, size, err);
}

static int from_text(const char *text, char **out, size_t *size,
		     struct err *err)
{
	*out = strdup(text);
	if (!*out)
		return err_set(err, -ENOMEM, "out of memory");
	*size = strlen(text);
	return 0;
}

/* In the child: the command's standard input is nothing, its output ours. */
static void __attribute__((noreturn)) run_command(const char *command, int out)
{
	int null = open("/dev/null", O_RDONLY);

	signal(SIGPIPE, SIG_DFL);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static int from_command(const char *command, char **out, size_t *size,
			struct err *err)
{
	int ends[2], state, r;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "pipe for the passphrase command");
	child = fork();
	if (child < 0) {
		r = -errno;
		close(ends[0]);
		close(ends[1]);
		return err_sys(err, r, "fork for the passphrase command");
	}
	if (child == 0)
		run_command(command, ends[1]);
	close(ends[1]);
	r = read_all(ends[0], "passphrase command", out, size, err);
	close(ends[0]);
	while (waitpid(child, &state, 0) < 0 && errno == EINTR)
		continue;
	if (r < 0)
		return r;
	if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) {
		passphrase_free(*out, *size);
		*out = NULL;
		return err_set(err, -EKEYREJECTED,
			       "no passphrase: VMSNAP_PASSPHRASE_COMMAND "
			       "failed (%s %d)",
			       WIFEXITED(state) ? "status" : "signal",
			       WIFEXITED(state) ? WEXITSTATUS(state)
						: WTERMSIG(state));
	}
	return 0;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = number;
}

/* A byte of the terminal: 1, 0 at its end, -EINTR or -EIO. A signal counts only
 * while this waits (`open`), so none falls between the look and the read. */
static int read_byte(int tty, char *byte, const sigset_t *open)
{
	struct pollfd ready = { .fd = tty, .events = POLLIN };

	while (ppoll(&ready, 1, NULL, open) < 0) {
		if (errno != EINTR)
			return -EIO;
		if (interrupted)
			return -EINTR;
	}
	return read(tty, byte, 1) < 0 ? -EIO : 1;
}

/* A line without echo. 0, or -EINTR (interrupted is set), or -EIO. */
static int read_line(int tty, const char *prompt, char *line, size_t capacity,
		     size_t *size)
{
	struct sigaction action = { .sa_handler = on_interrupt }, old_int,
			 old_term;
	struct termios old, quiet;
	sigset_t both, before;
	size_t at = 0;
	int r = 0;

	if (tcgetattr(tty, &old) < 0)
		return -EIO;
	interrupted = 0;
	sigemptyset(&action.sa_mask);
	sigemptyset(&both);
	sigaddset(&both, SIGINT);
	sigaddset(&both, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &both, &before);
	sigaction(SIGINT, &action, &old_int);
	sigaction(SIGTERM, &action, &old_term);
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= ECHONL;
	if (tcsetattr(tty, TCSAFLUSH, &quiet) < 0 ||
	    write(tty, prompt, strlen(prompt)) < 0)
		r = -EIO;
	while (!r && at < capacity) {
		line[at] = '\n'; /* what the end counts as */
		r = read_byte(tty, line + at, &before);
		if (r < 0 || line[at] == '\n')
			break;
		r = 0;
		at++;
	}
	r = r < 0 ? r : 0;
	tcsetattr(tty, TCSAFLUSH, &old);
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGTERM, &old_term, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	*size = at;
	return r;
}

static int from_prompt(const char *prompt, char **out, size_t *size, int tty,
		       struct err *err)
{
	const size_t capacity = 4096;
	char *line = malloc(capacity);
	int r;

	if (!line)
		return err_set(err, -ENOMEM, "out of memory");
	r = read_line(tty, prompt, line, capacity, size);
	if (r < 0) {
		passphrase_free(line, capacity);
		if (r == -EINTR)
			raise(interrupted);
		/* Who catches it has something to put back first. */
		return err_set(err, progress_signal() ? r : -EKEYREJECTED,
			       "no passphrase: %s",
			       r == -EINTR ? "interrupted"
					   : "the terminal can't be read");
	}
	*out = line;
	return 0;
}

static int ask(bool twice, const char *how, char **out, size_t *size,
	       struct err *err)
{
	autofd int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	char *again = NULL;
	size_t again_size = 0;
	bool same;
	int r;

	if (tty < 0)
		return err_set(err, -EKEYREJECTED,
			       "no passphrase: there is no terminal to ask on; "
			       "%s",
			       how);
	r = from_prompt(twice ? "New passphrase: " : "Passphrase: ", out, size,
			tty, err);
	if (r < 0 || !twice)
		return r;
	r = from_prompt("Once more: ", &again, &again_size, tty, err);
	if (r < 0) {
		passphrase_free(*out, *size);
		return r;
	}
	same = *size == again_size && !memcmp(*out, again, again_size);
	passphrase_free(again, again_size);
	if (!same) {
		passphrase_free(*out, *size);
		return err_set(err, -EKEYREJECTED,
			       "no passphrase: the two are not the same");
	}
	return 0;
}

static int refuse_empty(char *passphrase, size_t size, char **out,
			size_t *out_size, struct err *err)
{
	if (!size) {
		passphrase_free(passphrase, 0);
		return err_set(err, -EKEYREJECTED,
			       "no passphrase: the one given is empty");
	}
	*out = passphrase;
	*out_size = size;
	return 0;
}

int passphrase_current(const struct passphrases *from, bool is_new, char **out,
		       size_t *size, struct err *err)
{
	char *text = NULL;
	size_t length = 0;
	int r;

	if (from->file)
		r = from_file(from->file, &text, &length, err);
	else if (from->current)
		r = from_text(from->current, &text, &length, err);
	else if (from->command)
		r = from_command(from->command, &text, &length, err);
	else
		r = ask(is_new, HOW, &text, &length, err);
	return r < 0 ? r : refuse_empty(text, length, out, size, err);
}

int passphrase_new(const struct passphrases *from, char **out, size_t *size,
		   struct err *err)
{
	char *text = NULL;
	size_t length = 0;
	int r;

	if (from->new_file)
		r = from_file(from->new_file, &text, &length, err);
	else if (from->new)
		r = from_text(from->new, &text, &length, err);
	else
		r = ask(true, HOW_NEW, &text, &length, err);
	return r < 0 ? r : refuse_empty(text, length, out, size, err);
}
