/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsnap-mount STORE DIR [--allow-other] [--writable] [--foreground] [--quiet] [--json]
 * [--passphrase-fd N]: a program of its own, that `vmsnap mount` becomes. It
 * needs no set-up of the host: fusermount3 mounts for a plain user.
 *
 * The one that was called answers when the mount is there, or why it is not;
 * the process that serves is its child, made before there is any thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <syslog.h>

#include "fuse/serve.h"

#define THREADS 16

struct mount {
	const char *store;
	const char *dir;
	bool allow_other, writable, foreground, quiet, json;
	int passphrase_fd;

	char store_path[PATH_MAX], dir_path[PATH_MAX];
	struct vms *vms;
	struct vms_cache *cache;
	struct serve serve;
	struct fuse_session *session;
	bool is_mounted, has_handlers;
};

/* What the child tells the parent: one write of a pipe, so it is whole. */
struct answer {
	int code; /* 0: mounted */
	char text[ERR_TEXT_MAX];
};
static_assert(sizeof(struct answer) <= PIPE_BUF, "written at once");

/* ---- words ---- */

static bool to_syslog;
static char fuse_words[ERR_TEXT_MAX]; /* the last that libfuse said */

static void warn(const char *text)
{
	struct err words;

	(void)err_set(&words, -EIO, "%s", text); /* escapes */
	if (to_syslog)
		syslog(LOG_WARNING, "%s", words.text);
	else
		fprintf(stderr, "vmsnap: mount: warning: %s\n", words.text);
}

static void store_warn_line(void *arg, const char *text)
{
	(void)arg;
	warn(text);
}

static void __attribute__((format(printf, 2, 0)))
note_fuse_words(enum fuse_log_level level, const char *format, va_list args)
{
	size_t size;

	(void)level;
	vsnprintf(fuse_words, sizeof(fuse_words), format, args);
	size = strlen(fuse_words);
	while (size && fuse_words[size - 1] == '\n')
		fuse_words[--size] = '\0';
}

/* As the exit status of vmsnap. */
static int status_of(int code)
{
	switch (code) {
	case 0:
		return 0;
	case -EINVAL:
		return 2;
	case -EBADMSG:
		return 3;
	case -ENOENT:
		return 4;
	case -EBUSY:
		return 5;
	case -EOPNOTSUPP:
		return 6;
	case -EKEYREJECTED:
		return 7;
	default:
		return 1;
	}
}

/* ---- arguments ---- */

static int parse(struct mount *mount, int argc, char **argv, struct err *err)
{
	bool no_more = false;

	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];

		if (no_more || word[0] != '-') {
			if (mount->dir)
				return err_set(err, -EINVAL,
					       "too many arguments");
			*(mount->store ? &mount->dir : &mount->store) = word;
		} else if (!strcmp(word, "--")) {
			no_more = true;
		} else if (!strcmp(word, "--allow-other")) {
			mount->allow_other = true;
		} else if (!strcmp(word, "--writable")) {
			mount->writable = true;
		} else if (!strcmp(word, "--foreground")) {
			mount->foreground = true;
		} else if (!strcmp(word, "--quiet")) {
			mount->quiet = true;
		} else if (!strcmp(word, "--json")) {
			mount->json = true;
		} else if (!strcmp(word, "--passphrase-fd") && i + 1 < argc) {
			mount->passphrase_fd = atoi(argv[++i]);
		} else {
			return err_set(err, -EINVAL, "unknown option '%s'",
				       word);
		}
	}
	if (!mount->dir)
		return err_set(err, -EINVAL,
			       "usage: vmsnap-mount STORE DIR (vmsnap mount "
			       "calls it)");
	return 0;
}

/* Whole paths: the process that serves stands in the root directory. */
static int resolve(struct mount *mount, struct err *err)
{
	struct statfs fs;
	struct stat st;

	if (strstr(mount->store, "://"))
		snprintf(mount->store_path, PATH_MAX, "%s", mount->store);
	else if (!realpath(mount->store, mount->store_path))
		return err_sys(err, -errno, "store '%s'", mount->store);
	/* statfs() asks the process behind a mount, stat() may not. */
	if (!realpath(mount->dir, mount->dir_path) ||
	    stat(mount->dir_path, &st) < 0 ||
	    statfs(mount->dir_path, &fs) < 0) {
		if (errno == ENOTCONN)
			return err_set(err, -EBUSY,
				       "'%s' is a mount whose process has "
				       "died: take it off with fusermount3 -u",
				       mount->dir);
		return err_sys(err, -errno, "'%s'", mount->dir);
	}
	if (fs.f_type == FUSE_SUPER_MAGIC && st.st_ino == FUSE_ROOT_ID)
		return err_set(err, -EBUSY,
			       "something is mounted on '%s' already: take it "
			       "off with fusermount3 -u",
			       mount->dir);
	if (!S_ISDIR(st.st_mode))
		return err_sys(err, -ENOTDIR, "'%s'", mount->dir);
	return 0;
}

/* ---- up and down ---- */

