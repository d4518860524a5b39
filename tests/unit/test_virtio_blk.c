/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk by a driver in the test: over a raw file, over an image, and over
 * a disk of the test's own that fails and holds back as it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "kvm-agent/virtio/blk.h"
#include "tests/rig/device_state.h"
#include "tests/rig/virtio_guest.h"

#define ALL       (~0ULL)
#define F_FLUSH   (1ULL << 9)
#define SIZE      (4 * MIB)
#define SECTORS   (SIZE / 512)
#define HELD_MAX  4096u
#define NO_STATUS 0xee

#define IN        0u
#define OUT       1u
#define FLUSH     4u
#define GET_ID    8u
#define DISCARD   11u
#define ZEROES    13u

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

/* ---- a disk that does as it is told ---- */

struct fake {
	struct disk disk;
	int result; /* of each request */
	bool hold;
	struct disk_request *held[HELD_MAX];
	unsigned count;
	unsigned submitted, most, flushes, zeroed;
	uint64_t bytes;
};

static struct fake *fake_of(struct disk *disk)
{
	return container_of(disk, struct fake, disk);
}

static void fake_submit(struct disk *disk, struct disk_request *request)
{
	struct fake *fake = fake_of(disk);

	assert_true(fake->count < HELD_MAX);
	assert_true(request->offset % 512 == 0 && request->length % 512 == 0);
	assert_true(request->offset + request->length <= disk->size_bytes);
	request->result = fake->result;
	if (request->op == DISK_READ && !request->result)
		memset(request->buffer, 'r', (size_t)request->length);
	fake->held[fake->count++] = request;
	fake->submitted++;
	fake->bytes += request->length;
	fake->flushes += request->op == DISK_FLUSH;
	fake->zeroed += request->op == DISK_ZERO;
	if (fake->count > fake->most)
		fake->most = fake->count;
}

static unsigned fake_reap(struct disk *disk, unsigned min,
			  struct disk_request **done, unsigned max)
{
	struct fake *fake = fake_of(disk);
	unsigned count = 0;

	if (fake->hold && !min)
		return 0;
	/* The last first: no order may be relied on. */
	while (count < max && fake->count)
		done[count++] = fake->held[--fake->count];
	return count;
}

static int fake_fd(struct disk *disk)
{
	(void)disk;
	return -1;
}

static void fake_free(struct disk *disk)
{
	assert_int_equal(fake_of(disk)->count, 0);
}

static const struct disk_ops fake_ops = { fake_submit, fake_reap, fake_fd,
					  fake_free };

/* ---- the machine ---- */

enum behind {
	BEHIND_FAKE,
	BEHIND_RAW,
	BEHIND_RAW_PLAIN,
	BEHIND_IMAGE,
	BEHIND_IMAGE_PLAIN,
	BEHIND_RAW_NO_HOLES, /* a file system without them */
};

struct rig {
	struct guest guest;
	struct blk blk;
	struct fake fake;
	struct disk *disk;
	struct driver driver;
	struct vs_io *io;
	struct vs_io_ops ops;
	struct image *image;
	char folder[64], path[96];
	uint64_t head, status, data; /* pages of the guest's */
	uint64_t size;
	unsigned failures;
	int failed_code;
	unsigned quiet;
};

static void failed(void *arg, enum disk_op op, uint64_t offset, int code)
{
	struct rig *rig = arg;

	(void)op;
	(void)offset;
	rig->failures++;
	rig->failed_code = code;
}

static void make_raw(const char *path)
{
	int fd = open(path, O_CREAT | O_RDWR, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
}

static int no_holes(struct vs_io *io, int file, uint64_t offset,
		    uint64_t length)
{
	(void)io;
	(void)file;
	(void)offset;
	(void)length;
	return -EOPNOTSUPP;
}

static void open_image(struct rig *rig, struct disk **disk)
{
	struct image_options options = { .mode = IMAGE_READ_WRITE };

	ok(image_create(rig->io, rig->path, SIZE, NULL, &err));
	ok(image_open(&rig->image, rig->io, rig->path, &options, &err));
	ok(disk_image_new(disk, rig->image, false, BLK_DEPTH, &err));
}

static struct disk *open_disk(struct rig *rig, enum behind behind,
			      bool read_only)
{
	bool plain = behind == BEHIND_RAW_PLAIN || behind == BEHIND_IMAGE_PLAIN;
	struct disk *disk = &rig->fake.disk;

	if (behind == BEHIND_FAKE) {
		rig->fake.disk =
			(struct disk){ &fake_ops, rig->size, read_only };
		return disk;
	}
	strcpy(rig->folder, "/tmp/test_virtio_blk.XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	snprintf(rig->path, sizeof(rig->path), "%s/disk", rig->folder);
	rig->io = plain ? io_new_plain(&err) : io_new(&err);
	assert_non_null(rig->io);
	if (behind == BEHIND_RAW_NO_HOLES) {
		rig->ops = *rig->io->ops;
		rig->ops.punch = no_holes;
		rig->io->ops = &rig->ops;
	}
	if (behind != BEHIND_IMAGE && behind != BEHIND_IMAGE_PLAIN) {
		make_raw(rig->path);
		ok(disk_raw_new(&disk, rig->io, rig->path, read_only, BLK_DEPTH,
				&err));
	} else {
		open_image(rig, &disk);
	}
	return disk;
}

static struct rig *start_sized(enum behind behind, bool read_only,
			       uint64_t size)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));

	rig->size = size;
	ok(guest_init(&rig->guest, &err));
	rig->disk = open_disk(rig, behind, read_only);
	ok(blk_init(&rig->blk, 0, &rig->guest.host, rig->disk, 2,
		    "serial-of-20-bytes!!x", &err));
	rig->blk.failed = failed;
	rig->blk.failed_arg = rig;
	rig->head = guest_pages(&rig->guest, 1);
	rig->status = guest_pages(&rig->guest, 1);
	rig->data = guest_pages(&rig->guest, 512);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	return rig;
}

