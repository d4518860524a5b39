/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor that is readable while there is something to do. It is written to
 * once until it is cleared: a call for each thing would be a good part of what
 * that costs. One thread at a time, or by the owner's lock.
 */
#ifndef FORMAT_BASE_EVENT_H
#define FORMAT_BASE_EVENT_H

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "format/base/base.h"

struct event {
	int fd; /* -1: nobody has asked for it, and nothing happens */
	bool set;
};

/* 0 or -errno; then fd is -1. */
static inline int event_open(struct event *event)
{
	event->set = false;
	event->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return event->fd < 0 ? -errno : 0;
}

static inline void event_set(struct event *event)
{
	uint64_t one = 1;

	if (event->fd >= 0 && !event->set)
		event->set = write(event->fd, &one, sizeof(one)) > 0;
}

/* Before the look at what there is: what comes from here on sets it again. */
static inline void event_clear(struct event *event)
{
	uint64_t count;

	if (event->set)
		event->set = read(event->fd, &count, sizeof(count)) < 0;
}

#endif
