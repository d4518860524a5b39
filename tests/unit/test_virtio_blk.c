/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk by a driver in the test: what it makes of requests, right and
 * wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "tests/rig/device_state.h"
#include "tests/rig/no_ring.h"
#include "tests/unit/blk_rig.h"

static void test_config(void **state)
{
	struct rig *rig = start(BEHIND_FAKE);

	(void)state;
	assert_int_equal(driver_config(&rig->driver, 0, 8), SECTORS);
	assert_int_equal(driver_config(&rig->driver, 12, 4), 254);
	assert_int_equal(driver_config(&rig->driver, 20, 4), 512);
	assert_int_equal(driver_config(&rig->driver, 34, 2), 2);
	assert_int_equal(rig->driver.features & (1ULL << 5), 0);
	assert_int_equal(run(rig, GET_ID, 0, 20, 20), 0);
	assert_memory_equal(data_at(rig, 0), "serial-of-20-bytes!!", 20);
	memset(data_at(rig, 0), 0, 20);
	assert_int_equal(run(rig, GET_ID, 0, 4, 4), 0);
	assert_memory_equal(data_at(rig, 0), "seri\0", 5);
	finish(rig);
}

static uint64_t random_state = 1;

static uint64_t pick(uint64_t below)
{
	random_state =
		random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (random_state >> 33) % below;
}

static void fill(uint8_t *to, size_t length)
{
	for (size_t i = 0; i < length; i++)
		to[i] = (uint8_t)pick(256);
}

static void one_step(struct rig *rig, uint8_t *model)
{
	/* Small and odd ones, larger ones, one that is one segment. */
	static const uint32_t steps[] = { 512, 700, 4096, 20480, 65536, MIB };
	uint32_t step = steps[pick(ARRAY_SIZE(steps))];
	uint32_t length =
		512 * (uint32_t)(1 + pick(step * 60ULL / 512 > 512
						  ? 512
						  : step * 60ULL / 512));
	uint64_t sector = pick(SECTORS - length / 512 + 1);
	uint8_t *at = model + sector * 512;

	switch (pick(6)) {
	case 0:
	case 1:
		fill(data_at(rig, 0), length);
		memcpy(at, data_at(rig, 0), length);
		assert_int_equal(run(rig, OUT, sector, length, step), 0);
		break;
	case 2:
		memset(at, 0, length);
		assert_int_equal(
			run_range(rig, ZEROES, sector, length / 512, 1), 0);
		break;
	case 3:
		assert_int_equal(run(rig, FLUSH, 0, 0, 1), 0);
		break;
	default:
		assert_int_equal(run(rig, IN, sector, length, step), 0);
		assert_memory_equal(data_at(rig, 0), at, length);
	}
}

/* As a byte array, whatever is behind it and however it is cut. */
static void test_model(void **state)
{
	(void)state;
	for (enum behind behind = BEHIND_RAW;
	     behind <= BEHIND_RAW_PLAIN_NO_HOLES; behind++) {
		struct rig *rig = start(behind);
		uint8_t *model = test_calloc(1, SIZE);

		random_state = behind;
		for (unsigned i = 0; i < 300; i++)
			one_step(rig, model);
		assert_int_equal(rig->blk.bounced_bytes, 0);
		assert_int_equal(rig->failures, 0);
		test_free(model);
		finish(rig);
	}
}

static void test_discard(void **state)
{
	(void)state;
	for (enum behind behind = BEHIND_RAW; behind <= BEHIND_IMAGE_ALONE;
	     behind++) {
		struct rig *rig = start(behind);

		memset(data_at(rig, 0), 'd', 65536);
		assert_int_equal(run(rig, OUT, 128, 65536, 65536), 0);
		assert_int_equal(run_range(rig, DISCARD, 136, 64, 0), 0);
		assert_int_equal(run(rig, IN, 128, 65536, 65536), 0);
		assert_true(bytes_are_zero(data_at(rig, 4096), 32768));
		assert_int_equal(*data_at(rig, 4095), 'd');
		assert_int_equal(*data_at(rig, 4096 + 32768), 'd');
		finish(rig);
	}
}

