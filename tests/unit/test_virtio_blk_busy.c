/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk and when it asks its driver to tell of more: not while the disk is
 * busy and fast. Time is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/blk_rig.h"

#define US 1000
#define MS 1000000

static int64_t now_ns;

static int64_t steady_ns(struct clock *clock)
{
	(void)clock;
	return now_ns;
}

static struct clock test_clock = { .steady_ns = steady_ns };

/* Put into the ring, and the device told only if it wants to hear of it. */
static void offer(struct rig *rig, unsigned count)
{
	while (count--) {
		driver_put_head(&rig->driver, 0, 0);
		driver_notify_wanted(&rig->driver, 0);
	}
	guest_settle(&rig->guest);
}

static void let_go(struct rig *rig, unsigned count)
{
	rig->fake.let = count;
	blk_poll(&rig->blk);
	guest_settle(&rig->guest);
}

/* 16 under way, on a disk that takes `pace_ns` for each. */
static struct rig *start_at_pace(uint64_t features, int64_t pace_ns)
{
	struct rig *rig = start_sized(BEHIND_FAKE, false, SIZE);

	now_ns = 1000LL * MS;
	ok(driver_start(&rig->driver, features));
	rig->blk.clock = &test_clock;
	timer_release(&rig->blk.stalled); /* the test runs it */
	rig->fake.hold = true;
	submit(rig, 0, IN, 0, 512, 512);
	offer(rig, 15);
	assert_int_equal(rig->blk.requests, 16);
	let_go(rig, 16);
	offer(rig, 16);
	now_ns += 16 * pace_ns;
	let_go(rig, 16);
	offer(rig, 1);
	assert_int_equal(rig->blk.requests, 1);
	for (unsigned i = 1; i < 16; i++)
		driver_put_head(&rig->driver, 0, 0);
	driver_notify(&rig->driver, 0);
	guest_settle(&rig->guest);
	assert_int_equal(rig->blk.requests, 16);
	return rig;
}

static void end(struct rig *rig)
{
	rig->fake.hold = false;
	blk_poll(&rig->blk);
	guest_settle(&rig->guest);
	assert_int_equal(rig->blk.requests, 0);
	/* Whatever was, it is asked to tell again. */
	rig->fake.hold = true;
	offer(rig, 1);
	assert_int_equal(rig->blk.requests, 1);
	rig->fake.hold = false;
	finish(rig);
}

/* What is done next has the ring looked at. */
static void test_fast(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = start_at_pace(
			i ? ALL : ALL & ~VIRTIO_F_EVENT_INDEX, 100 * US);

		offer(rig, 3);
		assert_int_equal(rig->blk.requests, 16);
		assert_true(rig->blk.stalled.wait_ns);
		now_ns += 100 * US;
		let_go(rig, 1);
		assert_int_equal(rig->blk.requests, 18);
		offer(rig, 1);
		assert_int_equal(rig->blk.requests, 18);
		/* With few left it is not relied on. */
		let_go(rig, 12);
		assert_int_equal(rig->blk.requests, 7);
		offer(rig, 1);
		assert_int_equal(rig->blk.requests, 8);
		end(rig);
	}
}

static void test_slow(void **state)
{
	struct rig *rig = start_at_pace(ALL, MS);

	(void)state;
	offer(rig, 1);
	assert_int_equal(rig->blk.requests, 17);
	now_ns += MS;
	let_go(rig, 1);
	assert_int_equal(rig->blk.requests, 16);
	offer(rig, 1);
	assert_int_equal(rig->blk.requests, 17);
	assert_int_equal(rig->blk.stalled.wait_ns, 0);
	end(rig);
}

static void wait_over(struct rig *rig)
{
	assert_true(rig->blk.stalled.wait_ns);
	now_ns += (int64_t)rig->blk.stalled.wait_ns;
	rig->blk.stalled.run(&rig->blk.stalled);
	guest_settle(&rig->guest);
}

/* One that was fast and stands still holds up nobody for long. */
static void test_stalled(void **state)
{
	struct rig *rig = start_at_pace(ALL, 100 * US);

	(void)state;
	offer(rig, 1);
	assert_int_equal(rig->blk.requests, 16);
	wait_over(rig);
	assert_int_equal(rig->blk.requests, 17);
	offer(rig, 1);
	assert_int_equal(rig->blk.requests, 18);
	assert_int_equal(rig->blk.stalled.wait_ns, 0);
	end(rig);
}

/* It goes on: the timer finds that, and is set again. */
static void test_not_stalled(void **state)
{
	struct rig *rig = start_at_pace(ALL, 100 * US);

	(void)state;
	now_ns += 100 * US;
	let_go(rig, 1);
	offer(rig, 1);
	assert_int_equal(rig->blk.requests, 15);
	now_ns -= 200 * US;
	wait_over(rig);
	assert_int_equal(rig->blk.requests, 16);
	offer(rig, 1);
	assert_int_equal(rig->blk.requests, 16);
	assert_true(rig->blk.stalled.wait_ns);
	end(rig);
}

/* A machine that goes on after a pause is looked at whatever was asked for. */
static void test_quiesce(void **state)
{
	struct rig *rig = start_at_pace(ALL, 100 * US);

	(void)state;
	offer(rig, 1);
	virtio_quiesce(&rig->blk.virtio, NULL, NULL);
	let_go(rig, 16);
	assert_int_equal(rig->blk.requests, 0);
	virtio_resume(&rig->blk.virtio);
	guest_settle(&rig->guest);
	assert_int_equal(rig->blk.requests, 1);
	end(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fast),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_stalled),
		cmocka_unit_test(test_not_stalled),
		cmocka_unit_test(test_quiesce),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
