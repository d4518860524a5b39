/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk with much to do: requests that wait, queues that are full, and who
 * has his turn meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/blk_rig.h"

/* A write that a flush is to follow; and of a gigabyte four times as much as the
 * disk gets at once. */
static void ask_for_much(struct rig *rig)
{
	struct piece pieces[256] = { { rig->head, 16, false } };

	ok(driver_start(&rig->driver, ALL & ~F_FLUSH));
	rig->fake.hold = true;
	submit(rig, 0, OUT, 0, 4096, 4096);
	guest_settle(&rig->guest);
	for (unsigned i = 1; i < 255; i++)
		pieces[i] = (struct piece){ 4 * MIB, 4 * MIB, true };
	pieces[255] = (struct piece){ rig->status, 1, true };
	memset(guest_at(&rig->guest, rig->head), 0, 16);
	for (unsigned i = 0; i < 4; i++)
		driver_add_indirect(&rig->driver, 1, pieces, 256);
	driver_notify(&rig->driver, 1);
	guest_settle(&rig->guest);
	assert_int_equal(rig->blk.requests, 5);
	assert_int_equal(rig->fake.submitted, 256);
}

/* The machine's end is that of what was not begun. */
static void test_end_of_what_waits(void **state)
{
	struct rig *rig = start_sized(BEHIND_FAKE, false, 2 * GIB);

	(void)state;
	ask_for_much(rig);
	blk_release(&rig->blk);
	assert_int_equal(rig->fake.submitted, 256);
	assert_int_equal(rig->fake.flushes, 0);
	assert_int_equal(rig->fake.count, 0);
	assert_int_equal(*status_of(rig), 1);
	assert_int_equal(rig->failures, 0);
	finish(rig);
}

static void is_quiet(void *arg)
{
	struct rig *rig = arg;

	rig->quiet++;
}

static void let_go(struct rig *rig)
{
	rig->fake.hold = false;
	blk_poll(&rig->blk);
	guest_settle(&rig->guest);
}

/* So is a reset, by the driver or of the machine: it takes as long as what the
 * disk has. */
static void test_reset_of_what_waits(void **state)
{
	(void)state;
	for (unsigned by_machine = 0; by_machine < 2; by_machine++) {
		struct rig *rig = start_sized(BEHIND_FAKE, false, 2 * GIB);

		ask_for_much(rig);
		if (by_machine) {
			virtio_quiesce(&rig->blk.virtio, is_quiet, rig);
			virtio_cut(&rig->blk.virtio);
		} else {
			driver_set_status(&rig->driver, 0);
		}
		guest_settle(&rig->guest);
		assert_int_equal(rig->blk.requests, 5);
		assert_int_equal(rig->quiet, 0);
		let_go(rig);
		assert_int_equal(rig->blk.requests, 0);
		assert_int_equal(rig->fake.submitted, 256);
		assert_int_equal(rig->fake.flushes, 0);
		assert_int_equal(rig->failures, 0);
		assert_int_equal(rig->quiet, by_machine);
		if (by_machine) {
			virtio_reset(&rig->blk.virtio.device);
			virtio_resume(&rig->blk.virtio);
		}
		assert_int_equal(by_machine ? 0 : driver_status(&rig->driver),
				 0);
		ok(driver_find(&rig->driver, &rig->guest, 1));
		ok(driver_start(&rig->driver, ALL));
		assert_int_equal(run(rig, IN, 0, 512, 512), 0);
		finish(rig);
	}
}

/* One interrupt for all that is done at once. */
static void test_interrupts_are_few(void **state)
{
	struct rig *rig = start_sized(BEHIND_FAKE, false, SIZE);
	unsigned before;

	(void)state;
	ok(driver_start(&rig->driver, ALL & ~VIRTIO_F_EVENT_INDEX));
	rig->fake.hold = true;
	for (unsigned i = 0; i < 20; i++)
		submit(rig, 0, IN, 0, 512, 512);
	guest_settle(&rig->guest);
	assert_int_equal(rig->fake.count, 20);
	before = rig->guest.message_count;
	let_go(rig);
	for (unsigned i = 0; i < 20; i++)
		assert_true(driver_take(&rig->driver, 0, NULL) >= 0);
	assert_int_equal(rig->guest.message_count, before + 1);
	finish(rig);
}

