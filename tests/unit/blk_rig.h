/* SPDX-License-Identifier: Apache-2.0 */
/* A driver of a virtio-blk in the test, over a raw file, over an image, or over
 * a disk of the test's own that fails and holds back as it is told. After
 * cmocka.h. */
#ifndef TESTS_UNIT_BLK_RIG_H
#define TESTS_UNIT_BLK_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "format/image/image_private.h"
#include "kvm-agent/virtio/blk.h"
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

static inline void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

/* ---- a disk that does as it is told ---- */

struct fake {
	struct disk disk;
	int result; /* of each request */
	bool hold;
	unsigned let; /* so many although it holds */
	struct disk_request *held[HELD_MAX];
	unsigned count;
	unsigned submitted, most, flushes, zeroed;
	uint64_t bytes;
};

static inline struct fake *fake_of(struct disk *disk)
{
	return container_of(disk, struct fake, disk);
}

static inline void fake_submit(struct disk *disk, struct disk_request *request)
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

static inline unsigned fake_reap(struct disk *disk, unsigned min,
				 struct disk_request **done, unsigned max)
{
	struct fake *fake = fake_of(disk);
	unsigned count = 0;

	if (fake->hold && !min) {
		max = (unsigned)min_u64(max, fake->let);
		fake->let -= (unsigned)min_u64(max, fake->count);
	}
	/* The last first: no order may be relied on. */
	while (count < max && fake->count)
		done[count++] = fake->held[--fake->count];
	return count;
}

static inline int fake_fd(struct disk *disk)
{
	(void)disk;
	return -1;
}

static inline void fake_free(struct disk *disk)
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
	BEHIND_RAW_THREADS,
	BEHIND_IMAGE,
	BEHIND_IMAGE_PLAIN,
	BEHIND_IMAGE_THREADS,
	BEHIND_IMAGE_ALONE,  /* the host has no thread left to help */
	BEHIND_RAW_NO_HOLES, /* a file system without them */
	BEHIND_RAW_PLAIN_NO_HOLES,
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

static inline void failed(void *arg, enum disk_op op, uint64_t offset, int code)
{
	struct rig *rig = arg;

	(void)op;
	(void)offset;
	rig->failures++;
	rig->failed_code = code;
}

static inline void make_raw(const char *path)
{
	int fd = open(path, O_CREAT | O_RDWR, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
}

static inline int no_holes(struct vs_io *io, int file, uint64_t offset,
			   uint64_t length)
{
	(void)io;
	(void)file;
	(void)offset;
	(void)length;
	return -EOPNOTSUPP;
}

/* Of those that are started from here on: each read and write is short. */
static bool short_io;
static unsigned (*whole_reap)(struct io_queue *queue, unsigned min,
			      struct io_request **done, unsigned max);

/* As if a signal had come: whoever asked goes on with the rest. */
static inline unsigned short_reap(struct io_queue *queue, unsigned min,
				  struct io_request **done, unsigned max)
{
	unsigned count = whole_reap(queue, min, done, max);

	for (unsigned i = 0; i < count; i++) {
		if (done[i]->op != IO_OP_SYNC && done[i]->result > 4096)
			done[i]->result = 4096;
	}
	return count;
}

static inline void open_image(struct rig *rig, struct disk **disk)
{
	struct image_options options = { .mode = IMAGE_READ_WRITE };

	ok(image_create(rig->io, rig->path, SIZE, NULL, &err));
	ok(image_open(&rig->image, rig->io, rig->path, &options, &err));
	ok(disk_image_new(disk, rig->image, false, BLK_DEPTH, &err));
}

static inline struct vs_io *io_behind(enum behind behind)
{
	switch (behind) {
	case BEHIND_RAW_PLAIN:
	case BEHIND_IMAGE_PLAIN:
	case BEHIND_RAW_PLAIN_NO_HOLES:
		return io_new_plain(&err);
	case BEHIND_RAW_THREADS:
	case BEHIND_IMAGE_THREADS:
		return io_new_threads(&err);
	default:
		return io_new(&err);
	}
}

static inline struct disk *open_disk(struct rig *rig, enum behind behind,
				     bool read_only)
{
	struct disk *disk = &rig->fake.disk;

	if (behind == BEHIND_FAKE) {
		rig->fake.disk =
			(struct disk){ &fake_ops, rig->size, read_only };
		return disk;
	}
	strcpy(rig->folder, "/tmp/test_virtio_blk.XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	snprintf(rig->path, sizeof(rig->path), "%s/disk", rig->folder);
	rig->io = io_behind(behind);
	assert_non_null(rig->io);
	rig->ops = *rig->io->ops;
	if (behind == BEHIND_RAW_NO_HOLES ||
	    behind == BEHIND_RAW_PLAIN_NO_HOLES)
		rig->ops.punch = no_holes;
	whole_reap = rig->ops.queue_reap;
	if (short_io)
		rig->ops.queue_reap = short_reap;
	rig->io->ops = &rig->ops;
	if (behind >= BEHIND_IMAGE && behind <= BEHIND_IMAGE_ALONE) {
		open_image(rig, &disk);
		if (behind == BEHIND_IMAGE_ALONE)
			rig->image->threads = false;
	} else {
		make_raw(rig->path);
		ok(disk_raw_new(&disk, rig->io, rig->path, read_only, BLK_DEPTH,
				&err));
	}
	return disk;
}

static inline struct rig *start_sized(enum behind behind, bool read_only,
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

static inline struct rig *start(enum behind behind)
{
	struct rig *rig = start_sized(behind, false, SIZE);

	ok(driver_start(&rig->driver, ALL));
	return rig;
}

static inline void finish(struct rig *rig)
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

static inline uint8_t *data_at(struct rig *rig, uint64_t offset)
{
	return guest_at(&rig->guest, rig->data + offset);
}

static inline uint8_t *status_of(struct rig *rig)
{
	return guest_at(&rig->guest, rig->status);
}

/* Header, data in pieces of `step`, status; not waited for. */
static inline void submit(struct rig *rig, unsigned queue, uint32_t type,
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

static inline uint8_t run(struct rig *rig, uint32_t type, uint64_t sector,
			  uint32_t length, uint32_t step)
{
	uint32_t written = 99;

	submit(rig, 0, type, sector, length, step);
	assert_true(driver_wait(&rig->driver, 0, &written) >= 0);
	if (type == IN)
		assert_int_equal(written, *status_of(rig) ? 0 : length + 1);
	return *status_of(rig);
}

static inline uint8_t run_range(struct rig *rig, uint32_t type, uint64_t sector,
				uint32_t sectors, uint32_t flags)
{
	uint32_t range[4] = { (uint32_t)sector, (uint32_t)(sector >> 32),
			      sectors, flags };

	memcpy(data_at(rig, 0), range, sizeof(range));
	return run(rig, type, 0, sizeof(range), 16);
}

#endif
