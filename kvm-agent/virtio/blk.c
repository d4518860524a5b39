/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk. A request is taken apart into pieces that the disk gets; there
 * is a fixed number of pieces, so whatever a guest asks for, memory is bounded
 * and a request of 4 GiB only takes longer. Data goes between the disk and the
 * guest's memory directly, but where its segments are small or odd: then
 * through a buffer, because a disk does few large pieces better than many.
 *
 * Every request ends with the status that the disk gave: EIO and ENOSPC are
 * both IOERR to a guest, and the machine hears which. A guest's mistake ends
 * that request, too; only what can't be answered stops the device.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/virtio/blk.h"

#define QUEUE_SIZE         256u
#define SEGMENTS           254u /* of data; with header and status a whole ring */
#define PIECES             256u
#define PIECE_SIZE         (128 * KIB)
#define SMALL_SEGMENT      (16 * KIB)
#define BOUNCED_MAX        (4 * MIB)
#define RANGES_MAX         32u
#define RANGE_SECTORS      (1u << 22) /* 2 GiB */
#define BATCH              64u
#define ROUNDS             8u /* batches until others have their turn */

#define F_SEGMENTS         (1ULL << 2)
#define F_READ_ONLY        (1ULL << 5)
#define F_BLOCK_SIZE       (1ULL << 6)
#define F_FLUSH            (1ULL << 9)
#define F_TOPOLOGY         (1ULL << 10)
#define F_QUEUES           (1ULL << 12)
#define F_DISCARD          (1ULL << 13)
#define F_WRITE_ZEROES     (1ULL << 14)

#define TYPE_IN            0u
#define TYPE_OUT           1u
#define TYPE_FLUSH         4u
#define TYPE_ID            8u
#define TYPE_DISCARD       11u
#define TYPE_WRITE_ZEROES  13u

#define STATUS_OK          0u
#define STATUS_IOERR       1u
#define STATUS_UNSUPPORTED 2u

#define FLAG_UNMAP         1u

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

struct blk_head {
	le32 type, reserved;
	le64 sector;
};

struct blk_range {
	le64 sector;
	le32 sectors, flags;
};

struct blk_piece {
	struct disk_request disk;
	struct blk_request *request;
	uint64_t at;     /* of the request's data */
	uint8_t *bounce; /* or NULL */
	struct blk_piece *next;
};

struct blk_request {
	struct blk_request *next;
	enum disk_op op;
	uint16_t head;
	unsigned queue;
	uint8_t *status;
	uint64_t offset;    /* on the disk */
	uint64_t length;    /* of data; of ranges: their number */
	uint64_t begun;     /* so much of it is in pieces */
	unsigned under_way; /* pieces */
	int result;
	bool bounce;
	struct blk_range ranges[RANGES_MAX];
	unsigned count;
	struct iovec segments[]; /* of data */
};

static struct blk *blk_of(struct virtio *virtio)
{
	return container_of(virtio, struct blk, virtio);
}

/* ---- ends ---- */

static uint8_t status_of(int result)
{
	switch (result) {
	case 0:
		return STATUS_OK;
	case -EOPNOTSUPP:
		return STATUS_UNSUPPORTED;
	default:
		return STATUS_IOERR;
	}
}

static void answer(struct blk *blk, unsigned queue, uint16_t head,
		   uint8_t *status, int result, uint64_t data_bytes)
{
	*status = status_of(result);
	/* What comes before the status was not written when it failed. */
	if (data_bytes && result)
		data_bytes = 0;
	else
		data_bytes++;
	virtio_push(&blk->virtio, queue, head, (uint32_t)data_bytes);
	blk->to_signal |= 1ULL << queue;
}

static void wait_for_pieces(struct blk *blk, struct blk_request *request)
{
	request->next = NULL;
	*blk->waiting_last = request;
	blk->waiting_last = &request->next;
}

/* A driver that never flushes: what it wrote is durable when it is told so. */
static bool must_flush(const struct blk *blk, const struct blk_request *request)
{
	return !request->result && request->op != DISK_READ &&
	       request->op != DISK_FLUSH && !virtio_has(&blk->virtio, F_FLUSH);
}

static void request_done(struct blk *blk, struct blk_request *request)
{
	if (must_flush(blk, request)) {
		request->op = DISK_FLUSH;
		request->begun = 0;
		request->length = 1;
		wait_for_pieces(blk, request);
		return;
	}
	answer(blk, request->queue, request->head, request->status,
	       request->result, request->op == DISK_READ ? request->length : 0);
	free(request);
	blk->requests--;
	virtio_let_go(&blk->virtio);
}