static void test_drain(void **state)
{
	struct rig *rig = start(BEHIND_FAKE);

	(void)state;
	rig->fake.hold = true;
	submit(rig, 0, IN, 0, 512, 512);
	submit(rig, 1, OUT, 0, 4096, 512);
	guest_settle(&rig->guest);
	virtio_quiesce(&rig->blk.virtio, is_quiet, rig);
	guest_settle(&rig->guest);
	assert_int_equal(rig->quiet, 0);
	rig->fake.hold = false;
	blk_poll(&rig->blk);
	guest_settle(&rig->guest);
	assert_int_equal(rig->quiet, 1);
	assert_true(driver_take(&rig->driver, 0, NULL) >= 0);
	assert_true(driver_take(&rig->driver, 1, NULL) >= 0);
	virtio_resume(&rig->blk.virtio);
	assert_int_equal(run(rig, IN, 0, 512, 512), 0);
	finish(rig);
}

/* Heads that are given again and again are not more requests than fit. */
static void test_heads_twice(void **state)
{
	struct rig *rig = start(BEHIND_FAKE);

	(void)state;
	rig->fake.hold = true;
	submit(rig, 0, IN, 0, 512, 512);
	for (unsigned round = 0; round < 8; round++) {
		guest_settle(&rig->guest);
		for (unsigned i = 0; i < 200; i++)
			driver_put_head(&rig->driver, 0, 0);
		driver_notify(&rig->driver, 0);
	}
	guest_settle(&rig->guest);
	assert_true(rig->blk.requests <= 512);
	rig->fake.hold = false;
	blk_poll(&rig->blk);
	guest_settle(&rig->guest);
	assert_int_equal(rig->blk.requests, 0);
	finish(rig);
}

/* All that a disk may hold is taken, and all of it is done at once: a driver
 * that waits to be asked for more is asked. */
static void test_full_and_done(void **state)
{
	struct rig *rig = start(BEHIND_FAKE);
	unsigned most = 512, done = 0;

	(void)state;
	rig->fake.hold = true;
	for (unsigned queue = 0; queue < 2; queue++) {
		submit(rig, queue, IN, 0, 512, 512);
		guest_settle(&rig->guest);
		for (unsigned i = 1; i < most / 2; i++)
			driver_put_head(&rig->driver, queue, 0);
		/* The disk has gone on when the last of them are looked at. */
		rig->fake.hold = !queue;
		driver_notify(&rig->driver, queue);
		guest_settle(&rig->guest);
	}
	assert_int_equal(rig->fake.most, 256);
	assert_int_equal(rig->blk.requests, 0);
	while (driver_take(&rig->driver, 1, NULL) >= 0)
		done++;
	assert_int_equal(done, most / 2);
	driver_put_head(&rig->driver, 1, 0);
	driver_notify_wanted(&rig->driver, 1);
	guest_settle(&rig->guest);
	assert_true(driver_take(&rig->driver, 1, NULL) >= 0);
	finish(rig);
}

struct turn {
	struct loop_work work;
	struct rig *rig;
	unsigned submitted;
};

static void take_turn(struct loop_work *work)
{
	struct turn *turn = container_of(work, struct turn, work);

	turn->submitted = turn->rig->fake.submitted;
}

/* A disk that has always done what it was given keeps nobody waiting. */
static void test_others_have_their_turn(void **state)
{
	struct rig *rig = start_sized(BEHIND_FAKE, false, 2 * GIB);
	struct turn turn = { { .run = take_turn }, rig, 0 };
	struct piece pieces[256] = { { rig->head, 16, false } };

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	memset(guest_at(&rig->guest, rig->head), 0, 16);
	for (unsigned i = 1; i < 255; i++)
		pieces[i] = (struct piece){ 4 * MIB, 4 * MIB, true };
	pieces[255] = (struct piece){ rig->status, 1, true };
	driver_add_indirect(&rig->driver, 1, pieces, 256);
	driver_notify(&rig->driver, 1);
	loop_post(rig->guest.loop, &turn.work);
	assert_true(driver_wait(&rig->driver, 1, NULL) >= 0);
	assert_int_equal(rig->fake.submitted, 254 * 32);
	assert_true(turn.submitted);
	assert_true(turn.submitted <= 256 + 8 * 64);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_end_of_what_waits),
		cmocka_unit_test(test_reset_of_what_waits),
		cmocka_unit_test(test_interrupts_are_few),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_heads_twice),
		cmocka_unit_test(test_full_and_done),
		cmocka_unit_test(test_others_have_their_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
