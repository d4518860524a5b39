/* SPDX-License-Identifier: Apache-2.0 */
#include "format/base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

static thread_started_fn *listener;

void thread_on_start(thread_started_fn *fn)
{
	listener = fn;
}

void thread_begin(enum thread_kind kind)
{
	if (listener)
		listener(kind);
}

int thread_make(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

/* Of EAGAIN, "try again" would be poor advice. */
int thread_failed(struct err *err, int code, const char *what)
{
	if (code != -EAGAIN)
		return err_sys(err, code, "can't start %s", what);
	return err_set(err, code,
		       "can't start %s: this user or service has as many "
		       "threads as it may (raise 'ulimit -u', or TasksMax= of "
		       "the service)",
		       what);
}