static void piece_done(struct blk *blk, struct blk_piece *piece)
{
	struct blk_request *request = piece->request;
	const struct disk_request *disk = &piece->disk;

	if (disk->result < 0) {
		if (!request->result && blk->failed)
			blk->failed(blk->failed_arg, disk->op, disk->offset,
				    disk->result);
		if (!request->result)
			request->result = disk->result;
	} else if (piece->bounce && disk->op == DISK_READ) {
		(void)segments_copy_in(request->segments, request->count,
				       piece->at, piece->bounce, disk->length);
	}
	if (piece->bounce) {
		blk->bounced_bytes -= disk->length;
		free(piece->bounce);
	}
	piece->next = blk->free_pieces;
	blk->free_pieces = piece;
	request->under_way--;
	/* Others of it wait for pieces, then, unless it has failed. */
	if (!request->under_way && request->begun == request->length)
		request_done(blk, request);
}

/* ---- pieces ---- */

/* From `at` on, within one segment. */
static uint64_t direct_piece(const struct blk_request *request,
			     struct blk_piece *piece)
{
	uint64_t at = piece->at;

	for (unsigned i = 0; i < request->count; i++) {
		const struct iovec *segment = &request->segments[i];

		if (at < segment->iov_len) {
			piece->disk.buffer = (uint8_t *)segment->iov_base + at;
			return min_u64(segment->iov_len - at, PIECE_SIZE);
		}
		at -= segment->iov_len;
	}
	return 0;
}

static uint64_t bounced_piece(const struct blk_request *request,
			      struct blk_piece *piece)
{
	uint64_t length = min_u64(request->length - piece->at, PIECE_SIZE);

	piece->bounce = malloc((size_t)length);
	if (!piece->bounce)
		return 0;
	piece->disk.buffer = piece->bounce;
	if (request->op == DISK_WRITE)
		(void)segments_copy_out(request->segments, request->count,
					piece->at, piece->bounce,
					(size_t)length);
	return length;
}

/* Of one request the next; false: it can't be had now. */
static bool make_piece(struct blk *blk, struct blk_request *request,
		       struct blk_piece *piece)
{
	uint64_t length;

	*piece = (struct blk_piece){ .request = request, .at = request->begun };
	piece->disk.op = request->op;
	piece->disk.owner = piece;
	switch (request->op) {
	case DISK_READ:
	case DISK_WRITE:
		length = request->bounce ? bounced_piece(request, piece)
					 : direct_piece(request, piece);
		if (!length)
			return false;
		if (piece->bounce)
			blk->bounced_bytes += length;
		piece->disk.offset = request->offset + request->begun;
		piece->disk.length = length;
		request->begun += length;
		break;
	case DISK_FLUSH:
		request->begun = request->length;
		break;
	case DISK_DISCARD:
	case DISK_ZERO: {
		const struct blk_range *range =
			&request->ranges[request->begun++];

		piece->disk.offset = le64_get(range->sector) * DISK_SECTOR;
		piece->disk.length =
			(uint64_t)le32_get(range->sectors) * DISK_SECTOR;
		break;
	}
	}
	request->under_way++;
	return true;
}

static void take_waiting(struct blk *blk)
{
	blk->waiting = blk->waiting->next;
	if (!blk->waiting)
		blk->waiting_last = &blk->waiting;
}

/* It fails, but for what is under way; it waits no longer. */
static void give_up(struct blk *blk, struct blk_request *request, int code)
{
	if (!request->result)
		request->result = code;
	request->begun = request->length;
	if (!request->under_way)
		request_done(blk, request);
}

/* Gives pieces to the disk as long as there are any. */
static void submit_waiting(struct blk *blk)
{
	struct blk_piece *held = NULL;

	while (blk->waiting && blk->free_pieces) {
		struct blk_request *request = blk->waiting;
		struct blk_piece *piece = blk->free_pieces;
		struct blk_piece *rest = piece->next;

		if (request->result)
			request->begun = request->length;
		if (request->begun == request->length) {
			take_waiting(blk);
			if (!request->under_way)
				request_done(blk, request);
			continue;
		}
		if (request->bounce && blk->bounced_bytes >= BOUNCED_MAX)
			break;
		if (!make_piece(blk, request, piece)) {
			piece->next = rest;
			take_waiting(blk);
			/* There is no memory for a buffer. */
			give_up(blk, request, -ENOMEM);
			continue;
		}
		blk->free_pieces = rest;
		if (request->begun == request->length)
			take_waiting(blk);
		if (held) {
			held->disk.more = true;
			blk->disk->ops->submit(blk->disk, &held->disk);
		}
		held = piece;
	}
	if (held)
		blk->disk->ops->submit(blk->disk, &held->disk);
}

