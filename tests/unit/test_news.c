/* SPDX-License-Identifier: Apache-2.0 */
/* What befalls devices: told by any thread, limited, and what is left out
 * counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "kvm-agent/news.h"

struct rig {
	struct loop *loop;
	struct clock clock;
	int64_t now;
	struct news news;
	struct loop_work end;
	unsigned told, others;
	uint64_t number; /* of the last one */
	char first[NEWS_TEXT_MAX], last[NEWS_TEXT_MAX];
};

static int64_t now(struct clock *clock)
{
	return container_of(clock, struct rig, clock)->now;
}

static void tell(void *arg, const struct news_item *item)
{
	struct rig *rig = arg;

	if (strcmp(item->device, "virtio-blk") != 0) {
		rig->others++;
	} else {
		assert_int_equal(item->instance, 3);
		assert_int_equal(item->number, ++rig->number);
	}
	if (!rig->told++)
		snprintf(rig->first, sizeof(rig->first), "%s", item->text);
	snprintf(rig->last, sizeof(rig->last), "%s", item->text);
}

static void end(struct loop_work *work)
{
	loop_stop(container_of(work, struct rig, end)->loop);
}

/* What was put before is told. */
static unsigned settle(struct rig *rig)
{
	rig->told = 0;
	loop_post(rig->loop, &rig->end);
	assert_int_equal(loop_run(rig->loop, NULL), 0);
	return rig->told;
}

static void *put_some(void *arg)
{
	struct rig *rig = arg;

	for (int i = 0; i < 500; i++)
		news_put(&rig->news, "virtio-blk", 3, "line %d", i);
	return NULL;
}

static void test_flood(void **state)
{
	struct rig rig = { .clock = { now, now }, .end = { .run = end } };
	pthread_t threads[2];

	(void)state;
	assert_int_equal(loop_new(&rig.loop, NULL), 0);
	news_init(&rig.news, rig.loop, &rig.clock, tell, &rig);
	assert_int_equal(settle(&rig), 0);
	news_put(&rig.news, "virtio-blk", 3, "%s", "first");
	assert_int_equal(settle(&rig), 1);
	assert_string_equal(rig.last, "first");
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, put_some, &rig), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(settle(&rig), NEWS_BURST - 1);
	put_some(&rig);
	assert_int_equal(settle(&rig), 0);
	/* Time brings some back, and no more than the first burst. */
	rig.now += 2 * NEWS_EVERY_NS + 1;
	put_some(&rig);
	assert_int_equal(settle(&rig), 2);
	assert_string_equal(rig.first,
			    "line 0 (1485 more before it were not told)");
	assert_string_equal(rig.last, "line 1");
	rig.now += 1000 * NEWS_EVERY_NS;
	put_some(&rig);
	assert_int_equal(settle(&rig), NEWS_BURST);
	/* What nobody took any more is dropped. */
	rig.now += 1000 * NEWS_EVERY_NS;
	put_some(&rig);
	news_release(&rig.news);
	assert_int_equal(settle(&rig), 0);
	loop_free(rig.loop);
}

/* What floods is one device's; the others are heard. */
static void test_others(void **state)
{
	struct rig rig = { .clock = { now, now }, .end = { .run = end } };

	(void)state;
	assert_int_equal(loop_new(&rig.loop, NULL), 0);
	news_init(&rig.news, rig.loop, &rig.clock, tell, &rig);
	put_some(&rig);
	for (unsigned i = 0; i < 2 * NEWS_SOURCES_MAX; i++)
		news_put(&rig.news, "virtio-rng", i, "a flood by many");
	news_put(&rig.news, "virtio-rng", 0, "once more");
	assert_int_equal(settle(&rig), NEWS_BURST + NEWS_SOURCES_MAX - 1);
	assert_int_equal(rig.others, NEWS_SOURCES_MAX - 1);
	/* Each for itself, when it was silent. */
	rig.now += NEWS_EVERY_NS;
	put_some(&rig);
	assert_int_equal(settle(&rig), 1);
	rig.now += NEWS_SILENT_NS - NEWS_EVERY_NS - 1;
	put_some(&rig);
	(void)settle(&rig);
	news_put(&rig.news, "virtio-rng", 0, "too early");
	assert_int_equal(settle(&rig), 0);
	rig.now++;
	put_some(&rig);
	(void)settle(&rig);
	news_put(&rig.news, "virtio-rng", 0, "in time");
	assert_int_equal(settle(&rig), 1);
	assert_memory_equal(rig.last, "in time (", 9);
	news_release(&rig.news);
	loop_free(rig.loop);
}

static void test_long_text(void **state)
{
	struct rig rig = { .clock = { now, now }, .end = { .run = end } };
	char text[2 * NEWS_TEXT_MAX];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	assert_int_equal(loop_new(&rig.loop, NULL), 0);
	news_init(&rig.news, rig.loop, &rig.clock, tell, &rig);
	news_put(&rig.news, "virtio-blk", 3, "%s", text);
	assert_int_equal(settle(&rig), 1);
	assert_int_equal(strlen(rig.last), NEWS_TEXT_MAX - 1);
	news_release(&rig.news);
	loop_free(rig.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_long_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
