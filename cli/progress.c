/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread of its own looks at the counters a few times a second; the engine
 * never waits for a terminal. On a terminal it is one line written over again
 * (with spaces, not with escape codes that a dumb terminal can't take);
 * elsewhere one line a second.
 */
#include "cli/progress.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cli/json.h"
#include "cli/text.h"

enum show { SHOW_NOTHING, SHOW_TERMINAL, SHOW_LINES, SHOW_JSON };

static struct {
	struct cli *cli;
	enum show show;
	int64_t begun_ns;
	pthread_t thread;
	bool has_thread;
	struct sigaction old_int, old_term;

	pthread_mutex_t lock; /* guards what follows, and standard error */
	pthread_cond_t moved;
	bool ending;
	size_t shown; /* characters of the line that stands there */
} meter = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct vms_progress *volatile watched;
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
	if (caught) {
		signal(number, SIG_DFL);
		raise(number);
		return;
	}
	caught = number;
	if (watched)
		atomic_store(&watched->stop, true);
}

int progress_signal(void)
{
	return caught;
}

static size_t terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
		return 79;
	return size.ws_col - 1u;
}

static void words_of(char *text, size_t capacity, const struct vms_progress *p,
		     int64_t elapsed_ns)
{
	uint64_t done = atomic_load(&p->done_bytes);
	uint64_t total = atomic_load(&p->total_bytes);
	double seconds = (double)elapsed_ns / 1e9;
	double rate = seconds > 0 ? (double)done / seconds : 0;
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX],
		d[SIZE_TEXT_MAX], e[SIZE_TEXT_MAX], part[40] = "", eta[40] = "";

	if (total)
		snprintf(part, sizeof(part), "%3.0f%%  ",
			 (double)min_u64(done, total) * 100 / (double)total);
	if (total > done && rate > 0) {
		double left = (double)(total - done) / rate;

		if (left < 360000)
			snprintf(eta, sizeof(eta), "  ETA %u:%02u",
				 (unsigned)left / 60, (unsigned)left % 60);
	}
	snprintf(text, capacity, "%s%s / %s  %s/s  unique %s  stored %s%s",
		 part, size_text(a, done), total ? size_text(b, total) : "?",
		 size_text(c, (uint64_t)rate),
		 size_text(d, atomic_load(&p->unique_bytes)),
		 size_text(e, atomic_load(&p->stored_bytes)), eta);
}

static void show_json(const struct vms_progress *p, int64_t elapsed_ns)
{
	json_t *line = json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "type", "progress",
		"verb", meter.cli->options.verb->name, "total_bytes",
		json_number(atomic_load(&p->total_bytes)), "done_bytes",
		json_number(atomic_load(&p->done_bytes)), "unique_bytes",
		json_number(atomic_load(&p->unique_bytes)), "stored_bytes",
		json_number(atomic_load(&p->stored_bytes)), "elapsed_us",
		(json_int_t)(elapsed_ns / 1000));

	if (line && json_dumpf(line, stderr, JSON_COMPACT) == 0)
		fputc('\n', stderr);
	json_decref(line);
}

/* With the lock held. */
static void clear_line(void)
{
	if (!meter.shown)
		return;
	fprintf(stderr, "\r%*s\r", (int)meter.shown, "");
	fflush(stderr);
	meter.shown = 0;
}

static void show(void)
{
	const struct vms_progress *p = &meter.cli->progress;
	int64_t elapsed_ns = time_monotonic_ns() - meter.begun_ns;
	char text[256];
	size_t size, width;

	if (meter.show == SHOW_JSON) {
		show_json(p, elapsed_ns);
		return;
	}
	words_of(text, sizeof(text), p, elapsed_ns);
	if (meter.show == SHOW_LINES) {
		fprintf(stderr, "%s\n", text);
		return;
	}
	width = terminal_width();
	if (strlen(text) > width)
		text[width] = 0;
	size = strlen(text);
	fprintf(stderr, "\r%s%*s", text,
		meter.shown > size ? (int)(meter.shown - size) : 0, "");
	fflush(stderr);
	meter.shown = size;
}

static void *run(void *arg)
{
	long step_ns = meter.show == SHOW_TERMINAL ? 200000000L : 1000000000L;

	(void)arg;
	pthread_mutex_lock(&meter.lock);
	while (!meter.ending) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += step_ns;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		if (pthread_cond_timedwait(&meter.moved, &meter.lock, &until) ==
		    ETIMEDOUT)
			show();
	}
	pthread_mutex_unlock(&meter.lock);
	return NULL;
}

static int show_wanted(const struct cli *cli, enum show *out, struct err *err)
{
	const char *word = cli_value(cli, OPT_PROGRESS);
	bool terminal = isatty(STDERR_FILENO);

	if (!word || !strcmp(word, "auto"))
		*out = terminal && !cli_given(cli, OPT_QUIET) ? SHOW_TERMINAL
							      : SHOW_NOTHING;
	else if (!strcmp(word, "always"))
		*out = terminal ? SHOW_TERMINAL : SHOW_LINES;
	else if (!strcmp(word, "never"))
		*out = SHOW_NOTHING;
	else if (!strcmp(word, "json"))
		*out = SHOW_JSON;
	else
		return err_set(err, -EINVAL,
			       "--progress '%s': auto, always, never or json",
			       word);
	return 0;
}

/* Without a thread there is no progress to see, and no harm. */
static void start_thread(void)
{
	pthread_condattr_t attributes;
	sigset_t all, old;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&meter.moved, &attributes);
	pthread_condattr_destroy(&attributes);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	meter.has_thread = pthread_create(&meter.thread, NULL, run, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void progress_catch(struct cli *cli)
{
	/* No SA_RESTART: a read of standard input shall return. */
	struct sigaction action = { .sa_handler = on_signal };

	watched = &cli->progress;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, NULL, &meter.old_int);
	sigaction(SIGTERM, NULL, &meter.old_term);
	/* Who started us with one ignored (nohup, &) meant it. */
	if (meter.old_int.sa_handler != SIG_IGN)
		sigaction(SIGINT, &action, NULL);
	if (meter.old_term.sa_handler != SIG_IGN)
		sigaction(SIGTERM, &action, NULL);
}

void progress_release(void)
{
	sigaction(SIGINT, &meter.old_int, NULL);
	sigaction(SIGTERM, &meter.old_term, NULL);
	watched = NULL;
}

int progress_begin(struct cli *cli, struct err *err)
{
	int r = show_wanted(cli, &meter.show, err);

	if (r < 0)
		return r;
	meter.cli = cli;
	meter.begun_ns = time_monotonic_ns();
	meter.ending = false;
	progress_catch(cli);
	if (meter.show != SHOW_NOTHING)
		start_thread();
	return 0;
}

void progress_end(struct cli *cli)
{
	(void)cli;
	if (meter.has_thread) {
		pthread_mutex_lock(&meter.lock);
		meter.ending = true;
		pthread_cond_signal(&meter.moved);
		pthread_mutex_unlock(&meter.lock);
		pthread_join(meter.thread, NULL);
		meter.has_thread = false;
		pthread_cond_destroy(&meter.moved);
		if (meter.show == SHOW_TERMINAL)
			clear_line();
		else
			show();
	}
	progress_release();
}

void progress_pause(void)
{
	pthread_mutex_lock(&meter.lock);
	clear_line();
}

void progress_resume(void)
{
	pthread_mutex_unlock(&meter.lock);
}
