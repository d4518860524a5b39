/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon by a driver in the test: which pages are given back and which
 * are not, numbers that are no RAM, the target, state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "kvm-agent/virtio/balloon.h"
#include "tests/rig/device_state.h"
#include "tests/rig/virtio_guest.h"

#define ALL        (~0ULL)
#define POISON     (1ULL << 4)
#define REPORTING  (1ULL << 5)
#define INFLATE    0u
#define DEFLATE    1u
#define PAGES      (GUEST_RAM / BALLOON_PAGE_SIZE)
#define FIRST_PAGE 1024u /* of those that the tests give away */

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

struct rig {
	struct guest guest;
	struct balloon balloon;
	struct driver driver;
	uint64_t numbers; /* a page with numbers of pages */
};

static struct rig *start(uint64_t features)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));

	ok(guest_init(&rig->guest, &err));
	/* Pages of 4 KiB: what is in RAM is seen page by page. */
	(void)madvise(guest_at(&rig->guest, 0), GUEST_RAM, MADV_NOHUGEPAGE);
	ok(balloon_init(&rig->balloon, 0, &rig->guest.host, &err));
	rig->numbers = guest_pages(&rig->guest, 4);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	if (features)
		ok(driver_start(&rig->driver, features));
	return rig;
}

static void finish(struct rig *rig)
{
	balloon_release(&rig->balloon);
	guest_release(&rig->guest);
	test_free(rig);
}

static uint8_t *page(struct rig *rig, unsigned number)
{
	return guest_at(&rig->guest, (uint64_t)number * BALLOON_PAGE_SIZE);
}

static void dirty(struct rig *rig)
{
	memset(page(rig, FIRST_PAGE), 0x5a,
	       (PAGES - FIRST_PAGE) * BALLOON_PAGE_SIZE);
}

static bool is_resident(struct rig *rig, unsigned number)
{
	unsigned char in_core = 0;

	assert_int_equal(
		mincore(page(rig, number), BALLOON_PAGE_SIZE, &in_core), 0);
	return in_core & 1;
}

/* Given back: it is not there any more, and reads as zeros. */
static void is_gone(struct rig *rig, unsigned number)
{
	assert_false(is_resident(rig, number));
	assert_int_equal(page(rig, number)[17], 0);
}

static void is_there(struct rig *rig, unsigned number)
{
	assert_true(is_resident(rig, number));
	assert_int_equal(page(rig, number)[17], 0x5a);
}

static void add(struct rig *rig, unsigned queue, uint64_t address,
		uint32_t length, bool write)
{
	struct piece piece = { address, length, write };

	driver_add(&rig->driver, queue, &piece, 1);
	driver_notify(&rig->driver, queue);
	guest_settle(&rig->guest);
	assert_true(driver_take(&rig->driver, queue, NULL) >= 0);
}

static void tell(struct rig *rig, unsigned queue, const uint32_t *numbers,
		 unsigned count)
{
	memcpy(guest_at(&rig->guest, rig->numbers), numbers, 4 * count);
	add(rig, queue, rig->numbers, 4 * count, false);
}

static void report(struct rig *rig, unsigned queue, unsigned first,
		   unsigned count)
{
	add(rig, queue, (uint64_t)first * BALLOON_PAGE_SIZE,
	    count * BALLOON_PAGE_SIZE, true);
}

static void test_inflate(void **state)
{
	static const uint32_t numbers[] = { 1030, 1031, 1032, 1040, 1038 };
	struct rig *rig = start(ALL);

	(void)state;
	dirty(rig);
	tell(rig, INFLATE, numbers, 5);
	for (unsigned i = 0; i < 5; i++)
		is_gone(rig, numbers[i]);
	is_there(rig, 1029);
	is_there(rig, 1033);
	is_there(rig, 1037);
	is_there(rig, 1039);
	is_there(rig, 1041);
	/* Taken back: it is the guest's to use, and nothing happens. */
	dirty(rig);
	tell(rig, DEFLATE, numbers, 5);
	for (unsigned i = 0; i < 5; i++)
		is_there(rig, numbers[i]);
	assert_int_equal(rig->guest.broken, 0);
	finish(rig);
}