/* More than the disk writes at once: nobody else asks it for anything. */
static void test_many_zeros(void **state)
{
	(void)state;
	for (enum behind behind = BEHIND_RAW;
	     behind <= BEHIND_RAW_PLAIN_NO_HOLES; behind++) {
		struct rig *rig = start(behind);

		memset(data_at(rig, 0), 'd', 65536);
		assert_int_equal(run(rig, OUT, 4096, 65536, 65536), 0);
		assert_int_equal(run_range(rig, ZEROES, 0, SECTORS, 0), 0);
		assert_int_equal(run(rig, IN, 4096, 65536, 65536), 0);
		assert_true(bytes_are_zero(data_at(rig, 0), 65536));
		finish(rig);
	}
}

static void *use_forbidden(void *arg)
{
	struct rig *rig = arg;

	memset(data_at(rig, 0), 'd', 65536);
	assert_int_equal(run(rig, OUT, 4096, 65536, 65536), 0);
	if (no_ring_forbid() < 0)
		skip();
	memset(data_at(rig, 0), 'e', 65536);
	assert_int_equal(run(rig, OUT, 4096, 65536, 65536), 0);
	memset(data_at(rig, 0), 0, 65536);
	assert_int_equal(run(rig, IN, 4096, 65536, 65536), 0);
	assert_int_equal(*data_at(rig, 0), 'e');
	assert_int_equal(*data_at(rig, 65535), 'e');
	assert_int_equal(run_range(rig, ZEROES, 0, SECTORS, 0), 0);
	assert_int_equal(run(rig, IN, 4096, 65536, 65536), 0);
	assert_true(bytes_are_zero(data_at(rig, 0), 65536));
	return arg;
}

/* The ring is closed to us: what takes several steps comes to its end, though
 * no descriptor tells of one. */
static void test_ring_closes(void **state)
{
	static const enum behind behinds[] = { BEHIND_RAW_NO_HOLES,
					       BEHIND_IMAGE };

	(void)state;
	short_io = true;
	for (unsigned i = 0; i < ARRAY_SIZE(behinds); i++) {
		struct rig *rig = start(behinds[i]);
		pthread_t thread;
		void *finished = NULL;

		assert_int_equal(
			pthread_create(&thread, NULL, use_forbidden, rig), 0);
		pthread_join(thread, &finished);
		assert_ptr_equal(finished, rig);
		finish(rig);
	}
	short_io = false;
}

/* What a guest may not ask for ends that request, and no more. */
static void test_wrong_requests(void **state)
{
	struct rig *rig = start(BEHIND_FAKE);

	(void)state;
	assert_int_equal(run(rig, IN, SECTORS, 512, 512), 1);
	assert_int_equal(run(rig, IN, SECTORS - 1, 1024, 1024), 1);
	assert_int_equal(run(rig, IN, UINT64_MAX, 512, 512), 1);
	assert_int_equal(run(rig, OUT, 1ULL << 55, 512, 512), 1);
	assert_int_equal(run(rig, IN, 0, 100, 100), 1);
	assert_int_equal(run(rig, 77, 0, 512, 512), 2);
	assert_int_equal(run(rig, 2, 0, 512, 512), 2);
	assert_int_equal(run(rig, IN, 0, 0, 1), 0);
	assert_int_equal(run_range(rig, DISCARD, SECTORS, 1, 0), 1);
	assert_int_equal(run_range(rig, DISCARD, UINT64_MAX, 8, 0), 1);
	assert_int_equal(run_range(rig, DISCARD, 0, 8, 1), 2);
	assert_int_equal(run_range(rig, ZEROES, 0, 8, 2), 2);
	assert_int_equal(run_range(rig, ZEROES, 0, UINT32_MAX, 0), 1);
	assert_int_equal(run(rig, DISCARD, 0, 20, 20), 1);
	assert_int_equal(run(rig, DISCARD, 0, 0, 1), 1);
	memset(data_at(rig, 0), 0, 1024);
	assert_int_equal(run(rig, DISCARD, 0, 33 * 16, 4096), 1);
	assert_int_equal(rig->fake.submitted, 0);
	assert_int_equal(run(rig, ZEROES, 0, 32 * 16, 4096), 0);
	assert_int_equal(rig->fake.zeroed, 32);
	assert_int_equal(rig->failures, 0);
	assert_int_equal(rig->guest.broken, 0);
	finish(rig);
	rig = start_sized(BEHIND_FAKE, false, 4 * TIB);
	ok(driver_start(&rig->driver, ALL));
	assert_int_equal(run_range(rig, ZEROES, 0, (1u << 22) + 1, 0), 1);
	assert_int_equal(run_range(rig, ZEROES, 0, 1u << 22, 0), 0);
	finish(rig);
}

