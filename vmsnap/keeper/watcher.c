/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes. This one has read the passphrase, keeps it in memory that is
 * not swapped out, and does nothing but wait: no peer reaches it, so that
 * nothing of a peer's making ends it. The server is its child, made anew by
 * fork when it has died; the sockets are held here, so that connections wait in
 * them meanwhile. A server whose watcher has gone serves on.
 */
#include "vmsnap/keeper/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "vmsnap/keeper/home.h"
#include "vmsnap/keeper/server.h"
#include "vmsnap/keeper/socket.h"

#define GRACE_MS     10000
#define STEADY_MS    10000u /* one that ran so long is started at once */
#define RETRY_MIN_MS 100u
#define RETRY_MAX_MS 5000u
#define FILES_MAX    8192u
#define CACHE_SHARE  16 /* of this host's memory */

struct watcher {
	const struct watcher_options *options;
	int control, agents;
	char *secret; /* pages of its own, locked */
	size_t secret_size, secret_room;
	atomic_bool *was_ready; /* shared with the servers */
	uint64_t start;
};

static void log_line(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "vmsnap-keeper: %s\n", text);
}

/* A store that is away for a week fills no disk with words about it. */
static bool is_worth_telling(const struct watcher *watcher)
{
	return watcher->start <= 16 || is_power_of_two(watcher->start);
}

/* ---- the server ---- */

static int give_secret(void *arg, char **out, size_t *size, struct err *err)
{
	const struct watcher *watcher = arg;
	int r;

	if (!watcher->secret)
		return err_set(err, -EKEYREJECTED,
			       "the store is encrypted, and its keeper was "
			       "given no passphrase");
	r = alloc_array(out, watcher->secret_size, 1, err);
	if (r)
		return r;
	memcpy(*out, watcher->secret, watcher->secret_size);
	*size = watcher->secret_size;
	return 0;
}

static void tell_ready(void *arg)
{
	struct watcher *watcher = arg;

	/* A later server's number may be another's descriptor. */
	if (atomic_exchange(watcher->was_ready, true))
		return;
	dprintf(watcher->options->ready, "ok\n");
	close(watcher->options->ready);
}

/* Up to a share of the memory that there is; other programs have theirs. */
static size_t cache_bytes(void)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) *
		       (uint64_t)sysconf(_SC_PAGESIZE);

	return (size_t)max_u64(64 * MIB, min_u64(GIB, all / CACHE_SHARE));
}

static void raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = min_u64(files.rlim_max, FILES_MAX);
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

static int check_store(const struct watcher *watcher, struct vms *vms,
		       struct err *err)
{
	if (memcmp(store_config(vms_store(vms))->store.b,
		   watcher->options->store, VMS_STORE_ID_SIZE) == 0)
		return 0;
	return err_set(err, -ESTALE, "'%s' is another store now",
		       watcher->options->location);
}

static int serve(struct watcher *watcher, struct err *err)
{
	struct vms_options how = {
		.location = watcher->options->location,
		.store = { .mode = STORE_READ,
			   .passphrase = give_secret,
			   .passphrase_arg = watcher,
			   .warn = log_line },
	};
	struct keeper_server_options options = {
		.cache_bytes = cache_bytes(),
		.control = watcher->control,
		.agents = watcher->agents,
		.watcher = (uint64_t)getppid(),
		.start = watcher->start,
		.grace_ms = GRACE_MS,
		.log = log_line,
		.ready = tell_ready,
		.arg = watcher,
	};
	int r = vms_open(&options.vms, &how, err);

	/* What lives on the peers' side of the process has no passphrase. */
	if (watcher->secret)
		wipe(watcher->secret, watcher->secret_size);
	if (!r)
		r = check_store(watcher, options.vms, err);
	if (!r)
		r = keeper_server_run(&options, err);
	vms_close(options.vms);
	return r;
}

/* An exit status tells what a next one can do. */
enum {
	SERVER_ENDED = 0,
	SERVER_FAILED = 1,
	SERVER_CANT = 2, /* the next one neither */
};

static void __attribute__((noreturn)) server_main(struct watcher *watcher)
{
	struct err err = { 0 };
	sigset_t none;
	int r;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	(void)keeper_process_write(watcher->options->directory, "server.pid",
				   NULL);
	raise_limits();
	r = serve(watcher, &err);
	if (!r)
		exit(SERVER_ENDED);
	if (is_worth_telling(watcher))
		log_line(NULL, err.text);
	if (!atomic_load(watcher->was_ready))
		dprintf(watcher->options->ready, "%d %s\n", r, err.text);
	exit(r == -EKEYREJECTED || r == -ESTALE ? SERVER_CANT : SERVER_FAILED);
}

/* ---- the watcher ---- */