/* What was not begun never is. */
static void cancel_waiting(struct blk *blk)
{
	while (blk->waiting) {
		struct blk_request *request = blk->waiting;

		take_waiting(blk);
		give_up(blk, request, -ECANCELED);
	}
}

/* ---- what a guest asks for ---- */

static bool in_disk(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
	uint64_t sectors = blk->disk->size_bytes / DISK_SECTOR;

	return sector <= sectors && bytes % DISK_SECTOR == 0 &&
	       bytes / DISK_SECTOR <= sectors - sector;
}

/* Where its last byte to write is: the status; NULL: there is none. */
static uint8_t *status_at(const struct virtqueue_chain *chain)
{
	const struct iovec *last;

	if (!chain->writable_bytes)
		return NULL;
	last = &chain->segments[chain->count - 1];
	return (uint8_t *)last->iov_base + last->iov_len - 1;
}

static bool wants_bounce(const struct blk_request *request)
{
	if (request->count > 1 &&
	    request->length / request->count < SMALL_SEGMENT)
		return true;
	for (unsigned i = 0; i < request->count; i++) {
		if (request->segments[i].iov_len % DISK_SECTOR)
			return true;
	}
	return false;
}

static int prepare_data(struct blk *blk, struct blk_request *request,
			const struct virtqueue_chain *chain, uint64_t sector)
{
	bool in = request->op == DISK_READ;

	if (in) {
		request->length = chain->writable_bytes - 1;
		request->count =
			segments_cut(chain->segments + chain->readable_count,
				     chain->count - chain->readable_count, 0,
				     request->length, request->segments);
	} else {
		request->length =
			chain->readable_bytes - sizeof(struct blk_head);
		request->count =
			segments_cut(chain->segments, chain->readable_count,
				     sizeof(struct blk_head), request->length,
				     request->segments);
	}
	if (!in && blk->disk->read_only)
		return -EROFS;
	if (!in_disk(blk, sector, request->length))
		return -EINVAL;
	request->offset = sector * DISK_SECTOR;
	request->bounce = wants_bounce(request);
	return 0;
}

static int check_range(const struct blk *blk, const struct blk_request *request,
		       const struct blk_range *range)
{
	uint32_t flags = le32_get(range->flags);
	uint32_t sectors = le32_get(range->sectors);

	if (flags & ~(request->op == DISK_ZERO ? FLAG_UNMAP : 0))
		return -EOPNOTSUPP;
	if (sectors > RANGE_SECTORS ||
	    !in_disk(blk, le64_get(range->sector),
		     (uint64_t)sectors * DISK_SECTOR))
		return -EINVAL;
	return 0;
}

static int prepare_ranges(struct blk *blk, struct blk_request *request,
			  const struct virtqueue_chain *chain)
{
	uint64_t bytes = chain->readable_bytes - sizeof(struct blk_head);
	int r = 0;

	if (blk->disk->read_only)
		return -EROFS;
	if (!bytes || bytes % sizeof(struct blk_range) ||
	    bytes > sizeof(request->ranges))
		return -EINVAL;
	(void)chain_read(chain, sizeof(struct blk_head), request->ranges,
			 (size_t)bytes);
	request->length = bytes / sizeof(struct blk_range);
	for (unsigned i = 0; !r && i < request->length; i++)
		r = check_range(blk, request, &request->ranges[i]);
	return r;
}

/* 0: it is to be done; or how it ends. */
static int prepare(struct blk *blk, struct blk_request *request,
		   const struct virtqueue_chain *chain,
		   const struct blk_head *head)
{
	switch (le32_get(head->type)) {
	case TYPE_IN:
		request->op = DISK_READ;
		return prepare_data(blk, request, chain,
				    le64_get(head->sector));
	case TYPE_OUT:
		request->op = DISK_WRITE;
		return prepare_data(blk, request, chain,
				    le64_get(head->sector));
	case TYPE_FLUSH:
		request->op = DISK_FLUSH;
		request->length = 1;
		return 0;
	case TYPE_DISCARD:
		request->op = DISK_DISCARD;
		return prepare_ranges(blk, request, chain);
	case TYPE_WRITE_ZEROES:
		request->op = DISK_ZERO;
		return prepare_ranges(blk, request, chain);
	default:
		return -EOPNOTSUPP;
	}
}