static int start_session(struct mount *mount, struct err *err)
{
	char options[160];
	char *words[] = { (char *)"vmsnap-mount", (char *)"-o", options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, words);

	snprintf(options, sizeof(options),
		 "%s,nosuid,nodev,noatime,fsname=vmsnap-store,subtype=vmsnap,"
		 "default_permissions%s",
		 mount->writable ? "rw" : "ro",
		 mount->allow_other ? ",allow_other" : "");
	fuse_set_log_func(note_fuse_words);
	mount->session = fuse_session_new(&args, &serve_ops, sizeof(serve_ops),
					  &mount->serve);
	fuse_opt_free_args(&args);
	if (!mount->session)
		return err_set(err, -EIO, "FUSE: %s", fuse_words);
	if (fuse_set_signal_handlers(mount->session) < 0)
		return err_set(err, -EIO, "can't set signal handlers");
	mount->has_handlers = true;
	if (fuse_session_mount(mount->session, mount->dir_path) < 0)
		return err_set(
			err,
			access("/dev/fuse", R_OK | W_OK) ? -EOPNOTSUPP : -EIO,
			"can't mount on '%s'%s%s%s", mount->dir,
			*fuse_words ? ": " : "", fuse_words,
			access("/dev/fuse", F_OK)
				? ": there is no /dev/fuse here (modprobe fuse)"
				: "");
	mount->is_mounted = true;
	return 0;
}

/* Each disk that is written to has files of its own. */
static void allow_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int start(struct mount *mount, struct err *err)
{
	struct vms_options options = {
		.location = mount->store_path,
		.store = {
			.mode = STORE_READ,
			.passphrase = vms_passphrase_from_fd,
			.passphrase_arg = &mount->passphrase_fd,
			.warn = store_warn_line,
		},
	};
	int r;

	if (mount->writable)
		allow_files();
	r = vms_open(&mount->vms, &options, err);
	if (r == 0)
		r = vms_cache_new(&mount->cache, 0, err);
	if (r == 0)
		r = catalog_new(&mount->serve.catalog, mount->vms, mount->cache,
				warn, err);
	mount->serve.warn = warn;
	mount->serve.for_all = mount->allow_other;
	mount->serve.writable = mount->writable;
	return r == 0 ? start_session(mount, err) : r;
}

static void stop(struct mount *mount)
{
	/* While it is in use it comes off lazily: readers get an error. */
	if (mount->is_mounted)
		fuse_session_unmount(mount->session);
	if (mount->has_handlers)
		fuse_remove_signal_handlers(mount->session);
	if (mount->session)
		fuse_session_destroy(mount->session);
	catalog_free(mount->serve.catalog);
	vms_cache_free(mount->cache);
	vms_close(mount->vms);
}

static int serve(struct mount *mount)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int r;

	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(config, THREADS);
	fuse_loop_cfg_set_idle_threads(config, THREADS);
	r = fuse_session_loop_mt(mount->session, config);
	fuse_loop_cfg_destroy(config);
	/* A signal's number is a clean end, and 0 is an unmount. */
	return r < 0 ? r : 0;
}

static void tell_mounted(const struct mount *mount, pid_t pid)
{
	if (mount->json)
		printf("{\"type\": \"mount\", \"pid\": %ld}\n", (long)pid);
	else if (!mount->quiet)
		printf("mounted on %s; fusermount3 -u takes it off\n",
		       mount->dir);
	fflush(stdout);
}

/* ---- one process, or two ---- */

static int run_foreground(struct mount *mount, struct err *err)
{
	int r = start(mount, err);

	if (r == 0) {
		tell_mounted(mount, getpid());
		r = serve(mount);
		if (r < 0)
			err_sys(err, r, "FUSE");
	}
	stop(mount);
	return r;
}

static int leave_terminal(struct err *err)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || chdir("/") < 0)
		return err_sys(err, -errno, "can't go to the background");
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	openlog("vmsnap-mount", LOG_PID, LOG_DAEMON);
	to_syslog = true;
	return 0;
}

static int run_child(struct mount *mount, int tell)
{
	struct answer answer = { 0 };
	struct err err = { 0 };
	int r;

	setsid();
	r = start(mount, &err);
	if (r == 0)
		r = leave_terminal(&err);
	answer.code = r;
	memcpy(answer.text, err.text, sizeof(answer.text));
	if (write(tell, &answer, sizeof(answer)) != sizeof(answer))
		r = -EPIPE; /* nobody waits for it */
	close(tell);
	if (r == 0)
		r = serve(mount);
	stop(mount);
	return r;
}

static int run_background(struct mount *mount, struct err *err)
{
	struct answer answer;
	int ends[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "pipe");
	pid = fork();
	if (pid < 0)
		return err_sys(err, -errno, "fork");
	if (pid == 0) {
		close(ends[0]);
		exit(status_of(run_child(mount, ends[1])));
	}
	close(ends[1]);
	do
		n = read(ends[0], &answer, sizeof(answer));
	while (n < 0 && errno == EINTR);
	close(ends[0]);
	if (n != (ssize_t)sizeof(answer))
		return err_set(err, -EIO, "the process that serves has died");
	if (answer.code)
		return err_set(err, answer.code, "%s", answer.text);
	tell_mounted(mount, pid);
	return 0;
}

int main(int argc, char **argv)
{
	static struct mount mount = { .passphrase_fd = -1 };
	struct err err = { 0 };
	int r;

	vms_harden_process();
	r = parse(&mount, argc, argv, &err);
	if (r == 0)
		r = resolve(&mount, &err);
	if (r == 0)
		r = mount.foreground ? run_foreground(&mount, &err)
				     : run_background(&mount, &err);
	if (r < 0)
		fprintf(stderr, "vmsnap: mount: %s\n", err.text);
	return status_of(r);
}