/* Swapped memory outlives the process. A limit that forbids it is no end. */
static int keep_secret(struct watcher *watcher, struct err *err)
{
	int fd = watcher->options->passphrase;
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *text = NULL;
	size_t size = 0;
	void *room;
	int r;

	if (fd < 0)
		return 0;
	r = vms_passphrase_from_fd(&fd, &text, &size, err);
	if (r)
		return r;
	watcher->secret_room = div_up(size, page) * page;
	room = mmap(NULL, watcher->secret_room, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED) {
		r = err_set(err, -ENOMEM, "out of memory");
	} else {
		if (mlock(room, watcher->secret_room) < 0)
			log_line(NULL, "the passphrase is in memory that can "
				       "be swapped out: RLIMIT_MEMLOCK");
		watcher->secret = room;
		watcher->secret_size = size;
		memcpy(watcher->secret, text, size);
	}
	wipe(text, size);
	free(text);
	return r;
}

static int open_all(struct watcher *watcher, struct err *err)
{
	const struct watcher_options *options = watcher->options;
	autofd int agents = -1;
	void *shared;
	int r = keep_secret(watcher, err);

	if (r)
		return r;
	shared = mmap(NULL, sizeof(*watcher->was_ready), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return err_set(err, -ENOMEM, "out of memory");
	watcher->was_ready = shared;
	agents = openat(options->directory, KEEPER_AGENTS,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (agents < 0)
		return err_sys(err, -errno, "'%s'", KEEPER_AGENTS);
	r = watcher->control =
		keeper_listen(options->directory, KEEPER_CONTROL, 0600, err);
	if (r >= 0)
		r = watcher->agents =
			keeper_listen(agents, KEEPER_AGENT, 0666, err);
	return r < 0 ? r : 0;
}

/* SIGCHLD, or SIGTERM: it is to end. 0: neither, in that time. */
static int await_signal(uint64_t timeout_ms)
{
	struct timespec time = { (time_t)(timeout_ms / 1000),
				 (long)(timeout_ms % 1000) * 1000000 };
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	do
		number = timeout_ms ? sigtimedwait(&set, NULL, &time)
				    : sigwaitinfo(&set, NULL);
	while (number < 0 && errno == EINTR);
	return number < 0 ? 0 : number;
}

/* Its status; -1: we are to end. */
static int await_server(pid_t server)
{
	int status = 0;
	pid_t ended;

	do {
		if (await_signal(0) == SIGTERM) {
			kill(server, SIGKILL);
			waitpid(server, NULL, 0);
			return -1;
		}
		ended = waitpid(server, &status, WNOHANG);
	} while (ended == 0);
	return status;
}

static void tell_end(int status, uint64_t retry_ms)
{
	char text[128];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text),
			 "the server died by signal %d; the next one in %u ms",
			 WTERMSIG(status), (unsigned)retry_ms);
	else
		snprintf(text, sizeof(text),
			 "the server has failed; the next one in %u ms",
			 (unsigned)retry_ms);
	log_line(NULL, text);
}

/* 1: another one; else an exit status in *code. */
static bool start_again(struct watcher *watcher, int status, uint64_t ran_ms,
			uint64_t *retry_ms, int *code)
{
	*code = EXIT_FAILURE;
	if (status < 0)
		return false;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SERVER_ENDED) {
		*code = EXIT_SUCCESS;
		return false;
	}
	/* Who waits for the first one was told, and will not wait for more. */
	if (!atomic_load(watcher->was_ready) ||
	    (WIFEXITED(status) && WEXITSTATUS(status) == SERVER_CANT))
		return false;
	if (ran_ms >= STEADY_MS)
		*retry_ms = 0;
	if (is_worth_telling(watcher))
		tell_end(status, *retry_ms);
	if (*retry_ms && await_signal(*retry_ms) == SIGTERM)
		return false;
	*retry_ms = max_u64(RETRY_MIN_MS, min_u64(2 * *retry_ms, RETRY_MAX_MS));
	return true;
}

static int watch(struct watcher *watcher)
{
	uint64_t retry_ms = 0;
	int code, status;

	do {
		int64_t began_ns = time_monotonic_ns();
		pid_t server;

		watcher->start++;
		server = fork();
		if (!server)
			server_main(watcher);
		if (watcher->start == 1 && server > 0)
			close(watcher->options->ready);
		status = server < 0 ? SERVER_FAILED << 8 : await_server(server);
		code = (int)((time_monotonic_ns() - began_ns) / 1000000);
	} while (
		start_again(watcher, status, (uint64_t)code, &retry_ms, &code));
	return code;
}

int watcher_run(const struct watcher_options *options)
{
	struct watcher watcher = { .options = options,
				   .control = -1,
				   .agents = -1 };
	struct err err = { 0 };
	sigset_t set;
	int r, code = EXIT_FAILURE;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r = keeper_process_write(options->directory, "keeper.pid", &err);
	if (!r)
		r = open_all(&watcher, &err);
	if (r) {
		log_line(NULL, err.text);
		dprintf(options->ready, "%d %s\n", r, err.text);
	} else {
		code = watch(&watcher);
	}
	if (watcher.secret) {
		wipe(watcher.secret, watcher.secret_size);
		munmap(watcher.secret, watcher.secret_room);
	}
	return code;
}
