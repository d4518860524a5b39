/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoll loop: descriptors with a function each, timers, and work from other
 * threads. One thread runs it; what is marked so may be called from any.
 */
#ifndef FORMAT_BASE_LOOP_H
#define FORMAT_BASE_LOOP_H

#include <sys/epoll.h>

#include "format/base/base.h"

struct loop;

/* The caller's, still while it is in a loop. */
struct loop_watch {
	int fd;
	uint32_t events; /* EPOLLIN, ... ; level triggered */
	void (*ready)(struct loop_watch *watch, uint32_t events);
	void *owner; /* the caller's */
};

/* Runs once on the loop's thread, in the order of their posting. */
struct loop_work {
	void (*run)(struct loop_work *work);
	struct loop_work *next; /* the loop's */
	bool posted;            /* the loop's */
};

int loop_new(struct loop **out, struct err *err);
/* NULL is ignored. Not while it runs; what was posted is dropped. */
void loop_free(struct loop *loop);

/* By the loop's thread, or before it runs. */
int loop_add(struct loop *loop, struct loop_watch *watch, struct err *err);
/* watch->events have changed. */
void loop_change(struct loop *loop, struct loop_watch *watch);
/* From here on it is not called, also not for what is ready already. */
void loop_remove(struct loop *loop, struct loop_watch *watch);

/* Calls what is ready until loop_stop(); then 0. */
int loop_run(struct loop *loop, struct err *err);

/* Any thread, also before loop_run() and in a signal handler. */
void loop_stop(struct loop *loop);
/* Any thread. One that is posted and did not run yet: nothing more happens. */
void loop_post(struct loop *loop, struct loop_work *work);
/* By the loop's thread, or when it doesn't run: work that was posted and did
 * not run yet never does. */
void loop_cancel(struct loop *loop, struct loop_work *work);

/* A timer of CLOCK_MONOTONIC as a descriptor for a watch; -errno. */
int loop_timer_new(struct err *err);
/* Once, in `ns` from now; 0: never. */
void loop_timer_set(int fd, uint64_t ns);
/* To be called when it is ready: how often it ran off. */
uint64_t loop_timer_read(int fd);

#endif
