/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk over a disk of a few sectors in memory that holds requests back
 * and fails them as the input says. No request may leave the disk, or its own
 * buffer.
 */
#include <errno.h>

#include "kvm-agent/virtio/blk.h"
#include "tests/fuzz/virtio_bytes.h"

#define SECTORS  64u
#define HELD_MAX 4096u

static struct {
	struct disk disk;
	uint8_t bytes[SECTORS * DISK_SECTOR];
	struct disk_request *held[HELD_MAX];
	unsigned count;
	unsigned budget; /* to be done before some are held */
	int result;
} memory_disk;

static struct blk blk;

static void use(struct disk_request *request)
{
	uint8_t *at = memory_disk.bytes + request->offset;

	must(request->offset % DISK_SECTOR == 0);
	must(request->length % DISK_SECTOR == 0);
	must(request->offset <= sizeof(memory_disk.bytes));
	must(request->length <= sizeof(memory_disk.bytes) - request->offset);
	request->result = memory_disk.result;
	if (request->result)
		return;
	switch (request->op) {
	case DISK_READ:
		memcpy(request->buffer, at, (size_t)request->length);
		break;
	case DISK_WRITE:
		memcpy(at, request->buffer, (size_t)request->length);
		break;
	case DISK_FLUSH:
		break;
	case DISK_DISCARD:
	case DISK_ZERO:
		memset(at, 0, (size_t)request->length);
		break;
	}
}

static void submit(struct disk *disk, struct disk_request *request)
{
	(void)disk;
	must(memory_disk.count < HELD_MAX);
	memory_disk.held[memory_disk.count++] = request;
}

static unsigned reap(struct disk *disk, unsigned min,
		     struct disk_request **done, unsigned max)
{
	unsigned count = 0;

	(void)disk;
	while (count < max && memory_disk.count &&
	       (count < min || memory_disk.budget)) {
		done[count] = memory_disk.held[--memory_disk.count];
		use(done[count++]);
		if (memory_disk.budget)
			memory_disk.budget--;
	}
	return count;
}

static int no_fd(struct disk *disk)
{
	(void)disk;
	return -1;
}

static void no_free(struct disk *disk)
{
	(void)disk;
}

static const struct disk_ops ops = { submit, reap, no_fd, no_free };

/* A microsecond from one look at it to the next: a fast disk. */
static int64_t now_ns;

static int64_t steady_ns(struct clock *clock)
{
	(void)clock;
	return now_ns += 1000;
}

static struct clock fast_clock = { .steady_ns = steady_ns };

static void run_timer(void)
{
	struct timer *timer = &blk.stalled;

	if (timer->wait_ns) {
		now_ns += (int64_t)timer->wait_ns;
		timer->run(timer);
	}
}

static void also(struct bytes_guest *guest)
{
	static const int results[] = { 0, 0, 0, -EIO, -ENOSPC, -EOPNOTSUPP };

	memory_disk.budget = (unsigned)bytes_take(guest, 1);
	memory_disk.result = results[memory_disk.budget % 6];
	if (memory_disk.budget & 0x80)
		run_timer();
	blk_poll(&blk);
	guest_settle(&guest->guest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_guest guest = { 0 };

	memset(&memory_disk, 0, sizeof(memory_disk));
	memory_disk.disk = (struct disk){
		.ops = &ops,
		.size_bytes = sizeof(memory_disk.bytes),
		.read_only = size && data[size - 1] == 'r',
	};
	bytes_begin(&guest);
	must(blk_init(&blk, 0, &guest.guest.host, &memory_disk.disk, 2, "fuzz",
		      NULL) == 0);
	now_ns = 0;
	blk.clock = &fast_clock;
	timer_release(&blk.stalled);
	bytes_run(&guest, &blk.virtio, data, size, also);
	blk_release(&blk);
	must(memory_disk.count == 0);
	guest_release(&guest.guest);
	return 0;
}
