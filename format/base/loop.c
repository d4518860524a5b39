/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An epoll set, and an eventfd beside it for what comes from other threads. A
 * watch that is removed while its event is in the batch at hand is crossed out
 * of the batch, so that its owner may be freed at once.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "format/base/loop.h"

#define BATCH 32

struct loop {
	int epoll;
	int wake;
	atomic_bool stop;
	struct epoll_event batch[BATCH];
	int at, count;
	pthread_mutex_t lock; /* of the work */
	struct loop_work *first, **last;
	unsigned posted;
};

int loop_new(struct loop **out, struct err *err)
{
	struct epoll_event event = { .events = EPOLLIN };
	autofd int epoll = epoll_create1(EPOLL_CLOEXEC);
	autofd int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct loop *loop;
	int r;

	if (epoll < 0 || wake < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event) < 0)
		return err_sys(err, -errno, "an event loop");
	r = alloc_array(&loop, 1, sizeof(*loop), err);
	if (r < 0)
		return r;
	loop->epoll = fd_steal(&epoll);
	loop->wake = fd_steal(&wake);
	pthread_mutex_init(&loop->lock, NULL);
	loop->last = &loop->first;
	*out = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	close(loop->epoll);
	close(loop->wake);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

int loop_add(struct loop *loop, struct loop_watch *watch, struct err *err)
{
	struct epoll_event event = { .events = watch->events,
				     .data.ptr = watch };

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, watch->fd, &event) < 0)
		return err_sys(err, -errno, "watch a descriptor");
	return 0;
}

void loop_change(struct loop *loop, struct loop_watch *watch)
{
	struct epoll_event event = { .events = watch->events,
				     .data.ptr = watch };

	/* It is in the set: what is left to fail is memory, which a change
	 * does not need. */
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_remove(struct loop *loop, struct loop_watch *watch)
{
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	for (int i = loop->at; i < loop->count; i++) {
		if (loop->batch[i].data.ptr == watch)
			loop->batch[i].events = 0;
	}
}

static struct loop_work *take_work(struct loop *loop)
{
	struct loop_work *work;

	pthread_mutex_lock(&loop->lock);
	work = loop->first;
	if (work) {
		loop->first = work->next;
		if (!loop->first)
			loop->last = &loop->first;
		work->posted = false;
		loop->posted--;
	}
	pthread_mutex_unlock(&loop->lock);
	return work;
}

static void run_work(struct loop *loop)
{
	struct loop_work *work;
	unsigned left;
	uint64_t count;

	/* Before the look: what is posted from here on wakes us again. So work
	 * that posts itself lets others run between. */
	if (read(loop->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&loop->lock);
	left = loop->posted;
	pthread_mutex_unlock(&loop->lock);
	while (left-- && (work = take_work(loop)))
		work->run(work);
}

static void run_batch(struct loop *loop)
{
	while (loop->at < loop->count && !atomic_load(&loop->stop)) {
		const struct epoll_event *event = &loop->batch[loop->at++];
		struct loop_watch *watch = event->data.ptr;

		if (!watch)
			run_work(loop);
		else if (event->events)
			watch->ready(watch, event->events);
	}
	loop->at = loop->count = 0;
}

int loop_run(struct loop *loop, struct err *err)
{
	while (!atomic_load(&loop->stop)) {
		int count = epoll_wait(loop->epoll, loop->batch, BATCH, -1);

		if (count < 0 && errno != EINTR)
			return err_sys(err, -errno, "wait for events");
		loop->at = 0;
		loop->count = count < 0 ? 0 : count;
		run_batch(loop);
	}
	atomic_store(&loop->stop, false);
	return 0;
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;
	ssize_t r;

	/* Full means that it is awake already. */
	do
		r = write(loop->wake, &one, sizeof(one));
	while (r < 0 && errno == EINTR);
}

void loop_stop(struct loop *loop)
{
	int saved = errno;

	atomic_store(&loop->stop, true);
	wake(loop);
	errno = saved;
}

void loop_post(struct loop *loop, struct loop_work *work)
{
	pthread_mutex_lock(&loop->lock);
	if (!work->posted) {
		work->posted = true;
		work->next = NULL;
		*loop->last = work;
		loop->last = &work->next;
		loop->posted++;
	}
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
}

void loop_cancel(struct loop *loop, struct loop_work *work)
{
	pthread_mutex_lock(&loop->lock);
	for (struct loop_work **at = &loop->first; *at; at = &(*at)->next) {
		if (*at != work)
			continue;
		*at = work->next;
		if (!*at)
			loop->last = at;
		work->posted = false;
		loop->posted--;
		break;
	}
	pthread_mutex_unlock(&loop->lock);
}

int loop_timer_new(struct err *err)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	return fd < 0 ? err_sys(err, -errno, "a timer") : fd;
}

void loop_timer_set(int fd, uint64_t ns)
{
	struct itimerspec when = {
		.it_value = { (time_t)(ns / 1000000000),
			      (long)(ns % 1000000000) },
	};

	/* Fails for a bad descriptor or time only. */
	(void)timerfd_settime(fd, 0, &when, NULL);
}

uint64_t loop_timer_read(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}
