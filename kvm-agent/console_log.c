/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No more waits for the disk than the log would keep of it. The log is halved in
 * place by its descriptor, so that it needs no name and no directory. Its thread
 * is made when there is something to write: the sandbox is up then.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "format/base/thread.h"
#include "kvm-agent/console_log.h"

#define DROPPED_TEXT "\r\n[vmsnap: output dropped]\r\n"

struct console_log {
	pthread_t thread;
	bool has_thread, is_alone; /* one could not be made */

	pthread_mutex_t lock; /* of these */
	pthread_cond_t wake;
	uint8_t *waiting;
	size_t size;
	bool dropped, ends;

	/* Of who writes. */
	int file;
	uint64_t file_size;
	uint8_t *taken;
};

static bool write_all(int fd, const uint8_t *data, size_t size, uint64_t at)
{
	while (size) {
		ssize_t n = pwrite(fd, data, size, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		size -= (size_t)n;
		at += (uint64_t)n;
	}
	return true;
}

/* The newer half becomes all of it. */
static void halve(struct console_log *log)
{
	uint64_t keep = CONSOLE_LOG_MAX / 2;
	autofree uint8_t *half = malloc(keep);
	ssize_t n = half ? pread(log->file, half, keep,
				 (off_t)(log->file_size - keep))
			 : -1;

	if (n < 0)
		n = 0;
	if (!write_all(log->file, half, (size_t)n, 0))
		n = 0;
	if (ftruncate(log->file, n) == 0)
		log->file_size = (uint64_t)n;
}

/* A full disk costs the log, not the guest. */
static void append(struct console_log *log, const uint8_t *data, size_t size)
{
	if (write_all(log->file, data, size, log->file_size))
		log->file_size += size;
	else
		(void)!ftruncate(log->file, (off_t)log->file_size);
	if (log->file_size > CONSOLE_LOG_MAX)
		halve(log);
}

/* With the lock, but not while it writes. */
static void write_waiting(struct console_log *log)
{
	uint8_t *data = log->waiting;
	size_t size = log->size;
	bool dropped = log->dropped;

	log->waiting = log->taken;
	log->taken = data;
	log->size = 0;
	log->dropped = false;
	pthread_mutex_unlock(&log->lock);
	append(log, data, size);
	if (dropped)
		append(log, (const uint8_t *)DROPPED_TEXT,
		       strlen(DROPPED_TEXT));
	pthread_mutex_lock(&log->lock);
}

static void *log_thread(void *arg)
{
	struct console_log *log = arg;

	pthread_setname_np(pthread_self(), "console-log");
	thread_begin(THREAD_FILES);
	pthread_mutex_lock(&log->lock);
	while (log->size || !log->ends) {
		if (log->size)
			write_waiting(log);
		else
			pthread_cond_wait(&log->wake, &log->lock);
	}
	pthread_mutex_unlock(&log->lock);
	return NULL;
}

/* Without a thread it is written at once. */
static void get_thread(struct console_log *log)
{
	if (log->has_thread || log->is_alone)
		return;
	log->has_thread = thread_make(&log->thread, log_thread, log) == 0;
	log->is_alone = !log->has_thread;
}

void console_log_put(struct console_log *log, const void *data, size_t size)
{
	size_t n;

	if (!size)
		return;
	get_thread(log);
	pthread_mutex_lock(&log->lock);
	n = min_u64(size, CONSOLE_LOG_MAX - log->size);
	memcpy(log->waiting + log->size, data, n);
	log->size += n;
	if (n < size)
		log->dropped = true;
	if (log->is_alone)
		write_waiting(log);
	else
		pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
}

void console_log_free(struct console_log *log)
{
	if (!log)
		return;
	if (log->has_thread) {
		pthread_mutex_lock(&log->lock);
		log->ends = true;
		pthread_cond_signal(&log->wake);
		pthread_mutex_unlock(&log->lock);
		pthread_join(log->thread, NULL);
	}
	close(log->file);
	pthread_cond_destroy(&log->wake);
	pthread_mutex_destroy(&log->lock);
	free(log->waiting);
	free(log->taken);
	free(log);
}

int console_log_new(struct console_log **out, int file, struct err *err)
{
	struct console_log *log = NULL;
	struct stat st;
	int r = alloc_array(&log, 1, sizeof(*log), err);

	if (r < 0) {
		close(file);
		return r;
	}
	log->file = file;
	pthread_mutex_init(&log->lock, NULL);
	pthread_cond_init(&log->wake, NULL);
	r = alloc_array(&log->waiting, CONSOLE_LOG_MAX, 1, err);
	if (!r)
		r = alloc_array(&log->taken, CONSOLE_LOG_MAX, 1, err);
	if (!r && fstat(file, &st) < 0)
		r = err_sys(err, -errno, "the console's log");
	if (r) {
		console_log_free(log);
		return r;
	}
	log->file_size = (uint64_t)st.st_size;
	*out = log;
	return 0;
}