static void test_numbers_that_are_no_ram(void **state)
{
	static const uint32_t numbers[] = {
		PAGES - 1,  PAGES, PAGES + 1, UINT32_MAX - 1,
		UINT32_MAX, 0,     0xc0000,
	};
	struct rig *rig = start(ALL);

	(void)state;
	dirty(rig);
	page(rig, 0)[17] = 0x5a;
	tell(rig, INFLATE, numbers, 7);
	is_gone(rig, PAGES - 1);
	is_gone(rig, 0);
	is_there(rig, PAGES - 2);
	/* A piece of a number, and what is to be written to, are none. */
	memset(guest_at(&rig->guest, rig->numbers), 4, 8);
	add(rig, INFLATE, rig->numbers, 3, false);
	add(rig, INFLATE, rig->numbers, 8, true);
	add(rig, DEFLATE, rig->numbers, 1, true);
	assert_int_equal(rig->guest.broken, 0);
	finish(rig);
}

/* So many of a chain and no more; and every chain has its turn. */
static void test_bounded(void **state)
{
	struct rig *rig = start(ALL);
	uint32_t *numbers = guest_at(&rig->guest, rig->numbers);
	struct piece piece = { rig->numbers, 4 * 1025, false };
	unsigned done = 0;

	(void)state;
	dirty(rig);
	for (unsigned i = 0; i < 1024; i++)
		numbers[i] = FIRST_PAGE + i % 2;
	numbers[1024] = 1030;
	add(rig, INFLATE, rig->numbers, 4 * 1025, false);
	is_gone(rig, FIRST_PAGE);
	is_there(rig, 1030);
	for (unsigned i = 0; i < 100; i++)
		driver_add(&rig->driver, INFLATE, &piece, 1);
	driver_notify(&rig->driver, INFLATE);
	/* A turn ends between them: settle is six turns of the loop. */
	guest_settle(&rig->guest);
	while (driver_take(&rig->driver, INFLATE, NULL) >= 0)
		done++;
	assert_in_range(done, 1, 50);
	while (done < 100) {
		assert_true(driver_wait(&rig->driver, INFLATE, NULL) >= 0);
		done++;
	}
	finish(rig);
}

/* By either numbering of its queue. */
static void test_reports(void **state)
{
	for (unsigned queue = 2; queue <= 4; queue++) {
		struct rig *rig = start(ALL & ~POISON);

		(void)state;
		dirty(rig);
		report(rig, queue, 1030, 3);
		is_there(rig, 1029);
		for (unsigned i = 1030; i < 1033; i++)
			is_gone(rig, i);
		is_there(rig, 1033);
		/* Whole pages only. */
		add(rig, queue, 1035 * 4096 + 1, 3 * 4096 - 2, true);
		is_there(rig, 1035);
		is_gone(rig, 1036);
		is_there(rig, 1037);
		add(rig, queue, 1040 * 4096 + 1, 4095, true);
		is_there(rig, 1040);
		/* What the device reads is no report. */
		add(rig, queue, 1050 * 4096, 4096, false);
		is_there(rig, 1050);
		/* All of it is RAM or nothing is. */
		assert_int_equal(rig->guest.broken, 0);
		driver_set_descriptor(&rig->driver, queue, 60, GUEST_RAM - 4096,
				      8192, 2, 0);
		driver_put_head(&rig->driver, queue, 60);
		driver_notify(&rig->driver, queue);
		guest_settle(&rig->guest);
		assert_int_equal(rig->guest.broken, 1);
		is_there(rig, PAGES - 1);
		finish(rig);
	}
}

static void test_not_negotiated(void **state)
{
	struct rig *rig = start(ALL & ~REPORTING);

	(void)state;
	dirty(rig);
	report(rig, 2, 1030, 3);
	is_there(rig, 1030);
	finish(rig);
}

/* A guest that fills free pages with a pattern finds it there. */
static void test_poison(void **state)
{
	struct rig *rig = start(ALL);

	(void)state;
	dirty(rig);
	guest_write(&rig->guest, rig->driver.config + 12, 0x5a5a5a5a, 4);
	assert_int_equal(driver_config(&rig->driver, 12, 4), 0x5a5a5a5a);
	report(rig, 2, 1030, 3);
	is_there(rig, 1030);
	guest_write(&rig->guest, rig->driver.config + 12, 0, 4);
	report(rig, 2, 1030, 3);
	is_gone(rig, 1030);
	finish(rig);
}

