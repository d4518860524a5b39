/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket of tokens: each piece of news takes one, time brings them back. Who
 * has told nothing for a while needs none. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kvm-agent/news.h"

void news_limit_init(struct news_limit *limit, int64_t now_ns)
{
	*limit = (struct news_limit){ NEWS_BURST, now_ns };
}

bool news_limit_take(struct news_limit *limit, int64_t now_ns)
{
	const int64_t some = (now_ns - limit->filled_ns) / NEWS_EVERY_NS;

	if (some > 0) {
		limit->filled_ns += some * NEWS_EVERY_NS;
		limit->tokens = (uint64_t)some < NEWS_BURST - limit->tokens
					? limit->tokens + (unsigned)some
					: NEWS_BURST;
	}
	if (!limit->tokens)
		return false;
	limit->tokens--;
	return true;
}

/* NULL: there are too many. */
static struct news_source *source_of(struct news *news, const char *device,
				     unsigned instance, int64_t now)
{
	struct news_source *source = news->sources;

	for (unsigned i = 0; i < news->source_count; i++, source++) {
		if (source->instance == instance &&
		    !strcmp(source->device, device))
			return source;
	}
	if (news->source_count == NEWS_SOURCES_MAX)
		return NULL;
	news->source_count++;
	*source = (struct news_source){ .device = device,
					.instance = instance,
					.told_ns = now - NEWS_SILENT_NS };
	return source;
}

/* How many of it there are with this one; 0: it is not told. */
static uint64_t may_tell(struct news *news, const char *device,
			 unsigned instance)
{
	const int64_t now = news->clock->steady_ns(news->clock);
	struct news_source *source = source_of(news, device, instance, now);

	if (news->count == ARRAY_SIZE(news->items))
		return 0;
	if (!news_limit_take(&news->limit, now) &&
	    (!source || now - source->told_ns < NEWS_SILENT_NS))
		return 0;
	if (!source)
		return UINT64_MAX;
	source->told_ns = now;
	return ++source->told;
}

static bool take_one(struct news *news, struct news_item *out)
{
	bool is;

	pthread_mutex_lock(&news->lock);
	is = news->count > 0;
	if (is) {
		*out = news->items[0];
		news->count--;
		memmove(&news->items[0], &news->items[1],
			news->count * sizeof(news->items[0]));
	}
	pthread_mutex_unlock(&news->lock);
	return is;
}

static void run_work(struct loop_work *work)
{
	struct news *news = container_of(work, struct news, work);
	struct news_item item;

	while (take_one(news, &item))
		news->tell(news->arg, &item);
}

void news_init(struct news *news, struct loop *loop, struct clock *clock,
	       void (*tell)(void *arg, const struct news_item *item), void *arg)
{
	*news = (struct news){
		.loop = loop,
		.clock = clock,
		.tell = tell,
		.arg = arg,
		.work = { .run = run_work },
	};
	news_limit_init(&news->limit, clock->steady_ns(clock));
	pthread_mutex_init(&news->lock, NULL);
}

void news_release(struct news *news)
{
	loop_cancel(news->loop, &news->work);
	pthread_mutex_destroy(&news->lock);
}

static void write_item(struct news *news, struct news_item *item,
		       const char *format, va_list arguments)
{
	int used = vsnprintf(item->text, sizeof(item->text), format, arguments);

	if (news->missed && used >= 0 && used < (int)sizeof(item->text))
		snprintf(item->text + used, sizeof(item->text) - (size_t)used,
			 " (%" PRIu64 " more before it were not told)",
			 news->missed);
	news->missed = 0;
}

void news_put(struct news *news, const char *device, unsigned instance,
	      const char *format, ...)
{
	va_list arguments;
	uint64_t number;

	va_start(arguments, format);
	pthread_mutex_lock(&news->lock);
	number = may_tell(news, device, instance);
	if (number) {
		struct news_item *item = &news->items[news->count++];

		item->number = number;
		item->device = device;
		item->instance = instance;
		write_item(news, item, format, arguments);
	} else {
		news->missed++;
	}
	pthread_mutex_unlock(&news->lock);
	va_end(arguments);
	loop_post(news->loop, &news->work);
}
