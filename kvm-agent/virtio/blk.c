/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk: its configuration, and how its queues and its disk are looked
 * after. blk_request.c has what drivers ask for, blk_pieces.c what the disk does
 * of it.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kvm-agent/virtio/blk_private.h"

#define QUEUE_SIZE     256u
#define SEGMENTS       254u /* of data; with header and status a whole ring */
#define PIECES         256u
#define BATCH          64u
#define ROUNDS         8u      /* batches until others have their turn */
#define BUSY_MIN       8u      /* requests under way */
#define FAST_NS        250000u /* from one that is done to the next */
#define STALLED_NS     10000000u

#define F_SEGMENTS     (1ULL << 2)
#define F_READ_ONLY    (1ULL << 5)
#define F_BLOCK_SIZE   (1ULL << 6)
#define F_TOPOLOGY     (1ULL << 10)
#define F_QUEUES       (1ULL << 12)
#define F_DISCARD      (1ULL << 13)
#define F_WRITE_ZEROES (1ULL << 14)

/* virtio 1.x, 5.2.4 */
struct blk_config {
	le64 capacity;
	le32 size_max, seg_max;
	le16 cylinders;
	uint8_t heads, sectors;
	le32 blk_size;
	uint8_t physical_block_exp, alignment_offset;
	le16 min_io_size;
	le32 opt_io_size;
	uint8_t writeback, unused0;
	le16 num_queues;
	le32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	le32 max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};
_Static_assert(sizeof(struct blk_config) == 60, "virtio 1.x, 5.2.4");

static struct blk *blk_of(struct virtio *virtio)
{
	return container_of(virtio, struct blk, virtio);
}

/* ---- the I/O thread's ways in ---- */

/*
 * A notification costs a driver an exit. While a disk is busy and fast none is
 * asked for: the request that is done next, and that is soon, has the rings
 * looked at anyway. Should the disk stand still, a timer does.
 */
static bool is_busy(const struct blk *blk)
{
	return blk->requests >= BUSY_MIN && blk->pace_ns < FAST_NS;
}

/* A guest that gives a head twice may have more than fit. */
static bool is_full(const struct blk *blk)
{
	return blk->requests >= QUEUE_SIZE * blk->virtio.queue_count;
}

static void take_silent(struct blk *blk)
{
	struct virtqueue_chain chain;

	for (unsigned i = 0; blk->silent >> i; i++) {
		if (!(blk->silent >> i & 1))
			continue;
		while (!is_full(blk) && virtio_pop(&blk->virtio, i, &chain))
			blk_take(blk, i, &chain);
	}
}

/* What drivers have and the disk has done, until the disk has nothing at hand.
 * True: it may have more. */
static bool advance(struct blk *blk, unsigned *rounds)
{
	struct disk_request *done[BATCH];
	unsigned count;

	do {
		take_silent(blk);
		/* What waits does so for what is under way: that has brought
		 * us here. */
		if (virtio_is_ending(&blk->virtio))
			blk_cancel_waiting(blk);
		blk_submit_waiting(blk);
		count = blk->disk->ops->reap(blk->disk, 0, done, BATCH);
		for (unsigned i = 0; i < count; i++)
			blk_piece_done(blk, done[i]->owner);
		blk->done += count;
	} while (count && ++*rounds < ROUNDS);
	return count;
}

static void measure_pace(struct blk *blk)
{
	int64_t now_ns;

	if (!blk->done)
		return;
	now_ns = clock_steady_ns(blk->clock);
	blk->pace_ns = (uint64_t)(now_ns - blk->pace_at_ns) / blk->done;
	blk->pace_at_ns = now_ns;
	blk->done = 0;
}

/* One interrupt a queue. */
static void signal_all(struct blk *blk)
{
	for (unsigned i = 0; blk->to_signal >> i; i++) {
		if (blk->to_signal >> i & 1)
			virtio_signal(&blk->virtio, i);
	}
	blk->to_signal = 0;
}

