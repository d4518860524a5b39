/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What befalls a machine's devices, from their threads to the control thread:
 * a driver that broke a rule, a disk that failed. A guest can bring either
 * about as often as it likes, so what is passed on is limited, and the rest is
 * counted. A device that was silent for a while is heard all the same: none can
 * be drowned by what a guest does to another.
 */
#ifndef KVM_AGENT_NEWS_H
#define KVM_AGENT_NEWS_H

#include <pthread.h>

#include "format/base/loop.h"
#include "kvm-agent/vm/clock.h"

#define NEWS_BURST       16u           /* at once */
#define NEWS_EVERY_NS    1000000000LL  /* then one in that time */
#define NEWS_SILENT_NS   10000000000LL /* a device after that: one of its own */
#define NEWS_SOURCES_MAX 32u           /* devices for which that holds */
#define NEWS_TEXT_MAX    256u

/* NEWS_BURST at once, then one in NEWS_EVERY_NS. One thread at a time. */
struct news_limit {
	unsigned tokens; /* so many more are passed on */
	int64_t filled_ns;
};

void news_limit_init(struct news_limit *limit, int64_t now_ns);
/* False: one too many. */
bool news_limit_take(struct news_limit *limit, int64_t now_ns);

struct news_item {
	const char *device;
	unsigned instance;
	uint64_t number; /* of what was told of this device, from 1 */
	char text[NEWS_TEXT_MAX];
};

struct news_source {
	const char *device;
	unsigned instance;
	uint64_t told;
	int64_t told_ns;
};

struct news {
	struct loop *loop; /* the control thread's */
	struct clock *clock;
	void (*tell)(void *arg, const struct news_item *item);
	void *arg;
	struct loop_work work;

	pthread_mutex_t lock; /* of what follows */
	struct news_item items[NEWS_BURST + NEWS_SOURCES_MAX];
	unsigned count;
	struct news_source sources[NEWS_SOURCES_MAX];
	unsigned source_count;
	struct news_limit limit;
	uint64_t missed; /* since the last one that was passed on */
};

/* `tell` is called by the control thread. */
void news_init(struct news *news, struct loop *loop, struct clock *clock,
	       void (*tell)(void *arg, const struct news_item *item),
	       void *arg);
/* By the control thread, after the devices. */
void news_release(struct news *news);

/* Any thread; waits for nothing. `device` is static. */
void news_put(struct news *news, const char *device, unsigned instance,
	      const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