static struct rig *start(enum behind behind)
{
	struct rig *rig = start_sized(behind, false, SIZE);

	ok(driver_start(&rig->driver, ALL));
	return rig;
}

static void finish(struct rig *rig)
{
	static const char *const names[] = { "disk", "disk.1", "disk.2" };

	blk_release(&rig->blk);
	disk_free(rig->disk);
	guest_release(&rig->guest);
	if (rig->image)
		ok(image_close(rig->image, &err));
	if (rig->io)
		io_free(rig->io);
	if (*rig->folder) {
		for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
			snprintf(rig->path, sizeof(rig->path), "%s/%s",
				 rig->folder, names[i]);
			unlink(rig->path);
		}
		assert_int_equal(rmdir(rig->folder), 0);
	}
	test_free(rig);
}

static uint8_t *data_at(struct rig *rig, uint64_t offset)
{
	return guest_at(&rig->guest, rig->data + offset);
}

static uint8_t *status_of(struct rig *rig)
{
	return guest_at(&rig->guest, rig->status);
}

/* Header, data in pieces of `step`, status; not waited for. */
static void submit(struct rig *rig, unsigned queue, uint32_t type,
		   uint64_t sector, uint32_t length, uint32_t step)
{
	struct piece pieces[64] = { { rig->head, 16, false } };
	uint32_t head[4] = { type, 0, (uint32_t)sector,
			     (uint32_t)(sector >> 32) };
	unsigned count = 1;

	memcpy(guest_at(&rig->guest, rig->head), head, sizeof(head));
	*status_of(rig) = NO_STATUS;
	for (uint32_t at = 0; at < length; at += step)
		pieces[count++] =
			(struct piece){ rig->data + at,
					(uint32_t)min_u64(step, length - at),
					type == IN || type == GET_ID };
	pieces[count++] = (struct piece){ rig->status, 1, true };
	driver_add(&rig->driver, queue, pieces, count);
	driver_notify(&rig->driver, queue);
}

static uint8_t run(struct rig *rig, uint32_t type, uint64_t sector,
		   uint32_t length, uint32_t step)
{
	uint32_t written = 99;

	submit(rig, 0, type, sector, length, step);
	assert_true(driver_wait(&rig->driver, 0, &written) >= 0);
	if (type == IN)
		assert_int_equal(written, *status_of(rig) ? 0 : length + 1);
	return *status_of(rig);
}

static uint8_t run_range(struct rig *rig, uint32_t type, uint64_t sector,
			 uint32_t sectors, uint32_t flags)
{
	uint32_t range[4] = { (uint32_t)sector, (uint32_t)(sector >> 32),
			      sectors, flags };

	memcpy(data_at(rig, 0), range, sizeof(range));
	return run(rig, type, 0, sizeof(range), 16);
}

/* ---- tests ---- */

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
	for (enum behind behind = BEHIND_RAW; behind <= BEHIND_RAW_NO_HOLES;
	     behind++) {
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
	for (enum behind behind = BEHIND_RAW; behind <= BEHIND_IMAGE_PLAIN;
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

/* The machine's end is that of what was not begun: of a gigabyte, of a flush
 * that is to follow, of a queue that is full. */
static void test_end_of_what_waits(void **state)
{
	struct rig *rig = start_sized(BEHIND_FAKE, false, 2 * GIB);
	struct piece pieces[256] = { { rig->head, 16, false } };

	(void)state;
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
	blk_release(&rig->blk);
	assert_int_equal(rig->fake.submitted, 256);
	assert_int_equal(rig->fake.flushes, 0);
	assert_int_equal(rig->fake.count, 0);
	assert_int_equal(*status_of(rig), 1);
	assert_int_equal(rig->failures, 0);
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

static void let_go(struct rig *rig)
{
	rig->fake.hold = false;
	blk_poll(&rig->blk);
	guest_settle(&rig->guest);
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

static void is_quiet(void *arg)
{
	struct rig *rig = arg;

	rig->quiet++;
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
		cmocka_unit_test(test_wrong_requests),
		cmocka_unit_test(test_broken_requests),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_errors_are_told),
		cmocka_unit_test(test_write_through),
		cmocka_unit_test(test_large_request),
		cmocka_unit_test(test_end_of_what_waits),
		cmocka_unit_test(test_small_segments),
		cmocka_unit_test(test_interrupts_are_few),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_heads_twice),
		cmocka_unit_test(test_save_restore),
		cmocka_unit_test(test_raw_refuses),
		cmocka_unit_test(test_raw_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