/* Asks the drivers to tell of more. True: one has more. */
static bool listen_all(struct blk *blk)
{
	bool more = false;

	for (unsigned i = 0; blk->silent >> i; i++) {
		if (!(blk->silent >> i & 1))
			continue;
		if (virtio_listen(&blk->virtio, i))
			more = true;
		else
			blk->silent &= ~(1ULL << i);
	}
	return more;
}

/* Unless what is under way brings us back. */
static bool listen_if_idle(struct blk *blk)
{
	if (is_full(blk))
		return false;
	if (!is_busy(blk))
		return listen_all(blk);
	if (!blk->stalled.wait_ns)
		timer_set(&blk->stalled, STALLED_NS);
	return false;
}

static void progress(struct blk *blk)
{
	unsigned rounds = 0;
	bool more;

	for (unsigned i = 0; blk->silent >> i; i++)
		virtio_refill(&blk->virtio, i);
	do {
		more = advance(blk, &rounds);
		measure_pace(blk);
		signal_all(blk);
		if (!more && listen_if_idle(blk)) {
			more = true;
			rounds++;
		}
	} while (more && rounds < ROUNDS);
	/* Others have their turn: the device's lock is held. */
	if (more)
		loop_post(blk->virtio.host->loop, &blk->again);
}

static void serve(struct virtio *virtio, unsigned queue)
{
	struct blk *blk = blk_of(virtio);

	blk->silent |= 1ULL << queue;
	progress(blk);
}

static void look_whether_stalled(struct timer *timer)
{
	struct blk *blk = container_of(timer, struct blk, stalled);

	pthread_mutex_lock(&blk->virtio.lock);
	timer->wait_ns = 0;
	if (clock_steady_ns(blk->clock) - blk->pace_at_ns >= STALLED_NS)
		blk->pace_ns = UINT64_MAX;
	progress(blk);
	pthread_mutex_unlock(&blk->virtio.lock);
}

static void go_on(struct loop_work *work)
{
	blk_poll(container_of(work, struct blk, again));
}

void blk_poll(struct blk *blk)
{
	pthread_mutex_lock(&blk->virtio.lock);
	progress(blk);
	pthread_mutex_unlock(&blk->virtio.lock);
}

static void disk_ready(struct loop_watch *watch, uint32_t events)
{
	(void)events;
	blk_poll(watch->owner);
}

static void config_read(struct virtio *virtio, void *config)
{
	const struct blk *blk = blk_of(virtio);
	struct blk_config fields = {
		.capacity = le64_make(blk->disk->size_bytes / DISK_SECTOR),
		.seg_max = le32_make(SEGMENTS),
		.blk_size = le32_make(DISK_SECTOR),
		/* 4 KiB beneath, and pieces of 64 KiB are the best. */
		.physical_block_exp = 3,
		.min_io_size = le16_make(8),
		.opt_io_size = le32_make(128),
		.num_queues = le16_make((uint16_t)virtio->queue_count),
		.max_discard_sectors = le32_make(BLK_RANGE_SECTORS),
		.max_discard_seg = le32_make(BLK_RANGES_MAX),
		.discard_sector_alignment = le32_make(8),
		.max_write_zeroes_sectors = le32_make(BLK_RANGE_SECTORS),
		.max_write_zeroes_seg = le32_make(BLK_RANGES_MAX),
		.write_zeroes_may_unmap = 1,
	};

	memcpy(config, &fields, sizeof(fields));
}

/* ---- state: the rest of it is the disk's ---- */

static void save(struct virtio *virtio, struct state_writer *out)
{
	section_put_u64(out, blk_of(virtio)->disk->size_bytes / DISK_SECTOR);
}

static void take_state(struct virtio *virtio, struct section_reader *in,
		       void *state)
{
	uint64_t *sectors = state;

	(void)virtio;
	*sectors = section_get_u64(in);
}