/* What can't be answered stops the device. */
static void test_broken_requests(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = start(BEHIND_FAKE);
		struct piece pieces[] = { { rig->head, i == 0 ? 15 : 16,
					    false },
					  { rig->status, 1, true } };

		if (i < 2)
			driver_add(&rig->driver, 0, pieces, i == 0 ? 2 : 1);
		else
			driver_add(&rig->driver, 0, pieces + 1, 1);
		driver_notify(&rig->driver, 0);
		guest_settle(&rig->guest);
		assert_int_equal(rig->guest.broken, 1);
		assert_int_equal(driver_status(&rig->driver), 0x4f);
		finish(rig);
	}
}

static void test_read_only(void **state)
{
	struct rig *rig = start_sized(BEHIND_RAW, true, SIZE);

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	assert_int_equal(rig->driver.features >> 5 & 1, 1);
	assert_int_equal(rig->driver.features >> 13 & 3, 0);
	memset(data_at(rig, 0), 'x', 512);
	assert_int_equal(run(rig, OUT, 0, 512, 512), 1);
	assert_int_equal(run_range(rig, ZEROES, 0, 8, 0), 1);
	assert_int_equal(run_range(rig, DISCARD, 0, 8, 0), 1);
	assert_int_equal(run(rig, FLUSH, 0, 0, 1), 0);
	assert_int_equal(run(rig, IN, 0, 512, 512), 0);
	assert_true(bytes_are_zero(data_at(rig, 0), 512));
	assert_int_equal(rig->failures, 0);
	finish(rig);
}

static void test_errors_are_told(void **state)
{
	static const int codes[] = { -EIO, -ENOSPC, -ENOMEM };
	struct rig *rig = start(BEHIND_FAKE);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
		rig->fake.result = codes[i];
		assert_int_equal(run(rig, OUT, 0, 4096, 4096), 1);
		assert_int_equal(rig->failed_code, codes[i]);
		assert_int_equal(run(rig, IN, 0, 65536, 4096), 1);
		assert_int_equal(run(rig, FLUSH, 0, 0, 1), 1);
		assert_int_equal(run_range(rig, DISCARD, 0, 8, 0), 1);
	}
	assert_int_equal(rig->failures, 4 * ARRAY_SIZE(codes));
	rig->fake.result = -EOPNOTSUPP;
	assert_int_equal(run_range(rig, DISCARD, 0, 8, 0), 2);
	rig->fake.result = 0;
	assert_int_equal(run(rig, OUT, 0, 4096, 4096), 0);
	finish(rig);
}

/* A driver without flush is told when it is durable. */
static void test_write_through(void **state)
{
	struct rig *rig = start_sized(BEHIND_FAKE, false, SIZE);

	(void)state;
	ok(driver_start(&rig->driver, ALL & ~F_FLUSH));
	assert_int_equal(run(rig, OUT, 0, 4096, 4096), 0);
	assert_int_equal(rig->fake.flushes, 1);
	assert_int_equal(run_range(rig, ZEROES, 0, 8, 0), 0);
	assert_int_equal(rig->fake.flushes, 2);
	assert_int_equal(run(rig, IN, 0, 4096, 4096), 0);
	assert_int_equal(rig->fake.flushes, 2);
	rig->fake.result = -EIO;
	assert_int_equal(run(rig, OUT, 0, 4096, 4096), 1);
	assert_int_equal(rig->fake.flushes, 2);
	finish(rig);
}

/* A gigabyte in one request, into the same memory again and again. */
static void test_large_request(void **state)
{
	struct rig *rig = start_sized(BEHIND_FAKE, false, 2 * GIB);
	struct piece pieces[256] = { { rig->head, 16, false } };
	uint32_t written;

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	memset(guest_at(&rig->guest, rig->head), 0, 16);
	for (unsigned i = 1; i < 255; i++)
		pieces[i] = (struct piece){ 4 * MIB, 4 * MIB, true };
	pieces[255] = (struct piece){ rig->status, 1, true };
	driver_add_indirect(&rig->driver, 1, pieces, 256);
	driver_notify(&rig->driver, 1);
	assert_true(driver_wait(&rig->driver, 1, &written) >= 0);
	assert_int_equal(*status_of(rig), 0);
	assert_int_equal(written, 254 * 4 * MIB + 1);
	assert_int_equal(rig->fake.bytes, 254 * 4 * MIB);
	assert_true(rig->fake.most <= 256);
	/* One that fails is not begun any further. */
	rig->fake.submitted = 0;
	rig->fake.result = -EIO;
	driver_add_indirect(&rig->driver, 1, pieces, 256);
	driver_notify(&rig->driver, 1);
	assert_true(driver_wait(&rig->driver, 1, &written) >= 0);
	assert_int_equal(*status_of(rig), 1);
	assert_true(rig->fake.submitted <= 256);
	finish(rig);
}

