/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that a library makes for itself, and how the program that it runs in
 * hears of them: a program that takes rights away from itself takes more of
 * them away from a thread that needs few.
 */
#ifndef FORMAT_BASE_THREAD_H
#define FORMAT_BASE_THREAD_H

#include <pthread.h>

#include "format/base/err.h"

enum thread_kind {
	THREAD_FILES, /* an image's slow work; what io_threads.c reads, writes */
	THREAD_KEEPER, /* talks to a keeper: its socket */
};

typedef void thread_started_fn(enum thread_kind kind);

/* Called by each such thread, first of all. Set before there is one; NULL:
 * nobody listens. */
void thread_on_start(thread_started_fn *fn);
/* For the library: the calling thread has just begun. */
void thread_begin(enum thread_kind kind);
/* 0 or -errno. Signals are for the program's other threads, but for SIGSYS,
 * which each has to answer for itself: a call that a sandbox refuses. */
int thread_make(pthread_t *thread, void *(*run)(void *), void *arg);
/* `code`, with the words for a thread that could not be made: `what` is one. */
int thread_failed(struct err *err, int code, const char *what);

#endif