static int check_state(struct virtio *virtio, const void *state,
		       struct err *err)
{
	const struct blk *blk = blk_of(virtio);
	const uint64_t *sectors = state;

	if (*sectors == blk->disk->size_bytes / DISK_SECTOR)
		return 0;
	return err_set(err, -EBADMSG,
		       "the saved disk %u has %" PRIu64
		       " sectors, and this one %" PRIu64,
		       virtio->device.instance, *sectors,
		       blk->disk->size_bytes / DISK_SECTOR);
}

static const struct virtio_class blk_class = {
	.device = { "virtio-blk", 1, virtio_reset, virtio_save,
		    virtio_restore },
	.id = 2,
	.pci_class = 0x010000,
	.config_length = sizeof(struct blk_config),
	.config_read = config_read,
	.serve = serve,
	.state_size = sizeof(uint64_t),
	.save = save,
	.take = take_state,
	.check = check_state,
};

static int make_pieces(struct blk *blk, struct err *err)
{
	int r = alloc_array(&blk->pieces, PIECES, sizeof(*blk->pieces), err);

	for (unsigned i = 0; !r && i < PIECES; i++) {
		blk->pieces[i].next = blk->free_pieces;
		blk->free_pieces = &blk->pieces[i];
	}
	return r;
}

static int watch_disk(struct blk *blk, struct err *err)
{
	blk->watch = (struct loop_watch){ blk->disk->ops->fd(blk->disk),
					  EPOLLIN, disk_ready, blk };
	return blk->watch.fd < 0
		       ? 0
		       : loop_add(blk->virtio.host->loop, &blk->watch, err);
}

int blk_init(struct blk *blk, unsigned instance, const struct virtio_host *host,
	     struct disk *disk, unsigned queue_count, const char *serial,
	     struct err *err)
{
	uint64_t features =
		F_SEGMENTS | F_BLOCK_SIZE | BLK_F_FLUSH | F_TOPOLOGY | F_QUEUES;
	int r;

	assert(queue_count && queue_count <= BLK_QUEUES_MAX);
	*blk = (struct blk){ .disk = disk,
			     .watch = { .fd = -1 },
			     .again = { .run = go_on },
			     .clock = &clock_host,
			     .pace_ns = UINT64_MAX };
	blk->waiting_last = &blk->waiting;
	memcpy(blk->serial, serial, strnlen(serial, BLK_SERIAL_MAX));
	features |= disk->read_only ? F_READ_ONLY : F_DISCARD | F_WRITE_ZEROES;
	r = make_pieces(blk, err);
	if (!r)
		r = virtio_init(&blk->virtio, &blk_class, instance, host,
				features, queue_count, QUEUE_SIZE, err);
	if (r < 0) {
		free(blk->pieces);
		blk->disk = NULL;
		return r;
	}
	r = timer_init(&blk->stalled, host->loop, look_whether_stalled, err);
	if (!r)
		r = watch_disk(blk, err);
	if (r < 0)
		blk_release(blk);
	return r;
}

/* As by pulling the plug: what the disk has is waited for, and that is all. */
void blk_release(struct blk *blk)
{
	struct disk_request *done[BATCH];

	if (!blk->disk)
		return;
	blk_cancel_waiting(blk);
	while (blk->requests) {
		unsigned count =
			blk->disk->ops->reap(blk->disk, 1, done, BATCH);

		for (unsigned i = 0; i < count; i++)
			blk_piece_done(blk, done[i]->owner);
		/* A flush that was to follow. */
		blk_cancel_waiting(blk);
	}
	if (blk->watch.fd >= 0)
		loop_remove(blk->virtio.host->loop, &blk->watch);
	timer_release(&blk->stalled);
	loop_cancel(blk->virtio.host->loop, &blk->again);
	virtio_release(&blk->virtio);
	free(blk->pieces);
	blk->disk = NULL;
}
