/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: descriptors, removal within a batch, work of other threads,
 * timers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "format/base/loop.h"

struct fixture {
	struct loop *loop;
	struct loop_watch a, b;
	unsigned calls;
	struct loop_work work;
	unsigned runs;
};

static struct fixture *start(void)
{
	struct fixture *fixture = test_calloc(1, sizeof(*fixture));

	assert_int_equal(loop_new(&fixture->loop, NULL), 0);
	return fixture;
}

static void finish(struct fixture *fixture)
{
	loop_free(fixture->loop);
	test_free(fixture);
}

/* Both are ready in one batch; whoever is first takes the other one out. */
static void remove_other(struct loop_watch *watch, uint32_t events)
{
	struct fixture *fixture = watch->owner;

	assert_true(events & EPOLLIN);
	fixture->calls++;
	loop_remove(fixture->loop,
		    watch == &fixture->a ? &fixture->b : &fixture->a);
	loop_stop(fixture->loop);
}

static void test_removed_is_not_called(void **state)
{
	struct fixture *fixture = start();

	(void)state;
	fixture->a = (struct loop_watch){ eventfd(1, EFD_CLOEXEC), EPOLLIN,
					  remove_other, fixture };
	fixture->b = (struct loop_watch){ eventfd(1, EFD_CLOEXEC), EPOLLIN,
					  remove_other, fixture };
	assert_int_equal(loop_add(fixture->loop, &fixture->a, NULL), 0);
	assert_int_equal(loop_add(fixture->loop, &fixture->b, NULL), 0);
	assert_int_equal(loop_run(fixture->loop, NULL), 0);
	assert_int_equal(fixture->calls, 1);
	close(fixture->a.fd);
	close(fixture->b.fd);
	finish(fixture);
}

static void run_three_times(struct loop_work *work)
{
	struct fixture *fixture = container_of(work, struct fixture, work);

	if (++fixture->runs < 3)
		loop_post(fixture->loop, work);
	else
		loop_stop(fixture->loop);
}

static void *post(void *arg)
{
	struct fixture *fixture = arg;

	loop_post(fixture->loop, &fixture->work);
	loop_post(fixture->loop, &fixture->work);
	return NULL;
}

static void test_work_of_another_thread(void **state)
{
	struct fixture *fixture = start();
	pthread_t thread;

	(void)state;
	fixture->work.run = run_three_times;
	assert_int_equal(pthread_create(&thread, NULL, post, fixture), 0);
	assert_int_equal(loop_run(fixture->loop, NULL), 0);
	pthread_join(thread, NULL);
	assert_in_range(fixture->runs, 3, 4);
	finish(fixture);
}

static void count_timer(struct loop_watch *watch, uint32_t events)
{
	struct fixture *fixture = watch->owner;

	(void)events;
	assert_int_equal(loop_timer_read(watch->fd), 1);
	fixture->calls++;
	loop_stop(fixture->loop);
}

static void test_timer(void **state)
{
	struct fixture *fixture = start();

	(void)state;
	fixture->a = (struct loop_watch){ loop_timer_new(NULL), EPOLLIN,
					  count_timer, fixture };
	assert_true(fixture->a.fd >= 0);
	assert_int_equal(loop_add(fixture->loop, &fixture->a, NULL), 0);
	loop_timer_set(fixture->a.fd, 1000);
	assert_int_equal(loop_run(fixture->loop, NULL), 0);
	assert_int_equal(fixture->calls, 1);
	assert_int_equal(loop_timer_read(fixture->a.fd), 0);
	close(fixture->a.fd);
	finish(fixture);
}

static void test_stop_before_run(void **state)
{
	struct fixture *fixture = start();

	(void)state;
	loop_stop(fixture->loop);
	assert_int_equal(loop_run(fixture->loop, NULL), 0);
	finish(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_removed_is_not_called),
		cmocka_unit_test(test_work_of_another_thread),
		cmocka_unit_test(test_timer),
		cmocka_unit_test(test_stop_before_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