static void test_target(void **state)
{
	struct rig *rig = start(ALL);
	unsigned before = rig->guest.messages[0];

	(void)state;
	assert_int_equal(driver_config(&rig->driver, 0, 4), 0);
	balloon_set_target(&rig->balloon,
			   GUEST_RAM - 3 * BALLOON_PAGE_SIZE - 1);
	guest_settle(&rig->guest);
	assert_int_equal(rig->guest.messages[0], before + 1);
	assert_int_equal(driver_config(&rig->driver, 0, 4), 3);
	balloon_set_target(&rig->balloon, UINT64_MAX);
	assert_int_equal(driver_config(&rig->driver, 0, 4), 0);
	balloon_set_target(&rig->balloon, 1);
	assert_int_equal(driver_config(&rig->driver, 0, 4), PAGES - 1);
	/* What the guest says; it is not believed. */
	guest_write(&rig->guest, rig->driver.config + 4, 5, 4);
	assert_int_equal(balloon_bytes(&rig->balloon), 5 * BALLOON_PAGE_SIZE);
	guest_write(&rig->guest, rig->driver.config + 4, UINT32_MAX, 4);
	assert_int_equal(balloon_bytes(&rig->balloon), GUEST_RAM);
	/* The target is the host's; odd accesses are none. */
	guest_write(&rig->guest, rig->driver.config, 7, 4);
	guest_write(&rig->guest, rig->driver.config + 4, 7, 2);
	guest_write(&rig->guest, rig->driver.config + 6, 7, 4);
	assert_int_equal(driver_config(&rig->driver, 0, 4), PAGES - 1);
	assert_int_equal(driver_config(&rig->driver, 4, 4), UINT32_MAX);
	/* Another driver: it has given nothing yet, and hears the same wish. */
	ok(driver_start(&rig->driver, ALL));
	assert_int_equal(balloon_bytes(&rig->balloon), 0);
	assert_int_equal(driver_config(&rig->driver, 0, 4), PAGES - 1);
	finish(rig);
}

static void save(struct rig *rig, struct state_writer *out)
{
	device_state_save(&rig->balloon.virtio.device, out);
}

static int restore(struct rig *rig, const struct state_writer *saved)
{
	return device_state_restore(&rig->balloon.virtio.device, saved, &err);
}

static void test_save_restore(void **state)
{
	struct rig *rig = start(ALL), *other = start(0);
	struct state_writer first, second;

	(void)state;
	balloon_set_target(&rig->balloon, GUEST_RAM / 2);
	guest_write(&rig->guest, rig->driver.config + 4, 77, 4);
	guest_write(&rig->guest, rig->driver.config + 12, 0x1234, 4);
	save(rig, &first);
	dirty(other);
	ok(restore(other, &first));
	save(other, &second);
	device_state_same(&first, &second);
	state_release(&second);
	assert_int_equal(other->balloon.target, PAGES / 2);
	assert_int_equal(other->balloon.actual, 77);
	assert_int_equal(other->balloon.poison, 0x1234);
	/* Neither that nor a reset touches RAM. */
	virtio_reset(&other->balloon.virtio.device);
	for (unsigned i = FIRST_PAGE; i < PAGES; i++)
		is_there(other, i);
	assert_int_equal(other->balloon.actual, 0);
	state_release(&first);
	rig->balloon.target = PAGES + 1;
	save(rig, &first);
	assert_int_equal(restore(other, &first), -EBADMSG);
	assert_int_equal(other->balloon.target, PAGES / 2);
	state_release(&first);
	finish(rig);
	finish(other);
}

static void is_quiet(void *arg)
{
	*(bool *)arg = true;
}

static void test_quiesce(void **state)
{
	struct rig *rig = start(ALL & ~POISON);
	struct piece piece = { 1030 * 4096, 4096, true };
	bool quiet = false;

	(void)state;
	dirty(rig);
	virtio_quiesce(&rig->balloon.virtio, is_quiet, &quiet);
	guest_settle(&rig->guest);
	assert_true(quiet);
	driver_add(&rig->driver, 2, &piece, 1);
	driver_notify(&rig->driver, 2);
	guest_settle(&rig->guest);
	is_there(rig, 1030);
	assert_int_equal(driver_take(&rig->driver, 2, NULL), -1);
	virtio_resume(&rig->balloon.virtio);
	guest_settle(&rig->guest);
	is_gone(rig, 1030);
	assert_true(driver_take(&rig->driver, 2, NULL) >= 0);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inflate),
		cmocka_unit_test(test_numbers_that_are_no_ram),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_not_negotiated),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_save_restore),
		cmocka_unit_test(test_quiesce),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