/* Small segments are gathered: one piece, not 64. */
static void test_small_segments(void **state)
{
	struct rig *rig = start(BEHIND_FAKE);

	(void)state;
	assert_int_equal(run(rig, IN, 0, 60 * 512, 512), 0);
	assert_int_equal(rig->fake.submitted, 1);
	assert_int_equal(*data_at(rig, 60 * 512 - 1), 'r');
	assert_int_equal(run(rig, IN, 0, 65536, 65536), 0);
	assert_int_equal(rig->fake.submitted, 2);
	finish(rig);
}

static void test_save_restore(void **state)
{
	struct rig *rig = start(BEHIND_FAKE);
	struct rig *other = start_sized(BEHIND_FAKE, false, SIZE);
	struct rig *larger = start_sized(BEHIND_FAKE, false, 2 * SIZE);
	struct state_writer first, second;
	struct state saved;

	(void)state;
	assert_int_equal(run(rig, OUT, 0, 4096, 4096), 0);
	device_state_save(&rig->blk.virtio.device, &first);
	ok(state_open(&saved, first.bytes.data, first.bytes.size, &err));
	ok(device_restore(&other->blk.virtio.device, &saved, &err));
	device_state_save(&other->blk.virtio.device, &second);
	device_state_same(&first, &second);
	assert_int_equal(
		device_restore(&larger->blk.virtio.device, &saved, &err),
		-EBADMSG);
	state_release(&first);
	state_release(&second);
	/* It goes on where it was. */
	memcpy(guest_at(&other->guest, 0), guest_at(&rig->guest, 0), GUEST_RAM);
	other->driver = rig->driver;
	other->driver.guest = &other->guest;
	assert_int_equal(run(other, IN, 0, 512, 512), 0);
	finish(rig);
	finish(other);
	finish(larger);
}

static void test_raw_refuses(void **state)
{
	char path[] = "/tmp/test_virtio_raw.XXXXXX";
	int fd = mkstemp(path);
	struct vs_io *io = io_new(&err);
	struct disk *disk, *second;

	(void)state;
	assert_int_equal(ftruncate(fd, 1000), 0);
	assert_int_equal(disk_raw_new(&disk, io, path, false, 16, &err),
			 -EINVAL);
	assert_int_equal(disk_raw_new(&disk, io, "/dev/null", false, 16, &err),
			 -EINVAL);
	assert_int_equal(disk_raw_new(&disk, io, "/nowhere", false, 16, &err),
			 -ENOENT);
	assert_int_equal(ftruncate(fd, 1024), 0);
	ok(disk_raw_new(&disk, io, path, false, 16, &err));
	assert_int_equal(disk_raw_new(&second, io, path, false, 16, &err),
			 -EBUSY);
	assert_int_equal(disk_raw_new(&second, io, path, true, 16, &err),
			 -EBUSY);
	disk_free(disk);
	ok(disk_raw_new(&disk, io, path, true, 16, &err));
	ok(disk_raw_new(&second, io, path, true, 16, &err));
	disk_free(disk);
	disk_free(second);
	io_free(io);
	close(fd);
	unlink(path);
}

/* A file that is cut under it: what is gone can't be read. */
static void test_raw_is_cut(void **state)
{
	struct rig *rig = start(BEHIND_RAW);

	(void)state;
	assert_int_equal(truncate(rig->path, SIZE / 2), 0);
	assert_int_equal(run(rig, IN, SECTORS - 8, 4096, 4096), 1);
	assert_int_equal(run(rig, IN, SECTORS / 2 - 4, 4096, 4096), 1);
	assert_int_equal(run(rig, IN, 0, 4096, 4096), 0);
	assert_int_equal(rig->failed_code, -EIO);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_many_zeros),
		cmocka_unit_test(test_ring_closes),
		cmocka_unit_test(test_wrong_requests),
		cmocka_unit_test(test_broken_requests),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_errors_are_told),
		cmocka_unit_test(test_write_through),
		cmocka_unit_test(test_large_request),
		cmocka_unit_test(test_small_segments),
		cmocka_unit_test(test_save_restore),
		cmocka_unit_test(test_raw_refuses),
		cmocka_unit_test(test_raw_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