static void answer_id(struct blk *blk, unsigned queue,
		      const struct virtqueue_chain *chain, uint8_t *status)
{
	uint64_t room = chain->writable_bytes - 1;
	size_t n = chain_write(chain, 0, blk->serial,
			       (size_t)min_u64(room, BLK_SERIAL_MAX));

	*status = STATUS_OK;
	virtio_push(&blk->virtio, queue, chain->head,
		    (uint32_t)(n == room ? n + 1 : n));
	blk->to_signal |= 1ULL << queue;
}

static void take(struct blk *blk, unsigned queue,
		 const struct virtqueue_chain *chain)
{
	uint8_t *status = status_at(chain);
	struct blk_request *request;
	struct blk_head head;
	int r;

	if (!status ||
	    chain_read(chain, 0, &head, sizeof(head)) < sizeof(head)) {
		virtio_break(&blk->virtio,
			     "a disk request without its head or status");
		return;
	}
	if (le32_get(head.type) == TYPE_ID) {
		answer_id(blk, queue, chain, status);
		return;
	}
	request = malloc(sizeof(*request) +
			 chain->count * sizeof(request->segments[0]));
	if (!request) {
		answer(blk, queue, chain->head, status, -ENOMEM, 0);
		return;
	}
	*request = (struct blk_request){ .head = chain->head,
					 .queue = queue,
					 .status = status };
	r = prepare(blk, request, chain, &head);
	if (r < 0 || !request->length) {
		answer(blk, queue, chain->head, status, r,
		       request->op == DISK_READ ? request->length : 0);
		free(request);
		return;
	}
	virtio_hold(&blk->virtio);
	blk->requests++;
	wait_for_pieces(blk, request);
}

/* ---- the I/O thread's ways in ---- */

/* What the disk has done; then what waited for that; until it has nothing
 * at hand. Interrupts last, one a queue. */
static void progress(struct blk *blk)
{
	struct disk_request *done[BATCH];
	unsigned count, rounds = 0;

	do {
		submit_waiting(blk);
		count = blk->disk->ops->reap(blk->disk, 0, done, BATCH);
		for (unsigned i = 0; i < count; i++)
			piece_done(blk, done[i]->owner);
	} while (count && ++rounds < ROUNDS);
	/* Others have their turn: the device's lock is held. */
	if (count)
		loop_post(blk->virtio.host->loop, &blk->again);
	for (unsigned i = 0; blk->to_signal >> i; i++) {
		if (blk->to_signal >> i & 1)
			virtio_signal(&blk->virtio, i);
	}
	blk->to_signal = 0;
	for (unsigned i = 0; blk->starved >> i; i++) {
		if (blk->starved >> i & 1)
			virtio_look(&blk->virtio, i);
	}
	blk->starved = 0;
}

static void serve(struct virtio *virtio, unsigned queue)
{
	unsigned most = QUEUE_SIZE * virtio->queue_count;
	struct blk *blk = blk_of(virtio);
	struct virtqueue_chain chain;
	bool full;

	do {
		/* A guest that gives a head twice may have more than fit. */
		while (blk->requests < most &&
		       virtio_pop(virtio, queue, &chain))
			take(blk, queue, &chain);
	} while (blk->requests < most && virtio_listen(virtio, queue));
	full = blk->requests >= most;
	progress(blk);
	if (blk->requests >= most)
		blk->starved |= 1ULL << queue;
	else if (full) /* The driver was not asked to tell of more. */
		virtio_look(virtio, queue);
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
		.max_discard_sectors = le32_make(RANGE_SECTORS),
		.max_discard_seg = le32_make(RANGES_MAX),
		.discard_sector_alignment = le32_make(8),
		.max_write_zeroes_sectors = le32_make(RANGE_SECTORS),
		.max_write_zeroes_seg = le32_make(RANGES_MAX),
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
		F_SEGMENTS | F_BLOCK_SIZE | F_FLUSH | F_TOPOLOGY | F_QUEUES;
	int r;

	assert(queue_count && queue_count <= BLK_QUEUES_MAX);
	*blk = (struct blk){ .disk = disk,
			     .watch = { .fd = -1 },
			     .again = { .run = go_on } };
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
	cancel_waiting(blk);
	while (blk->requests) {
		unsigned count =
			blk->disk->ops->reap(blk->disk, 1, done, BATCH);

		for (unsigned i = 0; i < count; i++)
			piece_done(blk, done[i]->owner);
		/* A flush that was to follow. */
		cancel_waiting(blk);
	}
	if (blk->watch.fd >= 0)
		loop_remove(blk->virtio.host->loop, &blk->watch);
	loop_cancel(blk->virtio.host->loop, &blk->again);
	virtio_release(&blk->virtio);
	free(blk->pieces);
	blk->disk = NULL;
}
