/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file takes any byte, an image whole sectors. What is not whole is read, put
 * together and written, by one thread while no other writes: the kernel's own
 * lock of the file does not hold off the pages that it writes back for a
 * mapping.
 */
#include "fuse/written.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SECTOR     512u
#define QUEUES_MAX 4u

struct written {
	struct vms_live *live;
	struct vms_live_queues *queues;
	/* Held for writing while parts of sectors are put together. */
	pthread_rwlock_t lock;
	_Atomic int64_t time_ns;
	_Atomic uint64_t bytes;
};

int written_new(struct written **out, const struct vms_live_temporary *how,
		struct err *err)
{
	struct written *written = NULL;
	int r = alloc_array(&written, 1, sizeof(*written), err);

	if (r < 0)
		return r;
	pthread_rwlock_init(&written->lock, NULL);
	r = vms_live_temporary(&written->live, how, err);
	if (r == 0)
		r = vms_live_queues_new(&written->queues, written->live,
					QUEUES_MAX, err);
	if (r < 0) {
		written_free(written);
		return r;
	}
	atomic_store(&written->time_ns, time_now_ns());
	*out = written;
	return 0;
}

void written_free(struct written *written)
{
	if (!written)
		return;
	vms_live_queues_free(written->queues);
	/* Whether it was flushed matters to nobody any more. */
	(void)vms_live_close(written->live, NULL);
	pthread_rwlock_destroy(&written->lock);
	free(written);
}

/* Whole sectors. */
static int run(struct written *written, enum image_op op, const void *buffer,
	       uint64_t length, uint64_t offset)
{
	struct image_request request = {
		.op = op,
		.offset = offset,
		.length = length,
		.buffer = (void *)(uintptr_t)buffer,
	};

	return length || op == IMAGE_FLUSH
		       ? vms_live_request(written->queues, &request)
		       : 0;
}

/* Within one sector. */
static int read_part(struct written *written, uint8_t *buffer, size_t length,
		     uint64_t offset)
{
	uint8_t sector[SECTOR];
	int r = run(written, IMAGE_READ, sector, SECTOR,
		    offset - offset % SECTOR);

	if (r == 0)
		memcpy(buffer, sector + offset % SECTOR, length);
	return r;
}

/* `data` NULL: zeros. The lock is held for writing. */
static int write_part(struct written *written, const uint8_t *data,
		      size_t length, uint64_t offset)
{
	uint64_t start = offset - offset % SECTOR;
	uint8_t sector[SECTOR];
	int r = run(written, IMAGE_READ, sector, SECTOR, start);

	if (r < 0)
		return r;
	if (data)
		memcpy(sector + offset % SECTOR, data, length);
	else
		memset(sector + offset % SECTOR, 0, length);
	return run(written, IMAGE_WRITE, sector, SECTOR, start);
}

/* A range as a part of a sector, whole sectors, and a part again. */
struct cut {
	uint64_t head, middle, tail;
};

static struct cut cut_up(uint64_t length, uint64_t offset)
{
	struct cut cut = { 0 };

	if (offset % SECTOR)
		cut.head = min_u64(SECTOR - offset % SECTOR, length);
	cut.tail = (length - cut.head) % SECTOR;
	cut.middle = length - cut.head - cut.tail;
	return cut;
}

int written_read(struct written *written, void *buffer, size_t length,
		 uint64_t offset)
{
	struct cut cut = cut_up(length, offset);
	uint8_t *at = buffer;
	int r = 0;

	if (cut.head)
		r = read_part(written, at, cut.head, offset);
	if (r == 0)
		r = run(written, IMAGE_READ, at + cut.head, cut.middle,
			offset + cut.head);
	if (r == 0 && cut.tail)
		r = read_part(written, at + cut.head + cut.middle, cut.tail,
			      offset + cut.head + cut.middle);
	return r;
}

/* `data` NULL: zeros. */
static int change(struct written *written, const uint8_t *data, uint64_t length,
		  uint64_t offset)
{
	struct cut cut = cut_up(length, offset);
	uint64_t after = cut.head + cut.middle;
	int r = 0;

	if (cut.head || cut.tail)
		pthread_rwlock_wrlock(&written->lock);
	else
		pthread_rwlock_rdlock(&written->lock);
	if (cut.head)
		r = write_part(written, data, cut.head, offset);
	if (r == 0)
		r = run(written, data ? IMAGE_WRITE : IMAGE_ZERO,
			data ? data + cut.head : NULL, cut.middle,
			offset + cut.head);
	if (r == 0 && cut.tail)
		r = write_part(written, data ? data + after : NULL, cut.tail,
			       offset + after);
	pthread_rwlock_unlock(&written->lock);
	if (data)
		atomic_fetch_add(&written->bytes, length);
	atomic_store(&written->time_ns, time_now_ns());
	return r;
}

int written_write(struct written *written, const void *buffer, size_t length,
		  uint64_t offset)
{
	return change(written, buffer, length, offset);
}

int written_zero(struct written *written, uint64_t length, uint64_t offset)
{
	return change(written, NULL, length, offset);
}

int written_flush(struct written *written)
{
	return run(written, IMAGE_FLUSH, NULL, 0, 0);
}

int written_extent(struct written *written, uint64_t offset, uint64_t length,
		   bool *is_hole, uint64_t *run_length)
{
	struct image_extent extent = { 0 };
	int r = vms_live_extent(written->live, offset, length, &extent, NULL);

	*is_hole = extent.kind == IMAGE_EXTENT_ZERO;
	*run_length = extent.length;
	return r;
}

uint64_t written_bytes(struct written *written)
{
	return atomic_load(&written->bytes);
}

int64_t written_time(struct written *written)
{
	return atomic_load(&written->time_ns);
}
